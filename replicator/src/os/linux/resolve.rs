//! From a path to a handle, without ever following a symbolic link or leaving the root.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use standin_common::path::RelPath;

pub(super) use crate::volume::RESERVED;
use crate::volume::is_reserved;

/// Longest path given to the kernel at once; `PATH_MAX` is 4096 with the final NUL.
const PIECE: usize = 4000;
/// How often a lookup is repeated that the kernel broke off because of a rename elsewhere.
const ATTEMPTS: u32 = 64;

/// Flags of a handle that only names an object: no permission to read it is needed, and nothing happens to a device.
pub(super) const NAME_ONLY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Flags of a handle to pass on the way.
const ON_THE_WAY: OFlags = NAME_ONLY.union(OFlags::DIRECTORY);

/// A directory handle that is either the root's own or opened for one operation.
pub(super) enum Handle<'a> {
    /// The root's, or the side area's.
    Borrowed(BorrowedFd<'a>),
    /// Closed after the operation.
    Owned(OwnedFd),
}

impl AsFd for Handle<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Borrowed(fd) => *fd,
            Self::Owned(fd) => fd.as_fd(),
        }
    }
}

/// Opens `path` beneath `root`.
pub(super) fn open(root: BorrowedFd<'_>, path: &RelPath, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    refuse_reserved(path)?;
    let (from, rest) = shorten(root, path.as_bytes())?;
    open_piece(from.as_fd(), rest, flags, mode)
}

/// The directory that holds `path`, and the last name of it. The root itself has neither.
pub(super) fn parent<'a, 'p>(root: BorrowedFd<'a>, path: &'p RelPath) -> io::Result<(Handle<'a>, &'p [u8])> {
    refuse_reserved(path)?;
    if path.is_root() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the root itself cannot be made, moved or removed"));
    }
    let bytes = path.as_bytes();
    let Some(slash) = bytes.iter().rposition(|b| *b == b'/') else {
        return Ok((Handle::Borrowed(root), bytes));
    };
    let (from, rest) = shorten(root, &bytes[..slash])?;
    let directory = open_piece(from.as_fd(), rest, ON_THE_WAY, Mode::empty())?;
    Ok((Handle::Owned(directory), &bytes[slash + 1..]))
}

/// The side area must be out of a peer's reach.
fn refuse_reserved(path: &RelPath) -> io::Result<()> {
    if is_reserved(path) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the name '.standin' at the top of a root is Standin's own"));
    }
    Ok(())
}

/// Opens the leading pieces of a path that is too long for the kernel; returns the last handle and what is left.
fn shorten<'a, 'p>(root: BorrowedFd<'a>, mut path: &'p [u8]) -> io::Result<(Handle<'a>, &'p [u8])> {
    let mut from = Handle::Borrowed(root);
    while path.len() > PIECE {
        // A component has at most 255 bytes, so there is a slash.
        let slash = path[..PIECE].iter().rposition(|b| *b == b'/').ok_or(Errno::NAMETOOLONG)?;
        from = Handle::Owned(open_piece(from.as_fd(), &path[..slash], ON_THE_WAY, Mode::empty())?);
        path = &path[slash + 1..];
    }
    Ok((from, path))
}

fn open_piece(from: BorrowedFd<'_>, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    const HOW: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
    let path = if path.is_empty() { b"." } else { path };
    // The kernel takes a mode only for what may be made.
    let mode = if flags.contains(OFlags::CREATE) { mode } else { Mode::empty() };
    let mut attempts = 0;
    loop {
        match openat2(from, path, flags | OFlags::CLOEXEC, mode, HOW) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if attempts < ATTEMPTS => attempts += 1,
            Err(errno) => return Err(explain(errno)),
            Ok(fd) => return Ok(fd),
        }
    }
}

/// The errors of `openat2` whose usual text would mislead.
fn explain(errno: Errno) -> io::Error {
    match errno {
        Errno::LOOP => {
            // As with a file in the way: what lies beneath is not there.
            io::Error::new(io::ErrorKind::NotADirectory, "a symbolic link is in the way, and links are never followed")
        }
        Errno::NOSYS => io::Error::new(io::ErrorKind::Unsupported, "the kernel has no openat2: Linux 5.6 or newer is needed"),
        errno => errno.into(),
    }
}
