//! Schedules from a seed: a source that changes, mirrors to a standby, cuts and crashes, and after each of them the question that
//! matters: is the replica, promoted at any point that is kept, exactly what the source was at that point?
//!
//! `STANDIN_SEED=n` runs one schedule, `STANDIN_SCHEDULES=n` that many. A failure names its seed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use standin_common::entry::{Attrs, Time};
use standin_common::id::{Generation, MirrorId, PointNumber, RootIndex};
use standin_common::message::{
    Comparison, FromStandby, LaneDown, LaneUp, MirrorOpening, OrphanLimit, OrphanPolicy, Purpose, RootKind, Want,
};
use standin_common::path::RelPath;
use standin_common::scope::Reason;
use standin_config::{Effect, Rule};
use standin_replicator::mirror::How;
use standin_replicator::rules::Rules;
use standin_replicator::sim::{Disk, Fault, Random, SimStore, SimVolume};
use standin_replicator::source::entries::{Entries, Met};
use standin_replicator::source::lane::{self, LaneError, Packing, Sink};
use standin_replicator::standby::join::Join;
use standin_replicator::standby::lane as standby;
use standin_replicator::standby::receive::{ReceiveError, Reception};
use standin_replicator::standby::replica::Replica;
use standin_replicator::volume::{ObjectKind, Place, Volume, VolumeFile};

/// Path, kind, attributes, data, and the first name of the same object.
type Contents = Vec<(RelPath, ObjectKind, Attrs, Vec<u8>, RelPath)>;
const KEEP: usize = 3;
const ROOTS: usize = 2;

#[derive(Default)]
struct Wire(VecDeque<(LaneDown, Vec<u8>)>, u64);

impl Sink for Wire {
    fn send(&mut self, message: &LaneDown, payload: &[u8]) -> Result<(), LaneError> {
        self.1 += payload.len() as u64;
        self.0.push_back((message.clone(), payload.to_vec()));
        Ok(())
    }
}

/// Long after every time on the simulated clocks.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1 << 40)
}

struct World {
    random: Random,
    source: Vec<SimVolume>,
    disk: Disk,
    volumes: Vec<SimVolume>,
    store: SimStore,
    /// What the source was at each point.
    points: BTreeMap<PointNumber, Vec<Contents>>,
    acknowledged: Option<PointNumber>,
    mirror: u64,
    /// What is replicated, one for each root.
    rules: Vec<Rules>,
    journal_limit: u64,
    /// Whether the standby has objects of its own that the rules exclude: nothing may happen to them.
    strangers: bool,
}

const RULES: [(Effect, &str, bool); 5] = [
    (Effect::Exclude, "1", false),
    (Effect::Exclude, "4", true),
    (Effect::Include, "4/0", false),
    (Effect::Exclude, "d/2", false),
    (Effect::Exclude, "strangers", true),
];

fn some_rules() -> Rules {
    let rules = RULES.map(|(effect, pattern, recurse)| Rule { effect, pattern: pattern.to_owned(), recurse });
    Rules::new(&rules).unwrap()
}

/// Makes objects that the rules exclude.
fn add_strangers(volume: &SimVolume) {
    volume.make_directory(&RelPath::new("strangers").unwrap()).unwrap();
    for (path, data) in [("1", &b"one"[..]), ("strangers/2", b"two")] {
        volume.create(&Place::Tree(&RelPath::new(path).unwrap())).unwrap().write_at(data, 0).unwrap();
    }
    volume.sync().unwrap();
}

fn contents(volume: &SimVolume) -> Contents {
    let inode = |path: &RelPath| volume.object(&Place::Tree(path)).unwrap().unwrap().stamp.inode;
    let all = volume.contents().into_iter().map(|(path, kind, attrs, data)| {
        let first = path.clone();
        (path, kind, attrs, data, first)
    });
    let mut all: Contents = all.collect();
    let inodes: Vec<_> = all.iter().map(|(path, ..)| inode(path)).collect();
    for index in 0..all.len() {
        let first = inodes.iter().position(|inode| *inode == inodes[index]).unwrap();
        all[index].4 = all[first].0.clone();
    }
    all
}

/// What a mirror takes of these: what the rules include, and the directories that lead there.
fn replicated(contents: Contents, rules: &Rules) -> Contents {
    let included = |path: &RelPath| rules.judge(path).included;
    let paths: Vec<_> = contents.iter().map(|(path, ..)| path.clone()).filter(|path| included(path)).collect();
    let kept = |path: &RelPath| included(path) || paths.iter().any(|below| below.starts_with(path));
    let mut contents: Contents = contents.into_iter().filter(|(path, ..)| kept(path)).collect();
    let mut firsts = BTreeMap::new();
    for (path, .., first) in &mut contents {
        *first = firsts.entry(first.clone()).or_insert_with(|| path.clone()).clone();
    }
    contents
}

impl World {
    fn new(seed: u64) -> Self {
        let healthy = Disk::new(0);
        let disk = Disk::new(seed ^ 0xd15c);
        let mut random = Random::new(seed);
        let strangers = random.one_in(2);
        let rules = vec![if strangers { some_rules() } else { Rules::everything() }; ROOTS];
        let volumes = |disk: &Disk| (0..ROOTS).map(|_| SimVolume::new(disk.clone())).collect::<Vec<_>>();
        let standby = volumes(&disk);
        if strangers {
            standby.iter().for_each(add_strangers);
        }
        Self {
            random,
            source: volumes(&healthy),
            volumes: standby,
            store: SimStore::new(disk.clone()),
            disk,
            points: BTreeMap::new(),
            acknowledged: None,
            mirror: 0,
            strangers,
            rules,
            // Room for what a pass changes, yet so little that the largest files are cloned.
            journal_limit: if seed.is_multiple_of(2) { 1_300_000 } else { u64::MAX },
        }
    }

    fn contents(&self) -> Vec<Contents> {
        self.source.iter().zip(&self.rules).map(|(volume, rules)| replicated(contents(volume), rules)).collect()
    }

    fn change_source(&mut self) {
        for _ in 0..self.random.below(12) + 1 {
            let root = self.random.below(ROOTS as u64) as usize;
            let volume = self.source[root].clone();
            let name = format!("{}", self.random.below(6));
            let directory = if self.random.one_in(2) { RelPath::root() } else { RelPath::new("d").unwrap() };
            let path = directory.join(name.as_bytes()).unwrap();
            // Whatever does not fit what is there fails, as it would for any application.
            let _ = change(&volume, &path, &mut self.random);
        }
    }

    /// One pass, which a crash or cut may end.
    fn pass(&mut self, replica: &Replica<SimVolume, SimStore>, comparison: Comparison) -> Result<(), ReceiveError> {
        let opening = MirrorOpening {
            set: "mail".parse().unwrap(),
            generation: Generation(1),
            mirror: MirrorId(self.mirror),
            definition: [0; 32],
            roots: vec![RootKind::Directory; ROOTS],
            purpose: Purpose::Mirror,
            comparison,
            orphans: OrphanPolicy::Remove,
            orphan_limit: OrphanLimit::Percent(100),
            base: None,
        };
        let reception = Reception::begin(replica, opening, self.journal_limit)?;
        let how = How { comparison: if reception.first() { Comparison::Checksum } else { comparison }, owners: true };
        let mut lanes = Lanes {
            source: lane::Lane::new(&self.source, Packing { level: Some(1) }),
            standby: standby::Lane::new(&reception),
            wire: Wire::default(),
            answers: VecDeque::new(),
        };
        let mut join = Join::new(&reception, how, &self.rules);
        let after = reception.after().cloned();
        let mut wants: Vec<Want> = Vec::new();
        for (index, volume) in self.source.iter().enumerate() {
            let root = RootIndex(index as u16);
            if after.as_ref().is_some_and(|after| after.root > root) {
                continue;
            }
            let after = after.clone().filter(|after| after.root == root).map(|after| after.path);
            for met in Entries::new(volume, after, &self.rules[index], now) {
                let Met::Entry(entry) = met else { continue };
                take(join.entries(root, vec![entry])?, &mut wants);
                if self.random.one_in(3) {
                    // Several lanes: some files come before others that were asked for earlier.
                    let (mut now, later) = wants.drain(..).partition(|_| self.random.one_in(2));
                    wants = later;
                    lanes.send(&mut now)?;
                }
                if self.random.one_in(8) {
                    reception.mark()?;
                }
                if self.random.one_in(150) {
                    return Err(ReceiveError::Ended);
                }
            }
        }
        take(join.end()?, &mut wants);
        lanes.send(&mut wants)?;
        let expected = replica.state().next_point();
        self.points.insert(expected, self.contents());
        let point = reception.commit(Time::default(), true, 0, 0, Reason::Mirror)?;
        assert_eq!(point.number, expected);
        self.acknowledged = Some(point.number);
        replica.settle()?;
        Ok(())
    }

    /// Opens the replica as after a start.
    fn open(&self) -> Replica<SimVolume, SimStore> {
        Replica::open(self.volumes.clone(), self.store.clone(), KEEP)
            .expect("a replica opens after any crash")
            .keeping_values_from(1)
    }

    fn crash(&mut self) {
        self.disk.plan(None);
        self.volumes = self.volumes.iter().map(SimVolume::after_crash).collect();
        self.store = self.store.after_crash();
    }

    /// Promotes a clone at every kept point and compares.
    fn check(&self) {
        let state = self.open().state();
        let newest = state.points.last().map(|point| point.number);
        assert!(newest >= self.acknowledged, "point {:?} was acknowledged, the newest is {newest:?}", self.acknowledged);
        for point in &state.points {
            let disk = Disk::new(1);
            let volumes: Vec<_> = self.volumes.iter().map(|volume| volume.snapshot(disk.clone())).collect();
            let clone = Replica::open(volumes.clone(), self.store.snapshot(disk), KEEP).unwrap();
            clone.promote(Some(point.number)).unwrap();
            for (root, (volume, expected)) in volumes.iter().zip(&self.points[&point.number]).enumerate() {
                let found = if self.strangers { self.without_strangers(contents(volume)) } else { contents(volume) };
                assert_same(&found, expected, &format!("root {root} at point {}", point.number));
            }
        }
    }
}

impl World {
    fn without_strangers(&self, contents: Contents) -> Contents {
        let (strangers, rest): (Contents, Contents) = contents
            .into_iter()
            .partition(|(path, ..)| path.starts_with(&RelPath::new("strangers").unwrap()) || path.as_bytes() == b"1");
        let data: Vec<_> = strangers.iter().map(|(_, _, _, data, _)| &data[..]).collect();
        assert_eq!(data, [&b"one"[..], b"", b"two"], "what the rules exclude was touched");
        rest
    }
}

fn assert_same(found: &Contents, expected: &Contents, what: &str) {
    let names = |contents: &Contents| contents.iter().map(|(path, ..)| path.to_string()).collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.1, expected.1, "{what}: kind of {:?}", found.0);
        assert_eq!(found.2, expected.2, "{what}: attributes of {:?}, {:?}", found.0, found.1);
        assert!(found.3 == expected.3, "{what}: data of {:?}", found.0);
        assert_eq!(found.4, expected.4, "{what}: first name of {:?}", found.0);
    }
}

fn take(messages: Vec<FromStandby>, wants: &mut Vec<Want>) {
    for message in messages {
        if let FromStandby::Wants(more) = message {
            wants.extend(more);
        }
    }
}

struct Lanes<'r, 'a> {
    source: lane::Lane<'r, SimVolume>,
    standby: standby::Lane<'r, 'a, SimVolume, SimStore>,
    wire: Wire,
    answers: VecDeque<LaneUp>,
}

impl Lanes<'_, '_> {
    fn send(&mut self, wants: &mut Vec<Want>) -> Result<(), ReceiveError> {
        for want in wants.drain(..) {
            self.source.start(want, &mut self.wire).unwrap();
        }
        while self.source.under_way() > 0 || !self.wire.0.is_empty() {
            while let Some((message, payload)) = self.wire.0.pop_front() {
                self.answers.extend(self.standby.take(message, &payload)?);
            }
            if let Some(answer) = self.answers.pop_front() {
                self.source.answer(answer, &mut self.wire).unwrap();
            } else {
                self.source.scan(&mut self.wire).unwrap();
            }
        }
        Ok(())
    }
}

fn change(volume: &SimVolume, path: &RelPath, random: &mut Random) -> std::io::Result<()> {
    let place = Place::Tree(path);
    match random.below(12) {
        0 => volume.make_directory(&RelPath::new("d").unwrap()),
        1 => volume.make_directory(path),
        2 => volume.make_symlink(&place, &random.bytes(3)),
        3 => volume.make_fifo(&place),
        4 => volume.remove(&place),
        5 => {
            volume.remove_directory(path)?;
            // Mostly, something else comes in its place.
            if random.one_in(4) { Ok(()) } else { volume.create(&place)?.write_at(&random.bytes(10), 0) }
        }
        // No file system has directories of two names.
        6 if volume.object(&place)?.is_some_and(|object| object.kind == ObjectKind::Directory) => Ok(()),
        6 => volume.link(&place, &Place::Tree(&RelPath::new("link").unwrap())),
        7 => volume.remove(&Place::Tree(&RelPath::new("link").unwrap())),
        8 => {
            let attrs =
                Attrs { mode: random.below(512) as u32, xattrs: vec![(b"user.a".to_vec(), random.bytes(2))], ..Attrs::default() };
            let mtime = volume.object(&place)?.map(|object| object.attrs.mtime).unwrap_or_default();
            volume.set_attrs(&place, &Attrs { mtime, ..attrs })
        }
        9 => volume.open(&place, true)?.set_len(random.below(200_000)),
        _ => {
            let file = volume.open(&place, true).or_else(|_| volume.create(&place))?;
            let len = [10, 5_000, 70_000][random.below(3) as usize];
            file.write_at(&random.bytes(len), random.below(150_000))
        }
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..6 {
        world.change_source();
        world.mirror += 1;
        let comparison = [Comparison::Difference, Comparison::Checksum, Comparison::Full][world.random.below(3) as usize];
        // The same mirror goes on after each crash or cut, until it is through.
        for attempt in 0.. {
            let fault = (attempt < 4 && world.random.one_in(2)).then(|| (world.random.below(250) + 1, Fault::Crash));
            world.disk.plan(fault);
            let replica = world.start();
            let orderly = world.random.one_in(2);
            let result = replica.map_or(Err(ReceiveError::Ended), |replica| {
                let passed = world.pass(&replica, comparison);
                // What is kept of its files must not be believed after any other end.
                if orderly {
                    replica.rest();
                }
                passed
            });
            let crashed = world.disk.crashed();
            world.disk.plan(None);
            match result {
                Ok(()) => break,
                Err(error) if !crashed && !matches!(error, ReceiveError::Ended) => panic!("{error}"),
                Err(_) => {}
            }
            if crashed {
                world.crash();
            }
            world.check();
        }
        world.check();
    }
}

impl World {
    /// Opens the replica while a crash may be planned, which then is the only thing that may hinder it.
    fn start(&self) -> Option<Replica<SimVolume, SimStore>> {
        let opened = Replica::open(self.volumes.clone(), self.store.clone(), KEEP);
        assert!(opened.is_ok() || self.disk.crashed(), "{:?}", opened.err());
        opened.ok().map(|replica| replica.keeping_values_from(1))
    }
}

#[test]
fn every_kept_point_is_one_state_of_the_source_whatever_crashes() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("STANDIN_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STANDIN_SCHEDULES").unwrap_or(1000),
    };
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("failed with STANDIN_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
