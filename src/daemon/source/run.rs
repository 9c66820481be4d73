//! The thread of a source: connects, and runs what is ordered.

use std::hash::{BuildHasher, RandomState};
use std::sync::PoisonError;
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use standin_common::link::backoff::Backoff;
use standin_common::link::quic::Connection;
use standin_replicator::report::Wire;
use standin_replicator::source::state::Event;

use super::follow::Follow;
use super::kept::Job;
use super::standing::Told;
use super::waiting::Waiting;
use super::{Compare, SourceSet, State, carried, failed};
use crate::control::FailedKind;

/// Pauses between attempts to reach the standby.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How often an idle source looks at its connection.
const LOOK: Duration = Duration::from_secs(1);

/// What to do next.
pub(super) enum Next {
    Mirror(Job),
    Compare(Compare),
    Follow,
    /// Nothing, not even a connection, before a person acts.
    Held,
    Idle,
    Stop,
}

/// What came of doing it.
pub(super) enum Outcome {
    /// It ended, well or not.
    Ended,
    /// It goes on over the next connection.
    Again(String),
}

impl SourceSet {
    /// Runs until [`SourceSet::shut_down`].
    pub(in crate::daemon) fn run(&self) {
        let generation = self.lock().kept.generation;
        let span = tracing::info_span!("set", set = %self.set().name, peer = %self.set().standby, %generation);
        let _entered = span.enter();
        self.clear_away();
        self.clear_queue();
        let mut waiting = Waiting::open(&self.directory);
        if self.layers.as_ref().is_some_and(|layers| !layers.is_known()) {
            waiting.lose();
        }
        let follow = Follow::new(self.lock().kept.job.as_ref(), waiting);
        thread::scope(|scope| self.run_with(scope, follow));
    }

    fn run_with<'s>(&'s self, scope: &'s Scope<'s, '_>, mut follow: Follow) {
        let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, RandomState::new().hash_one(&self.set().name));
        loop {
            let next = self.next();
            if let Next::Stop = next {
                self.keep_as_it_is();
                // First, so that nothing changes after what waits was kept.
                let away = self.layers.as_ref().filter(|layers| layers.take_away());
                self.drop_stream(&mut follow, "the daemon ends");
                if let (Some(layers), true) = (away, follow.end()) {
                    layers.nothing_is_left();
                }
                return;
            }
            self.unwatch_if_not_followed(&mut follow);
            if let Next::Held = next {
                self.notice_lost_link();
                follow.waits();
                self.sleep(LOOK, |state| !matches!(state.next(), Next::Held));
                continue;
            }
            if let Next::Mirror(job) = &next {
                self.drop_stream(&mut follow, "a mirror over everything follows");
                self.watch_for(job, &mut follow, scope);
            }
            let began = Instant::now();
            let again = self.do_next(next, &mut follow).again();
            follow.settle();
            match again {
                None => pauses.reset(),
                Some(why) => {
                    follow.waits();
                    let before = self.lock().trouble.replace(why.clone());
                    // A standby that is down for a day is worth a line, not thousands.
                    if before.as_ref() == Some(&why) {
                        tracing::debug!("{why}");
                    } else {
                        tracing::warn!("{why}");
                    }
                    // What went on for a while was no vain attempt.
                    if began.elapsed() > LONGEST_PAUSE {
                        pauses.reset();
                    }
                    self.sleep(pauses.pause(), |state| state.peer_is_there);
                    if std::mem::take(&mut self.lock().peer_is_there) {
                        pauses.reset();
                    }
                }
            }
        }
    }

    /// The standby said that it is there: an attempt to reach it need not wait.
    pub(in crate::daemon) fn peer_is_there(&self) {
        let mut state = self.lock();
        if state.connection.is_none() {
            state.peer_is_there = true;
            self.changed.notify_all();
        }
    }

    fn do_next(&self, next: Next, follow: &mut Follow) -> Outcome {
        if matches!(next, Next::Follow) && !follow.is_watched() {
            // Before the standby is reached, so that what changes until then is noticed.
            return self.order_whole(follow);
        }
        let connection = match self.connect() {
            Ok(connection) => connection,
            Err(why) => return self.not_reached(next, why),
        };
        self.look_again(&connection);
        if !self.lock().source.dials() {
            // Held, for what the standby said of its replica.
            return Outcome::Ended;
        }
        match next {
            Next::Mirror(job) => self.mirror(&connection, job, follow),
            Next::Follow => self.follow(&connection, follow),
            Next::Compare(compare) => self.run_compare(&connection, compare),
            Next::Held | Next::Idle | Next::Stop => {
                follow.waits();
                // While it connected, something may have been ordered.
                self.sleep(LOOK, |state| !matches!(state.next(), Next::Idle));
                Outcome::Ended
            }
        }
    }

    /// Whoever compares is told at once; all else goes on when the standby is there.
    fn not_reached(&self, next: Next, why: String) -> Outcome {
        if let Next::Compare(compare) = &next {
            return self.give_up_comparing(compare.mirror, failed(FailedKind::Unreachable, why));
        }
        Outcome::Again(why)
    }

    pub(super) fn next(&self) -> Next {
        self.lock().next()
    }

    /// Waits until something was noticed since `noticed`, an application waits, something is ordered, or `limit`.
    pub(super) fn sleep_unless(&self, noticed: u64, limit: Duration) {
        let mut state = self.lock();
        if !state.stopping && state.noticed == noticed && !state.syncs.waits() {
            state.awaits_notice = true;
            let (mut state, _) = self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner);
            state.awaits_notice = false;
        }
    }

    /// Waits until something is ordered, or `limit`; not at all if it is `over` already.
    fn sleep(&self, limit: Duration, over: impl Fn(&State) -> bool) {
        let state = self.lock();
        if !state.stopping && !over(&state) {
            let _state = self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The connection, dialled now if there is none.
    fn connect(&self) -> Result<Connection, String> {
        if let Some(connection) = self.connection() {
            return Ok(connection);
        }
        self.on(Event::LinkLost);
        self.lock().away_since.get_or_insert_with(Instant::now);
        if !self.lock().source.dials() {
            return Err("the connection was lost, and `reconnect` is \"manual\"".to_owned());
        }
        let connection = self.context.dial(&self.set().standby).map_err(|error| error.to_string())?;
        tracing::info!(remote = %connection.path().remote, "connected");
        {
            let mut state = self.lock();
            (state.trouble, state.told) = (None, Told::default());
            (state.connection, state.away_since, state.peer_is_there) = (Some(connection.clone()), None, false);
            state.on(Event::Connected);
        }
        let looked = self.look_at_standby(&connection);
        looked.inspect_err(|_| self.disconnect(&connection))?;
        Ok(connection)
    }

    /// A connection that nobody uses is looked at all the same.
    fn notice_lost_link(&self) {
        let lost = self.lock().connection.clone().filter(Connection::is_closed);
        if let Some(lost) = lost {
            self.disconnect(&lost);
        }
    }

    pub(super) fn disconnect(&self, connection: &Connection) {
        let mut state = self.lock();
        let carried = carried(connection);
        if let Some(running) = &mut state.running {
            running.wire_before.sent_bytes += carried.sent_bytes.saturating_sub(running.wire_start.sent_bytes);
            running.wire_before.received_bytes += carried.received_bytes.saturating_sub(running.wire_start.received_bytes);
            running.wire_start = Wire::default();
        }
        state.connection = None;
        state.on(Event::LinkLost);
    }
}

impl State {
    pub(super) fn next(&self) -> Next {
        match (&self.compare, &self.kept.job) {
            _ if self.stopping => Next::Stop,
            _ if !self.source.dials() => Next::Held,
            (Some(compare), _) => Next::Compare(compare.clone()),
            (None, Some(job)) if !job.paused => Next::Mirror(job.clone()),
            (None, None) if self.kept.following.is_some_and(|following| !following.paused) => Next::Follow,
            _ => Next::Idle,
        }
    }
}

impl Outcome {
    fn again(self) -> Option<String> {
        match self {
            Self::Ended => None,
            Self::Again(why) => Some(why),
        }
    }
}
