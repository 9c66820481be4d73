//! Probes of health, and what follows when they fail.

mod judge;
mod probe;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use standin_common::id::ResourceName;
use standin_config::group::{Check, Probe, Then};

use super::{Condition, Resource, Step, Trouble, command};
use crate::preflight::Finding;

pub use judge::{Judge, Verdict};
pub use probe::ask;

/// How long a start waits between two questions.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// A check on this node. Whoever watches the group asks for its [`condition`](Resource::condition) every `interval`, and gives what it
/// hears to a [`Judge`].
pub(super) struct CheckResource {
    name: ResourceName,
    check: Check,
    /// Where the group is offline, nobody has to answer.
    is_started: AtomicBool,
}

impl CheckResource {
    pub(super) fn new(name: ResourceName, check: Check) -> Self {
        Self { name, check, is_started: AtomicBool::new(false) }
    }

    fn ask(&self, limit: Duration) -> Result<(), String> {
        ask(&self.check.probe, Duration::from_millis(self.check.timeout_ms).min(limit))
    }
}

impl Resource for CheckResource {
    fn condition(&self) -> Result<Condition, Trouble> {
        if !self.is_started.load(Ordering::Relaxed) {
            return Ok(Condition::Offline);
        }
        Ok(self.ask(Duration::MAX).map_or_else(Condition::Partly, |()| Condition::Online))
    }

    /// Waits until the probe is answered. One that only reports is asked once, and its answer is told.
    fn start(&self, step: &dyn Step) -> Result<(), Trouble> {
        self.is_started.store(true, Ordering::Relaxed);
        loop {
            let left = step.deadline().saturating_duration_since(Instant::now());
            let Err(why) = self.ask(left.max(ASK_AGAIN)) else { return Ok(()) };
            if self.check.then == Then::Report {
                step.tell(format_args!("check {}: {why} (it is only reported)", self.name));
                return Ok(());
            }
            if step.is_cancelled() || step.deadline() <= Instant::now() + ASK_AGAIN {
                return Err(Trouble::new(format!("check {}", self.name), why, "look at the service that should have answered"));
            }
            std::thread::sleep(ASK_AGAIN);
        }
    }

    fn stop(&self, _: &dyn Step) -> Result<(), Trouble> {
        self.is_started.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn check(&self) -> Vec<Finding> {
        let Probe::Command(words) = &self.check.probe else { return Vec::new() };
        command::missing(words).map(|missing| missing.of("check", &self.name)).into_iter().collect()
    }
}
