//! `standin wait`.

use std::process::ExitCode;

use standin_common::id::{PointNumber, SetName};
use standin_replicator::goal::Goal;

use super::{Failure, Scene, unexpected};
use crate::control::{Answer, Request};

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("goal").required(true).args(["synced", "queue_empty", "point"])))]
pub(super) struct Options {
    /// The set.
    set: SetName,
    /// Until everything that changed before now is at the standby, whatever changes meanwhile; where nothing watches the roots, until no mirror is to be done; on the standby, until
    /// all that was received is in the replica.
    #[arg(long)]
    synced: bool,
    /// Until no change waits to be sent; on the standby, until nothing is being received or applied.
    #[arg(long)]
    queue_empty: bool,
    /// Until the recovery point of this number, or a later one, is complete.
    #[arg(long)]
    point: Option<u64>,
    /// How long at most, such as `30s`; then the exit code is 6. By default for ever.
    #[arg(long, value_parser = super::seconds)]
    timeout: Option<f64>,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let goal = match options.point {
        Some(number) => Goal::Point(PointNumber(number)),
        None if options.synced => Goal::Synced,
        None => Goal::QueueEmpty,
    };
    let request = Request::Wait { set: options.set.clone(), goal, timeout_seconds: options.timeout };
    let Answer::Reached(report) = scene.ask_and_wait(&request)? else { return Err(unexpected()) };
    scene.print(&report, || match &report.point {
        Some(point) => format!("{} is so far; the newest recovery point is {}", report.set, point.number),
        None => format!("{} is so far; there is no recovery point yet", report.set),
    })?;
    Ok(ExitCode::SUCCESS)
}
