//! One lane on the source: reads the files that the standby asks for and sends them whole, or what differs of them.
//!
//! Drive it so: [`Lane::start`] a wanted file, [`Lane::scan`] while it has something to compare, [`Lane::answer`] whatever comes back.
//! A lane made by [`Lane::comparing`] sends no data, but finds what differs. Each sends through the given sink and never waits; several compared files are under way at once, so that a long line stays full.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use standin_common::link::LinkError;
use standin_common::message::{Differing, Encoding, FileEnd, LaneDown, LaneUp, Position, Want};
use standin_common::tree::{Fold, GROUP_LEN, GroupFold, LEAF_LEN, Value, group_count, group_value, leaf_values, short};

use super::another;
use super::groups::{Ahead, read_groups, read_values};
pub use super::ranges::{Found, MOST_RANGES};
use super::ranges::{Outcome, Ranges};
use super::whole::{Ended, PIECE_LEN, Pieces};
use crate::mirror::SMALL_LEN;
use crate::pack::Packer;
use crate::volume::{Object, Place, Volume, VolumeFile};

/// Groups announced in one message.
pub(super) const GROUPS_AT_ONCE: u64 = 64;
/// Groups announced and not answered, of one file.
const WINDOW: usize = 8192;
/// How often a file is read again because it changed while it was read.
const ATTEMPTS: u32 = 4;
/// A file up to this size is read again quickly, in bytes.
const QUICK_LEN: u64 = 1 << 20;

/// Where messages go. An error ends the lane.
pub trait Sink {
    /// Sends a message with its payload.
    fn send(&mut self, message: &LaneDown, payload: &[u8]) -> Result<(), LaneError>;
    /// How the next data is to be packed; `None` for as before. Asked again and again, since one file may be all there is to send.
    fn packing(&self) -> Option<Packing> {
        None
    }
}

/// Why a lane ended.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// The link.
    #[error("the mirror was cut off: {0}")]
    Cut(LinkError),
    /// Whoever stopped the mirror.
    #[error("the mirror was stopped")]
    Stopped,
    /// The standby broke the protocol.
    #[error("the standby broke the protocol: {0}")]
    Protocol(&'static str),
    /// What the standby wrote was never what was sent.
    #[error("{0:?} does not arrive as it was sent, although it was sent again: memory or disk of a node may be bad")]
    NeverProven(Position),
}

/// How data is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// The zstd level, `None` to send everything as it is.
    pub level: Option<i32>,
}

struct Reading<F> {
    want: Want,
    file: Arc<F>,
    /// While it is read with help.
    ahead: Option<Ahead>,
    begun: Object,
    size: u64,
    scanned: u64,
    fold: GroupFold,
    unanswered: VecDeque<(u64, Value)>,
    attempt: u32,
    /// How many groups are announced first, whose answer decides if it is sent whole.
    trial: Option<u64>,
}

impl<F: VolumeFile> Reading<F> {
    /// How many groups may be announced and not answered.
    fn window(&self) -> usize {
        if self.trial.is_some() { 1 } else { WINDOW }
    }

    /// How many groups are announced next.
    fn at_once(&self) -> u64 {
        self.trial.unwrap_or(GROUPS_AT_ONCE).min(group_count(self.size) - self.scanned)
    }

    /// Whether the rest of it is to be read by two threads.
    fn is_worth_help(&self) -> bool {
        Ahead::is_for(self.size - self.scanned * GROUP_LEN as u64)
    }

    /// The values of the next groups, at least one and no further than `until`, which is where a stretch ends.
    fn read_values(&mut self, until: u64, buffer: &mut [u8]) -> io::Result<Vec<Value>> {
        match &mut self.ahead {
            Some(ahead) => ahead.next(buffer),
            None => read_values(&*self.file, self.size, self.scanned, until - self.scanned, buffer),
        }
    }

    /// Whether it is to be sent whole, by the answer to its first groups.
    fn is_another(&mut self, groups: u32, differing: &[Differing]) -> io::Result<bool> {
        if self.trial.take().is_none() {
            return Ok(false);
        }
        let read = |group, data: &mut [u8]| read_groups(&*self.file, self.size, group, 1, data).map(drop);
        another::is(self.size, groups as usize, differing, read)
    }
}

/// A file that was sent or compared to its end.
struct Sent {
    want: Want,
    attempt: u32,
    /// Whether only its root was sent.
    checked: bool,
}

/// Memory that is taken once.
pub(super) struct Room {
    pub buffer: Vec<u8>,
    pub packer: Packer,
    leaves: Vec<u8>,
}

/// Packs from now on as the sink wants it.
pub(super) fn tuned<'p>(packer: &'p mut Packer, sink: &impl Sink) -> &'p mut Packer {
    if let Some(packing) = sink.packing() {
        packer.set_level(packing.level);
    }
    packer
}

/// The source's side of one lane.
pub struct Lane<'a, V: Volume> {
    volumes: &'a [V],
    room: Room,
    compared: BTreeMap<u64, Reading<V::File>>,
    /// Files sent or compared to their end whose proof has not come: they are small notes.
    sent: BTreeMap<u64, Sent>,
    /// What was found of the files under way, if nothing is sent of them.
    outcomes: Option<BTreeMap<u64, Outcome>>,
    found: Option<Found>,
    /// Whether large files that change while they are read are left to the next round.
    hasty: bool,
}

impl<'a, V: Volume> Lane<'a, V> {
    /// A lane over the roots of a set.
    pub fn new(volumes: &'a [V], packing: Packing) -> Self {
        let mut packer = Packer::default();
        packer.set_level(packing.level);
        let room = Room { buffer: vec![0; PIECE_LEN], packer, leaves: Vec::new() };
        Self { volumes, room, compared: BTreeMap::new(), sent: BTreeMap::new(), outcomes: None, found: None, hasty: false }
    }

    /// A lane that compares every file, whole or not, and sends no data; ask for what it [found](Self::found) after each answer.
    pub fn comparing(volumes: &'a [V]) -> Self {
        Self { outcomes: Some(BTreeMap::new()), ..Self::new(volumes, Packing { level: None }) }
    }

    /// For a point that only passes: a large file that changes while it is read is not read again, since the next round does that, and one
    /// that is always written to would make each round several times as long.
    #[must_use]
    pub fn hasty(self, hasty: bool) -> Self {
        Self { hasty, ..self }
    }

    /// How often a file of this size is read at most.
    fn attempts(&self, size: u64) -> u32 {
        if self.hasty && size > QUICK_LEN { 1 } else { ATTEMPTS }
    }

    /// The file that turned out to differ by the last answer, once.
    pub fn found(&mut self) -> Option<Found> {
        self.found.take()
    }

    /// Files begun and not proven.
    pub fn under_way(&self) -> usize {
        self.compared.len() + self.sent.len()
    }

    /// Compared files that are open.
    pub fn open_files(&self) -> usize {
        self.compared.len()
    }

    /// Begins a file; sends all of it if it is wanted whole, unless this lane only compares.
    pub fn start(&mut self, want: Want, sink: &mut impl Sink) -> Result<(), LaneError> {
        self.start_attempt(want, 1, sink)
    }

    fn start_attempt(&mut self, want: Want, attempt: u32, sink: &mut impl Sink) -> Result<(), LaneError> {
        let file = want.file;
        let opened = self.open(&want).and_then(|opened| opened.map(|f| f.object().map(|object| (f, object))).transpose());
        let why = match opened {
            Ok(Some((opened, begun))) if want.whole && self.outcomes.is_none() => {
                let last = attempt >= self.attempts(begun.size);
                match (Pieces { number: file, room: &mut self.room, sink }).send(&opened, &begun, last)? {
                    Ok(Ended::Proper) => {
                        self.sent.insert(file, Sent { want, attempt, checked: false });
                        return Ok(());
                    }
                    // Of a large one, what was sent is there now and most of it is right.
                    Ok(Ended::Changed) => {
                        let whole = begun.size <= SMALL_LEN;
                        return self.start_attempt(Want { whole, ..want }, attempt + 1, sink);
                    }
                    Err(error) => Some(error.to_string()),
                }
            }
            Ok(Some((opened, begun))) if begun.size <= SMALL_LEN && attempt == 1 => {
                match (Pieces { number: file, room: &mut self.room, sink }).check(&opened, &begun)? {
                    Ok(Ended::Proper) => {
                        self.sent.insert(file, Sent { want, attempt, checked: true });
                        return Ok(());
                    }
                    Ok(Ended::Changed) => return self.start_attempt(Want { whole: true, ..want }, attempt + 1, sink),
                    Err(error) => Some(error.to_string()),
                }
            }
            Ok(Some((opened, begun))) => {
                let size = begun.size;
                if let Some(outcomes) = &mut self.outcomes {
                    outcomes.insert(file, Outcome { size, ..Outcome::default() });
                }
                sink.send(&LaneDown::Begin { file, size }, &[])?;
                let fold = GroupFold::new(size);
                let trial = another::trial(size).filter(|_| self.outcomes.is_none() && attempt == 1);
                let unanswered = VecDeque::new();
                let opened = Arc::new(opened);
                let reading =
                    Reading { want, file: opened, ahead: None, begun, size, scanned: 0, fold, unanswered, attempt, trial };
                self.compared.insert(file, reading);
                return self.finish_if_complete(file, sink);
            }
            Ok(None) => None,
            Err(error) => Some(error.to_string()),
        };
        self.give_up(file, why, sink)
    }

    fn give_up(&mut self, file: u64, why: Option<String>, sink: &mut impl Sink) -> Result<(), LaneError> {
        self.compared.remove(&file);
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.remove(&file);
        }
        sink.send(&LaneDown::Gone { file, why }, &[])
    }

    fn open(&self, want: &Want) -> io::Result<Option<V::File>> {
        let volume = self.volumes.get(usize::from(want.at.root.0)).ok_or(io::ErrorKind::NotFound)?;
        match volume.open(&Place::Tree(&want.at.path), false) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Reads on in a compared file and announces its groups; returns whether there was something to do.
    pub fn scan(&mut self, sink: &mut impl Sink) -> Result<bool, LaneError> {
        let due = |reading: &&mut Reading<V::File>| {
            reading.scanned < group_count(reading.size) && reading.unanswered.len() < reading.window()
        };
        // One helper is enough for a lane.
        let helped = self.compared.values().any(|reading| reading.ahead.is_some());
        let Some(reading) = self.compared.values_mut().find(due) else { return Ok(false) };
        let file = reading.want.file;
        if !helped && reading.is_worth_help() {
            reading.ahead = Some(Ahead::new(reading.file.clone(), reading.size, reading.scanned));
        }
        let until = reading.scanned + reading.at_once();
        let mut values = Vec::with_capacity(GROUPS_AT_ONCE as usize);
        while reading.scanned < until {
            match reading.read_values(until, &mut self.room.buffer) {
                Ok(read) => {
                    values.extend(read.iter().map(short));
                    reading.unanswered.extend((reading.scanned..).zip(read.iter().copied()));
                    reading.scanned += read.len() as u64;
                }
                Err(error) => {
                    self.give_up(file, Some(error.to_string()), sink)?;
                    return Ok(true);
                }
            }
        }
        if reading.scanned == group_count(reading.size) {
            reading.ahead = None;
        }
        sink.send(&LaneDown::Groups { file, values }, &[])?;
        Ok(true)
    }

    /// Takes an answer of the standby; returns the file that is proven now, if one is.
    pub fn answer(&mut self, message: LaneUp, sink: &mut impl Sink) -> Result<Option<u64>, LaneError> {
        match message {
            LaneUp::Compared { file, groups, differing } => {
                self.compared_groups(file, groups, differing, sink)?;
                Ok(None)
            }
            LaneUp::Done { file } => {
                let sent = self.sent.remove(&file);
                let Sent { want, .. } = sent.ok_or(LaneError::Protocol("it proved a file that was not sent"))?;
                if let Some(outcome) = self.outcomes.as_mut().and_then(|outcomes| outcomes.remove(&file)) {
                    outcome.theirs.ok_or(LaneError::Protocol("it did not say how long its file is"))?;
                    self.found = outcome.found(want);
                }
                Ok(Some(file))
            }
            LaneUp::Again { file } => {
                let sent = self.sent.remove(&file);
                let Sent { want, attempt, checked } =
                    sent.ok_or(LaneError::Protocol("it asked again for a file that was not sent"))?;
                if attempt < ATTEMPTS {
                    // Of what is not as the root says, little is known to be right.
                    self.start_attempt(Want { whole: checked, ..want }, attempt + 1, sink)?;
                    return Ok(None);
                }
                let outcome = self.outcomes.as_mut().and_then(|outcomes| outcomes.remove(&file));
                let Some(mut outcome) = outcome else { return Err(LaneError::NeverProven(want.at)) };
                // Equal by its groups and never by its root: nothing of it is known to be equal.
                outcome.ranges = Ranges::default();
                outcome.ranges.add(0, outcome.size.max(outcome.theirs.unwrap_or(0)).max(1));
                self.found = outcome.found(want);
                self.give_up(file, None, sink)?;
                Ok(None)
            }
            LaneUp::Here { file, size } => {
                let outcomes = self.outcomes.as_mut().ok_or(LaneError::Protocol("it compares where it should receive"))?;
                if let Some(outcome) = outcomes.get_mut(&file) {
                    outcome.theirs = Some(size);
                }
                Ok(None)
            }
        }
    }

    fn compared_groups(
        &mut self,
        file: u64,
        groups: u32,
        differing: Vec<Differing>,
        sink: &mut impl Sink,
    ) -> Result<(), LaneError> {
        let Some(reading) = self.compared.get_mut(&file) else { return Ok(()) };
        match reading.is_another(groups, &differing) {
            Ok(false) => {}
            Ok(true) => return self.send_whole(file, sink),
            Err(error) => return self.give_up(file, Some(error.to_string()), sink),
        }
        let mut outcome = self.outcomes.as_mut().and_then(|outcomes| outcomes.get_mut(&file));
        let mut differing = differing.into_iter().peekable();
        for _ in 0..groups {
            let (group, value) =
                reading.unanswered.pop_front().ok_or(LaneError::Protocol("it compared more than was announced"))?;
            let differs = differing.next_if(|differs| differs.group == group);
            let value = match (differs, &mut outcome) {
                (None, _) => Ok(value),
                (Some(differs), None) => send_leaves(reading, group, &differs, &mut self.room, sink)?,
                (Some(differs), Some(outcome)) => note_leaves(reading, group, &differs, outcome, &mut self.room).map(|()| value),
            };
            match value {
                Ok(value) => reading.fold.push(value),
                Err(error) => return self.give_up(file, Some(error.to_string()), sink),
            }
        }
        if differing.next().is_some() {
            return Err(LaneError::Protocol("it named groups that were not announced"));
        }
        self.finish_if_complete(file, sink)
    }

    /// Sends a file whole after all.
    fn send_whole(&mut self, file: u64, sink: &mut impl Sink) -> Result<(), LaneError> {
        let Some(reading) = self.compared.remove(&file) else { return Ok(()) };
        self.start_attempt(Want { whole: true, ..reading.want }, reading.attempt, sink)
    }

    fn finish_if_complete(&mut self, file: u64, sink: &mut impl Sink) -> Result<(), LaneError> {
        let complete = |reading: &Reading<V::File>| reading.scanned == group_count(reading.size) && reading.unanswered.is_empty();
        if !self.compared.get(&file).is_some_and(complete) {
            return Ok(());
        }
        let Some(reading) = self.compared.remove(&file) else { return Ok(()) };
        let now = match reading.file.object() {
            Ok(now) => now,
            Err(error) => return self.give_up(file, Some(error.to_string()), sink),
        };
        let changed = now.stamp != reading.begun.stamp;
        if changed && reading.attempt < self.attempts(reading.size) {
            return self.start_attempt(reading.want, reading.attempt + 1, sink);
        }
        let root = reading.fold.finish().ok_or(LaneError::Protocol("a file's groups do not add up"))?;
        sink.send(&LaneDown::End { file, end: FileEnd { size: reading.size, root, attrs: now.attrs } }, &[])?;
        self.sent.insert(file, Sent { want: reading.want, attempt: reading.attempt, checked: false });
        Ok(())
    }
}

/// Sends the leaves of a group that the standby does not have; returns the value of the group as sent.
fn send_leaves<F: VolumeFile>(
    reading: &Reading<F>,
    group: u64,
    theirs: &Differing,
    room: &mut Room,
    sink: &mut impl Sink,
) -> Result<io::Result<Value>, LaneError> {
    let data = match read_groups(&*reading.file, reading.size, group, 1, &mut room.buffer) {
        Ok(data) => data,
        Err(error) => return Ok(Err(error)),
    };
    let ours = leaf_values(group, data);
    let mut mask = 0;
    room.leaves.clear();
    // The root of a file of one leaf is of its data alone, so that leaf is always sent.
    let only = reading.size <= LEAF_LEN as u64;
    for (leaf, (value, data)) in ours.iter().zip(data.chunks(LEAF_LEN)).enumerate() {
        if only || theirs.leaves.get(leaf) != Some(&short(value)) {
            mask |= 1 << leaf;
            room.leaves.extend_from_slice(data);
        }
    }
    let start = group * GROUP_LEN as u64;
    // Asking for holes is dear on some file systems, and only zeros can be one.
    let hole =
        match data.iter().all(|byte| *byte == 0).then(|| reading.file.is_hole(start, start + data.len() as u64)).transpose() {
            Ok(hole) => hole == Some(true),
            Err(error) => return Ok(Err(error)),
        };
    // The value of a group follows from its leaves, but that of a file of one group is its root.
    let followed = if reading.size > GROUP_LEN as u64 { ours.into_iter().collect::<Fold>().into_value() } else { None };
    let value = followed.unwrap_or_else(|| group_value(reading.size, group, data));
    let len = room.leaves.len() as u32;
    let (encoding, payload) = if hole { (Encoding::Plain, &[][..]) } else { tuned(&mut room.packer, sink).pack(&room.leaves) };
    sink.send(&LaneDown::Leaves { file: reading.want.file, group, mask, hole, len, encoding }, payload)?;
    Ok(Ok(value))
}

/// Notes which leaves of a group differ, as far as both sides have it; where only one has, is noted at the end.
fn note_leaves<F: VolumeFile>(
    reading: &Reading<F>,
    group: u64,
    theirs: &Differing,
    outcome: &mut Outcome,
    room: &mut Room,
) -> io::Result<()> {
    let start = group * GROUP_LEN as u64;
    let Some(size) = outcome.theirs else { return Err(io::Error::other("the standby did not say how long its file is")) };
    let data = read_groups(&*reading.file, reading.size, group, 1, &mut room.buffer)?;
    let common = &data[..data.len().min(size.saturating_sub(start) as usize)];
    let mut explained = common.len() < data.len();
    for (leaf, (value, data)) in leaf_values(group, common).iter().zip(common.chunks(LEAF_LEN)).enumerate() {
        if theirs.leaves.get(leaf) != Some(&short(value)) {
            let start = start + (leaf * LEAF_LEN) as u64;
            outcome.ranges.add(start, start + data.len() as u64);
            explained = true;
        }
    }
    if !explained {
        // It changed since its value was taken; which leaves differed then cannot be known any more.
        outcome.ranges.add(start, start + data.len() as u64);
    }
    Ok(())
}
