//! Opening the journal of a mirror: a new one, or the one that a cut or crash left, back at its last mark.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use standin_common::id::{Generation, MirrorId, PointNumber, RootIndex};
use standin_common::message::{JoinSummary, Position};

use super::receive::ORPHANS;
use super::replica::{INCOMING, Replica, ReplicaError};
use super::target::groups;
use crate::journal::{Journal, Landing, Op, Record};
use crate::store::{LogFile, Store};
use crate::volume::{Place, SideId, Volume};

/// What became of an object before the cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Before {
    /// It was received as this file, or made.
    Sealed(Option<u64>),
    /// A directory was made.
    Directory,
    /// The object was taken out, and nothing is in its place. It must not be taken out again, unless only orphans were meant, which may
    /// stay after all.
    Parked { as_orphan: bool },
    /// It was begun.
    Begun {
        file: u64,
        landing: Landing,
        /// For each group, the records that wrote to it.
        overlay: BTreeMap<u64, Vec<u64>>,
    },
}

/// What a journal says about how far the mirror is.
#[derive(Debug)]
pub(super) struct Resumed<L = ()> {
    pub journal: Option<L>,
    /// Whether it has anything from before.
    pub goes_on: bool,
    pub position: Option<Position>,
    pub summary: JoinSummary,
    pub orphans_stay: bool,
    pub next_file: u64,
    pub next_side: u64,
    pub files: BTreeMap<Position, Before>,
    /// Files that were begun and not ended.
    pub begun: BTreeSet<u64>,
    /// Objects that are taken out already, with where they are then.
    pub parked: BTreeMap<Position, SideId>,
    /// Directories that are taken out already, whatever has come into their place since; whether they are even if orphans are to stay.
    pub removed: BTreeMap<Position, bool>,
}

impl Resumed {
    /// Whether the journal leaves something at a place, or beneath it, that an entry of the source has no room beside: a directory where there
    /// is none, or none where there is one. Doing both in one journal could not be repeated.
    pub(super) fn contradicts(&self, at: &Position, is_directory: bool) -> bool {
        let before = self.files.get(at);
        if is_directory {
            return matches!(before, Some(Before::Sealed(_))) || self.removed.contains_key(at);
        }
        let beneath = self.files.range(at..).skip_while(|(below, _)| *below == at);
        let mut beneath = beneath.take_while(|(below, _)| below.root == at.root && below.path.starts_with(&at.path));
        before == Some(&Before::Directory) || beneath.any(|(_, before)| matches!(before, Before::Sealed(_) | Before::Directory))
    }
}

impl<L> Resumed<L> {
    pub(super) fn without_journal(self) -> Resumed {
        Resumed {
            journal: None,
            goes_on: self.goes_on,
            position: self.position,
            summary: self.summary,
            orphans_stay: self.orphans_stay,
            next_file: self.next_file,
            next_side: self.next_side,
            files: self.files,
            begun: self.begun,
            parked: self.parked,
            removed: self.removed,
        }
    }

    fn new(journal: L) -> Self {
        Self {
            journal: Some(journal),
            goes_on: false,
            position: None,
            summary: JoinSummary::default(),
            orphans_stay: false,
            next_file: ORPHANS + 1,
            next_side: 1,
            files: BTreeMap::new(),
            begun: BTreeSet::new(),
            parked: BTreeMap::new(),
            removed: BTreeMap::new(),
        }
    }
}

/// Opens the journal of `mirror` towards point `to`.
pub(super) fn open<V: Volume, S: Store>(
    replica: &Replica<V, S>,
    mirror: MirrorId,
    generation: Generation,
    to: PointNumber,
) -> Result<Resumed<S::Log>, ReplicaError> {
    let begin = Record::Begin { mirror, generation, from: replica.state().phase.point(), to };
    let unfinished = replica.is_incoming(to)?;
    let mut journal = replica.journal(INCOMING)?;
    if unfinished {
        journal.cut_torn_tail()?;
    }
    let anew = replica.anew.swap(false, Ordering::Relaxed);
    let same = unfinished && !anew && journal.read(0)?.is_some_and(|placed| placed.record == begin);
    if !same {
        if unfinished {
            replica.discard_incoming()?;
            journal = replica.journal(INCOMING)?;
        }
        // Durable with the first mark: until then, a crash leaves nothing of it, or a journal that was applied.
        journal.truncate(0)?;
        journal.append(&begin, &[])?;
        return Ok(Resumed::new(journal.into_log()));
    }
    let mark = last_mark(&journal)?;
    let (covers, position, summary) = match mark {
        Some(mark) => mark,
        None => (first_end(&journal)?, None, JoinSummary::default()),
    };
    journal.truncate(covers)?;
    let mut resumed = Resumed { position, summary, ..Resumed::new(()) };
    let sides = scan(&journal, &mut resumed)?;
    for (index, volume) in replica.volumes().iter().enumerate() {
        for side in volume.side_objects()? {
            if side.point == to.0 && !sides.contains(&(RootIndex(index as u16), side)) {
                volume.remove(&Place::Side(side))?;
            }
        }
    }
    journal.append(&Record::Mark { covers, position: resumed.position.clone(), summary: resumed.summary }, &[])?;
    journal.sync()?;
    Ok(Resumed {
        journal: Some(journal.into_log()),
        goes_on: true,
        position: resumed.position,
        summary: resumed.summary,
        orphans_stay: resumed.orphans_stay,
        next_file: resumed.next_file,
        next_side: resumed.next_side,
        files: resumed.files,
        begun: resumed.begun,
        parked: resumed.parked,
        removed: resumed.removed,
    })
}

type Mark = (u64, Option<Position>, JoinSummary);

fn last_mark<L: LogFile>(journal: &Journal<L>) -> Result<Option<Mark>, ReplicaError> {
    for placed in journal.backward() {
        if let Record::Mark { covers, position, summary } = placed?.record {
            return Ok(Some((covers, position, summary)));
        }
    }
    Ok(None)
}

fn first_end<L: LogFile>(journal: &Journal<L>) -> Result<u64, ReplicaError> {
    Ok(journal.read(0)?.map_or(0, |placed| placed.end))
}

/// Reads what the journal tells of files and side objects; returns the side objects that it names.
fn scan<L: LogFile>(journal: &Journal<L>, resumed: &mut Resumed) -> Result<BTreeSet<(RootIndex, SideId)>, ReplicaError> {
    let mut sides = BTreeSet::new();
    let mut open: BTreeMap<u64, (Position, Before)> = BTreeMap::new();
    for placed in journal.forward() {
        let placed = placed?;
        match placed.record {
            Record::Open { file, at, landing } => {
                resumed.next_file = resumed.next_file.max(file + 1);
                if let Landing::Staged(side) = landing {
                    sides.insert((at.root, side));
                }
                open.insert(file, (at, Before::Begun { file, landing, overlay: BTreeMap::new() }));
            }
            Record::Op { root, path, file, op: Op::Park(side) } => {
                sides.insert((root, side));
                if file.is_none_or(|file| file == ORPHANS) {
                    resumed.parked.insert(Position { root, path: path.clone() }, side);
                    resumed.files.insert(Position { root, path }, Before::Parked { as_orphan: file.is_some() });
                }
            }
            Record::Op { root, path, file, op: Op::RemoveDirectory } => {
                *resumed.removed.entry(Position { root, path }).or_default() |= file.is_none();
            }
            Record::Op { root, path, file: None, op: Op::MakeDirectory } => {
                resumed.files.insert(Position { root, path }, Before::Directory);
            }
            Record::Op { root, path, file: None, op: op @ (Op::Install(_) | Op::Link { .. }) } => {
                sides.extend(if let Op::Install(side) = op { Some((root, side)) } else { None });
                resumed.files.insert(Position { root, path }, Before::Sealed(None));
            }
            Record::Op { file: Some(file), op: Op::Write { offset, len, .. }, .. } => {
                note_write(&mut open, file, offset, offset + u64::from(len), placed.at);
            }
            Record::Op { file: Some(file), op: Op::Punch { start, end }, .. } => {
                note_write(&mut open, file, start, end, placed.at);
            }
            Record::Seal { file } => {
                if let Some((_, before)) = open.get_mut(&file) {
                    *before = Before::Sealed(Some(file));
                }
            }
            Record::Drop { file: ORPHANS } => resumed.orphans_stay = true,
            Record::Drop { file } => {
                // One that vanished before it was begun is here, too, and its number must not come again.
                resumed.next_file = resumed.next_file.max(file + 1);
                open.remove(&file);
            }
            _ => {}
        }
    }
    resumed.begun =
        open.iter().filter(|(_, (_, before))| matches!(before, Before::Begun { .. })).map(|(file, _)| *file).collect();
    resumed.files.extend(open.into_values());
    let position = resumed.position.clone();
    let to_come = |at: &Position| position.as_ref().is_none_or(|position| at > position);
    resumed.files.retain(|at, _| to_come(at));
    resumed.removed.retain(|at, _| to_come(at));
    resumed.next_side = sides.iter().map(|(_, side)| side.number + 1).max().unwrap_or(1);
    Ok(sides)
}

fn note_write(open: &mut BTreeMap<u64, (Position, Before)>, file: u64, start: u64, end: u64, at: u64) {
    if let Some((_, Before::Begun { overlay, .. })) = open.get_mut(&file) {
        for group in groups(start, end) {
            overlay.entry(group).or_default().push(at);
        }
    }
}
