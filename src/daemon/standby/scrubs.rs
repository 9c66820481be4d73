//! What scrubs of a replica did and found: the file `scrub.json` in the set's state directory, and what is ordered and runs.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use standin_common::disk::{self, Mode};
use standin_common::entry::Time;
use standin_common::id::RootIndex;
use standin_common::message::Position;
use standin_common::path::RelPath;
use standin_replicator::report::{LastScrub, MOST_LISTED, ScrubFinding, ScrubProgress, ScrubReport};
use standin_replicator::standby::scrub::Finding;

pub(super) const FILE: &str = "scrub.json";

/// The time, as it is kept.
pub(crate) fn now() -> Time {
    SystemTime::now().into()
}

/// A finding, until the file is mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    root: RootIndex,
    /// As it is, which need not be UTF-8.
    path: Vec<u8>,
    size: u64,
    at: Time,
    first_byte: u64,
    groups: u64,
    unreadable: Option<String>,
}

impl Found {
    /// `None` for what cannot be a path.
    fn position(&self) -> Option<Position> {
        RelPath::new(self.path.clone()).ok().map(|path| Position { root: self.root, path })
    }
}

/// A scrub of the background that ended before its end.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Partial {
    /// The last list that was dealt with; those after it, by their names, are left.
    pub(crate) after: String,
    /// What was done until then.
    pub(crate) done: LastScrub,
}

/// What is kept over a restart.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// From when on the first scrub is counted.
    since: Option<Time>,
    last: Option<LastScrub>,
    partial: Option<Partial>,
    findings: Vec<Found>,
    /// Findings that were only logged, as there are too many.
    unlisted: u64,
}

/// Whether the next scrub is due: so long after the last one, or after the set was first seen. A clock that was set back does not put
/// it off.
fn is_due(last: Time, interval: Duration, now: Time) -> bool {
    let seconds = |time: Time| i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos);
    let passed = seconds(now) - seconds(last);
    passed < 0 || u128::try_from(passed).is_ok_and(|passed| passed >= interval.as_nanos())
}

#[derive(Default)]
struct State {
    kept: Kept,
    ordered: bool,
    running: Option<ScrubProgress>,
    /// Scrubs that were ordered and have ended.
    ended: u64,
}

/// See the module.
pub(crate) struct Scrubs {
    file: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

impl Scrubs {
    /// Reads what was kept in the set's state directory. A damaged file costs a scrub, and what was found before it.
    pub(super) fn open(directory: &Path) -> Self {
        let file = directory.join(FILE);
        let read = disk::read_optional(&file).map_err(|error| error.to_string());
        let parsed = read
            .and_then(|text| text.map_or(Ok(Kept::default()), |text| serde_json::from_slice(&text).map_err(|e| e.to_string())));
        let kept = parsed.unwrap_or_else(|error| {
            tracing::error!(file = %file.display(), error, "cannot be read: what scrubs found is forgotten, and all is scrubbed again when it is due");
            Kept::default()
        });
        Self { file, state: Mutex::new(State { kept, ..State::default() }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, kept: &Kept) {
        let text = serde_json::to_vec_pretty(kept).unwrap_or_default();
        if let Err(error) = disk::replace(&self.file, &text, Mode::Private) {
            tracing::error!(%error, "what the scrub did and found is forgotten at the next start");
        }
    }

    /// Orders one; returns what [`Scrubs::wait`] is asked with.
    pub(crate) fn order(&self) -> u64 {
        let mut state = self.lock();
        state.ordered = true;
        state.ended + 1
    }

    /// Whether one was ordered.
    pub(crate) fn is_ordered(&self) -> bool {
        self.lock().ordered
    }

    /// Waits a while for the end of what was ordered.
    pub(crate) fn wait(&self, number: u64, limit: Duration) -> bool {
        let waiting = |state: &mut State| state.ended < number;
        self.changed.wait_timeout_while(self.lock(), limit, waiting).unwrap_or_else(PoisonError::into_inner).0.ended >= number
    }

    /// Whether one of the background is to begin or to go on.
    pub(crate) fn is_due(&self, interval: Option<Duration>, now: Time) -> bool {
        let mut state = self.lock();
        let Some(interval) = interval else { return false };
        if state.kept.since.is_none() {
            state.kept.since = Some(now);
            self.write(&state.kept);
        }
        let last = state.kept.last.map(|last| last.at).or(state.kept.since);
        state.kept.partial.is_some() || last.is_some_and(|last| is_due(last, interval, now))
    }

    /// One begins; returns where the one before stopped, if it is to go on.
    pub(crate) fn begin(&self, ordered: bool) -> Partial {
        let mut state = self.lock();
        state.running = Some(ScrubProgress::default());
        let partial = state.kept.partial.take();
        partial.filter(|_| !ordered).unwrap_or_default()
    }

    /// How far it is.
    pub(crate) fn progress(&self, change: impl FnOnce(&mut ScrubProgress)) {
        if let Some(running) = &mut self.lock().running {
            change(running);
        }
    }

    /// It ended before its end; with where it stopped, it goes on there by itself.
    pub(crate) fn interrupted(&self, partial: Option<Partial>) {
        let mut state = self.lock();
        state.running = None;
        state.kept.partial = partial;
        self.write(&state.kept);
    }

    /// It went to its end.
    pub(crate) fn ended(&self, last: LastScrub, ordered: bool) {
        let mut state = self.lock();
        state.running = None;
        state.kept.last = Some(last);
        if ordered {
            state.ordered = false;
            state.ended += 1;
        }
        self.write(&state.kept);
        self.changed.notify_all();
    }

    /// A file is wrong.
    pub(crate) fn found(&self, finding: &Finding, at: Time) {
        let Finding { at: Position { root, path }, size, first_byte, groups, unreadable } = finding.clone();
        let found = Found { root, path: path.as_bytes().to_vec(), size, at, first_byte, groups, unreadable };
        let mut state = self.lock();
        state.kept.findings.retain(|before| (before.root, &before.path) != (found.root, &found.path));
        if state.kept.findings.len() < MOST_LISTED {
            state.kept.findings.push(found);
        } else {
            state.kept.unlisted += 1;
        }
        self.write(&state.kept);
    }

    /// Forgets findings of files that are mended, or that a scrub read and found right.
    pub(crate) fn forget(&self, is_mended: impl Fn(&Position, u64) -> bool) {
        // Asked without the lock, as it looks at the disk.
        let findings = self.lock().kept.findings.clone();
        let mended: Vec<_> =
            findings.into_iter().filter(|found| found.position().is_none_or(|at| is_mended(&at, found.size))).collect();
        self.remove(|found| mended.contains(found));
    }

    /// A verification that began then has read everything, and all of it is right.
    pub(crate) fn verified(&self, began: Time) {
        self.remove(|found| found.at < began);
    }

    fn remove(&self, which: impl Fn(&Found) -> bool) {
        let mut state = self.lock();
        let before = state.kept.findings.len();
        state.kept.findings.retain(|found| !which(found));
        if state.kept.findings.len() < before {
            if state.kept.findings.is_empty() {
                state.kept.unlisted = 0;
            }
            self.write(&state.kept);
        }
    }

    /// For people and programs.
    pub(crate) fn report(&self) -> ScrubReport {
        let state = self.lock();
        let finding = |found: &Found| ScrubFinding {
            root: found.root,
            path: found.position().map_or(String::new(), |at| at.path.to_string()),
            at: found.at,
            first_byte: found.first_byte,
            groups: found.groups,
            unreadable: found.unreadable.clone(),
        };
        ScrubReport {
            running: state.running,
            last: state.kept.last,
            findings: state.kept.findings.iter().map(finding).collect(),
            finding_count: state.kept.findings.len() as u64 + state.kept.unlisted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Time {
        Time { secs, nanos: 5 }
    }

    fn finding(path: &str) -> Finding {
        let at = Position { root: RootIndex(1), path: RelPath::new(path.as_bytes()).unwrap() };
        Finding { at, size: 9, first_byte: 7, groups: 1, unreadable: None }
    }

    #[test]
    fn it_is_due_after_its_interval_and_when_the_clock_was_set_back() {
        let day = Duration::from_secs(86_400);
        assert!(!is_due(at(1000), day, at(1000)) && !is_due(at(1000), day, at(1000 + 86_399)));
        assert!(is_due(at(1000), day, at(1000 + 86_400)) && is_due(at(1000), day, at(999)));
        assert!(is_due(at(i64::MIN), day, at(i64::MAX)) && is_due(at(i64::MAX), day, at(i64::MIN)));
    }

    #[test]
    fn what_was_done_and_found_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let scrubs = Scrubs::open(directory.path());
        let day = Some(Duration::from_secs(86_400));
        assert!(!scrubs.is_due(None, at(5)) && !scrubs.is_due(day, at(10)));
        let scrubs = Scrubs::open(directory.path());
        assert!(scrubs.is_due(day, at(86_410)) && !scrubs.is_due(day, at(86_409)));
        assert_eq!(scrubs.begin(false), Partial::default());
        scrubs.found(&finding("a\u{e9}"), at(50));
        let partial = Partial { after: "1.values".into(), done: LastScrub { files: 1, ..LastScrub::default() } };
        scrubs.interrupted(Some(partial.clone()));
        let scrubs = Scrubs::open(directory.path());
        assert!(scrubs.is_due(day, at(20)), "it goes on");
        assert_eq!(scrubs.begin(false), partial);
        scrubs.ended(LastScrub { at: at(100), files: 2, ..LastScrub::default() }, false);
        let scrubs = Scrubs::open(directory.path());
        let report = scrubs.report();
        assert_eq!((report.last.unwrap().files, report.finding_count, &*report.findings[0].path), (2, 1, "a\u{e9}"));
        assert!(!scrubs.is_due(day, at(101)));
        std::fs::write(directory.path().join(FILE), "{").unwrap();
        assert_eq!(Scrubs::open(directory.path()).report(), ScrubReport::default());
    }

    #[test]
    fn a_finding_stays_until_something_shows_that_the_file_is_right() {
        let directory = tempfile::tempdir().unwrap();
        let scrubs = Scrubs::open(directory.path());
        scrubs.found(&finding("a"), at(50));
        scrubs.found(&finding("b"), at(60));
        scrubs.found(&finding("b"), at(70));
        let paths = || scrubs.report().findings.into_iter().map(|found| found.path).collect::<Vec<_>>();
        assert_eq!(paths(), ["a", "b"]);
        // It may have read b before that became wrong.
        scrubs.verified(at(65));
        assert_eq!(paths(), ["b"]);
        scrubs.forget(|_, _| false);
        assert_eq!(paths(), ["b"]);
        scrubs.forget(|at, size| at.path.as_bytes() == b"b" && size == 9);
        assert_eq!(scrubs.report(), ScrubReport::default());
    }
}
