//! A file sent whole, in one message or in pieces.

use std::io;

use standin_common::message::{FileEnd, LaneDown};
use standin_common::tree::Root;

use super::lane::{ATTEMPTS, LaneError, Room, Sink};
use crate::mirror::SMALL_LEN;
use crate::volume::{Object, VolumeFile};

/// Bytes of a piece of a whole file.
pub(super) const PIECE_LEN: usize = 512 * 1024;
/// Zeros hashed at a time.
static ZEROS: [u8; 128 * 1024] = [0; 128 * 1024];

/// One whole file on its way.
pub(super) struct Pieces<'s, S> {
    pub number: u64,
    pub room: &'s mut Room,
    pub sink: &'s mut S,
}

type Sent = Result<io::Result<Option<Object>>, LaneError>;

impl<S: Sink> Pieces<'_, S> {
    /// Sends a file, again while it changes under the reading, but not for ever. The inner error is the file's, not the lane's.
    pub(super) fn send(&mut self, file: &impl VolumeFile, mut begun: Object) -> Result<io::Result<()>, LaneError> {
        for attempt in 1..=ATTEMPTS {
            let last = attempt == ATTEMPTS;
            let sent = if begun.size <= SMALL_LEN { self.small(file, &begun, last) } else { self.large(file, &begun, last) };
            match sent? {
                Ok(None) => return Ok(Ok(())),
                Ok(Some(changed)) => begun = changed,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// Sends a small file in one message, unless it changed while it was read: then returns what it is now.
    fn small(&mut self, file: &impl VolumeFile, begun: &Object, last: bool) -> Sent {
        let buffer = &mut self.room.buffer[..begun.size as usize + 1];
        let read = file.read_at(buffer, 0).and_then(|read| Ok((read, file.object()?)));
        let (read, now) = match read {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        if !last && (now.stamp != begun.stamp || read as u64 != begun.size) {
            return Ok(Ok(Some(now)));
        }
        let data = &buffer[..read];
        let end = FileEnd { size: read as u64, root: Root::of(data), attrs: now.attrs };
        let (encoding, payload) = self.room.packer.pack(data);
        self.sink.send(&LaneDown::Small { file: self.number, size: read as u32, encoding, end }, payload)?;
        Ok(Ok(None))
    }

    /// Sends a large file in pieces; if it changed while it was read, returns what it is now, without an end.
    fn large(&mut self, file: &impl VolumeFile, begun: &Object, last: bool) -> Sent {
        self.sink.send(&LaneDown::Begin { file: self.number, size: begun.size }, &[])?;
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        let mut stretch = None;
        while at < begun.size {
            let known = stretch.filter(|(end, _)| at < *end).map_or_else(|| find_stretch(file, at, begun.size), Ok);
            let (end, hole) = match known {
                Ok(found) => found,
                Err(error) => return Ok(Err(error)),
            };
            stretch = Some((end, hole));
            if hole {
                hash_zeros(&mut hasher, end - at);
                self.sink.send(&LaneDown::Hole { file: self.number, len: end - at }, &[])?;
                at = end;
                continue;
            }
            let len = (end - at).min(PIECE_LEN as u64) as usize;
            let data = match file.read_at(&mut self.room.buffer[..len], at) {
                Ok(0) => break,
                Ok(read) => &self.room.buffer[..read],
                Err(error) => return Ok(Err(error)),
            };
            hasher.update(data);
            at += data.len() as u64;
            let (encoding, payload) = self.room.packer.pack(data);
            self.sink.send(&LaneDown::Data { file: self.number, len: data.len() as u32, encoding }, payload)?;
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

/// The end of the stretch at `at`, and whether it is a hole.
fn find_stretch(file: &impl VolumeFile, at: u64, size: u64) -> io::Result<(u64, bool)> {
    file.stretch(at).map(|stretch| (stretch.end.min(size), stretch.hole))
}

fn hash_zeros(hasher: &mut blake3::Hasher, mut len: u64) {
    while len > 0 {
        let piece = len.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..piece as usize]);
        len -= piece;
    }
}
