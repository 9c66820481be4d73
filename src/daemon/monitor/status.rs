//! What the monitors of a group are asked for, and what they answer.

use serde::{Deserialize, Serialize};
use standin_common::id::{GroupName, NodeName};
use standin_failover::monitor::View;
use standin_failover::monitor::alert::{About, Alert};

use super::now;
use super::watch::Watch;

/// How a group is watched on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MonitorStatus {
    /// Which group.
    pub(crate) group: GroupName,
    /// Which node.
    pub(crate) node: NodeName,
    /// How it stands.
    pub(crate) view: View,
    /// Since when nothing is done for it by itself here, in milliseconds since 1970, if somebody paused it.
    pub(crate) paused_unix_ms: Option<u64>,
    /// Why it has failed here, if it has.
    pub(crate) failed: Option<String>,
    /// Which run stopped here and is not finished, or why it waits for a person.
    pub(crate) not_finished: Option<String>,
    /// What is online here though the group is elsewhere, if anything is.
    pub(crate) stray: Option<String>,
    /// Alerts that nobody has answered.
    pub(crate) alerts: Vec<(About, Alert)>,
}

/// What is switched on one node; `None` stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Switch {
    /// Whether it takes over by itself.
    pub(crate) takes_over: Option<bool>,
    /// Whether it stops by itself when its right ends.
    pub(crate) stands_down: Option<bool>,
}

/// What became of switching automatic failover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Switched {
    /// Nodes that did not answer, and why.
    pub(crate) away: Vec<(NodeName, String)>,
    /// Whether nodes that serve stop by themselves still, when they see neither witness nor all others.
    pub(crate) stands_down: bool,
}

impl Watch {
    pub(in crate::daemon) fn status(&self) -> MonitorStatus {
        let view = self.lock().monitor.view(now());
        let alerts = self.kept().alerts.open().map(|(about, alert)| (about, alert.clone())).collect();
        let (group, node) = (self.written.name.clone(), self.here.clone());
        let [failed, not_finished, stray] = self.desk.troubles();
        MonitorStatus { group, node, view, paused_unix_ms: self.desk.paused_unix_ms(), failed, not_finished, stray, alerts }
    }
}
