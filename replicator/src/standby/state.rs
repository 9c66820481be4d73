//! What the standby knows of a set between two starts, and which changes of it are legal.

use serde::{Deserialize, Serialize};
use standin_common::id::{Generation, MirrorId, PointNumber};

use crate::journal::Point;

/// The state of a replica. What a crash does to it is said at each variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// Nothing was received yet. A crash leaves it so.
    Empty,
    /// The first mirror writes in place; not promotable. After a crash the mirror goes on from its last mark.
    FirstMirror {
        /// Which mirror.
        mirror: MirrorId,
    },
    /// The replica is at a point. A crash leaves it so; a journal that is being received is cut back to its last mark.
    Settled {
        /// The point.
        at: PointNumber,
    },
    /// A journal is being applied. After a crash it is applied again, from its start.
    Moving {
        /// The point the replica was at, `None` at the end of the first mirror.
        from: Option<PointNumber>,
        /// The point it will be at.
        to: PointNumber,
    },
    /// The replica belongs to its own applications. A crash leaves it so.
    Promoted {
        /// The point it was promoted at.
        at: PointNumber,
    },
    /// Something failed that must not be passed over; nothing is acknowledged or written until it is mended.
    Bad {
        /// What failed, where, and what to do.
        cause: String,
        /// The state it was in.
        was: Box<Phase>,
    },
}

impl Phase {
    /// The point that the replica is at, or will be at once a journal is applied again.
    pub fn point(&self) -> Option<PointNumber> {
        match self {
            Self::Empty | Self::FirstMirror { .. } => None,
            Self::Settled { at } | Self::Promoted { at } => Some(*at),
            Self::Moving { to, .. } => Some(*to),
            Self::Bad { was, .. } => was.point(),
        }
    }

    /// Whether a journal is being applied, or was when something failed.
    pub fn is_moving(&self) -> bool {
        matches!(self, Self::Moving { .. })
    }

    /// Whether this may be followed by `next`. Everything that is not listed is a bug, refused here.
    fn leads_to(&self, next: &Phase) -> bool {
        use Phase::*;
        match (self, next) {
            (Bad { was, .. }, next) => **was == *next,
            (_, Bad { was, .. }) => **was == *self,
            (Empty, FirstMirror { .. }) => true,
            (FirstMirror { .. }, FirstMirror { .. }) => true,
            (FirstMirror { .. }, Moving { from: None, .. }) => true,
            (Settled { at }, Moving { from, .. }) => Some(*at) == *from,
            // At `from` again if nothing was touched yet.
            (Moving { from, to }, Settled { at }) => to == at || *from == Some(*at),
            // The first mirror begins again.
            (Moving { from: None, .. }, Empty) => true,
            // Turned back: the newest point cannot be gone to.
            (Moving { from, to }, Moving { from: back_from, to: back_to }) => {
                *from == Some(*back_to) && *back_from == Some(*to) && back_to < to
            }
            (Settled { at }, Promoted { at: promoted }) => at == promoted,
            _ => false,
        }
    }
}

/// Everything that is kept of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The highest generation seen.
    pub generation: Generation,
    /// Where the replica stands.
    #[serde(flatten)]
    pub phase: Phase,
    /// The points that the replica can be taken to, the oldest first.
    pub points: Vec<Point>,
}

/// A change of phase that is not legal.
#[derive(Debug, thiserror::Error)]
#[error("a replica cannot go from {from:?} to {to:?}")]
pub struct IllegalTransition {
    from: Box<Phase>,
    to: Box<Phase>,
}

impl State {
    /// Of a set that nothing was received of.
    pub fn new() -> Self {
        Self { generation: Generation::default(), phase: Phase::Empty, points: Vec::new() }
    }

    /// Goes to the next phase, if that is legal.
    pub fn enter(&mut self, next: Phase) -> Result<(), IllegalTransition> {
        if !self.phase.leads_to(&next) {
            return Err(IllegalTransition { from: Box::new(self.phase.clone()), to: Box::new(next) });
        }
        self.phase = next;
        Ok(())
    }

    /// The number of the next point.
    pub fn next_point(&self) -> PointNumber {
        self.points.last().map_or(PointNumber(1), |last| last.number.next())
    }

    /// A point by its number.
    pub fn point(&self, number: PointNumber) -> Option<&Point> {
        self.points.iter().find(|point| point.number == number)
    }

    /// The kept point before `number`.
    pub fn before(&self, number: PointNumber) -> Option<PointNumber> {
        self.points.iter().rev().map(|point| point.number).find(|kept| *kept < number)
    }

    /// The kept point after `number`.
    pub fn after(&self, number: PointNumber) -> Option<PointNumber> {
        self.points.iter().map(|point| point.number).find(|kept| *kept > number)
    }

    /// The next point on the way from `at` to `goal`.
    pub fn step_towards(&self, at: PointNumber, goal: PointNumber) -> Option<PointNumber> {
        match goal.cmp(&at) {
            std::cmp::Ordering::Less => self.before(at),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => self.after(at),
        }
    }

    /// The oldest points that go when `keep` points before the newest are kept, but never the newest consistent one
    /// and what lies after it.
    pub fn superfluous(&self, keep: usize) -> usize {
        let by_count = self.points.len().saturating_sub(keep + 1);
        let newest_consistent = self.points.iter().rposition(|point| point.consistent);
        newest_consistent.map_or(by_count, |index| by_count.min(index))
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use standin_common::entry::Time;
    use standin_common::scope::Reason;

    fn state(consistent: &[bool]) -> State {
        let point = |(index, consistent): (usize, &bool)| Point {
            number: PointNumber(index as u64 + 1),
            generation: Generation(1),
            mirror: MirrorId(index as u64),
            reason: Reason::Mirror,
            at: Time::default(),
            consistent: *consistent,
            objects: 0,
            bytes: 0,
            orphans: 0,
        };
        State { points: consistent.iter().enumerate().map(point).collect(), ..State::new() }
    }

    #[test]
    fn the_newest_consistent_point_is_kept() {
        assert_eq!(state(&[true, true, true, true]).superfluous(1), 2);
        assert_eq!(state(&[true, false, false, false]).superfluous(1), 0);
        assert_eq!(state(&[true, true, false, false]).superfluous(0), 1);
        assert_eq!(state(&[true]).superfluous(0), 0);
    }

    #[test]
    fn a_promoted_replica_receives_nothing() {
        let mut state = State { phase: Phase::Promoted { at: PointNumber(1) }, ..State::new() };
        assert!(state.enter(Phase::FirstMirror { mirror: MirrorId(1) }).is_err());
        assert!(state.enter(Phase::Moving { from: Some(PointNumber(1)), to: PointNumber(2) }).is_err());
    }

    #[test]
    fn a_bad_state_is_left_to_where_it_came_from() {
        let mut state = State { phase: Phase::Settled { at: PointNumber(1) }, ..State::new() };
        let was = Box::new(state.phase.clone());
        state.enter(Phase::Bad { cause: "disk".into(), was }).unwrap();
        assert!(state.enter(Phase::Empty).is_err());
        state.enter(Phase::Settled { at: PointNumber(1) }).unwrap();
    }

    #[test]
    fn it_is_kept_as_json() {
        let mut state = state(&[true]);
        state.phase = Phase::Moving { from: None, to: PointNumber(1) };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }
}
