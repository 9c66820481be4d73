//! What is known before a cutover is decided: how each node of the group answers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use standin_common::id::{Generation, NodeName, PointNumber, ResourceName, RunId, SetName};

use super::state::GroupState;
use super::volume::VolumeStanding;
use crate::resource::Condition;
use crate::witness::Testimony;

/// What every node of a group said, or why it did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Who asked, and will carry out what is decided.
    pub runner: NodeName,
    /// Each node of the group.
    pub nodes: BTreeMap<NodeName, Seen>,
    /// Those that did not answer, and sent heartbeats or counted up at the witness all the same while they were asked: they are not lost.
    #[serde(default)]
    pub heard: BTreeSet<NodeName>,
    /// When those that did not answer were heard last, where that is known.
    #[serde(default)]
    pub last_heard: BTreeMap<NodeName, LastHeard>,
    /// What the group's witness says to the runner, if there is one and it was asked.
    #[serde(default)]
    pub witness: Option<Testimony>,
}

/// When a node was heard last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastHeard {
    /// How long ago, in milliseconds.
    pub ms: u64,
    /// For how long it may have served after that without another sign, in milliseconds: until its next heartbeat, or, where it needs a right,
    /// until that ended. One that was only cut off, and needs none, may serve still.
    pub slack_ms: u64,
}

impl LastHeard {
    /// How old what a standby lacked was when the node was lost, at most, from how old that is now; in milliseconds.
    pub fn behind_at_loss_ms(&self, behind_ms: u64) -> u64 {
        // What the standby has may be newer than the last heartbeat.
        let since_ms = self.ms.min(behind_ms);
        behind_ms.min(behind_ms - since_ms + self.slack_ms)
    }
}

/// A node, as the runner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// It does not answer, and why.
    Away(String),
    /// It does.
    There(Box<View>),
}

/// What a node says of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// What it keeps of it.
    pub state: GroupState,
    /// The run of its own that is not finished.
    pub unfinished: Option<Unfinished>,
    /// The group's sets.
    pub sets: BTreeMap<SetName, SetView>,
    /// The group's other resources.
    pub resources: BTreeMap<ResourceName, Stand>,
    /// Since when it does nothing for the group by itself, as somebody paused it; milliseconds since 1970.
    #[serde(default)]
    pub paused_unix_ms: Option<u64>,
    /// Why the group has failed there: what is ill, and could not be mended there.
    #[serde(default)]
    pub failed: Option<String>,
    /// What its settings of the group say that has to be the same on all nodes: [`standin_config::group::Group::shared`]. Empty: it does not tell.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

/// A run that its runner has not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// Which.
    pub run: RunId,
    /// Whether it is being carried out now.
    pub running: bool,
    /// Whether it can only go forward any more.
    pub crossed: bool,
}

/// A set, as a node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SetView {
    /// See [`VolumeStanding`].
    Known {
        /// The generation of the node's side.
        generation: Generation,
        /// Who is source.
        source: NodeName,
        /// Who is standby.
        standby: NodeName,
        /// The newest recovery point.
        newest: Option<PointNumber>,
        /// How old what the standby lacks may be at most, in milliseconds, if anybody knows.
        behind_ms: Option<u64>,
        /// Why it is not in order; empty where it is.
        trouble: String,
    },
    /// It cannot be seen, and why.
    Unknown(String),
}

/// How a resource stands on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stand {
    /// It works there.
    Online,
    /// Nothing of it is there.
    Offline,
    /// Something of it is there.
    Partly(String),
    /// It cannot be seen.
    Unknown(String),
}

impl From<VolumeStanding> for SetView {
    fn from(standing: VolumeStanding) -> Self {
        let VolumeStanding { generation, source, standby, newest, behind, trouble } = standing;
        let behind_ms = behind.map(|behind| u64::try_from(behind.as_millis()).unwrap_or(u64::MAX));
        Self::Known { generation, source, standby, newest, behind_ms, trouble }
    }
}

impl From<Condition> for Stand {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Online => Self::Online,
            Condition::Offline => Self::Offline,
            Condition::Partly(what) => Self::Partly(what),
        }
    }
}

impl View {
    /// Its state; where its own run can only go forward any more, as that run makes it.
    pub fn reached(&self) -> GroupState {
        let crossed = self.unfinished.as_ref().filter(|unfinished| unfinished.crossed);
        match crossed.and_then(|crossed| self.state.claims().find(|claim| claim.run == crossed.run)) {
            Some(claim) => GroupState { generation: claim.generation, online: claim.to.clone(), ..self.state.clone() },
            None => self.state.clone(),
        }
    }
}

impl Facts {
    /// What a node says, if it answers.
    pub fn view(&self, node: &NodeName) -> Option<&View> {
        match self.nodes.get(node) {
            Some(Seen::There(view)) => Some(view),
            _ => None,
        }
    }

    /// The nodes that answer.
    pub fn there(&self) -> impl Iterator<Item = (&NodeName, &View)> {
        self.nodes.keys().filter_map(|node| Some((node, self.view(node)?)))
    }

    /// Those that do not, and why.
    pub fn away(&self) -> impl Iterator<Item = (&NodeName, &str)> {
        self.nodes.iter().filter_map(|(node, seen)| match seen {
            Seen::Away(why) => Some((node, why.as_str())),
            Seen::There(_) => None,
        })
    }

    /// What the node knows that settled last: it has the truth about where the group is online.
    pub fn newest(&self) -> GroupState {
        let states = self.there().map(|(_, view)| view.reached());
        states.max_by_key(|state| (state.generation, state.online.is_some())).unwrap_or_default()
    }

    /// The generation of the next run: above all that anybody knows, of the group and of its sets, the witness among them.
    pub fn next_generation(&self) -> Generation {
        let of_groups = self.there().map(|(_, view)| view.state.seen.max(view.state.generation));
        let of_sets = self.there().flat_map(|(_, view)| &view.sets).filter_map(|(_, set)| match set {
            SetView::Known { generation, .. } => Some(*generation),
            SetView::Unknown(_) => None,
        });
        let of_witness = self.witness.iter().filter_map(|said| said.word().map(|word| word.generation));
        of_groups.chain(of_sets).chain(of_witness).max().unwrap_or_default().next()
    }
}
