//! What moves with a group: addresses, DNS names, services, shares, scripts, the directory, volumes.
//!
//! A resource is online on one node at most. Everything here is said to be *so that it may be repeated*: starting what is online and stopping
//! what is offline changes nothing. Effects only; when what is started is decided by the group.

mod address;
mod build;
pub mod check;
mod command;
mod dns;
pub mod hook;
pub mod script;
pub mod service;
mod share;
pub mod started;

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use standin_common::id::NodeName;

use crate::preflight::Finding;

pub use build::{BuildError, build, build_in_directory};

/// How a resource stands on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It works here.
    Online,
    /// Nothing of it is here.
    Offline,
    /// Something of it is here, or it is not well; says what.
    Partly(String),
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Online => f.write_str("online"),
            Self::Offline => f.write_str("offline"),
            Self::Partly(how) => write!(f, "not well: {how}"),
        }
    }
}

impl Condition {
    /// How a whole stands whose parts stand so: online or offline where all are, and otherwise which of them is how.
    pub(crate) fn of_parts(parts: Vec<(&str, Condition)>) -> Self {
        if parts.iter().all(|(_, part)| *part == Self::Online) {
            return Self::Online;
        }
        if parts.iter().all(|(_, part)| *part == Self::Offline) {
            return Self::Offline;
        }
        let words = parts.iter().map(|(name, part)| match part {
            Self::Online => format!("{name} is online"),
            Self::Offline => format!("{name} is offline"),
            Self::Partly(how) => how.clone(),
        });
        Self::Partly(words.collect::<Vec<_>>().join(", "))
    }
}

/// Why a step failed: what, where, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}{}{mend}", if mend.is_empty() { "" } else { "; " })]
pub struct Trouble {
    /// What was tried, with the object's name.
    pub what: String,
    /// What came of it.
    pub why: String,
    /// What a person can do; empty where nothing better is known than to try again.
    pub mend: String,
}

impl Trouble {
    /// Of what was tried, what came of it, and what a person can do.
    pub fn new(what: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), mend: mend.into() }
    }
}

/// What a resource remembers of how things were before it changed them: what an undo writes back. JSON, of the resource's own shape.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Memo(pub serde_json::Value);

/// The run of which a step is part, as a resource sees it.
pub trait Step {
    /// When the step is given up.
    fn deadline(&self) -> Instant;

    /// Whether everything has to be off at the deadline, whatever it costs: then nothing is asked before it is stopped, no answer is waited for any
    /// longer, and a command that does not end by itself is killed after this time. `None` is the usual care.
    fn haste(&self) -> Option<Duration> {
        None
    }

    /// Whether somebody wants the whole run to end; asked while waiting.
    fn is_cancelled(&self) -> bool;

    /// A line for the log and the report.
    fn tell(&self, line: fmt::Arguments<'_>);

    /// Keeps what was before the change that follows. Durable when it returns; called before the first change of the step. A step that is
    /// repeated after a crash finds it as [`memo`](Self::memo), and must not put what is half-changed in its place.
    ///
    /// # Errors
    /// Those of the disk; then nothing may be changed.
    fn keep(&self, memo: Memo) -> io::Result<()>;

    /// What this step kept the last time, if it did.
    fn memo(&self) -> Option<Memo>;

    /// Where the group was before the run, if anywhere.
    fn from(&self) -> Option<&NodeName> {
        None
    }

    /// Variables for scripts: names such as `STANDIN_GROUP`, `CLP_EVENT`, and their values.
    fn variables(&self) -> Vec<(String, String)>;
}

/// One resource on this node.
pub trait Resource: Send + Sync {
    /// Looks, changes nothing.
    ///
    /// # Errors
    /// Where it cannot be seen how it stands.
    fn condition(&self) -> Result<Condition, Trouble>;

    /// Brings it online here, and returns when it works or fails.
    ///
    /// # Errors
    /// Where it does not work in time. What was begun stays, for [`stop`](Self::stop) to take away.
    fn start(&self, step: &dyn Step) -> Result<(), Trouble>;

    /// Takes it offline here, and returns when nothing of it is left or fails.
    ///
    /// # Errors
    /// Where something of it is still here when time is up.
    fn stop(&self, step: &dyn Step) -> Result<(), Trouble>;

    /// Ends at once whatever of it is still here, without grace: when [`stop`](Self::stop) was not enough in the time that there is. Nothing
    /// for most, whose stop has no grace. Returns whether anything was ordered.
    ///
    /// # Errors
    /// Where not even that could be ordered.
    fn kill(&self) -> Result<bool, Trouble> {
        Ok(false)
    }

    /// Takes back what a start changed outside this node (DNS records, say), by what the step kept. Nothing to do for most.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    fn restore(&self, step: &dyn Step) -> Result<(), Trouble> {
        let _ = step;
        Ok(())
    }

    /// What a start would change outside this node when the group comes from there, for whoever reviews it; `None` where there is nothing to
    /// tell. Changes nothing.
    ///
    /// # Errors
    /// Where that cannot be seen.
    fn foresee(&self, from: Option<&NodeName>) -> Result<Option<String>, Trouble> {
        let _ = from;
        Ok(None)
    }

    /// What should be right on this node before it is needed here; changes nothing.
    fn check(&self) -> Vec<Finding>;
}

#[cfg(test)]
mod tests;
