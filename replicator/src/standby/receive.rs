//! Receiving one mirror: the journal that grows, what was asked for and has not come, and the marks up to which all is durable.
//!
//! Any number of lanes and the join work on one [`Reception`] at a time. The order of locks is table, then journal.

mod marking;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use standin_common::entry::Time;
use standin_common::id::{PointNumber, RootIndex};
use standin_common::message::{Comparison, JoinSummary, MirrorOpening, Position};
use standin_common::path::RelPath;
use standin_common::scope::Reason;

pub use self::marking::Marked;
pub use super::error::ReceiveError;
use super::replica::{ReceivingGuard, Replica, ReplicaError};
use super::resume::{self, Resumed};
use super::state::Phase;
use super::values::Values;
use crate::journal::{Journal, Landing, Op, Point, Record};
use crate::mirror::MOST_WANTED;
use crate::store::Store;
use crate::volume::{Place, SideId, Touched, Volume};

/// Operations on orphans belong to this file, which is dropped when no orphan may be removed.
pub(super) const ORPHANS: u64 = 0;

/// A file may take one part in so many of the journal's free room before it is guarded in another way.
const JOURNAL_SHARE: u64 = 8;

/// Where a file that is asked for arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    pub landing: Landing,
    /// Where the object that it replaces is parked.
    pub replaces: Option<SideId>,
    /// Whether the staged file begins as a clone of the one that it replaces.
    pub cloned: bool,
    /// Whether another file may take the place of the one that stays.
    pub replaceable: bool,
}

/// A file that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub at: Position,
    pub landing: Landing,
    /// Whether its record `Open` is in the journal, from before a cut.
    pub opened: bool,
    /// What was journalled of it before a cut.
    pub overlay: BTreeMap<u64, Vec<u64>>,
    /// As in [`Arrival`].
    pub replaces: Option<SideId>,
    /// As in [`Arrival`].
    pub cloned: bool,
    /// As in [`Arrival`].
    pub replaceable: bool,
    /// Everything up to here was handled before it.
    before: Option<Position>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    wanted: BTreeMap<u64, Wanted>,
    order: BTreeSet<(Position, u64)>,
    joined: Option<Position>,
    pub summary: JoinSummary,
    pub orphans_stay: bool,
    /// The walk is over, and nobody was told yet that every file has come.
    to_complete: bool,
    ended: bool,
}

/// One mirror being received.
#[derive(Debug)]
pub struct Reception<'a, V: Volume, S: Store> {
    replica: &'a Replica<V, S>,
    _guard: ReceivingGuard<'a>,
    first: bool,
    to: PointNumber,
    opening: MirrorOpening,
    journal_limit: u64,
    journal: Mutex<Journal<S::Log>>,
    table: Mutex<Table>,
    arrived: Condvar,
    /// For whoever waits for the end, or for all files.
    complete: Condvar,
    committed: AtomicBool,
    next_file: AtomicU64,
    next_side: AtomicU64,
    /// Data that came, in bytes before compression.
    data_bytes: AtomicU64,
    resumed: Mutex<Resumed>,
    after: Option<Position>,
    /// What was made in each volume, which is durable before a mark or a commit speaks of it.
    touched: Mutex<Vec<Touched>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a, V: Volume, S: Store> Reception<'a, V, S> {
    /// Begins to receive a mirror, or goes on with the same one from its last mark.
    pub fn begin(replica: &'a Replica<V, S>, opening: MirrorOpening, journal_limit: u64) -> Result<Self, ReceiveError> {
        let guard = replica.start_receiving().ok_or(ReplicaError::Busy)?;
        replica.follow(opening.generation)?;
        replica.go_to_newest()?;
        let state = replica.state();
        let first = match state.phase {
            Phase::Empty | Phase::FirstMirror { .. } => true,
            Phase::Settled { .. } => false,
            Phase::Promoted { at } => return Err(ReplicaError::Promoted(at).into()),
            Phase::Bad { cause, .. } => return Err(ReplicaError::Bad(cause).into()),
            Phase::Moving { .. } => return Err(ReplicaError::Busy.into()),
        };
        if first {
            replica.change(|state| state.enter(Phase::FirstMirror { mirror: opening.mirror }))?;
        }
        let to = state.next_point();
        replica.bound_history(journal_limit);
        let resumed = resume::open(replica, opening.mirror, opening.generation, to)?;
        replica.values().begin(to, first);
        let table = Table {
            joined: resumed.position.clone(),
            summary: resumed.summary,
            orphans_stay: resumed.orphans_stay,
            ..Table::default()
        };
        let mut resumed = resumed;
        let journal = resumed.journal.take().ok_or(ReceiveError::Ended)?;
        let touched = if first || resumed.goes_on { Touched::everything() } else { Touched::default() };
        Ok(Self {
            replica,
            _guard: guard,
            first,
            to,
            opening,
            journal_limit,
            journal: Mutex::new(Journal::new(journal)),
            table: Mutex::new(table),
            arrived: Condvar::new(),
            complete: Condvar::new(),
            committed: AtomicBool::new(false),
            next_file: AtomicU64::new(resumed.next_file),
            next_side: AtomicU64::new(resumed.next_side),
            data_bytes: AtomicU64::new(0),
            after: resumed.position.clone(),
            resumed: Mutex::new(resumed.without_journal()),
            touched: Mutex::new(vec![touched; replica.volumes().len()]),
        })
    }

    /// What the source asked for.
    pub fn opening(&self) -> &MirrorOpening {
        &self.opening
    }

    /// Whether this is the first mirror, which writes in place.
    pub fn first(&self) -> bool {
        self.first
    }

    /// Where the walk goes on.
    pub fn after(&self) -> Option<&Position> {
        self.after.as_ref()
    }

    pub(super) fn volume(&self, root: RootIndex) -> Result<&V, ReceiveError> {
        self.replica
            .volumes()
            .get(usize::from(root.0))
            .ok_or(ReceiveError::Protocol("it named a root that the set does not have"))
    }

    pub(super) fn volumes(&self) -> &[V] {
        self.replica.volumes()
    }

    pub(super) fn values(&self) -> &'a Values {
        self.replica.values()
    }

    /// Whether kept values may stand for what is in the replica: not where both sides are to be read.
    pub(super) fn relies_on_values(&self) -> bool {
        !self.first && (self.opening.base.is_some() || self.opening.comparison == Comparison::Difference)
    }

    pub(super) fn new_side(&self) -> SideId {
        SideId { point: self.to.0, number: self.next_side.fetch_add(1, Ordering::Relaxed) }
    }

    /// An object of the side area is made or written from now on.
    pub(super) fn touch_side(&self, root: RootIndex, side: SideId) {
        if let Some(touched) = lock(&self.touched).get_mut(usize::from(root.0)) {
            touched.side(side);
        }
    }

    /// Adds a record to the journal; `payload` is data as it was received.
    pub(super) fn note(&self, record: &Record, payload: &[u8]) -> Result<u64, ReceiveError> {
        let mut journal = lock(&self.journal);
        if journal.len() + payload.len() as u64 > self.journal_limit {
            return Err(ReceiveError::JournalFull { limit: self.journal_limit });
        }
        Ok(journal.append(record, payload)?)
    }

    pub(super) fn note_op(&self, file: Option<u64>, root: RootIndex, path: &RelPath, op: Op) -> Result<(), ReceiveError> {
        self.note(&Record::Op { file, root, path: path.clone(), op }, &[]).map(drop)
    }

    /// Whether the journal may not have room for what changed in a file of this size.
    pub(super) fn is_large(&self, size: u64) -> bool {
        size > self.journal_limit.saturating_sub(lock(&self.journal).len()) / JOURNAL_SHARE
    }

    /// Adds operations on one object that belong together: no mark comes between them, so that none is done without the others. With
    /// `seal`, the file that they belong to is received.
    pub(super) fn note_together(
        &self,
        file: Option<u64>,
        at: &Position,
        ops: impl IntoIterator<Item = Op>,
        seal: bool,
    ) -> Result<(), ReceiveError> {
        let mut journal = lock(&self.journal);
        for op in ops {
            journal.append(&Record::Op { file, root: at.root, path: at.path.clone(), op }, &[])?;
        }
        if let Some(file) = file.filter(|_| seal) {
            journal.append(&Record::Seal { file }, &[])?;
        }
        Ok(())
    }

    /// A record of the journal, by its offset.
    pub(super) fn read_record(&self, at: u64) -> Result<(Record, Vec<u8>), ReceiveError> {
        let placed = lock(&self.journal).read(at)?.ok_or(ReceiveError::Protocol("a record of the journal is gone"))?;
        Ok((placed.record, placed.payload))
    }

    /// Where the object at a place is to be parked: where it already is according to the journal from before a cut, as an orphan then, or a
    /// new place. Parking it twice in the same place is parking it once.
    pub(super) fn park_side(&self, at: &Position) -> SideId {
        let parked = lock(&self.resumed).parked.get(at).copied();
        parked.unwrap_or_else(|| self.new_side())
    }

    /// Whether what the replica has at a place was replaced or taken out before a cut, by what is in the journal.
    pub(super) fn is_changed(&self, at: &Position) -> bool {
        matches!(lock(&self.resumed).files.get(at), Some(resume::Before::Sealed(_) | resume::Before::Parked { .. }))
    }

    /// What became of a file before a cut, if it was received or begun then.
    pub(super) fn resumed(&self, at: &Position) -> Option<resume::Before> {
        lock(&self.resumed).files.remove(at)
    }

    /// Whether the removal of a directory is in the journal from before a cut, and counts at least whenever one on behalf of `file` would.
    pub(super) fn was_removed(&self, at: &Position, file: Option<u64>) -> bool {
        lock(&self.resumed).removed.get(at).is_some_and(|always| *always || file == Some(ORPHANS))
    }

    /// An error if an entry of the source does not go together with what the journal says from before a cut.
    pub(super) fn check_before(&self, at: &Position, is_directory: bool) -> Result<(), ReceiveError> {
        if lock(&self.resumed).contradicts(at, is_directory) { Err(self.begin_anew()) } else { Ok(()) }
    }

    /// What the journal says from before a cut is dropped when the same mirror comes again.
    pub(super) fn begin_anew(&self) -> ReceiveError {
        self.replica.anew.store(true, Ordering::Relaxed);
        ReceiveError::Anew
    }

    /// Takes out an object for which a file was received before a cut: that does not count, since it could not be repeated after this.
    pub(super) fn take_out_instead(&self, received: u64, at: &Position, file: Option<u64>) -> Result<(), ReceiveError> {
        let side = self.new_side();
        let mut journal = lock(&self.journal);
        journal.append(&Record::Drop { file: received }, &[])?;
        journal.append(&Record::Op { file, root: at.root, path: at.path.clone(), op: Op::Park(side) }, &[])?;
        Ok(())
    }

    /// Notes that a file is asked for; waits while too many are under way.
    pub(super) fn want(
        &self,
        at: Position,
        arrival: Arrival,
        begun: Option<(u64, BTreeMap<u64, Vec<u64>>)>,
    ) -> Result<u64, ReceiveError> {
        let Arrival { landing, replaces, cloned, replaceable } = arrival;
        let mut table = lock(&self.table);
        while table.wanted.len() >= MOST_WANTED && !table.ended {
            table = self.arrived.wait(table).unwrap_or_else(PoisonError::into_inner);
        }
        if table.ended {
            return Err(ReceiveError::Ended);
        }
        let opened = begun.is_some();
        if let Some((file, _)) = &begun {
            lock(&self.resumed).begun.remove(file);
        }
        let (file, overlay) = begun.unwrap_or_else(|| (self.next_file.fetch_add(1, Ordering::Relaxed), BTreeMap::new()));
        let before = table.joined.clone();
        table.order.insert((at.clone(), file));
        table.wanted.insert(file, Wanted { at, landing, opened, overlay, replaces, cloned, replaceable, before });
        table.summary.wanted_files += 1;
        Ok(file)
    }

    /// A file that was to be compared is staged beside the one that is there. Nothing of it is in the journal yet.
    pub(super) fn want_staged(&self, file: u64) -> Result<Wanted, ReceiveError> {
        let at = self.wanted(file)?.at;
        let (side, parked) = (self.new_side(), self.park_side(&at));
        let mut table = lock(&self.table);
        let wanted = table.wanted.get_mut(&file).ok_or(ReceiveError::Ended)?;
        (wanted.landing, wanted.replaces) = (Landing::Staged(side), Some(parked));
        Ok(wanted.clone())
    }

    pub(super) fn wanted(&self, file: u64) -> Result<Wanted, ReceiveError> {
        lock(&self.table).wanted.get(&file).cloned().ok_or(ReceiveError::Protocol("it sent a file that was not asked for"))
    }

    /// A wanted file is sealed or dropped, and in the journal as such.
    pub(super) fn arrived(&self, file: u64) {
        let mut table = lock(&self.table);
        if let Some(wanted) = table.wanted.remove(&file) {
            table.order.remove(&(wanted.at, file));
        }
        self.arrived.notify_all();
        self.look_if_complete(&table);
    }

    pub(super) fn joined_to(&self, at: Position) {
        lock(&self.table).joined = Some(at);
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut JoinSummary)) {
        count(&mut lock(&self.table).summary);
    }

    /// What was found so far.
    pub fn summary(&self) -> JoinSummary {
        lock(&self.table).summary
    }

    /// Something of the source could not be read: no orphan is removed in this mirror.
    pub fn keep_orphans(&self) -> Result<(), ReceiveError> {
        let mut table = lock(&self.table);
        if !table.orphans_stay {
            table.orphans_stay = true;
            self.note(&Record::Drop { file: ORPHANS }, &[])?;
        }
        Ok(())
    }

    /// Ends the reception: whoever waits is woken with an error. What is durable stays for the same mirror to go on from.
    pub fn end(&self) {
        lock(&self.table).ended = true;
        self.arrived.notify_all();
        self.complete.notify_all();
    }

    /// An error if the reception has ended.
    pub(super) fn go_on(&self) -> Result<(), ReceiveError> {
        if lock(&self.table).ended { Err(ReceiveError::Ended) } else { Ok(()) }
    }

    /// In a round, the point that it builds upon.
    fn base(&self) -> Option<Point> {
        self.opening.base.as_ref().and_then(|_| self.replica.state().points.pop())
    }

    fn sync_volumes(&self) -> Result<(), ReceiveError> {
        let touched = lock(&self.touched).clone();
        for (volume, touched) in self.volumes().iter().zip(&touched) {
            volume.sync_touched(touched).map_err(failed("making the received data durable", &RelPath::root()))?;
        }
        Ok(())
    }

    /// A file that was begun before a cut may be another one now, or none, or found to be the same: what came of it then does not count.
    fn drop_abandoned(&self) -> Result<(), ReceiveError> {
        let abandoned = std::mem::take(&mut lock(&self.resumed).begun);
        abandoned.into_iter().try_for_each(|file| self.note(&Record::Drop { file }, &[]).map(drop))
    }

    /// Whether every file that was asked for has come, or was given up.
    pub fn has_all_files(&self) -> bool {
        lock(&self.table).wanted.is_empty()
    }

    /// Waits for that as long as anything comes within this time: the commit is asked for, on another stream, when all was sent. It makes
    /// durable what has come, so no mark is made for that.
    pub(super) fn wait_for_files(&self, patience: Duration) {
        let mut table = lock(&self.table);
        table.to_complete = false;
        loop {
            let so_far = (table.wanted.len(), self.data_bytes.load(Ordering::Acquire));
            let waiting = |table: &mut Table| !table.wanted.is_empty() && !table.ended;
            let (after, waited) =
                self.arrived.wait_timeout_while(table, patience, waiting).unwrap_or_else(PoisonError::into_inner);
            table = after;
            // What has not come, the commit complains of.
            if !waited.timed_out() || so_far == (table.wanted.len(), self.data_bytes.load(Ordering::Acquire)) {
                return;
            }
        }
    }

    /// Makes what was received a recovery point, which is durable when this returns. [`Replica::settle`] takes the replica to it.
    pub fn commit(&self, at: Time, consistent: bool, objects: u64, bytes: u64, reason: Reason) -> Result<Point, ReceiveError> {
        let (summary, stay) = {
            let table = lock(&self.table);
            if table.ended {
                return Err(ReceiveError::Ended);
            }
            if !table.wanted.is_empty() {
                return Err(ReceiveError::Protocol("it committed before every file had come"));
            }
            (table.summary, table.orphans_stay)
        };
        self.drop_abandoned()?;
        let before = self.base();
        let of = before.as_ref().map_or(summary.standby_objects, |before| before.objects);
        // In a round, what was moved is gone in one place and new in another.
        let gone = summary.orphans.saturating_sub(before.as_ref().map_or(0, |_| summary.new_objects));
        let too_many = self.opening.orphan_limit.exceeded(gone, of);
        let removed = self.opening.orphans == standin_common::message::OrphanPolicy::Remove;
        if removed && too_many && !stay {
            self.keep_orphans()?;
        }
        let left = if removed && !too_many && !stay { 0 } else { summary.orphans };
        // A round met a part of both sides: the rest is as it was. It does not tell which of the orphans that stayed it met, so these count
        // until a mirror over everything.
        let orphans = before.as_ref().map_or(left, |before| before.orphans.max(left));
        let rest = |of: Option<u64>, part: u64| of.map_or(0, |of| of.saturating_sub(part));
        let objects = rest(before.as_ref().map(|before| before.objects), summary.standby_objects).saturating_add(objects);
        let bytes = rest(before.as_ref().map(|before| before.bytes), summary.standby_bytes).saturating_add(bytes);
        let MirrorOpening { generation, mirror, .. } = self.opening;
        let point = Point { number: self.to, generation, mirror, reason, at, consistent, objects, bytes, orphans };
        self.sync_volumes()?;
        // If it fails, what was written of it may count all the same: that is looked for before anything else is done.
        self.seal(&point).inspect_err(|_| self.replica.settled.store(false, Ordering::Release))?;
        self.end();
        Ok(point)
    }

    fn seal(&self, point: &Point) -> Result<(), ReceiveError> {
        let mut journal = lock(&self.journal);
        journal.append(&Record::Commit(point.clone()), &[])?;
        self.committed.store(true, Ordering::Relaxed);
        Ok(journal.sync()?)
    }

    /// Removes an object of the side area that is not needed any more.
    pub(super) fn forget_side(&self, root: RootIndex, side: SideId) -> Result<(), ReceiveError> {
        let place = Place::Side(side);
        let volume = self.volume(root)?;
        if volume.object(&place).map_err(failed("reading", &RelPath::root()))?.is_some() {
            volume.remove(&place).map_err(failed("removing a staged object", &RelPath::root()))?;
        }
        Ok(())
    }
}

pub(super) fn failed(what: &'static str, path: &RelPath) -> impl FnOnce(std::io::Error) -> ReceiveError + use<> {
    let at = path.to_string();
    move |source| ReceiveError::Io { what, at, source }
}
