//! When what was received is made durable, and what a mark says of it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use standin_common::message::Position;

use super::{ReceiveError, Reception, Table, lock};
use crate::journal::Record;
use crate::store::Store;
use crate::volume::Volume;

/// What a mark makes durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// How far the walk is covered.
    pub position: Option<Position>,
    /// Of the data that came in this reception, in bytes before compression.
    pub data_bytes: u64,
}

impl<V: Volume, S: Store> Reception<'_, V, S> {
    /// Data came, and is in the replica, staged or in the journal.
    pub(in crate::standby) fn took(&self, data: &[u8]) {
        self.data_bytes.fetch_add(data.len() as u64, Ordering::Release);
    }

    /// Makes durable what was received so far.
    pub fn mark(&self) -> Result<Marked, ReceiveError> {
        let data_bytes = self.data_bytes.load(Ordering::Acquire);
        let (position, summary) = {
            let table = lock(&self.table);
            let first = table.order.first().and_then(|(_, file)| table.wanted.get(file));
            (first.map_or(table.joined.clone(), |wanted| wanted.before.clone()), table.summary)
        };
        // Whatever was put into the journal before this moment is synced below, with the data it speaks of.
        let covers = lock(&self.journal).len();
        self.sync_volumes()?;
        let mut journal = lock(&self.journal);
        // The commit must stay the last record.
        if !self.committed.load(Ordering::Relaxed) {
            journal.append(&Record::Mark { covers, position: position.clone(), summary }, &[])?;
            journal.sync()?;
        }
        Ok(Marked { position, data_bytes })
    }

    /// No file is asked for any more.
    pub(in crate::standby) fn walked(&self) {
        let mut table = lock(&self.table);
        table.to_complete = true;
        self.look_if_complete(&table);
    }

    pub(super) fn look_if_complete(&self, table: &Table) {
        if table.to_complete && table.wanted.is_empty() {
            self.complete.notify_all();
        }
    }

    /// Waits so long, but not beyond the moment when the last file has come. Returns whether that is why; `None` if the reception has ended.
    pub(in crate::standby) fn wait_to_mark(&self, pause: Duration) -> Option<bool> {
        let goes_on = |table: &mut Table| !(table.ended || table.to_complete && table.wanted.is_empty());
        let waited = self.complete.wait_timeout_while(lock(&self.table), pause, goes_on);
        let (mut table, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if table.ended {
            return None;
        }
        let all = !waited.timed_out();
        table.to_complete &= !all;
        Some(all)
    }
}
