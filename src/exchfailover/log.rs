//! The log file, to which every run appends.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use standin_failover::exchfailover::Outcome;

use super::{NAME, say};
use crate::directory::Stop;

/// The usual name of the file.
const FILE: &str = "ExchFailover.log";

/// An open log.
pub(super) struct Log {
    path: PathBuf,
    file: RefCell<File>,
}

impl Log {
    /// The file that was named, else the usual one beside the program, or in the state directory where that can not be written.
    pub(super) fn open(named: Option<&str>, state_dir: &Path) -> Result<Self, Stop> {
        let failed = |path: &Path, error: io::Error| {
            Stop::usage(format!("the log {} can not be written: {error}; name another with -l", path.display()))
        };
        if let Some(named) = named {
            let path = PathBuf::from(named);
            return append_to(&path).map(|file| Self::of(path.clone(), file)).map_err(|error| failed(&path, error));
        }
        let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join(FILE)));
        if let Some(path) = beside
            && let Ok(file) = append_to(&path)
        {
            return Ok(Self::of(path, file));
        }
        let path = state_dir.join(FILE);
        let opened =
            standin_common::disk::create_private_dir(state_dir).map_err(io::Error::other).and_then(|()| append_to(&path));
        opened.map(|file| Self::of(path.clone(), file)).map_err(|error| failed(&path, error))
    }

    fn of(path: PathBuf, file: File) -> Self {
        Self { path, file: RefCell::new(file) }
    }

    /// A file beside the log.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    /// Writes to the log alone. One that can not be written to is no reason to stop a failover.
    pub(super) fn note(&self, text: &str) {
        let mut file = self.file.borrow_mut();
        for line in text.trim_end().split('\n') {
            let _ = writeln!(file, "{line}");
        }
    }

    /// Says it and writes it.
    pub(super) fn say(&self, text: &str) {
        say(text);
        self.note(text);
    }

    /// The head of a run: when, and what was asked. The words have no password any more.
    pub(super) fn begin(&self, words: &[String]) {
        let shown: Vec<String> =
            standin_failover::exchfailover::without_password(words).map_or(words.to_vec(), |(shown, _)| shown);
        let quoted: Vec<String> = shown
            .iter()
            .map(|word| if word.contains(char::is_whitespace) { format!("\"{word}\"") } else { word.clone() })
            .collect();
        self.note(&format!("\n{} {NAME} {}", humantime::format_rfc3339_seconds(SystemTime::now()), quoted.join(" ")));
    }

    /// The end of a run.
    pub(super) fn end(&self, outcome: Outcome) {
        self.note(&format!("{} ended with exit code {}", humantime::format_rfc3339_seconds(SystemTime::now()), outcome.code()));
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
