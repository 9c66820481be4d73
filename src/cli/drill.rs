//! `standin drill`: a failover rehearsed, shown until its end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use standin_common::id::{GroupName, NodeName, PointNumber, RunId};
use standin_common::message::RootKind;
use standin_replicator::words::size;

use super::cutover::{ask, show_foreseen};
use super::interrupt::Interrupt;
use super::{Failure, Scene, show, unexpected};
use crate::daemon::group::{Ask, Cloned, DrillEnd, DrillReport, DrillWish, Looked, Told};

/// Exit codes of a drill, as its help lists them.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  everything was as it should be
  1  something was not: the check command failed, or a failover would not work; the report says what
  2  the command line or the settings are wrong
  3  refused: no room for a copy, no such point, or another drill is under way
  4  the daemon does not run, or the node does not answer
  130  Ctrl-C: it is not waited for any more, and goes on";

/// How often a drill is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long the node may not answer.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The group.
    group: GroupName,
    /// The recovery point; by default the newest. `standin points` lists them.
    #[arg(long)]
    point: Option<u64>,
    /// On this node; by default on the one that would take over.
    #[arg(long, value_name = "NODE")]
    on: Option<NodeName>,
    /// Leave the clone, to look at it by hand. The report says where it is.
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let wish = DrillWish { on: options.on.clone(), point: options.point.map(PointNumber), keep: options.keep };
    let Told::Begun { run, node } = ask(scene, &options.group, None, Ask::Drill(wish))? else { return Err(unexpected()) };
    let report = watch(scene, &options.group, &run, &node)?;
    scene.print(&report, || describe(&report))?;
    Ok(match report.end {
        Some(DrillEnd::Passed) => ExitCode::SUCCESS,
        Some(DrillEnd::Refused) => ExitCode::from(3),
        Some(DrillEnd::Failed) | None => ExitCode::from(1),
    })
}

fn watch(scene: &Scene<'_>, group: &GroupName, run: &RunId, node: &NodeName) -> Result<DrillReport, Failure> {
    let mut heard = Instant::now();
    let interrupt = Interrupt::watch()?;
    loop {
        if interrupt.is_pressed() {
            let text = format!(
                "it is not waited for any more; {node} goes on with it: `standin group report {group} {run}` shows its report"
            );
            return Err(Failure::Interrupted(text));
        }
        match ask(scene, group, Some(node.clone()), Ask::DrillReport(Some(run.clone()))) {
            Ok(Told::Drilled(report)) if report.end.is_some() => return Ok(*report),
            Ok(Told::Drilled(_)) => heard = Instant::now(),
            Ok(_) => return Err(unexpected()),
            Err(Failure::Unreachable(_)) if heard.elapsed() < PATIENCE => {}
            Err(error) => return Err(error),
        }
        std::thread::sleep(LOOK);
    }
}

/// The report of a drill, or of the last one, on whichever node has it.
pub(super) fn find(scene: &Scene<'_>, group: &GroupName, run: Option<&RunId>) -> Result<Option<DrillReport>, Failure> {
    let settings = scene.settings()?;
    let nodes = settings.groups.get(group).map(|written| written.nodes.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let mut found: Option<DrillReport> = None;
    for node in nodes {
        // A node that does not answer, or has none, is passed over.
        if let Ok(Told::Drilled(report)) = ask(scene, group, Some(node), Ask::DrillReport(run.cloned()))
            && found.as_ref().is_none_or(|found| found.run < report.run)
        {
            found = Some(*report);
        }
    }
    Ok(found)
}

fn span(ms: u64) -> String {
    show::span(ms as f64 / 1000.0)
}

/// A report, for people.
pub(super) fn describe(report: &DrillReport) -> String {
    let end = match report.end {
        None => "under way",
        Some(DrillEnd::Passed) => "passed",
        Some(DrillEnd::Failed) => "FAILED",
        Some(DrillEnd::Refused) => "REFUSED",
    };
    let mut text = format!(
        "drill of {} on {}\nrun       {}\nend       {end}\ntime      {}\n",
        report.group,
        report.node,
        report.run,
        span(report.took_ms)
    );
    for cloned in &report.sets {
        text += &describe_clone(cloned, report.kept);
    }
    match &report.check {
        Some(check) => text += &describe_check(check),
        None if report.sets.is_empty() => {}
        None => text += "check     none: write `drill = [\"COMMAND\"]` into the group's settings to have the clone looked at\n",
    }
    for trouble in &report.troubles {
        text += &format!("trouble   {}\n", show::harmless(trouble));
    }
    if !report.steps.is_empty() {
        text += "\nA failover would\n";
    }
    for step in &report.steps {
        text += &format!("  {}\n", show::harmless(step));
    }
    text += &show_foreseen(&report.foreseen);
    if !report.checked.is_empty() {
        text += "\nWhat should be right for it\n";
    }
    for checked in &report.checked {
        let grade = if checked.grade == "fail" { "FAIL" } else { &checked.grade };
        let mend = if checked.mend.is_empty() { String::new() } else { format!("; {}", checked.mend) };
        text += &show::harmless(&format!("  {grade:<5} {}: {}{mend}", checked.of, checked.what));
        text.push('\n');
    }
    text
}

fn describe_clone(cloned: &Cloned, kept: bool) -> String {
    let Cloned { set, point, consistent, behind_ms, roots, kinds, files, bytes, shared, took_ms, paused_ms } = cloned;
    let grade = if *consistent { "consistent" } else { "one by one" };
    let how = if *shared { "sharing their data with the replica" } else { "copied" };
    let lost = behind_ms.map_or("not known".to_owned(), |ms| format!("changes of the last {}", span(ms)));
    let mut text = format!("set       {set} at point {point} ({grade}); a loss of the source would have cost: {lost}\n");
    text += &format!(
        "clone     {files} files, {}, {how}, in {}; replication waited {}\n",
        size(*bytes),
        span(*took_ms),
        span(*paused_ms)
    );
    for (number, root) in roots.iter().enumerate().filter(|_| kept) {
        let is_device = kinds.get(number) == Some(&RootKind::Device);
        let what = if is_device { ", a file with what the block device holds" } else { "" };
        text += &format!("kept      {}{what}\n", root.display());
    }
    text
}

fn describe_check(check: &Looked) -> String {
    let words = show::harmless(&check.command.join(" "));
    let end = check.failed.as_ref().map_or("passed".to_owned(), |why| format!("FAILED: {}", show::harmless(why)));
    let mut text = format!("check     {words}: {end} ({})\n", span(check.took_ms));
    for line in &check.said {
        text += &format!("          {}\n", show::harmless(line));
    }
    text
}
