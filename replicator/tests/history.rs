//! History under rounds that come one after the other: points that only pass go, their steps become one, and whatever crashes on the way, a
//! clone promoted at any kept point is what the source was then.
//!
//! `STANDIN_SEED=n` runs one schedule, `STANDIN_HISTORIES=n` that many. A failure names its seed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use standin_common::entry::{Attrs, Time};
use standin_common::id::{Generation, MirrorId, PointNumber, RootIndex};
use standin_common::message::{Comparison, FromStandby, MirrorOpening, OrphanLimit, OrphanPolicy, Purpose, RootKind, Want};
use standin_common::path::RelPath;
use standin_common::scope::Reason;
use standin_replicator::mirror::How;
use standin_replicator::rules::Rules;
use standin_replicator::sim::{Disk, Fault, Random, SimStore, SimVolume, SimWire};
use standin_replicator::source::entries::{Entries, Met};
use standin_replicator::source::lane::{self, Packing};
use standin_replicator::standby::join::Join;
use standin_replicator::standby::lane::Lane;
use standin_replicator::standby::receive::{ReceiveError, Reception};
use standin_replicator::standby::replica::Replica;
use standin_replicator::volume::{ObjectKind, Place, Volume, VolumeFile};

const KEEP: usize = 2;
const NO_LIMIT: u64 = u64::MAX;
/// Path, kind, attributes, data, and the first name of the same object.
type Contents = Vec<(RelPath, ObjectKind, Attrs, Vec<u8>, RelPath)>;
type SimReplica = Replica<SimVolume, SimStore>;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn contents(volume: &SimVolume) -> Contents {
    let inode = |path: &RelPath| volume.object(&Place::Tree(path)).unwrap().unwrap().stamp.inode;
    let mut firsts = BTreeMap::new();
    let all = volume.contents().into_iter().map(|(path, kind, attrs, data)| {
        let first = firsts.entry(inode(&path)).or_insert_with(|| path.clone()).clone();
        (path, kind, attrs, data, first)
    });
    all.collect()
}

/// A source, and a standby on a machine that can crash.
#[derive(Clone)]
struct World {
    source: SimVolume,
    disk: Disk,
    volumes: Vec<SimVolume>,
    store: SimStore,
    /// What the source was at each point.
    points: BTreeMap<PointNumber, Contents>,
    acknowledged: Option<PointNumber>,
    round: u64,
    limit: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = Disk::new(seed ^ 0xd15c);
        Self {
            source: SimVolume::new(Disk::new(0)),
            volumes: vec![SimVolume::new(disk.clone())],
            store: SimStore::new(disk.clone()),
            disk,
            points: BTreeMap::new(),
            acknowledged: None,
            round: 0,
            limit: NO_LIMIT,
        }
    }

    fn open(&self) -> SimReplica {
        Replica::open(self.volumes.clone(), self.store.clone(), KEEP).expect("a replica opens after any crash")
    }

    /// Receives what the source is now as a point.
    fn round(&mut self, replica: &SimReplica, reason: Reason, consistent: bool) -> Result<PointNumber, ReceiveError> {
        let opening = MirrorOpening {
            set: "mail".parse().unwrap(),
            generation: Generation(1),
            mirror: MirrorId(self.round),
            definition: [0; 32],
            roots: vec![RootKind::Directory],
            purpose: Purpose::Mirror,
            comparison: Comparison::Difference,
            orphans: OrphanPolicy::Remove,
            orphan_limit: OrphanLimit::Percent(100),
            base: None,
        };
        let reception = Reception::begin(replica, opening, self.limit)?;
        let how = How { comparison: Comparison::Difference, owners: true };
        let rules = [Rules::everything()];
        let mut join = Join::new(&reception, how, &rules);
        let mut messages = Vec::new();
        let long_after = || -> SystemTime { UNIX_EPOCH + Duration::from_secs(1 << 40) };
        for met in Entries::new(&self.source, None, &rules[0], long_after) {
            let Met::Entry(entry) = met else { panic!("the source cannot be read") };
            messages.extend(join.entries(RootIndex(0), vec![entry])?);
        }
        messages.extend(join.end()?);
        let source = [self.source.clone()];
        let (mut sending, mut receiving) = (lane::Lane::new(&source, Packing { level: None }), Lane::new(&reception));
        let (mut wire, mut answers) = (SimWire::default(), VecDeque::new());
        let wants =
            messages.into_iter().filter_map(|message| if let FromStandby::Wants(wants) = message { Some(wants) } else { None });
        wants.flatten().for_each(|want: Want| sending.start(want, &mut wire).unwrap());
        while sending.under_way() > 0 || !wire.0.is_empty() {
            while let Some((message, payload)) = wire.0.pop_front() {
                answers.extend(receiving.take(message, &payload)?);
            }
            if let Some(answer) = answers.pop_front() {
                sending.answer(answer, &mut wire).unwrap();
            } else {
                sending.scan(&mut wire).unwrap();
            }
        }
        let expected = replica.state().next_point();
        self.points.insert(expected, contents(&self.source));
        let point = reception.commit(Time::default(), consistent, 0, 0, reason)?;
        assert_eq!(point.number, expected);
        self.acknowledged = Some(point.number);
        replica.settle()?;
        Ok(point.number)
    }

    /// A round that nothing hinders.
    fn whole_round(&mut self, reason: Reason) -> PointNumber {
        self.round += 1;
        let replica = self.open();
        self.round(&replica, reason, true).unwrap()
    }

    fn crash(&mut self) {
        self.disk.plan(None);
        self.volumes = self.volumes.iter().map(SimVolume::after_crash).collect();
        self.store = self.store.after_crash();
    }

    /// The same standby on a machine of its own.
    fn copy(&self, seed: u64) -> Self {
        let disk = Disk::new(seed);
        let volumes = self.volumes.iter().map(|volume| volume.snapshot(disk.clone())).collect();
        Self { volumes, store: self.store.snapshot(disk.clone()), disk, ..self.clone() }
    }

    fn assert_at(&self, point: PointNumber) {
        let (found, expected) = (contents(&self.volumes[0]), &self.points[&point]);
        let names = |contents: &Contents| contents.iter().map(|(path, ..)| path.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&found), names(expected), "point {point}");
        for (found, expected) in found.iter().zip(expected) {
            let what = format!("{} at point {point}", found.0);
            assert_eq!((&found.1, &found.2, &found.4), (&expected.1, &expected.2, &expected.4), "{what}");
            assert!(found.3 == expected.3, "data of {what}: {} bytes, {} expected", found.3.len(), expected.3.len());
        }
    }

    /// The kept points, of which nothing acknowledged is missing.
    fn kept(&self) -> Vec<PointNumber> {
        let points = self.open().state().points;
        let newest = points.last().map(|point| point.number);
        assert!(newest >= self.acknowledged, "{:?} was acknowledged, the newest is {newest:?}", self.acknowledged);
        points.iter().map(|point| point.number).collect()
    }

    /// Promotes a clone at every kept point and compares.
    fn check(&self) {
        for point in self.kept() {
            let clone = self.copy(1);
            clone.open().promote(Some(point)).unwrap();
            clone.assert_at(point);
        }
    }

    /// Promotes a clone again and again, each time at another kept point, with a crash on the way, until one gets there.
    fn check_back_and_forth(&self, random: &mut Random) {
        let kept = self.kept();
        let mut clone = self.copy(random.number());
        for attempt in 0.. {
            let goal = kept[random.below(kept.len() as u64) as usize];
            clone.disk.plan((attempt < 6).then(|| (random.below(150) + 1, Fault::Crash)));
            let opened = Replica::open(clone.volumes.clone(), clone.store.clone(), KEEP);
            let promoted = opened.and_then(|replica| replica.promote(Some(goal)));
            let crashed = clone.disk.crashed();
            clone.disk.plan(None);
            if crashed {
                clone.crash();
                continue;
            }
            // Where it was promoted just before a crash, it stays.
            let at = clone.open().state().phase.point().unwrap();
            assert!(promoted.is_ok() || at != goal, "{promoted:?}");
            return clone.assert_at(at);
        }
    }
}

/// Anything that may happen to a source.
fn change(volume: &SimVolume, random: &mut Random, links: bool) -> std::io::Result<()> {
    let name = format!("{}", random.below(5));
    let directory = if random.one_in(2) { RelPath::root() } else { path("d") };
    let path_of = directory.join(name.as_bytes()).unwrap();
    let place = Place::Tree(&path_of);
    let link = path("link");
    match random.below(16) {
        0 => volume.make_directory(&path("d")),
        1 => volume.make_directory(&path_of),
        2 => volume.make_symlink(&place, &random.bytes(3)),
        3 => volume.remove(&place),
        4 => volume.remove_directory(&path_of),
        5 => {
            volume.remove_directory(&path_of)?;
            volume.create(&place)?.write_at(&random.bytes(10), 0)
        }
        6 if !links || volume.object(&place)?.is_some_and(|object| object.kind == ObjectKind::Directory) => Ok(()),
        6 => volume.link(&place, &Place::Tree(&link)),
        7 if links => volume.remove(&Place::Tree(&link)),
        8 => {
            volume.remove(&place)?;
            volume.create(&place)?.write_at(&random.bytes(80_000), 0)
        }
        9 => volume.open(&place, true)?.set_len(random.below(160_000)),
        10 => {
            let mtime = volume.object(&place)?.map(|object| object.attrs.mtime).unwrap_or_default();
            volume.set_attrs(&place, &Attrs { mode: random.below(512) as u32, mtime, ..Attrs::default() })
        }
        _ => {
            let file = volume.open(&place, true).or_else(|_| volume.create(&place))?;
            // Files of this size are written in place, not replaced.
            let len = [10, 5_000, 70_000][random.below(3) as usize];
            file.write_at(&random.bytes(len), random.below(140_000))
        }
    }
}

fn change_some(world: &World, random: &mut Random, links: bool) {
    for _ in 0..random.below(5) {
        // Whatever does not fit what is there fails, as it would for any application.
        let _ = change(&world.source, random, links);
    }
}

fn some_reason(random: &mut Random) -> Reason {
    match random.below(12) {
        0 => Reason::Interval,
        1 => Reason::Asked,
        _ => Reason::Passing,
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(seed);
    let links = random.one_in(3);
    for round in 1..60 {
        change_some(&world, &mut random, links);
        world.round += 1;
        let reason = if round == 1 { Reason::Mirror } else { some_reason(&mut random) };
        let consistent = !random.one_in(3);
        // The same round goes on after each crash, until it is through.
        for attempt in 0.. {
            let fault = (attempt < 3 && random.one_in(4)).then(|| (random.below(150) + 1, Fault::Crash));
            world.disk.plan(fault);
            let opened = Replica::open(world.volumes.clone(), world.store.clone(), KEEP);
            let result = opened.map_err(ReceiveError::from).and_then(|replica| world.round(&replica, reason, consistent));
            let crashed = world.disk.crashed();
            world.disk.plan(None);
            match result {
                Ok(_) => break,
                Err(error) => assert!(crashed, "{error}"),
            }
            world.crash();
            world.check();
        }
        if round % 6 == 0 {
            world.check();
            world.check_back_and_forth(&mut random);
        }
    }
    let state = world.open().state();
    assert!(state.points.len() <= KEEP + 2, "{:?}", state.points);
    let longest = if links { 60 } else { 40 };
    assert!(state.steps.len() < longest, "{} steps", state.steps.len());
}

#[test]
fn every_kept_point_is_one_state_of_the_source_whatever_crashes() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("STANDIN_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STANDIN_HISTORIES").unwrap_or(30),
    };
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("failed with STANDIN_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// After some rounds, one more is tried again and again: each time the machine crashes one operation later.
fn crash_everywhere(seed: u64, passing: u64, last: Reason) -> u64 {
    let mut random = Random::new(seed);
    let mut world = World::new(seed);
    change_some(&world, &mut random, false);
    world.whole_round(Reason::Mirror);
    for _ in 0..passing {
        change_some(&world, &mut random, false);
        world.whole_round(Reason::Passing);
    }
    change_some(&world, &mut random, false);
    world.round += 1;
    for operation in 1.. {
        let mut copy = world.copy(seed ^ operation);
        let replica = copy.open();
        copy.disk.plan(Some((operation, Fault::Crash)));
        let result = copy.round(&replica, last, true);
        if !copy.disk.crashed() {
            copy.disk.plan(None);
            result.unwrap();
            copy.check();
            return operation;
        }
        copy.crash();
        copy.check();
    }
    0
}

#[test]
fn a_crash_at_any_operation_of_a_round_leaves_every_point() {
    for seed in 0..2 {
        // The last closes a step over several points, so that thinning and merging are in it.
        let operations = crash_everywhere(seed, 8, Reason::Interval);
        assert!(operations > 40, "seed {seed}: {operations} operations");
        // The last makes the steps of a point that passes so many that they are merged.
        crash_everywhere(seed + 100, 31, Reason::Passing);
    }
}

fn file(world: &World, name: &str, offset: u64, data: &[u8]) {
    let path = path(name);
    let file = world.source.open(&Place::Tree(&path), true).or_else(|_| world.source.create(&Place::Tree(&path)));
    file.unwrap().write_at(data, offset).unwrap();
}

#[test]
fn rewriting_the_same_pages_takes_no_more_room_with_every_round() {
    const PAGE: usize = 4096;
    let mut random = Random::new(7);
    let mut world = World::new(7);
    file(&world, "mail.edb", 0, &random.bytes(40 * PAGE));
    world.whole_round(Reason::Mirror);
    let replica = world.open();
    for round in 1..=2_000_u64 {
        for _ in 0..4 {
            file(&world, "mail.edb", random.below(8) * PAGE as u64, &random.bytes(PAGE));
        }
        // A message comes into the queue, and leaves it two rounds later.
        file(&world, &format!("queue-{round}"), 0, &random.bytes(500));
        if let Some(old) = round.checked_sub(2).filter(|old| *old > 0) {
            world.source.remove(&Place::Tree(&path(&format!("queue-{old}")))).unwrap();
        }
        world.round += 1;
        let reason = if round % 500 == 0 { Reason::Interval } else { Reason::Passing };
        let point = world.round(&replica, reason, round % 3 > 0).unwrap();
        world.points.retain(|kept, _| replica.state().points.iter().any(|point| point.number == *kept));
        assert!(world.points.contains_key(&point));
        let (bytes, journals) = world.store.size_of(".back");
        // What was written since the last merge, and the pages themselves once for each kept point.
        assert!(journals <= 32 + 8, "{journals} journals after {round} rounds");
        assert!(bytes <= (32 * 5 + 4 * 8 * 2) * PAGE, "{bytes} bytes after {round} rounds");
        assert!(world.volumes[0].side_objects().unwrap().len() <= 80, "parked objects after {round} rounds");
        if round % 250 == 0 {
            world.check();
        }
    }
    let state = replica.state();
    assert_eq!(state.points.iter().filter(|point| point.reason != Reason::Passing).count(), KEEP + 1);
}

#[test]
fn a_point_is_kept_by_an_empty_round() {
    let mut world = World::new(3);
    file(&world, "a", 0, b"one");
    world.whole_round(Reason::Mirror);
    file(&world, "a", 0, b"two");
    let passing = world.whole_round(Reason::Passing);
    let asked = world.whole_round(Reason::Asked);
    let state = world.open().state();
    assert_eq!(state.points.iter().map(|point| point.number).collect::<Vec<_>>(), [passing.0 - 1, asked.0].map(PointNumber));
    assert_eq!(state.steps.len(), 1, "{:?}", state.steps);
    assert!(world.store.size_of("incoming").0 < 200);
    assert!(world.store.size_of(".back").0 < 300, "{:?}", world.store.size_of(".back"));
    world.check();
    // Again, and nothing is left of it but the point.
    world.whole_round(Reason::Asked);
    world.check();
    assert!(world.store.size_of(".back").0 < 400);
}

#[test]
fn history_keeps_to_its_limit_but_the_newest_consistent_point_stays() {
    let mut world = World::new(5);
    // Where files can be cloned, parked ones may share their room, and do not count.
    world.volumes = world.volumes.into_iter().map(SimVolume::without_clones).collect();
    world.limit = 100_000;
    let mut random = Random::new(5);
    file(&world, "a", 0, &random.bytes(60_000));
    world.whole_round(Reason::Mirror);
    for _ in 0..3 {
        file(&world, "a", 0, &random.bytes(60_000));
        world.whole_round(Reason::Interval);
    }
    // One step of 60,000 bytes fits, two do not.
    assert_eq!(world.kept(), [PointNumber(3), PointNumber(4)]);
    assert!(world.store.size_of(".back").0 < 70_000);
    for _ in 0..4 {
        file(&world, "a", 0, &random.bytes(60_000));
        world.round += 1;
        let replica = world.open();
        world.round(&replica, Reason::Passing, false).unwrap();
    }
    assert_eq!(world.kept(), [PointNumber(4), PointNumber(8)]);
    world.check();
}

#[test]
fn a_round_after_a_promotion_that_was_given_up_goes_on_from_the_newest_point() {
    let mut world = World::new(9);
    for text in [b"one", b"two", b"six"] {
        file(&world, "a", 0, text);
        world.whole_round(Reason::Interval);
    }
    for operation in 1.. {
        let mut copy = world.copy(operation);
        let replica = copy.open();
        copy.disk.plan(Some((operation, Fault::Crash)));
        let promoted = replica.promote(Some(PointNumber(1)));
        if !copy.disk.crashed() {
            promoted.unwrap();
            assert!(operation > 20, "{operation}");
            return;
        }
        copy.crash();
        file(&copy, "b", 0, b"later");
        copy.round += 1;
        let replica = copy.open();
        match copy.round(&replica, Reason::Interval, true) {
            Ok(_) => copy.check(),
            Err(ReceiveError::Replica(error)) => assert!(error.to_string().contains("promoted"), "{error}"),
            Err(error) => panic!("{error}"),
        }
    }
}
