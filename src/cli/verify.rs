//! `standin verify`.

use std::process::ExitCode;

use standin_common::id::SetName;
use standin_common::message::Comparison;

use super::{Failure, Scene, mirror, show, unexpected};
use crate::control::{Answer, MirrorOrder, Request};

/// Exit code where both sides differ.
pub(super) const DIFFERENT: u8 = 5;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The set.
    set: SetName,
    /// Mirror what differs, by checksum.
    #[arg(long)]
    repair: bool,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let Answer::Mirrored(report) = scene.ask_and_wait(&Request::Verify { set: options.set.clone() })? else {
        return Err(unexpected());
    };
    let equal = report.finding_count == 0 && report.problem_count == 0;
    let text = || {
        let mut lines = mirror::findings(&report);
        lines.extend(
            report.problems.iter().map(|problem| format!("{}: {}", show::harmless(&problem.path), show::harmless(&problem.text))),
        );
        let found = if equal { "both sides are equal".to_owned() } else { show::count(report.finding_count, "difference") };
        let (objects, bytes, took) =
            (show::count(report.objects, "object"), show::size(report.bytes), show::span(report.seconds));
        lines.push(format!("{found}: {objects}, {bytes} read again on both sides in {took}"));
        let lists =
            report.hashes.iter().map(|path| format!("hashes of the source: {} (for b3sum --check)", show::harmless(path)));
        lines.extend(lists);
        lines.join("\n")
    };
    if equal || !options.repair {
        scene.print(&report, text)?;
        return Ok(if equal { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) });
    }
    if !scene.json {
        super::print(&text())?;
    }
    let order = MirrorOrder {
        set: options.set.clone(),
        comparison: Some(Comparison::Checksum),
        orphans: None,
        max_orphans: None,
        limit_bytes_per_second: None,
        dry_run: false,
        wait: true,
    };
    let removes = mirror::removes(scene, &order)?;
    let Answer::Mirrored(repaired) = scene.ask_and_wait(&Request::Mirror(order))? else { return Err(unexpected()) };
    scene.print(&serde_json::json!({ "found": report, "repaired": repaired }), || mirror::summary(&repaired))?;
    mirror::check_orphans(&repaired, removes)?;
    Ok(ExitCode::SUCCESS)
}
