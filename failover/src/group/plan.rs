//! A cutover as data: which node does what, after what, and how each of it is taken back.

use std::fmt;

use serde::{Deserialize, Serialize};
use standin_common::id::{Generation, GroupName, NodeName, PointNumber, ResourceName, RunId, SetName};

use super::state::Claim;
use crate::witness::raise::{Need, Raise};

/// The version of a plan's form in journals.
pub const PLAN_SCHEMA: u32 = 1;

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Another node takes over from one that is lost.
    Failover,
    /// A node hands over to another one, without loss.
    Handoff,
    /// A handoff home, once the home node has everything again.
    Failback,
    /// The group, or part of it, comes online where it belongs.
    Online,
    /// The group, or part of it, goes offline.
    Offline,
    /// A node that was online before another one took over gives up what it has, and becomes a standby.
    Rejoin,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Failover => "failover",
            Self::Handoff => "handoff",
            Self::Failback => "failback",
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Rejoin => "rejoin",
        })
    }
}

/// A step of a plan, by its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub usize);

/// A cutover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_SCHEMA`].
    pub schema: u32,
    /// The group.
    pub group: GroupName,
    /// What for.
    pub kind: Kind,
    /// The run's right, as each node keeps it.
    pub claim: Claim,
    /// Where the group is online before, if anywhere.
    pub from: Option<NodeName>,
    /// Nodes that do not answer, and why: whoever orders the run says that they are off.
    pub away: Vec<(NodeName, String)>,
    /// What is lost, as far as it is known before.
    pub loss: Option<Loss>,
    /// What stays offline after the run.
    pub down: Vec<ResourceName>,
    /// Each comes after those that it names, which are before it in the list.
    pub steps: Vec<Step>,
}

/// What a failover loses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The point that each set goes to, `None` for its newest.
    pub points: Vec<(SetName, Option<PointNumber>)>,
    /// How long before the loss of the source the last change may have been that is not lost, in milliseconds; `None`: nobody knows.
    pub behind_ms: Option<u64>,
    /// How long before the run the source was heard last, in milliseconds, if it is known; else the run counts as the moment of its loss.
    #[serde(default)]
    pub heard_ms: Option<u64>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Who does it.
    pub node: NodeName,
    /// What.
    pub action: Action,
    /// What has to be done before.
    pub after: Vec<StepId>,
    /// How long it may take, in milliseconds.
    pub limit_ms: u64,
    /// How it is taken back.
    pub undo: Undo,
    /// Whether the run goes on without it if it fails; then it is reported.
    pub lenient: bool,
}

/// How a step is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Undo {
    /// It changed nothing.
    Nothing,
    /// By this.
    By(Action),
    /// Not at all: once it was begun, the run only goes forward.
    Never,
}

/// What a node can be asked for. Each may be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Take note that this run has the group.
    Claim,
    /// Forget that again.
    Unclaim,
    /// Wait until the other side of a set that this node is source of has nearly everything.
    CatchUp(SetName),
    /// Take a resource offline.
    Stop(ResourceName),
    /// Bring the other side of a set up to the last byte.
    Drain(SetName),
    /// Be source of a set no longer.
    Retire(SetName),
    /// Take that back.
    Release(SetName),
    /// Have the witness name this node, at the run's generation.
    Raise(Raise),
    /// Have it name that one again; the need is that of the raise that is taken back.
    GiveBack(NodeName, Need),
    /// Keep a node that is lost from going on, by the group's fence command.
    Fence(NodeName),
    /// Become source of a set, at this point or the newest.
    TakeOver(SetName, Option<PointNumber>),
    /// Become standby of a set, whose source took over at this generation.
    BecomeStandby(SetName, Generation),
    /// Bring a resource online.
    Start(ResourceName),
    /// Take a start back: offline, and what it changed elsewhere as it was.
    Withdraw(ResourceName),
    /// Take note of what the run made.
    Settle,
}

impl Action {
    /// The resource that it is about.
    pub fn resource(&self) -> Option<&ResourceName> {
        match self {
            Self::Stop(name) | Self::Start(name) | Self::Withdraw(name) => Some(name),
            _ => None,
        }
    }

    /// The set that it is about.
    pub fn set(&self) -> Option<&SetName> {
        match self {
            Self::CatchUp(set) | Self::Drain(set) | Self::Retire(set) | Self::Release(set) => Some(set),
            Self::TakeOver(set, _) | Self::BecomeStandby(set, _) => Some(set),
            _ => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim => f.write_str("take part in this run only"),
            Self::Unclaim => f.write_str("forget this run"),
            Self::CatchUp(set) => write!(f, "wait until the other node has nearly all of {set}"),
            Self::Stop(name) => write!(f, "stop {name}"),
            Self::Drain(set) => write!(f, "send the rest of {set}"),
            Self::Retire(set) => write!(f, "be source of {set} no longer"),
            Self::Release(set) => write!(f, "be source of {set} again"),
            Self::Raise(_) => f.write_str("have the witness name this node"),
            Self::GiveBack(node, _) => write!(f, "have the witness name {node} again"),
            Self::Fence(lost) => write!(f, "keep {lost} from going on, by the fence command"),
            Self::TakeOver(set, None) => write!(f, "become source of {set}"),
            Self::TakeOver(set, Some(point)) => write!(f, "become source of {set} at point {point}"),
            Self::BecomeStandby(set, _) => write!(f, "become standby of {set}"),
            Self::Start(name) => write!(f, "start {name}"),
            Self::Withdraw(name) => write!(f, "stop {name}, and restore what its start changed"),
            Self::Settle => f.write_str("take note of where the group is"),
        }
    }
}

impl Plan {
    /// The step of this number.
    pub fn step(&self, id: StepId) -> Option<&Step> {
        self.steps.get(id.0)
    }

    /// All steps with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (StepId, &Step)> {
        self.steps.iter().enumerate().map(|(number, step)| (StepId(number), step))
    }

    /// The run.
    pub fn run(&self) -> &RunId {
        &self.claim.run
    }

    /// The generation of what it makes.
    pub fn generation(&self) -> Generation {
        self.claim.generation
    }

    /// Where the group will be online.
    pub fn to(&self) -> Option<&NodeName> {
        self.claim.to.as_ref()
    }

    /// Why it is no plan that may be carried out, if so: steps in another order than their needs, something that starts before it was
    /// stopped elsewhere, or before the lost node was fenced or the witness named this node, unless that is for later. Written plans are checked, too, as a journal may be of any age.
    pub fn fault(&self) -> Option<String> {
        for (id, step) in self.numbered() {
            if let Some(later) = step.after.iter().find(|after| **after >= id) {
                return Some(format!("step {} comes after step {}, which is not before it", id.0, later.0));
            }
        }
        let is_awaited = |step: &Step| matches!(&step.action, Action::Raise(raise) if raise.need != Need::Later);
        let raise = self.numbered().find(|(_, step)| is_awaited(step));
        let fence = self.numbered().find(|(_, step)| matches!(step.action, Action::Fence(_)));
        let takes = |step: &Step| matches!(step.action, Action::Start(_) | Action::TakeOver(..) | Action::Raise(_));
        for (id, start) in self.numbered().filter(|(_, step)| takes(step)) {
            let before = self.before(id);
            if let Some((raise, _)) = raise.filter(|(raise, _)| *raise != id && !before.contains(raise)) {
                return Some(format!("step {} does not wait for step {}, the witness's word", id.0, raise.0));
            }
            let is_promised = matches!(start.action, Action::Raise(_));
            if let Some((fence, _)) = fence.filter(|(fence, _)| !is_promised && !before.contains(fence)) {
                return Some(format!("step {} does not wait for step {}, the fence", id.0, fence.0));
            }
            let stop = self.numbered().find(|(stop, step)| {
                step.node != start.node && matches!(step.action, Action::Stop(_) | Action::Retire(_)) && !before.contains(stop)
            });
            if let Some((stop, _)) = stop {
                return Some(format!("step {} does not wait for step {}: two nodes could be online", id.0, stop.0));
            }
        }
        None
    }

    /// All that has to be done before a step.
    pub fn before(&self, id: StepId) -> std::collections::BTreeSet<StepId> {
        let (mut found, mut open) = (std::collections::BTreeSet::new(), vec![id]);
        while let Some(step) = open.pop().and_then(|id| self.step(id)) {
            open.extend(step.after.iter().copied().filter(|after| found.insert(*after)));
        }
        found
    }
}
