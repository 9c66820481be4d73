//! What a directory holds, to compare it with another.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{lgetxattr, llistxattr};

/// Everything of an object that has to be the same elsewhere: all but inode numbers, times of access and change, and holes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) mode: u32,
    owner: (u32, u32),
    device: u64,
    modified: (i64, i64),
    pub(crate) links: u64,
    /// The first of its names.
    same_as: PathBuf,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Size and hash of a file, text of a link.
    data: String,
}

/// All objects beneath a directory, itself included, by their paths.
pub(crate) fn look(root: &Path) -> io::Result<BTreeMap<PathBuf, Seen>> {
    let mut all = BTreeMap::new();
    let mut first = HashMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let at = if path.as_os_str().is_empty() { root.join(".") } else { root.join(&path) };
        let stat = fs::symlink_metadata(&at)?;
        let mut names = Vec::new();
        if stat.is_dir() {
            for entry in fs::read_dir(&at)? {
                names.push(path.join(entry?.file_name()));
            }
            names.sort();
            waiting.extend(names.into_iter().rev());
        }
        let data = match stat.file_type() {
            kind if kind.is_file() => format!("{} bytes, {}", stat.len(), hash(&at)?),
            kind if kind.is_symlink() => format!("{:?}", fs::read_link(&at)?),
            kind => format!("fifo {}, socket {}", kind.is_fifo(), kind.is_socket()),
        };
        let seen = Seen {
            mode: stat.mode(),
            owner: (stat.uid(), stat.gid()),
            device: stat.rdev(),
            modified: (stat.mtime(), stat.mtime_nsec()),
            links: stat.nlink(),
            same_as: if stat.is_dir() { path.clone() } else { first.entry(stat.ino()).or_insert_with(|| path.clone()).clone() },
            xattrs: xattrs(&at)?,
            data,
        };
        all.insert(path, seen);
    }
    Ok(all)
}

fn hash(file: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(file)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn xattrs(at: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = Vec::with_capacity(64 * 1024);
    llistxattr(at, spare_capacity(&mut names))?;
    let mut all = BTreeMap::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = Vec::with_capacity(64 * 1024);
        lgetxattr(at, std::ffi::OsStr::from_bytes(name), spare_capacity(&mut value))?;
        all.insert(name.to_owned(), value);
    }
    Ok(all)
}

/// Says what differs.
pub(crate) fn assert_same(what: &str, one: &BTreeMap<PathBuf, Seen>, other: &BTreeMap<PathBuf, Seen>) {
    for (path, seen) in one {
        assert_eq!(Some(seen), other.get(path), "{what}: {}", path.display());
    }
    let more: Vec<_> = other.keys().filter(|path| !one.contains_key(*path)).collect();
    assert!(more.is_empty(), "{what}: only there: {more:?}");
}
