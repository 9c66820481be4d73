//! Pauses between attempts: longer each time, and never the same for two that began together.
//!
//! Without clock and source of chance: what is given at the beginning decides all pauses.

use std::time::Duration;

/// The pauses of one who tries again and again.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    random: u64,
}

impl Backoff {
    /// Pauses around `first`, then around twice that each time, up to `longest`. Two with other seeds have other pauses.
    pub fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, next: first, random: seed }
    }

    /// How long to wait before the next attempt: between half of this attempt's pause and all of it.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.longest);
        pause / 2 + (pause / 2).mul_f64(self.chance())
    }

    /// An attempt went well: the next pause is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// From 0 to 1, by SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(15);

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again() {
        let mut backoff = Backoff::new(FIRST, LONGEST, 1);
        for expected_ms in [500, 1000, 2000, 4000, 8000, 15_000, 15_000] {
            let (pause, expected) = (backoff.pause(), Duration::from_millis(expected_ms));
            assert!(pause >= expected / 2 && pause <= expected, "{pause:?} of {expected:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }

    #[test]
    fn many_that_begin_together_are_spread() {
        let mut pauses: Vec<_> = (0..100).map(|seed| Backoff::new(FIRST, LONGEST, seed).pause()).collect();
        pauses.sort();
        // No tenth of the range is without some, none has a third of all.
        for tenth in 0..10 {
            let from = FIRST / 2 + FIRST / 20 * tenth;
            let count = pauses.iter().filter(|pause| **pause >= from && **pause < from + FIRST / 20).count();
            assert!((1..34).contains(&count), "{count} in {tenth}");
        }
    }
}
