//! The device through which the kernel asks.
#![allow(unsafe_code)]

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read, writev};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, Setter, ioctl, opcode};

use super::wire::BackingId;

/// `FUSE_DEV_IOC_CLONE`.
const CLONE: Opcode = opcode::read::<u32>(229, 0);
/// `FUSE_DEV_IOC_BACKING_OPEN`.
const BACKING_OPEN: Opcode = opcode::write::<BackingMap>(229, 1);
/// `FUSE_DEV_IOC_BACKING_CLOSE`.
const BACKING_CLOSE: Opcode = opcode::write::<u32>(229, 2);

/// `struct fuse_backing_map`.
#[repr(C)]
struct BackingMap {
    fd: i32,
    flags: u32,
    padding: u64,
}

// SAFETY: the request reads a `BackingMap` and returns a number; nothing is written through the pointer.
unsafe impl Ioctl for BackingMap {
    type Output = BackingId;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        BACKING_OPEN
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        std::ptr::from_mut(self).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut std::ffi::c_void) -> rustix::io::Result<BackingId> {
        u32::try_from(out).map(BackingId).map_err(|_| Errno::INVAL)
    }
}

/// An open `/dev/fuse`. The mount is dead when the last one is closed.
#[derive(Debug)]
pub(super) struct Device(OwnedFd);

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Device {
    /// One that belongs to no mount yet.
    pub(super) fn open() -> io::Result<Self> {
        let opened = openat(CWD, c"/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        opened.map(Self).map_err(|errno| {
            let error = io::Error::from(errno);
            io::Error::new(error.kind(), format!("cannot open /dev/fuse: {error}; the kernel needs FUSE (modprobe fuse)"))
        })
    }

    /// One more for the same mount, so that threads do not wait for each other. A request is answered where it was read.
    pub(super) fn another(&self) -> io::Result<Self> {
        let new = Self::open()?;
        // SAFETY: the request takes a pointer to a 32-bit descriptor, which is what a `Setter` of it passes; nothing else is touched.
        unsafe { ioctl(&new, Setter::<CLONE, u32>::new(self.0.as_raw_fd() as u32))? };
        Ok(new)
    }

    /// Lets the kernel read a file by itself, where an answer to an opening says so; until [`forget`](Self::forget) nobody else has the number.
    pub(super) fn lend(&self, file: BorrowedFd<'_>) -> io::Result<BackingId> {
        // SAFETY: see `BackingMap`.
        Ok(unsafe { ioctl(&self.0, BackingMap { fd: file.as_raw_fd(), flags: 0, padding: 0 })? })
    }

    /// Takes back what was [lent](Self::lend); whoever has it open goes on.
    pub(super) fn forget(&self, BackingId(number): BackingId) -> io::Result<()> {
        // SAFETY: the request takes a pointer to a 32-bit number, which is what a `Setter` of it passes; nothing else is touched.
        unsafe { ioctl(&self.0, Setter::<BACKING_CLOSE, u32>::new(number))? };
        Ok(())
    }

    /// Waits for the next request; `None` when the file system was unmounted.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match read(&self.0, &mut *buffer) {
                // A request that was taken back before we had it, or a signal.
                Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
                // The kernel says the latter of some connections that were ended.
                Err(Errno::NODEV | Errno::CONNABORTED) => return Ok(None),
                received => return Ok(Some(received?)),
            }
        }
    }

    /// Answers. That nobody waits any more is no error.
    pub(super) fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        match writev(&self.0, parts) {
            Err(Errno::NOENT | Errno::NODEV) => Ok(()),
            sent => Ok(sent.map(drop)?),
        }
    }
}
