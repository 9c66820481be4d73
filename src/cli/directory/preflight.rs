//! `standin directory preflight`.

use std::process::ExitCode;

use standin_failover::exchfailover::Outcome;
use standin_failover::pairing::Rule;
use standin_failover::preflight::{Grade, preflight};

use super::super::{Failure, Scene};
use super::open;
use crate::directory::{Access, Stop};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// The source, by its name in the directory.
    source: String,
    /// The target.
    target: String,
    /// A rule of pairing, as for 'standin directory plan'.
    #[arg(short, long = "rule", value_name = "RULE")]
    rules: Vec<Rule>,
    #[command(flatten)]
    access: Access,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let (opened, _) = open(scene, &options.access)?;
    let found = preflight(opened.directory(), &options.source, &options.target, &options.rules).map_err(Stop::from)?;
    let is_ready = found.iter().all(|finding| finding.grade < Grade::Fail);
    scene.print(&serde_json::json!({ "ready": is_ready, "findings": found }), || {
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::from(if is_ready { Outcome::Done.code() } else { Outcome::SomeFailed.code() }))
}
