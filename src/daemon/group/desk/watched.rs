//! What the monitor of a group asks of its desk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use standin_common::id::RunId;
use standin_failover::group::decide::{Accept, Heed, Wish};
use standin_failover::group::perform::Local;
use standin_failover::group::run::End;
use standin_failover::group::run::journal::Told as Journalled;
use standin_failover::group::run::report::report;

use super::super::asked::{Ask, MonitorAsk, Refused, Told};
use super::Desk;
use crate::control::FailedKind;
use crate::daemon::monitor::Watch;

/// How often a run is looked at whose end is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// How a run of this node stands that is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) struct Standing {
    /// Whether it is being carried out.
    pub(in crate::daemon) running: bool,
    /// Whether it can only go forward.
    pub(in crate::daemon) crossed: bool,
    /// Whether it is taken back.
    pub(in crate::daemon) turned: bool,
}

/// What a person has to know of a group on this node.
#[derive(Default)]
pub(super) struct Troubles {
    /// Which run stopped and is not finished, and why.
    unfinished: Option<String>,
    /// What is online here though the group is elsewhere.
    stray: Option<String>,
}

impl Desk {
    /// The group on this node.
    pub(in crate::daemon) fn local(&self) -> &Arc<Local> {
        &self.local
    }

    /// Takes the group over and returns at the end of the run: from a node that answers by a handoff, else by a failover.
    ///
    /// # Errors
    /// Why it was not done.
    pub(in crate::daemon) fn take_over(self: &Arc<Self>, answers: bool) -> Result<(), String> {
        let to = self.local.node().clone();
        let wish = match answers {
            true => Wish::Handoff { to, force: true },
            // What may be lost was weighed before, by what the lost node said last.
            false => {
                Wish::Failover { to: Some(to), point: None, accept: Accept::Any, force: false, heed: Heed::Usual, fenced: true }
            }
        };
        self.carry_out(|| self.begin(&wish))
    }

    /// Starts again what was stopped when the right ended: goes on with a run of its own, or brings online what should be here.
    ///
    /// # Errors
    /// Why it was not done.
    pub(in crate::daemon) fn start_again(self: &Arc<Self>) -> Result<(), String> {
        match self.unfinished().map_err(|refused| refused.text)? {
            Some(_) => self.carry_out(|| self.on_unfinished(&Ask::Resume)),
            None => {
                // Not all nodes need to answer: this one has the right.
                let wish = Wish::Online { resource: None, force: true, heed: Heed::Usual };
                self.carry_out(|| self.begin(&wish))
            }
        }
    }

    fn carry_out(&self, begin: impl FnOnce() -> Result<Told, Refused>) -> Result<(), String> {
        match begin().map_err(|refused| refused.text)? {
            Told::Begun { run, node } if node == *self.local.node() => self.wait_for(&run),
            other => Err(format!("it was not begun here: {other:?}")),
        }
    }

    fn wait_for(&self, run: &RunId) -> Result<(), String> {
        while self.is_running(run) {
            thread::sleep(LOOK);
        }
        match self.read(run).map_err(|error| error.to_string())?.progress.closed() {
            Some(End::Finished) => Ok(()),
            Some(end) => Err(format!("run {run} ended so: {end:?}; `standin group report {}` tells more", self.name)),
            None => Err(self.lock().troubles.unfinished.clone().unwrap_or_else(|| format!("run {run} is not finished"))),
        }
    }

    /// Whether a run of another node has the group.
    pub(in crate::daemon) fn is_of_others(&self) -> bool {
        self.local.state().claim.is_some_and(|claim| claim.runner != *self.local.node())
    }

    /// How a run of this node stands, if it is not finished.
    pub(in crate::daemon) fn standing(&self, run: &RunId) -> Option<Standing> {
        let running = self.is_running(run);
        let Journalled { plan, progress, .. } = self.read(run).ok().filter(|told| told.progress.closed().is_none())?;
        Some(Standing { running, crossed: progress.is_crossed(&plan), turned: progress.is_turned() })
    }

    /// Takes note of the run that is not finished, or cannot be read, or that there is none.
    pub(super) fn note_run(&self, told: Result<Option<Journalled>, Refused>) {
        let group = &self.name;
        let words = |told: Journalled| {
            let steps = report(&told).steps;
            let failed = steps.iter().rev().find_map(|taken| Some((taken, taken.failed.as_ref()?)));
            let why = failed.map_or(String::new(), |(taken, why)| format!(": {}: {}: {why}", taken.node, taken.what));
            let ways = match told.progress.is_crossed(&told.plan) {
                true => format!("`standin group resume {group}` goes on"),
                false => format!("`standin group resume {group}` goes on, `standin group undo {group}` takes it back"),
            };
            format!("run {} stopped NOT FINISHED{why}; mend it, then {ways}", told.plan.run())
        };
        self.lock().troubles.unfinished = told.map_or_else(|refused| Some(refused.text), |told| told.map(words));
    }

    /// Forgets that a run stopped, once there is none. One that a daemon before this one left did not stop: it goes on.
    pub(super) fn forget_run(&self, told: Option<&Journalled>) {
        if told.is_none() {
            self.note_run(Ok(None));
        }
    }

    /// What is online here though the group is elsewhere, in words, or that nothing is.
    pub(in crate::daemon::group) fn tell_stray(&self, stray: Option<String>) {
        self.lock().troubles.stray = stray;
    }

    /// What a person has to know of how it stands here, in words: that the group has failed, that a run is not finished or waits, and what is online
    /// here though the group is elsewhere.
    pub(in crate::daemon) fn troubles(&self) -> [Option<String>; 3] {
        let inner = self.lock();
        let here = self.local.node();
        let failed = inner.failed.as_ref().map(|why| format!("the group has FAILED on {here}: {why}"));
        let waits = inner.waits.as_ref().map(|why| format!("{here} waits for a person: {why}"));
        [failed, waits.or_else(|| inner.troubles.unfinished.clone()), inner.troubles.stray.clone()]
    }

    /// Has what this node carries out taken back, as far as it still can be.
    pub(in crate::daemon) fn cancel(&self) {
        if let Some((_, cancel)) = &self.lock().running {
            cancel.store(true, Ordering::SeqCst);
        }
    }

    /// From now on this monitor watches over it.
    pub(in crate::daemon) fn watched_by(&self, watch: &Arc<Watch>) {
        // It is given once.
        let _ = self.watch.set(watch.clone());
    }

    /// What is asked of the group's monitor.
    pub(super) fn on_monitor(&self, ask: MonitorAsk) -> Result<Told, Refused> {
        let none = || Refused::new(FailedKind::Failed, format!("nobody watches over group {}: the log says why", self.name));
        let watch = self.watch.get().ok_or_else(none)?;
        match ask {
            MonitorAsk::Status => Ok(Told::Monitor(Box::new(watch.status()))),
            MonitorAsk::Switch(switch) => watch.switch(switch).map(|()| Told::Heard),
            MonitorAsk::Automatic { on, force } => watch.automatic(on, force).map(Told::Switched),
            MonitorAsk::Acknowledge => Ok(Told::Acknowledged(watch.acknowledge(true))),
            MonitorAsk::AcknowledgeHere => Ok(Told::Acknowledged(watch.acknowledge(false))),
        }
    }

    /// Looks now whether there is something to do.
    pub(in crate::daemon) fn nudge(&self) {
        self.lock().is_nudged = true;
        self.changed.notify_all();
    }
}
