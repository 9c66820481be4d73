//! Reading a journal as what is to be done: the operations that count, in its direction.

use std::collections::HashSet;

use standin_common::id::RootIndex;
use standin_common::path::RelPath;

use super::apply::ApplyError;
use super::receive::ORPHANS;
use super::turn::Moves;
use crate::journal::{Journal, JournalError, Op, Placed, Record};
use crate::store::LogFile;

/// Which way a journal is read: as it was received, or as the inverse it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the first record to the last.
    Forward,
    /// From the last record to the first.
    Backward,
}

/// A journal that is to be applied, and what has to be known of all of it before.
#[derive(Debug)]
pub struct Reading<'j, L> {
    pub(super) journal: &'j Journal<L>,
    direction: Direction,
    dropped: HashSet<u64>,
    pub(super) moves: Moves,
}

impl<'j, L: LogFile> Reading<'j, L> {
    /// Reads a journal whole, so that damage is found before anything is done.
    pub fn of(journal: &'j Journal<L>, direction: Direction) -> Result<Self, ApplyError> {
        let reading = Self { journal, direction, dropped: dropped(journal)?, moves: Moves::default() };
        let moves = Moves::of(journal, |each| reading.operations(|root, path, op, _| each(root, path, op)))?;
        Ok(Self { moves, ..reading })
    }

    /// The operations that count, in the journal's direction.
    pub(super) fn operations(
        &self,
        each: impl FnMut(RootIndex, RelPath, Op, Placed) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        operations_without(&self.dropped, self.journal, self.direction, each)
    }
}

/// The operations of a journal that count, in its direction.
pub(super) fn operations<L: LogFile>(
    journal: &Journal<L>,
    direction: Direction,
    each: impl FnMut(RootIndex, RelPath, Op, Placed) -> Result<(), ApplyError>,
) -> Result<(), ApplyError> {
    operations_without(&dropped(journal)?, journal, direction, each)
}

/// All operations of a journal that was received, those on orphans that stay, too.
pub(super) fn all_operations<L: LogFile>(
    journal: &Journal<L>,
    mut each: impl FnMut(RootIndex, RelPath, Op),
) -> Result<(), ApplyError> {
    let mut without = dropped(journal)?;
    without.remove(&ORPHANS);
    operations_without(&without, journal, Direction::Forward, |root, path, op, _| {
        each(root, path, op);
        Ok(())
    })
}

fn operations_without<L: LogFile>(
    dropped: &HashSet<u64>,
    journal: &Journal<L>,
    direction: Direction,
    mut each: impl FnMut(RootIndex, RelPath, Op, Placed) -> Result<(), ApplyError>,
) -> Result<(), ApplyError> {
    let records = if direction == Direction::Forward { journal.forward() } else { journal.backward() };
    for placed in records {
        let mut placed = placed?;
        let record = std::mem::replace(&mut placed.record, Record::Drop { file: 0 });
        if let Record::Op { file, root, path, op } = record
            && !file.is_some_and(|file| dropped.contains(&file))
        {
            each(root, path, op, placed)?;
        }
    }
    Ok(())
}

/// Reads a journal whole and returns the files in it that were dropped.
fn dropped<L: LogFile>(journal: &Journal<L>) -> Result<HashSet<u64>, JournalError> {
    let mut dropped = HashSet::new();
    for placed in journal.forward() {
        if let Record::Drop { file } = placed?.record {
            dropped.insert(file);
        }
    }
    Ok(dropped)
}
