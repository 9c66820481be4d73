//! The edge to the state directory of a set: small files replaced as a whole, and logs that only grow.
//!
//! Two implementations: [`DirectoryStore`] here, and the simulated one in [`crate::sim`].

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use standin_common::disk::{self, DiskError, Mode};

use crate::os::{read_full_at, write_all_at};
use crate::shelf::{DirectoryShelf, Shelf};

/// A file that records are appended to.
pub trait LogFile: Send {
    /// Appends all of `pieces`, one after the other.
    fn append(&mut self, pieces: &[&[u8]]) -> io::Result<()>;
    /// Reads at `offset` until `buffer` is full or the file ends; returns the bytes read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Bytes in the file.
    fn len(&self) -> u64;
    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Forgets everything from `len` on.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Makes room for `len` bytes more: zeros, which are no part of the log. A sync need not make durable then that the file became longer,
    /// which takes the file system as long as the data. Whoever opens the log before [`LogFile::trim`] finds them at its end.
    fn reserve(&mut self, len: u64) -> io::Result<()> {
        let _ = len;
        Ok(())
    }
    /// Gives up that room, if there is some.
    fn trim(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Makes everything appended so far durable, with its length, and that there is such a file.
    fn sync(&self) -> io::Result<()>;
}

/// The files of one set in the state directory. Names are ours alone, never a peer's.
pub trait Store: Send + Sync {
    /// A log of this store.
    type Log: LogFile;

    /// The contents of a small file, `None` if there is none.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Replaces a small file, atomically and durably.
    fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()>;
    /// Opens a log, creating an empty one if there is none, which a crash forgets before [`LogFile::sync`].
    fn open_log(&self, name: &str) -> io::Result<Self::Log>;
    /// Whether a file is there.
    fn exists(&self, name: &str) -> io::Result<bool>;
    /// Renames a file over another, durably.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file, durably; nothing to do if it is gone.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Removes a file that may be there again after a crash; nothing to do if it is gone.
    fn forget(&self, name: &str) -> io::Result<()>;
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// A shelf of this store.
    fn shelf(&self, name: &str) -> Box<dyn Shelf>;
}

/// A store in a directory.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    directory: PathBuf,
}

impl DirectoryStore {
    /// In `directory`, which is made, for its owner only, if it is not there.
    pub fn open(directory: &Path) -> io::Result<Self> {
        disk::create_private_dir(directory).map_err(io::Error::from)?;
        Ok(Self { directory: directory.to_owned() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        disk::sync_directory(&self.directory).map_err(io::Error::from)
    }
}

impl Store for DirectoryStore {
    type Log = DirectoryLog;

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.path(name)) {
            Ok(contents) => Ok(Some(contents)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        disk::replace(&self.path(name), contents, Mode::Private).map_err(io::Error::from)
    }

    fn open_log(&self, name: &str) -> io::Result<DirectoryLog> {
        let path = self.path(name);
        let new = !path.exists();
        let log = DirectoryLog::of(OpenOptions::new().read(true).write(true).create(true).truncate(false), &path)?;
        log.new.store(new, Ordering::Relaxed);
        Ok(log)
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.path(name).try_exists()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))?;
        self.sync_names()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.forget(name)?;
        self.sync_names()
    }

    fn forget(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.directory)?.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        Ok(names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn shelf(&self, name: &str) -> Box<dyn Shelf> {
        Box::new(DirectoryShelf::new(self.path(name)))
    }
}

/// A log of a [`DirectoryStore`].
#[derive(Debug)]
pub struct DirectoryLog {
    file: File,
    path: PathBuf,
    len: u64,
    /// Zeros until here are no part of it.
    reserved: u64,
    /// Whether its name is not durable yet.
    new: AtomicBool,
}

impl DirectoryLog {
    fn of(options: &OpenOptions, path: &Path) -> io::Result<Self> {
        let file = options.open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, path: path.to_owned(), len, reserved: len, new: AtomicBool::new(false) })
    }

    /// One that is there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::of(OpenOptions::new().read(true).write(true), path)
    }

    /// An empty one, in the place of one that is there.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Self::of(OpenOptions::new().read(true).write(true).create(true).truncate(true), path)
    }
}

impl LogFile for DirectoryLog {
    fn append(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        write_all_at(&self.file, pieces, self.len).map_err(DiskError::at("write", &self.path))?;
        self.len += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        self.reserved = self.reserved.max(self.len);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let most = if self.reserved > self.len { self.len.saturating_sub(offset) } else { u64::MAX };
        let len = most.min(buffer.len() as u64) as usize;
        read_full_at(&self.file, &mut buffer[..len], offset)
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        (self.len, self.reserved) = (len, len);
        Ok(())
    }

    fn reserve(&mut self, len: u64) -> io::Result<()> {
        if self.reserved < self.len + len {
            // Written, since room that was only asked for is made durable like a longer file.
            let (start, end) = (self.reserved, self.len + len);
            // Before, so that what of it there is after an error goes with [`LogFile::trim`].
            self.reserved = end;
            write_all_at(&self.file, &[&vec![0; (end - start) as usize]], start).map_err(DiskError::at("write", &self.path))?;
        }
        Ok(())
    }

    fn trim(&mut self) -> io::Result<()> {
        if self.reserved > self.len { self.truncate(self.len) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data().map_err(DiskError::at("make durable", &self.path))?;
        if self.new.load(Ordering::Relaxed) {
            self.path.parent().map_or(Ok(()), disk::sync_directory)?;
            self.new.store(false, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_grows_and_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(directory.path()).unwrap();
        let mut log = store.open_log("log").unwrap();
        log.append(&[b"one", b"two"]).unwrap();
        log.truncate(4).unwrap();
        log.append(&[b"X"]).unwrap();
        log.sync().unwrap();
        let log = store.open_log("log").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(log.read_at(&mut buffer, 0).unwrap(), 5);
        assert_eq!(&buffer[..5], b"onetX");
    }

    #[test]
    fn what_is_not_there_is_none_and_may_be_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(directory.path()).unwrap();
        assert_eq!(store.read("state").unwrap(), None);
        store.remove("state").unwrap();
        store.replace("state", b"1").unwrap();
        store.rename("state", "old").unwrap();
        assert_eq!(store.read("old").unwrap(), Some(b"1".to_vec()));
        assert_eq!(store.names().unwrap(), ["old"]);
    }

    #[test]
    fn room_made_ahead_is_no_part_of_a_log() {
        let directory = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(directory.path()).unwrap();
        let on_disk = || std::fs::metadata(directory.path().join("log")).unwrap().len();
        let mut log = store.open_log("log").unwrap();
        log.append(&[b"one", b"", b"two"]).unwrap();
        log.reserve(1000).unwrap();
        assert_eq!((log.len(), on_disk()), (6, 1006));
        assert_eq!(log.read_at(&mut [0; 100], 0).unwrap(), 6);
        log.append(&[b"three"]).unwrap();
        log.reserve(100).unwrap();
        assert_eq!((log.len(), on_disk()), (11, 1006), "there is room for so much");
        log.trim().unwrap();
        log.trim().unwrap();
        assert_eq!(std::fs::read(directory.path().join("log")).unwrap(), b"onetwothree");
        log.reserve(10).unwrap();
        log.append(&[&[7; 30]]).unwrap();
        log.trim().unwrap();
        assert_eq!((log.len(), on_disk()), (41, 41));
    }
}
