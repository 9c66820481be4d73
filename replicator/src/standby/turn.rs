//! Moved objects: where each is, on either side of a journal's turn.
//!
//! An object that moves is taken out of its old place ([`Op::Park`]) and put into its new one ([`Op::Install`]) by the same journal. Doing
//! that twice would not be doing it once: after it, something else may be in the old place. So all objects are taken out first; then, when that
//! is durable, the replica passes the turn ([`Op::Turn`]), durably; and from then on only what comes after it is done again.
//! Which side of the turn the replica is on, is a fact of its own, the same for the way there and the way back: whoever turns back
//! before the turn has only to put back what was taken out.
//!
//! Data of a moved object is written at its new place, in both directions: there, the journal comes to it after the turn, and on the way back
//! before it.

use std::collections::{HashMap, HashSet};

use standin_common::id::{PointNumber, RootIndex};
use standin_common::path::RelPath;

use super::apply::ApplyError;
use crate::journal::{Journal, Op, Record};
use crate::store::LogFile;
use crate::volume::{Place, SideId};

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spot {
    Tree(RelPath),
    Side(SideId),
}

impl Spot {
    pub(super) fn place(&self) -> Place<'_> {
        match self {
            Self::Tree(path) => Place::Tree(path),
            Self::Side(side) => Place::Side(*side),
        }
    }
}

/// What a journal with a turn takes out and puts in; nothing of one without.
#[derive(Debug, Default)]
pub(super) struct Moves {
    turns: bool,
    parked: HashMap<(RootIndex, RelPath), SideId>,
    from: HashMap<(RootIndex, SideId), RelPath>,
    installed: HashMap<(RootIndex, RelPath), SideId>,
    put_in: HashSet<(RootIndex, SideId)>,
}

impl Moves {
    /// Those of a journal, whose `operations` are read if it has a turn; then memory grows with what it takes out and puts in.
    pub(super) fn of<L: LogFile>(
        journal: &Journal<L>,
        operations: impl FnOnce(&mut dyn FnMut(RootIndex, RelPath, Op) -> Result<(), ApplyError>) -> Result<(), ApplyError>,
    ) -> Result<Self, ApplyError> {
        let first = journal.read(0)?.map_or(0, |first| first.end);
        let turns = journal.read(first)?.is_some_and(|second| second.record == Record::Moves);
        let mut moves = Self { turns, ..Self::default() };
        if turns {
            operations(&mut |root, path, op| {
                match op {
                    Op::Park(side) => {
                        moves.from.insert((root, side), path.clone());
                        moves.parked.insert((root, path), side);
                    }
                    Op::Install(side) => {
                        moves.put_in.insert((root, side));
                        moves.installed.insert((root, path), side);
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok(moves)
    }

    /// Whether there is a turn.
    pub(super) fn turns(&self) -> bool {
        self.turns
    }

    /// Where the object that is taken out of a place goes.
    pub(super) fn parked_from(&self, root: RootIndex, path: &RelPath) -> Option<SideId> {
        self.parked.get(&(root, path.clone())).copied()
    }

    /// Whether an object that is taken out is put in elsewhere.
    pub(super) fn is_moved(&self, root: RootIndex, side: SideId) -> bool {
        self.put_in.contains(&(root, side))
    }

    /// Where the object of which an operation speaks was before the journal; `turned` if the operation comes after the turn.
    pub(super) fn before(&self, root: RootIndex, path: &RelPath, turned: bool) -> Spot {
        let installed = self.installed.get(&(root, path.clone())).filter(|_| turned);
        match installed.map(|side| (side, self.from.get(&(root, *side)))) {
            None => Spot::Tree(path.clone()),
            Some((_, Some(from))) => Spot::Tree(from.clone()),
            Some((side, None)) => Spot::Side(*side),
        }
    }

    /// Where the object that is at a place after the journal was before it; `None` if it was in no place.
    pub(super) fn origin<'a>(&'a self, root: RootIndex, path: &'a RelPath) -> Option<&'a RelPath> {
        match self.installed.get(&(root, path.clone())) {
            Some(side) => self.from.get(&(root, *side)),
            None => Some(path),
        }
    }
}

/// Which side of the turn of a step between two points the replica is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turned {
    step: (PointNumber, PointNumber),
    /// Whether it is on the side of the newer point.
    ahead: bool,
}

impl Turned {
    /// On the way `from` a point `to` another, from what was noted last. What was noted of another step has nothing to say of this one, which
    /// then begins.
    pub(super) fn read(noted: Option<&[u8]>, from: PointNumber, to: PointNumber) -> Self {
        let step = (from.min(to), from.max(to));
        let begins = Self { step, ahead: to < from };
        let ahead = Self { ahead: true, ..begins };
        let behind = Self { ahead: false, ..begins };
        [ahead, behind].into_iter().find(|turned| noted == Some(turned.to_text().as_bytes())).unwrap_or(begins)
    }

    /// As it is noted.
    pub(super) fn to_text(self) -> String {
        format!("{} {} {}\n", self.step.0, self.step.1, if self.ahead { "ahead" } else { "behind" })
    }

    /// Whether the turn is passed on the way to a point.
    pub(super) fn is_passed(self, to: PointNumber) -> bool {
        self.ahead == (to == self.step.1)
    }

    /// On the other side.
    pub(super) fn passed(self, to: PointNumber) -> Self {
        Self { ahead: to == self.step.1, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_is_the_same_for_both_ways() {
        let (old, new) = (PointNumber(3), PointNumber(4));
        let begins = Turned::read(None, old, new);
        assert!(!begins.is_passed(new) && begins.is_passed(old));
        let passed = begins.passed(new);
        let noted = passed.to_text();
        assert_eq!(Turned::read(Some(noted.as_bytes()), old, new), passed);
        assert_eq!(Turned::read(Some(noted.as_bytes()), new, old), passed);
        assert!(passed.is_passed(new) && !passed.is_passed(old));
        // Of another step nothing is known: it begins.
        assert!(!Turned::read(Some(noted.as_bytes()), new, PointNumber(5)).is_passed(PointNumber(5)));
        assert!(!Turned::read(Some(b"torn"), new, old).is_passed(old));
    }
}
