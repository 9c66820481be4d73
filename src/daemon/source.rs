//! A set of which this node is the source: a thread that keeps the connection and does what is ordered, one thing at a time.

mod asked;
mod attending;
mod changing;
mod current;
mod follow;
mod held;
mod kept;
mod layers;
mod mirror;
mod pass;
mod report;
mod round;
mod run;
mod standing;
mod streaming;
mod sync;
mod turned;
mod waiting;
mod wall;

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use standin_common::id::MirrorId;
use standin_common::link::CloseCode;
use standin_common::link::quic::{Connection, Deadline};
use standin_common::message::{Comparison, OrphanPolicy, Purpose};
use standin_common::stream::StreamNews;
use standin_config::{Capture, LocalTime, MaxOrphans, Rate, Set};
use standin_replicator::capture::watch::Watch;
use standin_replicator::explain::explain;
use standin_replicator::report::{Followed, MirrorReport, Wire};
use standin_replicator::rules::Rules;
use standin_replicator::source::meter::Meter;
use standin_replicator::source::pace::Pace;
use standin_replicator::source::state::{Event, Hold, Phase, Source};

use self::asked::Asked;
pub(super) use self::current::counts_all;
pub(super) use self::kept::{Began, left};
use self::kept::{Following, Job, Kept, KeptFile, Ordered, OrderedBy};
use self::layers::Layers;
use self::standing::Told;
use self::streaming::Current;
use self::sync::Syncs;
use self::wall::Wall;
pub(super) use self::wall::changed_since;
use super::clock;
use super::peer::Context;
use super::roles::RolesFile;
use crate::control::{Failed, FailedKind, MirrorOrder};

/// How long a standby that does not let go of a mirror that ended is waited for.
const LET_GO: Duration = Duration::from_secs(10);
/// Ends that are kept for whoever waits for them.
const MOST_ENDED: usize = 16;

/// See the module.
pub(super) struct SourceSet {
    set: RwLock<Arc<Set>>,
    rules: Vec<Rules>,
    /// With `capture = "ordered"`.
    layers: Option<Layers>,
    context: Arc<Context>,
    file: KeptFile,
    directory: PathBuf,
    wall: Mutex<Wall>,
    /// Who is source; this node, while this runs.
    roles: Arc<RolesFile>,
    state: Mutex<State>,
    changed: Condvar,
}

/// Comparing without writing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Compare {
    mirror: MirrorId,
    purpose: Purpose,
    comparison: Comparison,
}

struct State {
    /// What it is doing, as it is told.
    source: Source,
    kept: Kept,
    compare: Option<Compare>,
    /// What is running now, for reports and to be stopped.
    running: Option<Running>,
    connection: Option<Connection>,
    /// Since when the standby has not been reached; `None` while it is.
    away_since: Option<Instant>,
    /// Held while a pass is to end and does not.
    cut_off: Option<Deadline>,
    /// Whether the standby said that it is there since it was dialled last.
    peer_is_there: bool,
    /// What the standby said of its replica when it was asked last.
    told: Told,
    /// What is wrong without hindering anything, or what the last attempt came to.
    trouble: Option<String>,
    last_mirror: Option<MirrorReport>,
    ended: VecDeque<(MirrorId, Result<MirrorReport, Failed>)>,
    /// Counts what the watch noticed, and whether the set's thread waits for that.
    noticed: u64,
    awaits_notice: bool,
    asked: Asked,
    syncs: Syncs,
    followed: Followed,
    watch: Option<Arc<Watch>>,
    /// The stream that runs, or goes on when the standby is there.
    stream: Option<Current>,
    /// What the standby said of it, until the set's thread has heard it.
    news: Vec<StreamNews>,
    stopping: bool,
}

#[derive(Clone)]
struct Running {
    mirror: MirrorId,
    meter: Arc<Meter>,
    pace: Arc<Pace>,
    /// What earlier connections of this mirror carried.
    wire_before: Wire,
    /// What the connection had carried when it was taken into use.
    wire_start: Wire,
    /// The rate that was ordered for it; without one, that of the timetable holds.
    limit_bytes_per_second: Option<u64>,
    active: bool,
}

fn failed(kind: FailedKind, text: impl Into<String>) -> Failed {
    Failed { kind, text: text.into() }
}

fn new_mirror_id() -> MirrorId {
    // Room for the passes of this mirror, which count on from here.
    MirrorId(RandomState::new().build_hasher().finish() & !0xff)
}

impl SourceSet {
    /// With what was kept; an order that had not ended goes on when [`SourceSet::run`] runs.
    pub(super) fn open(
        set: Set,
        rules: Vec<Rules>,
        context: Arc<Context>,
        directory: &Path,
        roles: Arc<RolesFile>,
    ) -> Result<Self, String> {
        let now = roles.now();
        let (file, kept) = KeptFile::open(directory, now.generation, || turned::begins(&set, &rules, &now, directory))?;
        let wall = Mutex::new(Wall::open(directory, now.generation, kept.point.as_ref().or(now.from.as_ref())));
        let source = Source::new(set.reconnect, kept.job.is_some(), kept.is_paused(), kept.hold.clone());
        let state = State {
            source,
            kept,
            compare: None,
            running: None,
            connection: None,
            away_since: Some(Instant::now()),
            peer_is_there: false,
            told: Told::default(),
            cut_off: None,
            trouble: None,
            last_mirror: None,
            ended: VecDeque::new(),
            noticed: 0,
            awaits_notice: false,
            asked: Asked::default(),
            syncs: Syncs::default(),
            followed: Followed::default(),
            watch: None,
            stream: None,
            news: Vec::new(),
            stopping: false,
        };
        let layers = (set.capture == Capture::Ordered).then(|| Layers::open(&set, directory)).transpose()?;
        let set = RwLock::new(Arc::new(set));
        let (directory, state, changed) = (directory.to_owned(), Mutex::new(state), Condvar::new());
        Ok(Self { set, rules, layers, context, file, directory, wall, roles, state, changed })
    }

    /// The settings that it runs with now. Name, ends and roots never change while it runs.
    pub(super) fn set(&self) -> Arc<Set> {
        self.set.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what happened to it; what a person has to act on is kept over a restart.
    fn on(&self, event: Event) {
        let hold = {
            let mut state = self.lock();
            state.on(event);
            state.source.hold().cloned()
        };
        if let Err(error) = self.keep(|kept| kept.hold = hold) {
            tracing::error!("{}", error.text);
        }
    }

    /// Changes what is kept, durably, or not at all.
    fn keep(&self, change: impl FnOnce(&mut Kept)) -> Result<(), Failed> {
        self.try_keep(|kept| {
            change(kept);
            Ok(())
        })
    }

    /// What rounds changed of it is kept for the next start; without that, more is compared then.
    fn keep_as_it_is(&self) {
        let state = self.lock();
        if let Err(error) = self.file.write(&state.kept) {
            tracing::warn!(%error, "how far the standby is could not be kept");
        }
    }

    /// Changes what is kept, durably, or not at all; also not if the change says so, which sees what nobody else changes meanwhile.
    fn try_keep<T>(&self, change: impl FnOnce(&mut Kept) -> Result<T, Failed>) -> Result<T, Failed> {
        let mut state = self.lock();
        let mut kept = state.kept.clone();
        let result = change(&mut kept)?;
        if kept == state.kept {
            return Ok(result);
        }
        self.file.write(&kept).map_err(|error| failed(FailedKind::Failed, error.to_string()))?;
        state.kept = kept;
        self.changed.notify_all();
        Ok(result)
    }

    /// Orders a mirror. Returns its identity, and when it began: ordering what runs already changes nothing.
    pub(super) fn start(&self, order: &MirrorOrder) -> Result<(MirrorId, Began), Failed> {
        let mirror = new_mirror_id();
        let comparison = order.comparison.unwrap_or(Comparison::Difference);
        if order.dry_run {
            return self.compare(mirror, Purpose::DryRun, comparison).map(|()| (mirror, Began::Now));
        }
        let max_orphans = order.max_orphans.unwrap_or(self.set().max_orphans);
        let usual = Ordered::usual(&self.set());
        let orphans = order.orphans.unwrap_or(usual.orphans);
        let ordered = Ordered {
            comparison,
            orphans,
            orphan_limit: kept::limit_of(max_orphans),
            limit_bytes_per_second: order.limit_bytes_per_second,
            emptied_is_meant: order.max_orphans == Some(MaxOrphans::Share(100)) || orphans != OrphanPolicy::Remove,
        };
        let follows = matches!(self.set().capture, Capture::Watch | Capture::Ordered);
        let started = self.try_keep(|kept| match &kept.job {
            _ if kept.is_paused() => {
                Err(failed(FailedKind::Refused, self.advice("the set is paused", "mirror resume", "mirror stop")))
            }
            None => {
                kept.job = Some(Job::new(mirror, ordered));
                kept.following = follows.then(|| Following::of(ordered));
                Ok((mirror, Began::Now))
            }
            Some(job) if job.ordered == ordered => {
                let began = if job.ordered_by == OrderedBy::Person { Began::Before } else { Began::OfItself };
                let mirror = job.mirror;
                kept.job.iter_mut().for_each(|job| job.ordered_by = OrderedBy::Person);
                Ok((mirror, began))
            }
            Some(_) => {
                Err(failed(FailedKind::Refused, self.advice("another mirror was ordered", "mirror resume", "mirror stop")))
            }
        })?;
        // One that was held is tried again.
        let held = self.lock().source.hold().is_some();
        match started.1 {
            Began::Now => self.on(Event::Ordered),
            _ if held => self.on(Event::Resumed),
            _ => {}
        }
        Ok(started)
    }

    fn nothing_to(&self, what: &str) -> String {
        let name = &self.set().name;
        format!(
            "there is nothing to {what}: no mirror of {name} is ordered, and it is not followed; `standin mirror start {name}` begins"
        )
    }

    fn advice(&self, what: &str, go_on: &str, end: &str) -> String {
        let name = &self.set().name;
        format!("{what}: `standin {go_on} {name}` goes on with it, `standin {end} {name}` ends it")
    }

    /// Orders a comparison that writes nothing.
    pub(super) fn compare(&self, mirror: MirrorId, purpose: Purpose, comparison: Comparison) -> Result<(), Failed> {
        let mut state = self.lock();
        if state.compare.is_some() || state.kept.job.as_ref().is_some_and(|job| !job.paused) {
            return Err(failed(
                FailedKind::Refused,
                "a mirror or comparison of the set is running: wait for its end, or stop it",
            ));
        }
        state.compare = Some(Compare { mirror, purpose, comparison });
        state.on(Event::CompareOrdered);
        self.changed.notify_all();
        Ok(())
    }

    /// Orders a verification.
    pub(super) fn verify(&self) -> Result<MirrorId, Failed> {
        let mirror = new_mirror_id();
        self.compare(mirror, Purpose::Verify, Comparison::Checksum).map(|()| mirror)
    }

    /// Pauses the mirror, or following: it goes on where it was, also after a restart of the daemon. What changes meanwhile is remembered.
    pub(super) fn pause(&self) -> Result<(), Failed> {
        if self.lock().kept.is_idle() {
            return Err(failed(FailedKind::Refused, self.nothing_to("pause")));
        }
        self.keep(|kept| kept.set_paused(true))?;
        self.on(Event::Paused);
        self.stop_running();
        Ok(())
    }

    /// Goes on with what was paused. What runs is let run.
    pub(super) fn resume(&self) -> Result<(), Failed> {
        if self.lock().kept.is_idle() {
            return Err(failed(FailedKind::Refused, self.nothing_to("resume")));
        }
        self.keep(|kept| kept.set_paused(false))?;
        self.lock().told.again = true;
        self.on(Event::Resumed);
        Ok(())
    }

    /// Ends whatever runs. Nothing to do if nothing does.
    pub(super) fn stop(&self) -> Result<(), Failed> {
        let compare = self.lock().compare.take();
        let job = self.try_keep(|kept| {
            kept.following = None;
            Ok(kept.job.take())
        })?;
        if compare.is_some() {
            self.on(Event::CompareEnded);
        }
        self.on(Event::Stopped);
        self.stop_running();
        for mirror in compare.map(|compare| compare.mirror).into_iter().chain(job.map(|job| job.mirror)) {
            self.end(mirror, Err(failed(FailedKind::Failed, "the mirror was stopped; the newest recovery point stays")));
        }
        Ok(())
    }

    /// Nothing is sent until a person says so, for this reason.
    fn hold(&self, hold: Hold) {
        self.on(Event::Held(hold));
        let report = self.report();
        tracing::error!("{}", explain(&report).brief());
        self.changed.notify_all();
    }

    /// Goes on with other settings, of which only what may change live is another.
    pub(super) fn reconfigure(&self, set: Set) {
        self.on(Event::Reconnect(set.reconnect));
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        self.tick(clock::local_time());
        self.changed.notify_all();
    }

    /// Lets what runs go as fast as the timetable says for this time.
    pub(super) fn tick(&self, now: LocalTime) {
        self.wall.lock().unwrap_or_else(PoisonError::into_inner).look();
        let running = self.lock().running.clone();
        if let Some(running) = running {
            running.pace.set_rate(self.rate(running.limit_bytes_per_second, now));
        }
    }

    fn rate(&self, ordered: Option<u64>, now: LocalTime) -> Rate {
        ordered.map_or_else(|| self.set().timetable().rate_at(now), Rate::Limit)
    }

    fn stop_running(&self) {
        let running = self.lock().running.clone();
        if let Some(running) = running {
            running.pace.stop();
            self.cut_off();
        }
        self.changed.notify_all();
    }

    /// The watch noticed something.
    fn noticed(&self) {
        let mut state = self.lock();
        state.noticed += 1;
        state.on(Event::Noticed);
        if state.awaits_notice {
            self.changed.notify_all();
        }
    }

    /// Closes the connection before long, unless the pass that runs over it ends.
    fn cut_off(&self) {
        let mut state = self.lock();
        if state.running.as_ref().is_some_and(|running| running.active) && state.cut_off.is_none() {
            let why = "the mirror ended, and its streams were not ended";
            state.cut_off = state.connection.as_ref().map(|connection| connection.close_after(LET_GO, CloseCode::PROTOCOL, why));
        }
    }

    /// Ends a comparison for which nobody waits any more; `false` if it is none.
    pub(super) fn end_comparison(&self, mirror: MirrorId) -> bool {
        let Some(compare) = self.lock().compare.take_if(|compare| compare.mirror == mirror) else { return false };
        self.on(Event::CompareEnded);
        self.stop_running();
        self.end(compare.mirror, Err(failed(FailedKind::TimedOut, "the comparison was stopped")));
        true
    }

    /// The daemon stops: what runs goes on at its next start.
    pub(super) fn shut_down(&self) {
        self.lock().stopping = true;
        self.stop_running();
    }

    /// Notes how a mirror ended, for whoever waits for it.
    fn end(&self, mirror: MirrorId, end: Result<MirrorReport, Failed>) {
        self.lock().end(mirror, end);
        self.changed.notify_all();
    }

    /// Waits a while for the end of a mirror.
    pub(super) fn wait(&self, mirror: MirrorId, limit: Duration) -> Option<Result<MirrorReport, Failed>> {
        let ended = |state: &State| state.ended.iter().find(|(ended, _)| *ended == mirror).map(|(_, end)| end.clone());
        let state = self.lock();
        if let Some(end) = ended(&state) {
            return Some(end);
        }
        if state.stopping {
            return Some(Err(failed(FailedKind::Failed, "the daemon stops; the mirror goes on when it starts again")));
        }
        let is_job = state.kept.job.as_ref().is_some_and(|job| job.mirror == mirror);
        if is_job && state.running.is_none() && matches!(state.source.phase(), Phase::Paused | Phase::Held | Phase::Bad) {
            drop(state);
            return Some(Err(failed(FailedKind::Refused, explain(&self.report()).brief())));
        }
        let state = self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0;
        ended(&state)
    }

    /// The connection to the standby, if there is one.
    pub(super) fn connection(&self) -> Option<Connection> {
        self.lock().connection.clone().filter(|connection| !connection.is_closed())
    }
}

impl State {
    fn end(&mut self, mirror: MirrorId, end: Result<MirrorReport, Failed>) {
        // Not of a verification or dry run, which make no point.
        if let Some(report) = end.as_ref().ok().filter(|report| report.point.is_some()) {
            self.last_mirror = Some(report.clone());
        }
        self.ended.push_back((mirror, end));
        if self.ended.len() > MOST_ENDED {
            self.ended.pop_front();
        }
    }

    fn on(&mut self, event: Event) {
        let before = self.source.phase();
        match self.source.on(event) {
            Ok(after) if after != before => tracing::debug!(?before, ?after, "state"),
            Ok(_) => {}
            // Two threads may tell of the same; nothing is changed by it.
            Err(illegal) => tracing::debug!(%illegal, "no change of state"),
        }
    }
}

fn carried(connection: &Connection) -> Wire {
    let path = connection.path();
    Wire { sent_bytes: path.sent_bytes, received_bytes: path.received_bytes }
}

impl Running {
    /// What the link has carried for this mirror.
    fn wire(&self, connection: Option<&Connection>) -> Wire {
        let now = connection.filter(|_| self.active).map_or(self.wire_start, carried);
        Wire {
            sent_bytes: self.wire_before.sent_bytes + now.sent_bytes.saturating_sub(self.wire_start.sent_bytes),
            received_bytes: self.wire_before.received_bytes + now.received_bytes.saturating_sub(self.wire_start.received_bytes),
        }
    }
}
