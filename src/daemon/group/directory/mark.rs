//! Whether a resource was brought online on this node: the directory itself does not tell for which group something was written.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use standin_common::disk::{self, DiskError, Mode};
use standin_failover::resource::Condition;

/// A file that says so, over restarts.
pub(in crate::daemon::group) struct Mark(pub(in crate::daemon::group) PathBuf);

/// What the file says. There is one since the users came here.
#[derive(Serialize, Deserialize)]
struct Written {
    online: bool,
}

impl Mark {
    fn read(&self) -> Result<Option<Written>, DiskError> {
        // One that cannot be understood is as good as none: the directory is asked then, and says what is to be done.
        Ok(disk::read_optional(&self.0)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// How the resource stands.
    pub(super) fn condition(&self) -> Result<Condition, DiskError> {
        let online = self.read()?.is_some_and(|written| written.online);
        Ok(if online { Condition::Online } else { Condition::Offline })
    }

    /// Whether it was online here since the users came.
    pub(super) fn were_here(&self) -> Result<bool, DiskError> {
        Ok(self.read()?.is_some())
    }

    /// Takes note of a start or a stop. A stop of what never was here leaves nothing.
    pub(super) fn set(&self, online: bool) -> Result<(), DiskError> {
        if !online && !self.were_here()? {
            return Ok(());
        }
        let text = if online { b"{\"online\":true}\n".as_slice() } else { b"{\"online\":false}\n" };
        disk::replace(&self.0, text, Mode::Private)
    }

    /// The users are not here.
    pub(super) fn remove(&self) -> Result<(), DiskError> {
        disk::remove(&self.0)
    }
}
