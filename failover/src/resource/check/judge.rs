//! From answers to what is to be done.

use standin_config::group::Then;

/// What an answer leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Well,
    /// It failed, but not yet often enough.
    Missed {
        /// So many in a row.
        missed: u16,
        /// Out of so many.
        of: u16,
    },
    /// It failed too often: this follows. Told once until it is well again, or was restarted.
    Act(Then),
    /// It failed too often, and what follows was told before.
    Ill,
    /// It is well again after it was ill.
    Recovered,
}

/// Counts the failures of one check. Tell it every answer; tell it of a restart, too.
#[derive(Clone, Debug)]
pub struct Judge {
    limit: u16,
    then: Then,
    missed: u16,
}

impl Judge {
    /// After `limit` failures in a row, `then` follows.
    pub fn new(limit: u16, then: Then) -> Self {
        Self { limit: limit.max(1), then, missed: 0 }
    }

    /// An answer came, or did not.
    pub fn hear(&mut self, is_well: bool) -> Verdict {
        if is_well {
            let was_ill = self.missed >= self.limit;
            self.missed = 0;
            return if was_ill { Verdict::Recovered } else { Verdict::Well };
        }
        self.missed = self.missed.saturating_add(1);
        match self.missed {
            missed if missed < self.limit => Verdict::Missed { missed, of: self.limit },
            missed if missed == self.limit => Verdict::Act(self.then),
            _ => Verdict::Ill,
        }
    }

    /// What it looks at was started again: it has its chances anew.
    pub fn restarted(&mut self) {
        self.missed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_in_a_row_count_and_it_acts_once() {
        let mut judge = Judge::new(3, Then::Restart);
        let missed = |missed| Verdict::Missed { missed, of: 3 };
        let heard: Vec<_> = [false, false, true, false, false, false, false, true, true].map(|well| judge.hear(well)).to_vec();
        let act = Verdict::Act(Then::Restart);
        let expected =
            [missed(1), missed(2), Verdict::Well, missed(1), missed(2), act, Verdict::Ill, Verdict::Recovered, Verdict::Well];
        assert_eq!(heard, expected);
    }

    #[test]
    fn after_a_restart_it_may_miss_again() {
        let mut judge = Judge::new(1, Then::Fail);
        assert_eq!(judge.hear(false), Verdict::Act(Then::Fail));
        judge.restarted();
        assert_eq!(judge.hear(false), Verdict::Act(Then::Fail));
        (0..70_000).for_each(|_| assert_eq!(judge.hear(false), Verdict::Ill));
    }
}
