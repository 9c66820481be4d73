//! What the demo says, checks and counts.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use standin_replicator::report::MirrorReport;

use super::trees::Changed;
use crate::cli::show;

const TICK: Duration = Duration::from_millis(100);

/// How the demo ended.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    /// Whether every check held.
    pub(crate) held: bool,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
    steps: Vec<Row>,
    checks: Vec<Check>,
    /// Where everything is, if it is kept.
    kept: Option<PathBuf>,
}

/// A mirror or verification of the demo.
#[derive(Debug, Serialize)]
struct Row {
    step: &'static str,
    /// Files that differed before.
    files: u64,
    /// Bytes of the 4 KiB pages that differed before, counted by reading both trees.
    changed_bytes: u64,
    /// Bytes of all datagrams, both ways.
    wire_bytes: u64,
    /// `wire_bytes` by `changed_bytes`.
    ratio: Option<f64>,
    seconds: f64,
    /// The recovery point that was made.
    point: Option<u64>,
    /// Whether nothing changed at the source meanwhile.
    consistent: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Check {
    what: String,
    held: bool,
}

/// What the audience sees.
pub(super) struct Telling {
    quiet: bool,
    begun: Instant,
    headings: u32,
    outcome: Outcome,
}

impl Telling {
    /// Nothing was told yet.
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, begun: Instant::now(), headings: 0, outcome: Outcome::default() }
    }

    /// Begins a step.
    pub(super) fn heading(&mut self, text: &str) {
        self.headings += 1;
        self.print(&format!("\n{:>2}  {text}", self.headings));
    }

    /// Says a line.
    pub(super) fn line(&self, text: &str) {
        self.print(&format!("    {text}"));
    }

    fn print(&self, text: &str) {
        if !self.quiet {
            // The demo goes on if nobody reads: its end says whether all held.
            let _ = show::print(text);
        }
    }

    /// Notes whether something is as it should be.
    pub(super) fn check(&mut self, held: bool, what: impl Into<String>) {
        let what = what.into();
        self.line(&format!("{} {what}", if held { "ok:" } else { "FAILED:" }));
        self.outcome.checks.push(Check { what, held });
    }

    /// Does something, and shows on a terminal that it is being done.
    pub(super) fn during<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        let spinner = (!self.quiet && std::io::stderr().is_terminal()).then(ProgressBar::new_spinner);
        if let Some(spinner) = &spinner {
            if let Ok(style) = ProgressStyle::with_template("    {spinner} {msg} ({elapsed})") {
                spinner.set_style(style);
            }
            spinner.set_message(what.to_owned());
            spinner.enable_steady_tick(TICK);
        }
        let result = work();
        if let Some(spinner) = &spinner {
            spinner.finish_and_clear();
        }
        result
    }

    /// Adds a row, and says what is in it.
    pub(super) fn row(&mut self, step: &'static str, changed: Changed, report: &MirrorReport) {
        let wire_bytes = report.wire.sent_bytes + report.wire.received_bytes;
        let made = report.point.map(|point| point.0);
        let row = Row {
            step,
            files: changed.files,
            changed_bytes: changed.bytes,
            wire_bytes,
            ratio: (changed.bytes > 0).then(|| wire_bytes as f64 / changed.bytes as f64),
            seconds: report.seconds,
            point: made,
            consistent: made.map(|_| report.consistent),
        };
        let rest = made.map_or(String::new(), |point| format!("; recovery point {point}, {}", grade(report.consistent)));
        self.line(&format!(
            "{} objects, {}: {} on the wire in {}, {} {}{rest}",
            report.objects,
            show::size(report.bytes),
            show::size(wire_bytes),
            show::span(report.seconds),
            report.passes,
            if report.passes == 1 { "pass" } else { "passes" },
        ));
        self.outcome.steps.push(row);
    }

    /// The end: the table, and whether every check held.
    pub(super) fn end(mut self, kept: Option<PathBuf>) -> Outcome {
        self.outcome.seconds = self.begun.elapsed().as_secs_f64();
        self.outcome.held = self.outcome.checks.iter().all(|check| check.held);
        self.outcome.kept = kept;
        let heading = ["STEP", "FILES", "CHANGED", "ON THE WIRE", "RATIO", "TIME", "POINT"];
        let rows: Vec<_> = self.outcome.steps.iter().map(Row::cells).collect();
        self.print(&format!("\n{}", show::table(&heading, &rows)));
        let failed = self.outcome.checks.iter().filter(|check| !check.held).count();
        let checks = self.outcome.checks.len();
        let result =
            if failed == 0 { format!("all {checks} checks held") } else { format!("{failed} of {checks} checks FAILED") };
        let left = self
            .outcome
            .kept
            .as_ref()
            .map_or("nothing is left behind".to_owned(), |base| format!("everything is kept in {}", base.display()));
        self.print(&format!("{result} in {}; {left}", show::span(self.outcome.seconds)));
        self.outcome
    }
}

fn grade(consistent: bool) -> &'static str {
    if consistent { "consistent" } else { "one by one" }
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let point = self.point.map_or(String::new(), |point| format!("{point} {}", grade(self.consistent == Some(true))));
        vec![
            self.step.to_owned(),
            self.files.to_string(),
            show::size(self.changed_bytes),
            show::size(self.wire_bytes),
            self.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            show::span(self.seconds),
            point,
        ]
    }
}
