//! What goes on around a pass, and what may be done wrong there.

use std::sync::Arc;

use standin_common::scope::Reason;
use standin_replicator::sim::Random;

use super::contents::Contents;
use super::pass::Around;
use super::source::Source;

/// What the simulated parts do wrong, to see whether the schedules find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vice {
    /// The disk says that logs are synced.
    LogSync,
    /// The disk says that volumes are synced.
    VolumeSync,
    /// Every point is graded consistent.
    BlindGrade,
    /// A round forgets what changes while it runs.
    Forgetful,
    /// A round does not ask the kernel again before it grades its point.
    Deaf,
    /// After an acknowledgement that was lost, only the older point is taken for the one that the replica is at.
    LostBase,
    /// A mirror takes what has the same size and time for the same, however late it changed.
    Trusting,
}

/// What the world does while a pass runs.
pub struct Meanwhile<'w> {
    pub source: &'w mut Source,
    /// Version and state at the moment that the point shows.
    pub moment: Option<(u64, Arc<Vec<Contents>>)>,
    /// In a round, what was noticed when it was taken.
    pub seen: Option<u64>,
    pub vice: Option<Vice>,
}

impl Around for Meanwhile<'_> {
    fn change(&mut self, random: &mut Random) {
        self.source.change(random);
        if random.one_in(3) {
            self.source.read_notices();
        }
    }

    fn moment(&mut self) {
        self.moment = Some((self.source.version, self.source.state()));
    }

    fn still(&mut self) -> bool {
        if self.vice != Some(Vice::Deaf) {
            self.source.read_notices();
        }
        // A pass over everything is proven by its two looks alone.
        self.seen.is_none_or(|seen| seen == self.source.follow.seen)
    }

    fn reason(&mut self, random: &mut Random) -> Reason {
        match self.seen {
            None => Reason::Mirror,
            // Most rounds make points that only pass.
            Some(_) => [Reason::Asked, Reason::Interval, Reason::Quiet]
                .get(random.below(10) as usize)
                .copied()
                .unwrap_or(Reason::Passing),
        }
    }

    fn grades_blindly(&self) -> bool {
        self.vice == Some(Vice::BlindGrade)
    }
}
