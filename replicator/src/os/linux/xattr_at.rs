//! `listxattrat` (Linux 6.13, listxattrat(2)): the names of an object's extended attributes by directory handle and name, which spares the
//! way through `/proc`. No library has it yet.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::io::Errno;

/// Its number, the same on every architecture since 5.1, but for those that begin to count elsewhere.
const LISTXATTRAT: libc::c_long = 465;

static MISSING: AtomicBool = AtomicBool::new(cfg!(any(target_arch = "mips", target_arch = "mips64")));

/// Lists the names of what `name` is in the directory, a symbolic link itself; `None` where the kernel or a filter of calls does not have it.
pub(super) fn list(directory: BorrowedFd<'_>, name: &CStr, buffer: &mut [u8]) -> Option<rustix::io::Result<usize>> {
    if MISSING.load(Relaxed) {
        return None;
    }
    // SAFETY: the name ends with a zero byte and the kernel writes at most `buffer.len()` bytes into the buffer; both outlive the call.
    let listed = unsafe {
        libc::syscall(
            LISTXATTRAT,
            directory.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    };
    if let Ok(len) = usize::try_from(listed) {
        return Some(Ok(len));
    }
    let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
    if matches!(errno, Errno::NOSYS | Errno::PERM) {
        MISSING.store(true, Relaxed);
        return None;
    }
    Some(Err(errno))
}
