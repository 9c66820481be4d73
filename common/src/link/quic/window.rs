//! How much a peer may send before it is read: bandwidth × delay and some, no more.
//!
//! A window far beyond that halves the speed of a fast short link (what waits falls out of the processor's cache); one below it
//! starves a long one. So the window follows what was received: a link that fills its window shows a rate of window / delay, twice
//! that is the next window, until the line is the limit and not the window.
//!
//! One thing else makes it grow. All streams share it, and a stream that nobody reads fills it up to its own window
//! ([`STREAM_WINDOW`]); then streams that are read get nothing, and if the reader of the first waits for the others, for ever.
//! So a window that is full while nothing moves grows until something does.
//!
//! Without I/O and clock: told each tick what was counted, it says what the window is to be.

use std::time::{Duration, Instant};

/// The window of a connection as it begins, and the least, in bytes.
pub(super) const MIN_WINDOW: u64 = 2 * 1024 * 1024;
/// The most, in bytes: 1 Gbit/s × 500 ms, or 10 Gbit/s × 50 ms.
pub(super) const MAX_WINDOW: u64 = 64 * 1024 * 1024;
/// The window of one stream, in bytes; eight streams that nobody reads fit into [`MAX_WINDOW`].
pub(super) const STREAM_WINDOW: u64 = 8 * 1024 * 1024;
/// How often to tick.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// Less than this in a tick, in bytes, is nothing: acknowledgements and keep-alives.
const QUIET: u64 = 16 * 1024;
/// How many quiet ticks with a full window are a standstill.
const STANDSTILL_TICKS: u32 = 10;
/// How long a window may be larger than needed.
const KEEP_TICKS: u32 = 200;

/// What was counted on a connection since its beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) at: Instant,
    /// Bytes received in UDP datagrams.
    pub(super) received_bytes: u64,
    /// How often the peer said that the window is full.
    pub(super) full: u64,
    /// How often more was granted to the peer.
    pub(super) granted: u64,
    /// The least round-trip time seen: that of the line, without what waits in queues.
    pub(super) min_rtt: Duration,
}

#[derive(Debug)]
pub(super) struct Window {
    bytes: u64,
    last: Counted,
    full: bool,
    quiet_ticks: u32,
    ample_ticks: u32,
}

impl Window {
    pub(super) fn new(first: Counted) -> Self {
        Self { bytes: MIN_WINDOW, last: first, full: false, quiet_ticks: 0, ample_ticks: 0 }
    }

    /// The new window, if it changes.
    pub(super) fn tick(&mut self, now: Counted) -> Option<u64> {
        let received = now.received_bytes.saturating_sub(self.last.received_bytes);
        let elapsed = now.at.saturating_duration_since(self.last.at);
        // Which of both came first is not known: a wrong guess costs one doubling, after which more was granted.
        self.full = now.full > self.last.full || (self.full && now.granted == self.last.granted);
        self.last = now;
        let before = self.bytes;
        if received >= QUIET {
            self.quiet_ticks = 0;
            self.follow(needed(received, elapsed, now.min_rtt));
        } else {
            self.follow(MIN_WINDOW);
            self.quiet_ticks += 1;
            if self.full && self.quiet_ticks >= STANDSTILL_TICKS {
                self.bytes = (self.bytes * 2).min(MAX_WINDOW);
            }
        }
        (self.bytes != before).then_some(self.bytes)
    }

    /// Up at once, down only after a while: pauses are short, and growing again takes round trips.
    fn follow(&mut self, needed: u64) {
        if needed >= self.bytes / 2 {
            self.ample_ticks = 0;
            self.bytes = self.bytes.max(needed);
        } else {
            self.ample_ticks += 1;
            if self.ample_ticks >= KEEP_TICKS && !self.full {
                self.ample_ticks = 0;
                self.bytes = needed.max(self.bytes / 2);
            }
        }
    }
}

fn needed(received: u64, elapsed: Duration, rtt: Duration) -> u64 {
    if elapsed.is_zero() {
        return MIN_WINDOW;
    }
    let bandwidth_delay = u128::from(received) * rtt.as_nanos() / elapsed.as_nanos();
    u64::try_from(bandwidth_delay * 2).unwrap_or(MAX_WINDOW).clamp(MIN_WINDOW, MAX_WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1024 * 1024;

    /// A line whose sender always has something: what comes in a tick is bounded by the line and by the window a round trip.
    fn run(bytes_per_sec: u64, rtt: Duration, ticks: u32) -> u64 {
        let mut now = Counted { at: Instant::now(), received_bytes: 0, full: 0, granted: 0, min_rtt: rtt };
        let mut window = Window::new(now);
        for _ in 0..ticks {
            now.at += TICK;
            let by_window = window.bytes as u128 * TICK.as_nanos() / rtt.as_nanos();
            let by_line = u128::from(bytes_per_sec) * TICK.as_nanos() / 1_000_000_000;
            now.received_bytes += by_window.min(by_line) as u64;
            now.full += u64::from(by_window < by_line);
            window.tick(now);
        }
        window.bytes
    }

    #[test]
    fn short_links_stay_in_the_cache_and_long_ones_are_filled() {
        assert_eq!(run(2_400_000_000, Duration::from_micros(150), 100), MIN_WINDOW);
        assert_eq!(run(12_500_000, Duration::from_millis(80), 100), MIN_WINDOW);
        let long = run(125_000_000, Duration::from_millis(100), 100);
        assert!((24_000_000..=26 * MIB).contains(&long), "{long}");
        assert_eq!(run(1_250_000_000, Duration::from_millis(200), 100), MAX_WINDOW);
    }

    #[test]
    fn a_window_that_is_full_of_unread_streams_grows_and_an_idle_one_does_not() {
        let mut now = Counted { at: Instant::now(), received_bytes: 0, full: 0, granted: 0, min_rtt: Duration::from_millis(1) };
        let mut idle = Window::new(now);
        let mut full = Window::new(now);
        now.received_bytes = MIN_WINDOW;
        now.full = 1;
        for _ in 0..20 {
            now.at += TICK;
            idle.tick(Counted { full: 0, ..now });
            if full.tick(now).is_some() {
                now.granted += 1;
                now.full += 1;
                now.received_bytes += QUIET - 1;
            }
        }
        assert_eq!(idle.bytes, MIN_WINDOW);
        assert!(full.bytes >= 8 * STREAM_WINDOW, "{}", full.bytes);
        // One that moves again does not grow on.
        let mut moving = Window { bytes: MIN_WINDOW, ..full };
        for _ in 0..40 {
            now.at += TICK;
            now.granted += 1;
            moving.tick(now);
        }
        assert_eq!(moving.bytes, MIN_WINDOW);
    }

    #[test]
    fn a_window_shrinks_when_it_was_too_large_for_long() {
        let start = Instant::now();
        let mut now = Counted { at: start, received_bytes: 0, full: 0, granted: 0, min_rtt: Duration::from_millis(100) };
        let mut window = Window::new(now);
        for _ in 0..40 {
            now.at += TICK;
            now.received_bytes += 6 * MIB;
            window.tick(now);
        }
        let grown = window.bytes;
        assert!(grown > 20 * MIB);
        for _ in 0..KEEP_TICKS - 1 {
            now.at += TICK;
            window.tick(now);
        }
        assert_eq!(window.bytes, grown);
        for _ in 0..KEEP_TICKS * 6 {
            now.at += TICK;
            window.tick(now);
        }
        assert!(window.bytes <= 2 * MIN_WINDOW, "{}", window.bytes);
    }

    proptest! {
        #[test]
        fn the_window_keeps_its_bounds(steps in proptest::collection::vec((0..u64::MAX / 64, 0..3u64, 0..5000u64, 0..200u64), 0..50)) {
            let mut now = Counted { at: Instant::now(), received_bytes: 0, full: 0, granted: 0, min_rtt: Duration::ZERO };
            let mut window = Window::new(now);
            for (bytes, full, rtt, elapsed) in steps {
                now.at += Duration::from_millis(elapsed);
                now.received_bytes = now.received_bytes.saturating_add(bytes);
                now.full += full;
                now.min_rtt = Duration::from_millis(rtt);
                window.tick(now);
                prop_assert!((MIN_WINDOW..=MAX_WINDOW).contains(&window.bytes));
            }
        }
    }
}
