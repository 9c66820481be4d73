//! What a comparison of one file finds: the ranges that differ, a bounded number of them.

use standin_common::message::Want;

/// The most ranges of one file that are kept; those beyond are counted.
pub const MOST_RANGES: usize = 10_000;

/// Ranges in ascending order, neighbours joined.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    kept: Vec<(u64, u64)>,
    more: u64,
    end: u64,
}

impl Ranges {
    /// Adds the bytes from `start` to before `end`, which lie after all that was added.
    pub(super) fn add(&mut self, start: u64, end: u64) {
        let room = self.kept.len() < MOST_RANGES;
        match self.kept.last_mut() {
            Some(last) if self.more == 0 && start <= last.1 => last.1 = last.1.max(end),
            _ if room => self.kept.push((start, end)),
            _ if self.more > 0 && start <= self.end => {}
            _ => self.more += 1,
        }
        self.end = self.end.max(end);
    }
}

/// A file that was compared and differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file as it was asked for.
    pub want: Want,
    /// Bytes `[start, end)` that differ: 4 KiB leaves, neighbours joined, and what only one of both sides has. At most [`MOST_RANGES`].
    pub ranges: Vec<(u64, u64)>,
    /// How many ranges there are besides those.
    pub more: u64,
}

/// The comparison of one file so far.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The size on the source when its reading began.
    pub size: u64,
    /// The size on the standby, when it has said it.
    pub theirs: Option<u64>,
    pub ranges: Ranges,
}

impl Outcome {
    /// The finding, if there is one; `None` as well if the standby has not said its size.
    pub(super) fn found(mut self, want: Want) -> Option<Found> {
        let theirs = self.theirs?;
        if theirs != self.size {
            self.ranges.add(theirs.min(self.size), theirs.max(self.size));
        }
        let Ranges { kept, more, .. } = self.ranges;
        (!kept.is_empty()).then_some(Found { want, ranges: kept, more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_joined_and_no_more_are_kept_than_allowed() {
        let mut ranges = Ranges::default();
        ranges.add(0, 4096);
        ranges.add(4096, 8192);
        ranges.add(12_288, 12_300);
        assert_eq!(ranges.kept, [(0, 8192), (12_288, 12_300)]);
        for range in 2..MOST_RANGES as u64 + 3 {
            ranges.add(range * 10_000, range * 10_000 + 10);
            ranges.add(range * 10_000 + 10, range * 10_000 + 20);
        }
        assert_eq!((ranges.kept.len(), ranges.more), (MOST_RANGES, 3));
        assert_eq!(ranges.kept.last(), Some(&((MOST_RANGES as u64 - 1) * 10_000, (MOST_RANGES as u64 - 1) * 10_000 + 20)));
    }
}
