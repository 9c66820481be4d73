//! Executing a plan: journal first, then compare-and-swap writes; resumed after whatever ended it, or undone.
//!
//! What always holds:
//! - The plan with every old value, and the intention to write an object, are on disk before that object is written.
//! - A write replaces exactly what the plan saw. What somebody else changed is reported, never overwritten; undo holds to that, too.
//! - A write of which the answer never came is *in doubt*, and told apart by reading the object: old values, new ones, or others.
//!
//! The way: [`Journal::create`] → [`run`] → ([`run`] again to resume) → [`verify`], or [`undo`]. What one step does next is decided
//! by [`attempt`], without clock and directory; states of steps and their legal transitions are in [`journal`].

pub mod attempt;
mod clock;
mod compare;
mod controllers;
pub mod failed;
mod find;
pub mod journal;
mod only;
mod run;
pub mod sim;
mod standing;
mod undo;
mod verify;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use clock::{Clock, SystemClock};
pub use compare::{Comparison, ThreeWay, compare, residents};
pub use controllers::Controllers;
pub use journal::{Journal, JournalError};
pub use only::{Only, OnlyError};
pub use run::run;
pub use standing::Standing;
pub use undo::undo;
pub use verify::{Convergence, verify};

use crate::directory::{DirectoryError, Dn};
use journal::{StepId, Trouble};

/// How patient an execution is, and how much it does at once.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Writes in flight at once.
    pub at_once: usize,
    /// How long a busy server is tried again for one object.
    pub busy: Duration,
    /// How long a lost controller is tried again before another one writes, or the run stops.
    pub lost: Duration,
    /// Whether another controller may become the writer. Never in an undo: what the lost one did not pass on would come back later.
    pub other_writer: bool,
    /// What makes pauses differ from those of others.
    pub seed: u64,
}

impl Default for Manner {
    fn default() -> Self {
        let seed = u64::from(std::process::id());
        Self { at_once: 16, busy: Duration::from_secs(60), lost: Duration::from_secs(30), other_writer: true, seed }
    }
}

/// What an execution works with.
pub struct Tools<'a> {
    /// Where it writes.
    pub directory: &'a dyn Controllers,
    /// What time it is.
    pub clock: &'a dyn Clock,
    /// How patient it is.
    pub manner: &'a Manner,
    /// Set by whoever wants it to end early; what is in flight is finished first.
    pub interrupt: &'a AtomicBool,
    /// Told after each step: how many are done, of how many.
    pub progress: &'a (dyn Fn(usize, usize) + Sync),
}

/// What became of a run or an undo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Steps written by this call.
    pub written: usize,
    /// Steps that were as they should be, without this run's doing.
    pub already: usize,
    /// Steps that a call before this one had done.
    pub done_before: usize,
    /// What failed for certain: not written.
    pub failed: Vec<Failure>,
    /// What was sent and never answered: read before anything else is done about it.
    pub in_doubt: Vec<StepId>,
    /// What was not tried.
    pub not_tried: Vec<StepId>,
    /// What was not asked for by [`Only`].
    pub left_out: usize,
    /// Naming contexts of which no writer answers, and why: what is in them was left for later.
    pub away: Vec<(Dn, String)>,
    /// Domains that could not be read when the plan was made, and why: nobody in them was moved. Only of the way forward.
    pub unread: Vec<(Dn, String)>,
    /// Why it ended early.
    pub stopped: Option<String>,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub step: StepId,
    /// What kind of trouble.
    pub trouble: Trouble,
    /// Its words.
    pub why: String,
}

impl Report {
    /// Whether nothing that was asked for is left to do.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
            && self.in_doubt.is_empty()
            && self.not_tried.is_empty()
            && self.stopped.is_none()
            && self.away.is_empty()
            && self.unread.is_empty()
    }
}

/// Why an execution did not begin, or could not go on writing its journal.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The journal cannot be used or written. Nothing is written to the directory after that.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The directory does not answer before anything was written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The journal's plan was made for another forest.
    #[error("the plan was made for the forest of {planned}, and this is {found}: nothing was written")]
    OtherForest {
        /// The plan's configuration partition.
        planned: Dn,
        /// The one of the directory.
        found: Dn,
    },
    /// An undo was begun, so the way forward is closed.
    #[error("the run was being undone: finish that with undo, then make a new plan")]
    UndoBegun,
}
