//! What the standby knows of a set between two starts, and which changes of it are legal.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use standin_common::id::{Generation, MirrorId, PointNumber};
use standin_common::scope::Reason;

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
    /// The steps of the way from the oldest point to the newest. They lead over points that are not kept any more, too.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// One journal's part of the way between kept points: from where the step before ends, or from the oldest point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Where it ends.
    pub to: PointNumber,
    /// Bytes of its journal, and of the files that it parks.
    pub bytes: u64,
    /// Whether it can be made one with its neighbours.
    pub plain: bool,
}

/// The newest points that are kept besides those that always are, and how much room the way back to them may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Points before the newest, not counting those that only pass.
    pub points: usize,
    /// Bytes of journals and parked files.
    pub bytes: u64,
}

/// The most steps of a way: points go early rather than that the state grows without bound.
const MOST_STEPS: usize = 4096;
/// So many steps to a point that only passes are left as they are.
const MERGE_FROM: usize = 32;
/// The most bytes of journals that are made one at a time.
const MOST_MERGED: u64 = 1 << 30;

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
        Self { generation: Generation::default(), phase: Phase::Empty, points: Vec::new(), steps: Vec::new() }
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

    /// The number of the newest point.
    pub fn newest(&self) -> Option<PointNumber> {
        self.points.last().map(|newest| newest.number)
    }

    /// A point by its number.
    pub fn point(&self, number: PointNumber) -> Option<&Point> {
        self.points.iter().find(|point| point.number == number)
    }

    /// The oldest kept point and the ends of all steps: where the replica can stand, the oldest first.
    fn stations(&self) -> impl DoubleEndedIterator<Item = PointNumber> {
        let oldest = self.points.first().map(|point| point.number);
        oldest.into_iter().chain(self.steps.iter().map(|step| step.to))
    }

    /// Where the step to `number` begins.
    pub fn before(&self, number: PointNumber) -> Option<PointNumber> {
        self.stations().rev().find(|station| *station < number)
    }

    /// The next step's end on the way from `at` to `goal`.
    pub fn step_towards(&self, at: PointNumber, goal: PointNumber) -> Option<PointNumber> {
        match goal.cmp(&at) {
            std::cmp::Ordering::Less => self.before(at),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => self.stations().find(|station| *station > at),
        }
    }

    /// All steps, each with where it begins.
    pub fn ways(&self) -> Vec<(PointNumber, Step)> {
        self.stations().zip(self.steps.iter().copied()).collect()
    }

    /// Drops the points that need not stay, and the steps that no point needs then. Always kept are the newest point and the newest consistent
    /// one. Returns the points that went only for want of room.
    pub fn thin(&mut self, retention: Retention) -> Vec<Point> {
        let newest = self.points.len().saturating_sub(1);
        let consistent = self.points.iter().rposition(|point| point.consistent);
        let mut left = retention.points;
        for index in (0..newest).rev() {
            let counts = self.points[index].reason != Reason::Passing && left > 0;
            left -= usize::from(counts);
            if !counts && Some(index) != consistent {
                self.points.remove(index);
            }
        }
        self.cut_steps();
        let mut early = Vec::new();
        let room =
            |steps: &[Step]| steps.iter().map(|step| step.bytes).sum::<u64>() <= retention.bytes && steps.len() <= MOST_STEPS;
        while self.points.len() > 1 && !room(&self.steps) && self.points.iter().rposition(|point| point.consistent) != Some(0) {
            early.push(self.points.remove(0));
            self.cut_steps();
        }
        early
    }

    /// Adds the steps of a state from before they were kept.
    pub(super) fn complete_steps(&mut self) {
        if self.steps.is_empty() {
            let step = |point: &Point| Step { to: point.number, bytes: 0, plain: false };
            self.steps = self.points.iter().skip(1).map(step).collect();
        }
    }

    /// Drops the steps before the oldest point.
    fn cut_steps(&mut self) {
        let oldest = self.points.first().map(|point| point.number);
        self.steps.retain(|step| Some(step.to) > oldest);
    }

    /// Steps whose journals are to become one next, by their indices: all that lead from one point to another that stays; of those to a point that only
    /// passes, when they have become many, the last, as far back as that at least halves them. So each byte is rewritten a few times.
    pub fn merge_due(&self) -> Option<Range<usize>> {
        let mut start = 0;
        for (index, step) in self.steps.iter().enumerate() {
            if !step.plain {
                start = index + 1;
                continue;
            }
            let point = self.point(step.to);
            if point.is_none() && self.steps.get(index + 1).is_some_and(|next| next.plain) {
                continue;
            }
            let run = start..index + 1;
            let passes = index + 1 == self.steps.len() && point.is_some_and(|point| point.reason == Reason::Passing);
            let due = if passes { self.last_of(run) } else { self.first_of(run) };
            if due.len() > 1 {
                return Some(due);
            }
            start = index + 1;
        }
        None
    }

    fn last_of(&self, run: Range<usize>) -> Range<usize> {
        let (mut start, mut bytes) = (run.end.saturating_sub(1), self.steps[run.end - 1].bytes);
        while start > run.start && self.steps[start - 1].bytes <= bytes && bytes <= MOST_MERGED / 2 {
            start -= 1;
            bytes += self.steps[start].bytes;
        }
        if run.len() < MERGE_FROM { 0..0 } else { start..run.end }
    }

    fn first_of(&self, run: Range<usize>) -> Range<usize> {
        let mut start = run.start;
        while start < run.end {
            let mut bytes = 0;
            let fits = |step: &&Step| {
                bytes += step.bytes;
                bytes <= MOST_MERGED
            };
            let fit = self.steps[start..run.end].iter().take_while(fits).count();
            if fit > 1 {
                return start..start + fit;
            }
            start += 1;
        }
        0..0
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

    const FOR_EVER: u64 = u64::MAX;

    fn with_steps(mut state: State, bytes: &[u64]) -> State {
        let steps = bytes.iter().enumerate();
        let step = |(index, bytes): (usize, &u64)| Step { to: PointNumber(index as u64 + 2), bytes: *bytes, plain: *bytes > 0 };
        state.steps = steps.map(step).collect();
        state
    }

    fn thinned(mut state: State, points: usize, bytes: u64) -> (Vec<u64>, Vec<u64>) {
        let early = state.thin(Retention { points, bytes });
        let numbers = |points: &[Point]| points.iter().map(|point| point.number.0).collect();
        (numbers(&state.points), numbers(&early))
    }

    #[test]
    fn the_newest_consistent_point_is_kept() {
        let kept = |consistent: &[bool], keep| thinned(state(consistent), keep, FOR_EVER).0;
        assert_eq!(kept(&[true, true, true, true], 1), [3, 4]);
        assert_eq!(kept(&[true, false, false, false], 1), [1, 3, 4]);
        assert_eq!(kept(&[true, true, false, false], 0), [2, 4]);
        assert_eq!(kept(&[true], 0), [1]);
    }

    #[test]
    fn a_passing_point_goes_when_a_newer_one_is_there() {
        let passing = |consistent: &[bool], which: &[usize]| {
            let mut state = state(consistent);
            which.iter().for_each(|index| state.points[*index].reason = Reason::Passing);
            thinned(state, 2, FOR_EVER).0
        };
        assert_eq!(passing(&[true, true, true], &[1, 2]), [1, 3]);
        assert_eq!(passing(&[true, true, false, false], &[1, 2, 3]), [1, 2, 4]);
        // They do not count.
        assert_eq!(passing(&[true, true, true, true, true], &[1, 3, 4]), [1, 3, 5]);
    }

    #[test]
    fn points_go_early_when_there_is_no_room_but_never_the_newest_consistent_one() {
        let state = |consistent: &[bool]| with_steps(state(consistent), &[10, 20, 30]);
        assert_eq!(thinned(state(&[true; 4]), 9, 50), (vec![2, 3, 4], vec![1]));
        assert_eq!(thinned(state(&[true; 4]), 9, 1), (vec![4], vec![1, 2, 3]));
        assert_eq!(thinned(state(&[true, true, false, false]), 9, 1), (vec![2, 3, 4], vec![1]));
        assert_eq!(thinned(state(&[false; 4]), 9, 30), (vec![3, 4], vec![1, 2]));
    }

    #[test]
    fn steps_are_merged_between_points_that_stay() {
        let due = |bytes: &[u64], kept: &[usize], last: Reason| {
            let mut state = with_steps(state(&vec![true; bytes.len() + 1]), bytes);
            let newest = bytes.len();
            state.points[newest].reason = last;
            state.points = kept.iter().chain([&newest]).map(|index| state.points[*index].clone()).collect();
            state.merge_due()
        };
        assert_eq!(due(&[1, 1, 1, 1], &[0, 2], Reason::Passing), Some(0..2));
        assert_eq!(due(&[1, 1, 1], &[0, 1], Reason::Interval), Some(1..3));
        // What names of one object tie together stays as it is.
        assert_eq!(due(&[1, 0, 1, 1], &[0], Reason::Interval), Some(2..4));
        assert_eq!(due(&[1, 0, 1], &[0], Reason::Interval), None);
        assert_eq!(due(&[1; 31], &[0], Reason::Passing), None);
        assert_eq!(due(&[1; 32], &[0], Reason::Passing), Some(0..32));
        let mut bytes = [1; 40];
        bytes[0] = 1_000;
        assert_eq!(due(&bytes, &[0], Reason::Passing), Some(1..40));
        assert_eq!(due(&[MOST_MERGED, 1, 1], &[0], Reason::Interval), Some(1..3));
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
