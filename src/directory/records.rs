//! Journals of runs between some servers, as nodes give them to each other: what one node wrote, another may have to take back.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use standin_common::disk::{self, DiskError, Mode};
use standin_failover::exchfailover::Outcome;

use super::runs::is_name_between;
use super::{Held, Runs, Stop};

/// Bytes of a journal in one message.
const PIECE_LEN: u64 = 256 * 1024;
/// Longest journal that is taken from another node, in bytes: some million mailboxes.
const MAX_LEN: usize = 1024 * 1024 * 1024;

/// A journal, and how much of it there is. It only grows, so the longer of two is the newer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordFile {
    /// Its name.
    pub(crate) name: String,
    /// In bytes.
    pub(crate) len: u64,
}

/// A part of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// What it says.
    pub(crate) text: String,
    /// Whether there is nothing after it.
    pub(crate) is_last: bool,
}

/// The journals between some servers.
pub(crate) struct Records<'a> {
    /// Where they are.
    pub(crate) runs: &'a Runs,
    /// The servers, by their names in the directory.
    pub(crate) servers: &'a [&'a str],
}

impl Records<'_> {
    /// All of them.
    pub(crate) fn list(&self) -> Result<Vec<RecordFile>, Stop> {
        let mut found = Vec::new();
        for path in self.runs.newest_first()? {
            let name = path.file_name().and_then(|name| name.to_str()).filter(|name| is_name_between(name, self.servers));
            let Some(name) = name.map(str::to_owned) else { continue };
            let len = path.metadata().map_err(DiskError::at("look at", &path)).map_err(disk_stop)?.len();
            found.push(RecordFile { name, len });
        }
        Ok(found)
    }

    fn path(&self, name: &str) -> Result<PathBuf, Stop> {
        match is_name_between(name, self.servers) {
            true => Ok(self.runs.dir().join(name)),
            false => Err(Stop::new(Outcome::Refused, format!("{name:?} is no name of a journal between these servers"))),
        }
    }

    /// What a journal says from this byte on.
    pub(crate) fn read(&self, name: &str, offset: u64) -> Result<Piece, Stop> {
        let path = self.path(name)?;
        let failed = |error| disk_stop(DiskError::at("read", &path)(error));
        let mut file = File::open(&path).map_err(failed)?;
        let failed = |error| disk_stop(DiskError::at("read", &path)(error));
        let len = file.metadata().map_err(failed)?.len();
        let mut bytes = Vec::new();
        let failed = |error| disk_stop(DiskError::at("read", &path)(error));
        file.seek(SeekFrom::Start(offset)).and_then(|_| file.take(PIECE_LEN).read_to_end(&mut bytes)).map_err(failed)?;
        // A character may lie across the end. What is no text at all is the torn end of a journal.
        let whole = std::str::from_utf8(&bytes).map_or_else(|error| error.valid_up_to(), str::len);
        bytes.truncate(whole);
        let is_last = whole == 0 || offset + whole as u64 >= len;
        Ok(Piece { text: String::from_utf8(bytes).unwrap_or_default(), is_last })
    }

    /// Whether another node has more of a journal.
    pub(crate) fn lacks(&self, there: &RecordFile) -> Result<bool, Stop> {
        let path = self.path(&there.name)?;
        match path.metadata() {
            Ok(here) => Ok(here.len() < there.len),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) => Err(disk_stop(DiskError::at("look at", &path)(error))),
        }
    }

    /// Takes a journal, durably. What is here of it must be its beginning.
    pub(crate) fn take(&self, _held: &Held, name: &str, text: &str) -> Result<(), Stop> {
        let path = self.path(name)?;
        let here = disk::read_optional(&path).map_err(disk_stop)?.unwrap_or_default();
        // What a crash tore off the last line is not said.
        let lines = here.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if !text.as_bytes().starts_with(&here[..lines]) {
            let why = format!(
                "{} is not the beginning of what the other node has of it: look at both, and move one away",
                path.display()
            );
            return Err(Stop::new(Outcome::Refused, why));
        }
        disk::replace(&path, text.as_bytes(), Mode::Private).map_err(disk_stop)
    }

    /// Refuses a journal that is longer than any should be.
    pub(crate) fn check_len(name: &str, len: usize) -> Result<(), Stop> {
        match len > MAX_LEN {
            true => Err(Stop::new(Outcome::Refused, format!("{name} is longer than any journal should be"))),
            false => Ok(()),
        }
    }
}

fn disk_stop(error: DiskError) -> Stop {
    Stop::new(Outcome::Directory, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "2026-11-21T15-42-46.339Z-failover-EX1-EX2.journal";

    #[test]
    fn a_journal_grows_and_is_never_replaced_by_another() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::of(dir.path().join("directory"));
        let records = Records { runs: &runs, servers: &["ex1", "EX2"] };
        assert_eq!(records.list().unwrap(), []);
        let held = runs.hold().unwrap();
        let file = |len| RecordFile { name: NAME.to_owned(), len };
        assert!(records.lacks(&file(1)).unwrap());
        records.take(&held, NAME, "one\ntw").unwrap();
        assert_eq!(records.list().unwrap(), [file(6)]);
        assert!(records.lacks(&file(7)).unwrap() && !records.lacks(&file(6)).unwrap());
        // The torn line is another one now.
        records.take(&held, NAME, "one\nthree\nfour, ü\n").unwrap();
        assert!(records.take(&held, NAME, "other\n").is_err());
        assert_eq!(records.read(NAME, 4).unwrap(), Piece { text: "three\nfour, ü\n".to_owned(), is_last: true });
        // In the middle of a character there is no text.
        assert_eq!(records.read(NAME, 17).unwrap(), Piece { text: String::new(), is_last: true });
    }

    #[test]
    fn nothing_but_journals_of_these_servers_is_given_or_taken() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::of(dir.path().to_owned());
        let records = Records { runs: &runs, servers: &["EX1", "EX2"] };
        let held = runs.hold().unwrap();
        let others = ["lock", "../state.json", "2026-11-21T15-42-46.339Z-failover-EX1-EX3.journal", "x-failover-EX1-EX2.journal"];
        for name in others.into_iter().chain(["2026-11-21T15-42-46.339Z/../../-failover-EX1-EX2.journal"]) {
            assert!(records.take(&held, name, "").is_err() && records.read(name, 0).is_err(), "{name}");
        }
        assert!(records.take(&held, &NAME.replace("failover-EX1-EX2", "failback-EX2-EX1"), "").is_ok());
    }
}
