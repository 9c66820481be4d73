//! What everything that starts something of a group goes through: closed when this node has no right to serve.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use standin_common::uptime;

use super::Moment;

/// How long a start waits for the right: it comes with the next heartbeat, or with the next look at the witness.
const WAIT: Duration = Duration::from_secs(15);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);
/// Of a gate that is always open.
const ALWAYS: u64 = u64::MAX;

/// Tells whoever has to know of a start before it begins.
type Announce = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// See the module.
pub struct Gate {
    /// Open before this moment, in milliseconds of the machine's uptime.
    until_ms: AtomicU64,
    /// Starts that are under way.
    starting: AtomicUsize,
    /// Whether anything was let through since the last [`Gate::forget`].
    passed: AtomicBool,
    /// Told before anything is let through.
    announce: OnceLock<Announce>,
}

impl Default for Gate {
    fn default() -> Self {
        let (until_ms, starting, passed) = (AtomicU64::new(ALWAYS), AtomicUsize::default(), AtomicBool::default());
        Self { until_ms, starting, passed, announce: OnceLock::new() }
    }
}

/// A start that is under way.
pub struct Passing<'a>(&'a Gate);

impl Gate {
    /// From now on this is told before anything is let through, and [`has_passed`](Self::has_passed) by then. Where it fails, nothing is.
    pub fn announce_by(&self, announce: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        // It is given once.
        let _ = self.announce.set(Box::new(announce));
    }

    /// Open before this moment; without one, always.
    pub fn set(&self, until: Option<Moment>) {
        self.until_ms.store(until.map_or(ALWAYS, |Moment(ms)| ms), Ordering::SeqCst);
    }

    /// Whether anything may be started at this moment.
    pub fn is_open(&self) -> bool {
        let until = self.until_ms.load(Ordering::SeqCst);
        until == ALWAYS || uptime::now_ms() < until
    }

    /// Waits for the right to start something.
    ///
    /// # Errors
    /// Why there is none.
    pub fn pass(&self, deadline: Instant, is_cancelled: &dyn Fn() -> bool) -> Result<Passing<'_>, String> {
        let deadline = deadline.min(Instant::now() + WAIT);
        loop {
            // Counted before the gate is looked at: whoever closes it and then sees nobody under way is right.
            self.starting.fetch_add(1, Ordering::SeqCst);
            let passing = Passing(self);
            if self.is_open() {
                self.passed.store(true, Ordering::SeqCst);
                self.announce.get().map_or(Ok(()), |announce| announce())?;
                return Ok(passing);
            }
            drop(passing);
            if is_cancelled() || Instant::now() >= deadline {
                return Err("this node has no right to serve now: neither the witness nor all other nodes leave the group to it. \
                     `standin monitor` says more; where a person is sure that no other node serves, `standin group automatic GROUP off --force` first"
                    .to_owned());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Whether a start is under way.
    pub fn is_starting(&self) -> bool {
        self.starting.load(Ordering::SeqCst) > 0
    }

    /// Whether anything was let through.
    pub fn has_passed(&self) -> bool {
        self.passed.load(Ordering::SeqCst)
    }

    /// Something runs that a daemon before this one let through.
    pub fn remember(&self) {
        self.passed.store(true, Ordering::SeqCst);
    }

    /// What was let through is stopped, or settled.
    pub fn forget(&self) {
        self.passed.store(false, Ordering::SeqCst);
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        self.0.starting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_let_through_without_a_right() {
        let gate = Gate::default();
        let soon = Instant::now() + Duration::from_millis(50);
        assert!(gate.pass(soon, &|| false).is_ok() && gate.has_passed());
        gate.set(Some(Moment(uptime::now_ms())));
        gate.forget();
        assert!(gate.pass(soon, &|| false).is_err());
        assert!(!gate.has_passed() && !gate.is_starting());
        gate.set(Some(Moment(uptime::now_ms() + 60_000)));
        let passing = gate.pass(soon, &|| false).unwrap();
        assert!(gate.is_starting());
        drop(passing);
        assert!(!gate.is_starting());
    }

    #[test]
    fn a_start_is_told_of_before_it_begins_or_does_not_begin() {
        let gate = std::sync::Arc::new(Gate::default());
        let soon = Instant::now() + Duration::from_millis(50);
        let (told, seen) = (gate.clone(), std::sync::Arc::new(AtomicUsize::default()));
        let count = seen.clone();
        gate.announce_by(move || {
            assert!(told.is_starting() && told.has_passed(), "whoever writes it down sees it");
            if count.fetch_add(1, Ordering::SeqCst) == 0 { Ok(()) } else { Err("the disk is full".to_owned()) }
        });
        drop(gate.pass(soon, &|| false).unwrap());
        assert_eq!(gate.pass(soon, &|| false).err().as_deref(), Some("the disk is full"));
        assert!(!gate.is_starting(), "what is not let through is not under way");
        assert_eq!(seen.load(Ordering::SeqCst), 2);
    }
}
