//! Extended attributes, which ACLs are too.
//!
//! All calls but the newest take a path or an open file, not a directory handle with a name; such an object is reached through
//! `/proc/self/fd/N/name`, which starts at the handle and so cannot be led elsewhere.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{
    XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, getxattr, lgetxattr, listxattr, llistxattr, removexattr, setxattr,
};
use rustix::io::Errno;
use standin_common::entry::Xattr;

use super::mark::is_mark;
use super::xattr_at;

/// Bytes of names that are read in one call; more is rare and asked for by size.
const LIST: usize = 1024;
/// Prefix of the attributes that hold an ACL; setting or removing one changes the mode.
pub(super) const ACL: &[u8] = b"system.posix_acl_";

/// How an object's attributes are reached.
#[derive(Clone, Copy)]
pub(super) enum Reach<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// `/proc/self/fd/N` of a handle that only names the object.
    Named(&'a CStr),
    /// A name in an open directory; it is not followed. For reading only.
    Beneath(BorrowedFd<'a>, &'a CStr),
}

/// Whether an attribute is replicated; `privileged` ones only where they can be set.
///
/// Not kept: `security.selinux` belongs to the policy of its machine, `security.ima` and `security.evm` to its keys; what marks a live tree, to that tree.
fn kept(name: &[u8], privileged: bool) -> bool {
    if is_mark(name) {
        return false;
    }
    if name.starts_with(b"user.") || name == b"system.posix_acl_access" || name == b"system.posix_acl_default" {
        return true;
    }
    let machine = [b"security.selinux".as_slice(), b"security.ima", b"security.evm"].contains(&name);
    privileged && !machine && (name.starts_with(b"trusted.") || name.starts_with(b"security."))
}

/// The kept attributes of an object, by name; none where the file system has none.
pub(super) fn read(from: Reach<'_>, privileged: bool) -> io::Result<Vec<Xattr>> {
    let mut small = [0; LIST];
    let large;
    let names = match list(from, &mut small) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(len) => &small[..len],
        Err(Errno::RANGE) => {
            large = list_large(from)?;
            &large
        }
        Err(errno) => return Err(errno.into()),
    };
    let mut xattrs = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty() && kept(name, privileged)) {
        match value(from, name) {
            Ok(value) => xattrs.push((name.to_vec(), value)),
            // Removed between the two calls.
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

/// Makes the kept attributes of an object exactly `wanted`; returns whether an ACL, and so maybe the mode, was changed.
pub(super) fn apply(to: Reach<'_>, wanted: &[Xattr], privileged: bool) -> io::Result<bool> {
    let present = read(to, privileged)?;
    let mut acl = false;
    for (name, _) in present.iter().filter(|(name, _)| !wanted.iter().any(|(n, _)| n == name)) {
        acl |= name.starts_with(ACL);
        remove(to, name).map_err(|errno| failed("remove", name, errno))?;
    }
    for xattr in wanted.iter().filter(|(name, _)| kept(name, privileged)) {
        if !present.contains(xattr) {
            acl |= xattr.0.starts_with(ACL);
            set(to, &xattr.0, &xattr.1).map_err(|errno| failed("set", &xattr.0, errno))?;
        }
    }
    Ok(acl)
}

fn failed(what: &str, name: &[u8], errno: Errno) -> io::Error {
    let error = io::Error::from(errno);
    io::Error::new(error.kind(), format!("cannot {what} the extended attribute {}: {error}", name.escape_ascii()))
}

fn list(from: Reach<'_>, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    match from {
        Reach::Open(fd) => flistxattr(fd, buffer),
        Reach::Named(path) => listxattr(path, buffer),
        Reach::Beneath(directory, name) => match xattr_at::list(directory, name, buffer) {
            Some(listed) => listed,
            None => llistxattr(&*through_proc(directory, name)?, buffer),
        },
    }
}

/// `/proc/self/fd/N/name`.
fn through_proc(directory: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<CString> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    CString::new(path).map_err(|_| Errno::INVAL)
}

/// The kernel's bound on a list, `XATTR_LIST_MAX`.
fn list_large(from: Reach<'_>) -> io::Result<Vec<u8>> {
    let mut names = vec![0; 64 * 1024];
    let len = list(from, &mut names)?;
    names.truncate(len);
    Ok(names)
}

/// A value has at most 64 KiB (`XATTR_SIZE_MAX`); nearly all fit the first try.
fn value(from: Reach<'_>, name: &[u8]) -> rustix::io::Result<Vec<u8>> {
    let mut value = Vec::new();
    for size in [256, 64 * 1024] {
        value.reserve_exact(size);
        let room = spare_capacity(&mut value);
        let got = match from {
            Reach::Open(fd) => fgetxattr(fd, name, room),
            Reach::Named(path) => getxattr(path, name, room),
            Reach::Beneath(directory, at) => lgetxattr(&*through_proc(directory, at)?, name, room),
        };
        match got {
            Err(Errno::RANGE) => {}
            Err(errno) => return Err(errno),
            Ok(_) => {
                value.shrink_to_fit();
                return Ok(value);
            }
        }
    }
    Err(Errno::RANGE)
}

fn set(to: Reach<'_>, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    match to {
        Reach::Open(fd) => fsetxattr(fd, name, value, XattrFlags::empty()),
        Reach::Named(path) => setxattr(path, name, value, XattrFlags::empty()),
        Reach::Beneath(..) => Err(Errno::INVAL),
    }
}

fn remove(to: Reach<'_>, name: &[u8]) -> rustix::io::Result<()> {
    let removed = match to {
        Reach::Open(fd) => fremovexattr(fd, name),
        Reach::Named(path) => removexattr(path, name),
        Reach::Beneath(..) => Err(Errno::INVAL),
    };
    match removed {
        Err(Errno::NODATA) => Ok(()),
        other => other,
    }
}
