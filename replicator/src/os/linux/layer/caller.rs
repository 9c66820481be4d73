//! What a thread does in the name of whoever asked.
//!
//! The kernel has judged every request by the permissions of the objects (`default_permissions`), so threads keep the right to
//! everything. What they must not keep is what would show in the result: each has its own umask, loses the right to keep set-id bits
//! where the kernel says so, and never has the right to go beyond quotas.
#![allow(unsafe_code)]

use std::io;

use rustix::fs::Mode;
use rustix::process::umask;
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities, set_capabilities, unshare_unsafe};

/// The state of a thread.
#[derive(Debug)]
pub(super) struct Caller {
    umask: u32,
    keeps_set_id: bool,
}

impl Caller {
    /// Makes the calling thread ready.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: only the umask and the working directory are made the thread's own; descriptors stay shared.
        unsafe { unshare_unsafe(UnshareFlags::FS) }?;
        umask(Mode::empty());
        let caller = Self { umask: 0, keeps_set_id: true };
        caller.set(CapabilitySet::SYS_RESOURCE, false)?;
        Ok(caller)
    }

    /// What is made from now on is made with this umask.
    pub(super) fn umask(&mut self, bits: u32) {
        if self.umask != bits {
            umask(Mode::from_raw_mode(bits & 0o777));
            self.umask = bits;
        }
    }

    /// Whether what is changed from now on keeps its set-id bits.
    pub(super) fn keep_set_id(&mut self, keep: bool) -> io::Result<()> {
        if self.keeps_set_id != keep {
            self.set(CapabilitySet::FSETID, keep)?;
            self.keeps_set_id = keep;
        }
        Ok(())
    }

    fn set(&self, which: CapabilitySet, on: bool) -> io::Result<()> {
        let mut sets = capabilities(None)?;
        sets.effective.set(which, on);
        Ok(set_capabilities(None, sets)?)
    }
}
