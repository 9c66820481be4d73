//! What changed and was not replicated, kept over a restart: the file `waiting` in the set's state directory.
//!
//! A restart is followed by a mirror that compares attributes. What is kept here is compared by its data after that, so that a change
//! which left size and time as they were is not forgotten because the daemon ended while the standby was away.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use standin_common::disk::{self, DiskError, Mode};
use standin_replicator::capture::Taken;
use standin_replicator::capture::watch::Watch;

const FILE: &str = "waiting";
/// While changes wait, they are kept this often. It bounds what a daemon that is killed forgets.
const INTERVAL: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Waiting {
    path: PathBuf,
    /// Whether the file is there.
    is_kept: bool,
    /// When it was written, and the count of notices then.
    written: Option<(Instant, u64)>,
    /// From before the start, until a watch has it.
    before: Option<Vec<u8>>,
}

impl Waiting {
    /// Reads what a daemon before this one kept.
    pub(super) fn open(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let before = disk::read_optional(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, "what waited before the start is not known: everything is compared by size and time");
            None
        });
        Self { path, is_kept: before.is_some(), written: None, before }
    }

    /// A watch that begins learns what waited before the start.
    pub(super) fn restore_to(&mut self, watch: &Watch) {
        if let Some(Err(error)) = self.before.take().map(|before| watch.restore(&before)) {
            tracing::warn!(path = %self.path.display(), %error, "everything is compared");
        }
    }

    /// Keeps what waits, if it is time for that.
    pub(super) fn keep_now_and_then(&mut self, watch: Option<&Watch>, under_way: Option<&Taken>) {
        let Some(watch) = watch else { return };
        let seen = watch.seen();
        let due = self.written.is_none_or(|(at, before)| seen != before && at.elapsed() >= INTERVAL);
        if due {
            self.keep(watch, under_way);
        }
    }

    /// Keeps what waits, and what was taken and did not arrive.
    pub(super) fn keep(&mut self, watch: &Watch, under_way: Option<&Taken>) {
        let seen = watch.seen();
        let written = match watch.save(under_way) {
            Some(bytes) => disk::replace(&self.path, &bytes, Mode::Private).map(|()| self.is_kept = true),
            None => self.remove(),
        };
        match written {
            Ok(()) => self.written = Some((Instant::now(), seen)),
            Err(error) => tracing::warn!(%error, "what waits is not kept over a restart"),
        }
    }

    /// What waited has arrived.
    pub(super) fn arrived(&mut self) {
        if let Err(error) = self.remove() {
            // It would only be compared once more.
            tracing::debug!(%error, "what waited stays in its file");
        }
    }

    fn remove(&mut self) -> Result<(), DiskError> {
        if self.is_kept && self.before.is_none() {
            disk::remove(&self.path)?;
            (self.is_kept, self.written) = (false, None);
        }
        Ok(())
    }
}
