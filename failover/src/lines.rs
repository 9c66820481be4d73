//! Files of records, a line each, that a crash tears at the end only: what journals are made of.
//!
//! A line is the first 16 hexadecimal digits of the BLAKE3 hash of its record, a blank, and the record as JSON. What a crash left of the
//! last line is cut off; damage before that is an error. The file is its owner's alone (mode 0600), and open once at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use standin_common::disk::{self, DiskError, Mode};

/// Why a file of records cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is one already.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// Another process, or another part of this one, works with it.
    #[error("{0} is in use: let that end first")]
    InUse(PathBuf),
    /// It is not what was written.
    #[error("{path}, line {line}: {why}; restore the file from a copy, as what follows cannot be trusted")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A record cannot be written as JSON.
    #[error("{path}: a record cannot be written: {why}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What the encoder said.
        why: String,
    },
}

/// An open file of records.
#[derive(Debug)]
pub struct Lines<R> {
    path: PathBuf,
    file: File,
    broken: bool,
    records: PhantomData<fn() -> R>,
}

impl<R: Serialize + DeserializeOwned> Lines<R> {
    /// Makes the file with its first record; durable when this returns.
    ///
    /// # Errors
    /// [`LinesError`]; nothing is left behind that could be taken for such a file.
    pub fn create(path: &Path, first: &R) -> Result<Self, LinesError> {
        if path.exists() {
            return Err(LinesError::Exists(path.to_owned()));
        }
        disk::replace(path, line(path, first)?.as_bytes(), Mode::Private)?;
        Self::open(path).map(|(lines, _)| lines)
    }

    /// Opens the file for going on, with all its whole records.
    ///
    /// # Errors
    /// [`LinesError`].
    pub fn open(path: &Path) -> Result<(Self, Vec<R>), LinesError> {
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(DiskError::at("open", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LinesError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(DiskError::at("lock", path)(error).into()),
        }
        let (records, good_bytes) = read(path)?;
        // A line that a crash tore is not there: what comes next must not be written behind it.
        file.set_len(good_bytes).map_err(DiskError::at("cut the torn end off", path))?;
        file.seek(SeekFrom::End(0)).map_err(DiskError::at("go to the end of", path))?;
        Ok((Self { path: path.to_owned(), file, broken: false, records: PhantomData }, records))
    }

    /// Appends a record, and makes it durable.
    ///
    /// # Errors
    /// [`LinesError`]. After one, nothing is taken any more: what is on disk is not known.
    pub fn append(&mut self, record: &R) -> Result<(), LinesError> {
        let line = line(&self.path, record)?;
        let done = match self.broken {
            true => Err(io::Error::other("it failed before")),
            false => self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data()),
        };
        self.broken |= done.is_err();
        Ok(done.map_err(DiskError::at("write", &self.path))?)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// All whole records of a file, and how many bytes they take. Reads only, so another may be writing.
///
/// # Errors
/// [`LinesError`].
pub fn read<R: DeserializeOwned>(path: &Path) -> Result<(Vec<R>, u64), LinesError> {
    let bytes = std::fs::read(path).map_err(DiskError::at("read", path))?;
    let mut records = Vec::new();
    let mut good_bytes = 0;
    let mut torn_at = None;
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        match (text.and_then(of_line), torn_at) {
            (Some(record), None) => {
                records.push(record);
                good_bytes += line.len() as u64;
            }
            // The first is durable before the file has its name, and nothing whole comes after what a crash tore.
            (None, None) if number > 0 => torn_at = Some(number + 1),
            (None, Some(_)) => {}
            (None, None) | (Some(_), Some(_)) => {
                let why = "the line is not what was written".to_owned();
                return Err(LinesError::Damaged { path: path.to_owned(), line: torn_at.unwrap_or(number + 1), why });
            }
        }
    }
    Ok((records, good_bytes))
}

fn line<R: Serialize>(path: &Path, record: &R) -> Result<String, LinesError> {
    to_line(record).map_err(|error| LinesError::Form { path: path.to_owned(), why: error.to_string() })
}

/// A record as a line, with its hash and its end.
pub(crate) fn to_line<R: Serialize>(record: &R) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(record)?;
    Ok(format!("{} {json}\n", hash(&json)))
}

/// Reads a line without its end; `None` if it is not what was written.
pub(crate) fn of_line<R: DeserializeOwned>(line: &str) -> Option<R> {
    let (sum, json) = line.split_once(' ')?;
    if sum != hash(json) {
        return None;
    }
    serde_json::from_str(json).ok()
}

fn hash(json: &str) -> String {
    let mut hex = blake3::hash(json.as_bytes()).to_hex().to_string();
    hex.truncate(16);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_end_is_cut_off_and_other_damage_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut lines = Lines::create(&path, &1_u32).unwrap();
        lines.append(&2).unwrap();
        assert!(matches!(Lines::<u32>::open(&path), Err(LinesError::InUse(_))));
        assert!(matches!(Lines::create(&path, &1_u32), Err(LinesError::Exists(_))));
        drop(lines);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let (mut lines, records) = Lines::<u32>::open(&path).unwrap();
        assert_eq!(records, [1]);
        lines.append(&3).unwrap();
        drop(lines);
        assert_eq!(read::<u32>(&path).unwrap().0, [1, 3]);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(read::<u32>(&path), Err(LinesError::Damaged { line: 1, .. })));
    }
}
