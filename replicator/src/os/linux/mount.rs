//! Which file system a path lies in, told by the directory where that is mounted.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statvfs, statx};

/// The directories beneath `path` at which file systems are mounted, by their paths from there.
pub fn mounts_beneath(path: &Path) -> io::Result<Vec<PathBuf>> {
    let path = path.canonicalize()?;
    let table = std::fs::read("/proc/self/mountinfo")?;
    // Fields in the order of proc_pid_mountinfo(5); the fifth is the mount point.
    let points = table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    let points = points.map(path_of_field);
    let mut beneath: Vec<_> = points.filter_map(|point| Some(point.strip_prefix(&path).ok()?.to_owned())).collect();
    beneath.retain(|point| !point.as_os_str().is_empty());
    beneath.sort();
    beneath.dedup();
    Ok(beneath)
}

/// The path that a field of the table of mounts stands for.
pub(super) fn path_of_field(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

/// Blanks and the like are octal there: `\040`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                bytes.push(code);
                rest = &after[3..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    bytes
}

/// How many bytes this user may still write to the file system of a path.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let facts = statvfs(path)?;
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}

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
