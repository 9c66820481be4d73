//! Following the roots of a source: rounds over what was noticed, each on top of the point before.
//!
//! Whatever cannot be done by a round is done by a mirror over everything: when nothing was watched until now, when notices were lost, when the
//! replica is not at the point that is known, and from time to time.

use std::sync::Arc;
use std::thread::Scope;
use std::time::{Duration, Instant};

use standin_common::id::MirrorId;
use standin_common::link::quic::Connection;
use standin_common::message::{Comparison, MirrorOpening, OrphanPolicy, Refusal};
use standin_common::scope::Reason;
use standin_replicator::capture::watch::Watch;
use standin_replicator::capture::{LinkedNames, Taken};
use standin_replicator::journal::Point;
use standin_replicator::os::cpu_time;
use standin_replicator::scopes::Scopes;
use standin_replicator::source::pass::{PassError, Passed};
use standin_replicator::source::rhythm::{Moment, Rhythm, Turn};
use standin_replicator::source::state::{Event, Hold};

use super::kept::{Job, Ordered};
use super::run::Outcome;
use super::waiting::Waiting;
use super::{Asked, SourceSet, new_mirror_id};

/// How often a source that follows looks at its connection and at the clock, when nothing changes.
const LOOK: Duration = Duration::from_secs(1);
/// How long after a round in which something could not be read everything is looked at again.
const FLAWED: Duration = Duration::from_secs(60);

/// What the thread of a source knows of the set that it follows.
pub(super) struct Follow {
    watch: Option<Arc<Watch>>,
    names: LinkedNames,
    /// The mirrors and rounds one of which made the point that the standby is at; none if that is not known.
    base: Vec<MirrorId>,
    /// The round that was cut off.
    cut: Option<Round>,
    /// A mirror that began before the watch did.
    unwatched: Option<MirrorId>,
    /// When a round or mirror ended, and how long it worked.
    ended: Instant,
    worked: Duration,
    /// When the last point was made that is kept, and whether it is the newest.
    kept: Instant,
    is_kept: bool,
    /// When everything is looked at again.
    whole_due: Option<Instant>,
    /// What was left to a person, until a mirror over everything leaves nothing.
    pub(super) left: Option<String>,
    /// The pass of a mirror that this watch was opened for.
    watched: Option<MirrorId>,
    waiting: Waiting,
}

/// What one round is about.
#[derive(Debug, Clone)]
struct Round {
    mirror: MirrorId,
    taken: Taken,
    /// The count of notices when it was taken.
    seen: u64,
    /// The last request for a point that came before it.
    asked: u64,
}

impl Follow {
    /// Of a source that starts; its mirror goes on, if one was running.
    pub(super) fn new(job: Option<&Job>, waiting: Waiting) -> Self {
        let now = Instant::now();
        Self {
            watch: None,
            names: LinkedNames::default(),
            base: Vec::new(),
            cut: None,
            unwatched: job.map(Job::pass_id),
            ended: now,
            worked: Duration::ZERO,
            kept: now,
            is_kept: true,
            whole_due: None,
            left: None,
            watched: None,
            waiting,
        }
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// The daemon ends: what waits is kept for the next.
    pub(super) fn end(mut self) {
        if let Some(watch) = self.watch.take() {
            watch.stop();
            self.waiting.keep(&watch, self.cut.as_ref().map(|cut| &cut.taken));
        }
    }

    /// Nothing is followed any more.
    fn unwatch(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.stop();
        }
        self.waiting.arrived();
        self.base.clear();
        self.cut = None;
    }

    /// Nothing is sent at the moment.
    pub(super) fn waits(&mut self) {
        self.waiting.keep_now_and_then(self.watch.as_deref(), self.cut.as_ref().map(|cut| &cut.taken));
    }

    /// Does what may take long.
    pub(super) fn during<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.waiting.keep_during(self.watch.as_deref(), self.cut.as_ref().map(|cut| &cut.taken), work)
    }

    /// From now on this watch notices what changes; what the one before noticed is not forgotten.
    fn watch_by(&mut self, watch: Arc<Watch>) {
        let before = self.watch.replace(watch.clone()).map(|before| {
            before.stop();
            // What it cannot tell any more, the pass that comes finds.
            before.take_all().map_or_else(|_| before.take(), |(taken, _)| taken)
        });
        for taken in before.into_iter().chain(self.cut.take().map(|cut| cut.taken)) {
            if taken.whole.is_none() {
                watch.put_back(taken);
            }
        }
    }

    /// A pass ended: those that come now are watched from their beginning.
    pub(super) fn watched_now(&mut self) {
        self.unwatched = None;
    }

    /// Whether a pass of a mirror covered everything, since it began under the present watch.
    pub(super) fn covers(&self, pass: MirrorId) -> bool {
        self.watch.is_some() && self.unwatched != Some(pass)
    }

    /// A mirror over everything ended, which the watch accompanied.
    pub(super) fn mirrored(&mut self, point: &Point, flawed: bool, rescan: Option<Duration>, left: Option<String>) {
        self.base = vec![point.mirror];
        self.cut = None;
        self.left = left;
        // Nothing rests for what a person ordered.
        self.made(point, Duration::ZERO);
        self.whole_due = rescan.into_iter().chain(flawed.then_some(FLAWED)).min().map(|after| self.ended + after);
    }

    /// Whether the standby is where rounds build upon, if its newest point was made by this mirror. That of a round that was cut off may be
    /// there although nobody was told.
    fn is_at(&self, newest: MirrorId) -> bool {
        self.base.contains(&newest) || self.cut.as_ref().is_some_and(|cut| cut.mirror == newest)
    }

    /// Whether there is a round to be made again.
    pub(super) fn has_cut(&self) -> bool {
        self.cut.is_some()
    }

    fn made(&mut self, point: &Point, worked: Duration) {
        self.ended = Instant::now();
        self.worked = worked;
        self.is_kept = point.reason != Reason::Passing;
        if self.is_kept {
            self.kept = self.ended;
        }
    }

    fn moment(&self, watch: &Watch, asked: Option<Instant>) -> Moment {
        let (oldest, newest) = watch.times();
        // What a cut round took waits, too.
        let oldest = self.cut.as_ref().and_then(|cut| cut.taken.oldest).or(oldest);
        Moment { oldest, newest, ended: self.ended, worked: self.worked, kept: self.kept, is_kept: self.is_kept, asked }
    }
}

/// Whether a round that ended so is made again as it was.
fn goes_on(error: &PassError) -> bool {
    use Refusal::{Anew, Busy, Failed};
    matches!(error, PassError::Stopped | PassError::Link(_) | PassError::Lane(_) | PassError::Refused(Anew | Busy | Failed(_)))
}

/// What it is held for after an error that a person has to see to.
pub(super) fn hold_for(error: &PassError) -> Hold {
    match error {
        PassError::Refused(Refusal::Promoted) => Hold::Promoted,
        error => Hold::Stuck(error.to_string()),
    }
}

impl SourceSet {
    /// Before a pass over everything begins, a watch is opened, so that nothing escapes that changes while it reads.
    pub(super) fn watch_for<'s>(&'s self, job: &Job, follow: &mut Follow, scope: &'s Scope<'s, '_>) {
        if self.lock().kept.following.is_none() {
            return;
        }
        if follow.watched == Some(job.pass_id()) && follow.is_watched() {
            return;
        }
        let roots: Vec<_> = self.set().roots.iter().map(|root| root.path.clone()).collect();
        let watch = match Watch::open(&roots, self.rules.clone(), self.set().queue_limit_bytes) {
            Ok(watch) => Arc::new(watch),
            Err(error) => {
                let text = format!("the roots cannot be watched: {error}; `capture = \"scan\"` mirrors without that");
                return self.hold(Hold::Stuck(text));
            }
        };
        tracing::info!(method = %watch.method(), "watching");
        if self.lock().watch.replace(watch.clone()).is_none() {
            self.on(Event::WatchBegan);
        }
        follow.waiting.restore_to(&watch);
        follow.watch_by(watch.clone());
        follow.watched = Some(job.pass_id());
        scope.spawn(move || watch.run(&|| self.noticed()));
    }

    /// Where nothing is followed, nothing is watched.
    pub(super) fn unwatch_if_not_followed(&self, follow: &mut Follow) {
        let mut state = self.lock();
        if state.kept.following.is_none() && state.watch.take().is_some() {
            state.on(Event::WatchEnded);
            drop(state);
            follow.unwatch();
        }
    }

    /// One turn of following: a round if it is time for one, else a while of waiting.
    pub(super) fn follow(&self, connection: &Connection, follow: &mut Follow) -> Outcome {
        let (noticed, asked) = {
            let state = self.lock();
            (state.noticed, state.asked.clone())
        };
        if let Some(newest) = self.lock().told.newest.take()
            && !follow.is_at(newest)
        {
            follow.base.clear();
        }
        let now = Instant::now();
        let due = follow.whole_due.is_some_and(|due| due <= now);
        let watch = match &follow.watch {
            Some(watch) if !follow.base.is_empty() && !due && !follow.waiting.is_unknown() && watch.lost().is_none() => {
                watch.clone()
            }
            _ => return self.order_whole(follow),
        };
        let moment = follow.moment(&watch, asked.since);
        match self.rhythm().turn(now, &moment) {
            Turn::Round => self.round(connection, follow, &watch, &moment, asked),
            Turn::Wait(until) => {
                if moment.oldest.is_none() {
                    self.lock().on(Event::Drained);
                }
                let until = until.into_iter().chain(follow.whole_due).min();
                self.sleep_unless(noticed, until.map_or(LOOK, |until| until.saturating_duration_since(now)).min(LOOK));
                Outcome::Ended
            }
        }
    }

    fn rhythm(&self) -> Rhythm {
        let span = |millis: Option<u64>| millis.map(Duration::from_millis);
        Rhythm { interval: span(self.set().points.interval_ms), quiet: span(self.set().points.quiet_ms) }
    }

    /// A mirror over everything comes next.
    pub(super) fn order_whole(&self, follow: &mut Follow) -> Outcome {
        let why = match &follow.watch {
            None => "nothing was watched until now".to_owned(),
            Some(watch) => watch.lost().unwrap_or_else(|| {
                let due = !follow.base.is_empty();
                if due { "it is time for it" } else { "the replica is not at the point that is known here" }.to_owned()
            }),
        };
        tracing::info!(why, "everything is compared");
        follow.base.clear();
        let by_data = follow.waiting.is_unknown().then_some(Comparison::Checksum);
        let ordered = self.try_keep(|kept| {
            if let (None, Some(following)) = (&kept.job, &kept.following) {
                let comparison = by_data.unwrap_or(following.ordered.comparison);
                let ordered = Ordered { comparison, ..following.ordered };
                kept.job = Some(Job { of_itself: true, ..Job::new(new_mirror_id(), ordered) });
                return Ok(true);
            }
            // Somebody else ordered one meanwhile, or that nothing follows.
            Ok(false)
        });
        match ordered {
            Ok(is_ours) => {
                if is_ours {
                    follow.waiting.is_found_by_data();
                }
                self.on(Event::Ordered);
                Outcome::Ended
            }
            Err(error) => Outcome::Again(error.text),
        }
    }

    fn round(&self, connection: &Connection, follow: &mut Follow, watch: &Watch, moment: &Moment, asked: Asked) -> Outcome {
        let again = follow.cut.is_some();
        let round = match follow.cut.take() {
            Some(round) => round,
            None => match watch.take_all() {
                Ok((taken, seen)) => Round { mirror: new_mirror_id(), taken, seen, asked: asked.last },
                Err(_) => return self.order_whole(follow),
            },
        };
        if round.taken.whole.is_some() {
            watch.put_back(round.taken);
            return self.order_whole(follow);
        }
        let (began, used) = (Instant::now(), cpu_time());
        self.lock().under_way = Some(Arc::new(round.taken.clone()));
        let mut base = follow.base.clone();
        // If only the answer to its end was lost, the replica is there already.
        base.extend(again.then_some(round.mirror));
        let Follow { waiting, names, .. } = follow;
        let run = || self.run_round(connection, names, base, &round, watch, moment);
        let ended = waiting.keep_during(Some(watch), Some(&round.taken), run);
        match ended {
            Ok(passed) => {
                let took = began.elapsed();
                tracing::debug!(millis = took.as_millis(), "round ended");
                self.round_passed(follow, round, watch, passed, cpu_time().saturating_sub(used).min(took))
            }
            Err(error) => {
                let end = self.round_failed(connection, &error);
                if goes_on(&error) {
                    follow.cut = Some(round);
                } else {
                    watch.put_back(round.taken);
                    follow.base.clear();
                }
                end
            }
        }
    }

    fn run_round(
        &self,
        connection: &Connection,
        names: &mut LinkedNames,
        base: Vec<MirrorId>,
        round: &Round,
        watch: &Watch,
        moment: &Moment,
    ) -> Result<Passed, PassError> {
        let (volumes, _) = self.open_roots(false).map_err(|error| PassError::Unsafe(error.to_string()))?;
        let scopes = names.expand(&volumes, &self.rules, round.taken.scopes.clone()).and_then(Scopes::by_root);
        let scopes = scopes.map_err(|error| PassError::Unsafe(error.to_string()))?;
        let ordered = self.lock().kept.following.as_ref().map(|following| following.ordered).ok_or(PassError::Stopped)?;
        let running = self.running(round.mirror, ordered.limit_bytes_per_second, connection);
        let opening = MirrorOpening {
            // Whatever was noticed may have left size and times as they were.
            comparison: Comparison::Checksum,
            orphans: ordered.orphans,
            orphan_limit: ordered.orphan_limit,
            base: Some(base),
            ..self.opening(round.mirror, &volumes)
        };
        tracing::debug!(places = round.taken.scopes.len(), "round");
        let rhythm = self.rhythm();
        let still = || watch.catch_up().is_ok_and(|seen| seen == round.seen);
        let reason = |consistent| rhythm.reason(Instant::now(), moment, consistent);
        let what = super::pass::What { opening, scopes: Some(scopes), still: &still, reason: &reason, hashes: None };
        let passed = self.pass(connection, &running, &volumes, what);
        let mut state = self.lock();
        let wire = running.wire(Some(connection));
        state.followed.rounds += 1;
        state.followed.sent_bytes += wire.sent_bytes;
        state.running = None;
        drop(state);
        passed
    }

    fn round_passed(&self, follow: &mut Follow, round: Round, watch: &Watch, passed: Passed, worked: Duration) -> Outcome {
        let Some(point) = passed.point else { return Outcome::Ended };
        tracing::debug!(point = %point.number, consistent = point.consistent, reason = ?point.reason, "point");
        follow.base = vec![round.mirror];
        follow.waiting.arrived();
        follow.made(&point, worked);
        // Where something could not be read, orphans stay for that reason; it is looked at again before long.
        if passed.flaws == 0 {
            follow.left = self.left_orphans(&point);
        }
        // What changed without a notice is looked at once more; of what there is a notice, it says where.
        if passed.moved && watch.catch_up().is_ok_and(|seen| seen == round.seen) {
            watch.put_back(Taken { oldest: Some(Instant::now()), ..round.taken });
        }
        let mut state = self.lock();
        state.told.is_old();
        state.asked.answer(round.asked, &point);
        state.kept.point = Some(point);
        state.trouble = follow.left.clone();
        state.on(Event::Advanced);
        drop(state);
        if passed.flaws > 0 {
            follow.whole_due = Some(follow.whole_due.map_or(follow.ended + FLAWED, |due| due.min(follow.ended + FLAWED)));
        }
        self.changed.notify_all();
        Outcome::Ended
    }

    /// What is to be said of orphans that a point has although they are to be removed.
    pub(super) fn left_orphans(&self, point: &Point) -> Option<String> {
        let removes = self.lock().kept.following.is_some_and(|following| following.ordered.orphans == OrphanPolicy::Remove);
        (removes && point.orphans > 0).then(|| {
            format!(
                "{} objects of the standby are not here, more than `max_orphans` allows to be removed at once: they stay there until \
                 `standin mirror start {} --max-orphans 100%` says that it is meant",
                point.orphans,
                self.set().name
            )
        })
    }

    /// What is to be done about a round that did not end well; what it took is kept.
    fn round_failed(&self, connection: &Connection, error: &PassError) -> Outcome {
        match error {
            PassError::Stopped | PassError::Refused(Refusal::OtherBase) => Outcome::Ended,
            error if goes_on(error) => {
                if connection.is_closed() {
                    self.disconnect(connection);
                } else if matches!(error, PassError::Lane(_) | PassError::Refused(Refusal::Failed(_))) {
                    self.on(Event::Hindered(error.to_string()));
                }
                Outcome::Again(error.to_string())
            }
            error => {
                self.hold(hold_for(error));
                Outcome::Ended
            }
        }
    }
}
