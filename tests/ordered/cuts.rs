//! Work on ordered roots while the line is cut at random moments, and what a clone of the standby has of it that is promoted then.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::material::Random;
use crate::roots::Roots;
use crate::support::{PATIENCE, Proxy, wait_until};

/// How often a line is cut or a daemon killed, unless `STANDIN_CUTS` says otherwise.
const CUTS: u64 = 6;

pub(crate) fn cuts() -> u64 {
    std::env::var("STANDIN_CUTS").map_or(CUTS, |text| text.parse().expect("STANDIN_CUTS is a number"))
}

/// What a clone of the standby has to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// All that a client saw done.
    Seen,
    /// All that was done when a point was asked for last.
    Marked,
}

impl Promise {
    /// The keys of a set that keeps it.
    pub(crate) fn keys(self) -> &'static str {
        match self {
            Self::Seen => "acknowledge = \"durable\"\non_disconnect = \"block\"\nhistory_points = 20",
            Self::Marked => "acknowledge = \"local\"\nhistory_points = 20",
        }
    }
}

/// Those who work, each of whom does one thing after the other, numbered from 1.
pub(crate) struct Work {
    /// The last number that each saw done.
    done: Vec<AtomicU64>,
    resting: AtomicBool,
    ended: AtomicBool,
}

impl Work {
    pub(crate) fn new(workers: usize) -> Self {
        let done = (0..workers).map(|_| AtomicU64::new(0)).collect();
        Self { done, resting: false.into(), ended: false.into() }
    }

    /// Whether one more thing is to be done; waits while all rest.
    pub(crate) fn goes_on(&self) -> bool {
        while self.resting.load(SeqCst) && !self.ended.load(SeqCst) {
            thread::park_timeout(Duration::from_millis(1)); // poll
        }
        !self.ended.load(SeqCst)
    }

    pub(crate) fn did(&self, worker: usize, number: u64) {
        self.done[worker].store(number, SeqCst);
    }

    pub(crate) fn done(&self) -> Vec<u64> {
        self.done.iter().map(|done| done.load(SeqCst)).collect()
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, SeqCst);
    }
}

/// Opens what a clone of the standby has, in a directory for files of its own, and tells up to which number each worker's things are there.
pub(crate) type Check<'a> = &'a dyn Fn(&Path, Vec<PathBuf>) -> Vec<u64>;

/// Looks into a clone of the standby that is promoted at its newest point, whose number is returned, too.
#[track_caller]
fn look(ground: &Roots, check: Check<'_>) -> (Vec<u64>, Value) {
    let base = tempfile::tempdir().unwrap();
    crate::shell(base.path(), "chmod 755 .");
    let (replicas, point) = ground.promoted(base.path());
    (check(base.path(), replicas), point["number"].clone())
}

/// Cuts the line at random moments while `work` is done by threads that run `worker`, and looks into a clone of the standby each time.
pub(crate) fn cut_while_working(
    (ground, proxy): (&Roots, &Proxy),
    (promise, cuts, random): (Promise, u64, &mut Random),
    work: &Work,
    worker: &(dyn Fn(usize) + Sync),
    check: Check<'_>,
) {
    let began = Instant::now();
    thread::scope(|scope| {
        let working: Vec<_> = (0..work.done.len()).map(|index| scope.spawn(move || worker(index))).collect();
        let struck = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for cut in 0..cuts {
                // The line is there again. While a clone is looked at, all rest: the more there is, the longer that takes.
                ground.point();
                work.resting.store(false, SeqCst);
                let before = work.done();
                let all_went_on = || work.done().iter().zip(&before).all(|(now, before)| now > before);
                let one_failed = || working.iter().any(|thread| thread.is_finished());
                wait_until("everybody gets something done", PATIENCE, || all_went_on() || one_failed());
                let marked = work.done();
                if promise == Promise::Marked {
                    ground.point();
                }
                thread::park_timeout(Duration::from_micros(random.below(100_000)));
                proxy.cut();
                let promised = if promise == Promise::Marked { marked } else { work.done() };
                work.resting.store(true, SeqCst);
                let (has, point) = look(ground, check);
                println!("cut {cut}, point {point}: {promise:?} {promised:?}, on the standby {has:?}");
                assert!(promised.iter().zip(&has).all(|(promised, has)| has >= promised), "{has:?} of {promised:?}");
                proxy.mend();
            }
        }));
        work.end();
        proxy.mend();
        let worked: Vec<_> = working.into_iter().map(thread::ScopedJoinHandle::join).collect();
        struck.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        worked.into_iter().for_each(|worked| worked.unwrap());
    });
    println!("{:?} in {:?}; {}", work.done(), began.elapsed(), ground.status()["layer"]);
}

/// Now that nobody works any more, the standby has everything.
#[track_caller]
pub(crate) fn assert_all_there(ground: &Roots, work: &Work, check: Check<'_>) {
    assert_eq!(ground.point()["consistent"], json!(true));
    ground.assert_equal();
    assert_eq!(look(ground, check).0, work.done());
}
