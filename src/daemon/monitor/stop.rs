//! Stopping everything of a group at once: addresses first, then all else side by side, and what does not end in time is killed.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use standin_common::id::{GroupName, ResourceName};
use standin_config::group::{Group, Kind};
use standin_failover::monitor::gate::Gate;
use standin_failover::resource::started::Mark;
use standin_failover::resource::{Condition, Memo, Resource, Step};

/// Between looks at what is still there.
const LOOK: Duration = Duration::from_millis(50);

/// A step of no run, and in haste.
struct Hasty {
    group: GroupName,
    resource: ResourceName,
    deadline: Instant,
    grace: Duration,
}

impl Step for Hasty {
    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn haste(&self) -> Option<Duration> {
        Some(self.grace)
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn tell(&self, line: fmt::Arguments<'_>) {
        tracing::info!(group = %self.group, resource = %self.resource, "{line}");
    }

    fn keep(&self, _memo: Memo) -> io::Result<()> {
        // A stop that is ordered by nobody is taken back by nobody.
        Ok(())
    }

    fn memo(&self) -> Option<Memo> {
        None
    }

    fn variables(&self) -> Vec<(String, String)> {
        vec![("STANDIN_GROUP".to_owned(), self.group.to_string()), ("STANDIN_KIND".to_owned(), "stand-down".to_owned())]
    }
}

type One<'a> = (&'a ResourceName, &'a Arc<dyn Resource>);

/// What a group has on this node.
pub(super) struct Possession<'a> {
    /// What may be at work.
    pub(super) resources: &'a BTreeMap<ResourceName, Arc<dyn Resource>>,
    /// As the settings have it.
    pub(super) written: &'a Group,
    /// By which what starts leave is found.
    pub(super) mark: &'a Mark,
}

/// What came of stopping everything.
pub(super) struct Stopped {
    /// Whether anything was at work, or might have been.
    pub(super) any: bool,
    /// What still was when the allowance was used up, or did not say.
    pub(super) left: Vec<String>,
}

/// When what has to be done, within an allowance.
#[derive(Clone, Copy)]
struct Times {
    begun: Instant,
    tenth: Duration,
}

impl Times {
    fn new(allowance_ms: u64) -> Self {
        Self { begun: Instant::now(), tenth: Duration::from_millis(allowance_ms) / 10 }
    }

    fn at(self, tenths: u32) -> Instant {
        self.begun + self.tenth * tenths
    }
}

impl<'a> Possession<'a> {
    /// What is at work on this machine and meets clients: addresses, or all the others.
    fn local(&self, addresses: bool) -> Vec<One<'a>> {
        let wanted = |name: &ResourceName| match self.written.resource(name).map(|resource| &resource.kind) {
            Some(Kind::Address(_)) => addresses,
            Some(Kind::Service(_) | Kind::Share(_) | Kind::Script(_)) => !addresses,
            // Names are changed by whoever takes over; the others are not at work here.
            _ => false,
        };
        self.resources.iter().filter(|(name, _)| wanted(name)).collect()
    }

    fn every(&self) -> Vec<One<'a>> {
        [self.local(true), self.local(false)].concat()
    }

    /// Whether anything of the group is at work here, or does not say within this time that it is not.
    pub(super) fn is_any_left(&self, within: Duration) -> bool {
        self.mark.is_starting() || !self.left(Instant::now() + within).is_empty()
    }

    /// What does not say that it is off.
    fn left(&self, until: Instant) -> Vec<&'a ResourceName> {
        // Each is asked before any answer is waited for.
        let asked: Vec<_> = self.every().into_iter().map(|(name, resource)| (name, look(resource))).collect();
        let is_left = |(name, looked): (&'a ResourceName, Look)| (!looked.is_off(until)).then_some(name);
        asked.into_iter().filter_map(is_left).collect()
    }

    /// Stops everything.
    pub(super) fn stop(&self, gate: &Gate, allowance_ms: u64) -> Stopped {
        let times = Times::new(allowance_ms);
        let any = AtomicBool::new(gate.is_starting());
        let stop = |one: One<'_>| {
            if self.stop_one(one, times) {
                any.store(true, Ordering::SeqCst);
            }
        };
        // Clients are kept away before anything else.
        side_by_side(&self.local(true), stop);
        // A start that is under way ends soon, as its right is over. One of a daemon that is dead has nobody who would end it.
        while gate.is_starting() && Instant::now() < times.at(2) {
            thread::sleep(LOOK);
        }
        if self.mark.end_starts() > 0 {
            tracing::warn!(group = %self.written.name, "a start that was under way was killed");
            any.store(true, Ordering::SeqCst);
        }
        side_by_side(&self.local(false), stop);
        while gate.is_starting() && Instant::now() < times.at(9) {
            thread::sleep(LOOK);
        }
        // A start may have left one meanwhile.
        side_by_side(&self.local(true), stop);
        let mut left: Vec<String> = self.left(times.at(10)).into_iter().map(ToString::to_string).collect();
        if gate.is_starting() || self.mark.is_starting() {
            left.push("a start that does not end".to_owned());
        }
        Stopped { any: any.into_inner(), left }
    }

    /// Returns whether there was anything to stop.
    fn stop_one(&self, (name, resource): One<'_>, times: Times) -> bool {
        let group = &self.written.name;
        if look(resource).is_off(times.at(9).min(Instant::now() + times.tenth)) {
            return false;
        }
        let deadline = times.at(5).max(Instant::now() + times.tenth);
        let step = Hasty { group: group.clone(), resource: name.clone(), deadline, grace: times.tenth };
        let Err(trouble) = resource.stop(&step) else { return true };
        tracing::error!(%group, resource = %name, %trouble, "it does not stop in time");
        let killed = self.kill((name, resource));
        let is_off = || look(resource).is_off(times.at(9));
        while !is_off() {
            if Instant::now() >= times.at(9) {
                if !killed {
                    tracing::error!(%group, resource = %name, "nothing that its start left was found that could be killed, and it does not say that it stopped");
                }
                break;
            }
            thread::sleep(LOOK);
        }
        true
    }

    /// Returns whether anything was killed, or ordered to be.
    fn kill(&self, (name, resource): One<'_>) -> bool {
        let group = &self.written.name;
        let ordered = resource.kill();
        let processes = self.mark.kill(name);
        if let Err(trouble) = &ordered {
            tracing::error!(%group, resource = %name, %trouble, "it cannot be killed");
        }
        let killed = processes > 0 || ordered == Ok(true);
        if killed {
            tracing::error!(%group, resource = %name, processes, "it was killed");
        }
        killed
    }
}

/// A resource that is looked at, on a thread of its own: one that hangs holds up nobody for longer than he wants to wait.
struct Look(mpsc::Receiver<bool>);

fn look(resource: &Arc<dyn Resource>) -> Look {
    let (tell, told) = mpsc::channel();
    let resource = resource.clone();
    let looking = move || {
        // Whether anybody still listens makes no difference.
        let _ = tell.send(matches!(resource.condition(), Ok(Condition::Offline)));
    };
    if let Err(error) = thread::Builder::new().name("look".to_owned()).spawn(looking) {
        // It counts as one that does not answer.
        tracing::error!(%error, "cannot start a thread to look at a resource");
    }
    Look(told)
}

impl Look {
    /// Whether it said by then that nothing of it is here.
    fn is_off(&self, until: Instant) -> bool {
        self.0.recv_timeout(until.saturating_duration_since(Instant::now())) == Ok(true)
    }
}

fn side_by_side<'a>(all: &[One<'a>], work: impl Fn(One<'a>) + Sync) {
    thread::scope(|scope| {
        for one in all {
            scope.spawn(|| work(*one));
        }
    });
}
