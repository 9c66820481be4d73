//! The directory half at work: opened as settings and options say, its runs remembered, plans carried out and told.
//!
//! What is right to do is decided in `standin_failover`; here it meets the disk, the network and whoever waits.

mod access;
mod carry;
mod offline;
mod password;
#[cfg(target_os = "linux")]
#[path = "directory/linux.rs"]
mod platform;
mod rate;
mod records;
mod runs;
mod told;

pub(crate) use access::{Access, Opened};
pub(crate) use carry::{Carrier, Purpose, interrupted_by_signals};
pub(crate) use offline::{ChangeFile, how_to_import, write_changes_to};
pub(crate) use password::{is_one_line, store_password, take_password, try_password};
pub(crate) use platform::{ask_password, start_again};
pub(crate) use records::{Piece, RecordFile, Records};
pub(crate) use runs::{Course, Held, Runs};
pub(crate) use told::{Told, shown_json, shown_line};

use standin_failover::directory::DirectoryError;
use standin_failover::directory::ldap::ConnectError;
use standin_failover::exchange::ExchangeError;
use standin_failover::exchfailover::{Outcome, UsageError};
use standin_failover::execute::{ExecuteError, JournalError, OnlyError};
use standin_failover::plan::Plan;
use standin_failover::plan::build::{PlanError, PlanOptions, build};
use standin_failover::plan::check::check;
use standin_failover::plan::show::PlanFileError;

/// The environment variable that a password may come in.
pub(crate) const PASSWORD_VARIABLE: &str = "STANDIN_DIRECTORY_PASSWORD";

/// How much of what is wrong with a plan is said.
const LISTED_FAULTS: usize = 20;

/// Why a command on the directory ended, and with which exit code.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Stop {
    /// The exit code.
    pub(crate) outcome: Outcome,
    /// What, where, why, and what to do.
    pub(crate) why: String,
}

impl Stop {
    pub(crate) fn new(outcome: Outcome, why: impl std::fmt::Display) -> Self {
        Self { outcome, why: why.to_string() }
    }

    /// The command line or the settings are wrong.
    pub(crate) fn usage(why: impl std::fmt::Display) -> Self {
        Self::new(Outcome::CommandLine, why)
    }
}

impl From<UsageError> for Stop {
    fn from(error: UsageError) -> Self {
        Self::new(Outcome::from(&error), error)
    }
}

impl From<PlanError> for Stop {
    fn from(error: PlanError) -> Self {
        Self::new(Outcome::from(&error), error)
    }
}

impl From<ExchangeError> for Stop {
    fn from(error: ExchangeError) -> Self {
        PlanError::from(error).into()
    }
}

impl From<DirectoryError> for Stop {
    fn from(error: DirectoryError) -> Self {
        Self::new(Outcome::Directory, error)
    }
}

impl From<ConnectError> for Stop {
    fn from(error: ConnectError) -> Self {
        Self::new(Outcome::Directory, format!("{error}; nothing was changed"))
    }
}

impl From<OnlyError> for Stop {
    fn from(error: OnlyError) -> Self {
        match error {
            OnlyError::Directory(error) => error.into(),
            other => Self::usage(other),
        }
    }
}

/// Before a run has begun nothing was changed; [`Carrier`] says otherwise after that.
impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Self {
        Self::new(Outcome::Directory, format!("{error}; nothing was changed"))
    }
}

impl From<ExecuteError> for Stop {
    fn from(error: ExecuteError) -> Self {
        let outcome = match &error {
            ExecuteError::Directory(_) => Outcome::Directory,
            ExecuteError::OtherForest { .. } => Outcome::Refused,
            ExecuteError::Journal(_) | ExecuteError::UndoBegun => Outcome::Halfway,
        };
        Self::new(outcome, error)
    }
}

impl From<PlanFileError> for Stop {
    fn from(error: PlanFileError) -> Self {
        Self::usage(error)
    }
}

/// A plan for the directory as it is, seen by the second check, too.
pub(crate) fn plan(opened: &Opened, options: &PlanOptions, recorded: Option<&Plan>) -> Result<Plan, Stop> {
    let plan = build(opened.directory(), options, recorded)?;
    seen_twice(opened, &plan)?;
    Ok(plan)
}

/// Refuses a plan with anything that is not known to be right for the directory as it is.
pub(crate) fn seen_twice(opened: &Opened, plan: &Plan) -> Result<(), Stop> {
    let snapshot = standin_failover::exchange::Snapshot::read(opened.directory())?;
    let faults = check(plan, &snapshot);
    if faults.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = faults.iter().take(LISTED_FAULTS).map(|fault| format!("  {fault}")).collect();
    if faults.len() > LISTED_FAULTS {
        lines.push(format!("  and {} more", faults.len() - LISTED_FAULTS));
    }
    let why = "the plan is not right for the directory as it is, so it is not carried out; make it again";
    Err(Stop::new(Outcome::Refused, format!("{why}\n{}", lines.join("\n"))))
}
