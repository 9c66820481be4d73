//! The files of a picture, and what was put aside of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use standin_common::entry::Attrs;

use super::only_read;
use crate::volume::{Object, Stretch, VolumeFile};

/// What is put aside at once, in bytes: what is written is small beside it, and what is compared is as long.
const PIECE: u64 = 64 * 1024;

/// Memory for what is put aside.
#[derive(Debug)]
pub struct Room {
    state: Mutex<State>,
    changed: Condvar,
    limit: u64,
    /// How long somebody who finds no room waits.
    until: Instant,
}

#[derive(Debug, Default)]
struct State {
    taken: u64,
    spoilt: bool,
    over: bool,
}

impl Room {
    pub(super) fn new(limit: u64, patience: Duration) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), limit, until: Instant::now() + patience }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes so many bytes; `false` if there is no use for them, since nobody reads any more or there is no room.
    fn take(&self, len: u64) -> bool {
        let mut state = self.lock();
        while !state.over && !state.spoilt {
            if state.taken + len <= self.limit {
                state.taken += len;
                return true;
            }
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.spoilt = true;
                self.changed.notify_all();
            } else {
                state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        false
    }

    fn spoil(&self) {
        self.lock().spoilt = true;
        self.changed.notify_all();
    }

    pub(super) fn is_spoilt(&self) -> bool {
        self.lock().spoilt
    }

    pub(super) fn taken(&self) -> u64 {
        self.lock().taken
    }

    pub(super) fn over(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }
}

/// A file as it was, whatever names it has.
#[derive(Debug)]
pub(super) struct Kept<F> {
    file: F,
    object: Object,
    aside: Mutex<BTreeMap<u64, Box<[u8]>>>,
    room: Arc<Room>,
}

impl<F: VolumeFile> Kept<F> {
    pub(super) fn new(file: F, object: Object, room: Arc<Room>) -> Self {
        Self { file, object, aside: Mutex::default(), room }
    }

    fn aside(&self) -> MutexGuard<'_, BTreeMap<u64, Box<[u8]>>> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts aside what `start..end` holds, before it changes. Nobody else changes the file meanwhile.
    pub(super) fn keep(&self, start: u64, end: u64) {
        let end = end.min(self.object.size);
        if start >= end {
            return;
        }
        for piece in start / PIECE..end.div_ceil(PIECE) {
            if self.aside().contains_key(&piece) {
                continue;
            }
            let len = PIECE.min(self.object.size - piece * PIECE);
            if !self.room.take(len) {
                return;
            }
            let mut data = vec![0; len as usize].into_boxed_slice();
            match self.file.read_at(&mut data, piece * PIECE) {
                Ok(_) => drop(self.aside().insert(piece, data)),
                // The change goes on: whoever wrote is not to suffer for it.
                Err(_) => return self.room.spoil(),
            }
        }
    }

    /// What was put aside of a piece, from a byte in it on; `false` if nothing was.
    fn read_aside(&self, piece: u64, from: usize, into: &mut [u8]) -> bool {
        let aside = self.aside();
        let data = aside.get(&piece).and_then(|data| data.get(from..from + into.len()));
        data.map(|data| into.copy_from_slice(data)).is_some()
    }

    /// The next piece from `offset` on that was put aside.
    fn next_aside(&self, offset: u64) -> Option<u64> {
        self.aside().range(offset / PIECE..).next().map(|(piece, _)| *piece)
    }
}

/// An open file of a picture.
#[derive(Debug)]
pub struct PictureFile<F> {
    kept: Arc<Kept<F>>,
    /// As it was by the name by which it was opened.
    object: Object,
}

impl<F> PictureFile<F> {
    pub(super) fn new(kept: Arc<Kept<F>>, object: Object) -> Self {
        Self { kept, object }
    }
}

impl<F: VolumeFile> VolumeFile for PictureFile<F> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = (buffer.len() as u64).min(self.object.size.saturating_sub(offset)) as usize;
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let (piece, from) = (at / PIECE, (at % PIECE) as usize);
            let until = len.min(done + PIECE as usize - from);
            let part = &mut buffer[done..until];
            if !self.kept.read_aside(piece, from, part) {
                let read = self.kept.file.read_at(part, at)?;
                // Nothing changes before it is put aside: so what was not put aside until now was read as it was.
                if !self.kept.read_aside(piece, from, part) {
                    part[read..].fill(0);
                }
            }
            done = until;
        }
        Ok(len)
    }

    fn stretch(&self, offset: u64) -> io::Result<Stretch> {
        let size = self.object.size.max(offset + 1);
        let found = self.kept.file.stretch(offset);
        let data = Stretch { start: offset, end: size, hole: false };
        match self.kept.next_aside(offset) {
            // What it was before cannot be told any more; zeros are as good as a hole.
            Some(piece) if piece * PIECE <= offset => Ok(Stretch { end: ((piece + 1) * PIECE).min(size), ..data }),
            Some(piece) => found.map(|found| Stretch { end: found.end.min(piece * PIECE).min(size).max(offset + 1), ..found }),
            None => found.map(|found| Stretch { end: found.end.min(size).max(offset + 1), ..found }),
        }
    }

    fn object(&self) -> io::Result<Object> {
        Ok(self.object.clone())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(only_read())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(only_read())
    }

    fn punch(&self, _: u64, _: u64) -> io::Result<()> {
        Err(only_read())
    }

    fn set_attrs(&self, _: &Attrs) -> io::Result<()> {
        Err(only_read())
    }

    fn sync(&self) -> io::Result<()> {
        Err(only_read())
    }
}
