//! The simulated state directory.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, Lie};
use super::random::Random;
use super::shelf::SimShelf;
use crate::shelf::Shelf;
use crate::store::{LogFile, Store};

/// The unit in which a disk writes.
const SECTOR: usize = 512;

/// A file; a copy shares its data until one of them changes.
#[derive(Debug, Default, Clone)]
pub(super) struct Contents {
    pub data: Arc<Vec<u8>>,
    /// How much of it is durable.
    pub synced: usize,
    /// Whether a crash may forget that there is such a file.
    new: bool,
    /// What was durable before a truncation that is not.
    before: Option<Arc<Vec<u8>>>,
}

impl Contents {
    fn durable(data: Vec<u8>) -> Self {
        Self { synced: data.len(), data: Arc::new(data), new: false, before: None }
    }

    /// Everything is durable from now on.
    pub(super) fn sync(&mut self) {
        *self = Self { synced: self.data.len(), data: self.data.clone(), new: false, before: None };
    }

    /// What a crash leaves: of what was appended without a sync, a piece of any length with gaps, its last byte maybe wrong. A truncation
    /// that was not synced may not have happened, nor what came after it.
    fn after_crash(&self, random: &mut Random) -> Self {
        if let Some(before) = self.before.as_ref().filter(|_| random.one_in(2)) {
            return Self::durable(before.to_vec());
        }
        let unsynced = self.data.len() - self.synced;
        let kept = if random.one_in(3) { unsynced } else { random.below(unsynced as u64 + 1) as usize };
        let mut found = self.data[..self.synced + kept].to_vec();
        // Its length may be durable before its data: sectors that were not written read as zeros.
        for sector in found[self.synced..].chunks_mut(SECTOR).filter(|_| random.one_in(8)) {
            sector.fill(0);
        }
        if kept > 0 && random.one_in(2) {
            let last = found.len() - 1;
            found[last] ^= 0x55;
        }
        Self::durable(found)
    }
}

pub(super) type Shared = Arc<Mutex<Contents>>;

type Files = BTreeMap<String, Shared>;
type Shelves = BTreeMap<String, SimShelf>;

/// A state directory in memory. Replacing, renaming and removing are durable at once, as [`Store`] promises; appending, truncating and
/// forgetting are not.
#[derive(Debug, Clone)]
pub struct SimStore {
    disk: Disk,
    files: Arc<Mutex<Files>>,
    forgotten: Arc<Mutex<Files>>,
    shelves: Arc<Mutex<Shelves>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shared(contents: Contents) -> Shared {
    Arc::new(Mutex::new(contents))
}

impl SimStore {
    /// An empty one on a disk.
    pub fn new(disk: Disk) -> Self {
        Self::of(disk, Files::new(), Shelves::new())
    }

    fn of(disk: Disk, files: Files, shelves: Shelves) -> Self {
        let (files, shelves) = (Arc::new(Mutex::new(files)), Arc::new(Mutex::new(shelves)));
        Self { disk, files, forgotten: Arc::default(), shelves }
    }

    /// What is found after a crash.
    pub fn after_crash(&self) -> Self {
        let (files, forgotten) = (lock(&self.files), lock(&self.forgotten));
        let all = forgotten.iter().filter(|(name, _)| !files.contains_key(*name)).chain(files.iter());
        let found = all.filter_map(|(name, file)| {
            let contents = lock(file);
            let gone = contents.new || !files.contains_key(name);
            let found = !gone || self.disk.random(|random| random.one_in(2));
            found.then(|| (name.clone(), shared(self.disk.random(|random| contents.after_crash(random)))))
        });
        let shelves = lock(&self.shelves).iter().map(|(name, shelf)| (name.clone(), shelf.after_crash())).collect();
        Self::of(self.disk.clone(), found.collect(), shelves)
    }

    /// A copy that shares nothing, on a disk of its own.
    pub fn snapshot(&self, disk: Disk) -> Self {
        let files = lock(&self.files).iter().map(|(name, file)| (name.clone(), shared(lock(file).clone()))).collect();
        let shelves = lock(&self.shelves).iter().map(|(name, shelf)| (name.clone(), shelf.snapshot(disk.clone()))).collect();
        Self::of(disk, files, shelves)
    }

    /// Every file with what is in it, for comparison.
    pub fn contents(&self) -> BTreeMap<String, Arc<Vec<u8>>> {
        lock(&self.files).iter().map(|(name, file)| (name.clone(), lock(file).data.clone())).collect()
    }

    /// Bytes in all files whose names end like this, and how many those are.
    pub fn size_of(&self, ending: &str) -> (usize, usize) {
        let files = lock(&self.files);
        let sizes: Vec<_> =
            files.iter().filter(|(name, _)| name.ends_with(ending)).map(|(_, file)| lock(file).data.len()).collect();
        (sizes.iter().sum(), sizes.len())
    }
}

impl Store for SimStore {
    type Log = SimLog;

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.disk.operation(false)?;
        Ok(lock(&self.files).get(name).map(|file| lock(file).data.to_vec()))
    }

    fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.disk.operation(true)?;
        lock(&self.files).insert(name.to_owned(), shared(Contents::durable(contents.to_vec())));
        Ok(())
    }

    fn open_log(&self, name: &str) -> io::Result<SimLog> {
        self.disk.operation(true)?;
        let new = || shared(Contents { new: true, ..Contents::default() });
        let file = lock(&self.files).entry(name.to_owned()).or_insert_with(new).clone();
        Ok(SimLog { disk: self.disk.clone(), file })
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.disk.operation(false)?;
        Ok(lock(&self.files).contains_key(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.operation(false)?;
        let mut files = lock(&self.files);
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        lock(&file).new = false;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.operation(false)?;
        lock(&self.files).remove(name);
        lock(&self.forgotten).remove(name);
        Ok(())
    }

    fn forget(&self, name: &str) -> io::Result<()> {
        self.disk.operation(false)?;
        if let Some(file) = lock(&self.files).remove(name).filter(|file| !lock(file).new) {
            lock(&self.forgotten).insert(name.to_owned(), file);
        }
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.operation(false)?;
        Ok(lock(&self.files).keys().cloned().collect())
    }

    fn shelf(&self, name: &str) -> Box<dyn Shelf> {
        Box::new(lock(&self.shelves).entry(name.to_owned()).or_insert_with(|| SimShelf::new(self.disk.clone())).clone())
    }
}

/// A log of a [`SimStore`].
#[derive(Debug)]
pub struct SimLog {
    pub(super) disk: Disk,
    pub(super) file: Shared,
}

impl LogFile for SimLog {
    fn append(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        let failed = self.disk.operation(true);
        let mut contents = lock(&self.file);
        for piece in pieces {
            // The operation at which the machine crashes may have happened, in part.
            let kept = if failed.is_ok() { piece.len() } else { piece.len() / 2 };
            Arc::make_mut(&mut contents.data).extend_from_slice(&piece[..kept]);
        }
        failed
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.operation(false)?;
        let contents = lock(&self.file);
        let rest = contents.data.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn len(&self) -> u64 {
        lock(&self.file).data.len() as u64
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.disk.operation(false)?;
        let mut contents = lock(&self.file);
        let len = len as usize;
        if len < contents.synced {
            let synced = contents.synced;
            let before = contents.data[..synced].to_vec();
            contents.before.get_or_insert_with(|| Arc::new(before));
            contents.synced = len;
        }
        Arc::make_mut(&mut contents.data).truncate(len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operation(false)?;
        if !self.disk.lies(Lie::LogSync) {
            lock(&self.file).sync();
        }
        Ok(())
    }
}
