//! The requests that are being served, so that who waits for the standby can be killed.
//!
//! A process that waits for an answer ends only with it, SIGKILL or not; all the kernel does is to say that a signal came
//! (`FUSE_INTERRUPT`, once for a request). Other signals must not end a wait, since programs take a failed fsync for a lost disk. So the answer is given early
//! only to who is being killed: what it asked for is done, and waits on without it.

use std::collections::HashMap;
use std::fs;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::device::Device;
use super::wire::refusal;

/// Between looks at a process that got a signal.
const LOOK: Duration = Duration::from_millis(50);
/// Another thread may have read a request, and not yet begun with it.
const SOON: Duration = Duration::from_millis(200);
/// SIGKILL in a set of signals, signal(7).
const KILLED: u64 = 1 << (9 - 1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashMap<u64, One>>);

#[derive(Debug, Clone)]
struct One {
    /// Where it was read, which is where it is answered.
    device: Arc<Device>,
    /// The thread that asks; 0 if that is in another container.
    asks: u32,
}

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, One>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is begun with.
    pub(super) fn begin(&self, unique: u64, asks: u32, device: &Arc<Device>) {
        self.lock().insert(unique, One { device: Arc::clone(device), asks });
    }

    /// It is done.
    pub(super) fn end(&self, unique: u64) {
        self.lock().remove(&unique);
    }

    /// Whoever asked got a signal. Returns when the request is done, or was answered because it was SIGKILL.
    pub(super) fn interrupted(&self, unique: u64) -> io::Result<()> {
        let until = Instant::now() + SOON;
        let mut is_known = false;
        loop {
            let one = self.lock().get(&unique).cloned();
            match one {
                Some(one) if is_killed(one.asks) => {
                    // Whoever serves it finds nobody waiting, which is no error.
                    return one.device.send(&[IoSlice::new(refusal(unique, Errno::INTR.raw_os_error()).as_bytes())]);
                }
                Some(_) => is_known = true,
                None if is_known || Instant::now() >= until => return Ok(()),
                None => {}
            }
            std::thread::park_timeout(LOOK); // poll
        }
    }
}

/// Whether a thread is about to die, proc_pid_status(5). One that cannot be looked at is not.
fn is_killed(thread: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let pending = status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    pending.filter_map(|set| u64::from_str_radix(set.trim(), 16).ok()).any(|set| set & KILLED != 0)
}
