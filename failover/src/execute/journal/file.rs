//! The journal's file: made whole, appended to, read back after a crash.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use standin_common::disk::{self, DiskError, Mode};

use super::record::{JOURNAL_SCHEMA, Record, Residents};
use super::state::{Illegal, Steps};
use crate::lines::{of_line, to_line};
use crate::plan::{PLAN_SCHEMA, Plan};

/// Why a journal cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is one already.
    #[error("{0} is there already: a run was begun with it; resume or undo that one, or name another")]
    Exists(PathBuf),
    /// Another process works with it.
    #[error("{0} is in use by another process: let that one finish")]
    InUse(PathBuf),
    /// It is not what was written.
    #[error(
        "{path}, line {line}: {why}; restore the file from a copy, as what follows cannot be trusted; or move it away, if that run needs neither resume nor undo"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Another version of this program wrote it, or its plan.
    #[error("{path} has form {found}, and this program knows form {known}: use the version that wrote it")]
    Version {
        /// The file.
        path: PathBuf,
        /// The form that it has.
        found: u32,
        /// The form that is known.
        known: u32,
    },
    /// A record that may not come now: a fault of this program.
    #[error("{path}: {source}")]
    Illegal {
        /// The file.
        path: PathBuf,
        /// The record.
        source: Illegal,
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

/// A run's journal, open for going on. Nobody else can open it meanwhile.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    plan: Plan,
    begun_unix_ms: u64,
    residents: Vec<Residents>,
    steps: Steps,
    broken: bool,
}

impl Journal {
    /// Begins a run: the plan with all old values is durable, and its owner's alone, when this returns.
    ///
    /// # Errors
    /// [`JournalError`]; nothing is left behind that could be taken for a begun run.
    pub fn create(path: &Path, plan: Plan, residents: Vec<Residents>, begun_unix_ms: u64) -> Result<Self, JournalError> {
        if path.exists() {
            return Err(JournalError::Exists(path.to_owned()));
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
            disk::create_private_dir(parent)?;
        }
        let record = Record::Plan { schema: JOURNAL_SCHEMA, begun_unix_ms, plan: Box::new(plan), residents };
        let form = |error: serde_json::Error| JournalError::Form { path: path.to_owned(), why: error.to_string() };
        disk::replace(path, to_line(&record).map_err(form)?.as_bytes(), Mode::Private)?;
        Self::open(path)
    }

    /// Goes on with a run, whatever ended it.
    ///
    /// # Errors
    /// [`JournalError`], for one that is damaged before its last line, too.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(DiskError::at("open the journal", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(DiskError::at("lock the journal", path)(error).into()),
        }
        let bytes = std::fs::read(path).map_err(DiskError::at("read the journal", path))?;
        let (records, good_bytes) = records(&bytes, path)?;
        // A line that a crash tore is not there: what comes next must not be written behind it.
        file.set_len(good_bytes).map_err(DiskError::at("cut the torn end off the journal", path))?;
        file.seek(SeekFrom::End(0)).map_err(DiskError::at("go to the end of the journal", path))?;
        Self::of_records(path, file, records)
    }

    fn of_records(path: &Path, file: File, records: Vec<Record>) -> Result<Self, JournalError> {
        let damaged = |line: usize, why: String| JournalError::Damaged { path: path.to_owned(), line, why };
        let mut records = records.into_iter();
        let Some(Record::Plan { schema, begun_unix_ms, plan, residents }) = records.next() else {
            return Err(damaged(1, "it does not begin with a plan".to_owned()));
        };
        let version = |found, known| JournalError::Version { path: path.to_owned(), found, known };
        if schema != JOURNAL_SCHEMA {
            return Err(version(schema, JOURNAL_SCHEMA));
        }
        if plan.schema != PLAN_SCHEMA {
            return Err(version(plan.schema, PLAN_SCHEMA));
        }
        let mut steps = Steps::default();
        for (number, record) in records.enumerate() {
            steps.note(&record).map_err(|illegal| damaged(number + 2, illegal.to_string()))?;
        }
        Ok(Self { path: path.to_owned(), file, plan: *plan, begun_unix_ms, residents, steps, broken: false })
    }

    /// Appends a record. It survives the end of this process, and after [`Journal::sync`] a power cut.
    ///
    /// # Errors
    /// [`JournalError`]. After one, nothing is taken any more: what is on disk is not known.
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let form = |error: serde_json::Error| JournalError::Form { path: self.path.clone(), why: error.to_string() };
        let line = to_line(record).map_err(form)?;
        self.steps.note(record).map_err(|source| JournalError::Illegal { path: self.path.clone(), source })?;
        self.attempt("write the journal", |file| file.write_all(line.as_bytes()))
    }

    /// Makes durable what was appended.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.attempt("make the journal durable", |file| file.sync_data())
    }

    fn attempt(&mut self, attempt: &'static str, work: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), JournalError> {
        let done = match self.broken {
            true => Err(io::Error::other("it failed before")),
            false => work(&mut self.file),
        };
        self.broken |= done.is_err();
        Ok(done.map_err(DiskError::at(attempt, &self.path))?)
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What is known of each step.
    pub fn steps(&self) -> &Steps {
        &self.steps
    }

    /// When the run began, milliseconds since 1970.
    pub fn begun_unix_ms(&self) -> u64 {
        self.begun_unix_ms
    }

    /// Who was in the target's stores before.
    pub fn residents(&self) -> &[Residents] {
        &self.residents
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// All whole records, and how many bytes they take. What a crash tore can only be at the end: nothing whole comes after it.
fn records(bytes: &[u8], path: &Path) -> Result<(Vec<Record>, u64), JournalError> {
    let mut records = Vec::new();
    let mut good = 0;
    let mut torn_at = None;
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        match (text.and_then(of_line::<Record>), torn_at) {
            (Some(record), None) => {
                records.push(record);
                good += line.len() as u64;
            }
            (None, None) if number > 0 => torn_at = Some(number + 1),
            (None, Some(_)) => {}
            (None, None) | (Some(_), Some(_)) => {
                let why = "the line is not what was written".to_owned();
                return Err(JournalError::Damaged { path: path.to_owned(), line: torn_at.unwrap_or(number + 1), why });
            }
        }
    }
    Ok((records, good))
}
