//! Time, as an execution needs it.

use std::time::{Duration, Instant, SystemTime};

/// A clock that can also wait.
pub trait Clock: Sync {
    /// Time since some moment before.
    fn now(&self) -> Duration;
    /// Waits.
    fn sleep(&self, pause: Duration);
    /// Milliseconds since 1970, for whoever reads the journal.
    fn unix_ms(&self) -> u64;
}

/// The system's clock.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }

    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
