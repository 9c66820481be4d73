//! The simulated state directory.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::Disk;
use super::shelf::SimShelf;
use crate::shelf::Shelf;
use crate::store::{LogFile, Store};

#[derive(Debug, Default, Clone)]
pub(super) struct Contents {
    pub data: Vec<u8>,
    pub durable: Vec<u8>,
    /// Whether a crash may forget that there is such a file.
    new: bool,
    /// What a crash may find instead, since the file was cut and that is not durable.
    uncut: Option<Vec<u8>>,
}

pub(super) type Shared = Arc<Mutex<Contents>>;

type Files = Arc<Mutex<BTreeMap<String, Shared>>>;

/// A state directory in memory. Replacing, renaming and removing are durable at once, as [`Store`] promises; appending and forgetting
/// are not.
#[derive(Debug, Clone)]
pub struct SimStore {
    disk: Disk,
    files: Files,
    forgotten: Files,
    shelves: Arc<Mutex<BTreeMap<String, SimShelf>>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimStore {
    /// An empty one on a disk.
    pub fn new(disk: Disk) -> Self {
        Self { disk, files: Arc::default(), forgotten: Arc::default(), shelves: Arc::default() }
    }

    /// What is found after a crash: of what was appended without a sync, a piece of any length, its last byte maybe wrong.
    pub fn after_crash(&self) -> Self {
        let restored = Self::new(self.disk.clone());
        let (files, forgotten) = (lock(&self.files), lock(&self.forgotten));
        for (name, file) in forgotten.iter().filter(|(name, _)| !files.contains_key(*name)).chain(files.iter()) {
            let contents = lock(file).clone();
            let gone = contents.new || !files.contains_key(name);
            if gone && self.disk.random(|random| random.one_in(2)) {
                continue;
            }
            let mut found = contents.durable.clone();
            if let Some(uncut) = contents.uncut.filter(|_| self.disk.random(|random| random.one_in(2))) {
                found = uncut;
            } else if let Some(unsynced) = contents.data.get(found.len()..).filter(|unsynced| !unsynced.is_empty()) {
                let kept = self.disk.random(|random| random.below(unsynced.len() as u64 + 1)) as usize;
                found.extend_from_slice(&unsynced[..kept]);
                if kept > 0 && self.disk.random(|random| random.one_in(2)) {
                    let last = found.len() - 1;
                    found[last] ^= 0x55;
                }
            }
            let contents = Contents { data: found.clone(), durable: found, ..Contents::default() };
            lock(&restored.files).insert(name.clone(), Arc::new(Mutex::new(contents)));
        }
        for (name, shelf) in lock(&self.shelves).iter() {
            lock(&restored.shelves).insert(name.clone(), shelf.after_crash());
        }
        restored
    }
}

impl SimStore {
    /// Bytes in all files whose names end like this, and how many those are.
    pub fn size_of(&self, ending: &str) -> (usize, usize) {
        let files = lock(&self.files);
        let sizes: Vec<_> =
            files.iter().filter(|(name, _)| name.ends_with(ending)).map(|(_, file)| lock(file).data.len()).collect();
        (sizes.iter().sum(), sizes.len())
    }

    /// A copy that shares nothing, on a disk of its own.
    pub fn snapshot(&self, disk: Disk) -> Self {
        let copy = Self::new(disk.clone());
        for (name, shelf) in lock(&self.shelves).iter() {
            lock(&copy.shelves).insert(name.clone(), shelf.snapshot(disk.clone()));
        }
        for (name, file) in lock(&self.files).iter() {
            lock(&copy.files).insert(name.clone(), Arc::new(Mutex::new(lock(file).clone())));
        }
        copy
    }
}

impl Store for SimStore {
    type Log = SimLog;

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.disk.operation(false)?;
        Ok(lock(&self.files).get(name).map(|file| lock(file).data.clone()))
    }

    fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.disk.operation(true)?;
        let contents = Contents { data: contents.to_vec(), durable: contents.to_vec(), ..Contents::default() };
        lock(&self.files).insert(name.to_owned(), Arc::new(Mutex::new(contents)));
        Ok(())
    }

    fn open_log(&self, name: &str) -> io::Result<SimLog> {
        self.disk.operation(true)?;
        let new = || Arc::new(Mutex::new(Contents { new: true, ..Contents::default() }));
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
            contents.data.extend_from_slice(&piece[..kept]);
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
        if contents.durable.len() as u64 > len && contents.uncut.is_none() {
            contents.uncut = Some(contents.durable.clone());
        }
        contents.data.truncate(len as usize);
        contents.durable.truncate(len as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operation(false)?;
        let mut contents = lock(&self.file);
        contents.durable = contents.data.clone();
        contents.new = false;
        contents.uncut = None;
        Ok(())
    }
}
