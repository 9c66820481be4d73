//! What a drill saw and did, as data.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use standin_common::id::{GroupName, NodeName, PointNumber, RunId, SetName};
use standin_common::message::RootKind;

use super::super::asked::{Checked, Foreseen};

/// A drill, as far as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DrillReport {
    /// The group.
    pub(crate) group: GroupName,
    /// The drill.
    pub(crate) run: RunId,
    /// Where it was.
    pub(crate) node: NodeName,
    /// When it began, milliseconds since 1970.
    pub(crate) begun_unix_ms: u64,
    /// How long it took until now, in milliseconds.
    pub(crate) took_ms: u64,
    /// How it ended; `None`: it is under way.
    pub(crate) end: Option<DrillEnd>,
    /// The clone of each set.
    pub(crate) sets: Vec<Cloned>,
    /// What the check command said; `None` if the group has none, or it was not come to.
    pub(crate) check: Option<Looked>,
    /// What a failover to this node would do now, step by step.
    pub(crate) steps: Vec<String>,
    /// What it would change outside the node.
    pub(crate) foreseen: Vec<Foreseen>,
    /// What should be right on this node before the group is needed here.
    pub(crate) checked: Vec<Checked>,
    /// What hindered it.
    pub(crate) troubles: Vec<String>,
    /// Whether the clone stays.
    pub(crate) kept: bool,
}

/// How a drill ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DrillEnd {
    /// All was as it should be.
    Passed,
    /// Something was not; the report says what.
    Failed,
    /// There was no room for a clone, or no such point: nothing was tried.
    Refused,
}

/// The clone of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cloned {
    /// The set.
    pub(crate) set: SetName,
    /// The point.
    pub(crate) point: PointNumber,
    /// Whether all its files are of one moment.
    pub(crate) consistent: bool,
    /// How old what the standby lacked may have been when the drill began, in milliseconds, if anybody knows: what a failover would have lost.
    pub(crate) behind_ms: Option<u64>,
    /// Where each root was.
    pub(crate) roots: Vec<PathBuf>,
    /// What each root is; the clone of a device is a file with what it holds.
    #[serde(default)]
    pub(crate) kinds: Vec<RootKind>,
    /// How many files.
    pub(crate) files: u64,
    /// How many bytes.
    pub(crate) bytes: u64,
    /// Whether they shared their data with the replica.
    pub(crate) shared: bool,
    /// How long it took, in milliseconds.
    pub(crate) took_ms: u64,
    /// How long replication was kept waiting, in milliseconds.
    pub(crate) paused_ms: u64,
}

/// What the check command said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Looked {
    /// The command.
    pub(crate) command: Vec<String>,
    /// How long it took, in milliseconds.
    pub(crate) took_ms: u64,
    /// Its output.
    pub(crate) said: Vec<String>,
    /// Why it failed; `None`: it ended with 0.
    pub(crate) failed: Option<String>,
}

impl DrillReport {
    /// How it is judged.
    pub(super) fn judge(&self) -> DrillEnd {
        let fails = self.checked.iter().any(|checked| checked.grade == "fail");
        let unseen = self.foreseen.iter().any(|one| one.what.is_err());
        let check_failed = self.check.as_ref().is_some_and(|check| check.failed.is_some());
        match () {
            () if self.sets.is_empty() => DrillEnd::Refused,
            () if fails || unseen || check_failed || !self.troubles.is_empty() => DrillEnd::Failed,
            () => DrillEnd::Passed,
        }
    }
}
