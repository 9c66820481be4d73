//! `standin points`.

use std::process::ExitCode;

use standin_common::id::SetName;

use super::{Failure, Scene, show, unexpected};
use crate::control::{Answer, Request};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The set.
    set: SetName,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let Answer::Points { points, at } = scene.ask(&Request::Points { set: options.set.clone() })? else {
        return Err(unexpected());
    };
    scene.print(&serde_json::json!({ "points": points, "at": at }), || {
        if points.is_empty() {
            return "no recovery point yet: the first mirror has not finished".to_owned();
        }
        let row = |point: &standin_replicator::journal::Point| {
            vec![
                point.number.to_string(),
                show::time(point.at),
                show::age(point.at),
                show::grade(point).to_owned(),
                point.objects.to_string(),
                show::size(point.bytes),
                point.orphans.to_string(),
                if Some(point.number) == at { "the replica is here".to_owned() } else { String::new() },
            ]
        };
        let rows: Vec<_> = points.iter().rev().map(row).collect();
        show::table(&["POINT", "TIME", "AGE", "GRADE", "OBJECTS", "SIZE", "ORPHANS", ""], &rows)
    })?;
    Ok(ExitCode::SUCCESS)
}
