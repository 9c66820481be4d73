//! What became of a run, for people and for programs.

use std::path::PathBuf;

use serde_json::{Value, json};
use standin_failover::exchfailover::Outcome;
use standin_failover::execute::journal::{StepId, Trouble};
use standin_failover::execute::{Convergence, Report};
use standin_failover::plan::Plan;

/// Objects that are listed one by one; the rest is counted, and in the file.
const LISTED: usize = 20;

/// A run or an undo, ended.
pub(crate) struct Told {
    /// What it was: `done` or `taken back`.
    pub(crate) verb: &'static str,
    /// How scripts see it.
    pub(crate) outcome: Outcome,
    /// What the engine says.
    pub(crate) report: Report,
    /// What was read back.
    pub(crate) shown: Vec<Convergence>,
    /// The journal.
    pub(crate) journal: PathBuf,
    /// The file of what failed, if anything did.
    pub(crate) failed_file: Option<PathBuf>,
    /// What else went wrong, none of which touches the directory.
    pub(crate) notes: Vec<String>,
}

/// How an ended run is seen by scripts. What failed before anything was written is a refusal of the directory.
pub(crate) fn outcome_of(report: &Report, shown: &[Convergence]) -> Outcome {
    let is_halfway =
        report.stopped.is_some() || !report.in_doubt.is_empty() || !report.not_tried.is_empty() || !report.away.is_empty();
    let is_untouched = report.written + report.already + report.done_before == 0 && report.in_doubt.is_empty();
    let is_refused = |trouble: Trouble| matches!(trouble, Trouble::Rights | Trouble::Busy);
    let is_all_refused = !report.failed.is_empty() && report.failed.iter().all(|failure| is_refused(failure.trouble));
    match () {
        () if is_untouched && (is_all_refused || (is_halfway && report.failed.is_empty())) => Outcome::Directory,
        () if is_halfway => Outcome::Halfway,
        () if !report.failed.is_empty() || !report.unread.is_empty() => Outcome::SomeFailed,
        // Others may be late; where it was written, it must be.
        () if shown.iter().any(|one| one.is_writer && !one.is_complete()) => Outcome::SomeFailed,
        () => Outcome::Done,
    }
}

fn object(plan: &Plan, step: StepId) -> String {
    let found = match step {
        StepId::Change(number) => plan.changes.get(number).map(|change| change.object.to_string()),
        StepId::Rename(number) => plan.renames.get(number).map(|rename| rename.object.to_string()),
    };
    found.unwrap_or_default()
}

impl Told {
    /// In lines.
    pub(crate) fn lines(&self, plan: &Plan) -> String {
        let report = &self.report;
        let mut lines = vec![format!("{}: {} objects written, {} were so already", self.verb, report.written, report.already)];
        if report.done_before > 0 {
            lines.push(format!("  {} were done before", report.done_before));
        }
        if report.left_out > 0 {
            lines.push(format!("  {} were not asked for and are left", report.left_out));
        }
        for failure in report.failed.iter().take(LISTED) {
            lines.push(format!("  failed: {}: {}", object(plan, failure.step), failure.why));
        }
        if report.failed.len() > LISTED {
            lines.push(format!("  and {} more that failed", report.failed.len() - LISTED));
        }
        for (count, what) in [(report.in_doubt.len(), "in doubt"), (report.not_tried.len(), "not tried")] {
            if count > 0 {
                lines.push(format!("  {count} {what}"));
            }
        }
        lines.extend(report.away.iter().map(|(context, why)| format!("  {context}: {why}")));
        lines.extend(report.unread.iter().map(|(context, why)| {
            format!("  {context} was not read, and nobody in it was moved: {why}; when it answers, run the same command again")
        }));
        lines.extend(report.stopped.iter().map(|why| format!("  stopped: {why}")));
        lines.extend(self.shown.iter().map(shown_line));
        lines.extend(self.notes.iter().map(|note| format!("  note: {note}")));
        lines.extend(self.failed_file.iter().map(|file| format!("  what was not done is listed in {}", file.display())));
        if self.outcome == Outcome::Halfway {
            lines.push("  stopped half-way: --resume goes on, --undo restores".to_owned());
        }
        lines.push(format!("  journal {}", self.journal.display()));
        lines.join("\n")
    }

    /// As JSON.
    pub(crate) fn json(&self, plan: &Plan) -> Value {
        let report = &self.report;
        let objects = |steps: &[StepId]| steps.iter().map(|step| object(plan, *step)).collect::<Vec<_>>();
        let failed: Vec<Value> = report
            .failed
            .iter()
            .map(|failure| json!({ "object": object(plan, failure.step), "trouble": failure.trouble, "why": failure.why }))
            .collect();
        let contexts = |those: &[(standin_failover::directory::Dn, String)]| {
            those.iter().map(|(context, why)| json!({ "context": context, "why": why })).collect::<Vec<_>>()
        };
        json!({
            "code": self.outcome.code(), "written": report.written, "already": report.already,
            "done_before": report.done_before, "left_out": report.left_out, "failed": failed,
            "in_doubt": objects(&report.in_doubt), "not_tried": objects(&report.not_tried), "away": contexts(&report.away),
            "unread": contexts(&report.unread),
            "stopped": report.stopped, "verified": shown_json(&self.shown), "notes": self.notes,
            "journal": self.journal, "failed_file": self.failed_file,
        })
    }
}

/// What controllers show, as JSON.
pub(crate) fn shown_json(shown: &[Convergence]) -> Vec<Value> {
    let one = |one: &Convergence| {
        let behind: Vec<Value> = one.behind.iter().map(|(object, why)| json!({ "object": object, "why": why })).collect();
        json!({
            "context": one.context, "controller": one.controller, "is_writer": one.is_writer,
            "agrees": one.agrees, "behind": behind, "away": one.away,
        })
    };
    shown.iter().map(one).collect()
}

/// What one controller shows, in a line.
pub(crate) fn shown_line(one: &Convergence) -> String {
    let role = if one.is_writer { "written there" } else { "another controller" };
    let mut line =
        format!("  {} ({role}) shows {} of {} in {}", one.controller, one.agrees, one.agrees + one.behind.len(), one.context);
    if let Some((object, why)) = one.behind.first() {
        line.push_str(&format!("; first of the others: {object}: {why}"));
    }
    if let Some(why) = &one.away {
        line.push_str(&format!("; could not be asked: {why}"));
    }
    line
}
