//! The records of a journal, and a line's form.

use serde::{Deserialize, Serialize};

use crate::directory::{Dn, Value};
use crate::plan::Plan;

/// The version of the journal's form.
pub(super) const JOURNAL_SCHEMA: u32 = 1;

/// A step of a plan, by its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepId {
    /// In `plan.changes`.
    Change(usize),
    /// In `plan.renames`.
    Rename(usize),
}

/// Which way a step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// As planned.
    Forward,
    /// Back to what was before.
    Back,
}

/// What kind of trouble kept a step from being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trouble {
    /// Somebody changed the object since it was read.
    Changed,
    /// The object is not there any more.
    Gone,
    /// The account has no right to do it.
    Rights,
    /// The directory refuses it whoever asks.
    Refused,
    /// The server was busy for too long.
    Busy,
    /// Another step must be done before, and is not.
    Blocked,
    /// It was written at a controller that is not there now, and this one does not know of it.
    Elsewhere,
}

/// What came of a step, for certain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// This run wrote it.
    Written {
        /// At this controller.
        at: String,
    },
    /// It was as it should be already.
    Already,
    /// It was not written.
    Failed {
        /// What kind of trouble.
        trouble: Trouble,
        /// Its words.
        why: String,
    },
}

/// Mailboxes that a store had before the run: who else is there later came meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residents {
    /// The store.
    pub store: Dn,
    /// objectGUIDs of the mailboxes.
    pub mailboxes: Vec<Value>,
}

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub enum Record {
    /// The first: everything that will be done, with every old value.
    Plan {
        /// The version of the journal's form, 1.
        schema: u32,
        /// When the run began, milliseconds since 1970.
        begun_unix_ms: u64,
        /// What is to be done.
        plan: Box<Plan>,
        /// Who was in the target's stores.
        residents: Vec<Residents>,
    },
    /// From here on, writes of this naming context go to this controller.
    Writer {
        /// The naming context.
        context: Dn,
        /// The controller's host name.
        controller: String,
    },
    /// These steps may be sent from here on.
    Intent {
        /// Which way.
        way: Way,
        /// Which.
        steps: Vec<StepId>,
    },
    /// What came of a step.
    Result {
        /// Which way.
        way: Way,
        /// Which.
        step: StepId,
        /// What.
        outcome: Outcome,
    },
    /// A run or an undo ended, with or without everything done.
    Ended {
        /// Which way.
        way: Way,
        /// When, milliseconds since 1970.
        unix_ms: u64,
    },
}
