//! Linux: every path is resolved by `openat2` beneath the root's handle, with no symbolic link followed on the way.
//!
//! | module | what it does |
//! | --- | --- |
//! | `confine` | what a receiving thread may reach at all |
//! | `resolve` | from a path to a handle, however long the path is |
//! | `object` | reads and sets what a file system keeps of an object besides its data |
//! | `xattr` | extended attributes |
//! | `handle` | open directories and files |
//! | `mount` | which file system a root lies in |
//! | `volume` | ties them together |
//! | `watch` | notices of change |

mod confine;
mod handle;
mod mount;
mod object;
mod resolve;
#[cfg(test)]
mod tests;
mod volume;
mod watch;
mod xattr;

pub use confine::confine;
pub use handle::{OsDirectory, OsFile};
pub use mount::{mount_point, mounts_beneath};
pub use volume::OsVolume;
pub use watch::watch;
