//! The gate through which every change of a set goes, so that all of them can be kept out for a moment.
//!
//! A change enters before it begins, with nothing of the layer held, and leaves when it was recorded. Whoever holds the gate waits for
//! those inside and keeps the others out: then nothing changes beneath any root of the set. A hold breaks by itself when somebody
//! has been kept waiting until its deadline: nobody waits longer because of a holder that hangs or died.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    inside: usize,
    /// Until when it is held at the longest, if it is.
    held: Option<Instant>,
}

/// Nothing changes until this ends or is dropped, unless it breaks before.
#[derive(Debug)]
pub struct Held<'a> {
    gate: &'a Gate,
    since: Instant,
    deadline: Instant,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a change in, now or when nobody holds the gate.
    pub fn enter(&self) {
        let mut state = self.lock();
        while let Some(deadline) = state.held {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.held = None;
                self.changed.notify_all();
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.inside += 1;
    }

    /// A change that entered was recorded, or was not made.
    pub fn leave(&self) {
        let mut state = self.lock();
        state.inside = state.inside.saturating_sub(1);
        if state.inside == 0 && state.held.is_some() {
            self.changed.notify_all();
        }
    }

    /// Keeps changes out, at most for `limit` if somebody wants in. `None` if those inside did not leave in that time, or somebody else
    /// holds it.
    pub fn hold(&self, limit: Duration) -> Option<Held<'_>> {
        let since = Instant::now();
        let deadline = since + limit;
        let mut state = self.lock();
        if state.held.is_some_and(|held| held > since) {
            return None;
        }
        state.held = Some(deadline);
        while state.inside > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.held != Some(deadline) {
                state.held = state.held.filter(|held| *held != deadline);
                self.changed.notify_all();
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        // Somebody whose patience ended may have let all in, and they may have left again.
        (state.held == Some(deadline)).then_some(Held { gate: self, since, deadline })
    }
}

impl Held<'_> {
    /// Lets changes in again; for how long they were kept out, or `None` if the hold broke before.
    #[must_use]
    pub fn end(self) -> Option<Duration> {
        let unbroken = self.gate.lock().held == Some(self.deadline);
        unbroken.then(|| self.since.elapsed())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        // One that broke may have been followed by another.
        state.held = state.held.filter(|held| *held != self.deadline);
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn while_it_is_held_nothing_is_inside() {
        let (gate, inside, ended) = (Gate::default(), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while ended.load(SeqCst) == 0 {
                        gate.enter();
                        inside.fetch_add(1, SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(1, SeqCst);
                        gate.leave();
                    }
                });
            }
            for _ in 0..200 {
                let held = gate.hold(LONG).expect("all leave soon");
                assert_eq!(inside.load(SeqCst), 0);
                thread::yield_now();
                assert_eq!(inside.load(SeqCst), 0);
                assert!(held.end().is_some());
            }
            ended.store(1, SeqCst);
        });
    }

    #[test]
    fn who_is_kept_waiting_breaks_a_hold_that_lasts_too_long() {
        let gate = Gate::default();
        let held = gate.hold(Duration::from_millis(10)).unwrap();
        assert!(gate.hold(LONG).is_none(), "there is one");
        gate.enter();
        assert!(held.end().is_none());
        assert!(gate.hold(Duration::from_millis(5)).is_none(), "one is inside");
        gate.leave();
        // Nobody waits, so nothing has changed however long it lasted.
        let held = gate.hold(Duration::ZERO).unwrap();
        assert!(held.end().is_some());
    }
}
