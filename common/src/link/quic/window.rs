//! How much a peer may send before it is read: bandwidth × delay and some, no more.
//!
//! A window far beyond that halves the speed of a fast short link (what waits falls out of the processor's cache); one below it
//! starves a long one. So the window follows what was received: a link that fills its window shows a rate of window / delay, four
//! times that is the next window, until the line is the limit and not the window.
//!
//! One thing else makes it grow. All streams share it, and a stream that nobody reads fills it up to its own window
//! ([`STREAM_WINDOW`]); then streams that are read get nothing, and if the reader of the first waits for the others, for ever.
//! So if the peer ever said that the window is full, and nothing moves, it is doubled on trial: what brings no answer is taken back
//! and tried again later, for what the peer said may be long past, or what was granted may be lost.
//!
//! Without I/O and clock: told each tick what was counted, it says what the window is to be.

use std::time::{Duration, Instant};

/// The window of a connection as it begins, and the least, in bytes.
pub(super) const MIN_WINDOW: u64 = 2 * 1024 * 1024;
/// The most, in bytes: 10 Gbit/s × 100 ms.
pub(super) const MAX_WINDOW: u64 = 128 * 1024 * 1024;
/// The window of one stream, in bytes: 1 Gbit/s × 130 ms. Seven streams that nobody reads leave room for an eighth.
pub(super) const STREAM_WINDOW: u64 = 16 * 1024 * 1024;
/// How often to tick.
const TICK: Duration = Duration::from_millis(50);
/// How often while nothing is received and nothing waits.
const REST: Duration = Duration::from_millis(250);

/// The window in round trips of what comes: one is under way, one waits for a lost packet to be sent again, one waits in queues of
/// the line, and one is to let the rate grow.
const ROUNDS: u128 = 4;
/// Less than this in a tick, in bytes, is nothing: acknowledgements and keep-alives.
const QUIET: u64 = 16 * 1024;
/// After how many quiet ticks a window is doubled on trial.
const TRIAL_TICKS: u32 = 10;
/// How many ticks a trial is given.
const ANSWER_TICKS: u32 = 20;
/// After how many quiet ticks it is tried again, when it was in vain.
const RETRIAL_TICKS: u32 = 200;
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
    /// The least round-trip time seen: that of the line, without what waits in queues.
    pub(super) min_rtt: Duration,
}

#[derive(Debug)]
pub(super) struct Window {
    bytes: u64,
    last: Counted,
    full: bool,
    quiet_ticks: u32,
    /// Quiet ticks until the next trial.
    patience: u32,
    /// During a trial, the window before it.
    before_trial: Option<u64>,
    ample_ticks: u32,
}

impl Window {
    /// The peer may have sent, and be blocked, before anybody took the connection.
    pub(super) fn new(first: Counted) -> Self {
        Self {
            bytes: MIN_WINDOW,
            last: first,
            full: first.full > 0,
            quiet_ticks: 0,
            patience: TRIAL_TICKS,
            before_trial: None,
            ample_ticks: 0,
        }
    }

    /// The new window, if it changes.
    pub(super) fn tick(&mut self, now: Counted) -> Option<u64> {
        let received = now.received_bytes.saturating_sub(self.last.received_bytes);
        let elapsed = now.at.saturating_duration_since(self.last.at);
        let said_full = now.full > self.last.full;
        self.last = now;
        self.full |= said_full;
        let before = self.bytes;
        if received >= QUIET || said_full {
            self.quiet_ticks = 0;
            self.patience = TRIAL_TICKS;
            self.before_trial = None;
        } else {
            self.quiet_ticks = self.quiet_ticks.saturating_add(ticks_in(elapsed));
        }
        self.follow(if received >= QUIET { needed(received, elapsed, now.min_rtt) } else { MIN_WINDOW });
        self.try_larger();
        (self.bytes != before).then_some(self.bytes)
    }

    /// When to tick again: a connection that rests is to cost next to nothing.
    pub(super) fn next_tick(&self) -> Duration {
        let tries_soon = self.before_trial.is_some() || self.full && self.patience < RETRIAL_TICKS;
        let rests = self.quiet_ticks > 0 && self.bytes == MIN_WINDOW && !tries_soon;
        if rests { REST } else { TICK }
    }

    /// Doubles a window that may be full of what nobody reads, or takes that back.
    fn try_larger(&mut self) {
        match self.before_trial {
            None if self.full && self.quiet_ticks >= self.patience => {
                self.before_trial = Some(self.bytes);
                self.bytes = (self.bytes * 2).min(MAX_WINDOW);
                self.quiet_ticks = 0;
            }
            Some(before) if self.quiet_ticks >= ANSWER_TICKS => {
                self.before_trial = None;
                self.bytes = before;
                self.quiet_ticks = 0;
                self.patience = RETRIAL_TICKS;
            }
            _ => {}
        }
    }

    /// Up at once, down only after a while: pauses are short, and growing again takes round trips.
    fn follow(&mut self, needed: u64) {
        if needed >= self.bytes / 2 {
            self.ample_ticks = 0;
            self.bytes = self.bytes.max(needed);
        } else {
            self.ample_ticks += 1;
            if self.ample_ticks >= KEEP_TICKS {
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
    u64::try_from(bandwidth_delay * ROUNDS).unwrap_or(MAX_WINDOW).clamp(MIN_WINDOW, MAX_WINDOW)
}

/// Ticks that such a time is worth, at least one.
fn ticks_in(elapsed: Duration) -> u32 {
    (elapsed.as_millis() / TICK.as_millis()).clamp(1, u128::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1024 * 1024;

    /// A line whose sender always has something: what comes in a tick is bounded by the line and by the window a round trip.
    fn run(bytes_per_sec: u64, rtt: Duration, ticks: u32) -> u64 {
        let mut now = Counted { at: Instant::now(), received_bytes: 0, full: 0, min_rtt: rtt };
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
        assert_eq!(run(12_500_000, Duration::from_millis(40), 100), MIN_WINDOW);
        let long = run(125_000_000, Duration::from_millis(100), 100);
        assert!((48_000_000..=52 * MIB).contains(&long), "{long}");
        assert_eq!(run(1_250_000_000, Duration::from_millis(200), 200), MAX_WINDOW);
    }

    #[test]
    fn a_window_that_is_full_of_unread_streams_grows_and_an_idle_one_does_not() {
        let mut now = Counted { at: Instant::now(), received_bytes: 0, full: 0, min_rtt: Duration::from_millis(1) };
        let mut idle = Window::new(now);
        // The window was filled, maybe before anybody looked, and nobody reads; whatever is granted is filled at once.
        now.received_bytes = MIN_WINDOW;
        now.full = 1;
        let mut full = Window::new(now);
        for _ in 0..200 {
            now.at += TICK;
            idle.tick(Counted { full: 0, received_bytes: 0, ..now });
            let before = full.bytes;
            if full.tick(now).is_some() {
                now.received_bytes += full.bytes - before;
                now.full += 1;
            }
        }
        assert_eq!(idle.bytes, MIN_WINDOW);
        assert_eq!((idle.next_tick(), full.next_tick()), (REST, TICK));
        assert!(full.bytes > 7 * STREAM_WINDOW, "{}", full.bytes);
    }

    #[test]
    fn a_trial_in_vain_is_taken_back_and_made_again() {
        let mut now = Counted { at: Instant::now(), received_bytes: 0, full: 0, min_rtt: Duration::from_millis(1) };
        let mut window = Window::new(now);
        now.received_bytes = MIN_WINDOW;
        now.full = 1;
        let changes: Vec<u64> = (0..600)
            .filter_map(|_| {
                now.at += TICK;
                window.tick(now)
            })
            .collect();
        assert_eq!(changes, [2 * MIN_WINDOW, MIN_WINDOW, 2 * MIN_WINDOW, MIN_WINDOW, 2 * MIN_WINDOW, MIN_WINDOW]);
        // However late: what then comes is an answer only to a larger window.
        while window.before_trial.is_none() {
            now.at += TICK;
            window.tick(now);
        }
        now.received_bytes += MIN_WINDOW;
        now.at += TICK;
        window.tick(now);
        assert_eq!((window.bytes, window.before_trial), (2 * MIN_WINDOW, None));
    }

    #[test]
    fn a_window_shrinks_when_it_was_too_large_for_long() {
        let start = Instant::now();
        let mut now = Counted { at: start, received_bytes: 0, full: 0, min_rtt: Duration::from_millis(100) };
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
            let mut now = Counted { at: Instant::now(), received_bytes: 0, full: 0, min_rtt: Duration::ZERO };
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
