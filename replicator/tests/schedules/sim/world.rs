//! A source, a standby, and what a schedule does to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use standin_common::entry::Time;
use standin_common::id::{Generation, MirrorId, PointNumber};
use standin_common::message::{Comparison, MirrorOpening, OrphanLimit, OrphanPolicy, Purpose, Refusal, RootKind};
use standin_common::path::RelPath;
use standin_common::scope::Reason;
use standin_replicator::mirror::How;
use standin_replicator::sim::{Disk, Fault, Lie, Random, SimStore, SimVolume};
use standin_replicator::standby::receive::{ReceiveError, Reception};
use standin_replicator::standby::replica::{Replica, ReplicaError};
use standin_replicator::standby::session;
use standin_replicator::standby::state::Phase;
use standin_replicator::volume::{Place, Volume, VolumeFile};

use super::contents::Contents;
use super::meanwhile::{Meanwhile, Vice};
use super::pass::{End, Looked, Pass};
use super::schedule::{Act, Schedule, Step, Trouble};
use super::source::{Clocks, ROOTS, Round, Source, add, scopes};

/// Points kept before the newest.
pub const KEEP: usize = 3;

/// What a point has to show.
#[derive(Debug, Clone)]
pub enum Shown {
    /// One state of the source.
    State(Arc<Vec<Contents>>),
    /// Files that are right one by one, whatever they are: what was found first has to stay.
    OneByOne(Option<Arc<Vec<Contents>>>),
}

/// A mirror that was cut off and may go on.
#[derive(Debug, Clone)]
struct Unfinished {
    mirror: MirrorId,
    /// The source's version when it began.
    began: u64,
    clocks: Clocks,
}

pub type SimReplica = Replica<SimVolume, SimStore>;

/// See the module.
pub struct World {
    pub source: Source,
    pub disk: Disk,
    pub volumes: Vec<SimVolume>,
    pub store: SimStore,
    /// The running daemon's.
    pub replica: Option<SimReplica>,
    /// Whether the standby has objects of its own that the rules exclude: nothing may happen to them.
    pub strangers: bool,
    pub points: BTreeMap<PointNumber, Shown>,
    pub acknowledged: Option<PointNumber>,
    /// The newest point that the source knows of.
    known: Option<PointNumber>,
    pub promoted: Option<PointNumber>,
    /// Whether the disk failed since the replica was last at its newest point, which the standby may have given up then.
    pub hurt: bool,
    journal_limit: u64,
    generation: u64,
    mirrors: u64,
    unfinished: Option<Unfinished>,
    vice: Option<Vice>,
}

/// How a pass ended, for the source.
enum Outcome {
    /// The source knows of the point.
    Done,
    /// It was cut off, or what the standby said was lost.
    Unknown,
    Refused(Refusal),
    Failed(ReceiveError),
}

/// One pass as it is ordered.
struct Order {
    mirror: MirrorId,
    /// What it looks at, if that is not everything.
    round: Option<Round>,
    /// The source's version when the mirror began.
    began: u64,
    resumed: bool,
    /// The clocks before it began to read, at its first try.
    clocks: Clocks,
    /// In a round, what it builds upon.
    base: Option<Vec<MirrorId>>,
}

/// Makes objects that the rules exclude.
fn add_strangers(volume: &SimVolume) {
    volume.make_directory(&RelPath::new("strangers").unwrap()).unwrap();
    for (path, data) in [("1", &b"one"[..]), ("strangers/2", b"two")] {
        volume.create(&Place::Tree(&RelPath::new(path).unwrap())).unwrap().write_at(data, 0).unwrap();
    }
    volume.sync().unwrap();
}

impl World {
    pub fn new(seed: u64, vice: Option<Vice>) -> Self {
        let mut random = Random::new(seed ^ 0x0123_4567_89ab_cdef);
        let disk = Disk::new(seed);
        let strangers = random.one_in(3);
        let volumes: Vec<_> = (0..ROOTS).map(|_| SimVolume::new(disk.clone())).collect();
        if strangers {
            volumes.iter().for_each(add_strangers);
        }
        disk.tell(match vice {
            Some(Vice::LogSync) => Some(Lie::LogSync),
            Some(Vice::VolumeSync) => Some(Lie::VolumeSync),
            _ => None,
        });
        Self {
            source: Source::new(strangers),
            store: SimStore::new(disk.clone()),
            disk,
            volumes,
            replica: None,
            strangers,
            points: BTreeMap::new(),
            acknowledged: None,
            known: None,
            promoted: None,
            hurt: false,
            // Room for what a pass changes, yet so little that the largest files are cloned.
            journal_limit: if random.one_in(2) { 1_300_000 } else { u64::MAX },
            generation: 1,
            mirrors: 0,
            unfinished: None,
            vice,
        }
    }

    /// Does one step, and looks whether everything holds that always holds.
    pub fn step(&mut self, step: &Step) -> Result<(), String> {
        let mut random = Random::new(step.seed);
        self.disk.reseed(step.seed ^ 0xd15c);
        if let Some((trouble, at)) = step.trouble {
            self.plan(
                &[(Trouble::Crash, Fault::Crash), (Trouble::Full, Fault::Full), (Trouble::Error, Fault::Error)],
                trouble,
                at,
            );
        }
        match step.act {
            Act::Change => (0..step.amount).for_each(|_| self.source.change(&mut random)),
            Act::Mirror => self.pass(step, &mut random, false)?,
            Act::Round => self.pass(step, &mut random, true)?,
            Act::Restart => {
                let ended = self.replica.take();
                // What is kept of its files must not be believed after any other end.
                ended.filter(|_| step.amount > 0).inspect(Replica::rest);
                self.start()?;
            }
            Act::Outage => self.lose_power(),
            Act::Forget => self.source.forget(),
            Act::Promote => self.promote(step.amount)?,
            Act::Usurp => self.usurp(&mut random),
            Act::Stale => self.try_stale()?,
        }
        self.recover();
        // What only the source does changes nothing there.
        if matches!(step.act, Act::Change | Act::Forget | Act::Usurp) { Ok(()) } else { self.check() }
    }

    /// When everything is done: the standby has all again, and every point is looked at.
    pub fn finish(&mut self, seed: u64) -> Result<(), String> {
        let mut random = Random::new(seed);
        let step = Step { act: Act::Mirror, amount: 0, trouble: None, seed };
        for _ in 0..8 {
            if self.promoted.is_none() && !self.has_all() {
                let is_round = random.one_in(2);
                self.pass(&step, &mut random, is_round)?;
                self.check()?;
            }
        }
        if self.promoted.is_none() && !self.has_all() {
            return Err("nothing changes and nothing hinders any more, and the newest point is not what the source is".to_owned());
        }
        self.check()
    }

    /// Whether the newest point is what the source is.
    fn has_all(&mut self) -> bool {
        let now = self.source.state();
        let newest = self.acknowledged.and_then(|newest| self.points.get(&newest));
        newest.is_some_and(|shown| matches!(shown, Shown::State(state) if Arc::ptr_eq(state, &now)))
    }

    fn plan(&self, faults: &[(Trouble, Fault)], trouble: Trouble, at: u64) {
        if let Some((_, fault)) = faults.iter().find(|(of, _)| *of == trouble) {
            self.disk.plan(Some((at, *fault)));
        }
    }

    /// The end of a step: the disk works again, and a machine that lost power is switched on.
    fn recover(&mut self) {
        let (crashed, failed) = (self.disk.crashed(), self.disk.failed());
        self.hurt |= failed && !crashed;
        self.disk.plan(None);
        if crashed {
            self.lose_power();
        }
    }

    fn lose_power(&mut self) {
        self.replica = None;
        self.disk.plan(None);
        self.volumes = self.volumes.iter().map(SimVolume::after_crash).collect();
        self.store = self.store.after_crash();
    }

    /// Whatever happens to a disk that fails may fail.
    fn unless_failed<T>(&self, result: Result<T, ReplicaError>, what: &str) -> Result<Option<T>, String> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(_) if self.disk.failed() => Ok(None),
            Err(error) => Err(format!("{what}: {error}")),
        }
    }

    /// Starts the standby's daemon, if it does not run.
    fn start(&mut self) -> Result<bool, String> {
        if self.replica.is_none() {
            let loaded = Replica::load(self.volumes.clone(), self.store.clone(), KEEP);
            let loaded = loaded.map(|replica| replica.keeping_values_from(1));
            self.replica = self.unless_failed(loaded, "the replica cannot be opened")?;
            if let Some(replica) = &self.replica {
                self.unless_failed(replica.settle_if_due(), "the replica cannot be settled")?;
            }
        }
        Ok(self.replica.is_some())
    }

    fn usurp(&mut self, random: &mut Random) {
        self.generation += 1;
        self.unfinished = None;
        self.source.since = None;
        self.source.forget();
        (0..random.below(10)).for_each(|_| self.source.change(random));
    }

    fn opening(&self, generation: u64, mirror: MirrorId, comparison: Comparison, base: Option<Vec<MirrorId>>) -> MirrorOpening {
        MirrorOpening {
            set: "mail".parse().unwrap(),
            generation: Generation(generation),
            mirror,
            definition: [0; 32],
            roots: vec![RootKind::Directory; ROOTS],
            purpose: Purpose::Mirror,
            comparison,
            orphans: OrphanPolicy::Remove,
            orphan_limit: OrphanLimit::Percent(100),
            base,
        }
    }

    fn new_mirror(&mut self) -> MirrorId {
        self.mirrors += 1;
        MirrorId(self.mirrors)
    }

    /// A node of an older generation comes back, and must change nothing.
    fn try_stale(&mut self) -> Result<(), String> {
        if !self.start()? {
            return Ok(());
        }
        let Some(replica) = &self.replica else { return Ok(()) };
        let here = replica.state().generation;
        if here.0 < 2 && self.promoted.is_none() {
            return Ok(());
        }
        let all = || (self.store.contents(), self.volumes.iter().map(SimVolume::objects).collect::<Vec<_>>());
        let before = all();
        let opening = self.opening(here.0.saturating_sub(1), MirrorId(u64::MAX), Comparison::Full, None);
        match session::begin(replica, opening, u64::MAX) {
            Err((Refusal::OldGeneration { .. } | Refusal::Promoted, None)) if all() == before => Ok(()),
            Err((refusal, _)) => Err(format!("a source of an older generation was answered {refusal:?}")),
            Ok(_) => Err("a source of an older generation was let in".to_owned()),
        }
    }

    fn promote(&mut self, back: u64) -> Result<(), String> {
        if !self.start()? {
            return Ok(());
        }
        let Some(replica) = &self.replica else { return Ok(()) };
        let points = replica.state().points;
        let Some(goal) = points.iter().rev().nth((back as usize).min(points.len().saturating_sub(1))).map(|point| point.number)
        else {
            return Ok(());
        };
        let promoted = match replica.promote(Some(goal)) {
            Err(ReplicaError::Promoted(_)) if self.promoted.is_some() => Ok(None),
            other => self.unless_failed(other, "the replica cannot be promoted"),
        }?;
        // It may have become so just before the machine lost power.
        if self.promoted.is_none() && (promoted.is_some() || matches!(replica.state().phase, Phase::Promoted { .. })) {
            self.promoted = Some(goal);
        }
        Ok(())
    }

    /// What the source orders next.
    fn order(&mut self, is_round: bool) -> Order {
        let began = self.source.version;
        if let Some(Unfinished { mirror, began, clocks }) = self.unfinished.clone() {
            return Order { mirror, round: None, began, resumed: true, clocks, base: None };
        }
        let clocks = self.source.clocks();
        if is_round && !self.source.follow.base.is_empty() {
            self.source.read_notices();
            let mut base = self.source.follow.base.clone();
            let cut = self.source.follow.cut.take();
            let resumed = cut.is_some();
            let round = cut.unwrap_or_else(|| {
                let taken = std::mem::take(&mut self.source.follow.dirty);
                Round { mirror: self.new_mirror(), taken, seen: self.source.follow.seen, clocks }
            });
            // If only the answer to its end was lost, the replica is there already.
            base.extend(Some(round.mirror).filter(|_| resumed && self.vice != Some(Vice::LostBase)));
            let (mirror, clocks) = (round.mirror, round.clocks.clone());
            return Order { mirror, round: Some(round), began, resumed, clocks, base: Some(base) };
        }
        // What changes from now on is noticed; what was noticed before may be looked at twice.
        self.source.read_notices();
        self.source.follow.watched = true;
        let mirror = self.new_mirror();
        self.unfinished = Some(Unfinished { mirror, began, clocks: clocks.clone() });
        Order { mirror, round: None, began, resumed: false, clocks, base: None }
    }

    fn pass(&mut self, step: &Step, random: &mut Random, is_round: bool) -> Result<(), String> {
        let order = self.order(is_round);
        let outcome = if self.start()? {
            let Some(replica) = self.replica.take() else { return Ok(()) };
            let outcome = self.run_pass(&replica, &order, step, random);
            self.replica = Some(replica).filter(|_| !matches!(step.trouble, Some((Trouble::Kill, _))));
            outcome?
        } else {
            Outcome::Unknown
        };
        self.after_pass(&order, &outcome);
        if let Some((Trouble::Lose, _)) = step.trouble {
            self.source.forget();
        }
        match outcome {
            Outcome::Failed(ReceiveError::JournalFull { .. }) => self.journal_limit = u64::MAX,
            // The next try does not go on with what came.
            Outcome::Failed(ReceiveError::Anew) => {}
            Outcome::Failed(error) if !self.disk.failed() => return Err(format!("a pass failed: {error}")),
            Outcome::Refused(Refusal::OtherBase) if self.hurt => self.source.forget(),
            Outcome::Refused(Refusal::Promoted) if self.promoted.is_some() => {}
            Outcome::Refused(refusal) if !self.disk.failed() => return Err(format!("a pass was refused: {refusal:?}")),
            _ => {}
        }
        Ok(())
    }

    /// What the source remembers of a pass.
    fn after_pass(&mut self, order: &Order, outcome: &Outcome) {
        let done = matches!(outcome, Outcome::Done);
        if done && order.round.is_none() {
            self.unfinished = None;
        }
        if done {
            self.source.since = Some(order.clocks.clone());
        }
        let follow = &mut self.source.follow;
        if !follow.watched {
            return;
        }
        if done {
            follow.base = vec![order.mirror];
            follow.cut = None;
            if self.vice == Some(Vice::Forgetful) {
                follow.dirty.clear();
            }
        } else if let Some(round) = order.round.clone() {
            if matches!(outcome, Outcome::Refused(Refusal::OtherBase)) {
                add(&mut follow.dirty, round.taken);
                follow.base.clear();
            } else {
                follow.cut = Some(round);
            }
        }
    }

    fn run_pass(&mut self, replica: &SimReplica, order: &Order, step: &Step, random: &mut Random) -> Result<Outcome, String> {
        let newest = replica.state().points.last().map(|point| point.number);
        if newest < self.known {
            self.source.since = None;
        }
        let comparison = match self.source.since {
            _ if order.round.is_some() => Comparison::Checksum,
            // Attributes may be those of other data.
            None => Comparison::Checksum,
            Some(_) => [Comparison::Difference, Comparison::Checksum, Comparison::Full][order.mirror.0 as usize % 3],
        };
        let opening = self.opening(self.generation, order.mirror, comparison, order.base.clone());
        let reception = match session::begin(replica, opening, self.journal_limit) {
            Ok(reception) => reception,
            Err((_, Some(error))) => return Ok(Outcome::Failed(error)),
            Err((refusal, None)) => return Ok(Outcome::Refused(refusal)),
        };
        let (volumes, rules) = (self.source.volumes.clone(), self.source.rules.clone());
        let is_round = order.round.is_some();
        let scopes = order.round.as_ref().map(|round| scopes(&self.source.with_all_names(round.taken.clone())));
        let since = self.source.since.clone().filter(|_| self.vice != Some(Vice::Trusting));
        let looked = Looked { volumes: &volumes, rules: &rules, scopes: scopes.as_ref(), since: since.as_ref() };
        let seen = order.round.as_ref().map(|round| round.seen);
        let mut meanwhile = Meanwhile { source: &mut self.source, moment: None, seen, vice: self.vice };
        let comparison =
            if reception.first() && comparison == Comparison::Difference { Comparison::Checksum } else { comparison };
        let how = How { comparison, owners: true };
        let pass = Pass::new(looked, (&reception, how), (&mut meanwhile, step.amount), random);
        let cut = step.trouble.filter(|(trouble, _)| matches!(trouble, Trouble::Cut | Trouble::Kill | Trouble::Lose));
        let end = match pass.run(cut.map(|(_, at)| at)) {
            Ok(end) => end,
            Err(error) => return Ok(Outcome::Failed(error)),
        };
        let moment = meanwhile.moment;
        let (consistent, objects, reason) = match end {
            End::Commit { consistent, objects, reason } => (consistent, objects, reason),
            End::Cut => return Ok(Outcome::Unknown),
        };
        let Some((version, state)) = moment else { return Err("a commit without a moment".to_owned()) };
        let unchanged = version == order.began;
        if unchanged && self.source.version == version && !order.resumed && !consistent {
            return Err("nothing changed, and the point is not graded consistent".to_owned());
        }
        let exact = consistent || unchanged && !is_round;
        let shown = if exact { Shown::State(state) } else { Shown::OneByOne(None) };
        self.points.insert(replica.state().next_point(), shown);
        self.commit(replica, &reception, (consistent, objects, reason), step, random)
    }

    fn commit(
        &mut self,
        replica: &SimReplica,
        reception: &Reception<'_, SimVolume, SimStore>,
        (consistent, objects, reason): (bool, u64, Reason),
        step: &Step,
        random: &mut Random,
    ) -> Result<Outcome, String> {
        if let Some((trouble, at)) = step.trouble {
            let late = [(Trouble::LateCrash, Fault::Crash), (Trouble::LateFull, Fault::Full), (Trouble::LateError, Fault::Error)];
            self.plan(&late, trouble, at);
        }
        let point = match reception.commit(Time::default(), consistent, objects, 0, reason) {
            Ok(point) => point,
            Err(error) => return Ok(Outcome::Failed(error)),
        };
        self.acknowledged = Some(point.number);
        // What the standby says may be lost, whether it can go to the point or not.
        let lost = random.one_in(6);
        match replica.settle() {
            Ok(()) => self.hurt = false,
            Err(error) if lost => return Ok(Outcome::Failed(error.into())),
            Err(error) => {
                let unless = self.unless_failed::<()>(Err(error), "the replica cannot be taken to its point")?;
                self.known = unless.map_or(Some(point.number), |()| self.known);
                return Ok(unless.map_or(Outcome::Done, |()| Outcome::Unknown));
            }
        }
        if lost {
            return Ok(Outcome::Unknown);
        }
        self.known = Some(point.number);
        Ok(Outcome::Done)
    }
}

/// Runs a schedule from its start; an error says what does not hold.
pub fn run(schedule: &Schedule, vice: Option<Vice>) -> Result<(), String> {
    let mut world = World::new(schedule.world, vice);
    for (index, step) in schedule.steps.iter().enumerate() {
        world.step(step).map_err(|what| format!("in step {}: {what}", index + 1))?;
    }
    world.finish(schedule.world ^ 0xf1).map_err(|what| format!("at the end: {what}"))
}
