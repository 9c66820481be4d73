//! How far it is, for whoever waits: a bar on a terminal; elsewhere a line when it waits for something, and for what.

use std::cell::RefCell;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use standin_config::Rate;
use standin_replicator::report::{ScrubReport, SetReport, SetState, Stage};

use super::show;

/// A bar, lines, or nothing for a program that reads JSON.
pub(crate) enum Bar {
    /// On a terminal.
    Drawn(ProgressBar),
    /// In a pipe or file, with the line that was printed last.
    Lines(RefCell<Option<String>>),
    /// For programs.
    Silent,
}

impl Bar {
    /// A bar that shows nothing yet.
    pub(crate) fn new(json: bool) -> Self {
        if json {
            return Self::Silent;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines(RefCell::default());
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{msg}\n{wide_bar} {percent:>3} %") {
            bar.set_style(style);
        }
        Self::Drawn(bar)
    }

    /// Shows how far a mirror is.
    pub(crate) fn show(&self, report: &SetReport) {
        let bar = match self {
            Self::Drawn(bar) => bar,
            Self::Lines(last) => {
                let line = waits_for(report);
                if line.is_some() && line != *last.borrow() {
                    eprintln!("standin: {}", line.as_deref().unwrap_or_default());
                }
                return drop(last.replace(line));
            }
            Self::Silent => return,
        };
        if let Some(scrub) = report.scrub.as_ref().filter(|scrub| scrub.running.is_some()) {
            bar.set_message(describe_scrub(scrub));
            let running = scrub.running.unwrap_or_default();
            bar.set_length(running.bytes.max(1));
            bar.set_position(running.done_bytes.min(running.bytes));
            return;
        }
        bar.set_message(describe(report));
        if let Some(progress) = &report.mirror {
            bar.set_length(progress.wanted_bytes.max(1));
            bar.set_position(progress.done_bytes.min(progress.wanted_bytes));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Self::Drawn(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// A scrub that runs, in one line.
pub(crate) fn describe_scrub(report: &ScrubReport) -> String {
    let running = report.running.unwrap_or_default();
    format!(
        "reading again: {} of {} files, {} of {}",
        running.done_files,
        running.files,
        show::size(running.done_bytes.min(running.bytes)),
        show::size(running.bytes),
    )
}

/// What has to come before it goes on, if anything has to.
fn waits_for(report: &SetReport) -> Option<String> {
    let peer = &report.peer.node;
    match report.state {
        SetState::Waiting | SetState::Disconnected | SetState::Hindered => {
            let why = report.trouble.as_deref().map_or_else(|| "it is being dialled".to_owned(), show::harmless);
            Some(format!("waiting for {peer}: {why}"))
        }
        _ => {
            let limit = report.limit.as_ref().filter(|limit| limit.rate == Rate::Pause)?;
            let until = limit.next.map(|next| format!(" before {}", next.at)).unwrap_or_default();
            Some(format!("waiting: the timetable lets nothing be sent{until}"))
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
