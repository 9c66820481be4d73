//! What the standby says of its replica when it is reached, as far as the source has to act on it. Pure.

use standin_common::id::{MirrorId, PointNumber};

use crate::journal::Point;
use crate::report::{SetReport, SetState};

/// How the replica stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It takes what is sent. With the mirror that made its newest point; `None` where that may still move, or there is no point.
    Fine(Option<MirrorId>),
    /// It was promoted.
    Promoted,
    /// There is no recovery point any more, although this one was acknowledged.
    Lost(PointNumber),
    /// It cannot be received into, for this reason.
    Hindered(String),
}

impl Standing {
    /// From what the standby reports, and the newest point that the source knows of.
    pub fn of(told: &SetReport, known: Option<&Point>) -> Self {
        let newest = told.point.as_ref().map(|point| point.mirror);
        match (told.state, &told.trouble, known) {
            (SetState::Promoted, ..) => Self::Promoted,
            (SetState::Bad, why, _) => Self::Hindered(why.clone().unwrap_or_else(|| "it is in a bad state".to_owned())),
            (SetState::Applying, Some(why), _) => Self::Hindered(why.clone()),
            (SetState::Empty | SetState::FirstMirror, None, Some(known)) => Self::Lost(known.number),
            (SetState::Ready, None, _) => Self::Fine(newest),
            // What went wrong before may not go wrong again: the next pass finds out.
            _ => Self::Fine(None),
        }
    }
}

/// Whether the newest point there is older than the one that is known, so that what has not changed since that need not be there. One that is
/// being applied is not told yet.
pub fn is_behind(told: &SetReport, known: Option<&Point>) -> bool {
    let older = |known: &Point| told.point.as_ref().is_none_or(|point| point.number < known.number);
    told.state == SetState::Ready && known.is_some_and(older)
}

#[cfg(test)]
mod tests {
    use standin_common::entry::Time;
    use standin_common::id::Generation;
    use standin_common::scope::Reason;
    use standin_config::Role;

    use super::*;

    fn point(number: u64) -> Point {
        Point {
            number: PointNumber(number),
            generation: Generation(1),
            mirror: MirrorId(number * 256),
            reason: Reason::Mirror,
            at: Time::default(),
            consistent: true,
            objects: 0,
            bytes: 0,
            orphans: 0,
        }
    }

    fn standing(state: SetState, trouble: Option<&str>, newest: Option<u64>, known: Option<u64>) -> Standing {
        let (set, source) = ("mail".parse().unwrap(), "alpha".parse().unwrap());
        let told = SetReport {
            trouble: trouble.map(str::to_owned),
            point: newest.map(point),
            ..SetReport::new(set, Role::Standby, Generation(1), state, source)
        };
        Standing::of(&told, known.map(point).as_ref())
    }

    #[test]
    fn a_replica_may_be_newer_than_is_known_and_should_not_be_older() {
        let told = |newest: Option<u64>| {
            let (set, source) = ("mail".parse().unwrap(), "alpha".parse().unwrap());
            SetReport { point: newest.map(point), ..SetReport::new(set, Role::Standby, Generation(1), SetState::Ready, source) }
        };
        let known = point(7);
        for (newest, behind) in [(Some(8), false), (Some(7), false), (Some(6), true), (None, true)] {
            assert_eq!(is_behind(&told(newest), Some(&known)), behind, "{newest:?}");
        }
        assert!(!is_behind(&told(None), None));
        assert!(!is_behind(&SetReport { state: SetState::Applying, ..told(Some(6)) }, Some(&known)));
    }

    #[test]
    fn every_state_of_a_standby() {
        use SetState::*;
        assert_eq!(standing(Ready, None, Some(7), Some(7)), Standing::Fine(Some(MirrorId(7 * 256))));
        assert_eq!(standing(Receiving, None, Some(7), Some(7)), Standing::Fine(None));
        assert_eq!(standing(Promoted, None, Some(3), Some(7)), Standing::Promoted);
        assert_eq!(standing(Bad, Some("mount it"), None, Some(7)), Standing::Hindered("mount it".to_owned()));
        assert_eq!(standing(Applying, Some("no room"), Some(7), Some(7)), Standing::Hindered("no room".to_owned()));
        assert_eq!(standing(Applying, None, Some(7), Some(7)), Standing::Fine(None));
        // Nothing there is a loss only where there was something.
        assert_eq!(standing(Empty, None, None, Some(7)), Standing::Lost(PointNumber(7)));
        assert_eq!(standing(FirstMirror, None, None, Some(7)), Standing::Lost(PointNumber(7)));
        assert_eq!(standing(Empty, None, None, None), Standing::Fine(None));
        // A target that is not there yet, or a mirror that failed: the next one tells.
        assert_eq!(standing(Empty, Some("make the directory"), None, Some(7)), Standing::Fine(None));
        assert_eq!(standing(Ready, Some("it failed"), Some(7), Some(7)), Standing::Fine(None));
    }
}
