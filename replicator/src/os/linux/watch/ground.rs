//! What is watched: the roots, as they really lie in the file systems, and the mounts in which they do.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statvfs, statx};
use standin_common::id::RootIndex;
use standin_common::message::Position;
use standin_common::path::RelPath;

use super::super::mounts_beneath;

/// What tells that a path leads where it led before: device, inode (0 of a file, which may be replaced), mount.
type Identity = (u32, u32, u64, u64);

/// A root that is there and can be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) index: RootIndex,
    /// Where it really is: no component is a symbolic link.
    pub(super) real: PathBuf,
    /// Whether it is one file.
    pub(super) is_file: bool,
}

/// A mount in which something of the roots lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// A place in it.
    pub(super) at: PathBuf,
    /// Its number.
    id: u64,
    /// The number of its file system.
    pub(super) file_system: u64,
}

/// The roots and the mounts in which they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ground {
    /// As they were given.
    paths: Vec<PathBuf>,
    /// Of each of those; `None` if there is nothing, or a device.
    identities: Vec<Option<Identity>>,
    pub(super) roots: Vec<Root>,
    pub(super) mounts: Vec<Mount>,
}

impl Ground {
    /// Looks at everything.
    pub(super) fn survey(paths: &[PathBuf]) -> io::Result<Self> {
        let mut ground = Self { paths: paths.to_vec(), identities: identities(paths), roots: Vec::new(), mounts: Vec::new() };
        for (number, path) in paths.iter().enumerate() {
            if ground.identities[number].is_none() {
                continue;
            }
            // Gone since: that shows as a change of its identity.
            let Some(real) = present(path.canonicalize())? else { continue };
            let Some(metadata) = present(real.metadata())? else { continue };
            let index = RootIndex(u16::try_from(number).map_err(io::Error::other)?);
            ground.add_mount(&real)?;
            for beneath in mounts_beneath(&real)? {
                ground.add_mount(&real.join(beneath))?;
            }
            ground.roots.push(Root { index, real, is_file: !metadata.is_dir() });
        }
        Ok(ground)
    }

    fn add_mount(&mut self, at: &Path) -> io::Result<()> {
        let Some(found) = present(statx(CWD, at, AtFlags::NO_AUTOMOUNT, StatxFlags::MNT_ID).map_err(io::Error::from))? else {
            return Ok(());
        };
        if self.mounts.iter().all(|mount| mount.id != found.stx_mnt_id) {
            let file_system = statvfs(at)?.f_fsid;
            self.mounts.push(Mount { at: at.to_owned(), id: found.stx_mnt_id, file_system });
        }
        Ok(())
    }

    /// Whether each path still leads where it led; else the first one that does not.
    pub(super) fn moved(&self) -> Option<&Path> {
        let now = identities(&self.paths);
        let moved = self.identities.iter().zip(&now).position(|(before, now)| before != now);
        moved.map(|number| self.paths[number].as_path())
    }

    /// The paths as they were given.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The places of an absolute path in the roots that hold it.
    pub(super) fn places(&self, path: &Path) -> Vec<Position> {
        let place = |root: &Root| {
            let rest = path.strip_prefix(&root.real).ok()?;
            Some(Position { root: root.index, path: RelPath::new(rest.as_os_str().as_bytes()).ok()? })
        };
        self.roots.iter().filter_map(place).collect()
    }

    /// The absolute path of a place, for the kernel.
    pub(super) fn absolute(&self, place: &Position) -> Option<CString> {
        let root = self.roots.iter().find(|root| root.index == place.root)?;
        let mut path = root.real.as_os_str().as_bytes().to_vec();
        if !place.path.is_root() {
            path.push(b'/');
            path.extend_from_slice(place.path.as_bytes());
        }
        CString::new(path).ok()
    }
}

fn identities(paths: &[PathBuf]) -> Vec<Option<Identity>> {
    paths.iter().map(|path| identity(path)).collect()
}

fn identity(path: &Path) -> Option<Identity> {
    let kind = path.metadata().ok()?.file_type();
    if kind.is_block_device() {
        return None;
    }
    let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
    let found = statx(CWD, path, AtFlags::NO_AUTOMOUNT, wanted).ok()?;
    let inode = if kind.is_dir() { found.stx_ino } else { 0 };
    Some((found.stx_dev_major, found.stx_dev_minor, inode, found.stx_mnt_id))
}

fn present<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        found => found.map(Some),
    }
}
