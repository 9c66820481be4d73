//! The thread of a source: connects, and runs what is ordered.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use standin_common::id::{MirrorId, RootIndex};
use standin_common::link::backoff::Backoff;
use standin_common::link::quic::Connection;
use standin_common::message::{Comparison, MirrorOpening, OrphanLimit, OrphanPolicy, Purpose, Refusal, RootKind, SetAnswer};
use standin_common::scope::Reason;
use standin_replicator::definition;
use standin_replicator::os::OsVolume;
use standin_replicator::report::{MirrorReport, Wire};
use standin_replicator::scopes::Scopes;
use standin_replicator::source::hashes::HashLists;
use standin_replicator::source::meter::Meter;
use standin_replicator::source::pace::Pace;
use standin_replicator::source::pass::{Pass, PassError, Passed};
use standin_replicator::source::safety::{self, Remembered, UnsafeRoot};
use standin_replicator::source::state::Event;
use standin_replicator::volume::Volume;

use super::follow::Follow;
use super::kept::{Job, Ordered};
use super::{Compare, Running, SourceSet, carried, failed};
use crate::control::{Failed, FailedKind};
use crate::daemon::{clock, peer};

/// Pauses between attempts to reach the standby.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// So many places of a round are worth one more lane.
const PLACES_FOR_A_LANE: usize = 32;
/// How often an idle source looks at its connection.
const LOOK: Duration = Duration::from_secs(1);

/// What to do next.
enum Next {
    Mirror(Job),
    Compare(Compare),
    Follow,
    /// Nothing, not even a connection, before a person acts.
    Held,
    Idle,
    Stop,
}

/// What came of doing it.
pub(super) enum Outcome {
    /// It ended, well or not.
    Ended,
    /// It goes on over the next connection.
    Again(String),
}

/// What a pass is about.
pub(super) struct What<'a> {
    pub(super) opening: MirrorOpening,
    /// In a round: where.
    pub(super) scopes: Option<BTreeMap<RootIndex, Scopes>>,
    /// Whether nothing was noticed since it began.
    pub(super) still: &'a (dyn Fn() -> bool + Sync),
    pub(super) reason: &'a (dyn Fn(bool) -> Reason + Sync),
    pub(super) hashes: Option<&'a HashLists>,
}

impl What<'_> {
    /// A pass over everything of roots that nobody watches.
    fn whole(opening: MirrorOpening) -> Self {
        Self { opening, scopes: None, still: &|| true, reason: &|_| Reason::Mirror, hashes: None }
    }
}

impl SourceSet {
    /// Runs until [`SourceSet::shut_down`].
    pub(in crate::daemon) fn run(&self) {
        let generation = self.lock().kept.generation;
        let span = tracing::info_span!("set", set = %self.set().name, peer = %self.set().standby, %generation);
        let _entered = span.enter();
        let follow = Follow::new(self.lock().kept.job.as_ref());
        thread::scope(|scope| self.run_with(scope, follow));
    }

    fn run_with<'s>(&'s self, scope: &'s Scope<'s, '_>, mut follow: Follow) {
        let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, RandomState::new().hash_one(&self.set().name));
        loop {
            let next = self.next();
            if let Next::Stop = next {
                return follow.end();
            }
            self.unwatch_if_not_followed(&mut follow);
            if let Next::Held = next {
                self.sleep(LOOK);
                continue;
            }
            if let Next::Mirror(job) = &next {
                self.watch_for(job, &mut follow, scope);
            }
            let began = Instant::now();
            let again = match (self.connect(), next) {
                (Err(why), _) => Some(why),
                (Ok(connection), Next::Mirror(job)) => self.mirror(&connection, job, &mut follow).again(),
                (Ok(connection), Next::Follow) => self.follow(&connection, &mut follow).again(),
                (Ok(connection), Next::Compare(compare)) => self.run_compare(&connection, compare).again(),
                (Ok(_), _) => {
                    self.sleep(LOOK);
                    None
                }
            };
            match again {
                None => pauses.reset(),
                Some(why) => {
                    let before = self.lock().trouble.replace(why.clone());
                    // A standby that is down for a day is worth a line, not thousands.
                    if before.as_ref() == Some(&why) {
                        tracing::debug!("{why}");
                    } else {
                        tracing::warn!("{why}");
                    }
                    // What went on for a while was no vain attempt.
                    if began.elapsed() > LONGEST_PAUSE {
                        pauses.reset();
                    }
                    self.sleep(pauses.pause());
                }
            }
        }
    }

    fn next(&self) -> Next {
        let state = self.lock();
        match (&state.compare, &state.kept.job) {
            _ if state.stopping => Next::Stop,
            _ if !state.source.dials() => Next::Held,
            (Some(compare), _) => Next::Compare(compare.clone()),
            (None, Some(job)) if !job.paused => Next::Mirror(job.clone()),
            (None, None) if state.kept.following.is_some_and(|following| !following.paused) => Next::Follow,
            _ => Next::Idle,
        }
    }

    /// Waits until something was noticed since `noticed`, something is ordered, or `limit`.
    pub(super) fn sleep_unless(&self, noticed: u64, limit: Duration) {
        let mut state = self.lock();
        if !state.stopping && state.noticed == noticed {
            state.awaits_notice = true;
            let (mut state, _) = self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner);
            state.awaits_notice = false;
        }
    }

    /// Waits until something is ordered, or `limit`.
    fn sleep(&self, limit: Duration) {
        let state = self.lock();
        if !state.stopping {
            let _state = self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The connection, dialled now if there is none.
    fn connect(&self) -> Result<Connection, String> {
        if let Some(connection) = self.connection() {
            return Ok(connection);
        }
        self.on(Event::LinkLost);
        self.lock().away_since.get_or_insert_with(Instant::now);
        if !self.lock().source.dials() {
            return Err("the connection was lost, and `reconnect` is \"manual\"".to_owned());
        }
        let connection = self.context.dial(&self.set().standby).map_err(|error| error.to_string())?;
        tracing::info!(remote = %connection.path().remote, "connected");
        let asked = peer::ask_of_set(&connection, &self.set().name).map_err(|error| error.to_string())?;
        let mut state = self.lock();
        state.trouble = match asked {
            SetAnswer::Unknown => Some(format!(
                "{} has no set {} with this node in its settings: write the same lines on both nodes",
                self.set().standby,
                self.set().name
            )),
            SetAnswer::Known { .. } => None,
        };
        (state.connection, state.away_since) = (Some(connection.clone()), None);
        state.on(Event::Connected);
        Ok(connection)
    }

    pub(super) fn disconnect(&self, connection: &Connection) {
        let mut state = self.lock();
        let carried = carried(connection);
        if let Some(running) = &mut state.running {
            running.wire_before.sent_bytes += carried.sent_bytes.saturating_sub(running.wire_start.sent_bytes);
            running.wire_before.received_bytes += carried.received_bytes.saturating_sub(running.wire_start.received_bytes);
            running.wire_start = Wire::default();
        }
        state.connection = None;
        state.on(Event::LinkLost);
    }

    /// Opens the roots, after a look at whether they are what they were.
    pub(super) fn open_roots(&self, emptied_is_meant: bool) -> Result<(Vec<OsVolume>, Vec<Remembered>), UnsafeRoot> {
        let before = self.lock().kept.roots.clone();
        let mut volumes = Vec::new();
        let mut remembered = Vec::new();
        for (index, (root, rules)) in self.set().roots.iter().zip(&self.rules).enumerate() {
            remembered.push(safety::look_at(&root.path, rules, before.get(index), emptied_is_meant)?);
            let opened = OsVolume::open_source(&root.path);
            volumes.push(opened.map_err(|source| UnsafeRoot::Unreadable { path: root.path.clone(), source })?);
        }
        Ok((volumes, remembered))
    }

    /// The counters and brakes of a mirror: those it has, if it goes on.
    pub(super) fn running(&self, mirror: MirrorId, limit: Option<u64>, connection: &Connection) -> Running {
        let mut state = self.lock();
        let before = state.running.take().filter(|running| running.mirror == mirror);
        let running = Running {
            mirror,
            meter: before.as_ref().map_or_else(|| Arc::new(Meter::default()), |before| before.meter.clone()),
            pace: Arc::new(Pace::new(self.rate(limit, clock::local_time()), self.set().compression)),
            wire_before: before.map_or_else(Wire::default, |before| before.wire_before),
            wire_start: carried(connection),
            limit_bytes_per_second: limit,
            active: true,
        };
        state.running = Some(running.clone());
        // What was to be cut off has ended.
        state.cut_off = None;
        // Stopped or paused between the order and now.
        let ordered = state.kept.job.as_ref().is_some_and(|job| job.mirror == mirror && !job.paused)
            || state.compare.as_ref().is_some_and(|compare| compare.mirror == mirror)
            || state.kept.job.is_none() && state.kept.following.is_some_and(|following| !following.paused);
        if state.stopping || !ordered {
            running.pace.stop();
        }
        running
    }

    pub(super) fn opening(&self, mirror: MirrorId, volumes: &[OsVolume]) -> MirrorOpening {
        MirrorOpening {
            set: self.set().name.clone(),
            generation: self.lock().kept.generation,
            mirror,
            definition: definition::digest(&self.set()),
            roots: volumes.iter().map(Volume::kind).collect(),
            purpose: Purpose::Mirror,
            comparison: Comparison::Difference,
            orphans: OrphanPolicy::Keep,
            orphan_limit: OrphanLimit::Count(0),
            base: None,
        }
    }

    /// Runs a pass. A standby that does not let go of one that failed or was stopped is cut off.
    pub(super) fn pass(
        &self,
        connection: &Connection,
        running: &Running,
        volumes: &[OsVolume],
        what: What<'_>,
    ) -> Result<Passed, PassError> {
        let (pace, meter) = (&running.pace, &running.meter);
        let stopping = || self.cut_off();
        let What { opening, scopes, still, reason, hashes } = what;
        // A round of a few places is over before further lanes are open.
        let places: Option<usize> = scopes.as_ref().map(|scopes| scopes.values().map(Scopes::len).sum());
        let lanes = usize::from(self.set().lanes).min(places.map_or(usize::MAX, |places| 1 + places / PLACES_FOR_A_LANE));
        let rules = &self.rules;
        let pass = Pass { volumes, rules, opening, lanes, pace, meter, scopes, still, reason, hashes, stopping: &stopping };
        let passed = pass.run(connection);
        self.lock().cut_off = None;
        match passed {
            // Whatever failed after it was stopped failed because of that.
            Err(_) if pace.is_stopped() => Err(PassError::Stopped),
            passed => passed,
        }
    }

    fn mirror(&self, connection: &Connection, mut job: Job, follow: &mut Follow) -> Outcome {
        let (volumes, remembered) = match self.open_roots(job.ordered.emptied_is_meant) {
            Ok(opened) => opened,
            Err(error) => return self.give_up(job.mirror, failed(FailedKind::Refused, error.to_string())),
        };
        // Another pass proves nothing of a device either.
        let never_proven = volumes.iter().any(|volume| volume.kind() == RootKind::Device);
        let running = self.running(job.mirror, job.ordered.limit_bytes_per_second, connection);
        tracing::info!(pass = job.pass, comparison = ?job.ordered.comparison, resumed = job.resumed, "mirror");
        loop {
            let opening = MirrorOpening {
                comparison: if job.pass == 1 { job.ordered.comparison } else { Comparison::Difference },
                orphans: job.ordered.orphans,
                orphan_limit: job.ordered.orphan_limit,
                ..self.opening(job.pass_id(), &volumes)
            };
            running.meter.begin_pass(job.pass);
            let passed = match self.pass(connection, &running, &volumes, What::whole(opening)) {
                Ok(passed) => passed,
                Err(error) => return self.pass_failed(connection, &job, error),
            };
            let consistent = passed.point.as_ref().is_some_and(|point| point.consistent);
            let flawed = running.meter.flaws.load(Relaxed) > 0;
            let covered = follow.covers(job.pass_id());
            // What follows makes further passes needless, but one that nobody watched from its beginning is not enough to follow it.
            let last = match follow.is_watched() {
                true => covered || flawed,
                false => consistent || job.pass >= u32::from(self.set().passes) || flawed || never_proven,
            };
            if let Some(point) = passed.point.as_ref().filter(|_| covered) {
                follow.mirrored(point, flawed, self.set().rescan_ms.map(Duration::from_millis));
            }
            follow.watched_now();
            let left = passed.point.as_ref().map_or(0, |point| point.orphans);
            let next = job.next_pass(&passed.summary, left);
            let kept = self.keep(|kept| {
                // Whoever stopped or paused it meanwhile has changed the job.
                if kept.job.as_ref().is_some_and(|kept| kept.mirror == job.mirror) {
                    kept.job = (!last).then(|| Job { paused: kept.job.as_ref().is_some_and(|job| job.paused), ..next.clone() });
                }
                kept.roots = remembered.clone();
                kept.point = passed.point.clone();
            });
            if let Err(error) = kept {
                return self.give_up(job.mirror, error);
            }
            let report = self.mirror_report(&job, &running, &passed, connection);
            let point = report.point.map(tracing::field::display);
            tracing::info!(point, consistent = report.consistent, seconds = report.seconds, "mirrored");
            if last {
                // In this order, so that whoever sees it idle sees how it ended.
                self.end(job.mirror, Ok(report));
                self.settle(job.mirror, None);
                return Outcome::Ended;
            }
            self.lock().last_mirror = Some(report);
            job = next;
        }
    }

    /// What is to be done about a pass that did not end well.
    fn pass_failed(&self, connection: &Connection, job: &Job, error: PassError) -> Outcome {
        match error {
            PassError::Stopped => {
                self.settle(job.mirror, None);
                Outcome::Ended
            }
            PassError::Link(_) | PassError::Refused(Refusal::Busy) => {
                let counted = self.keep(|kept| kept.job.iter_mut().for_each(|job| job.resumed += 1));
                if let Err(error) = counted {
                    return self.give_up(job.mirror, error);
                }
                if connection.is_closed() {
                    self.disconnect(connection);
                }
                self.lock().running.iter_mut().for_each(|running| running.active = false);
                Outcome::Again(error.to_string())
            }
            // Somebody has to make room or mend something there; what was received is kept.
            PassError::Refused(Refusal::Failed(_)) | PassError::Lane(_) => {
                let paused = self.keep(|kept| kept.job.iter_mut().for_each(|job| job.paused = true));
                if let Err(error) = paused {
                    return self.give_up(job.mirror, error);
                }
                let name = &self.set().name;
                let why = format!("{error}; then `standin mirror resume {name}` goes on where it was");
                tracing::error!("{why}");
                self.on(Event::Paused);
                self.settle(job.mirror, Some(why));
                Outcome::Ended
            }
            error => {
                let refused = matches!(
                    error,
                    PassError::Refused(
                        Refusal::Promoted
                            | Refusal::OldGeneration { .. }
                            | Refusal::OtherDefinition
                            | Refusal::NotYourSet
                            | Refusal::Bad(_)
                    )
                );
                let kind = if refused { FailedKind::Refused } else { FailedKind::Failed };
                self.give_up(job.mirror, failed(kind, error.to_string()))
            }
        }
    }

    /// A mirror ends without having done what it should.
    fn give_up(&self, mirror: MirrorId, error: Failed) -> Outcome {
        tracing::error!("{}", error.text);
        // If even this cannot be kept, the mirror is tried again at the next start, which is harmless.
        let _ = self.keep(|kept| {
            kept.job = kept.job.take().filter(|job| job.mirror != mirror);
            kept.following.iter_mut().for_each(|following| following.paused = true);
        });
        self.settle(mirror, Some(error.text.clone()));
        self.end(mirror, Err(error));
        Outcome::Ended
    }

    /// This mirror or comparison runs no more. What was ordered while it came to its end stays ordered.
    pub(super) fn settle(&self, mirror: MirrorId, trouble: Option<String>) {
        let mut state = self.lock();
        state.running = None;
        if state.compare.take_if(|compare| compare.mirror == mirror).is_some() {
            state.on(Event::CompareEnded);
        }
        if state.kept.job.is_none() {
            state.on(Event::Ended);
        }
        state.trouble = trouble;
        self.changed.notify_all();
    }

    fn run_compare(&self, connection: &Connection, compare: Compare) -> Outcome {
        let (volumes, _) = match self.open_roots(true) {
            Ok(opened) => opened,
            Err(error) => return self.give_up(compare.mirror, failed(FailedKind::Refused, error.to_string())),
        };
        let running = self.running(compare.mirror, None, connection);
        let opening =
            MirrorOpening { purpose: compare.purpose, comparison: compare.comparison, ..self.opening(compare.mirror, &volumes) };
        let hashes = (compare.purpose == Purpose::Verify).then(|| self.hash_lists()).flatten();
        let what = What { hashes: hashes.as_ref(), ..What::whole(opening) };
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
                let lists = hashes.and_then(|hashes| listed(hashes.finish())).unwrap_or_default();
                report.hashes = lists.iter().map(|path| path.display().to_string()).collect();
                self.settle(compare.mirror, None);
                self.end(compare.mirror, Ok(report));
                Outcome::Ended
            }
            Err(PassError::Stopped) => {
                self.settle(compare.mirror, None);
                self.end(compare.mirror, Err(failed(FailedKind::Failed, "the comparison was stopped")));
                Outcome::Ended
            }
            Err(error) => self.give_up(compare.mirror, failed(FailedKind::Failed, error.to_string())),
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
            findings,
            finding_count,
            hashes: Vec::new(),
        }
    }
}

/// A list that cannot be written is missed, but nothing fails for it.
fn listed<T>(result: std::io::Result<T>) -> Option<T> {
    result.inspect_err(|error| tracing::warn!(%error, "the hashes cannot be listed")).ok()
}

impl Outcome {
    fn again(self) -> Option<String> {
        match self {
            Self::Ended => None,
            Self::Again(why) => Some(why),
        }
    }
}
