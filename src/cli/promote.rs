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
    /// Make this node the source of the set, too: what is written here from now on is replicated to the other node, which becomes the
    /// standby as soon as it hears of it, and keeps aside what only it had.
    #[arg(long)]
    as_source: bool,
    /// Also if the set is one of a group, which has a cutover for this.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let point = options.point.map(PointNumber);
    let request = Request::Promote { set: options.set.clone(), point, as_source: options.as_source, force: options.force };
    let Answer::Promoted { point, generation } = scene.ask(&request)? else { return Err(unexpected()) };
    // It was promoted, whatever is wrong in the settings by now.
    let settings = scene.settings_as_they_are().ok();
    let follows = match generation {
        Some(generation) => format!("this node is the source at generation {generation}"),
        None => "nothing is received for it any more".to_owned(),
    };
    scene.print(&serde_json::json!({ "point": point, "generation": generation }), || {
        let mut text = format!(
            "{} is promoted at point {} of {} ({}, {}): {follows}\n",
            options.set,
            point.number,
            show::time(point.at),
            show::age(point.at),
            show::grade(&point)
        );
        for root in settings.iter().filter_map(|settings| settings.sets.get(&options.set)).flat_map(|set| &set.roots) {
            let path = if generation.is_some() { &root.path } else { &root.target };
            text += &format!("  {}\n", path.display());
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}
