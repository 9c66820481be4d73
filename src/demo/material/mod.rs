//! Material to try a mirror on: a mail server's volume, realistic changes of it, a program that keeps writing to it, and the
//! comparison of two trees.
//!
//! The demo uses it, and so do tests and benches, which include this folder by path: nothing here refers to the rest of the program.
//! The same seed makes the same volume, byte for byte.
#![allow(dead_code)] // Every user needs another part.

mod change;
mod compare;
mod mail;
mod mailbox;
mod odd;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod platform;
mod random;
mod volume;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

#[allow(unused_imports)]
pub(crate) use {
    change::{Changes, change},
    compare::{compare, read_full},
    mail::MailMaker,
    mailbox::{MAILBOX, MailboxState, check_mailbox},
    random::Random,
    volume::{Contents, Shape, generate},
    writer::Writer,
};

/// What went wrong while material was made: what, where, why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MaterialError {
    /// The file system refused.
    #[error("cannot {what} {path:?}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database refused.
    #[error("mailbox database {path:?}: {source}")]
    Database {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// Says what was tried, and on which file.
fn at<T>(what: &'static str, path: &Path, result: io::Result<T>) -> Result<T, MaterialError> {
    result.map_err(|source| MaterialError::File { what, path: path.to_owned(), source })
}

/// Says which database.
fn of<T>(path: &Path, result: rusqlite::Result<T>) -> Result<T, MaterialError> {
    result.map_err(|source| MaterialError::Database { path: path.to_owned(), source })
}
