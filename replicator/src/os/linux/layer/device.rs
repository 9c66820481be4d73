//! The device through which the kernel asks.
#![allow(unsafe_code)]

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read, writev};
use rustix::ioctl::{Setter, ioctl, opcode};

/// `FUSE_DEV_IOC_CLONE`.
const CLONE: rustix::ioctl::Opcode = opcode::read::<u32>(229, 0);

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
