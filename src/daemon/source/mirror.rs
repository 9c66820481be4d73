//! Mirrors over everything, and comparisons that write nothing.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use standin_common::entry::Time;
use standin_common::id::MirrorId;
use standin_common::link::quic::Connection;
use standin_common::message::{Comparison, MirrorOpening, OrphanLimit, OrphanPolicy, Purpose, Refusal, RootKind};
use standin_replicator::report::MirrorReport;
use standin_replicator::source::hashes::HashLists;
use standin_replicator::source::pass::{PassError, Passed};
use standin_replicator::source::state::{Event, Hold};
use standin_replicator::volume::Volume;

use super::follow::{Follow, hold_for};
use super::kept::{Job, Ordered};
use super::pass::What;
use super::run::Outcome;
use super::{Compare, Running, SourceSet, State, failed};
use crate::control::{Failed, FailedKind};

/// What kind of failure it is for whoever waits.
fn kind(error: &PassError) -> FailedKind {
    match error {
        PassError::Link(_) => FailedKind::Unreachable,
        PassError::Unsafe(_) => FailedKind::Refused,
        // Somebody has to act on the standby.
        PassError::Refused(Refusal::Busy | Refusal::Protocol(_)) => FailedKind::Failed,
        PassError::Refused(_) => FailedKind::Refused,
        _ => FailedKind::Failed,
    }
}

impl SourceSet {
    pub(super) fn mirror(&self, connection: &Connection, mut job: Job, follow: &mut Follow) -> Outcome {
        let (volumes, remembered) = match self.open_roots(job.ordered.emptied_is_meant) {
            Ok(opened) => opened,
            Err(error) => {
                let hold = Hold::Stuck(error.to_string());
                return self.give_up(job.mirror, failed(FailedKind::Refused, error.to_string()), hold);
            }
        };
        // Another pass proves nothing of a device either.
        let never_proven = volumes.iter().any(|volume| volume.kind() == RootKind::Device);
        let running = self.running(job.mirror, job.ordered.limit_bytes_per_second, connection);
        tracing::info!(pass = job.pass, comparison = ?job.ordered.comparison, resumed = job.resumed, "mirror");
        loop {
            let is_new = job.began.is_none();
            if let Err(error) = self.begin_pass(&mut job) {
                return self.stuck(job.mirror, error);
            }
            let (comparison, since) = self.how_to_compare(&job);
            let opening = MirrorOpening {
                comparison,
                orphans: job.ordered.orphans,
                orphan_limit: job.ordered.orphan_limit,
                ..self.opening(job.pass_id(), &volumes)
            };
            running.meter.begin_pass(job.pass);
            let what = What { is_new, ..What::whole(opening, since) };
            let passed = match follow.during(|| self.pass(connection, &running, &volumes, what)) {
                Ok(passed) => passed,
                Err(error) => return self.pass_failed(connection, &job, error),
            };
            self.on(Event::Advanced);
            let consistent = passed.point.as_ref().is_some_and(|point| point.consistent);
            let flawed = running.meter.flaws.load(Relaxed) > 0;
            let covered = follow.covers(job.pass_id());
            let is_enough = job.pass >= u32::from(self.set().passes);
            // What follows makes further passes needless, but one that nobody watched from its beginning is not enough to follow it.
            let last = match follow.is_watched() {
                true => covered || flawed,
                // Nor does one that was cut off count, however often.
                false => consistent || is_enough && !passed.went_on || flawed || never_proven,
            };
            self.lock().told.outdate();
            if let Some(point) = passed.point.as_ref().filter(|_| covered) {
                let left = if flawed { None } else { self.left_orphans(point) };
                follow.mirrored(point, flawed, self.set().rescan_ms.map(Duration::from_millis), left);
            }
            follow.watched_now();
            let left = passed.point.as_ref().map_or(0, |point| point.orphans);
            let next = job.next_pass(&passed.summary, left);
            let kept = self.keep(|kept| {
                kept.passed(job.mirror, (!last).then(|| next.clone()));
                kept.roots = remembered.clone();
                kept.point = passed.point.clone();
                kept.since = job.began.filter(|_| !flawed).or(kept.since);
            });
            if let Err(error) = kept {
                return self.stuck(job.mirror, error);
            }
            let report = self.mirror_report(&job, &running, &passed, connection);
            let point = report.point.map(tracing::field::display);
            tracing::info!(point, consistent = report.consistent, seconds = report.seconds, "mirrored");
            if last {
                self.settle_and_end(job.mirror, follow.left.clone(), Ok(report));
                return Outcome::Ended;
            }
            self.lock().last_mirror = Some(report);
            job = next;
        }
    }

    /// Notes when the pass begins, unless it goes on.
    fn begin_pass(&self, job: &mut Job) -> Result<(), Failed> {
        if job.began.is_some() {
            return Ok(());
        }
        job.began = Some(SystemTime::now().into());
        self.keep(|kept| {
            if let Some(kept) = kept.job.as_mut().filter(|kept| kept.mirror == job.mirror) {
                kept.began = job.began;
            }
        })
    }

    /// How the next pass compares. Attributes tell whether a file is the same only together with the time since which it has not changed;
    /// where that is not known of a replica, as the standby has lost its newest points, they do not.
    fn how_to_compare(&self, job: &Job) -> (Comparison, Option<Time>) {
        let asked = if job.pass == 1 { job.ordered.comparison } else { Comparison::Difference };
        let state = self.lock();
        match state.kept.since {
            None if asked == Comparison::Difference && state.kept.point.is_some() => (Comparison::Checksum, None),
            since => (asked, since),
        }
    }

    /// What is to be done about a pass that did not end well.
    fn pass_failed(&self, connection: &Connection, job: &Job, error: PassError) -> Outcome {
        match error {
            PassError::Stopped => {
                self.settle(job.mirror, None);
                Outcome::Ended
            }
            PassError::Link(_) | PassError::Refused(Refusal::Anew | Refusal::Busy) => {
                let counted = self.keep(|kept| kept.job.iter_mut().for_each(|job| job.resumed += 1));
                if let Err(error) = counted {
                    return self.stuck(job.mirror, error);
                }
                if connection.is_closed() {
                    self.disconnect(connection);
                }
                self.lock().running.iter_mut().for_each(|running| running.active = false);
                Outcome::Again(error.to_string())
            }
            // Somebody has to make room or mend something there; what was received is kept.
            PassError::Refused(Refusal::Failed(_)) | PassError::Lane(_) => {
                self.hold(hold_for(&error));
                self.settle(job.mirror, None);
                Outcome::Ended
            }
            error => {
                let hold = hold_for(&error);
                self.give_up(job.mirror, failed(kind(&error), error.to_string()), hold)
            }
        }
    }

    /// What it knows cannot be kept.
    fn stuck(&self, mirror: MirrorId, error: Failed) -> Outcome {
        let hold = Hold::Stuck(error.text.clone());
        self.give_up(mirror, error, hold)
    }

    /// A mirror ends without having done what it should.
    fn give_up(&self, mirror: MirrorId, error: Failed, hold: Hold) -> Outcome {
        let mut follows = false;
        // If even this cannot be kept, the mirror is tried again at the next start, which is harmless.
        let _ = self.keep(|kept| {
            kept.job = kept.job.take().filter(|job| job.mirror != mirror);
            follows = kept.following.is_some();
        });
        if follows || hold == Hold::Promoted {
            self.settle(mirror, None);
            self.hold(hold);
        } else {
            tracing::error!("{}", error.text);
            self.settle(mirror, Some(error.text.clone()));
        }
        self.end(mirror, Err(error));
        Outcome::Ended
    }

    /// A comparison ends without a result, which changes nothing for the set.
    pub(super) fn give_up_comparing(&self, mirror: MirrorId, error: Failed) -> Outcome {
        tracing::warn!("{}", error.text);
        let trouble = self.lock().trouble.clone();
        self.settle_and_end(mirror, trouble, Err(error));
        Outcome::Ended
    }

    /// This mirror or comparison runs no more. What was ordered while it came to its end stays ordered.
    pub(super) fn settle(&self, mirror: MirrorId, trouble: Option<String>) {
        self.lock().settle(mirror, trouble);
        self.changed.notify_all();
    }

    /// The same with how it ended, so that nobody sees one without the other.
    fn settle_and_end(&self, mirror: MirrorId, trouble: Option<String>, end: Result<MirrorReport, Failed>) {
        let mut state = self.lock();
        state.settle(mirror, trouble);
        state.end(mirror, end);
        self.changed.notify_all();
    }

    pub(super) fn run_compare(&self, connection: &Connection, compare: Compare) -> Outcome {
        let (volumes, _) = match self.open_roots(true) {
            Ok(opened) => opened,
            Err(error) => return self.give_up_comparing(compare.mirror, failed(FailedKind::Refused, error.to_string())),
        };
        let running = self.running(compare.mirror, None, connection);
        let opening =
            MirrorOpening { purpose: compare.purpose, comparison: compare.comparison, ..self.opening(compare.mirror, &volumes) };
        let since = self.lock().kept.since;
        let hashes = (compare.purpose == Purpose::Verify).then(|| self.hash_lists()).flatten();
        let what = What { hashes: hashes.as_ref(), ..What::whole(opening, since) };
        match self.pass(connection, &running, &volumes, what) {
            Ok(passed) => {
                let ordered = Ordered {
                    comparison: compare.comparison,
                    orphans: OrphanPolicy::Keep,
                    orphan_limit: OrphanLimit::Count(0),
                    limit_bytes_per_second: None,
                    emptied_is_meant: true,
                };
                let job = Job::new(compare.mirror, ordered);
                let mut report = self.mirror_report(&job, &running, &passed, connection);
                if compare.purpose == Purpose::Verify {
                    self.set_aside_what_changes(&mut report);
                }
                let lists = hashes.and_then(|hashes| listed(hashes.finish())).unwrap_or_default();
                report.hashes = lists.iter().map(|path| path.display().to_string()).collect();
                let trouble = self.lock().trouble.clone();
                self.settle_and_end(compare.mirror, trouble, Ok(report));
                Outcome::Ended
            }
            Err(PassError::Stopped) => {
                self.settle(compare.mirror, None);
                self.end(compare.mirror, Err(failed(FailedKind::Failed, "the comparison was stopped")));
                Outcome::Ended
            }
            Err(error) => {
                if connection.is_closed() {
                    self.disconnect(connection);
                }
                let ended = self.give_up_comparing(compare.mirror, failed(kind(&error), error.to_string()));
                if hold_for(&error) == Hold::Promoted {
                    self.hold(Hold::Promoted);
                }
                ended
            }
        }
    }

    fn hash_lists(&self) -> Option<HashLists> {
        let set = self.set();
        let roots: Vec<_> = set.roots.iter().map(|root| root.path.as_path()).collect();
        listed(HashLists::create(&self.directory, &roots))
    }

    fn mirror_report(&self, job: &Job, running: &Running, passed: &Passed, connection: &Connection) -> MirrorReport {
        let progress = running.meter.progress(running.wire(Some(connection)));
        let (problems, problem_count) = running.meter.problems.get();
        let (findings, finding_count) = running.meter.findings.get();
        MirrorReport {
            mirror: job.mirror,
            comparison: job.ordered.comparison,
            failed: None,
            point: passed.point.as_ref().map(|point| point.number),
            consistent: passed.point.as_ref().is_some_and(|point| point.consistent),
            passes: job.pass,
            resumed: job.resumed,
            objects: progress.objects,
            bytes: progress.bytes,
            orphans: job.before.orphans + passed.summary.orphans,
            orphans_left: passed.point.as_ref().map_or(passed.summary.orphans, |point| point.orphans),
            wanted_files: job.before.wanted_files + passed.summary.wanted_files,
            wanted_bytes: job.before.wanted_bytes + passed.summary.wanted_bytes,
            changed_objects: job.before.changed_objects + passed.summary.changed_objects,
            data_bytes: progress.data_bytes,
            wire: progress.wire,
            seconds: running.meter.seconds(),
            problems,
            problem_count,
            failed_count: running.meter.flaws.load(Relaxed),
            removes_orphans: job.ordered.orphans == OrphanPolicy::Remove,
            findings,
            finding_count,
            hashes: Vec::new(),
        }
    }
}

impl State {
    fn settle(&mut self, mirror: MirrorId, trouble: Option<String>) {
        self.running = None;
        if self.compare.take_if(|compare| compare.mirror == mirror).is_some() {
            self.on(Event::CompareEnded);
        }
        if self.kept.job.is_none() {
            self.on(Event::Ended);
        }
        self.trouble = trouble;
    }
}

/// A list that cannot be written is missed, but nothing fails for it.
fn listed<T>(result: std::io::Result<T>) -> Option<T> {
    result.inspect_err(|error| tracing::warn!(%error, "the hashes cannot be listed")).ok()
}
