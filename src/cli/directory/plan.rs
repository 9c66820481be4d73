//! `standin directory plan`.

use std::path::PathBuf;
use std::process::ExitCode;

use standin_failover::pairing::Rule;
use standin_failover::plan::build::PlanOptions;
use standin_failover::plan::show::{read_json, summary, write_details};

use super::super::{Failure, Scene, print};
use super::{open, write_plan};
use crate::directory::{self, Access, ChangeFile, Opened, Stop, how_to_import};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// The original source, by its name in the directory.
    source: String,
    /// The original target.
    target: String,
    /// Plan the way home: from the target, which stands in, to the source.
    #[arg(long)]
    failback: bool,
    /// Only what must be before the target's stores are started: that they may be overwritten.
    #[arg(long)]
    setup: bool,
    /// Pair stores: GROUP:GROUP or GROUP,STORE:GROUP,STORE. More than once for several. Without a rule, stores are paired by their files' names.
    #[arg(short, long = "rule", value_name = "RULE")]
    rules: Vec<Rule>,
    /// Leave the Recipient Update Services alone.
    #[arg(long)]
    norus: bool,
    /// Leave service principal names alone.
    #[arg(long)]
    nospn: bool,
    /// Leave the bridgeheads of connectors alone.
    #[arg(long)]
    no_connectors: bool,
    /// Put each of the two servers into the other's routing group.
    #[arg(long)]
    swap_routing_groups: bool,
    /// Move the HOST service names, too. The source cannot log on to its domain meanwhile.
    #[arg(long)]
    move_host_spn: bool,
    /// Stores without a counterpart are meant to stay.
    #[arg(long)]
    leave_unpaired: bool,
    /// For mailbox stores that used the source's public store, where the target has none.
    #[arg(long, value_name = "STORE")]
    default_public_store: Option<String>,
    /// Write the plan there, to be reviewed and carried out with 'standin directory apply'.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the changes there, for ldifde -i and ldapmodify.
    #[arg(long, value_name = "FILE")]
    changes: Option<PathBuf>,
    /// Write what takes the changes back there, in the same form.
    #[arg(long, value_name = "FILE")]
    undo_changes: Option<PathBuf>,
    /// For a failback: the plan of the failover that was carried out. Without it, the journals of runs are looked at.
    #[arg(long, value_name = "FILE", requires = "failback")]
    recorded: Option<PathBuf>,
    /// Print every change, not only the summary.
    #[arg(long)]
    details: bool,
    #[command(flatten)]
    access: Access,
}

impl Options {
    fn plan_options(&self) -> PlanOptions {
        PlanOptions {
            failback: self.failback,
            source: self.source.clone(),
            target: self.target.clone(),
            rules: self.rules.clone(),
            setup_only: self.setup,
            leave_update_service: self.norus,
            leave_service_names: self.nospn,
            leave_connectors: self.no_connectors,
            swap_routing_groups: self.swap_routing_groups,
            move_host_names: self.move_host_spn,
            leave_unpaired: self.leave_unpaired,
            default_public_store: self.default_public_store.clone(),
        }
    }
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let (opened, runs) = open(scene, &options.access)?;
    let recorded = match &options.recorded {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| Stop::usage(format!("{}: {error}", file.display())))?;
            Some(read_json(&text).map_err(Stop::from)?)
        }
        None if options.failback && matches!(opened, Opened::Live(_)) => runs.recorded(&options.source, &options.target)?,
        None => None,
    };
    let plan = directory::plan(&opened, &options.plan_options(), recorded.as_ref())?;
    if let Some(file) = &options.out {
        write_plan(file, &plan)?;
    }
    let (mut changes, mut undo_changes) = (Vec::new(), Vec::new());
    if let Some(file) = &options.changes {
        changes = directory::write_changes_to(file, &plan.contexts, plan.writes())?;
    }
    if let Some(file) = &options.undo_changes {
        undo_changes = directory::write_changes_to(file, &plan.contexts, plan.undoing())?;
    }
    if options.details && !scene.json {
        let mut text = Vec::new();
        write_details(&plan, &mut text).map_err(Failure::failed)?;
        print(&String::from_utf8_lossy(&text))?;
    }
    // The whole plan is in its file; what is printed is what somebody reads, or the same as JSON.
    if scene.json && options.details {
        scene.print(&plan, String::new)?;
    } else {
        let rate = runs.rate(&plan);
        let counts = serde_json::json!({
            "asked": plan.asked, "pairs": plan.pairs, "unpaired": plan.unpaired, "changes": plan.changes.len(),
            "renames": plan.renames.len(), "references": plan.references.len(), "missing": plan.missing, "warnings": plan.warnings,
            "expected_seconds": rate.map(|rate| rate.seconds(&plan)), "measured_writes_per_second": rate.map(|rate| rate.writes_per_second),
            "change_files": changes, "undo_files": undo_changes,
        });
        let said = |what: &str, files: &[ChangeFile]| match files {
            [] => String::new(),
            _ => format!("{what}{}\n", how_to_import(files)),
        };
        scene.print(&counts, || {
            format!("{}{}{}", summary(&plan, rate.as_ref()), said("", &changes), said("to take them back: ", &undo_changes))
        })?;
    }
    Ok(ExitCode::SUCCESS)
}
