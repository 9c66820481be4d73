//! `standin verify`.

use std::process::ExitCode;

use standin_common::id::SetName;
use standin_common::message::Comparison;

use super::{DIFFERENT, Failure, Scene, mirror, show, unexpected};
use crate::control::{Answer, MirrorOrder, Request};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The set.
    set: SetName,
    /// Mirror what differs, by checksum.
    #[arg(long)]
    repair: bool,
    /// How long at most, such as `30 min`; then it is stopped, and the exit code is 6.
    #[arg(long, value_parser = super::seconds)]
    timeout: Option<f64>,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let Answer::Mirrored(report) =
        scene.ask_and_wait(&Request::Verify { set: options.set.clone(), timeout_seconds: options.timeout })?
    else {
        return Err(unexpected());
    };
    let equal = report.finding_count == 0 && report.failed_count == 0;
    let text = || {
        let mut lines = mirror::findings(&report);
        lines.extend(report.problems.iter().map(|problem| {
            format!("root {}: {}: {}", problem.root.0, show::harmless(&problem.path), show::harmless(&problem.text))
        }));
        let mut found = if equal { "both sides are equal".to_owned() } else { show::count(report.finding_count, "difference") };
        if equal && !report.problems.is_empty() {
            found += ", as far as they were compared";
        }
        if report.failed_count > 0 {
            found += &format!(", and {} could not be compared", show::count(report.failed_count, "object"));
        }
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
        return Ok(match report.finding_count {
            _ if equal => ExitCode::SUCCESS,
            0 => ExitCode::FAILURE,
            _ => ExitCode::from(DIFFERENT),
        });
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
        timeout_seconds: options.timeout,
    };
    let Answer::Mirrored(repaired) = scene.ask_and_wait(&Request::Mirror(order))? else { return Err(unexpected()) };
    scene.print(&serde_json::json!({ "found": report, "repaired": repaired }), || mirror::summary(&repaired))?;
    mirror::check_orphans(&repaired)?;
    Ok(ExitCode::SUCCESS)
}
