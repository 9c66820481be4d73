//! Running many schedules on all cores, and telling of the first that fails.

use std::cell::Cell;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use super::meanwhile::Vice;
use super::schedule::Schedule;
use super::shrink::shrink;
use super::world;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// A schedule that failed.
#[derive(Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// The smallest one found that fails, too.
    pub shrunk: Schedule,
    /// What does not hold in that.
    pub what: String,
}

impl Failure {
    /// As people read it, with the way to run it again.
    pub fn text(&self) -> String {
        format!("seed {}: {}\nonce more: STANDIN_SCHEDULE='{}'", self.seed, self.what, self.shrunk)
    }
}

/// Runs one schedule; what panics fails, too.
pub fn run(schedule: &Schedule, vice: Option<Vice>) -> Result<(), String> {
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(|| world::run(schedule, vice)));
    QUIET.set(false);
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// Runs the schedules of these seeds on all cores; the failure with the lowest seed, shrunk, if there is one.
pub fn search(seeds: Range<u64>, vice: Option<Vice>) -> Option<Failure> {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(None::<u64>);
    let end = AtomicU64::new(seeds.end);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        return;
                    }
                    if run(&Schedule::new(seed), vice).is_err() {
                        // Those before it are finished all the same.
                        end.fetch_min(seed, Ordering::Relaxed);
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        *failed = Some(failed.map_or(seed, |before| before.min(seed)));
                    }
                }
            });
        }
    });
    let seed = failed.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    let shrunk = shrink(Schedule::new(seed), |schedule| run(schedule, vice).is_err());
    let what = run(&shrunk, vice).err().unwrap_or_default();
    Some(Failure { seed, shrunk, what })
}
