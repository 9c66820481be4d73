//! The simulated shelf: after a crash its files are gone, torn, or old ones that were removed, as the seed decides.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::Disk;
use super::store::{Shared, SimLog, lock};
use crate::shelf::Shelf;
use crate::store::LogFile;

#[derive(Debug, Default, Clone)]
struct Files {
    files: BTreeMap<String, Shared>,
    /// What was removed or replaced since the last seal.
    ghosts: Vec<(String, Shared)>,
    sealed: bool,
}

/// A shelf in memory. Its seal is durable at once, as [`Shelf`] promises, and so is what was sealed; all else is not.
#[derive(Debug, Clone)]
pub struct SimShelf {
    disk: Disk,
    state: Arc<Mutex<Files>>,
}

fn copy(file: &Shared) -> Shared {
    Arc::new(Mutex::new(lock(file).clone()))
}

impl SimShelf {
    pub(super) fn new(disk: Disk) -> Self {
        Self { disk, state: Arc::default() }
    }

    pub(super) fn after_crash(&self) -> Self {
        let found = self.snapshot(self.disk.clone());
        {
            let mut state = lock(&found.state);
            for (name, ghost) in std::mem::take(&mut state.ghosts) {
                if self.disk.random(|random| random.one_in(2)) {
                    state.files.insert(name, ghost);
                }
            }
            for file in state.files.values() {
                let mut contents = lock(file);
                let unsynced = (contents.data.len() - contents.synced) as u64;
                // Mostly all of it was written, which is what makes it tempting.
                if self.disk.random(|random| random.one_in(4)) {
                    let kept = contents.synced + self.disk.random(|random| random.below(unsynced + 1)) as usize;
                    Arc::make_mut(&mut contents.data).truncate(kept);
                }
                contents.sync();
            }
        }
        found
    }

    /// A copy that shares nothing, on a disk of its own.
    pub(super) fn snapshot(&self, disk: Disk) -> Self {
        let state = lock(&self.state);
        let files = state.files.iter().map(|(name, file)| (name.clone(), copy(file))).collect();
        let ghosts = state.ghosts.iter().map(|(name, file)| (name.clone(), copy(file))).collect();
        Self { disk, state: Arc::new(Mutex::new(Files { files, ghosts, sealed: state.sealed })) }
    }

    fn start(&self, takes_room: bool) -> io::Result<MutexGuard<'_, Files>> {
        self.disk.operation(takes_room)?;
        Ok(lock(&self.state))
    }

    fn log(&self, file: Shared) -> Box<dyn LogFile> {
        Box::new(SimLog { disk: self.disk.clone(), file })
    }
}

impl Files {
    fn put(&mut self, name: &str, file: Option<Shared>) {
        let before = match file {
            Some(file) => self.files.insert(name.to_owned(), file),
            None => self.files.remove(name),
        };
        self.ghosts.extend(before.map(|before| (name.to_owned(), before)));
    }
}

impl Shelf for SimShelf {
    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        let file = Shared::default();
        self.start(true)?.put(name, Some(file.clone()));
        Ok(self.log(file))
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn LogFile>>> {
        let file = self.start(false)?.files.get(name).cloned();
        Ok(file.map(|file| self.log(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.start(false)?;
        let file = state.files.get(from).cloned().ok_or(io::ErrorKind::NotFound)?;
        state.put(from, None);
        state.put(to, Some(file));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.start(false)?.put(name, None);
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.start(false)?.files.keys().cloned().collect())
    }

    fn seal(&self) -> io::Result<()> {
        let mut state = self.start(true)?;
        for file in state.files.values() {
            lock(file).sync();
        }
        state.ghosts.clear();
        state.sealed = true;
        Ok(())
    }

    fn unseal(&self) -> io::Result<bool> {
        Ok(std::mem::take(&mut self.start(false)?.sealed))
    }

    fn is_sealed(&self) -> io::Result<bool> {
        Ok(self.start(false)?.sealed)
    }
}
