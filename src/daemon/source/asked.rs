//! Points that are asked for. Any number of requests are answered by one round.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use standin_common::scope::Reason;
use standin_config::{Acknowledge, Capture};
use standin_replicator::acknowledge::{Policy, Standby, Verdict};
use standin_replicator::explain::explain;
use standin_replicator::journal::Point;
use standin_replicator::report::SetReport;

use super::{SourceSet, State, failed};
use crate::control::{Failed, FailedKind};

/// How often whoever waits for a point is told how far it is.
const LOOK: Duration = Duration::from_millis(200);

/// Requests for a point.
#[derive(Debug, Default, Clone)]
pub(super) struct Asked {
    /// When the oldest came that has no answer.
    pub(super) since: Option<Instant>,
    /// How many there were.
    pub(super) last: u64,
    /// How many were answered, by which point.
    answered: Option<(u64, Point)>,
}

impl Asked {
    /// A point was made of a state not older than these requests.
    pub(super) fn answer(&mut self, upto: u64, point: &Point) {
        if point.reason != Reason::Asked {
            return;
        }
        self.answered = Some((upto, point.clone()));
        if upto >= self.last {
            self.since = None;
        }
    }
}

impl SourceSet {
    /// Makes a recovery point of what is there now. If it is waited for, `go_on` is told how far it is, until it says no.
    pub(in crate::daemon) fn point(
        &self,
        wait: bool,
        go_on: &mut dyn FnMut(&SetReport) -> bool,
    ) -> Result<Option<Point>, Failed> {
        let request = self.ask_point()?;
        if !wait {
            return Ok(None);
        }
        loop {
            if let Some(end) = self.wait_point(request, LOOK) {
                return end.map(Some);
            }
            if !go_on(&self.report()) {
                return Err(failed(FailedKind::Unreachable, "nobody waits for the point any more; it is made all the same"));
            }
        }
    }

    /// Asks for a recovery point of the state now, or a later one. Returns the number of the request.
    fn ask_point(&self) -> Result<u64, Failed> {
        let report = self.report();
        if report.state.waits_for_a_person() {
            return Err(failed(FailedKind::Refused, explain(&report).brief()));
        }
        let mut state = self.lock();
        if state.kept.following.is_none() {
            let name = &self.set().name;
            let text = match self.set().capture {
                Capture::Watch | Capture::Ordered => {
                    format!("watching the roots of {name} begins with a mirror: `standin mirror start {name}`")
                }
                _ => format!("the set {name} does not watch its roots; `standin mirror start {name}` makes a point"),
            };
            return Err(failed(FailedKind::Refused, text));
        }
        state.asked.last += 1;
        state.asked.since.get_or_insert_with(Instant::now);
        self.changed.notify_all();
        Ok(state.asked.last)
    }

    /// Waits a while for the point that a request asked for.
    fn wait_point(&self, request: u64, limit: Duration) -> Option<Result<Point, Failed>> {
        // Whoever waits for a point waits for what is durable, whatever applications wait for.
        let policy = Policy { acknowledge: Acknowledge::Durable, ..Policy::of(&self.set()) };
        let state = self.lock();
        if let Some(end) = state.answer_to(request, &policy) {
            return Some(end);
        }
        let state = self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0;
        state.answer_to(request, &policy)
    }
}

impl State {
    fn answer_to(&self, request: u64, policy: &Policy) -> Option<Result<Point, Failed>> {
        let (upto, point) = self.asked.answered.clone().unzip();
        let standby = Standby { received: upto, durable: upto, reach: self.reach() };
        match (policy.verdict(&request, &standby), point) {
            (Verdict::Release, Some(point)) => Some(Ok(point)),
            (Verdict::ReleaseUnmet(why), _) => Some(Err(failed(
                FailedKind::Unreachable,
                format!("there is no such point yet: {why}; it is made once the standby is there"),
            ))),
            _ if self.stopping => Some(Err(failed(FailedKind::Unreachable, "the daemon ends before there was such a point"))),
            _ if self.kept.following.is_none() || self.source.state().waits_for_a_person() => {
                let why =
                    "the set was paused, held or stopped before there was such a point; `standin status --explain` says why";
                Some(Err(failed(FailedKind::Refused, why)))
            }
            _ => None,
        }
    }
}
