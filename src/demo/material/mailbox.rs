//! The mailbox database of the volume: SQLite, with the tables that a mail store has.

use std::path::Path;

use rusqlite::{Connection, params};

use super::mail::{MailMaker, Message};
use super::{MaterialError, of};

/// Where the mailbox database is in the volume.
pub(crate) const MAILBOX: &str = "store/mailbox.db";

const SCHEMA: &str = "
    CREATE TABLE folders (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE messages (id INTEGER PRIMARY KEY, folder INTEGER NOT NULL, sender TEXT NOT NULL, receiver TEXT NOT NULL,
        subject TEXT NOT NULL, received INTEGER NOT NULL, size INTEGER NOT NULL, flags INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE bodies (message INTEGER PRIMARY KEY, raw BLOB NOT NULL);
    CREATE TABLE ledger (number INTEGER PRIMARY KEY, message INTEGER NOT NULL);";
const INDEX: &str = "CREATE INDEX messages_by_folder ON messages (folder, received);";
const FOLDERS: i64 = 40;
/// What a message takes in the tables besides its text, in bytes: rows, index, page ends.
const OVERHEAD_LEN: u64 = 900;

/// What is in a mailbox database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MailboxState {
    /// Messages in it.
    pub(crate) messages: u64,
    /// The last transaction of the [`super::Writer`]; all before it are there, too.
    pub(crate) last_commit: u64,
    /// What `PRAGMA integrity_check` and the count of the ledger say; `ok` if all is well.
    pub(crate) integrity: String,
}

/// Opens the database as a program that is asked to be fast, not safe.
pub(crate) fn open_for_bulk(path: &Path) -> Result<Connection, MaterialError> {
    let connection = of(path, Connection::open(path))?;
    let settings =
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -16000;";
    of(path, connection.execute_batch(settings))?;
    Ok(connection)
}

/// Makes a database of about `target_len` bytes; says how many messages are in it.
pub(crate) fn fill(path: &Path, target_len: u64, seed: u64) -> Result<u64, MaterialError> {
    let connection = open_for_bulk(path)?;
    let mut maker = MailMaker::new(seed);
    of(path, connection.execute_batch(&format!("PRAGMA page_size = 4096; {SCHEMA} BEGIN;")))?;
    for folder in 1..=FOLDERS {
        of(path, connection.execute("INSERT INTO folders VALUES (?1, ?2)", params![folder, format!("folder {folder}")]))?;
    }
    let (mut len, mut count) = (0, 0);
    while len < target_len {
        let message = maker.message();
        len += message.raw.len() as u64 + OVERHEAD_LEN;
        count += 1;
        let folder = maker.random().below(FOLDERS as u64) as i64 + 1;
        of(path, insert(&connection, count, folder, &message))?;
    }
    of(path, connection.execute_batch(&format!("{INDEX} COMMIT;")))?;
    close(path, connection)?;
    Ok(count as u64)
}

/// Adds a message.
pub(crate) fn insert(connection: &Connection, id: i64, folder: i64, message: &Message) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO messages (id, folder, sender, receiver, subject, received, size) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            id,
            folder,
            message.sender,
            message.receiver,
            message.subject,
            message.received_secs,
            message.raw.len() as i64
        ])?;
    connection.prepare_cached("INSERT INTO bodies VALUES (?1, ?2)")?.execute(params![id, message.raw])?;
    Ok(())
}

/// Closes the database and reports what closing found.
pub(crate) fn close(path: &Path, connection: Connection) -> Result<(), MaterialError> {
    connection.close().map_err(|(_, source)| MaterialError::Database { path: path.to_owned(), source })
}

/// Opens the mailbox database as its program would after a crash, lets it recover, and looks whether it is whole.
pub(crate) fn check_mailbox(path: &Path) -> Result<MailboxState, MaterialError> {
    let connection = of(path, Connection::open(path))?;
    let number = |sql: &str| of(path, connection.query_row(sql, [], |row| row.get::<_, i64>(0))).map(|number| number as u64);
    let mut integrity: String = of(path, connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)))?;
    let last_commit = number("SELECT coalesce(max(number), 0) FROM ledger")?;
    let commits = number("SELECT count(*) FROM ledger")?;
    if commits != last_commit {
        integrity = format!("{integrity}; the ledger has {commits} entries, but the last is number {last_commit}");
    }
    let state = MailboxState { messages: number("SELECT count(*) FROM messages")?, last_commit, integrity };
    close(path, connection)?;
    Ok(state)
}
