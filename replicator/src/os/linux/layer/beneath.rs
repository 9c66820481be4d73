//! The directory beneath, through the handle that was opened before it was mounted over.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags, makedev, open, openat, statx};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::wire::Attributes;
use crate::capture::ordered::ObjectId;
use crate::os::linux::by_handle;
use crate::os::linux::resolve::NAME_ONLY;
use standin_common::entry::Time;

/// Handles that are left for open files and all else that the process has, of those that it may have.
const SPARE: u64 = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct Beneath {
    root: OwnedFd,
    device: u64,
    kept: AtomicUsize,
    most_kept: usize,
}

/// An object that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: ObjectId,
    pub(super) handle: Box<[u8]>,
    pub(super) stat: Statx,
}

impl Beneath {
    /// Opens the directory. The path is not looked at again.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let root = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let stat = look(root.as_fd())?;
        Ok(Self { root, device: device_of(&stat), kept: AtomicUsize::new(0), most_kept: most_kept() })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The object with that name in a directory. `XDEV` if another file system (or btrfs subvolume) begins there: its inode numbers
    /// are not unique here, and none is there when the layer is mounted.
    pub(super) fn find(&self, directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Found> {
        let stat = statx(directory, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS)?;
        self.identify(stat, by_handle::of(directory, name, AtFlags::empty()))
    }

    /// The object behind a handle.
    pub(super) fn find_open(&self, object: BorrowedFd<'_>) -> io::Result<Found> {
        self.identify(look(object)?, by_handle::of(object, c"", AtFlags::EMPTY_PATH))
    }

    fn identify(&self, stat: Statx, handle: io::Result<Box<[u8]>>) -> io::Result<Found> {
        if device_of(&stat) != self.device {
            return Err(Errno::XDEV.into());
        }
        let handle = handle?;
        let hash = blake3::hash(&handle);
        let mut short = [0; 8];
        short.copy_from_slice(&hash.as_bytes()[..8]);
        Ok(Found { id: ObjectId { inode: stat.stx_ino, handle: u64::from_le_bytes(short) }, handle, stat })
    }

    /// Opens the object of a handle.
    pub(super) fn by_handle(&self, handle: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        by_handle::open(self.root(), handle, flags)
    }

    /// Whether one more object may be kept open; then it counts.
    pub(super) fn may_keep(&self) -> bool {
        self.kept.fetch_update(Relaxed, Relaxed, |kept| (kept < self.most_kept).then_some(kept + 1)).is_ok()
    }

    /// One that was kept open whatever the bound.
    pub(super) fn keeps(&self) {
        self.kept.fetch_add(1, Relaxed);
    }

    /// One less is kept open.
    pub(super) fn let_go(&self) {
        self.kept.fetch_sub(1, Relaxed);
    }
}

/// Raises the bound on open files as far as it goes, and gives what of it may be used for objects that are merely known.
fn most_kept() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(1 << 20, |most| most.min(1 << 20));
    if limit.current.is_some_and(|now| now < wanted) {
        // If it stays as it is, the bound below counts with that.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
    usize::try_from(now.saturating_sub(SPARE) / 2).unwrap_or(0)
}

fn device_of(stat: &Statx) -> u64 {
    makedev(stat.stx_dev_major, stat.stx_dev_minor)
}

/// Everything that stat(2) tells of the object behind a handle.
pub(super) fn look(object: BorrowedFd<'_>) -> io::Result<Statx> {
    Ok(statx(object, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?)
}

/// Opens an object anew through a handle, with other flags.
pub(super) fn again(object: BorrowedFd<'_>, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(openat(CWD, &*path_of(object), flags | OFlags::CLOEXEC, Mode::empty())?)
}

/// Names an object for later, whatever becomes of its name.
pub(super) fn name_only(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    Ok(openat(directory, name, NAME_ONLY, Mode::empty())?)
}

/// The path that leads to the object behind a handle, for calls that take no handle.
pub(super) fn path_of(object: BorrowedFd<'_>) -> CString {
    // Digits hold no NUL.
    CString::new(format!("/proc/self/fd/{}", object.as_raw_fd())).unwrap_or_default()
}

/// The time of the last change of the contents.
pub(super) fn modified(stat: &Statx) -> Time {
    Time { secs: stat.stx_mtime.tv_sec, nanos: stat.stx_mtime.tv_nsec }
}

/// As the kernel wants to hear it.
pub(super) fn attributes(stat: &Statx) -> Attributes {
    let time = |time: rustix::fs::StatxTimestamp| Time { secs: time.tv_sec, nanos: time.tv_nsec };
    Attributes {
        inode: stat.stx_ino,
        len: stat.stx_size,
        blocks: stat.stx_blocks,
        accessed: time(stat.stx_atime),
        modified: time(stat.stx_mtime),
        changed: time(stat.stx_ctime),
        mode: u32::from(stat.stx_mode),
        links: stat.stx_nlink,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        device: makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
        block_len: stat.stx_blksize,
    }
}
