//! When who changes something waits a moment, so that the standby is not left behind. Pure.
//!
//! Nobody waits for a standby that is away, hangs, or is reached over a slow line: for these there is the queue. One that takes what is sent about
//! as fast as it comes would still fall behind by all that the queue holds, and lose the stream then; so near it, whoever is too fast is
//! slowed to its pace.
//!
//! Where applications wait for the standby when they sync, what waits before that is their next wait: so little may wait for a fast standby.
//! Where they do not (`acknowledge = "local"`), they run at their own speed until half of the queue is full.

use std::time::{Duration, Instant};

/// The longest wait before one change.
pub(super) const LONGEST: Duration = Duration::from_millis(20);
/// So many bytes may wait for a standby that takes [`FAST`] bytes a second.
const FEW_BYTES: u64 = 16 << 20;
const FAST: f64 = 64e6;
/// Half of what the queue holds may wait for one that takes so many.
const SLOW: f64 = 16e6;
/// What it takes is measured over this time.
const MEASURE: Duration = Duration::from_millis(500);

/// What was acknowledged lately.
#[derive(Debug)]
pub(super) struct Brake {
    since: Instant,
    bytes: u64,
    per_second: f64,
}

impl Brake {
    /// From now on.
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, bytes: 0, per_second: 0.0 }
    }

    /// So many bytes were acknowledged.
    pub(super) fn acknowledged(&mut self, bytes: u64, now: Instant) {
        self.bytes += bytes;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= MEASURE {
            *self = Self { since: now, bytes: 0, per_second: self.bytes as f64 / elapsed.as_secs_f64() };
        }
    }

    /// Whether more waits than should, of `limit` that the queue has room for; `awaited` if applications wait for the standby when they sync.
    pub(super) fn holds(&self, waiting: u64, limit: u64, awaited: bool, now: Instant) -> bool {
        // What was measured before it began to hang says nothing.
        let is_recent = now.saturating_duration_since(self.since) < MEASURE * 2;
        let few = awaited && waiting > FEW_BYTES.min(limit / 2) && self.per_second >= FAST;
        is_recent && (few || waiting > limit / 2 && self.per_second >= SLOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 256 << 20;

    #[test]
    fn who_is_too_fast_waits_for_a_fast_standby_only() {
        let start = Instant::now();
        for (per_second, waiting, holds, holds_if_local) in [
            (100e6, 20 << 20, true, false),
            (100e6, 10 << 20, false, false),
            (20e6, 20 << 20, false, false),
            (20e6, 200 << 20, true, true),
            (1e6, 200 << 20, false, false),
        ] {
            let mut brake = Brake::new(start);
            let then = start + Duration::from_secs(1);
            brake.acknowledged(per_second as u64, then);
            assert_eq!(brake.holds(waiting, LIMIT, true, then), holds, "{per_second} {waiting}");
            assert_eq!(brake.holds(waiting, LIMIT, false, then), holds_if_local, "{per_second} {waiting}");
            assert!(!brake.holds(waiting, LIMIT, true, then + Duration::from_secs(2)), "it hangs");
        }
    }
}
