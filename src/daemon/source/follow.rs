//! Following the roots of a source: rounds over what was noticed, each on top of the point before.
//!
//! Whatever cannot be done by a round is done by a mirror over everything: when nothing was watched until now, when notices were lost, when the
//! replica is not at the point that is known, and from time to time.

use std::sync::Arc;
use std::thread::Scope;
use std::time::{Duration, Instant};

use standin_common::id::MirrorId;
use standin_common::link::quic::Connection;
use standin_common::message::{Comparison, OrphanPolicy, Refusal};
use standin_common::scope::Reason;
use standin_replicator::capture::watch::Watch;
use standin_replicator::capture::{LinkedNames, Taken};
use standin_replicator::journal::Point;
use standin_replicator::source::pass::PassError;
use standin_replicator::source::rhythm::{Moment, Rhythm, Turn};
use standin_replicator::source::state::{Event, Hold};

use super::held::Holding;
use super::kept::{Job, Ordered, OrderedBy};
use super::round::Round;
use super::run::Outcome;
use super::streaming::{Left, Next, Streaming};
use super::waiting::Waiting;
use super::{SourceSet, new_mirror_id};

/// How often a source that follows looks at its connection and at the clock, when nothing changes.
const LOOK: Duration = Duration::from_secs(1);
/// Memory for places that changed, at most: the queue of capture `ordered` is for data, and mostly on disk.
const PLACES_BYTES: u64 = 256 << 20;
/// How long after a round in which something could not be read everything is looked at again.
const FLAWED: Duration = Duration::from_secs(60);

/// What the thread of a source knows of the set that it follows.
pub(super) struct Follow {
    pub(super) watch: Option<Arc<Watch>>,
    pub(super) names: LinkedNames,
    /// The mirrors and rounds one of which made the point that the standby is at; none if that is not known.
    pub(super) base: Vec<MirrorId>,
    /// The round that was cut off.
    pub(super) cut: Option<Round>,
    /// A mirror that began before the watch did.
    unwatched: Option<MirrorId>,
    /// When a round or mirror ended, and how long it worked.
    pub(super) ended: Instant,
    worked: Duration,
    /// When the last point was made that is kept, and whether it is the newest.
    kept: Instant,
    is_kept: bool,
    /// Whether the newest is consistent.
    is_consistent: bool,
    /// When everything is looked at again.
    whole_due: Option<Instant>,
    /// What was left to a person, until a mirror over everything leaves nothing.
    pub(super) left: Option<String>,
    /// Whether something could not be read since the last mirror over everything: what orphans are left may be left for that.
    unread: bool,
    /// The pass of a mirror that this watch was opened for.
    watched: Option<MirrorId>,
    /// When it was last kept how far the standby is.
    pub(super) since_kept: Instant,
    pub(super) waiting: Waiting,
    pub(super) holding: Holding,
    /// The stream that follows the last round, and when there may be another.
    pub(super) stream: Option<Streaming>,
    pub(super) next_stream: Next,
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
            is_consistent: false,
            whole_due: None,
            left: None,
            unread: false,
            watched: None,
            since_kept: now,
            waiting,
            holding: Holding::default(),
            stream: None,
            next_stream: Next::default(),
        }
    }

    /// What was taken is at the standby, or waits again, unless a round was cut off that goes on.
    pub(super) fn settle(&self) {
        if let (Some(watch), None) = (&self.watch, &self.cut) {
            watch.settle();
        }
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// The daemon ends: what waits is kept for the next. `false` if that is not known, or cannot be kept.
    pub(super) fn end(mut self) -> bool {
        let Some(watch) = self.watch.take() else { return false };
        let is_whole = watch.catch_up().is_ok() && watch.lost().is_none();
        watch.stop();
        self.waiting.keep(&watch, self.cut.as_ref().map(|cut| &cut.taken)) && is_whole
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
        self.unread = flawed;
        // Nothing rests for what a person ordered.
        self.made(point, Duration::ZERO, false);
        self.whole_due = rescan.into_iter().chain(flawed.then_some(FLAWED)).min().map(|after| self.ended + after);
    }

    /// A round went over everything that it was to look at, or `flawed`: something could not be read, so orphans stay, and everything is looked
    /// at again before long. `left` is what else they may be left for.
    pub(super) fn looked(&mut self, flawed: bool, left: Option<String>) {
        self.unread |= flawed;
        if !self.unread {
            self.left = left;
        }
        if flawed {
            let due = self.ended + FLAWED;
            self.whole_due = Some(self.whole_due.map_or(due, |before| before.min(due)));
        }
    }

    /// Whether the standby is where rounds build upon, if its newest point was made by this mirror. That of a round that was cut off may be
    /// there although nobody was told.
    fn is_at(&self, newest: MirrorId) -> bool {
        self.base.contains(&newest) || self.cut.as_ref().is_some_and(|cut| cut.mirror == newest)
    }

    /// When the last point was made that is kept.
    pub(super) fn last_kept(&self) -> Instant {
        self.kept
    }

    /// Whether it is time to look at everything again.
    pub(super) fn is_whole_due(&self) -> bool {
        self.whole_due.is_some_and(|due| due <= Instant::now()) || self.watch.as_ref().is_none_or(|watch| watch.lost().is_some())
    }

    /// These places are for the next round.
    pub(super) fn put_back(&self, taken: impl IntoIterator<Item = Taken>) {
        let Some(watch) = &self.watch else { return };
        taken.into_iter().for_each(|taken| watch.put_back(taken));
    }

    /// These places have to be looked at.
    pub(super) fn note(&self, scopes: Vec<standin_common::scope::Scope>) {
        if let Some(watch) = self.watch.as_ref().filter(|_| !scopes.is_empty()) {
            watch.note(scopes);
        }
    }

    /// Whether nothing changed since the newest point, and that is consistent.
    fn is_at_rest(&self, watch: &Watch) -> bool {
        self.is_consistent && self.cut.is_none() && watch.catch_up().is_ok() && watch.waiting() == 0
    }

    /// A point was made; `the_same` if it is what the point before was.
    pub(super) fn made(&mut self, point: &Point, worked: Duration, the_same: bool) {
        self.is_consistent = point.consistent;
        self.ended = Instant::now();
        self.worked = worked;
        if the_same {
            return;
        }
        self.is_kept = point.reason != Reason::Passing;
        if self.is_kept {
            self.kept = self.ended;
        }
    }

    fn moment(&self, watch: &Watch, asked: Option<Instant>, syncs: bool) -> Moment {
        let (oldest, newest) = watch.times();
        // What a cut round took waits, too.
        let oldest = self.cut.as_ref().and_then(|cut| cut.taken.oldest).or(oldest);
        Moment { oldest, newest, ended: self.ended, worked: self.worked, kept: self.kept, is_kept: self.is_kept, asked, syncs }
    }
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
        if self.layers.is_some()
            && let Some(watch) = follow.watch.as_ref().filter(|watch| watch.catch_up().is_ok())
        {
            // It goes on; what it cannot tell any more, the pass that comes finds.
            if watch.lost().is_some() {
                watch.take();
            }
            follow.watched = Some(job.pass_id());
            return;
        }
        let watch = match self.open_watch() {
            Ok(watch) => Arc::new(watch),
            Err(why) => return self.hold(Hold::Stuck(why)),
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

    fn open_watch(&self) -> Result<Watch, String> {
        let set = self.set();
        if let Some(layers) = &self.layers {
            layers.is_mounted(&set)?;
            return Ok(layers.watch(&self.rules, set.queue_limit_bytes.min(PLACES_BYTES)));
        }
        let roots: Vec<_> = set.roots.iter().map(|root| root.path.clone()).collect();
        Watch::open(&roots, self.rules.clone(), set.queue_limit_bytes)
            .map_err(|error| format!("the roots cannot be watched: {error}; `capture = \"scan\"` mirrors without that"))
    }

    /// Where nothing is followed, nothing is watched.
    pub(super) fn unwatch_if_not_followed(&self, follow: &mut Follow) {
        let mut state = self.lock();
        if state.kept.following.is_none() && state.watch.take().is_some() {
            state.on(Event::WatchEnded);
            drop(state);
            self.drop_stream(follow, "the set is not followed any more");
            follow.unwatch();
        }
    }

    /// One turn of following: a round if it is time for one, else a while of waiting.
    pub(super) fn follow(&self, connection: &Connection, follow: &mut Follow) -> Outcome {
        let (noticed, asked, syncs) = {
            let state = self.lock();
            (state.noticed, state.asked.clone(), state.syncs)
        };
        if let Some(newest) = self.lock().told.newest.take()
            && !follow.is_at(newest)
        {
            follow.base.clear();
        }
        let now = Instant::now();
        let due = follow.whole_due.is_some_and(|due| due <= now);
        if follow.stream.as_ref().is_some_and(|streaming| streaming.current.is_over()) {
            self.drop_stream(follow, "it is over");
        }
        let watch = match &follow.watch {
            Some(watch) if !follow.base.is_empty() && !due && !follow.waiting.is_unknown() && watch.lost().is_none() => {
                watch.clone()
            }
            _ => return self.order_whole(follow),
        };
        if follow.stream.is_some() {
            return self.stream(connection, follow);
        }
        let begins = self.layers.is_some() && follow.next_stream.is_due() && self.removes_orphans();
        if syncs.waits() && follow.is_at_rest(&watch) && !begins {
            self.lock().syncs.answer(syncs.last);
            self.changed.notify_all();
            return Outcome::Ended;
        }
        let moment = follow.moment(&watch, asked.since, syncs.waits());
        match self.rhythm().turn(now, &moment) {
            Turn::Round => self.round(connection, follow, &watch, &moment, asked.last, false),
            Turn::Wait(_) if begins => self.round(connection, follow, &watch, &moment, asked.last, true),
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

    pub(super) fn rhythm(&self) -> Rhythm {
        let span = |millis: Option<u64>| millis.map(Duration::from_millis);
        Rhythm { interval: span(self.set().points.interval_ms), quiet: span(self.set().points.quiet_ms) }
    }

    /// Sends the stream as long as nothing else is to be done.
    fn stream(&self, connection: &Connection, follow: &mut Follow) -> Outcome {
        match self.send_stream(connection, follow) {
            Left::Ended => Outcome::Ended,
            Left::Promoted => {
                self.hold(Hold::Promoted);
                Outcome::Ended
            }
            Left::Cut(why) => {
                if connection.is_closed() {
                    self.disconnect(connection);
                } else {
                    self.on(Event::Hindered(why.clone()));
                }
                Outcome::Again(why)
            }
        }
    }

    /// A mirror over everything comes next.
    pub(super) fn order_whole(&self, follow: &mut Follow) -> Outcome {
        self.drop_stream(follow, "everything is compared");
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
                kept.job = Some(Job { ordered_by: OrderedBy::Following, ..Job::new(new_mirror_id(), ordered) });
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

    /// Whether what goes here goes there.
    pub(super) fn removes_orphans(&self) -> bool {
        self.lock().kept.following.is_some_and(|following| following.ordered.orphans == OrphanPolicy::Remove)
    }

    /// What is to be said of orphans that a point has although they are to be removed.
    pub(super) fn left_orphans(&self, point: &Point) -> Option<String> {
        (self.removes_orphans() && point.orphans > 0).then(|| {
            format!(
                "{} objects of the standby are not here, more than `max_orphans` allows to be removed at once: they stay there until \
                 `standin mirror start {} --max-orphans 100%` says that it is meant",
                point.orphans,
                self.set().name
            )
        })
    }
}
