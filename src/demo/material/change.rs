//! What happens to a mail server's volume between two mirrors.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use rusqlite::{Connection, params};

use super::mail::MailMaker;
use super::mailbox::{self, MAILBOX};
use super::volume::{Contents, log_path, queue_path, write_file, write_log, write_queue_file};
use super::{MaterialError, at, of};

/// Of 100 pages of the mailbox database, so many change by messages that are rewritten in place.
const PAGES_PERCENT: u64 = 1;
const PAGE_LEN: u64 = 4096;

/// What was changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Messages that got other flags.
    pub(crate) flagged: u64,
    /// Messages whose text was rewritten.
    pub(crate) rewritten: u64,
    /// Messages that arrived.
    pub(crate) inserted: u64,
    /// Messages that were deleted.
    pub(crate) deleted: u64,
    /// Logs that were begun, and as many old ones removed.
    pub(crate) logs_rotated: u64,
    /// Queue files that arrived.
    pub(crate) queue_arrived: u64,
    /// Queue files that are gone.
    pub(crate) queue_gone: u64,
    /// Files and directories that got another name.
    pub(crate) renamed: u64,
}

/// Changes the volume that [`super::generate`] made in `root` with these contents. To be called once for each volume.
pub(crate) fn change(root: &Path, contents: &Contents, seed: u64) -> Result<Changes, MaterialError> {
    let mut maker = MailMaker::new(seed ^ 0x00c0_ffee);
    let mut changes = Changes::default();
    change_mailbox(&root.join(MAILBOX), contents.messages, &mut maker, &mut changes)?;
    rotate_logs(root, contents, &mut maker, &mut changes)?;
    change_queue(root, contents, &mut maker, &mut changes)?;
    change_odd(root, &mut maker, &mut changes)?;
    Ok(changes)
}

fn change_mailbox(path: &Path, messages: u64, maker: &mut MailMaker, changes: &mut Changes) -> Result<(), MaterialError> {
    let pages = at("look at", path, fs::metadata(path))?.len() / PAGE_LEN;
    let connection = of(path, Connection::open(path))?;
    of(path, connection.execute_batch("PRAGMA synchronous = OFF; BEGIN IMMEDIATE;"))?;
    changes.flagged = messages / 20;
    for _ in 0..changes.flagged {
        let id = maker.random().below(messages) as i64 + 1;
        let mut update = of(path, connection.prepare_cached("UPDATE messages SET flags = flags + 2 WHERE id = ?1"))?;
        of(path, update.execute(params![id]))?;
    }
    let mut rewritten_pages = 0;
    while rewritten_pages < pages * PAGES_PERCENT / 100 {
        rewritten_pages += of(path, rewrite(&connection, messages, maker))?;
        changes.rewritten += 1;
    }
    changes.deleted = messages / 100;
    for _ in 0..changes.deleted {
        let id = maker.random().below(messages) as i64 + 1;
        for sql in ["DELETE FROM messages WHERE id = ?1", "DELETE FROM bodies WHERE message = ?1"] {
            of(path, connection.prepare_cached(sql).and_then(|mut delete| delete.execute(params![id])))?;
        }
    }
    changes.inserted = messages / 100;
    for number in 1..=changes.inserted {
        let message = maker.message();
        of(path, mailbox::insert(&connection, (messages + number) as i64, 2, &message))?;
    }
    of(path, connection.execute_batch("COMMIT;"))?;
    mailbox::close(path, connection)
}

/// Rewrites a message with text of the same length, as a store does that marks or encodes anew; says how many pages that are.
fn rewrite(connection: &Connection, messages: u64, maker: &mut MailMaker) -> rusqlite::Result<u64> {
    let id = maker.random().below(messages) as i64 + 1;
    let mut ask = connection.prepare_cached("SELECT length(raw) FROM bodies WHERE message = ?1")?;
    let len: i64 = ask.query_row(params![id], |row| row.get(0))?;
    let mut raw = Vec::with_capacity(len as usize + 64);
    maker.text(&mut raw, len as usize);
    raw.truncate(len as usize);
    connection.prepare_cached("UPDATE bodies SET raw = ?2 WHERE message = ?1")?.execute(params![id, raw])?;
    Ok(raw.len() as u64 / PAGE_LEN + 1)
}

fn rotate_logs(root: &Path, contents: &Contents, maker: &mut MailMaker, changes: &mut Changes) -> Result<(), MaterialError> {
    let mut buffer = Vec::new();
    changes.logs_rotated = (contents.logs / 20).max(1);
    for number in 0..changes.logs_rotated {
        let old = log_path(root, number);
        at("remove", &old, fs::remove_file(&old))?;
        write_log(root, contents.logs + number, maker, &mut buffer)?;
    }
    // The log that was being written has grown in the middle: some of its pages were filled in place.
    let current = log_path(root, contents.logs - 1);
    let mut file = at("open", &current, File::options().write(true).open(&current))?;
    for page in 0..8 {
        maker.log(&mut buffer, PAGE_LEN as usize);
        at("write", &current, write_at(&mut file, page * 17 * PAGE_LEN, &buffer))?;
    }
    Ok(())
}

fn change_queue(root: &Path, contents: &Contents, maker: &mut MailMaker, changes: &mut Changes) -> Result<(), MaterialError> {
    let mut buffer = Vec::new();
    let files = contents.queue_files;
    for number in (0..files).step_by(10) {
        let path = queue_path(root, number);
        at("remove", &path, fs::remove_file(&path))?;
        changes.queue_gone += 1;
        write_queue_file(root, files + number, maker, &mut buffer)?;
        changes.queue_arrived += 1;
    }
    for number in (5..files).step_by(100) {
        let path = queue_path(root, number);
        at("rename", &path, fs::rename(&path, path.with_extension("deferred")))?;
        changes.renamed += 1;
    }
    Ok(())
}

/// Things that are easy to get wrong: a directory renamed, a file in the place of a directory, a link broken up, a hole filled.
fn change_odd(root: &Path, maker: &mut MailMaker, changes: &mut Changes) -> Result<(), MaterialError> {
    let odd = root.join("odd");
    let (deep, deeper) = (odd.join("deep"), odd.join("names/was deep"));
    at("rename", &deep, fs::rename(&deep, &deeper))?;
    changes.renamed += 1;
    let empty = odd.join("empty");
    at("remove", &empty, fs::remove_dir_all(&empty))?;
    write_file(&empty, b"a file where a directory was", maker.random())?;
    let linked = odd.join("links/three of three");
    at("remove", &linked, fs::remove_file(&linked))?;
    write_file(&linked, b"a file of its own", maker.random())?;
    let holes = odd.join("holes/nothing else");
    let mut file = at("open", &holes, File::options().write(true).open(&holes))?;
    at("write", &holes, write_at(&mut file, 123_456, b"no longer"))?;
    let truncated = odd.join("holes/at both ends");
    let file = at("open", &truncated, File::options().write(true).open(&truncated))?;
    at("shorten", &truncated, file.set_len(3 * 1024 * 1024 + 17))
}

fn write_at(file: &mut File, offset: u64, data: &[u8]) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(data)
}
