//! Carrying out a plan: each step in the journal first, several at a time, resumed after whatever ended it, or taken back.
//!
//! [`Journal::begin`] or [`Journal::go_on`] → [`carry`] → [`report`]. What comes next is decided by [`progress`], without clock, disk and
//! network; nodes are reached through [`Nodes`].

pub mod journal;
#[cfg(test)]
mod over_tests;
pub mod progress;
pub mod report;
#[cfg(test)]
#[path = "sim_tests.rs"]
pub(crate) mod sim;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod witness_tests;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use serde::{Deserialize, Serialize};
use standin_common::id::{GroupName, NodeName, PointNumber, ResourceName};

use super::plan::{Action, Kind, Plan, StepId, Undo};
use super::state::Claim;
use crate::execute::Clock;
use crate::lines::LinesError;
pub use journal::{End, Journal, Keep, Outcome, Record, Way};

/// What a node is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The group.
    pub group: GroupName,
    /// What the run is for.
    pub kind: Kind,
    /// The run, and what it makes.
    pub claim: Claim,
    /// Where the group is online before.
    pub from: Option<NodeName>,
    /// What stays offline.
    pub down: Vec<ResourceName>,
    /// The number of this order in its run: one that comes late, after another about the same thing, is not heard.
    pub number: u64,
    /// What to do.
    pub action: Action,
    /// How long it may take, in milliseconds.
    pub limit_ms: u64,
}

/// What a node answers when it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What there is to tell.
    pub told: Vec<String>,
    /// The recovery point that it was about.
    pub point: Option<PointNumber>,
    /// What a person should look at.
    #[serde(default)]
    pub by_hand: Vec<String>,
}

/// Why a step was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{why}")]
pub struct Failed {
    /// What, where, why, and what to do.
    pub why: String,
    /// Whether it is certain that nothing was changed.
    pub unchanged: bool,
}

/// The nodes of a group, this one among them.
pub trait Nodes: Sync {
    /// Asks a node for a step, and waits for its end. `is_cancelled` is asked meanwhile, and ends what may be ended.
    ///
    /// # Errors
    /// [`Failed`]; a node that does not answer may have done it.
    fn perform(&self, node: &NodeName, order: &Order, is_cancelled: &(dyn Fn() -> bool + Sync)) -> Result<Done, Failed>;
}

/// What a run works with.
pub struct Tools<'a> {
    /// Who does the steps.
    pub nodes: &'a dyn Nodes,
    /// What time it is.
    pub clock: &'a dyn Clock,
    /// Set by whoever wants the run to be taken back; not heard any more once it can only go forward.
    pub cancel: &'a AtomicBool,
    /// Told whenever a step begins or ends.
    pub progress: &'a (dyn Fn(&Plan, &Record) + Sync),
}

/// Carries a run on to its end, forward or back, as far as it goes. `None`: some steps failed, and it can be resumed.
///
/// # Errors
/// Those of the journal: nothing is asked of anybody after one.
pub fn carry<K: Keep>(journal: &mut Journal<K>, tools: &Tools<'_>) -> Result<Option<End>, LinesError> {
    if let Some(end) = journal.progress().closed() {
        return Ok(Some(end));
    }
    let plan = journal.plan().clone();
    let hurry = AtomicBool::new(false);
    thread::scope(|scope| {
        let (send, ended) = mpsc::channel();
        let mut crew = Crew { plan: &plan, journal, tools, hurry: &hurry, running: BTreeSet::new(), tried: BTreeSet::new() };
        loop {
            let steps = match crew.next() {
                Ok(steps) => steps,
                Err(error) => break Err(error),
            };
            for (step, node, order) in steps {
                let (send, hurry) = (send.clone(), &hurry);
                scope.spawn(move || {
                    let is_cancelled = || hurry.load(Ordering::SeqCst);
                    let work = || tools.nodes.perform(&node, &order, &is_cancelled);
                    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                    let fault = |_| Err(Failed { why: "a fault of this program, see the log".to_owned(), unchanged: false });
                    // Whoever waited is gone only if the journal failed, and then the result counts for nothing.
                    let _ = send.send((step, done.unwrap_or_else(fault)));
                });
            }
            if crew.running.is_empty() {
                break crew.close();
            }
            crew.look();
            // A look from time to time, as nobody tells of a cancel.
            if let Ok((step, done)) = ended.recv_timeout(std::time::Duration::from_millis(100))
                && let Err(error) = crew.note(step, done)
            {
                break Err(error);
            }
        }
    })
}

/// A run under way.
struct Crew<'a, K> {
    plan: &'a Plan,
    journal: &'a mut Journal<K>,
    tools: &'a Tools<'a>,
    /// Ends what is under way, as the run is taken back.
    hurry: &'a AtomicBool,
    running: BTreeSet<StepId>,
    /// What failed in this session, and which way.
    tried: BTreeSet<(bool, StepId)>,
}

impl<K: Keep> Crew<'_, K> {
    fn is_back(&self) -> bool {
        self.journal.progress().is_turned()
    }

    /// Whether the run is to go back, and still can.
    fn should_turn(&self) -> bool {
        let progress = self.journal.progress();
        let strict = |step: &StepId| self.plan.step(*step).is_some_and(|step| !step.lenient);
        let failed = self.tried.iter().any(|(back, step)| !back && strict(step));
        !progress.is_turned() && !progress.is_crossed(self.plan) && (failed || self.tools.cancel.load(Ordering::SeqCst))
    }

    /// Ends what is under way, if the run is to go back.
    fn look(&self) {
        self.hurry.store(self.should_turn(), Ordering::SeqCst);
    }

    /// Steps that begin now; they are in the journal.
    fn next(&mut self) -> Result<Vec<(StepId, NodeName, Order)>, LinesError> {
        if self.should_turn() {
            if !self.running.is_empty() {
                return Ok(Vec::new());
            }
            let why = if self.tools.cancel.load(Ordering::SeqCst) { "it was cancelled" } else { "a step failed" };
            self.append(Record::Turned { unix_ms: self.tools.clock.unix_ms(), why: why.to_owned() })?;
        }
        self.look();
        let back = self.is_back();
        let way = if back { Way::Back } else { Way::Forward };
        let mut steps = Vec::new();
        for id in self.journal.progress().ready(self.plan) {
            if self.running.contains(&id) || self.tried.contains(&(back, id)) {
                continue;
            }
            let Some(step) = self.plan.step(id) else { continue };
            let action = match &step.undo {
                _ if !back => step.action.clone(),
                Undo::By(action) => action.clone(),
                Undo::Nothing | Undo::Never => continue,
            };
            self.append(Record::Begun { way, step: id, unix_ms: self.tools.clock.unix_ms() })?;
            let order = order(self.plan, action, step.limit_ms, self.journal.orders());
            self.running.insert(id);
            steps.push((id, step.node.clone(), order));
        }
        Ok(steps)
    }

    fn note(&mut self, step: StepId, done: Result<Done, Failed>) -> Result<(), LinesError> {
        self.running.remove(&step);
        let back = self.is_back();
        if done.is_err() {
            self.tried.insert((back, step));
        }
        let outcome = match done {
            Ok(Done { told, point, by_hand }) => Outcome::Done { told, point, by_hand },
            Err(Failed { why, unchanged }) => Outcome::Failed { why, unchanged },
        };
        let way = if back { Way::Back } else { Way::Forward };
        self.append(Record::Ended { way, step, unix_ms: self.tools.clock.unix_ms(), outcome })
    }

    fn append(&mut self, record: Record) -> Result<(), LinesError> {
        self.journal.append(record.clone())?;
        (self.tools.progress)(self.plan, &record);
        Ok(())
    }

    /// The end, if everything is done that was to be.
    fn close(&mut self) -> Result<Option<End>, LinesError> {
        let end = self.journal.progress().end(self.plan);
        if let Some(end) = end {
            self.append(Record::Closed { unix_ms: self.tools.clock.unix_ms(), end })?;
        }
        Ok(end)
    }
}

fn order(plan: &Plan, action: Action, limit_ms: u64, number: u64) -> Order {
    Order {
        group: plan.group.clone(),
        kind: plan.kind,
        claim: plan.claim.clone(),
        from: plan.from.clone(),
        down: plan.down.clone(),
        number,
        action,
        limit_ms,
    }
}
