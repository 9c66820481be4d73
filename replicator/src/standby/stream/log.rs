//! The log of a stream: operations as they came, in segments, each a journal named by the position after which it begins.
//!
//! A fold takes whole segments. One is given up when its operations are in a point, unless files without a name have data in it.

use std::collections::BTreeSet;

use standin_common::entry::Time;
use standin_common::id::{Generation, MirrorId, PointNumber};
use standin_common::stream::Batch;

use super::session::StreamError;
use crate::journal::{Journal, JournalError, Record};
use crate::store::Store;

const PREFIX: &str = "stream.log.";
/// What is made durable in pieces up to this length, in bytes, finds room made ahead,
const SMALL: u64 = 64 * 1024;
/// so much at once.
const AHEAD: u64 = 1024 * 1024;

/// The file of a segment.
pub(super) fn name(start: u64) -> String {
    format!("{PREFIX}{start}")
}

fn start_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// A segment that grows no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed {
    pub start: u64,
    pub end: u64,
    pub bytes: u64,
}

/// The log.
pub(super) struct Log<L> {
    stream: MirrorId,
    pub closed: Vec<Closed>,
    open: Option<Journal<L>>,
    start: u64,
    /// How far the log goes, and how far it is durable.
    pub end: u64,
    pub durable: u64,
    durable_len: u64,
    /// Where the room ends that was made ahead.
    room: u64,
    /// When the last operation was done, by the clock of the source.
    pub at: Time,
}

impl<L: crate::store::LogFile> Log<L> {
    /// What is in a store of a stream after a position, and the segments before it that are `needed`; all else is removed.
    pub(super) fn open<S: Store<Log = L>>(
        store: &S,
        stream: MirrorId,
        after: u64,
        needed: &BTreeSet<u64>,
    ) -> Result<Self, StreamError> {
        let mut starts: Vec<u64> = store.names()?.iter().filter_map(|name| start_of(name)).collect();
        starts.sort_unstable();
        let mut log = Self {
            stream,
            closed: Vec::new(),
            open: None,
            start: after,
            end: after,
            durable: after,
            durable_len: 0,
            room: 0,
            at: Time::default(),
        };
        for start in starts {
            let journal = Journal::new(store.open_log(&name(start))?);
            if start < after && needed.contains(&start) {
                continue;
            }
            let closed = if start == log.end { log.read(journal, start)? } else { None };
            match closed {
                Some(closed) => log.closed.push(closed),
                None => store.remove(&name(start))?,
            }
        }
        (log.start, log.durable) = (log.end, log.end);
        Ok(log)
    }

    /// Reads what a segment has; `None` if it is of another stream, or nothing.
    fn read(&mut self, mut journal: Journal<L>, start: u64) -> Result<Option<Closed>, StreamError> {
        journal.cut_torn_tail()?;
        let mut end = start;
        let mut whole = 0;
        for placed in journal.forward() {
            let placed = placed?;
            match placed.record {
                Record::Begin { mirror, .. } if placed.at == 0 && mirror == self.stream => {}
                Record::Stream(batch) if placed.at > 0 && batch.first == end + 1 => {
                    end += u64::from(batch.count);
                    self.at = batch.at;
                }
                _ => break,
            }
            whole = placed.end;
        }
        journal.truncate(whole)?;
        // It may never have been: whoever wrote it may have been killed before.
        journal.sync()?;
        self.end = end;
        Ok((end > start).then_some(Closed { start, end, bytes: whole }))
    }

    /// Removes all segments.
    pub(super) fn remove_all<S: Store>(store: &S) -> Result<(), StreamError> {
        let names = store.names()?;
        names.iter().filter(|name| start_of(name).is_some()).try_for_each(|name| Ok(store.remove(name)?))
    }

    /// Bytes in all segments that are still to be folded.
    pub(super) fn bytes(&self) -> u64 {
        self.closed.iter().map(|closed| closed.bytes).sum::<u64>() + self.open.as_ref().map_or(0, Journal::len)
    }

    /// Adds operations, which follow what is there.
    pub(super) fn append<S: Store<Log = L>>(&mut self, store: &S, batch: &Batch, payload: &[u8]) -> Result<(), StreamError> {
        let journal = match &mut self.open {
            Some(journal) => journal,
            None => {
                let mut journal = Journal::new(store.open_log(&name(self.start))?);
                journal.truncate(0)?;
                let (mirror, generation) = (self.stream, Generation::default());
                journal.append(&Record::Begin { mirror, generation, from: None, to: PointNumber(self.start) }, &[])?;
                (self.durable_len, self.room) = (0, 0);
                self.open.insert(journal)
            }
        };
        journal.append(&Record::Stream(*batch), payload)?;
        self.end += u64::from(batch.count);
        self.at = batch.at;
        Ok(())
    }

    /// Makes everything durable. What a sync that failed was to make durable is forgotten, since nobody can know what became of it.
    pub(super) fn sync(&mut self) -> Result<(), StreamError> {
        let Some(journal) = &mut self.open else { return Ok(()) };
        if let Err(error) = journal.sync() {
            journal.truncate(self.durable_len)?;
            self.room = 0;
            if self.durable_len == 0 {
                self.open = None;
            }
            self.end = self.durable;
            return Err(error.into());
        }
        let len = journal.len();
        let small = len - self.durable_len <= SMALL;
        (self.durable, self.durable_len) = (self.end, len);
        if small && self.room < len + SMALL {
            // Without it, the next sync takes longer: no reason to fail.
            match journal.reserve(AHEAD) {
                Ok(()) => self.room = len + AHEAD,
                Err(error) => {
                    tracing::debug!(%error, "no room is made ahead in the log");
                    journal.trim()?;
                    self.room = u64::MAX;
                }
            }
        }
        Ok(())
    }

    /// What came until now grows no more.
    pub(super) fn close(&mut self) -> Result<(), StreamError> {
        // Whoever reads it takes what it holds for operations.
        self.open.as_mut().map_or(Ok(()), Journal::trim)?;
        self.room = u64::MAX;
        self.sync()?;
        if let Some(journal) = self.open.take() {
            self.closed.push(Closed { start: self.start, end: self.end, bytes: journal.len() });
            self.start = self.end;
        }
        Ok(())
    }

    /// What is in a point counts no more; its files are for [`remove`].
    pub(super) fn give_up(&mut self, until: u64) {
        self.closed.retain(|closed| closed.end > until);
    }
}

/// Removes the files of what is in a point up to `until`, but for those that are `needed`. No log that is open has them any more.
pub(super) fn remove<S: Store>(store: &S, until: u64, needed: &BTreeSet<u64>) -> Result<(), StreamError> {
    for name in store.names()? {
        if start_of(&name).is_some_and(|start| start < until && !needed.contains(&start)) {
            store.forget(&name)?;
        }
    }
    Ok(())
}

/// Operations of a segment, batch by batch: each with its bytes, and where these are in the segment.
pub(super) fn batches<L: crate::store::LogFile>(
    journal: &Journal<L>,
) -> impl Iterator<Item = Result<(Batch, Vec<u8>, u64), JournalError>> + '_ {
    journal.forward().filter_map(|placed| match placed {
        Ok(placed) => match placed.record {
            Record::Stream(batch) => {
                let at = placed.payload_at();
                Some(Ok((batch, placed.payload, at)))
            }
            _ => None,
        },
        Err(error) => Some(Err(error)),
    })
}
