//! How fast a pass may send, how hard it compresses, and whether it goes on at all.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use standin_config::Compression;

use super::lane::Packing;

/// How often the compression level is thought over.
const THINK_EVERY: Duration = Duration::from_millis(100);
/// Link rates in bytes per second below which data is packed, with the zstd level for it: what a core or two can pack at that rate.
const LEVELS: [(u64, i32); 5] = [(16_000_000, 12), (25_000_000, 6), (40_000_000, 3), (250_000_000, 1), (u64::MAX, 0)];
/// The level where compression is always asked for and the link is fast.
const ALWAYS: i32 = 1;
/// The longest a rate limit saves up for.
const BURST_SECONDS: f64 = 0.1;

/// Shared by the threads of all passes of a mirror.
#[derive(Debug)]
pub struct Pace {
    limit_bytes_per_second: Option<u64>,
    /// When everything that was let through so far is through, at the limit.
    due: Mutex<Option<Instant>>,
    stopped: AtomicBool,
    woken: Condvar,
    compression: Compression,
    level: AtomicI32,
    sent_bytes: AtomicU64,
    /// Time that lanes spent waiting for the link, in microseconds.
    waited_us: AtomicU64,
    thought: Mutex<Thought>,
}

#[derive(Debug)]
struct Thought {
    at: Instant,
    sent_bytes: u64,
    waited_us: u64,
}

impl Pace {
    /// At most so many bytes of payload per second.
    pub fn new(limit_bytes_per_second: Option<u64>, compression: Compression) -> Self {
        Self {
            limit_bytes_per_second,
            due: Mutex::new(None),
            stopped: AtomicBool::new(false),
            woken: Condvar::new(),
            compression,
            level: AtomicI32::new(if compression == Compression::Always { ALWAYS } else { 0 }),
            sent_bytes: AtomicU64::new(0),
            waited_us: AtomicU64::new(0),
            thought: Mutex::new(Thought { at: Instant::now(), sent_bytes: 0, waited_us: 0 }),
        }
    }

    /// Ends whatever runs at this pace.
    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
        let _due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        self.woken.notify_all();
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Waits until `bytes` may be sent; `false` if it was stopped.
    pub fn admit(&self, bytes: usize) -> bool {
        let Some(limit) = self.limit_bytes_per_second else { return !self.is_stopped() };
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let burst = Duration::from_secs_f64(BURST_SECONDS);
        let from = due.unwrap_or(now).max(now.checked_sub(burst).unwrap_or(now));
        let until = from + Duration::from_secs_f64(bytes as f64 / limit.max(1) as f64);
        *due = Some(until);
        loop {
            let now = Instant::now();
            if self.is_stopped() {
                return false;
            }
            if until <= now {
                return true;
            }
            due = self.woken.wait_timeout(due, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Counts what a lane sent, and how long the link made it wait.
    pub fn sent(&self, bytes: usize, waited: Duration) {
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
        self.waited_us.fetch_add(waited.as_micros() as u64, Relaxed);
    }

    /// How data is to be packed now: harder the slower the link is, not at all where packing would be what is waited for.
    pub fn packing(&self, lanes: usize) -> Packing {
        if self.compression == Compression::Off {
            return Packing { level: None };
        }
        self.think(lanes);
        let level = self.level.load(Relaxed);
        Packing { level: (level > 0).then_some(level) }
    }

    fn think(&self, lanes: usize) {
        let Ok(mut thought) = self.thought.try_lock() else { return };
        let elapsed = thought.at.elapsed();
        if elapsed < THINK_EVERY {
            return;
        }
        let (sent, waited) = (self.sent_bytes.load(Relaxed), self.waited_us.load(Relaxed));
        let rate = (sent - thought.sent_bytes) as f64 / elapsed.as_secs_f64();
        let waiting = (waited - thought.waited_us) as f64 / (elapsed.as_micros() as f64 * lanes.max(1) as f64);
        let level = next_level(self.level.load(Relaxed), rate, waiting, self.compression == Compression::Always);
        self.level.store(level, Relaxed);
        *thought = Thought { at: Instant::now(), sent_bytes: sent, waited_us: waited };
    }
}

/// The zstd level from now on, 0 for none: `rate` is what the link took in bytes per second, `waiting` the share of their time
/// that the lanes waited for it.
fn next_level(level: i32, rate: f64, waiting: f64, always: bool) -> i32 {
    let least = if always { ALWAYS } else { 0 };
    if waiting < 0.3 {
        // The link is not what is waited for, so less packing is as good, and perhaps faster.
        return (level - 1).max(least);
    }
    let fitting = LEVELS.iter().find(|(below, _)| rate < *below as f64).map_or(0, |(_, level)| *level);
    fitting.max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_link_that_is_waited_for_gets_packed_data() {
        assert_eq!(next_level(0, 12e6, 0.9, false), 12);
        assert_eq!(next_level(0, 100e6, 0.9, false), 1);
        assert_eq!(next_level(0, 900e6, 0.9, false), 0);
        assert_eq!(next_level(6, 12e6, 0.1, false), 5);
        assert_eq!(next_level(1, 900e6, 0.0, true), ALWAYS);
    }

    #[test]
    fn a_stopped_pace_lets_nothing_through() {
        let pace = Pace::new(Some(1), Compression::Off);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pace.admit(1_000_000));
            pace.stop();
            assert!(!waiting.join().unwrap());
        });
        assert!(!pace.admit(0));
    }

    #[test]
    fn a_limit_is_kept() {
        let pace = Pace::new(Some(10_000_000), Compression::Off);
        let began = Instant::now();
        (0..20).for_each(|_| assert!(pace.admit(100_000)));
        assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
    }
}
