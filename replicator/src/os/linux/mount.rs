//! Which file system a path lies in, told by the directory where that is mounted.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

/// The directory at which the file system is mounted that holds the object at `path`, symbolic links followed.
///
/// A file system that was unmounted shows by a shorter answer than before.
pub fn mount_point(path: &Path) -> io::Result<PathBuf> {
    let path = path.canonicalize()?;
    for above in path.ancestors() {
        let found = statx(CWD, above, AtFlags::NO_AUTOMOUNT, StatxFlags::TYPE)?;
        if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Ok(above.to_owned());
        }
    }
    Ok(PathBuf::from("/"))
}
