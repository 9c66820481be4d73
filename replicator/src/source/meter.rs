//! Counters of a mirror that is running: the threads of a pass count, whoever reports reads.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use standin_common::entry::{Entry, Kind};
use standin_common::message::Position;

use crate::report::{FoundReport, MOST_LISTED, Problem, Progress, Stage, Wire};

/// Seconds over which the present rate is taken.
const RATE_SECONDS: f64 = 2.0;

/// What a mirror has done so far.
#[derive(Debug)]
pub struct Meter {
    began: Instant,
    /// The pass.
    pub pass: AtomicU32,
    stage: AtomicU32,
    /// Objects met in this pass.
    pub objects: AtomicU64,
    /// Bytes of the files met in this pass.
    pub bytes: AtomicU64,
    /// Files asked for.
    pub wanted_files: AtomicU64,
    /// Bytes of those.
    pub wanted_bytes: AtomicU64,
    /// Files proven or given up.
    pub done_files: AtomicU64,
    /// Bytes sent or compared.
    pub done_bytes: AtomicU64,
    /// Bytes of data sent, before compression.
    pub data_bytes: AtomicU64,
    /// What of that the standby has made durable.
    durable_bytes: AtomicU64,
    /// The same when the pass began or went on.
    durable_before: AtomicU64,
    /// What went wrong in this pass, so that its point cannot be consistent.
    pub flaws: AtomicU64,
    rate: Mutex<Rate>,
    /// What cannot be replicated.
    pub problems: Listed<Problem>,
    /// What differs.
    pub findings: Listed<FoundReport>,
}

#[derive(Debug)]
struct Rate {
    at: Instant,
    bytes: u64,
    per_second: f64,
}

impl Default for Meter {
    fn default() -> Self {
        let began = Instant::now();
        Self {
            began,
            pass: AtomicU32::new(1),
            stage: AtomicU32::default(),
            objects: AtomicU64::default(),
            bytes: AtomicU64::default(),
            wanted_files: AtomicU64::default(),
            wanted_bytes: AtomicU64::default(),
            done_files: AtomicU64::default(),
            done_bytes: AtomicU64::default(),
            data_bytes: AtomicU64::default(),
            durable_bytes: AtomicU64::default(),
            durable_before: AtomicU64::default(),
            flaws: AtomicU64::default(),
            rate: Mutex::new(Rate { at: began, bytes: 0, per_second: 0.0 }),
            problems: Listed::default(),
            findings: Listed::default(),
        }
    }
}

impl Meter {
    /// Tells what the pass is at.
    pub fn enter(&self, stage: Stage) {
        self.stage.store(stage as u32, Relaxed);
    }

    fn stage(&self) -> Stage {
        [Stage::Connecting, Stage::Listing, Stage::Sending, Stage::Proving, Stage::Committing]
            .into_iter()
            .find(|stage| *stage as u32 == self.stage.load(Relaxed))
            .unwrap_or_default()
    }

    /// A pass begins, or goes on after a cut: what was wrong in the pass before does not count any more.
    pub fn begin_pass(&self, pass: u32) {
        if self.pass.swap(pass, Relaxed) != pass {
            self.flaws.store(0, Relaxed);
            self.problems.clear();
            self.findings.clear();
        }
    }

    /// The standby receives: what it says of its data counts from here.
    pub fn begin_session(&self) {
        self.durable_before.store(self.durable_bytes.load(Relaxed), Relaxed);
    }

    /// So much of what was sent in this session is durable on the standby.
    pub fn durable(&self, data_bytes: u64) {
        let all = self.durable_before.load(Relaxed).saturating_add(data_bytes);
        self.durable_bytes.store(all.min(self.data_bytes.load(Relaxed)), Relaxed);
    }

    /// All that was sent is part of a recovery point.
    pub fn committed(&self) {
        self.durable_bytes.store(self.data_bytes.load(Relaxed), Relaxed);
    }

    /// A walk begins: it counts from nothing.
    pub fn begin_walk(&self) {
        for counter in [&self.objects, &self.bytes] {
            counter.store(0, Relaxed);
        }
    }

    /// The walk met an object.
    pub fn met(&self, entry: &Entry) {
        self.objects.fetch_add(1, Relaxed);
        if let Kind::File { size } = entry.kind {
            self.bytes.fetch_add(size, Relaxed);
        }
    }

    /// Notes an object that is of a kind that is never replicated.
    pub fn special(&self, at: &Position, text: String) {
        self.problems.push(|| Problem { root: at.root, path: at.path.to_string(), text });
    }

    /// Notes something that cannot be replicated.
    pub fn problem(&self, at: &Position, text: String) {
        self.flaws.fetch_add(1, Relaxed);
        self.problems.push(|| {
            tracing::warn!(root = at.root.0, path = %at.path, "{text}");
            Problem { root: at.root, path: at.path.to_string(), text }
        });
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// How far it is.
    pub fn progress(&self, wire: Wire) -> Progress {
        let (done_bytes, wanted_bytes) = (self.done_bytes.load(Relaxed), self.wanted_bytes.load(Relaxed));
        let per_second = self.present_rate(done_bytes);
        let stage = self.stage();
        // A file that changed is read again, so more may be done than was wanted.
        let left = wanted_bytes.saturating_sub(done_bytes);
        let known = matches!(stage, Stage::Sending) && per_second >= 1.0 && left > 0;
        Progress {
            pass: self.pass.load(Relaxed),
            stage,
            objects: self.objects.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            wanted_files: self.wanted_files.load(Relaxed),
            wanted_bytes,
            done_files: self.done_files.load(Relaxed),
            done_bytes: done_bytes.min(wanted_bytes),
            data_bytes: self.data_bytes.load(Relaxed),
            durable_bytes: self.durable_bytes.load(Relaxed),
            wire,
            bytes_per_second: per_second as u64,
            eta_seconds: known.then(|| (left as f64 / per_second).ceil() as u64),
            elapsed_seconds: self.seconds(),
        }
    }

    fn present_rate(&self, bytes: u64) -> f64 {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = rate.at.elapsed().as_secs_f64();
        if elapsed >= RATE_SECONDS || (rate.per_second == 0.0 && elapsed > 0.1) {
            rate.per_second = bytes.saturating_sub(rate.bytes) as f64 / elapsed;
            (rate.at, rate.bytes) = (Instant::now(), bytes);
        }
        rate.per_second
    }
}

/// A list that keeps only its first items, and counts all.
#[derive(Debug)]
pub struct Listed<T>(Mutex<(Vec<T>, u64)>);

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self(Mutex::new((Vec::new(), 0)))
    }
}

impl<T: Clone> Listed<T> {
    /// Adds one, if there is room.
    pub fn push(&self, item: impl FnOnce() -> T) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.1 += 1;
        if list.0.len() < MOST_LISTED {
            list.0.push(item());
        }
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Vec::new(), 0);
    }

    /// The first items, and how many there were.
    pub fn get(&self) -> (Vec<T>, u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_durable_counts_over_cuts_and_is_never_more_than_was_sent() {
        let meter = Meter::default();
        let durable = || meter.progress(Wire::default()).durable_bytes;
        meter.begin_session();
        meter.data_bytes.store(100, Relaxed);
        meter.durable(60);
        assert_eq!(durable(), 60);
        // A cut: 40 came to nothing, and are sent again.
        meter.begin_session();
        assert_eq!(durable(), 60);
        meter.data_bytes.store(140, Relaxed);
        meter.durable(30);
        assert_eq!(durable(), 90);
        meter.durable(u64::MAX);
        assert_eq!(durable(), 140);
        meter.data_bytes.store(150, Relaxed);
        meter.committed();
        assert_eq!(durable(), 150);
    }
}
