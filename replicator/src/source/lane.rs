//! One lane on the source: reads the files that the standby asks for and sends them whole, or what differs of them.
//!
//! Drive it so: [`Lane::start`] a wanted file, [`Lane::scan`] while it has something to compare, [`Lane::answer`] whatever comes back.
//! Each sends through the given sink and never waits; several compared files are under way at once, so that a long line stays full.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use standin_common::link::LinkError;
use standin_common::message::{Differing, Encoding, FileEnd, LaneDown, LaneUp, Position, Want};
use standin_common::tree::{
    GROUP_LEN, GroupFold, LEAF_LEN, Root, Value, group_count, group_len, group_value, leaf_values, short,
};

use crate::mirror::SMALL_LEN;
use crate::pack;
use crate::volume::{Object, Place, Volume, VolumeFile};

/// Bytes of a piece of a whole file.
const PIECE_LEN: usize = 512 * 1024;
/// Groups announced in one message.
const GROUPS_AT_ONCE: u64 = 64;
/// Groups announced and not answered, of one file.
const WINDOW: usize = 8192;
/// How often a file is read again because it changed while it was read.
const ATTEMPTS: u32 = 4;

/// Where messages go. An error ends the lane.
pub trait Sink {
    /// Sends a message with its payload.
    fn send(&mut self, message: &LaneDown, payload: &[u8]) -> Result<(), LaneError>;
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
    file: F,
    begun: Object,
    size: u64,
    scanned: u64,
    fold: GroupFold,
    unanswered: VecDeque<(u64, Value)>,
    attempt: u32,
}

/// The source's side of one lane.
pub struct Lane<'a, V: Volume> {
    volumes: &'a [V],
    packing: Packing,
    compared: BTreeMap<u64, Reading<V::File>>,
    /// Whole files whose proof has not come: they are small notes, and sent again by compare if it fails.
    sent: BTreeMap<u64, (Want, u32)>,
}

impl<'a, V: Volume> Lane<'a, V> {
    /// A lane over the roots of a set.
    pub fn new(volumes: &'a [V], packing: Packing) -> Self {
        Self { volumes, packing, compared: BTreeMap::new(), sent: BTreeMap::new() }
    }

    /// Files begun and not proven.
    pub fn under_way(&self) -> usize {
        self.compared.len() + self.sent.len()
    }

    /// Compared files that are open.
    pub fn open_files(&self) -> usize {
        self.compared.len()
    }

    /// Packs what comes from now on in another way.
    pub fn set_packing(&mut self, packing: Packing) {
        self.packing = packing;
    }

    /// Begins a file; sends all of it if it is wanted whole.
    pub fn start(&mut self, want: Want, sink: &mut impl Sink) -> Result<(), LaneError> {
        self.start_attempt(want, 1, sink)
    }

    fn start_attempt(&mut self, want: Want, attempt: u32, sink: &mut impl Sink) -> Result<(), LaneError> {
        let file = want.file;
        let opened = self.open(&want).and_then(|opened| opened.map(|f| f.object().map(|object| (f, object))).transpose());
        let why = match opened {
            Ok(Some((opened, begun))) if want.whole => match self.send_whole(file, &opened, begun, sink)? {
                Ok(()) => {
                    self.sent.insert(file, (want, attempt));
                    return Ok(());
                }
                Err(error) => Some(error.to_string()),
            },
            Ok(Some((opened, begun))) => {
                let size = begun.size;
                sink.send(&LaneDown::Begin { file, size }, &[])?;
                let fold = GroupFold::new(size);
                let reading = Reading { want, file: opened, begun, size, scanned: 0, fold, unanswered: VecDeque::new(), attempt };
                self.compared.insert(file, reading);
                return self.finish_if_complete(file, sink);
            }
            Ok(None) => None,
            Err(error) => Some(error.to_string()),
        };
        sink.send(&LaneDown::Gone { file, why }, &[])
    }

    fn open(&self, want: &Want) -> io::Result<Option<V::File>> {
        let volume = self.volumes.get(usize::from(want.at.root.0)).ok_or(io::ErrorKind::NotFound)?;
        match volume.open(&Place::Tree(&want.at.path), false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Sends a file whole, again while it changes under the reading, but not for ever. The inner error is the file's, not the lane's.
    fn send_whole(
        &self,
        number: u64,
        file: &V::File,
        mut begun: Object,
        sink: &mut impl Sink,
    ) -> Result<io::Result<()>, LaneError> {
        let mut pieces = Pieces { number, packing: self.packing, sink };
        for attempt in 1..=ATTEMPTS {
            let last = attempt == ATTEMPTS;
            let sent = if begun.size <= SMALL_LEN { pieces.small(file, &begun, last) } else { pieces.large(file, &begun, last) };
            match sent? {
                Ok(None) => return Ok(Ok(())),
                Ok(Some(changed)) => begun = changed,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// Reads on in a compared file and announces its groups; returns whether there was something to do.
    pub fn scan(&mut self, sink: &mut impl Sink) -> Result<bool, LaneError> {
        let due =
            |reading: &&mut Reading<V::File>| reading.scanned < group_count(reading.size) && reading.unanswered.len() < WINDOW;
        let Some(reading) = self.compared.values_mut().find(due) else { return Ok(false) };
        let file = reading.want.file;
        let until = group_count(reading.size).min(reading.scanned + GROUPS_AT_ONCE);
        let mut buffer = vec![0; GROUP_LEN];
        let mut values = Vec::new();
        for group in reading.scanned..until {
            match read_group(&reading.file, reading.size, group, &mut buffer) {
                Ok(data) => {
                    let value = group_value(reading.size, group, data);
                    values.push(short(&value));
                    reading.unanswered.push_back((group, value));
                }
                Err(error) => {
                    self.compared.remove(&file);
                    sink.send(&LaneDown::Gone { file, why: Some(error.to_string()) }, &[])?;
                    return Ok(true);
                }
            }
        }
        reading.scanned = until;
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
                self.sent.remove(&file);
                Ok(Some(file))
            }
            LaneUp::Again { file } => {
                let (want, attempt) =
                    self.sent.remove(&file).ok_or(LaneError::Protocol("it asked again for a file that was not sent"))?;
                if attempt >= ATTEMPTS {
                    return Err(LaneError::NeverProven(want.at));
                }
                self.start_attempt(Want { whole: false, ..want }, attempt + 1, sink)?;
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
        let mut differing = differing.into_iter().peekable();
        for _ in 0..groups {
            let (group, value) =
                reading.unanswered.pop_front().ok_or(LaneError::Protocol("it compared more than was announced"))?;
            let differs = differing.next_if(|differs| differs.group == group);
            let value = match differs {
                None => value,
                Some(differs) => match send_leaves(reading, group, &differs, self.packing, sink)? {
                    Ok(value) => value,
                    Err(error) => {
                        self.compared.remove(&file);
                        return sink.send(&LaneDown::Gone { file, why: Some(error.to_string()) }, &[]);
                    }
                },
            };
            reading.fold.push(value);
        }
        if differing.next().is_some() {
            return Err(LaneError::Protocol("it named groups that were not announced"));
        }
        self.finish_if_complete(file, sink)
    }

    fn finish_if_complete(&mut self, file: u64, sink: &mut impl Sink) -> Result<(), LaneError> {
        let complete = |reading: &Reading<V::File>| reading.scanned == group_count(reading.size) && reading.unanswered.is_empty();
        if !self.compared.get(&file).is_some_and(complete) {
            return Ok(());
        }
        let Some(reading) = self.compared.remove(&file) else { return Ok(()) };
        let now = match reading.file.object() {
            Ok(now) => now,
            Err(error) => return sink.send(&LaneDown::Gone { file, why: Some(error.to_string()) }, &[]),
        };
        let changed = now.stamp != reading.begun.stamp;
        if changed && reading.attempt < ATTEMPTS {
            return self.start_attempt(reading.want, reading.attempt + 1, sink);
        }
        let root = reading.fold.finish().ok_or(LaneError::Protocol("a file's groups do not add up"))?;
        sink.send(&LaneDown::End { file, end: FileEnd { size: reading.size, root, attrs: now.attrs } }, &[])?;
        self.sent.insert(file, (reading.want, reading.attempt));
        Ok(())
    }
}

/// Reads one group; a file that became shorter reads as zeros there, and will be read again.
fn read_group<'b>(file: &impl VolumeFile, size: u64, group: u64, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let len = group_len(size, group);
    let read = file.read_at(&mut buffer[..len], group * GROUP_LEN as u64)?;
    buffer[read..len].fill(0);
    Ok(&buffer[..len])
}

/// Sends the leaves of a group that the standby does not have; returns the value of the group as sent.
fn send_leaves<F: VolumeFile>(
    reading: &Reading<F>,
    group: u64,
    theirs: &Differing,
    packing: Packing,
    sink: &mut impl Sink,
) -> Result<io::Result<Value>, LaneError> {
    let mut buffer = vec![0; GROUP_LEN];
    let data = match read_group(&reading.file, reading.size, group, &mut buffer) {
        Ok(data) => data,
        Err(error) => return Ok(Err(error)),
    };
    let ours = leaf_values(group, data);
    let mut mask = 0;
    let mut differing = Vec::with_capacity(data.len());
    // The root of a file of one leaf is of its data alone, so that leaf is always sent.
    let only = reading.size <= LEAF_LEN as u64;
    for (leaf, (value, data)) in ours.iter().zip(data.chunks(LEAF_LEN)).enumerate() {
        if only || theirs.leaves.get(leaf) != Some(&short(value)) {
            mask |= 1 << leaf;
            differing.extend_from_slice(data);
        }
    }
    let start = group * GROUP_LEN as u64;
    let hole = match reading.file.stretch(start) {
        Ok(stretch) => stretch.hole && stretch.end >= start + data.len() as u64,
        Err(error) => return Ok(Err(error)),
    };
    let value = group_value(reading.size, group, data);
    let len = differing.len() as u32;
    let (encoding, payload) = if hole { (Encoding::Plain, Vec::new()) } else { packing.pack(differing) };
    sink.send(&LaneDown::Leaves { file: reading.want.file, group, mask, hole, len, encoding }, &payload)?;
    Ok(Ok(value))
}

impl Packing {
    fn pack(self, data: Vec<u8>) -> (Encoding, Vec<u8>) {
        match self.level.and_then(|level| pack::pack(&data, level)) {
            Some(packed) => (Encoding::Zstd, packed),
            None => (Encoding::Plain, data),
        }
    }
}

/// One whole file on its way.
struct Pieces<'s, S> {
    number: u64,
    packing: Packing,
    sink: &'s mut S,
}

type Sent = Result<io::Result<Option<Object>>, LaneError>;

impl<S: Sink> Pieces<'_, S> {
    /// Sends a small file in one message, unless it changed while it was read: then returns what it is now.
    fn small(&mut self, file: &impl VolumeFile, begun: &Object, last: bool) -> Sent {
        let mut data = vec![0; begun.size as usize + 1];
        let read = file.read_at(&mut data, 0).and_then(|read| Ok((read, file.object()?)));
        let (read, now) = match read {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        if !last && (now.stamp != begun.stamp || read as u64 != begun.size) {
            return Ok(Ok(Some(now)));
        }
        data.truncate(read);
        let (size, root) = (read as u64, Root::of(&data));
        let (encoding, payload) = self.packing.pack(data);
        let end = FileEnd { size, root, attrs: now.attrs };
        self.sink.send(&LaneDown::Small { file: self.number, size: size as u32, encoding, end }, &payload)?;
        Ok(Ok(None))
    }

    /// Sends a large file in pieces; if it changed while it was read, returns what it is now, without an end.
    fn large(&mut self, file: &impl VolumeFile, begun: &Object, last: bool) -> Sent {
        self.sink.send(&LaneDown::Begin { file: self.number, size: begun.size }, &[])?;
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        while at < begun.size {
            let stretch = match file.stretch(at) {
                Ok(stretch) => stretch,
                Err(error) => return Ok(Err(error)),
            };
            let end = stretch.end.min(begun.size);
            if stretch.hole {
                hash_zeros(&mut hasher, end - at);
                self.sink.send(&LaneDown::Hole { file: self.number, len: end - at }, &[])?;
                at = end;
                continue;
            }
            let mut data = vec![0; ((end - at) as usize).min(PIECE_LEN)];
            let read = match file.read_at(&mut data, at) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => return Ok(Err(error)),
            };
            data.truncate(read);
            hasher.update(&data);
            at += read as u64;
            let (encoding, payload) = self.packing.pack(data);
            self.sink.send(&LaneDown::Data { file: self.number, len: read as u32, encoding }, &payload)?;
        }
        let now = match file.object() {
            Ok(now) => now,
            Err(error) => return Ok(Err(error)),
        };
        if !last && now.stamp != begun.stamp {
            return Ok(Ok(Some(now)));
        }
        let end = FileEnd { size: at, root: Root(*hasher.finalize().as_bytes()), attrs: now.attrs };
        self.sink.send(&LaneDown::End { file: self.number, end }, &[])?;
        Ok(Ok(None))
    }
}

fn hash_zeros(hasher: &mut blake3::Hasher, mut len: u64) {
    let zeros = [0; GROUP_LEN];
    while len > 0 {
        let piece = len.min(GROUP_LEN as u64);
        hasher.update(&zeros[..piece as usize]);
        len -= piece;
    }
}
