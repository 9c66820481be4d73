//! Extremes over a while.

use std::time::{Duration, Instant};

/// Half of the rounds for which aggregation is remembered.
const AGGREGATION_ROUNDS: u32 = 5;

/// The highest of two periods: the one that runs and the one before it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TwoPeriods {
    before: f64,
    now: f64,
}

impl TwoPeriods {
    /// Takes a value.
    pub(super) fn add(&mut self, value: f64) {
        self.now = self.now.max(value);
    }

    /// Begins a period. One in which nothing came does not count.
    pub(super) fn advance(&mut self) {
        if self.now > 0.0 {
            self.before = std::mem::take(&mut self.now);
        }
    }

    /// The highest value, 0 if there is none.
    pub(super) fn max(&self) -> f64 {
        self.before.max(self.now)
    }
}

/// The least round-trip time of a while, and when it was last seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeastRtt {
    value: Option<(Duration, Instant)>,
    keep: Duration,
}

impl LeastRtt {
    pub(super) fn new(keep: Duration) -> Self {
        Self { value: None, keep }
    }

    /// Takes a value. One that is so near to the least that no queue can be behind the difference says that this still holds.
    pub(super) fn add(&mut self, now: Instant, rtt: Duration) {
        self.value = match self.value {
            Some((least, seen)) if rtt > least && !self.is_old(now) => {
                Some((least, if rtt <= least + least / 32 { now } else { seen }))
            }
            _ => Some((rtt, now)),
        }
    }

    /// Whether it was not seen for long.
    pub(super) fn is_old(&self, now: Instant) -> bool {
        self.value.is_some_and(|(_, seen)| now.saturating_duration_since(seen) > self.keep)
    }

    /// It was looked for, and this is it for the next while.
    pub(super) fn refresh(&mut self, now: Instant) {
        self.value = self.value.map(|(least, _)| (least, now));
    }

    pub(super) fn get(&self) -> Option<Duration> {
        self.value.map(|(least, _)| least)
    }
}

/// How much more than the rate says is acknowledged at once, over a few rounds: peers gather acknowledgements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aggregation {
    since: Instant,
    delivered: u64,
    extra: TwoPeriods,
    rounds: u32,
}

impl Aggregation {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, delivered: 0, extra: TwoPeriods::default(), rounds: 0 }
    }

    /// Sending begins again after a pause.
    pub(super) fn restart(&mut self, now: Instant) {
        self.since = now;
        self.delivered = 0;
    }

    /// Bytes that come more than expected.
    pub(super) fn bytes(&self) -> u64 {
        self.extra.max() as u64
    }

    /// So much was acknowledged on a line of this rate and window; a round may start with it.
    pub(super) fn add(&mut self, now: Instant, acked: u64, rate: f64, window: u64, round_starts: bool) {
        if round_starts {
            self.rounds += 1;
            if self.rounds >= AGGREGATION_ROUNDS {
                self.rounds = 0;
                self.extra.advance();
            }
        }
        let mut expected = rate * now.saturating_duration_since(self.since).as_secs_f64();
        if self.delivered as f64 <= expected {
            self.delivered = 0;
            self.since = now;
            expected = 0.0;
        }
        self.delivered += acked;
        self.extra.add((self.delivered as f64 - expected).min(window as f64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_of_two_periods() {
        let mut filter = TwoPeriods::default();
        filter.add(5.0);
        filter.advance();
        filter.add(3.0);
        assert_eq!(filter.max(), 5.0);
        filter.advance();
        filter.advance();
        assert_eq!(filter.max(), 3.0);
    }

    #[test]
    fn the_least_is_kept_while_it_is_seen() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut filter = LeastRtt::new(ms(1000));
        filter.add(start, ms(100));
        filter.add(start + ms(900), ms(102));
        filter.add(start + ms(1800), ms(150));
        assert_eq!(filter.get(), Some(ms(100)));
        assert!(!filter.is_old(start + ms(1800)) && filter.is_old(start + ms(1901)));
        filter.add(start + ms(1950), ms(150));
        assert_eq!(filter.get(), Some(ms(150)));
    }
}
