//! `standin directory compare`.

use std::path::PathBuf;
use std::process::ExitCode;

use standin_failover::compare::{Comparison, compare};
use standin_failover::exchange::Snapshot;
use standin_failover::exchfailover::Outcome;
use standin_failover::plan::Plan;
use standin_failover::plan::show::{Rate, summary};

use super::super::{Failure, Scene, print};
use super::{CarryOptions, begin, open};
use crate::directory::{self, Access, Opened, Stop, how_to_import};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// The source, by its name in the directory.
    source: String,
    /// The target.
    target: String,
    /// Make the target's names of groups and stores equal to the source's.
    #[arg(long)]
    rename: bool,
    /// For an export: write the renames there, for ldifde -i and ldapmodify.
    #[arg(long, value_name = "FILE", requires = "rename")]
    changes: Option<PathBuf>,
    #[command(flatten)]
    carry: CarryOptions,
    #[command(flatten)]
    access: Access,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let (opened, runs) = open(scene, &options.access)?;
    let snapshot = Snapshot::read(opened.directory()).map_err(Stop::from)?;
    let source = snapshot.server(&options.source).map_err(Stop::from)?;
    let target = snapshot.server(&options.target).map_err(Stop::from)?;
    let comparison = compare(&source, &target);
    if !options.rename {
        return differences(scene, &comparison, &options.source, &options.target);
    }
    let plan = comparison.rename_plan(&snapshot, &source, &target);
    if plan.is_empty() {
        let nothing = serde_json::json!({ "code": 0, "renames": 0, "warnings": plan.warnings });
        scene.print(&nothing, || format!("nothing to rename\n{}", plan.warnings.join("\n")))?;
        return Ok(ExitCode::SUCCESS);
    }
    directory::seen_twice(&opened, &plan)?;
    match (&opened, &options.changes) {
        (_, Some(file)) => changes(scene, &plan, runs.rate(&plan).as_ref(), file),
        (Opened::Export(_), None) => {
            Err(Failure::Usage("an export is not written to: say where its changes go with --changes".into()))
        }
        (Opened::Live(_), None) => {
            if !scene.json {
                print(&summary(&plan, runs.rate(&plan).as_ref()))?;
            }
            let _held = runs.hold()?;
            begin(scene, &opened, &runs, plan, &options.carry)
        }
    }
}

fn changes(scene: &Scene<'_>, plan: &Plan, rate: Option<&Rate>, file: &std::path::Path) -> Result<ExitCode, Failure> {
    let files = directory::write_changes_to(file, &plan.contexts, plan.writes())?;
    let report = serde_json::json!({ "code": 0, "renames": plan.renames.len(), "changes": files, "warnings": plan.warnings });
    scene.print(&report, || format!("{}{}", summary(plan, rate), how_to_import(&files)))?;
    Ok(ExitCode::SUCCESS)
}

fn differences(scene: &Scene<'_>, comparison: &Comparison, source: &str, target: &str) -> Result<ExitCode, Failure> {
    let found = &comparison.differences;
    scene.print(&serde_json::json!({ "same": found.is_empty(), "differences": found }), || match found.is_empty() {
        true => format!("{target} is laid out like {source}"),
        false => found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    })?;
    Ok(ExitCode::from(if found.is_empty() { Outcome::Done.code() } else { Outcome::SomeFailed.code() }))
}
