//! File handles (open_by_handle_at(2)), which rustix does not have yet: what names an object for as long as it exists.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{AtFlags, OFlags};

/// Bytes of `struct file_handle` before the handle itself: its length and its type, four bytes each.
pub(super) const HANDLE_HEAD: usize = 8;
/// `MAX_HANDLE_SZ` of the kernel.
const LONGEST_HANDLE: usize = 128;
/// How often a handle is tried for which the kernel has no memory.
const ATTEMPTS: u32 = 1000;

/// Memory that a `struct file_handle` with the longest handle fits into, aligned as it must be.
#[repr(C, align(8))]
struct HandleBuffer([u8; HANDLE_HEAD + LONGEST_HANDLE]);

/// Opens the object of a handle. `mount` is any object of the mount through which it is to be seen, opened for reading.
pub(super) fn open(mount: BorrowedFd<'_>, handle: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let mut buffer = HandleBuffer([0; HANDLE_HEAD + LONGEST_HANDLE]);
    let Some(room) = buffer.0.get_mut(..handle.len()).filter(|room| room.len() >= HANDLE_HEAD) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the handle has an impossible length"));
    };
    room.copy_from_slice(handle);
    assert_eq!(said_len(handle), handle.len() - HANDLE_HEAD, "a handle says its own length");
    let flags = (flags | OFlags::CLOEXEC).bits() as i32;
    let mut open = || -> io::Result<RawFd> {
        // SAFETY: the buffer is aligned for a `file_handle`, and holds as many bytes as that says, which was asserted; the kernel does not
        // keep it.
        check(unsafe { libc::open_by_handle_at(mount.as_raw_fd(), buffer.0.as_mut_ptr().cast(), flags) })
    };
    let mut attempts = 0;
    let fd = loop {
        match open() {
            // Also said, by ext4 at least, of an inode number that is just being given to a new object; soon the handle is stale.
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && attempts < ATTEMPTS => attempts += 1,
            opened => break opened?,
        }
        std::thread::yield_now();
    };
    // SAFETY: the kernel has just opened it for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The handle of the object with that name in a directory, not following a link; with `AtFlags::EMPTY_PATH` of the directory itself.
pub(super) fn of(directory: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> io::Result<Box<[u8]>> {
    let mut buffer = HandleBuffer([0; HANDLE_HEAD + LONGEST_HANDLE]);
    buffer.0[..4].copy_from_slice(&(LONGEST_HANDLE as u32).to_ne_bytes());
    let mut mount = 0;
    let flags = flags.bits() as i32;
    // SAFETY: the name ends with a NUL; the buffer is aligned for a `file_handle` and has the room that it says; the kernel keeps neither.
    let result = unsafe {
        let handle = buffer.0.as_mut_ptr().cast();
        libc::name_to_handle_at(directory.as_raw_fd(), name.as_ptr(), handle, &raw mut mount, flags)
    };
    check(result)?;
    let len = HANDLE_HEAD + said_len(&buffer.0);
    Ok(buffer.0[..len.min(buffer.0.len())].into())
}

fn said_len(handle: &[u8]) -> usize {
    u32::from_ne_bytes([handle[0], handle[1], handle[2], handle[3]]) as usize
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
