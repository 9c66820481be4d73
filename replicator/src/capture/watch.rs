//! A watch over the roots of a set: what the kernel notices goes into the dirty set, from which rounds take it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use standin_common::scope::{Depth, Scope};

use super::{Damaged, Dirty, Method, Taken, Waker, Watcher};
use crate::os;
use crate::report::{Lag, WatchReport};
use crate::rules::Rules;

/// How often a thread that watches looks whether it is to end.
const LOOK: Duration = Duration::from_millis(500);
/// Memory that a place takes, with some to spare, in bytes.
const PLACE_LEN: u64 = 512;
/// The most files whose sizes are added up for a report.
const MOST_SIZED: u64 = 10_000;
/// How long notices are let come before they are taken: many writes to one file become one notice.
const GATHER: Duration = Duration::from_millis(4);

/// See the module.
pub struct Watch {
    watcher: RwLock<Box<dyn Watcher>>,
    waker: Waker,
    method: Method,
    /// Held while notices are taken from the kernel and put in, so that they go in whole and in order.
    dirty: Mutex<Dirty>,
    /// What was taken last and neither came back nor is settled. Locked after the dirty set, so that a change is always in one of the two.
    under_way: Mutex<Option<Taken>>,
    roots: Vec<PathBuf>,
    stopped: AtomicBool,
}

impl Watch {
    /// Watches roots from now on; [`Watch::run`] has to run in a thread of its own. `limit_bytes` bounds the memory for places that changed:
    /// beyond it, whole directories count as changed.
    pub fn open(roots: &[PathBuf], rules: Vec<Rules>, limit_bytes: u64) -> io::Result<Self> {
        Ok(Self::over(os::watch(roots)?, roots, rules, limit_bytes))
    }

    /// Watches by this watcher. The roots are only looked at for the sizes of what changed.
    pub fn over(watcher: Box<dyn Watcher>, roots: &[PathBuf], rules: Vec<Rules>, limit_bytes: u64) -> Self {
        let (waker, method) = (watcher.waker(), watcher.method().clone());
        let dirty = Mutex::new(Dirty::new(rules, usize::try_from(limit_bytes / PLACE_LEN).unwrap_or(usize::MAX)));
        Self {
            watcher: RwLock::new(watcher),
            waker,
            method,
            dirty,
            under_way: Mutex::default(),
            roots: roots.to_vec(),
            stopped: AtomicBool::new(false),
        }
    }

    /// How it notices.
    pub fn method(&self) -> &Method {
        &self.method
    }

    fn dirty(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self) -> MutexGuard<'_, Option<Taken>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes notices as they come, until [`Watch::stop`]; `changed` is told of each lot.
    pub fn run(&self, changed: &dyn Fn()) {
        let mut seen = 0;
        while !self.stopped.load(Relaxed) {
            // Not held while notices are taken in, for which others may be waiting, too.
            let waited = self.watcher.read().unwrap_or_else(PoisonError::into_inner).wait(LOOK);
            std::thread::park_timeout(GATHER);
            let now = waited.and_then(|()| self.take_in(&mut self.dirty()));
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
        self.waker.wake();
    }

    /// Takes in everything that was noticed before this call; returns the count of all that ever was.
    pub fn catch_up(&self) -> io::Result<u64> {
        self.waker.wake();
        self.take_in(&mut self.dirty())
    }

    fn take_in(&self, dirty: &mut Dirty) -> io::Result<u64> {
        let now = Instant::now();
        let mut watcher = self.watcher.write().unwrap_or_else(PoisonError::into_inner);
        watcher.drain(&mut |noticed| dirty.hear(noticed, now))?;
        Ok(dirty.seen())
    }

    /// Takes everything that changed before this call out of the dirty set; with the count of all that was ever noticed. It counts as lag until
    /// it is put back or [settled](Self::settle).
    pub fn take_all(&self) -> io::Result<(Taken, u64)> {
        self.waker.wake();
        let mut dirty = self.dirty();
        let seen = self.take_in(&mut dirty)?;
        let taken = dirty.take();
        *self.under_way() = Some(taken.clone());
        Ok((taken, seen))
    }

    /// Takes what was noticed so far.
    pub fn take(&self) -> Taken {
        self.dirty().take()
    }

    /// Puts back what was taken and not replicated.
    pub fn put_back(&self, taken: Taken) {
        let mut dirty = self.dirty();
        dirty.put_back(taken);
        *self.under_way() = None;
    }

    /// What was taken last is replicated, or somebody else tells that it is not.
    pub fn settle(&self) {
        *self.under_way() = None;
    }

    /// How often a change was noticed.
    pub fn seen(&self) -> u64 {
        self.dirty().seen()
    }

    /// Everything that waits, with what was taken and not put back, as bytes to keep; `None` if nothing does.
    pub fn save(&self, under_way: Option<&Taken>) -> Option<Vec<u8>> {
        let mut waiting = self.dirty().clone();
        waiting.put_back(under_way.cloned().unwrap_or_default());
        (!waiting.is_empty()).then(|| waiting.save())
    }

    /// Takes in what [`Watch::save`] kept. Damaged bytes mean that anything may have changed.
    pub fn restore(&self, kept: &[u8]) -> Result<(), Damaged> {
        self.dirty().restore(kept, Instant::now())
    }

    /// Notes places that may have changed before this watch began.
    pub fn note(&self, scopes: impl IntoIterator<Item = Scope>) {
        let (now, mut dirty) = (Instant::now(), self.dirty());
        scopes.into_iter().for_each(|scope| dirty.note(scope, now));
    }

    /// How many places wait.
    pub fn waiting(&self) -> usize {
        self.dirty().len()
    }

    /// Whether notices were lost, and why: then everything may have changed.
    pub fn lost(&self) -> Option<String> {
        self.dirty().whole().map(str::to_owned)
    }

    /// When the oldest change was noticed that was not taken, and the newest that was noticed at all.
    pub fn times(&self) -> (Option<Instant>, Option<Instant>) {
        let dirty = self.dirty();
        (dirty.oldest(), dirty.last())
    }

    /// How it notices, for people.
    pub fn report(&self) -> WatchReport {
        match &self.method {
            Method::Fanotify => WatchReport { method: "fanotify".to_owned(), why: None },
            Method::Inotify { why } => WatchReport { method: "inotify".to_owned(), why: Some(why.clone()) },
            Method::Layer => WatchReport { method: "the layer".to_owned(), why: None },
        }
    }

    /// What waits to be replicated, with what was taken and has not arrived.
    pub fn lag(&self) -> Lag {
        let (waiting, oldest, under_way) = {
            let dirty = self.dirty();
            (dirty.contents(), dirty.oldest(), self.under_way().clone())
        };
        let oldest = oldest.into_iter().chain(under_way.as_ref().and_then(|taken| taken.oldest)).min();
        let scopes = waiting.scopes.iter().chain(under_way.iter().flat_map(|taken| &taken.scopes));
        let (mut changes, mut directories, mut bytes) = (0, 0, 0);
        for scope in scopes {
            changes += 1;
            match self.size(scope) {
                None => directories += 1,
                Some(size) if changes - directories <= MOST_SIZED => bytes += size,
                Some(_) => {}
            }
        }
        let oldest_seconds = oldest.map(|oldest| oldest.elapsed().as_secs_f64());
        Lag { changes, directories, bytes: (changes - directories <= MOST_SIZED).then_some(bytes), oldest_seconds }
    }

    /// The size of a file that changed, for people; of what is gone, nothing. `None` of a directory with all beneath it.
    fn size(&self, scope: &Scope) -> Option<u64> {
        let Some(root) = self.roots.get(usize::from(scope.at.root.0)) else { return Some(0) };
        let found = os::len_of(root, &scope.at.path);
        if found == Some(None) && scope.depth == Depth::Subtree { None } else { Some(found.flatten().unwrap_or(0)) }
    }
}
