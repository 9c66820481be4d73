//! `standin directory resume` and `standin directory undo`.

use std::path::PathBuf;
use std::process::ExitCode;

use standin_failover::execute::Only;

use super::super::{Failure, Scene};
use super::{CarryOptions, carry, open};
use crate::directory::{Access, Purpose, Runs, Stop};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// The journal of the run; without it, that of the last run.
    journal: Option<PathBuf>,
    /// Only what is in this domain.
    #[arg(long, value_name = "DOMAIN", conflicts_with = "only_user")]
    only_domain: Option<String>,
    /// Only this user, by user principal name.
    #[arg(long, value_name = "USER")]
    only_user: Option<String>,
    #[command(flatten)]
    carry: CarryOptions,
    #[command(flatten)]
    access: Access,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options, purpose: Purpose) -> Result<ExitCode, Failure> {
    let (opened, runs) = open(scene, &options.access)?;
    let _held = runs.hold()?;
    let mut journal = match &options.journal {
        Some(path) => Runs::named(path)?,
        None => runs.last_or_stop(None)?,
    };
    let only = match (&options.only_domain, &options.only_user) {
        (Some(domain), _) => Only::domain(&journal.plan().contexts, domain),
        (None, Some(user)) => Only::user(opened.directory(), user),
        (None, None) => Ok(Only::Everything),
    };
    let only = only.map_err(Stop::from)?;
    carry(scene, &opened, &mut journal, (purpose, &only), &options.carry)
}
