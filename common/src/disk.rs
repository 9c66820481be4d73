//! Small durable files: replaced whole, or not at all.

#[cfg_attr(target_os = "linux", path = "disk/linux.rs")]
mod os;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What was attempted on which path, and how it failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} {}: {source}", path.display())]
pub struct DiskError {
    /// What was attempted, as in "cannot …".
    pub attempt: &'static str,
    /// Where.
    pub path: PathBuf,
    /// How it failed.
    pub source: io::Error,
}

impl DiskError {
    /// For `map_err`: the attempt and its place are known before, the failure after.
    pub fn at(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self { attempt, path, source }
    }
}

impl From<DiskError> for io::Error {
    /// Of the same kind, saying where.
    fn from(error: DiskError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The owner alone.
    Private,
    /// Everyone.
    Public,
}

/// Replaces the file at `path` by `bytes`. After an error or a crash it holds either the old bytes or the new ones; after `Ok` the new
/// ones survive a power cut.
///
/// A crash may leave a file `.NAME.*.new` beside it, which means nothing.
pub fn replace(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), DiskError> {
    let parent = directory_of(path);
    let (mut file, temporary) = create_beside(path, mode)?;
    let mut write = || -> Result<(), DiskError> {
        file.write_all(bytes).map_err(DiskError::at("write", &temporary))?;
        file.sync_all().map_err(DiskError::at("make durable", &temporary))?;
        fs::rename(&temporary, path).map_err(DiskError::at("put the new file in the place of", path))
    };
    if let Err(error) = write() {
        // The first error is the one to tell; a temporary file that stays does no harm.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_directory(parent)
}

/// A new file in the directory of `path`, so that a rename stays in one file system.
fn create_beside(path: &Path, mode: Mode) -> Result<(fs::File, PathBuf), DiskError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(DiskError::at("write", path)(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file")));
    };
    loop {
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{}.new", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let temporary = path.with_file_name(temporary);
        match os::create_new(&temporary, mode) {
            // Left by a crash of a process that had our number: take the next name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => return made.map(|file| (file, temporary.clone())).map_err(DiskError::at("create", &temporary)),
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a directory that only its owner may enter, and those above it. One that is there already is closed to others if they had
/// access; an error if it is not a directory.
pub fn create_private_dir(path: &Path) -> Result<(), DiskError> {
    os::create_private_dir(path).map_err(DiskError::at("create the private directory", path))?;
    let parent = directory_of(path);
    sync_directory(parent)
}

/// Makes durable which files a directory holds.
pub fn sync_directory(path: &Path) -> Result<(), DiskError> {
    os::sync_directory(path).map_err(DiskError::at("make durable the directory", path))
}

/// Removes a file durably; one that is not there is removed already.
pub fn remove(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(DiskError::at("remove", path)(error)),
        Ok(()) => sync_directory(directory_of(path)),
    }
}

/// A file's bytes, `None` if there is no such file.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DiskError::at("read", path)(error)),
    }
}

/// Who besides its owner may get at a file, as the platform writes it (`0644`); `None` if nobody.
pub fn open_to_others(path: &Path) -> Result<Option<String>, DiskError> {
    os::open_to_others(path).map_err(DiskError::at("look at the mode of", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers.json");
        assert_eq!(read_optional(&path).unwrap(), None);
        replace(&path, b"one", Mode::Public).unwrap();
        assert!(open_to_others(&path).unwrap().is_some());
        replace(&path, b"two", Mode::Private).unwrap();
        assert_eq!(read_optional(&path).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(open_to_others(&path).unwrap(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_and_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let occupied = dir.path().join("occupied");
        fs::create_dir_all(occupied.join("inside")).unwrap();
        let error = replace(&occupied, b"x", Mode::Private).unwrap_err().to_string();
        assert!(error.contains("occupied"), "{error}");
        assert!(occupied.join("inside").is_dir());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_private_directory_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/state");
        create_private_dir(&state).unwrap();
        create_private_dir(&state).unwrap();
        assert_eq!(open_to_others(&state).unwrap(), None);
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(create_private_dir(&file).is_err());
    }

    #[test]
    fn readers_see_one_of_the_two_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace(&path, &[0; 5000], Mode::Private).unwrap();
        std::thread::scope(|scope| {
            for value in 1..4u8 {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| replace(path, &[value; 5000], Mode::Private).unwrap()));
            }
            for _ in 0..100 {
                let bytes = read_optional(&path).unwrap().unwrap();
                assert_eq!(bytes.len(), 5000);
                assert!(bytes.iter().all(|b| *b == bytes[0]));
            }
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
