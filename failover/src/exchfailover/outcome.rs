//! How a run ended, as scripts see it.

use crate::exchange::ExchangeError;
use crate::exchfailover::UsageError;
use crate::plan::build::PlanError;

/// The exit codes. They are documented and stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// Done, or nothing to do.
    Done = 0,
    /// Some objects failed; they are in the log and in the file for the next try.
    SomeFailed = 1,
    /// The command line is wrong.
    CommandLine = 2,
    /// The servers or their stores can not take each other's place; nothing was changed.
    Refused = 3,
    /// The directory can not be reached, or refuses; nothing was changed.
    Directory = 4,
    /// Stopped half-way: a further run resumes, `--undo` restores.
    Halfway = 5,
}

impl Outcome {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<&UsageError> for Outcome {
    fn from(_: &UsageError) -> Self {
        Self::CommandLine
    }
}

/// No plan, so nothing was changed.
impl From<&PlanError> for Outcome {
    fn from(error: &PlanError) -> Self {
        match error {
            PlanError::Exchange(ExchangeError::Directory(_) | ExchangeError::NoOrganization(_)) => Self::Directory,
            PlanError::Exchange(ExchangeError::NoServer { .. }) => Self::CommandLine,
            PlanError::Exchange(ExchangeError::Server { .. })
            | PlanError::Pairing(_)
            | PlanError::Unpaired(_)
            | PlanError::Refused(_) => Self::Refused,
        }
    }
}
