//! The progress bar: on a terminal, never in a pipe.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use standin_replicator::report::{SetReport, Stage};

use super::show;

/// A bar, or nothing where nobody would see it.
pub(crate) struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar that shows nothing yet.
    pub(crate) fn new(json: bool) -> Self {
        if json || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{msg}\n{wide_bar} {percent:>3} %") {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    /// Shows how far a mirror is.
    pub(crate) fn show(&self, report: &SetReport) {
        let Some(bar) = &self.0 else { return };
        bar.set_message(describe(report));
        if let Some(progress) = &report.mirror {
            bar.set_length(progress.wanted_bytes.max(1));
            bar.set_position(progress.done_bytes.min(progress.wanted_bytes));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A bar for steps that are counted.
pub(crate) struct Steps(Option<ProgressBar>);

impl Steps {
    /// A bar that shows nothing yet, on a terminal only.
    pub(crate) fn new(json: bool) -> Self {
        if json || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) =
            ProgressStyle::with_template("{pos} of {len} objects, {per_sec}, {eta} to go\n{wide_bar} {percent:>3} %")
        {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    /// Shows how many are done.
    pub(crate) fn show(&self, done: usize, of: usize) {
        let Some(bar) = &self.0 else { return };
        bar.set_length(of.max(1) as u64);
        bar.set_position(done as u64);
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A mirror in one line.
pub(crate) fn describe(report: &SetReport) -> String {
    let trouble =
        || report.trouble.as_deref().map(show::harmless).unwrap_or_else(|| format!("connecting to {}", report.peer.node));
    let Some(progress) = &report.mirror else { return trouble() };
    let stage = match progress.stage {
        Stage::Connecting => return trouble(),
        Stage::Listing => "comparing and sending",
        Stage::Sending => "sending",
        Stage::Proving => "looking whether anything changed",
        Stage::Committing => "making the recovery point",
    };
    let eta = progress.eta_seconds.map(|seconds| format!(", {} to go", show::span(seconds as f64))).unwrap_or_default();
    format!(
        "pass {}, {stage}: {} objects, {} of {} files, {} of {}, {}/s{eta}",
        progress.pass,
        progress.objects,
        progress.done_files,
        progress.wanted_files,
        show::size(progress.done_bytes),
        show::size(progress.wanted_bytes),
        show::size(progress.bytes_per_second),
    )
}
