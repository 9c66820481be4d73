//! Those who wait for the standby. Each is woken when what it waits for is reached, and not before: of many that sync at once, all but a few would
//! look in vain.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use standin_config::Acknowledge;

use super::{State, Stream};
use crate::acknowledge::{Policy, Reach, Verdict};
use crate::capture::ordered::Position;
use crate::store::Store;

/// Whoever waits looks again after so long at the latest.
const LONG: Duration = Duration::from_secs(1);

/// What becomes of somebody who waits for an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// It is as safe as it should be.
    Safe,
    /// It is not, and who waits goes on all the same, for this reason.
    Unmet(String),
    /// The stream is over without it.
    Over,
    /// Nothing yet.
    NotYet,
}

/// By what they wait for, and a number of their own.
#[derive(Default)]
pub(super) struct Waiters {
    next: u64,
    all: BTreeMap<(u64, u64), (Acknowledge, Arc<Condvar>)>,
}

impl Waiters {
    /// Those for whom it is enough that everything up to these positions is in the standby's memory, and on its disk.
    pub(super) fn reached(&self, received: u64, durable: u64) -> Vec<Arc<Condvar>> {
        let enough = |position: u64, acknowledge: Acknowledge| position <= durable || acknowledge != Acknowledge::Durable;
        let upto = self.all.range(..=(received, u64::MAX));
        upto.filter(|((position, _), (acknowledge, _))| enough(*position, *acknowledge))
            .map(|(_, (_, waiter))| waiter.clone())
            .collect()
    }

    /// All are to look.
    pub(super) fn wake_all(&self) {
        self.all.values().for_each(|(_, waiter)| waiter.notify_one());
    }

    fn add(&mut self, position: u64, acknowledge: Acknowledge) -> ((u64, u64), Arc<Condvar>) {
        self.next += 1;
        let (key, waiter) = ((position, self.next), Arc::new(Condvar::new()));
        self.all.insert(key, (acknowledge, waiter.clone()));
        (key, waiter)
    }
}

impl<S: Store> Stream<S> {
    /// Waits, for so long at most, until everything up to a position is as safe as the policy asks.
    pub fn wait(&self, position: u64, policy: &Policy, limit: Duration) -> Waited {
        let until = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            state.standby.reach = state.reach();
            // What is over cannot be waited for, but what was reached before is.
            let patience = match policy.verdict(&position, &state.standby) {
                Verdict::Release => return Waited::Safe,
                _ if state.over.is_some() => return Waited::Over,
                Verdict::ReleaseUnmet(why) => return Waited::Unmet(why),
                Verdict::Hold(patience) => patience,
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::NotYet;
            }
            let left = patience.map_or(left, |patience| patience.min(left));
            state = self.wait_at(state, position, policy.acknowledge, left);
        }
    }

    pub(super) fn flushed(&self, position: Position) -> io::Result<()> {
        let mut state = self.lock();
        loop {
            if state.retired {
                return Ok(());
            }
            state.standby.reach = state.over.clone().map_or_else(|| state.reach(), Reach::Held);
            match state.policy.verdict(&position.0, &state.standby) {
                Verdict::Release | Verdict::ReleaseUnmet(_) => return Ok(()),
                Verdict::Hold(limit) => {
                    let acknowledge = state.policy.acknowledge;
                    state = self.wait_at(state, position.0, acknowledge, limit.unwrap_or(LONG));
                }
            }
        }
    }

    /// Waits until something came of it, or for so long.
    fn wait_at<'a>(
        &self,
        mut state: MutexGuard<'a, State<S>>,
        position: u64,
        acknowledge: Acknowledge,
        limit: Duration,
    ) -> MutexGuard<'a, State<S>> {
        if self.awaited(&mut state, position) {
            self.to_send.notify_one();
        }
        let (key, waiter) = state.waiters.add(position, acknowledge);
        state = waiter.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0;
        state.waiters.all.remove(&key);
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Acknowledge::{Durable, Received};

    #[test]
    fn only_those_are_woken_who_go_on() {
        let mut waiters = Waiters::default();
        for (position, acknowledge) in [(3, Durable), (5, Received), (5, Durable), (9, Received)] {
            waiters.add(position, acknowledge);
        }
        assert_eq!(
            [(2, 2), (4, 2), (5, 4), (5, 5), (20, 8), (20, 20)].map(|(r, d)| waiters.reached(r, d).len()),
            [0, 0, 2, 3, 4, 4]
        );
    }
}
