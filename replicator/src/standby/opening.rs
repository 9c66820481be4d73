//! The answer to the opening of a pass: from what both sides know, how it goes on. Pure.

use standin_common::id::MirrorId;
use standin_common::message::{Comparison, MirrorOpening, Refusal};

use super::state::{Phase, State};

/// How a pass goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It was cut off: from its last mark on.
    Resume,
    /// On top of the newest point, only what may have changed since is looked at.
    Ranges,
    /// Both sides are walked and compared.
    Difference,
    /// Everything is sent, or proven if it is there.
    Full,
    /// Not at all.
    Refuse(Refusal),
}

/// How `opening` is answered by a replica in this state, of which so much of the mirror `received` is there.
pub fn way(state: &State, received: Option<MirrorId>, opening: &MirrorOpening) -> Way {
    match &state.phase {
        Phase::Promoted { .. } => return Way::Refuse(Refusal::Promoted),
        Phase::Bad { cause, .. } => return Way::Refuse(Refusal::Bad(cause.clone())),
        _ if opening.generation < state.generation => return Way::Refuse(Refusal::OldGeneration { here: state.generation }),
        _ => {}
    }
    let newest = state.points.last();
    let builds_upon = |base: &Vec<MirrorId>| newest.is_some_and(|newest| base.contains(&newest.mirror));
    match (&opening.base, newest) {
        (Some(base), _) if !builds_upon(base) => Way::Refuse(Refusal::OtherBase),
        _ if received == Some(opening.mirror) => Way::Resume,
        (Some(_), _) => Way::Ranges,
        (None, None) => Way::Full,
        (None, Some(_)) if opening.comparison == Comparison::Full => Way::Full,
        (None, Some(_)) => Way::Difference,
    }
}

#[cfg(test)]
mod tests {
    use standin_common::entry::Time;
    use standin_common::id::{Generation, PointNumber};
    use standin_common::message::{OrphanLimit, OrphanPolicy, Purpose};
    use standin_common::scope::Reason;

    use super::*;
    use crate::journal::Point;

    const HERE: Generation = Generation(3);

    fn at_point(mirror: u64) -> State {
        let point = Point {
            number: PointNumber(7),
            generation: HERE,
            mirror: MirrorId(mirror),
            reason: Reason::Mirror,
            at: Time::default(),
            consistent: true,
            objects: 0,
            bytes: 0,
            orphans: 0,
        };
        let phase = Phase::Settled { at: point.number };
        State { generation: HERE, phase, points: vec![point], ..State::new() }
    }

    fn opening(mirror: u64, base: Option<Vec<u64>>) -> MirrorOpening {
        MirrorOpening {
            set: "mail".parse().unwrap(),
            generation: HERE,
            mirror: MirrorId(mirror),
            definition: [0; 32],
            roots: Vec::new(),
            purpose: Purpose::Mirror,
            comparison: Comparison::Difference,
            orphans: OrphanPolicy::Remove,
            orphan_limit: OrphanLimit::Count(0),
            base: base.map(|base| base.into_iter().map(MirrorId).collect()),
        }
    }

    #[test]
    fn every_way() {
        let empty = State { generation: HERE, ..State::new() };
        let refused = |refusal| Way::Refuse(refusal);
        let cases = [
            (empty.clone(), None, opening(9, None), Way::Full),
            (empty.clone(), Some(9), opening(9, None), Way::Resume),
            (empty.clone(), Some(8), opening(9, None), Way::Full),
            (empty, None, opening(9, Some(vec![5])), refused(Refusal::OtherBase)),
            (at_point(5), None, opening(9, None), Way::Difference),
            (at_point(5), None, MirrorOpening { comparison: Comparison::Full, ..opening(9, None) }, Way::Full),
            (at_point(5), None, opening(9, Some(vec![5])), Way::Ranges),
            (at_point(5), Some(9), opening(9, Some(vec![5])), Way::Resume),
            // The answer to the end of 9 was lost, and it is made again.
            (at_point(9), None, opening(9, Some(vec![5, 9])), Way::Ranges),
            (at_point(4), Some(9), opening(9, Some(vec![5, 9])), refused(Refusal::OtherBase)),
            (
                at_point(5),
                None,
                MirrorOpening { generation: Generation(2), ..opening(9, None) },
                refused(Refusal::OldGeneration { here: HERE }),
            ),
            (
                State { phase: Phase::Promoted { at: PointNumber(7) }, ..at_point(5) },
                None,
                opening(9, Some(vec![5])),
                refused(Refusal::Promoted),
            ),
        ];
        for (index, (state, received, opening, expected)) in cases.into_iter().enumerate() {
            assert_eq!(way(&state, received.map(MirrorId), &opening), expected, "case {index}");
        }
        let was = Box::new(Phase::Empty);
        let bad = State { phase: Phase::Bad { cause: "disk".to_owned(), was }, ..at_point(5) };
        assert_eq!(way(&bad, None, &opening(9, None)), refused(Refusal::Bad("disk".to_owned())));
    }
}
