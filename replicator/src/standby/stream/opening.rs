//! The answer to the opening of a stream: from what both sides have, where it goes on. Pure.

use standin_common::id::MirrorId;
use standin_common::message::Refusal;
use standin_common::stream::{StreamAnswer, StreamOpening, StreamRefusal};

use crate::standby::state::{Phase, State};

/// What the standby has of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Has {
    /// Which.
    pub stream: MirrorId,
    /// Up to here all is in points or on disk.
    pub durable: u64,
}

/// How `opening` is answered by a replica in this state.
///
/// The same stream goes on after what is durable here, if the source still has what comes then. Another one begins if the replica is at
/// the point that it begins upon. Everything else is refused, and a resync leads to the next one.
pub fn answer(state: &State, has: Option<Has>, opening: &StreamOpening) -> StreamAnswer {
    let refused = |refusal| StreamAnswer::Refused(refusal);
    let replica = match &state.phase {
        Phase::Promoted { .. } => Some(Refusal::Promoted),
        Phase::Bad { cause, .. } => Some(Refusal::Bad(cause.clone())),
        _ if opening.generation < state.generation => Some(Refusal::OldGeneration { here: state.generation }),
        _ => None,
    };
    if let Some(replica) = replica {
        return refused(StreamRefusal::Replica(replica));
    }
    let after = match has.filter(|has| has.stream == opening.stream) {
        Some(has) => has.durable,
        None => {
            let here = state.points.last().map(|newest| (newest.number, newest.mirror));
            if here.is_none_or(|(_, mirror)| mirror != opening.base) {
                return refused(StreamRefusal::OtherPoint { wanted: opening.base, here });
            }
            0
        }
    };
    if (opening.kept..=opening.newest).contains(&after) {
        StreamAnswer::Ready { after }
    } else {
        refused(StreamRefusal::Gap { here: after, kept: opening.kept, newest: opening.newest })
    }
}

#[cfg(test)]
mod tests {
    use standin_common::entry::Time;
    use standin_common::id::{Generation, PointNumber};
    use standin_common::scope::Reason;

    use super::*;
    use crate::journal::Point;

    fn at_point(mirror: u64) -> State {
        let point = Point {
            number: PointNumber(7),
            generation: Generation(3),
            mirror: MirrorId(mirror),
            reason: Reason::Mirror,
            at: Time::default(),
            consistent: true,
            objects: 0,
            bytes: 0,
            orphans: 0,
        };
        let phase = Phase::Settled { at: point.number };
        State { generation: Generation(3), phase, points: vec![point], ..State::new() }
    }

    fn opening(stream: u64, base: u64, kept: u64, newest: u64) -> StreamOpening {
        let (stream, base) = (MirrorId(stream), MirrorId(base));
        StreamOpening { set: "mail".parse().unwrap(), generation: Generation(3), definition: [0; 32], stream, base, kept, newest }
    }

    #[test]
    fn every_answer() {
        let ready = |after| StreamAnswer::Ready { after };
        let refused = |refusal| StreamAnswer::Refused(refusal);
        let gap = |here, kept, newest| refused(StreamRefusal::Gap { here, kept, newest });
        let other = |here| refused(StreamRefusal::OtherPoint { wanted: MirrorId(5), here });
        let has = |stream, durable| Some(Has { stream: MirrorId(stream), durable });
        let cases = [
            (at_point(5), None, opening(9, 5, 0, 0), ready(0)),
            (at_point(5), None, opening(9, 5, 0, 40), ready(0)),
            (at_point(5), None, opening(9, 5, 10, 40), gap(0, 10, 40)),
            // Another stream's rest is in the point, or means nothing.
            (at_point(5), has(8, 30), opening(9, 5, 0, 40), ready(0)),
            (at_point(6), None, opening(9, 5, 0, 40), other(Some((PointNumber(7), MirrorId(6))))),
            (State { generation: Generation(3), ..State::new() }, None, opening(9, 5, 0, 40), other(None)),
            // It goes on, whatever it began upon.
            (at_point(9), has(9, 30), opening(9, 5, 30, 40), ready(30)),
            (at_point(9), has(9, 40), opening(9, 5, 30, 40), ready(40)),
            (at_point(9), has(9, 30), opening(9, 5, 31, 40), gap(30, 31, 40)),
            (at_point(9), has(9, 41), opening(9, 5, 30, 40), gap(41, 30, 40)),
        ];
        for (index, (state, has, opening, expected)) in cases.into_iter().enumerate() {
            assert_eq!(answer(&state, has, &opening), expected, "case {index}");
        }
        let promoted = State { phase: Phase::Promoted { at: PointNumber(7) }, ..at_point(9) };
        let here = Refusal::Promoted;
        assert_eq!(answer(&promoted, has(9, 30), &opening(9, 5, 0, 40)), refused(StreamRefusal::Replica(here)));
        let old = StreamOpening { generation: Generation(2), ..opening(9, 5, 0, 40) };
        let here = Refusal::OldGeneration { here: Generation(3) };
        assert_eq!(answer(&at_point(5), None, &old), refused(StreamRefusal::Replica(here)));
    }
}
