//! What many wait for, in few batches.
//!
//! Each batch costs the same on its way, whatever is in it: six threads are woken for it in two daemons, and the standby syncs. So while
//! [`MOST`] are under way for which somebody waits, what comes meanwhile goes with the next, once one of them is acknowledged. With one or two writers
//! nobody waits for that, and where the line is long, nobody waits longer than [`LONGEST`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many have the next one on its way while the standby syncs.
const MOST: usize = 2;
/// A line that takes longer than this has more under way.
const LONGEST: Duration = Duration::from_millis(1);

/// Batches under way for which somebody waits.
#[derive(Default)]
pub(super) struct Grouping {
    ends: VecDeque<u64>,
    last: Option<Instant>,
    /// Whether whoever sends waits for one of them to be acknowledged.
    pub(super) holds: bool,
}

impl Grouping {
    /// A batch was sent that ends at a position.
    pub(super) fn sent(&mut self, end: u64, now: Instant) {
        self.ends.push_back(end);
        self.last = Some(now);
    }

    /// Everything up to a position is acknowledged as those who wait want it. Whether who sends is to be woken.
    pub(super) fn reached(&mut self, position: u64) -> bool {
        let upto = self.ends.partition_point(|end| *end <= position);
        self.ends.drain(..upto);
        self.ends.len() < MOST && std::mem::take(&mut self.holds)
    }

    /// Nothing is under way any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Until when the next batch is not to be sent, unless one is acknowledged before.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        let until = self.last? + LONGEST;
        (self.ends.len() >= MOST && now < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_waits_for_the_first_but_not_for_long() {
        let (mut grouping, now) = (Grouping::default(), Instant::now());
        grouping.sent(3, now);
        assert_eq!(grouping.until(now), None);
        grouping.sent(5, now);
        assert_eq!(grouping.until(now), Some(now + LONGEST));
        assert_eq!(grouping.until(now + LONGEST), None);
        grouping.holds = true;
        assert!(!grouping.reached(2));
        assert!(grouping.reached(4), "who sends is woken");
        assert!(!grouping.reached(4), "once");
        assert_eq!(grouping.until(now), None);
    }
}
