//! The edge to files that only spare work: fast because nothing of them is durable, and trusted only after an orderly end.
//!
//! Two implementations: [`DirectoryShelf`] here, and the simulated one in [`crate::sim`].

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use standin_common::disk::{self, Mode};

use crate::store::{DirectoryLog, LogFile};

/// Says that the shelf was sealed.
const SEAL: &str = "sealed";

/// Files in a directory of their own. After a crash any of them may be gone, torn, or one that was removed long ago; the seal tells.
/// Names are ours alone, never a peer's.
pub trait Shelf: Send + Sync + fmt::Debug {
    /// Makes an empty file, in the place of one that is there.
    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>>;
    /// Opens a file, `None` if there is none.
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn LogFile>>>;
    /// Renames a file over another.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; nothing to do if it is gone.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Makes all files durable, then a seal that says so.
    fn seal(&self) -> io::Result<()>;
    /// Takes the seal off, durably, before anything of the shelf is used or what it speaks of changes; returns whether there was one.
    fn unseal(&self) -> io::Result<bool>;
    /// Whether there is a seal, which stays.
    fn is_sealed(&self) -> io::Result<bool>;
}

/// A shelf in a directory, which is made with its first file.
#[derive(Debug, Clone)]
pub struct DirectoryShelf {
    directory: PathBuf,
}

impl DirectoryShelf {
    /// In this directory.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        disk::sync_directory(&self.directory).map_err(io::Error::from)
    }
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

impl Shelf for DirectoryShelf {
    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        let path = self.path(name);
        let file = match DirectoryLog::create(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk::create_private_dir(&self.directory).map_err(io::Error::from)?;
                DirectoryLog::create(&path)?
            }
            file => file?,
        };
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn LogFile>>> {
        let opened = unless_gone(DirectoryLog::open(&self.path(name)))?;
        Ok(opened.map(|file| Box::new(file) as Box<dyn LogFile>))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        // What replaces something is written out at once by ext4 (auto_da_alloc), for the sake of those who never sync.
        self.remove(to)?;
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        unless_gone(fs::remove_file(self.path(name))).map(drop)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let Some(entries) = unless_gone(fs::read_dir(&self.directory))? else { return Ok(Vec::new()) };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        let names = names.collect::<io::Result<Vec<_>>>()?;
        Ok(names.into_iter().flatten().filter(|name| name != SEAL).collect())
    }

    fn seal(&self) -> io::Result<()> {
        let names = self.names()?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            File::open(self.path(&name))?.sync_all()?;
        }
        self.sync_names()?;
        disk::replace(&self.path(SEAL), b"", Mode::Private).map_err(io::Error::from)
    }

    fn unseal(&self) -> io::Result<bool> {
        let sealed = unless_gone(fs::remove_file(self.path(SEAL)))?.is_some();
        if sealed {
            self.sync_names()?;
        }
        Ok(sealed)
    }

    fn is_sealed(&self) -> io::Result<bool> {
        self.path(SEAL).try_exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_there_until_it_is_taken_off() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = DirectoryShelf::new(directory.path().join("shelf"));
        assert!(!shelf.unseal().unwrap());
        assert!(shelf.open("one").unwrap().is_none() && shelf.names().unwrap().is_empty());
        shelf.remove("one").unwrap();
        shelf.create("one").unwrap().append(&[b"1"]).unwrap();
        shelf.rename("one", "two").unwrap();
        shelf.seal().unwrap();
        assert_eq!(shelf.names().unwrap(), ["two"]);
        assert!(shelf.is_sealed().unwrap() && shelf.unseal().unwrap());
        assert!(!shelf.unseal().unwrap() && !shelf.is_sealed().unwrap());
        let mut found = [0; 2];
        let mut opened = shelf.open("two").unwrap().unwrap();
        opened.append(&[b"2"]).unwrap();
        assert_eq!((opened.read_at(&mut found, 0).unwrap(), found), (2, *b"12"));
        assert_eq!(shelf.create("two").unwrap().len(), 0);
    }
}
