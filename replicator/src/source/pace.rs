//! How fast a pass may send, how hard it compresses, and whether it goes on at all.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use standin_config::{Compression, Rate};

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
    brake: Mutex<Brake>,
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

/// What lets through so many bytes a second, of whoever asks, one after the other. A rate that changes holds for those who wait, too.
#[derive(Debug)]
struct Brake {
    rate: Rate,
    /// Bytes asked for so far.
    asked: f64,
    /// Bytes let through until `at`; more than were asked for by what was saved up.
    through: f64,
    at: Instant,
}

impl Brake {
    /// Counts what was let through until `now`.
    fn settle(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.through = match self.rate {
            Rate::Unlimited => self.through.max(self.asked),
            Rate::Limit(rate) => (self.through + rate as f64 * elapsed).min(self.asked + rate as f64 * BURST_SECONDS),
            Rate::Pause => self.through.min(self.asked),
        };
        self.at = now;
    }

    /// How long it takes until everything up to `goal` is through; `None` for as long as the rate does not change.
    fn wait(&self, goal: f64) -> Option<Duration> {
        let missing = goal - self.through;
        match self.rate {
            // Less than a byte is rounding.
            _ if missing < 1.0 => Some(Duration::ZERO),
            Rate::Unlimited => Some(Duration::ZERO),
            Rate::Limit(rate) => Some(Duration::from_secs_f64(missing / rate.max(1) as f64)),
            Rate::Pause => None,
        }
    }
}

impl Pace {
    /// At most at this rate, of payload.
    pub fn new(rate: Rate, compression: Compression) -> Self {
        Self {
            brake: Mutex::new(Brake { rate, asked: 0.0, through: 0.0, at: Instant::now() }),
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
        let _brake = self.brake();
        self.woken.notify_all();
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Waits until `bytes` may be sent; `false` if it was stopped.
    pub fn admit(&self, bytes: usize) -> bool {
        let mut brake = self.brake();
        brake.settle(Instant::now());
        brake.asked += bytes as f64;
        let goal = brake.asked;
        loop {
            if self.is_stopped() {
                return false;
            }
            brake.settle(Instant::now());
            brake = match brake.wait(goal) {
                Some(Duration::ZERO) => return true,
                Some(wait) => self.woken.wait_timeout(brake, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.woken.wait(brake).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Goes on at another rate, from now on.
    pub fn set_rate(&self, rate: Rate) {
        let mut brake = self.brake();
        if brake.rate != rate {
            brake.settle(Instant::now());
            brake.rate = rate;
            self.woken.notify_all();
        }
    }

    /// The rate now.
    pub fn rate(&self) -> Rate {
        self.brake().rate
    }

    fn brake(&self) -> MutexGuard<'_, Brake> {
        self.brake.lock().unwrap_or_else(PoisonError::into_inner)
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
        let pace = Pace::new(Rate::Limit(1), Compression::Off);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pace.admit(1_000_000));
            pace.stop();
            assert!(!waiting.join().unwrap());
        });
        assert!(!pace.admit(0));
    }

    #[test]
    fn a_limit_is_kept() {
        let pace = Pace::new(Rate::Limit(10_000_000), Compression::Off);
        let began = Instant::now();
        (0..20).for_each(|_| assert!(pace.admit(100_000)));
        assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
    }

    fn brake(rate: Rate) -> (Brake, Instant) {
        let at = Instant::now();
        (Brake { rate, asked: 0.0, through: 0.0, at }, at)
    }

    #[test]
    fn a_rate_that_changes_holds_for_those_who_wait() {
        let (mut brake, start) = brake(Rate::Limit(1000));
        brake.asked = 10_000.0;
        assert_eq!(brake.wait(10_000.0), Some(Duration::from_secs(10)));
        brake.settle(start + Duration::from_secs(5));
        brake.rate = Rate::Limit(100);
        assert_eq!(brake.wait(10_000.0), Some(Duration::from_secs(50)));
        // Nothing is let through in a pause, and nothing is saved up.
        brake.rate = Rate::Pause;
        brake.settle(start + Duration::from_secs(100_000));
        assert_eq!((brake.wait(10_000.0), brake.through), (None, 5000.0));
        brake.rate = Rate::Unlimited;
        brake.settle(start + Duration::from_secs(100_000));
        assert_eq!(brake.wait(10_000.0), Some(Duration::ZERO));
    }

    #[test]
    fn who_sent_nothing_for_long_saved_up_a_moment_only() {
        let (mut brake, start) = brake(Rate::Limit(1000));
        brake.settle(start + Duration::from_secs(3600));
        brake.asked = 1000.0;
        assert_eq!(brake.wait(brake.asked), Some(Duration::from_secs_f64(1.0 - BURST_SECONDS)));
    }

    #[test]
    fn a_pause_lets_nothing_through_until_it_is_over() {
        let pace = Pace::new(Rate::Pause, Compression::Off);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pace.admit(1000));
            while pace.brake().asked == 0.0 {
                std::thread::yield_now();
            }
            assert!(!waiting.is_finished());
            pace.set_rate(Rate::Unlimited);
            assert!(waiting.join().unwrap());
        });
        assert_eq!(pace.rate(), Rate::Unlimited);
    }
}
