//! Waiting for notices, for changes of the table of mounts, and for whoever wakes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::capture::Waker;

/// What the kernel says of a table of mounts that changed since it was last asked.
const OTHER_TABLE: PollFlags = PollFlags::PRI.union(PollFlags::ERR);

/// Whatever a watcher waits for besides its notices.
#[derive(Debug)]
pub(super) struct Waiting {
    woken: Arc<OwnedFd>,
    mounts: File,
    /// The kernel says it once; kept for who asks later.
    mounts_changed: AtomicBool,
}

impl Waiting {
    pub(super) fn new() -> io::Result<Self> {
        let woken = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        Ok(Self { woken, mounts: File::open("/proc/self/mountinfo")?, mounts_changed: AtomicBool::new(false) })
    }

    pub(super) fn waker(&self) -> Waker {
        let woken = Arc::clone(&self.woken);
        Waker::new(move || {
            // It fails only when it was woken 2^64 times without being asked, and then it is awake.
            let _ = rustix::io::write(&*woken, &1u64.to_ne_bytes());
        })
    }

    /// Until `notices` can be read, a mount changes, somebody wakes, or the limit is over.
    pub(super) fn wait(&self, notices: impl AsFd, limit: Duration) -> io::Result<()> {
        let mut fds = [
            PollFd::new(&notices, PollFlags::IN),
            PollFd::new(&*self.woken, PollFlags::IN),
            PollFd::new(&self.mounts, PollFlags::PRI),
        ];
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&limit)) {
            // The caller will wait again.
            Err(Errno::INTR) => return Ok(()),
            polled => polled?,
        };
        if fds[1].revents().contains(PollFlags::IN) {
            // Somebody else may have reset it.
            let _ = rustix::io::read(&*self.woken, &mut [0; 8]);
        }
        self.keep(fds[2].revents());
        Ok(())
    }

    /// Whether the table of mounts changed since the last time this was asked.
    pub(super) fn mounts_changed(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.mounts, PollFlags::PRI)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        self.keep(fds[0].revents());
        Ok(self.mounts_changed.swap(false, Ordering::Relaxed))
    }

    fn keep(&self, told: PollFlags) {
        if told.intersects(OTHER_TABLE) {
            self.mounts_changed.store(true, Ordering::Relaxed);
        }
    }
}
