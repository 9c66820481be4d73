//! The durable record of what may differ from the standby: the file `activity` in the set's state directory.
//!
//! A place is in it, durably, before it changes. So after an end without goodbye, of the daemon or of the machine, these places are
//! compared by their data, and all others by their attributes. It is coarse and batched as an activity log is: a place that is in it costs
//! nothing however often it changes, the first change of a place waits for one `fdatasync`, and many that come at once share it. A
//! directory in which names change is one place, with the files right in it. Places at rest are taken out from time to time.
//!
//! The file is sixteen bytes that say what it is, and then entries: length of the rest (two bytes, little-endian), four bytes of the BLAKE3
//! hash of the rest, and the rest in `postcard`. What follows the first entry that is not sound was never waited for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use standin_common::disk::{self, DiskError, Mode};
use standin_common::id::RootIndex;
use standin_common::path::RelPath;

const MAGIC: &[u8; 16] = b"standin active 1";
const HEAD: usize = 2 + 4;
const FILE: &str = "activity";
/// More places than this are a whole root.
const MOST: usize = 100_000;

/// How much of what is at a place may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reach {
    /// The object: its data and attributes.
    Object,
    /// A directory and which names it holds, with the files right in it.
    Names,
    /// Everything from here on.
    Subtree,
}

/// A place that may differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Active {
    /// The root.
    pub root: RootIndex,
    /// Where beneath it.
    pub path: RelPath,
    /// How much of it.
    pub reach: Reach,
}

/// See the module.
#[derive(Debug)]
pub struct Activity {
    path: PathBuf,
    inner: Mutex<Inner>,
    changed: Condvar,
    turn: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    /// With the turn in which it was asked for last, and the number of the write that makes it durable.
    places: BTreeMap<Active, Place>,
    file: File,
    /// Where the next entry goes.
    end: u64,
    waiting: Vec<u8>,
    /// Writes that were begun, and the last of them that is durable.
    begun: u64,
    durable: u64,
    /// Whether somebody writes.
    busy: bool,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    turn: u64,
    write: u64,
}

impl Activity {
    /// Opens the record of a set, made if it is not there. Returns what was in it, or `None` if that cannot be told: then anything
    /// may differ.
    pub fn open(directory: &Path) -> Result<(Self, Option<Vec<Active>>), DiskError> {
        let path = directory.join(FILE);
        let before = disk::read_optional(&path)?;
        let known = before.as_ref().map_or_else(|| Some(Vec::new()), |bytes| read(bytes));
        let places: BTreeMap<_, _> = known.iter().flatten().map(|active| (active.clone(), Place { turn: 1, write: 0 })).collect();
        let (file, end) = write_anew(&path, places.keys())?;
        let inner = Inner { places, file, end, waiting: Vec::new(), begun: 0, durable: 0, busy: false };
        Ok((Self { path, inner: Mutex::new(inner), changed: Condvar::new(), turn: AtomicU64::new(1) }, known))
    }

    /// Counts how often the record was tidied: what was asked for in this turn is in the record as long as it lasts.
    pub fn turn(&self) -> u64 {
        self.turn.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when these places are in the record, durably, and whether one of them was not before. An error if that fails: then nothing
    /// may change there.
    pub fn note(&self, places: &[Active]) -> io::Result<bool> {
        let turn = self.turn();
        let mut inner = self.lock();
        let (before, mut until) = (inner.places.len(), 0);
        for place in places {
            until = until.max(inner.add(place.clone(), turn));
        }
        let is_new = inner.places.len() > before;
        while inner.durable < until {
            if inner.busy {
                inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            inner.busy = true;
            let (bytes, at, write) = (std::mem::take(&mut inner.waiting), inner.end, inner.begun);
            let file = inner.file.try_clone();
            drop(inner);
            let written = file.and_then(|file| file.write_all_at(&bytes, at).and_then(|()| file.sync_data()));
            inner = self.lock();
            inner.busy = false;
            self.changed.notify_all();
            match written {
                Ok(()) => {
                    inner.end += bytes.len() as u64;
                    inner.durable = inner.durable.max(write);
                }
                Err(error) => {
                    // Whatever waited for it is refused, and written anew by whoever asks again.
                    let durable = inner.durable;
                    inner.places.retain(|_, place| place.write <= durable);
                    inner.waiting.clear();
                    inner.durable = inner.begun;
                    return Err(error);
                }
            }
        }
        // The write of somebody else may have failed that this waited for.
        match places.iter().all(|place| inner.has(place)) {
            true => Ok(is_new),
            false => Err(io::Error::other("the record of what may differ from the standby cannot be written")),
        }
    }

    /// How many places are in the record, and how many bytes it takes.
    pub fn size(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.places.len() as u64, inner.end)
    }

    #[cfg(test)]
    pub(super) fn contents(&self) -> (Vec<Active>, u64) {
        let inner = self.lock();
        (inner.places.keys().cloned().collect(), inner.end)
    }

    /// Begins a new turn: what is not asked for from now on until [`Activity::rest`] is at rest. To be called when everything that
    /// changed until now is at the standby.
    pub fn begin_turn(&self) -> u64 {
        self.turn.fetch_add(1, Relaxed) + 1
    }

    /// Takes out what was not asked for since before the turn `since`; it has to be durable at the standby and here. Returns how many
    /// places went.
    pub fn rest(&self, since: u64) -> Result<usize, DiskError> {
        let mut inner = self.lock();
        while inner.busy || inner.durable < inner.begun {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        let stays: BTreeMap<_, _> = inner
            .places
            .iter()
            .filter(|(_, place)| place.turn >= since)
            .map(|(active, place)| (active.clone(), *place))
            .collect();
        let gone = inner.places.len() - stays.len();
        if gone > 0 {
            // Held meanwhile: what is noted goes into the new file.
            (inner.file, inner.end) = write_anew(&self.path, stays.keys())?;
            inner.places = stays;
            // Those who take a place to be in the record ask again.
            self.turn.fetch_add(1, Relaxed);
        }
        Ok(gone)
    }
}

impl Inner {
    /// Adds a place; returns the number of the write after which it is in the record.
    fn add(&mut self, active: Active, turn: u64) -> u64 {
        if let Some(place) = self.places.get_mut(&active) {
            place.turn = turn;
            return place.write;
        }
        if let Some(above) = self.subtree_above(&active) {
            above.turn = turn;
            return above.write;
        }
        let root = Active { root: active.root, path: RelPath::root(), reach: Reach::Subtree };
        if self.places.len() >= MOST && active != root {
            return self.add(root, turn);
        }
        encode(&active, &mut self.waiting);
        // All that waits together is one write.
        if self.begun == self.durable || self.busy {
            self.begun += 1;
        }
        let place = Place { turn, write: self.begun };
        self.places.insert(active, place);
        place.write
    }

    fn has(&mut self, active: &Active) -> bool {
        self.places.contains_key(active) || self.subtree_above(active).is_some()
    }

    fn subtree_above(&mut self, active: &Active) -> Option<&mut Place> {
        let mut path = Some(active.path.clone());
        while let Some(above) = path {
            let key = Active { root: active.root, path: above, reach: Reach::Subtree };
            if self.places.contains_key(&key) {
                return self.places.get_mut(&key);
            }
            path = key.path.parent();
        }
        None
    }
}

fn encode(active: &Active, into: &mut Vec<u8>) {
    // Plain data of known lengths always has a form, at most 32 KiB and some long.
    let body = postcard::to_stdvec(active).unwrap_or_default();
    into.extend_from_slice(&(body.len() as u16).to_le_bytes());
    into.extend_from_slice(&blake3::hash(&body).as_bytes()[..4]);
    into.extend_from_slice(&body);
}

/// A new file in place of the old one, durable.
fn write_anew<'a>(path: &Path, places: impl Iterator<Item = &'a Active>) -> Result<(File, u64), DiskError> {
    let mut bytes = MAGIC.to_vec();
    places.for_each(|active| encode(active, &mut bytes));
    disk::replace(path, &bytes, Mode::Private)?;
    let file = File::options().read(true).write(true).open(path).map_err(DiskError::at("open", path))?;
    Ok((file, bytes.len() as u64))
}

/// What a record holds; `None` if it is none.
fn read(bytes: &[u8]) -> Option<Vec<Active>> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut places = Vec::new();
    while let Some(entry) = read_entry(&mut rest) {
        places.push(entry);
    }
    Some(places)
}

fn read_entry(rest: &mut &[u8]) -> Option<Active> {
    let mut head = [0; HEAD];
    rest.read_exact(&mut head).ok()?;
    let len = usize::from(u16::from_le_bytes([head[0], head[1]]));
    let (body, after) = rest.split_at_checked(len)?;
    *rest = after;
    let sound = blake3::hash(body).as_bytes()[..4] == head[2..];
    if sound { postcard::from_bytes(body).ok() } else { None }
}

#[cfg(test)]
#[path = "activity_tests.rs"]
mod tests;
