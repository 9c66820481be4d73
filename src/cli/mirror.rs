//! `standin mirror`.

use std::process::ExitCode;

use standin_common::id::SetName;
use standin_common::message::{Comparison, Difference, OrphanPolicy};
use standin_config::{MaxOrphans, Orphans, units};
use standin_replicator::report::MirrorReport;

use super::{Failure, Scene, show, unexpected};
use crate::control::{Answer, MirrorOrder, Request};

/// Problems and findings that people are shown; `--json` has more.
const SHOWN: usize = 20;

#[derive(Debug, clap::Subcommand)]
pub(super) enum MirrorCommand {
    /// Start a mirror. Ordering what runs already changes nothing.
    Start(Start),
    /// Pause a mirror; it goes on where it was.
    Pause {
        /// The set.
        set: SetName,
    },
    /// Go on with a paused mirror.
    Resume {
        /// The set.
        set: SetName,
    },
    /// End a mirror, and following; the newest recovery point stays.
    Stop {
        /// The set.
        set: SetName,
        /// Also if the set is one of a group that is online.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Start {
    /// The set.
    set: SetName,
    /// Send everything, whatever the standby has.
    #[arg(long, group = "comparison")]
    full: bool,
    /// Compare by size, times, owner, mode and attributes (the default).
    #[arg(long, group = "comparison")]
    difference: bool,
    /// Compare the data of all files.
    #[arg(long, group = "comparison")]
    checksum: bool,
    /// What happens to objects that only the standby has: remove, report or keep; by default as in the settings.
    #[arg(long)]
    orphans: Option<Orphans>,
    /// How many of them, or which share (`25%`), may be removed without asking.
    #[arg(long)]
    max_orphans: Option<MaxOrphans>,
    /// The largest rate, such as `50 MB/s` or `400 Mbit/s`, in the place of what the settings say, also of their timetable.
    #[arg(long, value_parser = rate)]
    limit: Option<u64>,
    /// Change nothing, and list what would change.
    #[arg(long)]
    dry_run: bool,
    /// Wait for the end.
    #[arg(long)]
    wait: bool,
    /// How long at most, such as `30 min`; then the exit code is 6, and the mirror goes on. By default for ever.
    #[arg(long, value_parser = super::seconds)]
    timeout: Option<f64>,
}

fn rate(text: &str) -> Result<u64, String> {
    units::parse_rate(text).map_err(|error| error.to_string())
}

impl Start {
    fn order(&self) -> MirrorOrder {
        let comparison =
            [(self.full, Comparison::Full), (self.difference, Comparison::Difference), (self.checksum, Comparison::Checksum)];
        MirrorOrder {
            set: self.set.clone(),
            comparison: comparison.into_iter().find(|(chosen, _)| *chosen).map(|(_, comparison)| comparison),
            orphans: self.orphans.map(|orphans| match orphans {
                Orphans::Remove => OrphanPolicy::Remove,
                Orphans::Report => OrphanPolicy::Report,
                Orphans::Keep => OrphanPolicy::Keep,
            }),
            max_orphans: self.max_orphans,
            limit_bytes_per_second: self.limit,
            dry_run: self.dry_run,
            wait: self.wait || self.timeout.is_some(),
            timeout_seconds: self.timeout,
        }
    }
}

pub(super) fn run(scene: &Scene<'_>, command: &MirrorCommand) -> Result<ExitCode, Failure> {
    let (request, said) = match command {
        MirrorCommand::Start(start) => return run_start(scene, start),
        MirrorCommand::Pause { set } => (Request::Pause { set: set.clone() }, "paused"),
        MirrorCommand::Resume { set } => (Request::Resume { set: set.clone() }, "goes on"),
        MirrorCommand::Stop { set, force } => {
            (Request::Stop { set: set.clone(), force: *force }, "stopped; the newest recovery point stays")
        }
    };
    let Answer::Ok = scene.ask(&request)? else { return Err(unexpected()) };
    scene.print(&serde_json::json!({ "ok": true }), || said.to_owned())?;
    Ok(ExitCode::SUCCESS)
}

fn run_start(scene: &Scene<'_>, start: &Start) -> Result<ExitCode, Failure> {
    let order = start.order();
    match scene.ask_and_wait(&Request::Mirror(order))? {
        Answer::Started { new } => {
            scene.print(&serde_json::json!({ "started": new }), || {
                let what = if new { "started" } else { "running already" };
                format!("{what}; `standin status {}` shows how far it is", start.set)
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Answer::Mirrored(report) if start.dry_run => {
            scene.print(&report, || dry_run(&report))?;
            Ok(ExitCode::SUCCESS)
        }
        Answer::Mirrored(report) => {
            scene.print(&report, || summary(&report))?;
            check_orphans(&report)?;
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(unexpected()),
    }
}

/// Refused, if orphans were to be removed and stayed.
pub(super) fn check_orphans(report: &MirrorReport) -> Result<(), Failure> {
    if !report.removes_orphans || report.orphans_left == 0 {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "the recovery point was made, but {} orphans were left on the standby: more than `max_orphans` allows, or something \
         of the source could not be read; if they are really to go, repeat it with --max-orphans {}",
        report.orphans_left, report.orphans_left
    )))
}

/// A mirror that ended, for people.
pub(super) fn summary(report: &MirrorReport) -> String {
    let grade = if report.consistent { "consistent" } else { "one by one: files changed while they were read" };
    let point = report.point.map_or("none".to_owned(), |point| format!("{point} ({grade})"));
    // Of next to nothing it would only be that of the headers.
    let ratio = if report.data_bytes >= 64 * 1024 {
        format!(", {:.2} times the data", report.wire.sent_bytes as f64 / report.data_bytes as f64)
    } else {
        String::new()
    };
    let rate = (report.data_bytes as f64 / report.seconds.max(0.001)) as u64;
    let mut lines = vec![
        format!("recovery point  {point}"),
        format!("source          {}, {}", show::count(report.objects, "object"), show::size(report.bytes)),
        format!(
            "different       {} of {}, {}",
            show::count(report.wanted_files, "file"),
            show::size(report.wanted_bytes),
            show::count(report.changed_objects, "other object")
        ),
        format!("data sent       {}, {}/s", show::size(report.data_bytes), show::size(rate)),
        format!(
            "on the wire     {} out, {} in{ratio}",
            show::size(report.wire.sent_bytes),
            show::size(report.wire.received_bytes)
        ),
        format!("orphans         {} found, {} left", report.orphans, report.orphans_left),
        format!("time            {} in {}", show::span(report.seconds), passes(report)),
    ];
    for problem in report.problems.iter().take(SHOWN) {
        lines.push(format!(
            "problem         root {}: {}: {}",
            problem.root.0,
            show::harmless(&problem.path),
            show::harmless(&problem.text)
        ));
    }
    more(&mut lines, report.problem_count, "problems");
    lines.extend(findings(report));
    lines.join("\n")
}

fn passes(report: &MirrorReport) -> String {
    let passes = if report.passes == 1 { "1 pass".to_owned() } else { format!("{} passes", report.passes) };
    if report.resumed > 0 { format!("{passes}, {} times taken up again", report.resumed) } else { passes }
}

fn more(lines: &mut Vec<String>, count: u64, what: &str) {
    if count > SHOWN as u64 {
        lines.push(format!("                and {} more {what}; --json lists the first 1,000", count - SHOWN as u64));
    }
}

/// What differs, a line each.
pub(super) fn findings(report: &MirrorReport) -> Vec<String> {
    let word = |difference| match difference {
        Difference::Missing => "missing on the standby",
        Difference::Orphan => "only on the standby",
        Difference::OtherKind => "of another kind",
        Difference::Attributes => "other attributes",
        Difference::Data => "other data",
    };
    let mut lines = Vec::new();
    let mut sorted: Vec<_> = report.findings.iter().collect();
    sorted.sort_by(|a, b| (a.root.0, &a.path).cmp(&(b.root.0, &b.path)));
    for found in sorted.into_iter().take(SHOWN) {
        let ranges: Vec<_> = found.ranges.iter().take(4).map(|(start, end)| format!("{start}-{end}")).collect();
        let ranges = match ranges.len() {
            0 => String::new(),
            _ if found.ranges.len() > 4 => format!(", bytes {}, ... ({} ranges)", ranges.join(", "), found.ranges.len()),
            _ => format!(", bytes {}", ranges.join(", ")),
        };
        let path = if found.path == "." { "(the root itself)".to_owned() } else { show::harmless(&found.path) };
        lines.push(format!("root {}: {path}: {}{ranges}", found.root.0, word(found.difference)));
    }
    more(&mut lines, report.finding_count, "differences");
    lines
}

fn dry_run(report: &MirrorReport) -> String {
    let mut lines = findings(report);
    lines.push(format!(
        "a mirror would send {} of {}, change {}, and find {}; nothing was changed",
        show::count(report.wanted_files, "file"),
        show::size(report.wanted_bytes),
        show::count(report.changed_objects, "other object"),
        show::count(report.orphans, "orphan")
    ));
    lines.join("\n")
}
