//! The health of a group that is online here: when what is looked at, and what follows from what was seen. Pure; the time is an argument.
//!
//! Looked at are services, addresses and shares, by their condition, and checks, by their probes. What is gone or ill too often in a row is
//! started again with what needs it, as often as its settings allow; then it has failed here, until it is seen well again.
//! Where only a restart could help and its limit is used up, it is tried again as soon as the window allows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use standin_common::id::ResourceName;
use standin_config::group::{Group as Written, Kind, Resource, Then};

use super::graph::Group;
use crate::resource::check::{Judge, Verdict};
use crate::resource::service::Restarts;

/// How often what has no interval of its own is looked at.
const LOOK: Duration = Duration::from_secs(3);
/// So many looks in a row at such a resource that find it not online, and it is started again.
const MISSES: u16 = 2;

/// What follows from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// It is to be told, and nothing else follows.
    Tell(String),
    /// These are to be stopped, the last first, and started again in this order. It was counted.
    Restart {
        /// Those that are started again.
        what: Vec<ResourceName>,
        /// Why, in words.
        why: String,
    },
    /// The group has failed here.
    Fail(String),
}

/// One resource that is looked at.
#[derive(Debug)]
struct Watched {
    interval: Duration,
    judge: Judge,
    then: Then,
    /// What is started again when it is ill.
    revives: Vec<ResourceName>,
    optional: bool,
    /// When it is looked at next; `None` while it is.
    due: Option<Instant>,
}

/// The health of a group on this node.
#[derive(Debug)]
pub struct Health {
    watched: BTreeMap<ResourceName, Watched>,
    restarts: BTreeMap<ResourceName, Restarts>,
    /// Those that can be started again, in the order of their starts, each with what needs it.
    order: Vec<(ResourceName, BTreeSet<ResourceName>)>,
    failed: BTreeMap<ResourceName, String>,
}

impl Health {
    /// Of a group as written and as it is started; nothing was seen yet, and everything is looked at after its interval.
    pub fn new(written: &Written, group: &Group, now: Instant) -> Self {
        let watch = |resource: &Resource| Some((resource.name.clone(), Watched::of(resource, now)?));
        let restarts = |resource: &Resource| {
            let window = Duration::from_millis(resource.restart_window_ms);
            (resource.name.clone(), Restarts::new(resource.restarts, window))
        };
        // Checks are no more than questions, and a set's files do not run.
        let can = |name: &ResourceName| {
            written.resource(name).is_some_and(|resource| !matches!(resource.kind, Kind::Check(_) | Kind::Volume(_)))
        };
        let parts = group.resources.iter().filter(|part| can(&part.name));
        Self {
            watched: written.resources.iter().filter_map(watch).collect(),
            restarts: written.resources.iter().map(restarts).collect(),
            order: parts.map(|part| (part.name.clone(), group.with_dependents(&part.name))).collect(),
            failed: BTreeMap::new(),
        }
    }

    /// The group is not looked after now: it is not online here, a run has it, or somebody paused it. What was missed does not count.
    pub fn rest(&mut self, now: Instant) {
        for watched in self.watched.values_mut() {
            watched.judge.restarted();
            watched.due = watched.due.map(|_| now + watched.interval);
        }
    }

    /// Forgets that it failed: it came online here anew, or a pause ended.
    pub fn begin_anew(&mut self) {
        self.failed.clear();
    }

    /// Forgets that it failed, and what was started again until then: somebody answers for it.
    pub fn forgive(&mut self) {
        self.begin_anew();
        self.restarts.values_mut().for_each(Restarts::forget);
    }

    /// What is to be looked at now. Each is looked at once, until [`hear`](Self::hear) tells what was seen.
    pub fn due(&mut self, now: Instant) -> Vec<ResourceName> {
        let is_due = |watched: &Watched| watched.due.is_some_and(|due| due <= now);
        let due: Vec<_> = self.watched.iter_mut().filter(|(_, watched)| is_due(watched)).collect();
        due.into_iter()
            .map(|(name, watched)| {
                watched.due = None;
                name.clone()
            })
            .collect()
    }

    /// For how long nothing is due. What is not looked after stays due, and nobody is to be woken for it again and again.
    pub fn pause(&self, is_looked_after: bool, now: Instant) -> Duration {
        let next = self.watched.values().filter_map(|watched| watched.due).min().filter(|_| is_looked_after);
        next.map_or(Duration::MAX, |due| due.saturating_duration_since(now))
    }

    /// Somebody looked and did not judge (the group was not to be looked after meanwhile): it is looked at again.
    pub fn skip(&mut self, name: &ResourceName, now: Instant) {
        if let Some(watched) = self.watched.get_mut(name) {
            watched.due = Some(now + watched.interval);
        }
    }

    /// Somebody looked: it is well, or why not.
    pub fn hear(&mut self, name: &ResourceName, answer: Result<(), String>, now: Instant) -> Next {
        self.skip(name, now);
        let Some(watched) = self.watched.get_mut(name) else { return Next::Nothing };
        let verdict = watched.judge.hear(answer.is_ok());
        let why = format!("{name}: {}", answer.err().unwrap_or_default());
        match (verdict, watched.then) {
            (Verdict::Recovered, _) => {
                self.failed.remove(name);
                Next::Tell(format!("{name} is well again"))
            }
            // After a restart it is well without having been ill.
            (Verdict::Well, _) => match self.failed.remove(name) {
                Some(_) => Next::Tell(format!("{name} is well again")),
                None => Next::Nothing,
            },
            (Verdict::Missed { .. }, _) => Next::Nothing,
            (Verdict::Act(_), Then::Report) => Next::Tell(format!("{why} (it is only reported)")),
            (Verdict::Act(_), Then::Fail) => self.fail(name, why),
            (Verdict::Act(_) | Verdict::Ill, Then::Restart) => self.restart(name, why, now),
            (Verdict::Ill, _) => Next::Nothing,
        }
    }

    /// A restart was done, or tried: everything that was part of it, and the checks that look at it, have their chances anew.
    pub fn restarted(&mut self, what: &[ResourceName], now: Instant) {
        for (name, watched) in &mut self.watched {
            if what.contains(name) || watched.revives.iter().any(|revived| what.contains(revived)) {
                watched.judge.restarted();
                watched.due = watched.due.map(|_| now + watched.interval);
            }
        }
    }

    /// Why the group has failed here, if it has.
    pub fn failure(&self) -> Option<String> {
        let all: Vec<&str> = self.failed.values().map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn restart(&mut self, name: &ResourceName, why: String, now: Instant) -> Next {
        let revives = self.watched.get(name).map(|watched| watched.revives.clone()).unwrap_or_default();
        let is_left = |revived: &ResourceName| self.restarts.get(revived).is_some_and(|restarts| restarts.left(now) > 0);
        if revives.is_empty() || !revives.iter().all(is_left) {
            let used_up = format!("{why}, and it was started again as often as `restarts` allows");
            return self.fail(name, used_up);
        }
        for revived in &revives {
            self.restarts.get_mut(revived).map(|restarts| restarts.allows(now));
        }
        let of = |name: &ResourceName| self.order.iter().find(|(of, _)| of == name).map(|(_, with)| with);
        let wanted: BTreeSet<&ResourceName> = revives.iter().filter_map(of).flatten().collect();
        let what = self.order.iter().map(|(name, _)| name).filter(|name| wanted.contains(name)).cloned().collect();
        Next::Restart { what, why }
    }

    /// Told once. The group goes on without what is optional.
    fn fail(&mut self, name: &ResourceName, why: String) -> Next {
        if self.watched.get(name).is_some_and(|watched| watched.optional) {
            return Next::Tell(format!("{why} (it is optional, so the group goes on)"));
        }
        match self.failed.insert(name.clone(), why.clone()) {
            None => Next::Fail(why),
            Some(_) => Next::Nothing,
        }
    }
}

impl Watched {
    /// `None` for what does not run: volumes (their sets say how they are), names, scripts, the directory.
    fn of(resource: &Resource, now: Instant) -> Option<Self> {
        let (interval, misses, then, revives) = match &resource.kind {
            Kind::Service(_) | Kind::Address(_) | Kind::Share(_) => (LOOK, MISSES, Then::Restart, vec![resource.name.clone()]),
            Kind::Check(check) => (Duration::from_millis(check.interval_ms), check.misses, check.then, resource.needs.clone()),
            Kind::Volume(_) | Kind::Dns(_) | Kind::Directory(_) | Kind::Script(_) => return None,
        };
        let judge = Judge::new(misses, then);
        Some(Self { interval, judge, then, revives, optional: resource.optional, due: Some(now + interval) })
    }
}

#[cfg(test)]
mod tests;
