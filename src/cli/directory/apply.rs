//! `standin directory apply`.

use std::path::PathBuf;
use std::process::ExitCode;

use standin_failover::exchfailover::Outcome;
use standin_failover::plan::show::{PlanFileError, read_json};

use super::super::{Failure, Scene};
use super::{CarryOptions, begin, open};
use crate::directory::{Access, Course, Opened, Stop, seen_twice};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// The plan, as 'standin directory plan --out' wrote it.
    plan: PathBuf,
    #[command(flatten)]
    carry: CarryOptions,
    #[command(flatten)]
    access: Access,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let unreadable = |error: std::io::Error| Stop::usage(format!("the plan {} can not be read: {error}", options.plan.display()));
    let wrong = |error: PlanFileError| Stop::usage(format!("{}: {error}", options.plan.display()));
    let plan = read_json(&std::fs::read_to_string(&options.plan).map_err(unreadable)?).map_err(wrong)?;
    let (opened, runs) = open(scene, &options.access)?;
    let _held = if matches!(opened, Opened::Live(_)) { Some(runs.hold()?) } else { None };
    if let Some(before) = runs.last(Some((&plan.asked.from, &plan.asked.to)))?
        && matches!(Course::of(&before), Course::Halfway | Course::Undoing)
    {
        let why = format!("a run of these servers stopped half-way ({}): resume or undo it first", before.path().display());
        return Err(Stop::new(Outcome::Halfway, why).into());
    }
    seen_twice(&opened, &plan)?;
    begin(scene, &opened, &runs, plan, &options.carry)
}
