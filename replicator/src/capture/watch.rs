//! A watch over the roots of a set: what the kernel notices goes into the dirty set, from which rounds take it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Dirty, Method, Noticed, Taken, Watcher};
use crate::os;
use crate::rules::Rules;

/// How often a thread that watches looks whether it is to end.
const LOOK: Duration = Duration::from_millis(500);
/// The most places that are remembered one by one.
const MOST_PLACES: usize = 200_000;

/// See the module.
pub struct Watch {
    watcher: Box<dyn Watcher + Sync>,
    /// Held while notices are taken from the kernel and put in, so that they go in whole and in order.
    dirty: Mutex<Dirty>,
    stopped: AtomicBool,
}

impl Watch {
    /// Watches roots from now on; [`Watch::run`] has to run in a thread of its own.
    pub fn open(roots: &[PathBuf], rules: Vec<Rules>) -> io::Result<Self> {
        let paths: Vec<&Path> = roots.iter().map(PathBuf::as_path).collect();
        let watcher = os::watch(&paths)?;
        Ok(Self { watcher, dirty: Mutex::new(Dirty::new(rules, MOST_PLACES)), stopped: AtomicBool::new(false) })
    }

    /// How it notices.
    pub fn method(&self) -> &Method {
        self.watcher.method()
    }

    fn dirty(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes notices as they come, until [`Watch::stop`]; `changed` is told of each lot.
    pub fn run(&self, changed: &dyn Fn()) {
        let mut seen = 0;
        while !self.stopped.load(Relaxed) {
            let now = self.watcher.wait(LOOK).and_then(|()| self.catch_up());
            match now {
                Ok(now) if now != seen => {
                    seen = now;
                    changed();
                }
                Ok(_) => {}
                Err(error) => {
                    self.dirty().lose(Instant::now(), error.to_string());
                    return changed();
                }
            }
        }
    }

    /// Ends [`Watch::run`].
    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
        self.watcher.waker().wake();
    }

    /// Takes in everything that was noticed before this call; returns the count of all that ever was.
    pub fn catch_up(&self) -> io::Result<u64> {
        let mut dirty = self.dirty();
        self.take_in(&mut dirty)?;
        Ok(dirty.seen())
    }

    fn take_in(&self, dirty: &mut Dirty) -> io::Result<()> {
        let now = Instant::now();
        self.watcher.drain(&mut |noticed| match noticed {
            Noticed::Changed(scope) => dirty.note(scope, now),
            Noticed::Lost(why) => dirty.lose(now, why),
        })
    }

    /// Takes everything that changed before this call out of the dirty set; with the count of all that was ever noticed.
    pub fn take_all(&self) -> io::Result<(Taken, u64)> {
        let mut dirty = self.dirty();
        self.take_in(&mut dirty)?;
        Ok((dirty.take(), dirty.seen()))
    }

    /// Takes what was noticed so far.
    pub fn take(&self) -> Taken {
        self.dirty().take()
    }

    /// Puts back what was taken and not replicated.
    pub fn put_back(&self, taken: Taken) {
        self.dirty().put_back(taken);
    }

    /// Whether notices were lost, and why: then everything may have changed.
    pub fn lost(&self) -> Option<String> {
        self.dirty().whole().map(str::to_owned)
    }

    /// When the oldest change was noticed that was not taken, and the newest that was noticed at all.
    pub fn times(&self) -> (Option<Instant>, Option<Instant>) {
        let dirty = self.dirty();
        (dirty.oldest(), dirty.newest())
    }

    /// How many places wait to be looked at, and when the oldest change was noticed.
    pub fn waiting(&self) -> (u64, Option<Instant>) {
        let dirty = self.dirty();
        (dirty.len() as u64, dirty.oldest())
    }
}
