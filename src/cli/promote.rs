//! `standin promote`.

use std::process::ExitCode;

use standin_common::id::{PointNumber, SetName};

use super::{Failure, Scene, show, unexpected};
use crate::control::{Answer, Request};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The set.
    set: SetName,
    /// The recovery point; by default the newest. `standin points` lists them.
    #[arg(long)]
    point: Option<u64>,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let point = options.point.map(PointNumber);
    let Answer::Promoted { point } = scene.ask(&Request::Promote { set: options.set.clone(), point })? else {
        return Err(unexpected());
    };
    // It was promoted, whatever is wrong in the settings by now.
    let settings = scene.settings().ok();
    scene.print(&serde_json::json!({ "point": point }), || {
        let mut text = format!(
            "{} is promoted at point {} of {} ({}, {}): nothing is received for it any more\n",
            options.set,
            point.number,
            show::time(point.at),
            show::age(point.at),
            show::grade(&point)
        );
        for root in settings.iter().filter_map(|settings| settings.sets.get(&options.set)).flat_map(|set| &set.roots) {
            text += &format!("  {}\n", root.target.display());
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}
