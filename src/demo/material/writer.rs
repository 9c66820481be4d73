//! A program that keeps writing to the volume, as a mail server does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::mail::MailMaker;
use super::mailbox::{MAILBOX, close, insert};
use super::{MaterialError, of};

/// Messages of the writer have ids from here, out of the way of all others.
const FIRST_ID: i64 = 1 << 40;
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// A thread that commits small transactions to the mailbox database until it is told to stop. Each has a number in the ledger.
pub(crate) struct Writer {
    stop: Option<Sender<()>>,
    commits: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<(), MaterialError>>>,
}

impl Writer {
    /// Starts to write to the volume at `root`, with a pause after each commit.
    pub(crate) fn start(root: &Path, seed: u64, pause: Duration) -> Result<Self, MaterialError> {
        let path = root.join(MAILBOX);
        let connection = open(&path)?;
        let first =
            of(&path, connection.query_row("SELECT coalesce(max(number), 0) FROM ledger", [], |row| row.get::<_, i64>(0)))?;
        let commits = Arc::new(AtomicU64::new(first as u64));
        let (stop, stopped) = channel();
        let counted = Arc::clone(&commits);
        let thread = std::thread::spawn(move || {
            let mut maker = MailMaker::new(seed);
            let mut number = first;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                number += 1;
                of(&path, commit(&connection, number, &mut maker))?;
                counted.store(number as u64, Ordering::Release);
            }
            close(&path, connection)
        });
        Ok(Self { stop: Some(stop), commits, thread: Some(thread) })
    }

    /// The number of the last transaction committed.
    pub(crate) fn last_commit(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    /// Stops and says the number of the last transaction committed.
    pub(crate) fn stop(mut self) -> Result<u64, MaterialError> {
        self.end()?;
        Ok(self.last_commit())
    }

    fn end(&mut self) -> Result<(), MaterialError> {
        drop(self.stop.take());
        let Some(thread) = self.thread.take() else { return Ok(()) };
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Writer {
    /// Only where [`Writer::stop`] was not reached, because of another error, which is the one to report.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn open(path: &PathBuf) -> Result<Connection, MaterialError> {
    let connection = of(path, Connection::open(path))?;
    of(path, connection.busy_timeout(BUSY_TIMEOUT))?;
    of(path, connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"))?;
    Ok(connection)
}

/// One transaction: a message arrives, another is marked as read, and the ledger says so.
fn commit(connection: &Connection, number: i64, maker: &mut MailMaker) -> rusqlite::Result<()> {
    let message = maker.message();
    let transaction = connection.unchecked_transaction()?;
    insert(&transaction, FIRST_ID + number, 1, &message)?;
    transaction.prepare_cached("UPDATE messages SET flags = flags | 1 WHERE id = ?1")?.execute(params![number])?;
    transaction.prepare_cached("INSERT INTO ledger VALUES (?1, ?2)")?.execute(params![number, FIRST_ID + number])?;
    transaction.commit()
}
