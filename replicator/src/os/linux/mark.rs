//! The mark of a tree that is live: an extended attribute of the root itself, so that it stays with the tree and not with the state directory.
//!
//! It tells the generation at which the tree became its applications' own. A state directory that knows nothing of that is older than the
//! tree. The attribute is not replicated, and nobody sees it in a comparison (see [`super::xattr`]). A block device has none: what its node in
//! `/dev` keeps is gone at the next start of the machine.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, getxattr, removexattr, setxattr};
use rustix::io::Errno;
use standin_common::id::Generation;

/// Of a privileged daemon: nobody else can see or set it.
const TRUSTED: &str = "trusted.standin.live";
/// Of any other.
const USER: &str = "user.standin.live";
/// Room for a number, in bytes.
const ROOM: usize = 64;

/// Whether an attribute is a mark.
pub(super) fn is_mark(name: &[u8]) -> bool {
    name == TRUSTED.as_bytes() || name == USER.as_bytes()
}

/// Whether there is nothing to be had: no attribute, no file system that keeps one, no right to it, no tree.
fn is_none(errno: Errno) -> bool {
    matches!(errno, Errno::NODATA | Errno::NOTSUP | Errno::PERM | Errno::ACCESS | Errno::NOENT)
}

/// At which generation the tree of a root became live, if it is known to be.
pub fn live_since(root: &Path) -> io::Result<Option<Generation>> {
    let mut newest = None;
    for name in [TRUSTED, USER] {
        let mut value = Vec::with_capacity(ROOM);
        match getxattr(root, name, spare_capacity(&mut value)) {
            Err(errno) if is_none(errno) => continue,
            Err(errno) => return Err(errno.into()),
            Ok(_) => {}
        }
        let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()).map(Generation);
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("its extended attribute {name} is no generation"));
        newest = newest.max(Some(number.ok_or_else(damaged)?));
    }
    Ok(newest)
}

/// Marks the tree of a root as live since a generation, durably. `false`: it can keep no mark.
pub fn mark_live(root: &Path, since: Generation) -> io::Result<bool> {
    if root.metadata()?.file_type().is_block_device() {
        return Ok(false);
    }
    for name in [TRUSTED, USER] {
        match setxattr(root, name, since.0.to_string().as_bytes(), XattrFlags::empty()) {
            Err(errno) if is_none(errno) => {}
            set => {
                set?;
                File::open(root)?.sync_all()?;
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The tree of a root is nobody's own any more.
pub fn clear_live(root: &Path) -> io::Result<()> {
    for name in [TRUSTED, USER] {
        match removexattr(root, name) {
            Err(errno) if is_none(errno) => {}
            removed => removed?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stays_with_the_tree_and_is_no_attribute_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        File::create(&image).unwrap();
        for root in [directory.path(), &image] {
            assert_eq!(live_since(root).unwrap(), None);
            if !mark_live(root, Generation(7)).unwrap() {
                eprintln!("the file system of {} keeps no extended attributes", root.display());
                continue;
            }
            assert_eq!(live_since(root).unwrap(), Some(Generation(7)));
            mark_live(root, Generation(9)).unwrap();
            assert_eq!(live_since(root).unwrap(), Some(Generation(9)));
            let handle = File::open(root).unwrap();
            let reach = super::super::xattr::Reach::Open(std::os::fd::AsFd::as_fd(&handle));
            assert!(super::super::xattr::read(reach, true).unwrap().is_empty());
            super::super::xattr::apply(reach, &[], true).unwrap();
            assert_eq!(live_since(root).unwrap(), Some(Generation(9)), "a mirror of the root leaves it");
            clear_live(root).unwrap();
            assert_eq!(live_since(root).unwrap(), None);
        }
        assert!(!mark_live(Path::new("/nowhere/at/all"), Generation(1)).is_ok_and(|marked| marked));
    }
}
