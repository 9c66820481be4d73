//! The journal: an ordered file of operations that take the replica from one recovery point to another.
//!
//! A record is `[u32 header length][u32 payload length][8 bytes check][header][payload][u32 record length]`, little-endian; the
//! header is a [`Record`] in `postcard`, the check the first 8 bytes of BLAKE3 over lengths, header and payload. The length at the
//! end lets a journal be read backwards, which is how the inverse of a journal is applied. A torn tail fails its check and
//! is cut off when the journal is opened.

use std::io;

use serde::{Deserialize, Serialize};
use standin_common::entry::{Attrs, Time};
use standin_common::id::{Generation, MirrorId, PointNumber, RootIndex};
use standin_common::message::{Encoding, JoinSummary, Position};
use standin_common::path::RelPath;
use standin_common::scope::Reason;
use standin_common::stream::Batch;

use crate::store::LogFile;
use crate::volume::SideId;

const HEAD_LEN: usize = 16;
const TAIL_LEN: usize = 4;
/// Longest header of a record, in bytes: attributes can be large.
pub const MAX_HEADER_LEN: usize = 2 * 1024 * 1024;
/// Longest payload of a record, in bytes.
pub const MAX_PAYLOAD_LEN: usize = 8 * 1024 * 1024;
/// Bytes read at once where records are read in a row, and where one is.
const WINDOW_LEN: usize = 128 * 1024;
const SHORT_WINDOW_LEN: usize = 512;
/// Records up to this size are hashed in one piece: BLAKE3 takes the chunks of what comes in pieces one after the other, those of one piece
/// side by side, which is nearly twice as fast for a page and its header, the copy included.
const MOST_GATHERED: usize = 64 * 1024;

/// One thing done to the replica. Doing it twice is doing it once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// The payload is written to a file; before decoding it has another length.
    Write {
        /// First byte.
        offset: u64,
        /// Bytes before encoding.
        len: u32,
        /// How the payload is encoded.
        encoding: Encoding,
    },
    /// A stretch of a file becomes a hole.
    Punch {
        /// First byte.
        start: u64,
        /// First byte after it.
        end: u64,
    },
    /// A file is cut or extended.
    Resize {
        /// Its new size in bytes.
        len: u64,
    },
    /// An object gets attributes; always done after all other operations of the journal.
    Attrs(Attrs),
    /// A directory is made.
    MakeDirectory,
    /// An empty directory is removed.
    RemoveDirectory,
    /// Anything but a directory is moved to the side area.
    Park(SideId),
    /// An object of the side area is moved to a free place in the tree.
    Install(SideId),
    /// One more name for the object at `to`.
    Link {
        /// Its other name, in the same root.
        to: RelPath,
    },
    /// A name is removed whose object stays at `to`.
    Unlink {
        /// Its other name, in the same root.
        to: RelPath,
    },
    /// What comes before is undone from here, what comes after is done from here: of objects that were moved, each way leads over the side
    /// area, and once the replica has passed this, durably, nothing before it is done again. Of no root or path.
    Turn,
}

/// Where the data of a file that is being received goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Landing {
    /// Straight into the replica, which is not promotable yet.
    InPlace,
    /// Into a new object of the side area.
    Staged(SideId),
    /// Into the journal.
    Journal,
}

/// What a recovery point is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Its number.
    pub number: PointNumber,
    /// The generation it was made in.
    pub generation: Generation,
    /// The mirror or round that made it.
    pub mirror: MirrorId,
    /// What it was made for.
    pub reason: Reason,
    /// Time at the source of which it is the state.
    pub at: Time,
    /// Whether nothing of the set changed while it was read; otherwise its files are right one by one.
    pub consistent: bool,
    /// Objects in it.
    pub objects: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Objects that the replica has beyond those of the source.
    pub orphans: u64,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The first record of an inverse.
    Inverse,
    /// The first record of a journal that is received: which mirror this is of, and from which point.
    Begin {
        /// The mirror.
        mirror: MirrorId,
        /// Its generation.
        generation: Generation,
        /// The point the replica is at; `None` in the first mirror.
        from: Option<PointNumber>,
        /// The point it will be at.
        to: PointNumber,
    },
    /// A file begins to be received.
    Open {
        /// Its number in this journal.
        file: u64,
        /// Where.
        at: Position,
        /// Where its data goes.
        landing: Landing,
    },
    /// An operation.
    Op {
        /// The file it belongs to, whose operations count only if it is sealed.
        file: Option<u64>,
        /// The root.
        root: RootIndex,
        /// The object.
        path: RelPath,
        /// What.
        op: Op,
    },
    /// A file was received and proven.
    Seal {
        /// Its number in this journal.
        file: u64,
    },
    /// A file will not be finished; its operations do not count.
    Drop {
        /// Its number in this journal.
        file: u64,
    },
    /// Everything before `covers` is durable, the staged data too.
    Mark {
        /// Bytes of the journal that are covered.
        covers: u64,
        /// How far the walk was joined.
        position: Option<Position>,
        /// What was found until there.
        summary: JoinSummary,
    },
    /// The journal is complete: it leads to this point.
    Commit(Point),
    /// The last record of an inverse: it is whole.
    End,
    /// The second record of a journal by which objects are moved: it has a turn.
    Moves,
    /// In the log of a stream (`standby/stream`): operations of the source, as they were sent, in the payload.
    Stream(Batch),
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error("the journal cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// A record fails its check, or does not follow the format.
    #[error("the journal is damaged at byte {at}: {why}")]
    Damaged {
        /// Offset of the record.
        at: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A record that is too long to be written.
    #[error("a record of {0} bytes is too long for the journal")]
    TooLong(usize),
}

fn check(lengths: &[u8], header: &[u8], payload: &[u8]) -> [u8; 8] {
    let parts = [lengths, header, payload];
    let hash = if parts.iter().map(|part| part.len()).sum::<usize>() <= MOST_GATHERED {
        blake3::hash(&parts.concat())
    } else {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize()
    };
    let mut check = [0; 8];
    check.copy_from_slice(&hash.as_bytes()[..8]);
    check
}

/// Reads the record that `bytes` begin with; returns it with its payload's place and its whole length.
///
/// Errors tell what is wrong; too few bytes are an error too, as at a torn tail.
pub fn decode(bytes: &[u8]) -> Result<(Record, std::ops::Range<usize>, usize), &'static str> {
    let head = bytes.get(..HEAD_LEN).ok_or("the head is cut off")?;
    let (header_len, payload_len) = lengths(head)?;
    let end = HEAD_LEN + header_len + payload_len;
    let body = bytes.get(HEAD_LEN..end).ok_or("the record is cut off")?;
    let tail = bytes.get(end..end + TAIL_LEN).ok_or("the tail is cut off")?;
    let (header, payload) = body.split_at(header_len);
    if check(&head[..8], header, payload) != head[8..] || tail != ((end + TAIL_LEN) as u32).to_le_bytes() {
        return Err("the check does not fit");
    }
    let (record, rest) = postcard::take_from_bytes(header).map_err(|_| "the header is no record")?;
    if !rest.is_empty() {
        return Err("the header is longer than its record");
    }
    Ok((record, HEAD_LEN + header_len..end, end + TAIL_LEN))
}

fn lengths(head: &[u8]) -> Result<(usize, usize), &'static str> {
    let number = |at: usize| head[at..at + 4].iter().rev().fold(0usize, |number, byte| number << 8 | usize::from(*byte));
    let (header_len, payload_len) = (number(0), number(4));
    if header_len > MAX_HEADER_LEN || payload_len > MAX_PAYLOAD_LEN {
        return Err("a length is beyond the bound");
    }
    Ok((header_len, payload_len))
}

/// A record as read, with where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The record.
    pub record: Record,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Offset of its first byte.
    pub at: u64,
    /// Offset of the first byte after it.
    pub end: u64,
}

impl Placed {
    /// Offset of the payload's first byte.
    pub fn payload_at(&self) -> u64 {
        self.end - (TAIL_LEN + self.payload.len()) as u64
    }
}

/// A journal over a log file.
#[derive(Debug)]
pub struct Journal<L> {
    log: L,
    scratch: Vec<u8>,
}

impl<L: LogFile> Journal<L> {
    /// Over a log that is empty or holds records only.
    pub fn new(log: L) -> Self {
        Self { log, scratch: Vec::new() }
    }

    /// Bytes as they are in the log, from a place within the payload of a record that was read; fewer at the end.
    pub fn read_raw(&self, buffer: &mut [u8], at: u64) -> Result<usize, JournalError> {
        Ok(self.log.read_at(buffer, at)?)
    }

    /// The log beneath.
    pub fn into_log(self) -> L {
        self.log
    }

    /// Bytes in the journal.
    pub fn len(&self) -> u64 {
        self.log.len()
    }

    /// Whether it has no record.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// Appends a record; returns its offset. Not durable before [`Journal::sync`].
    pub fn append(&mut self, record: &Record, payload: &[u8]) -> Result<u64, JournalError> {
        self.scratch.clear();
        self.scratch.resize(HEAD_LEN, 0);
        let scratch = std::mem::take(&mut self.scratch);
        // `postcard` into a growing vector fails only where a type cannot be serialized, which `Record` can.
        let mut scratch = postcard::to_extend(record, scratch).map_err(|error| JournalError::Io(io::Error::other(error)))?;
        let header_len = scratch.len() - HEAD_LEN;
        if header_len > MAX_HEADER_LEN || payload.len() > MAX_PAYLOAD_LEN {
            return Err(JournalError::TooLong(header_len + payload.len()));
        }
        scratch[..4].copy_from_slice(&(header_len as u32).to_le_bytes());
        scratch[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        let sum = check(&scratch[..8], &scratch[HEAD_LEN..], payload);
        scratch[8..HEAD_LEN].copy_from_slice(&sum);
        let tail = ((HEAD_LEN + header_len + payload.len() + TAIL_LEN) as u32).to_le_bytes();
        let at = self.log.len();
        let result = if payload.is_empty() {
            scratch.extend_from_slice(&tail);
            self.log.append(&[&scratch])
        } else {
            self.log.append(&[&scratch, payload, &tail])
        };
        self.scratch = scratch;
        result?;
        Ok(at)
    }

    /// Makes everything appended durable.
    pub fn sync(&self) -> Result<(), JournalError> {
        Ok(self.log.sync()?)
    }

    /// See [`LogFile::reserve`].
    pub fn reserve(&mut self, len: u64) -> Result<(), JournalError> {
        Ok(self.log.reserve(len)?)
    }

    /// See [`LogFile::trim`].
    pub fn trim(&mut self) -> Result<(), JournalError> {
        Ok(self.log.trim()?)
    }

    /// Whether this is an inverse that was written to its end, every record of it: an unsynced one may have lost any part in a crash.
    pub fn is_whole_inverse(&self) -> Result<bool, JournalError> {
        let mut last = None;
        for placed in self.forward() {
            match placed {
                Ok(placed) => last = Some(placed.record),
                Err(JournalError::Damaged { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(last == Some(Record::End))
    }

    /// Forgets everything from `len` on.
    pub fn truncate(&mut self, len: u64) -> Result<(), JournalError> {
        Ok(self.log.truncate(len)?)
    }

    /// The record at `at`; `None` at the end.
    pub fn read(&self, at: u64) -> Result<Option<Placed>, JournalError> {
        self.read_through(&mut Window::new(SHORT_WINDOW_LEN, false), at)
    }

    fn read_through(&self, window: &mut Window, at: u64) -> Result<Option<Placed>, JournalError> {
        let damaged = |why| JournalError::Damaged { at, why };
        let (header_len, payload_len) = match window.get(&self.log, at, HEAD_LEN)? {
            [] => return Ok(None),
            head if head.len() < HEAD_LEN => return Err(damaged("the head is cut off")),
            head => lengths(head).map_err(damaged)?,
        };
        let len = HEAD_LEN + header_len + payload_len + TAIL_LEN;
        if at + len as u64 > self.log.len() {
            return Err(damaged("the record is cut off"));
        }
        let bytes = window.get(&self.log, at, len)?;
        if bytes.len() != len {
            return Err(damaged("the record is cut off"));
        }
        let (record, payload, len) = decode(bytes).map_err(damaged)?;
        Ok(Some(Placed { record, payload: bytes[payload].to_vec(), at, end: at + len as u64 }))
    }

    /// The record that ends at `end`; `None` at the beginning.
    pub fn read_before(&self, end: u64) -> Result<Option<Placed>, JournalError> {
        self.read_before_through(&mut Window::new(SHORT_WINDOW_LEN, true), end)
    }

    fn read_before_through(&self, window: &mut Window, end: u64) -> Result<Option<Placed>, JournalError> {
        if end == 0 {
            return Ok(None);
        }
        let damaged = |why| JournalError::Damaged { at: end, why };
        let tail_at = end.checked_sub(TAIL_LEN as u64).ok_or(damaged("no room for a tail"))?;
        let tail = window.get(&self.log, tail_at, TAIL_LEN)?;
        let tail = tail.try_into().map_err(|_| damaged("the tail is cut off"))?;
        let at = end.checked_sub(u64::from(u32::from_le_bytes(tail))).ok_or(damaged("the tail does not fit"))?;
        match self.read_through(window, at)? {
            Some(placed) if placed.end == end => Ok(Some(placed)),
            _ => Err(damaged("the tail does not fit")),
        }
    }

    /// All records from the first on; ends at the first error.
    pub fn forward(&self) -> Records<'_, L> {
        Records { journal: self, window: Window::new(WINDOW_LEN, false), at: Some(0), backward: false }
    }

    /// All records from the last on; ends at the first error.
    pub fn backward(&self) -> Records<'_, L> {
        Records { journal: self, window: Window::new(WINDOW_LEN, true), at: Some(self.len()), backward: true }
    }

    /// Cuts off a torn tail: everything from the first record on that fails its check. Returns the bytes cut.
    pub fn cut_torn_tail(&mut self) -> Result<u64, JournalError> {
        let mut at = 0;
        for placed in self.forward() {
            match placed {
                Ok(placed) => at = placed.end,
                Err(JournalError::Damaged { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        if at == self.len() {
            return Ok(0);
        }
        let torn = self.len() - at;
        self.truncate(at)?;
        Ok(torn)
    }
}

/// The records of a journal in one direction.
#[derive(Debug)]
pub struct Records<'a, L> {
    journal: &'a Journal<L>,
    window: Window,
    at: Option<u64>,
    backward: bool,
}

/// Part of a log, read at once: records are short, and mostly read one after the other.
#[derive(Debug)]
struct Window {
    at: u64,
    bytes: Vec<u8>,
    len: usize,
    backward: bool,
}

impl Window {
    /// Reads at least `len` bytes at once, after those that are asked for or, `backward`, before them.
    fn new(len: usize, backward: bool) -> Self {
        Self { at: 0, bytes: Vec::new(), len, backward }
    }

    /// `len` bytes at `at`, fewer at the end of the log.
    fn get(&mut self, log: &impl LogFile, at: u64, len: usize) -> io::Result<&[u8]> {
        let end = at + len as u64;
        if at < self.at || end > self.at + self.bytes.len() as u64 {
            let read = len.max(self.len);
            self.at = if self.backward { end.saturating_sub(read as u64).min(at) } else { at };
            self.bytes.resize(read, 0);
            let read = log.read_at(&mut self.bytes, self.at)?;
            self.bytes.truncate(read);
        }
        let start = (at - self.at) as usize;
        let end = (start + len).min(self.bytes.len());
        Ok(self.bytes.get(start..end).unwrap_or_default())
    }
}

impl<L: LogFile> Iterator for Records<'_, L> {
    type Item = Result<Placed, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at?;
        let read = match self.backward {
            true => self.journal.read_before_through(&mut self.window, at),
            false => self.journal.read_through(&mut self.window, at),
        };
        self.at = match &read {
            Ok(Some(placed)) => Some(if self.backward { placed.at } else { placed.end }),
            _ => None,
        };
        read.transpose()
    }
}

#[cfg(test)]
mod tests;
