//! Linux: every path is resolved by `openat2` beneath the root's handle, with no symbolic link followed on the way.
//!
//! | module | what it does |
//! | --- | --- |
//! | `by_handle` | what names an object for as long as it exists |
//! | `confine` | what a receiving thread may reach at all |
//! | `resolve` | from a path to a handle, however long the path is |
//! | `object` | reads and sets what a file system keeps of an object besides its data |
//! | `xattr` | extended attributes |
//! | `handle` | open directories and files |
//! | `mount` | which file system a root lies in |
//! | `volume` | ties them together |
//! | `watch` | notices of change |
//! | `layer` | a file system over a root that tells every operation (capture `ordered`) |

mod by_handle;
mod confine;
mod handle;
mod layer;
mod mount;
mod object;
mod resolve;
#[cfg(test)]
mod tests;
mod volume;
mod watch;
mod xattr;

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use standin_common::path::RelPath;

pub use confine::confine;
pub use handle::{OsDirectory, OsFile};
pub use layer::{Layer, clear_dead_layer};
pub use mount::{mount_point, mounts_beneath};
pub use volume::OsVolume;
pub use watch::watch;

/// The size of the file at `path` beneath a root, in bytes; `None` if there is none. For reports only: links on the way are followed.
pub fn file_len(root: &Path, path: &RelPath) -> Option<u64> {
    let at = root.join(OsStr::from_bytes(path.as_bytes()));
    at.symlink_metadata().ok().filter(Metadata::is_file).map(|found| found.len())
}
