//! What changed and was not replicated, kept over a restart: the file `waiting` in the set's state directory.
//!
//! A restart is followed by a mirror that compares attributes. What is kept here is compared by its data after that, so that a change
//! which left size and time as they were is not forgotten because the daemon ended while the standby was away. If the file cannot be
//! read, everything is compared by its data.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use standin_common::disk::{self, DiskError, Mode};
use standin_replicator::capture::watch::Watch;
use standin_replicator::capture::{Damaged, Taken, is_sound};

const FILE: &str = "waiting";
/// While changes wait, they are kept this often. It bounds what a daemon that is killed forgets.
const INTERVAL: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Waiting {
    path: PathBuf,
    /// Whether the file is there.
    is_kept: bool,
    /// When it was written or that failed, and the count of notices then, if it was.
    tried: Option<(Instant, Option<u64>)>,
    /// Whether that failed, and it was said.
    failing: bool,
    /// From before the start, until a watch has it.
    before: Option<Vec<u8>>,
    /// Whether what waited before the start cannot be known.
    is_unknown: bool,
}

impl Waiting {
    /// Reads what a daemon before this one kept.
    pub(super) fn open(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let read = disk::read_optional(&path).map_err(|error| error.to_string());
        let read = read.and_then(|before| match before {
            Some(bytes) if !is_sound(&bytes) => Err(format!("{}: {Damaged}", path.display())),
            before => Ok(before),
        });
        if let Err(error) = &read {
            tracing::warn!(error, "what waited before the start is not known: everything will be compared by its data");
        }
        let is_kept = !matches!(read, Ok(None));
        Self { path, is_kept, tried: None, failing: false, is_unknown: read.is_err(), before: read.unwrap_or_default() }
    }

    /// Whether what waited before the start cannot be known, so that everything has to be compared by its data.
    pub(super) fn is_unknown(&self) -> bool {
        self.is_unknown
    }

    /// Something else that was kept cannot be known.
    pub(super) fn lose(&mut self) {
        self.is_unknown = true;
    }

    /// That is ordered, durably.
    pub(super) fn is_found_by_data(&mut self) {
        if std::mem::take(&mut self.is_unknown) {
            self.arrived();
        }
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
        let due = self.tried.is_none_or(|(at, before)| before != Some(seen) && at.elapsed() >= INTERVAL);
        if due {
            self.keep(watch, under_way);
        }
    }

    /// Does what may take long, and meanwhile keeps what waits, if there is a watch.
    pub(super) fn keep_during<T>(&mut self, watch: Option<&Watch>, under_way: Option<&Taken>, work: impl FnOnce() -> T) -> T {
        let (over, ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(INTERVAL) {
                    self.keep_now_and_then(watch, under_way);
                }
            });
            let result = work();
            drop(over);
            result
        })
    }

    /// Keeps what waits, and what was taken and did not arrive; `false` if that fails.
    pub(super) fn keep(&mut self, watch: &Watch, under_way: Option<&Taken>) -> bool {
        let seen = watch.seen();
        let written = match watch.save(under_way) {
            Some(bytes) => disk::replace(&self.path, &bytes, Mode::Private).map(|()| self.is_kept = true),
            None => self.remove(),
        };
        self.tried = Some((Instant::now(), written.is_ok().then_some(seen)));
        let failed_before = std::mem::replace(&mut self.failing, written.is_err());
        // A disk that is full for a day is worth a line, not thousands.
        if let Err(error) = written.as_ref()
            && !failed_before
        {
            tracing::warn!(%error, "what waits is not kept over a restart");
        }
        written.is_ok()
    }

    /// What waited has arrived.
    pub(super) fn arrived(&mut self) {
        if let Err(error) = self.remove() {
            // It would only be compared once more.
            tracing::debug!(%error, "what waited stays in its file");
        }
    }

    fn remove(&mut self) -> Result<(), DiskError> {
        if self.is_kept && self.before.is_none() && !self.is_unknown {
            disk::remove(&self.path)?;
            (self.is_kept, self.tried) = (false, None);
        }
        Ok(())
    }
}
