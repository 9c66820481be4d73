//! Notices of change from the kernel.
//!
//! | module | what it does |
//! | --- | --- |
//! | `kernel` | the system calls of fanotify and of file handles, and what an event says |
//! | `ground` | where the roots really lie, in which mounts |
//! | `directories` | from handles to places |
//! | `wait` | waits |
//! | `fanotify` | the watcher that marks whole file systems |
//! | `inotify` | the watcher for where that cannot be |

mod directories;
mod fanotify;
mod ground;
mod inotify;
mod kernel;
#[cfg(test)]
mod tests;
mod wait;

use std::io;
use std::path::PathBuf;

use crate::capture::Watcher;

/// Watches the roots of a set: directories with all beneath them, and single files. What is a block device is left out, and what is not
/// there is watched as soon as it is. Roots are numbered as they stand.
///
/// Errors: nothing can watch them; they say what to raise or mount.
pub fn watch(roots: &[PathBuf]) -> io::Result<Box<dyn Watcher>> {
    match fanotify::Fanotify::new(roots, false) {
        Ok(watcher) => Ok(Box::new(watcher)),
        Err(error) => Ok(Box::new(inotify::Inotify::new(roots, error.to_string())?)),
    }
}
