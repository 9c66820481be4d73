//! Numbers from a seed, the same on every machine, fast enough to fill gigabytes.

use std::time::{Duration, SystemTime};

/// 2026-01-01T00:00:00Z, around which all times of the material lie, in seconds since 1970.
const NEW_YEAR_SECS: u64 = 1_767_225_600;

/// A `wyrand` generator (Wang Yi, public domain). Not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// Numbers of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xa076_1d64_78bd_642f);
        let wide = u128::from(self.0) * u128::from(self.0 ^ 0xe703_7ed1_a0b4_28db);
        (wide >> 64) as u64 ^ wide as u64
    }

    /// A number below `bound`, which is not 0. The bias is below 2^-32 for the bounds used here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included, small ones as likely as large ones a power of two apart.
    pub(crate) fn between_by_magnitude(&mut self, low: u64, high: u64) -> u64 {
        let doublings = (high / low).max(1).ilog2() + 1;
        let base = low << self.below(u64::from(doublings));
        (base + self.below(base)).min(high)
    }

    /// One of them.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Fills with bytes that do not compress.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        let mut chunks = buffer.chunks_exact_mut(8);
        for chunk in &mut chunks {
            chunk.copy_from_slice(&self.next().to_le_bytes());
        }
        let rest = chunks.into_remainder();
        let last = self.next().to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }

    /// A time in the months before [`NEW_YEAR_SECS`], to the nanosecond.
    pub(crate) fn time(&mut self) -> SystemTime {
        let secs = NEW_YEAR_SECS - self.below(180 * 86_400);
        SystemTime::UNIX_EPOCH + Duration::new(secs, self.below(1_000_000_000) as u32)
    }
}
