//! `standin point`.

use std::process::ExitCode;

use standin_common::id::SetName;

use super::{Failure, Scene, show, unexpected};
use crate::control::{Answer, Request};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The set.
    set: SetName,
    /// Wait until the standby has it; what changed before is then durable there.
    #[arg(long)]
    wait: bool,
    /// How long at most, such as `30s`; then the exit code is 6, and the point is made all the same. By default for ever.
    #[arg(long, value_parser = super::seconds)]
    timeout: Option<f64>,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let request = Request::Point {
        set: options.set.clone(),
        wait: options.wait || options.timeout.is_some(),
        timeout_seconds: options.timeout,
    };
    let Answer::Pointed { point, later } = scene.ask_and_wait(&request)? else { return Err(unexpected()) };
    scene.print(&serde_json::json!({ "point": point, "later": later }), || match &point {
        Some(point) => format!("recovery point {} of {}, {}", point.number, show::time(point.at), show::grade(point)),
        None => match &later {
            Some(why) => format!("a recovery point is made later: {}", show::harmless(why)),
            None => format!("a recovery point is being made; `standin points {}` shows it", options.set),
        },
    })?;
    Ok(ExitCode::SUCCESS)
}
