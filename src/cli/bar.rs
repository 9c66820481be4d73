//! How far it is, for whoever waits: a bar on a terminal; elsewhere a line when it waits for something, and for what.

use std::cell::RefCell;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use standin_config::Rate;
use standin_replicator::goal::Goal;
use standin_replicator::report::{ScrubReport, SetReport, SetState, Stage};

use super::show;
use crate::control::Request;

/// A bar, lines, or nothing for a program that reads JSON.
pub(crate) enum Bar {
    /// On a terminal; with what is waited for, if no mirror shows it.
    Drawn(ProgressBar, Option<String>),
    /// In a pipe or file, with the line that was printed last.
    Lines(RefCell<Option<String>>, Option<String>),
    /// For programs.
    Silent,
}

impl Bar {
    /// A bar that shows nothing yet, for whoever waits for something that no mirror shows, if that is so.
    pub(crate) fn new(json: bool, awaited: Option<String>) -> Self {
        if json {
            return Self::Silent;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines(RefCell::default(), awaited);
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{msg}\n{wide_bar} {percent:>3} %") {
            bar.set_style(style);
        }
        Self::Drawn(bar, awaited)
    }

    /// Shows how far a mirror is.
    pub(crate) fn show(&self, report: &SetReport) {
        let (bar, awaited) = match self {
            Self::Drawn(bar, awaited) => (bar, awaited),
            Self::Lines(last, awaited) => {
                let line = waits_for(report).or_else(|| awaited.clone());
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
        bar.set_message(awaited.clone().filter(|_| report.mirror.is_none()).unwrap_or_else(|| describe(report)));
        if let Some(progress) = &report.mirror {
            bar.set_length(progress.wanted_bytes.max(1));
            bar.set_position(progress.done_bytes.min(progress.wanted_bytes));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Self::Drawn(bar, _) = self {
            bar.finish_and_clear();
        }
    }
}

/// One line on a terminal that says what is being done, and is gone at the end.
pub(crate) struct Line(Option<ProgressBar>);

impl Line {
    /// A line with nothing in it yet. In a pipe there is none: what is printed at the end says it all.
    pub(crate) fn new(json: bool) -> Self {
        let is_seen = !json && std::io::stderr().is_terminal();
        let line = is_seen.then(ProgressBar::new_spinner);
        if let (Some(line), Ok(style)) = (&line, ProgressStyle::with_template("{wide_msg}")) {
            line.set_style(style);
        }
        Self(line)
    }

    /// Shows this.
    pub(crate) fn show(&self, text: String) {
        if let Some(line) = &self.0 {
            line.set_message(text);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(line) = &self.0 {
            line.finish_and_clear();
        }
    }
}

/// What a request waits for that may never come, in one line.
pub(crate) fn awaited(request: &Request) -> Option<String> {
    match request {
        Request::Wait { set, goal: Goal::Point(number), .. } => {
            Some(format!("waiting for recovery point {number} of {set}, which is not there yet"))
        }
        _ => None,
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
