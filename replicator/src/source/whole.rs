//! A file sent whole, in one message or in pieces.

use std::io;

use standin_common::message::{FileEnd, LaneDown};
use standin_common::tree::Root;

use super::lane::{LaneError, Room, Sink, tuned};
use crate::mirror::SMALL_LEN;
use crate::volume::{Object, VolumeFile};

/// Bytes of a piece of a whole file: it stays in a core's cache while it is read, hashed and sent.
pub(super) const PIECE_LEN: usize = 512 * 1024;
/// Bytes of a piece where the link is so slow that size counts most: each is packed by itself.
const LONG_PIECE_LEN: usize = 2 * PIECE_LEN;
/// The zstd level from which pieces are long.
const LONG_FROM_LEVEL: i32 = 6;
/// The longest hole sent at once: hashing its zeros takes a fraction of a second, and whoever stops a mirror waits no longer.
const HOLE_LEN: u64 = 1 << 30;
/// Zeros hashed at a time.
static ZEROS: [u8; 128 * 1024] = [0; 128 * 1024];

/// One whole file on its way.
pub(super) struct Pieces<'s, S> {
    pub number: u64,
    pub room: &'s mut Room,
    pub sink: &'s mut S,
}

/// How the reading of a file ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// At its end.
    Proper,
    /// It changed meanwhile, and has no end yet.
    Changed,
}

/// The inner error is the file's, not the lane's.
type Outcome = Result<io::Result<Ended>, LaneError>;

impl<S: Sink> Pieces<'_, S> {
    /// Sends a file; in the `last` attempt also if it changes under the reading.
    pub(super) fn send(&mut self, file: &impl VolumeFile, begun: &Object, last: bool) -> Outcome {
        if begun.size <= SMALL_LEN { self.small(file, begun, last) } else { self.large(file, begun, last) }
    }

    /// Sends a small file in one message, unless it changed while it was read.
    fn small(&mut self, file: &impl VolumeFile, begun: &Object, last: bool) -> Outcome {
        let buffer = &mut self.room.buffer[..begun.size as usize + 1];
        let read = file.read_at(buffer, 0).and_then(|read| Ok((read, file.object()?)));
        let (read, now) = match read {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        if !last && (now.stamp != begun.stamp || read as u64 != begun.size) {
            return Ok(Ok(Ended::Changed));
        }
        let data = &buffer[..read];
        let end = FileEnd { size: read as u64, root: Root::of(data), attrs: now.attrs };
        let (encoding, payload) = tuned(&mut self.room.packer, self.sink).pack(data);
        self.sink.send(&LaneDown::Small { file: self.number, size: read as u32, encoding, end }, payload)?;
        Ok(Ok(Ended::Proper))
    }

    /// Sends only what a small file is, unless it changed while it was read.
    pub(super) fn check(&mut self, file: &impl VolumeFile, begun: &Object) -> Outcome {
        let buffer = &mut self.room.buffer[..begun.size as usize + 1];
        let (read, now) = match file.read_at(buffer, 0).and_then(|read| Ok((read, file.object()?))) {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        if now.stamp != begun.stamp || read as u64 != begun.size {
            return Ok(Ok(Ended::Changed));
        }
        let end = FileEnd { size: begun.size, root: Root::of(&buffer[..read]), attrs: now.attrs };
        self.sink.send(&LaneDown::Check { file: self.number, end }, &[])?;
        Ok(Ok(Ended::Proper))
    }

    /// Sends a large file in pieces, and their end unless it changed while it was read.
    fn large(&mut self, file: &impl VolumeFile, begun: &Object, last: bool) -> Outcome {
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
                let len = (end - at).min(HOLE_LEN);
                hash_zeros(&mut hasher, len);
                self.sink.send(&LaneDown::Hole { file: self.number, len }, &[])?;
                at += len;
                continue;
            }
            let long = self.sink.packing().and_then(|packing| packing.level).is_some_and(|level| level >= LONG_FROM_LEVEL);
            let len = (end - at).min(if long { LONG_PIECE_LEN } else { PIECE_LEN } as u64) as usize;
            if self.room.buffer.len() < len {
                self.room.buffer.resize(len, 0);
            }
            let data = match file.read_at(&mut self.room.buffer[..len], at) {
                Ok(0) => break,
                Ok(read) => &self.room.buffer[..read],
                Err(error) => return Ok(Err(error)),
            };
            hasher.update(data);
            at += data.len() as u64;
            let (encoding, payload) = tuned(&mut self.room.packer, self.sink).pack(data);
            self.sink.send(&LaneDown::Data { file: self.number, len: data.len() as u32, encoding }, payload)?;
        }
        let now = match file.object() {
            Ok(now) => now,
            Err(error) => return Ok(Err(error)),
        };
        if !last && now.stamp != begun.stamp {
            return Ok(Ok(Ended::Changed));
        }
        let end = FileEnd { size: at, root: Root(*hasher.finalize().as_bytes()), attrs: now.attrs };
        self.sink.send(&LaneDown::End { file: self.number, end }, &[])?;
        Ok(Ok(Ended::Proper))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use standin_common::id::RootIndex;
    use standin_common::message::{Position, Want};
    use standin_common::path::RelPath;

    use super::*;
    use crate::os::OsVolume;
    use crate::source::lane::{Lane, Packing};

    #[derive(Default)]
    struct Rebuilt {
        data: Vec<u8>,
        holes: u64,
        end: Option<FileEnd>,
    }

    impl Sink for Rebuilt {
        fn send(&mut self, message: &LaneDown, payload: &[u8]) -> Result<(), LaneError> {
            match message {
                LaneDown::Data { .. } => self.data.extend_from_slice(payload),
                LaneDown::Hole { len, .. } => {
                    self.data.resize(self.data.len() + *len as usize, 0);
                    self.holes += len;
                }
                LaneDown::End { end, .. } => self.end = Some(end.clone()),
                LaneDown::Gone { why, .. } => panic!("{why:?}"),
                _ => {}
            }
            Ok(())
        }
    }

    #[test]
    fn holes_are_named_and_all_else_is_sent() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = std::fs::File::create(directory.path().join("sparse")).unwrap();
        for (at, len) in [(0, 700_000), (2 << 20, 1_500_000), (6 << 20, 10)] {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&vec![7; len]).unwrap();
        }
        file.set_len(7 << 20).unwrap();
        let volumes = [OsVolume::open_source(directory.path()).unwrap()];
        let at = Position { root: RootIndex(0), path: RelPath::new("sparse").unwrap() };
        let mut rebuilt = Rebuilt::default();
        let mut lane = Lane::new(&volumes, Packing { level: None });
        lane.start(Want { file: 1, at, size: 7 << 20, whole: true }, &mut rebuilt).unwrap();
        let data = std::fs::read(directory.path().join("sparse")).unwrap();
        let end = rebuilt.end.unwrap();
        assert!(rebuilt.data == data && end.root == Root::of(&data) && end.size == data.len() as u64);
        // Not every file system keeps holes, and none keeps them to the byte.
        assert!(rebuilt.holes % 512 == 0 && rebuilt.holes < data.len() as u64 - 2_200_000);
    }
}
