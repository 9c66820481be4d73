//! That nothing is done for a group by itself: during maintenance. Kept over a restart.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use standin_common::disk::{self, Mode};
use standin_failover::execute::{Clock, SystemClock};

/// A group's pause on this node, in the file `paused.json` of the group's directory.
pub(super) struct Pause {
    path: PathBuf,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Kept {
    since_unix_ms: u64,
}

impl Pause {
    /// What was kept in a group's directory.
    ///
    /// Errors: what cannot be read, in words.
    pub(super) fn open(directory: &Path) -> Result<Self, String> {
        let path = directory.join("paused.json");
        let bytes = disk::read_optional(&path).map_err(|error| error.to_string())?;
        let read = |bytes: Vec<u8>| {
            serde_json::from_slice(&bytes).map_err(|error| {
                format!("{} is not what was written ({error}): remove it, and `standin group pause` again", path.display())
            })
        };
        let kept: Option<Option<Kept>> = bytes.map(read).transpose()?;
        let kept = kept.flatten();
        Ok(Self { path, kept: Mutex::new(kept) })
    }

    /// Since when, in milliseconds since 1970; `None` where it is not paused.
    pub(super) fn since_unix_ms(&self) -> Option<u64> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).map(|kept| kept.since_unix_ms)
    }

    /// Begins it, or ends it; durable when it returns. The same again changes nothing.
    ///
    /// Errors: those of the disk, in words.
    pub(super) fn set(&self, paused: bool) -> Result<(), String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_some() == paused {
            return Ok(());
        }
        let next = paused.then(|| Kept { since_unix_ms: SystemClock::default().unix_ms() });
        let bytes = serde_json::to_vec(&next).map_err(|error| error.to_string())?;
        disk::replace(&self.path, &bytes, Mode::Private).map_err(|error| error.to_string())?;
        *kept = next;
        tracing::warn!(path = %self.path.display(), paused, "somebody changed whether anything is done by itself");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_and_its_end_outlive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let is_paused = || Pause::open(dir.path()).unwrap().since_unix_ms().is_some();
        assert!(!is_paused());
        for paused in [true, true, false, false, true] {
            Pause::open(dir.path()).unwrap().set(paused).unwrap();
            assert_eq!(is_paused(), paused);
        }
        std::fs::write(dir.path().join("paused.json"), "{").unwrap();
        assert!(Pause::open(dir.path()).is_err_and(|why| why.contains("paused.json")));
    }
}
