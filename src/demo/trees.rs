//! Looks at trees as they are on disk, with nothing of the replication.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::material::read_full;
use super::{DemoError, at};

/// What is counted as changed, whole: the page of databases and file systems, in bytes.
const PAGE_LEN: usize = 4096;
const PIECE_LEN: usize = 256 * PAGE_LEN;

/// What differs between two trees.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Changed {
    /// Files with other data, or that only the first tree has.
    pub(super) files: u64,
    /// Bytes of the pages that differ at their place. What is not there counts as zeros.
    pub(super) bytes: u64,
}

/// Counts what a tree has that another has not. What vanishes meanwhile is not counted.
pub(super) fn changed(tree: &Path, other: &Path) -> Result<Changed, DemoError> {
    let mut changed = Changed::default();
    let mut buffers = (vec![0; PIECE_LEN], vec![0; PIECE_LEN]);
    for path in files(tree)? {
        let file = match File::open(tree.join(&path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => at("open", &tree.join(&path), file)?,
        };
        let there = fs::symlink_metadata(other.join(&path)).ok().filter(fs::Metadata::is_file);
        let other_file = there.as_ref().and_then(|_| File::open(other.join(&path)).ok());
        let bytes = at("read", &tree.join(&path), changed_bytes(file, other_file, &mut buffers))?;
        changed.bytes += bytes;
        changed.files += u64::from(bytes > 0 || there.is_none());
    }
    Ok(changed)
}

fn changed_bytes(mut file: File, mut other: Option<File>, (a, b): &mut (Vec<u8>, Vec<u8>)) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        let len = read_full(&mut file, a)?;
        if len == 0 {
            return Ok(bytes);
        }
        b.fill(0);
        if let Some(other) = &mut other {
            read_full(other, b)?;
        }
        if a[..len] != b[..len] {
            let pages = a[..len].chunks(PAGE_LEN).zip(b[..len].chunks(PAGE_LEN));
            bytes += pages.filter(|(a, b)| a != b).map(|(a, _)| a.len() as u64).sum::<u64>();
        }
    }
}

/// A hash of everything beneath a directory: names, lengths, times, data.
pub(super) fn digest(tree: &Path) -> Result<blake3::Hash, DemoError> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; PIECE_LEN];
    for path in files(tree)? {
        let full = tree.join(&path);
        let metadata = at("look at", &full, fs::symlink_metadata(&full))?;
        let time = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        hasher.update(path.as_os_str().as_encoded_bytes()).update(&[0]);
        hasher.update(&metadata.len().to_le_bytes()).update(&time.as_nanos().to_le_bytes());
        let mut file = at("open", &full, File::open(&full))?;
        loop {
            match at("read", &full, read_full(&mut file, &mut buffer))? {
                0 => break,
                len => hasher.update(&buffer[..len]),
            };
        }
    }
    Ok(hasher.finalize())
}

/// Regular files beneath a directory, sorted, as paths from there.
pub(super) fn files(tree: &Path) -> Result<Vec<PathBuf>, DemoError> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        let full = tree.join(&directory);
        for entry in at("list", &full, fs::read_dir(&full))? {
            let entry = at("list", &full, entry)?;
            let path = directory.join(entry.file_name());
            match at("look at", &full, entry.file_type())? {
                kind if kind.is_dir() => waiting.push(path),
                kind if kind.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}
