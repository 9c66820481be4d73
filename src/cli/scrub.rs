//! `standin scrub`.

use std::process::ExitCode;

use standin_common::id::SetName;
use standin_replicator::report::{LastScrub, ScrubFinding, ScrubReport};

use super::DIFFERENT;
use super::{Failure, Scene, show, unexpected};
use crate::control::{Answer, Request};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The set.
    set: SetName,
    /// Wait for its end.
    #[arg(long)]
    wait: bool,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let set = &options.set;
    match scene.ask_and_wait(&Request::Scrub { set: set.clone(), wait: options.wait })? {
        Answer::Ok => {
            let text = || format!("the scrub of {set} has begun; `standin status {set}` shows what it finds");
            scene.print(&serde_json::json!({ "started": true }), text)?;
            Ok(ExitCode::SUCCESS)
        }
        Answer::Scrubbed(report) => {
            scene.print(&report, || describe(set, &report))?;
            Ok(if report.finding_count == 0 { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
        }
        _ => Err(unexpected()),
    }
}

fn describe(set: &SetName, report: &ScrubReport) -> String {
    let mut lines: Vec<_> = report.findings.iter().map(finding).collect();
    lines.extend(report.last.as_ref().map(last));
    if report.finding_count > 0 {
        lines.push(format!("`standin verify {set} --repair` on the source mends it; then look to the disk"));
    } else if report.last.is_some_and(|last| last.files == 0 && last.changed_files == 0) {
        lines.push(
            "there was nothing to compare with: it is kept of files from 8 MiB on that came whole or were compared".to_owned(),
        );
    }
    lines.join("\n")
}

fn finding(found: &ScrubFinding) -> String {
    let what = match &found.unreadable {
        None => show::count(found.groups, "group") + " of 64 KiB wrong",
        Some(why) => {
            format!("{} of 64 KiB wrong, the rest unreadable ({})", show::count(found.groups, "group"), show::harmless(why))
        }
    };
    format!("root {}, {}: {what}, from byte {} on", found.root.0, show::harmless(&found.path), found.first_byte)
}

/// What the last one did, in one line.
pub(super) fn last(last: &LastScrub) -> String {
    let found = match last.wrong_files {
        0 => "nothing wrong".to_owned(),
        wrong => format!("{} WRONG", show::count(wrong, "file")),
    };
    let changed = match last.changed_files {
        0 => String::new(),
        changed => format!(", {} passed over that changed", show::count(changed, "file")),
    };
    let (files, bytes) = (show::count(last.files, "file"), show::size(last.bytes));
    format!("{found}: {files}, {bytes} read from the disk in {}{changed}", show::span(last.seconds))
}
