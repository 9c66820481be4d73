//! What cutovers need of replication, over the sets of this daemon.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use standin_common::id::{Generation, PointNumber, SetName};
use standin_config::Role;
use standin_failover::group::volume::{VolumeStanding, Volumes};
use standin_failover::resource::Trouble;
use standin_replicator::explain::explain;
use standin_replicator::journal::Point;
use standin_replicator::report::{SetReport, SetState};

use super::Daemon;
use super::part::{Part, TurnError};
use super::roles::Roles;
use super::source::counts_all;
use crate::control::Failed;

/// For how long a standby that does not take what is sent is waited for while a set is drained.
const MOST_HINDERED: Duration = Duration::from_secs(20);

/// The sets of a daemon.
pub(crate) struct DaemonVolumes(pub(super) Arc<Daemon>);

fn trouble(what: &str, set: &SetName, why: impl Into<String>) -> Trouble {
    Trouble { what: format!("{what} {set}"), why: why.into(), mend: format!("`standin status {set} --explain` says more") }
}

fn turned(what: &'static str, set: &SetName) -> impl Fn(TurnError) -> Trouble {
    let set = set.clone();
    move |error| trouble(what, &set, error.to_string())
}

impl DaemonVolumes {
    fn part(&self, what: &str, set: &SetName) -> Result<&Part, Trouble> {
        self.0.part(set).map_err(|Failed { text, .. }| trouble(what, set, text))
    }
}

/// How long ago a point was made, by the clock of whoever was source; not known if that is ahead of this node's.
fn age(point: &Point, now: Duration) -> Option<Duration> {
    let made = Duration::new(u64::try_from(point.at.secs).unwrap_or(0), point.at.nanos);
    now.checked_sub(made)
}

/// How old what the standby lacks may be, from what this node knows; `now` is the time since 1970. A standby goes by what its source told it, which
/// no clock but its own is needed for, and by its newest point only where it was told nothing since it was started.
fn behind(report: &SetReport, now: Duration) -> Option<Duration> {
    let newest = report.point.as_ref();
    let seconds = |seconds| Duration::try_from_secs_f64(seconds).ok();
    match (report.role, &report.lag) {
        (Role::Source, Some(lag)) if lag.changes == 0 && counts_all(report) => Some(Duration::ZERO),
        (Role::Source, Some(lag)) if newest.is_some() => {
            lag.oldest_seconds.and_then(seconds).or_else(|| newest.and_then(|point| age(point, now)))
        }
        (Role::Standby, _) if newest.is_some() && report.current_seconds.is_some() => report.current_seconds.and_then(seconds),
        _ => newest.and_then(|point| age(point, now)),
    }
}

/// Since when a standby has not taken what is sent, and why; nothing while it does.
#[derive(Default)]
struct Hindered(Option<(Instant, String)>);

impl Hindered {
    /// Takes note of how the set stands now. Returns whether it is waited for any longer.
    fn is_worth_waiting(&mut self, report: &SetReport, now: Instant) -> bool {
        let before = self.0.take().map_or(now, |(since, _)| since);
        let why = report.trouble.clone().filter(|_| report.state == SetState::Hindered);
        self.0 = why.map(|why| (before, why));
        self.0.is_none() || now.duration_since(before) < MOST_HINDERED
    }
}

impl Volumes for DaemonVolumes {
    fn standing(&self, set: &SetName) -> Result<VolumeStanding, Trouble> {
        let part = self.part("looking at", set)?;
        let (roles, now) = (part.roles(), part.set());
        let report = self.0.report(set).unwrap_or_else(|| part.report());
        let trouble = match (&report.trouble, report.state.waits_for_a_person()) {
            (None, false) => String::new(),
            _ => explain(&report).brief(),
        };
        Ok(VolumeStanding {
            generation: roles.generation,
            source: now.source,
            standby: now.standby,
            newest: report.point.as_ref().map(|point| point.number),
            behind: behind(&report, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
            trouble,
        })
    }

    fn drain(&self, set: &SetName, deadline: Instant, is_over: &dyn Fn() -> bool) -> Result<PointNumber, Trouble> {
        let what = "draining";
        let part = self.part(what, set)?;
        let Roles { retired, .. } = part.roles();
        if let Some(point) = retired.and_then(|retired| retired.drained) {
            return Ok(point);
        }
        let source = part.source().ok_or_else(|| trouble(what, set, "this node is not its source"))?;
        // Services are down meanwhile: what a person has to mend over there is not waited for.
        let mut hindered = Hindered::default();
        let drained = source.drain(deadline, &mut |report| !is_over() && hindered.is_worth_waiting(report, Instant::now()));
        let point = drained.map_err(|Failed { text, .. }| trouble(what, set, hindered.0.map_or(text, |(_, why)| why)))?;
        part.was_drained(point.number);
        Ok(point.number)
    }

    fn retire(&self, set: &SetName, generation: Generation) -> Result<(), Trouble> {
        self.part("retiring from", set)?.retire(generation).map_err(turned("retiring from", set))
    }

    fn release(&self, set: &SetName) -> Result<(), Trouble> {
        self.part("going on with", set)?.release().map_err(turned("going on with", set))
    }

    fn take_over(&self, set: &SetName, point: Option<PointNumber>, generation: Generation) -> Result<PointNumber, Trouble> {
        let part = self.part("taking over", set)?;
        if part.raise(generation).map_err(turned("taking over", set))? {
            return Ok(part.report().point.map(|point| point.number).unwrap_or_default());
        }
        part.take_over(point, Some(generation)).map(|from| from.number).map_err(turned("taking over", set))
    }

    fn become_standby(&self, set: &SetName, generation: Generation) -> Result<(), Trouble> {
        // From which point the other took over, it says itself once it is reached.
        let part = self.part("giving up", set)?;
        part.become_standby(generation, None).map_err(turned("giving up", set))
    }
}

#[cfg(test)]
#[path = "volumes_tests.rs"]
mod tests;
