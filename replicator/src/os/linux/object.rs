//! Reading and setting what a file system keeps of an object besides its data.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, chmod, chownat, fstat, readlinkat, utimensat,
};
use standin_common::entry::{Attrs, Time};

use super::xattr::{self, Reach};
use crate::volume::{Object, ObjectKind, Stamp};

/// The path that leads to the object of a handle, even one that only names it.
pub(super) fn named(handle: BorrowedFd<'_>) -> io::Result<CString> {
    Ok(CString::new(format!("/proc/self/fd/{}", handle.as_raw_fd()))?)
}

/// The object behind a handle.
pub(super) fn of_handle(handle: BorrowedFd<'_>, reach: Reach<'_>, privileged: bool) -> io::Result<Object> {
    let stat = fstat(handle)?;
    let target = || Ok(readlinkat(handle, c"", Vec::new())?.into_bytes());
    assemble(&stat, target, || xattr::read(reach, privileged))
}

/// Puts an object together; the target of a link and the extended attributes are asked for only where there can be some.
pub(super) fn assemble(
    stat: &Stat,
    target: impl FnOnce() -> io::Result<Vec<u8>>,
    xattrs: impl FnOnce() -> io::Result<Vec<(Vec<u8>, Vec<u8>)>>,
) -> io::Result<Object> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => ObjectKind::Directory,
        FileType::RegularFile => ObjectKind::File,
        FileType::Symlink => ObjectKind::Symlink(target()?),
        FileType::Fifo => ObjectKind::Fifo,
        FileType::Socket => ObjectKind::Special("a socket"),
        FileType::BlockDevice => ObjectKind::Special("a block device"),
        FileType::CharacterDevice => ObjectKind::Special("a character device"),
        FileType::Unknown => ObjectKind::Special("of an unknown kind"),
    };
    let xattrs = if matches!(kind, ObjectKind::Special(_)) { Vec::new() } else { xattrs()? };
    let modified = Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 };
    let changed = Time { secs: stat.st_ctime, nanos: stat.st_ctime_nsec as u32 };
    let size = if kind == ObjectKind::File { stat.st_size as u64 } else { 0 };
    let attrs = Attrs { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime: modified, xattrs };
    let stamp = Stamp { device: stat.st_dev, inode: stat.st_ino, changed, size: stat.st_size as u64, modified };
    Ok(Object { kind, size, attrs, names: stat.st_nlink, stamp })
}

/// Sets all attributes of the object behind a handle, in an order in which none undoes another: a change of owner clears set-id bits
/// and capabilities, an ACL changes the mode, and everything changes nothing of the time that is set last.
pub(super) fn set(handle: BorrowedFd<'_>, reach: Reach<'_>, attrs: &Attrs, privileged: bool) -> io::Result<()> {
    let stat = fstat(handle)?;
    if privileged && (stat.st_uid, stat.st_gid) != (attrs.uid, attrs.gid) {
        let owner = (Uid::from_raw(attrs.uid), Gid::from_raw(attrs.gid));
        chownat(handle, c"", Some(owner.0), Some(owner.1), AtFlags::EMPTY_PATH)?;
    }
    xattr::apply(reach, &attrs.xattrs, privileged)?;
    // The mode of a symbolic link means nothing and cannot be set.
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        chmod(&*named(handle)?, Mode::from_raw_mode(attrs.mode & 0o7777))?;
    }
    let mtime = Timespec { tv_sec: attrs.mtime.secs, tv_nsec: attrs.mtime.nanos.into() };
    let times = Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: mtime };
    utimensat(handle.as_fd(), c"", &times, AtFlags::EMPTY_PATH)?;
    Ok(())
}
