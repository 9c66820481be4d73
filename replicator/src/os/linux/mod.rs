//! Linux: every path is resolved by `openat2` beneath the root's handle, with no symbolic link followed on the way.
//!
//! | module | what it does |
//! | --- | --- |
//! | `by_handle` | what names an object for as long as it exists |
//! | `confine` | what a receiving thread may reach at all |
//! | `resolve` | from a path to a handle, however long the path is |
//! | `object` | reads and sets what a file system keeps of an object besides its data |
//! | `xattr` | extended attributes |
//! | `xattr_at` | their names, by directory handle and name |
//! | `handle` | open directories and files |
//! | `positioned` | reading and writing at a place of a file |
//! | `mark` | which tree is live, told by the tree itself |
//! | `mount` | which file system a root lies in |
//! | `volume` | ties them together |
//! | `watch` | notices of change |
//! | `layer` | a file system over a root that tells every operation (capture `ordered`) |

mod by_handle;
mod confine;
mod handle;
mod layer;
mod mark;
mod mount;
mod object;
mod positioned;
mod resolve;
#[cfg(test)]
mod tests;
mod volume;
mod watch;
mod xattr;
mod xattr_at;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use standin_common::path::RelPath;

pub use confine::confine;
pub use handle::{OsDirectory, OsFile};
pub use layer::{Layer, clear_dead_layer};
pub use mark::{clear_live, live_since, mark_live};
pub use mount::{free_bytes, mount_point, mounts_beneath};
pub(crate) use positioned::{read_full_at, write_all_at};
pub use volume::OsVolume;
pub use watch::watch;

/// By how much a thread steps back, in steps of nice(2): it gets a third of what others get beside it.
const BACK: i32 = 5;

/// The size of what is at `path` beneath a root, in bytes: `Some(None)` of a directory, which has none, and `None` if nothing is there.
/// For reports only: links on the way are followed.
pub fn len_of(root: &Path, path: &RelPath) -> Option<Option<u64>> {
    let found = root.join(OsStr::from_bytes(path.as_bytes())).symlink_metadata().ok()?;
    Some((!found.is_dir()).then(|| if found.is_file() { found.len() } else { 0 }))
}

/// From now on the calling thread takes processor time mostly where nobody else wants it: its work is for later, others are waited for.
pub fn step_back() {
    // On Linux this is the thread's alone. Where it is refused, all are alike, which is no error.
    if let Err(error) = rustix::process::nice(BACK) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

/// Processor time that this process has used so far.
pub fn cpu_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec.unsigned_abs() as u32)
}
