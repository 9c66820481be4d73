//! `standin directory`: Active Directory, a file for each command.

mod apply;
mod compare;
mod go_on;
mod password;
mod plan;
mod preflight;
mod show;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use standin_common::disk::{self, Mode};
use standin_failover::execute::{Journal, Only};
use standin_failover::plan::Plan;
use standin_failover::plan::show::write_json;

use super::{Failure, Scene, bar};
use crate::directory::{Access, Carrier, Opened, Purpose, Runs, Stop, interrupted_by_signals};

/// Exit codes of these commands; `exchfailover` has the same.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done, or nothing to do
  1  some objects failed, or differ, or a check failed
  2  the command line or the settings are wrong
  3  the servers or their stores cannot take each other's place; nothing was changed
  4  the directory cannot be reached or refuses; nothing was changed
  5  stopped half-way: resume goes on, undo restores";

#[derive(Debug, clap::Subcommand)]
pub(super) enum DirectoryCommand {
    /// Plan a failover or a failback: every change with its old and its new value. Nothing is changed.
    Plan(plan::Options),
    /// Carry out a plan from a file: exactly that, or nothing if the directory has moved on.
    Apply(apply::Options),
    /// Take back what a run wrote. What somebody changed since is told and left.
    Undo(go_on::Options),
    /// Go on with a run that stopped half-way.
    Resume(go_on::Options),
    /// Read back what a run wrote from every controller, and show what changed since: before, written, now.
    Verify(verify::Options),
    /// Show a server: groups, stores, files, users, and what it serves.
    Show(show::Options),
    /// Compare two servers: names, versions, files, paths. With --rename, make the target's names equal.
    Compare(compare::Options),
    /// Check what should be right before a failover is needed, as far as the directory tells.
    Preflight(preflight::Options),
    /// Check a changed password with the directory, and store it for later runs.
    Password(password::Options),
}

pub(super) fn run(scene: &Scene<'_>, command: &DirectoryCommand) -> Result<ExitCode, Failure> {
    match command {
        DirectoryCommand::Plan(options) => plan::run(scene, options),
        DirectoryCommand::Apply(options) => apply::run(scene, options),
        DirectoryCommand::Undo(options) => go_on::run(scene, options, Purpose::Back),
        DirectoryCommand::Resume(options) => go_on::run(scene, options, Purpose::Forward),
        DirectoryCommand::Verify(options) => verify::run(scene, options),
        DirectoryCommand::Show(options) => show::run(scene, options),
        DirectoryCommand::Compare(options) => compare::run(scene, options),
        DirectoryCommand::Preflight(options) => preflight::run(scene, options),
        DirectoryCommand::Password(options) => password::run(scene, options),
    }
}

/// Options of what carries a plan out.
#[derive(Debug, clap::Args)]
struct CarryOptions {
    /// Do not read back what was written.
    #[arg(long)]
    no_verify: bool,
    /// Where the list of what was not done goes.
    #[arg(long, value_name = "FILE", default_value = "FailedExUsers.log")]
    failed: PathBuf,
}

/// The directory, and where its runs are remembered.
fn open(scene: &Scene<'_>, access: &Access) -> Result<(Opened, Runs), Failure> {
    let access = access.clone().or(scene.settings_if_any()?.as_ref());
    Ok((access.open()?, Runs::of(access.state_dir())))
}

/// A new run of a plan.
fn begin(scene: &Scene<'_>, opened: &Opened, runs: &Runs, plan: Plan, options: &CarryOptions) -> Result<ExitCode, Failure> {
    let (no_verify, failed_file) = (options.no_verify, options.failed.clone());
    let interrupt = interrupted_by_signals()?;
    let carrier = Carrier { directory: opened.controllers()?, verify: !no_verify, failed_file, interrupt, progress: &|_, _| {} };
    let mut journal = carrier.begin(runs, plan)?;
    carry(scene, opened, &mut journal, (Purpose::Forward, &Only::Everything), options)
}

/// Takes a run as far as it goes, and tells what became of it.
fn carry(
    scene: &Scene<'_>,
    opened: &Opened,
    journal: &mut Journal,
    (purpose, only): (Purpose, &Only),
    options: &CarryOptions,
) -> Result<ExitCode, Failure> {
    let bar = bar::Steps::new(scene.json);
    let progress = |done, of| bar.show(done, of);
    let carrier = Carrier {
        directory: opened.controllers()?,
        verify: !options.no_verify,
        failed_file: options.failed.clone(),
        interrupt: interrupted_by_signals()?,
        progress: &progress,
    };
    let told = carrier.carry(journal, purpose, only)?;
    drop(bar);
    scene.print(&told.json(journal.plan()), || told.lines(journal.plan()))?;
    Ok(ExitCode::from(told.outcome.code()))
}

fn write_plan(file: &Path, plan: &Plan) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    write_json(plan, &mut bytes).map_err(Stop::from)?;
    Ok(disk::replace(file, &bytes, Mode::Private).map_err(Stop::usage)?)
}
