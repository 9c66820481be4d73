//! What a node does for a group by itself: it goes on with what was not finished, and starts what should be online here.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use standin_common::id::{NodeName, RunId};
use standin_config::group::Failover;
use standin_failover::group::decide::{Heed, Wish};
use standin_failover::group::wake::{Own, Wake, wake};

use super::super::asked::{Ask, Refused, Told};
use super::super::{foresight, health};
use super::{Desk, disk};

/// How often it is looked whether there is something to do: until all is as it should be, and from then on.
const LOOK: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Before the second attempt to do it, as what was in the way may have been a matter of a moment; before each later one twice as long, up to
/// the longest.
const AGAIN: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(30);
/// After so many attempts to go on with a run that can only go forward it is for another node.
const ATTEMPTS: u32 = 1;

/// What was tried.
struct Tried {
    what: Wake,
    at: Instant,
    times: u32,
    /// The nodes that answered then.
    there: BTreeSet<NodeName>,
}

impl Tried {
    /// Whether it is time to try again: some time after the last attempt, which may have taken long, or at once where other nodes answer.
    fn is_due(&self, ended: Option<Instant>, there: &BTreeSet<NodeName>) -> bool {
        let pause = LONGEST.min(AGAIN.saturating_mul(1 << self.times.saturating_sub(1).min(8)));
        self.there != *there || ended.map_or(self.at, |ended| ended.max(self.at)).elapsed() >= pause
    }
}

/// What is to be done, and what that was decided by.
struct Next {
    wake: Wake,
    /// It is a run that can only go forward.
    is_crossed: bool,
    /// The nodes that answer.
    there: BTreeSet<NodeName>,
}

impl Desk {
    /// Looks from time to time whether there is something to do by itself, until the end.
    pub(in crate::daemon::group) fn watch(self: &Arc<Self>) {
        let mut tried: Option<Tried> = None;
        // Whether what should be online here is so is looked at after the start only: what a person or a fault stopped later stays so.
        let mut is_looked_at = false;
        self.drills.clear(&self.local);
        let mut is_collected = self.office.is_none();
        let mut pause = Duration::ZERO;
        loop {
            let inner = self.lock();
            let (mut inner, _) = self
                .changed
                .wait_timeout_while(inner, pause, |inner| !inner.ends && !inner.is_nudged && !inner.is_hurried)
                .unwrap_or_else(PoisonError::into_inner);
            pause = LOOK;
            inner.is_nudged = false;
            let (ends, busy, ended) = (inner.ends, inner.running.is_some(), inner.ended);
            if std::mem::take(&mut inner.is_hurried) {
                tried = None;
            }
            drop(inner);
            if ends {
                return;
            }
            if busy {
                continue;
            }
            is_collected = is_collected || self.office.iter().all(|office| foresight::collect(office));
            let Next { wake: what, is_crossed, there } = self.next(is_looked_at);
            // What somebody did meanwhile may not be in what was seen.
            if self.has_run_since(ended) {
                pause = Duration::ZERO;
                continue;
            }
            // Nobody need do what this node is about to do by itself.
            let is_about = self.watch.get().is_some_and(|watch| watch.is_about_to_take_over());
            self.lock().waits = match &what {
                Wake::Wait(why) if !is_about => Some(why.clone()),
                _ => None,
            };
            if is_about && matches!(what, Wake::Wait(_)) {
                continue;
            }
            is_looked_at |= what == Wake::Rest;
            self.lock().is_settled = is_looked_at;
            if what == Wake::Rest {
                pause = LOOK_AGAIN;
                continue;
            }
            let before = tried.take().filter(|tried| tried.what == what);
            let times = before.as_ref().map_or(0, |tried| tried.times);
            tried = match before {
                Some(before) if !before.is_due(ended, &there) => Some(before),
                _ => {
                    self.act(&what, is_crossed && times >= ATTEMPTS);
                    Some(Tried { what, at: Instant::now(), times: times + 1, there })
                }
            };
        }
    }

    /// Whether a run has begun or ended since one ended last.
    fn has_run_since(&self, ended: Option<Instant>) -> bool {
        let inner = self.lock();
        inner.running.is_some() || inner.ended != ended
    }

    fn next(&self, is_looked_at: bool) -> Next {
        let own = self.unfinished().ok().flatten();
        let view = if is_looked_at { self.local.brief() } else { self.local.view() };
        let has_right = self.watch.get().is_some_and(|watch| watch.has_right());
        let is_crossed = own.as_ref().is_some_and(|told| told.progress.is_crossed(&told.plan));
        let of_run = own.as_ref().map(|told| Own { plan: &told.plan, is_crossed, has_right });
        let facts = self.facts_by(&Ask::Brief, view);
        let wake = wake(&self.name, self.local.node(), &facts, of_run);
        self.forget_run(own.as_ref());
        Next { wake, is_crossed, there: facts.there().map(|(node, _)| node.clone()).collect() }
    }

    fn act(self: &Arc<Self>, next: &Wake, is_stuck: bool) {
        let done = match next {
            Wake::Rest => return,
            Wake::Wait(why) => return tracing::warn!(group = %self.name, "waits for a person: {why}"),
            Wake::Resume(run) if is_stuck && self.hand_on(run) => return,
            Wake::Resume(_) => {
                if self.local.state().claim.is_some_and(|claim| claim.to.as_ref() == Some(self.local.node())) {
                    // That it was handed away from here was taken back.
                    self.tell_failure(None);
                }
                self.on_unfinished(&Ask::Resume)
            }
            Wake::GiveOver(run) => self.give_over(run).map(|()| Told::Heard).map_err(disk),
            // Where it needs a right, the monitor starts it once there is one.
            Wake::Online if !self.local.may_start() => return,
            Wake::Rejoin => self.begin(&Wish::Rejoin),
            Wake::Online => self.begin(&Wish::Online { resource: None, force: false, heed: Heed::Usual }),
        };
        match done {
            Ok(_) => tracing::info!(group = %self.name, ?next, "begun by itself"),
            Err(refused) => tracing::warn!(group = %self.name, ?next, why = %refused.text, "not begun by itself"),
        }
        self.forget_old_runs();
    }

    /// Has another node take what cannot be brought online here, where groups that fail go to another node by themselves. Returns whether one does.
    fn hand_on(self: &Arc<Self>, run: &RunId) -> bool {
        if self.written.failover != Failover::Automatic || self.is_paused() {
            return false;
        }
        let Some(to) = health::next_node(self, &self.facts()) else { return false };
        tracing::warn!(group = %self.name, %run, "it cannot be finished here, and is handed to {to}");
        match self.begin(&Wish::Handoff { to: to.clone(), force: false }) {
            Ok(_) => {
                self.tell_failure(Some(format!("run {run} could not be finished here, and the group was handed to {to}")));
                true
            }
            Err(Refused { text, .. }) => {
                tracing::warn!(group = %self.name, %run, why = %text, "it is not handed to {to}");
                false
            }
        }
    }
}
