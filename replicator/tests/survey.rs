//! Comparing without writing: every difference is found, nothing else is, and the standby stays as it is.
//!
//! `STANDIN_SEED=n` runs the random trees of one seed. A failure names its seed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use standin_common::entry::Attrs;
use standin_common::id::RootIndex;
use standin_common::message::{
    Comparison, Difference, Encoding, FileEnd, FromStandby, JoinSummary, LaneDown, LaneUp, Position, Purpose, Want,
};
use standin_common::path::RelPath;
use standin_common::tree::{GROUP_LEN, Root};
use standin_replicator::mirror::How;
use standin_replicator::sim::{Disk, Random, SimVolume};
use standin_replicator::source::entries::{Entries, Met};
use standin_replicator::source::lane::{Found, Lane, LaneError, Sink};
use standin_replicator::standby::compare::CompareLane;
use standin_replicator::standby::receive::ReceiveError;
use standin_replicator::standby::survey::{Survey, SurveyJoin};
use standin_replicator::volume::{ObjectKind, Place, Stamp, Volume, VolumeFile};

const LEAF: u64 = 4096;
const GROUP: u64 = GROUP_LEN as u64;

#[derive(Default)]
struct Wire {
    messages: VecDeque<LaneDown>,
    /// Writes to the source's file after so many messages of groups.
    disturb: Option<(SimVolume, RelPath, u32)>,
}

impl Sink for Wire {
    fn send(&mut self, message: &LaneDown, payload: &[u8]) -> Result<(), LaneError> {
        assert!(payload.is_empty(), "{message:?}");
        self.messages.push_back(message.clone());
        if let (LaneDown::Groups { .. }, Some((volume, path, times @ 1..))) = (message, &mut self.disturb) {
            *times -= 1;
            volume.open(&Place::Tree(path), true).unwrap().write_at(&[7], 0).unwrap();
        }
        Ok(())
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1 << 40)
}

#[derive(Debug, Default, PartialEq)]
struct Surveyed {
    findings: BTreeSet<(String, String)>,
    ranges: BTreeMap<String, Vec<(u64, u64)>>,
    summary: JoinSummary,
}

fn survey(source: &SimVolume, standby: &SimVolume, purpose: Purpose, comparison: Comparison) -> Surveyed {
    survey_over(source, standby, purpose, comparison, Wire::default())
}

fn survey_over(source: &SimVolume, standby: &SimVolume, purpose: Purpose, comparison: Comparison, mut wire: Wire) -> Surveyed {
    let before = everything(standby);
    let (sources, standbys) = ([source.clone()], [standby.clone()]);
    let shared = Survey::new(&standbys, How { comparison, owners: true }, purpose);
    let mut join = SurveyJoin::new(&shared);
    let (mut from, mut to) = (Lane::comparing(&sources), CompareLane::new(&shared));
    let mut surveyed = Surveyed::default();
    let mut told = Vec::new();
    let mut entries = Entries::new(source, None, now).peekable();
    let mut over = false;
    while !over {
        let tell = &mut |message| {
            told.push(message);
            Ok(())
        };
        match entries.next() {
            Some(Met::Entry(entry)) => join.entries(RootIndex(0), vec![entry], tell).unwrap(),
            Some(_) => {}
            None => {
                join.end(tell).unwrap();
                over = true;
            }
        }
        for message in told.drain(..) {
            match message {
                FromStandby::Findings(findings) => {
                    for finding in findings {
                        let new = (finding.at.path.to_string(), format!("{:?}", finding.difference));
                        assert!(surveyed.findings.insert(new), "{:?} twice", finding.at);
                    }
                }
                FromStandby::Wants(wants) => {
                    assert!(wants.iter().all(|want| !want.whole));
                    compare(wants, &mut from, &mut to, &mut wire, &mut surveyed.ranges);
                }
                FromStandby::Joined(summary) => surveyed.summary = summary,
                message => panic!("{message:?}"),
            }
        }
    }
    assert_eq!(shared.under_way(), 0);
    assert_eq!(everything(standby), before, "the standby was written to");
    surveyed
}

fn compare(
    wants: Vec<Want>,
    from: &mut Lane<'_, SimVolume>,
    to: &mut CompareLane<'_, '_, SimVolume>,
    wire: &mut Wire,
    ranges: &mut BTreeMap<String, Vec<(u64, u64)>>,
) {
    for want in wants {
        from.start(want, wire).unwrap();
    }
    let mut answers = VecDeque::new();
    while from.under_way() > 0 || !wire.messages.is_empty() {
        while let Some(message) = wire.messages.pop_front() {
            answers.extend(to.take(message, &[]).unwrap());
        }
        match answers.pop_front() {
            Some(answer) => {
                from.answer(answer, wire).unwrap();
                if let Some(Found { want, ranges: found, more }) = from.found() {
                    assert_eq!(more, 0);
                    ranges.insert(want.at.path.to_string(), found);
                }
            }
            None => {
                from.scan(wire).unwrap();
            }
        }
    }
}

/// Contents and stamps.
fn everything(volume: &SimVolume) -> Vec<(RelPath, ObjectKind, Attrs, Vec<u8>, Stamp)> {
    let stamp = |path: &RelPath| volume.object(&Place::Tree(path)).unwrap().unwrap().stamp;
    volume.contents().into_iter().map(|(path, kind, attrs, data)| (path.clone(), kind, attrs, data, stamp(&path))).collect()
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn bytes(len: u64, seed: u64) -> Vec<u8> {
    Random::new(seed).bytes(len as usize)
}

fn write(volume: &SimVolume, name: &str, data: &[u8], offset: u64) {
    let (path, time) = (path(name), Default::default());
    let file = volume.open(&Place::Tree(&path), true).or_else(|_| volume.create(&Place::Tree(&path))).unwrap();
    file.write_at(data, offset).unwrap();
    file.set_attrs(&Attrs { mtime: time, ..file.object().unwrap().attrs }).unwrap();
}

/// Two equal trees.
fn twins() -> (SimVolume, SimVolume) {
    let source = SimVolume::new(Disk::new(0));
    for (name, len) in [("empty", 0), ("leaf", 100), ("small", 20_000), ("group", GROUP), ("large", 1_000_000)] {
        write(&source, name, &bytes(len, len), 0);
    }
    source.make_directory(&path("d")).unwrap();
    source.make_symlink(&Place::Tree(&path("d/symlink")), b"x").unwrap();
    source.make_fifo(&Place::Tree(&path("d/pipe"))).unwrap();
    write(&source, "d/first", &bytes(5000, 1), 0);
    source.link(&Place::Tree(&path("d/first")), &Place::Tree(&path("d/second"))).unwrap();
    same_directories(&source);
    let standby = source.snapshot(Disk::new(1));
    (source, standby)
}

/// Takes what names were made out of the times of directories.
fn same_directories(volume: &SimVolume) {
    for (path, kind, ..) in volume.contents() {
        if kind == ObjectKind::Directory {
            volume.set_attrs(&Place::Tree(&path), &Attrs::default()).unwrap();
        }
    }
}

fn findings(surveyed: &Surveyed) -> Vec<(&str, &str)> {
    surveyed.findings.iter().map(|(path, difference)| (&path[..], &difference[..])).collect()
}

const ALL: [(Purpose, Comparison); 4] = [
    (Purpose::Verify, Comparison::Checksum),
    (Purpose::DryRun, Comparison::Checksum),
    (Purpose::DryRun, Comparison::Difference),
    (Purpose::Verify, Comparison::Difference),
];

#[test]
fn equal_trees_have_no_findings() {
    let (source, standby) = twins();
    for (purpose, comparison) in ALL {
        let surveyed = survey(&source, &standby, purpose, comparison);
        assert_eq!((findings(&surveyed), surveyed.ranges.len()), (vec![], 0));
        let read = purpose == Purpose::Verify || comparison == Comparison::Checksum;
        let wanted_bytes = if read { 100 + 20_000 + GROUP + 1_000_000 + 5000 } else { 0 };
        let wanted_files = if read { 6 } else { 0 };
        assert_eq!(surveyed.summary, JoinSummary { standby_objects: 11, wanted_files, wanted_bytes, ..Default::default() });
    }
}

/// What a verification finds in one file that is `ours` on the source and `theirs` on the standby.
fn ranges(ours: &[u8], theirs: &[u8]) -> Vec<(u64, u64)> {
    let (source, standby) = (SimVolume::new(Disk::new(0)), SimVolume::new(Disk::new(0)));
    for (volume, data) in [(&source, ours), (&standby, theirs)] {
        write(volume, "file", data, 0);
        same_directories(volume);
    }
    let mut surveyed = survey(&source, &standby, Purpose::Verify, Comparison::Checksum);
    assert_eq!(findings(&surveyed), vec![]);
    surveyed.ranges.remove("file").unwrap_or_default()
}

/// The same, by comparing leaf by leaf.
fn naive(ours: &[u8], theirs: &[u8]) -> Vec<(u64, u64)> {
    let common = ours.len().min(theirs.len());
    let leaves = ours[..common].chunks(LEAF as usize).zip(theirs[..common].chunks(LEAF as usize)).enumerate();
    let differing = leaves.filter(|(_, (ours, theirs))| ours != theirs);
    let mut all: Vec<_> =
        differing.map(|(leaf, (data, _))| (leaf as u64 * LEAF, leaf as u64 * LEAF + data.len() as u64)).collect();
    if ours.len() != theirs.len() {
        all.push((common as u64, ours.len().max(theirs.len()) as u64));
    }
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, end) in all {
        match joined.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => joined.push((start, end)),
        }
    }
    joined
}

#[test]
fn ranges_are_exact() {
    let data = bytes(5 * GROUP + 1000, 3);
    let with = |at: u64| {
        let mut data = data.clone();
        data[at as usize] ^= 1;
        data
    };
    let len = data.len() as u64;
    assert_eq!(ranges(&data, &with(0)), [(0, LEAF)]);
    assert_eq!(ranges(&data, &with(LEAF)), [(LEAF, 2 * LEAF)]);
    assert_eq!(ranges(&data, &with(len - 1)), [(5 * GROUP, len)]);
    assert_eq!(ranges(&data, &data[..10_000]), [(10_000, len)]);
    assert_eq!(ranges(&data[..10_000], &data), [(10_000, len)]);
    assert_eq!(ranges(&data, &[]), [(0, len)]);
    assert_eq!(ranges(&[], &data), [(0, len)]);
    assert_eq!(ranges(&[], &[]), []);
    assert_eq!(ranges(b"a", b"b"), [(0, 1)]);
    assert_eq!(ranges(b"a", b"ab"), [(1, 2)]);
    assert_eq!(ranges(&data[..GROUP_LEN], &with(GROUP)[..GROUP_LEN + 1]), [(GROUP, GROUP + 1)]);
    // Neighbours in different groups are joined.
    let mut both = with(GROUP - 1);
    both[GROUP_LEN] ^= 1;
    assert_eq!(ranges(&data, &both), [(GROUP - LEAF, GROUP + LEAF)]);
    // A hole where the other side has data, and zeros that are data on one side and a hole on the other.
    let mut hole = data.clone();
    hole[GROUP_LEN..2 * GROUP_LEN].fill(0);
    assert_eq!(ranges(&hole, &data), [(GROUP, 2 * GROUP)]);
    assert_eq!(ranges(&hole, &hole), []);
}

#[test]
fn ranges_of_random_files_are_the_naive_ones() {
    for seed in seeds(150) {
        let mut random = Random::new(seed);
        let lens = [0, 1, 100, 4095, 4096, 4097, 10_000, 65_535, 65_536, 65_537, 200_000, 600_000];
        let ours = random.bytes(lens[random.clone().below(lens.len() as u64) as usize]);
        let mut theirs = ours.clone();
        if random.one_in(2) {
            let len = lens[random.below(lens.len() as u64) as usize];
            theirs.resize(len, random.below(2) as u8);
        }
        for _ in 0..random.below(6) {
            if !theirs.is_empty() {
                let at = random.below(theirs.len() as u64) as usize;
                theirs[at] = theirs[at].wrapping_add(1);
            }
        }
        assert_eq!(ranges(&ours, &theirs), naive(&ours, &theirs), "STANDIN_SEED={seed}");
    }
}

#[test]
fn each_difference_is_found_and_nothing_else() {
    type Change = fn(&SimVolume);
    let cases: [(Change, &str, &str); 8] = [
        (|standby| standby.remove(&Place::Tree(&path("d/pipe"))).unwrap(), "d/pipe", "Missing"),
        (|standby| standby.remove(&Place::Tree(&path("empty"))).unwrap(), "empty", "Missing"),
        (|standby| write(standby, "new", b"x", 0), "new", "Orphan"),
        (
            |standby| {
                standby.remove(&Place::Tree(&path("d/symlink"))).unwrap();
                standby.make_symlink(&Place::Tree(&path("d/symlink")), b"y").unwrap();
            },
            "d/symlink",
            "OtherKind",
        ),
        (
            |standby| {
                standby.remove(&Place::Tree(&path("large"))).unwrap();
                standby.make_directory(&path("large")).unwrap();
                write(standby, "large/inner", b"x", 0);
            },
            "large",
            "OtherKind",
        ),
        (
            |standby| standby.set_attrs(&Place::Tree(&path("d/pipe")), &Attrs { mode: 1, ..Attrs::default() }).unwrap(),
            "d/pipe",
            "Attributes",
        ),
        (|standby| standby.remove(&Place::Tree(&path("d/second"))).unwrap(), "d/second", "Missing"),
        (
            |standby| {
                standby.remove(&Place::Tree(&path("d/second"))).unwrap();
                write(standby, "d/second", &bytes(5000, 1), 0);
            },
            "d/second",
            "OtherKind",
        ),
    ];
    for (change, at, difference) in cases {
        let (source, standby) = twins();
        change(&standby);
        same_directories(&standby);
        for (purpose, comparison) in ALL {
            let surveyed = survey(&source, &standby, purpose, comparison);
            assert_eq!(findings(&surveyed), [(at, difference)], "{purpose:?} {comparison:?}");
            assert!(surveyed.ranges.is_empty());
            assert_eq!(surveyed.summary.orphans, u64::from(difference == "Orphan"));
        }
    }
}

#[test]
fn a_name_that_shares_its_object_only_on_the_standby_is_found() {
    let (source, standby) = twins();
    standby.remove(&Place::Tree(&path("leaf"))).unwrap();
    standby.link(&Place::Tree(&path("group")), &Place::Tree(&path("leaf"))).unwrap();
    same_directories(&standby);
    let surveyed = survey(&source, &standby, Purpose::Verify, Comparison::Checksum);
    assert_eq!(findings(&surveyed), [("leaf", "OtherKind")]);
    assert_eq!(surveyed.ranges, BTreeMap::from([("leaf".to_owned(), vec![(0, GROUP)])]));
}

#[test]
fn a_dry_run_says_data_where_a_mirror_would_send_and_asks_for_nothing() {
    let (source, standby) = twins();
    for (name, at) in [("leaf", 5), ("large", 500_000)] {
        let file = standby.open(&Place::Tree(&path(name)), true).unwrap();
        file.write_at(&[1], at).unwrap();
    }
    // The same size and time: only reading tells.
    write(&standby, "small", &[1], 0);
    let surveyed = survey(&source, &standby, Purpose::DryRun, Comparison::Difference);
    assert_eq!(findings(&surveyed), [("large", "Data"), ("leaf", "Data")]);
    assert!(surveyed.ranges.is_empty());
    assert_eq!((surveyed.summary.wanted_files, surveyed.summary.wanted_bytes), (2, 1_000_100));
    for (purpose, comparison) in [(Purpose::Verify, Comparison::Difference), (Purpose::DryRun, Comparison::Checksum)] {
        let surveyed = survey(&source, &standby, purpose, comparison);
        assert_eq!(findings(&surveyed), [("large", "Attributes"), ("leaf", "Attributes")]);
        let expected = [("leaf", (0, 100)), ("large", (499_712, 503_808)), ("small", (0, LEAF))];
        assert_eq!(surveyed.ranges, expected.map(|(name, range)| (name.to_owned(), vec![range])).into());
    }
}

#[test]
fn a_file_that_changes_is_compared_again_and_the_last_time_counts() {
    for (times, expected) in [(1, vec![]), (100, vec![(0, LEAF)])] {
        let source = SimVolume::new(Disk::new(0));
        write(&source, "file", &bytes(300_000, 1), 0);
        let standby = source.snapshot(Disk::new(0));
        // What is written is there already when it is written once, and never there otherwise.
        let there = [if times == 1 { 7 } else { 8 }];
        write(&standby, "file", &there, 0);
        write(&source, "file", &[9], 0);
        let wire = Wire { disturb: Some((source.clone(), path("file"), times)), ..Wire::default() };
        let surveyed = survey_over(&source, &standby, Purpose::Verify, Comparison::Checksum, wire);
        assert_eq!(surveyed.ranges.get("file").cloned().unwrap_or_default(), expected);
    }
}

#[test]
fn a_file_that_goes_away_is_not_waited_for() {
    let (source, standby) = twins();
    let (sources, standbys) = ([source.clone()], [standby]);
    let shared = Survey::new(&standbys, How { comparison: Comparison::Checksum, owners: true }, Purpose::Verify);
    let wants = wants(&shared, &source);
    source.remove(&Place::Tree(&path("large"))).unwrap();
    let mut found = BTreeMap::new();
    compare(wants, &mut Lane::comparing(&sources), &mut CompareLane::new(&shared), &mut Wire::default(), &mut found);
    assert_eq!((shared.under_way(), found), (0, BTreeMap::new()));
}

fn wants(shared: &Survey<'_, SimVolume>, source: &SimVolume) -> Vec<Want> {
    let mut wants = Vec::new();
    let entries = Entries::new(source, None, now).filter_map(|met| match met {
        Met::Entry(entry) => Some(entry),
        _ => None,
    });
    let tell = &mut |message| {
        if let FromStandby::Wants(more) = message {
            wants.extend(more);
        }
        Ok(())
    };
    SurveyJoin::new(shared).entries(RootIndex(0), entries.collect(), tell).unwrap();
    wants
}

#[test]
fn a_source_that_breaks_the_protocol_is_refused() {
    let (source, standby) = twins();
    let standbys = [standby];
    let shared = Survey::new(&standbys, How { comparison: Comparison::Checksum, owners: true }, Purpose::Verify);
    let wants = wants(&shared, &source);
    let want = wants.iter().find(|want| want.at.path == path("large")).unwrap();
    let mut lane = CompareLane::new(&shared);
    let end = FileEnd { size: 10, root: Root([0; 32]), attrs: Attrs::default() };
    let file = want.file;
    let wrong = [
        LaneDown::Begin { file: 999, size: 1 },
        LaneDown::Groups { file, values: vec![] },
        LaneDown::End { file, end: end.clone() },
        LaneDown::Small { file, size: 0, encoding: Encoding::Plain, end: end.clone() },
        LaneDown::Data { file, len: 0, encoding: Encoding::Plain },
        LaneDown::Hole { file, len: 1 },
        LaneDown::Leaves { file, group: 0, mask: 1, hole: true, len: 4096, encoding: Encoding::Plain },
    ];
    for message in wrong {
        assert!(matches!(lane.take(message.clone(), &[]), Err(ReceiveError::Protocol(_))), "{message:?}");
    }
    assert_eq!(lane.take(LaneDown::Begin { file, size: 10 }, &[]).unwrap(), Some(LaneUp::Here { file, size: 1_000_000 }));
    assert!(lane.take(LaneDown::Groups { file, values: vec![[0; 16]; 2] }, &[]).is_err());
    assert_eq!(lane.take(LaneDown::End { file, end: end.clone() }, &[]).unwrap(), Some(LaneUp::Again { file }));
    lane.take(LaneDown::Begin { file, size: u64::MAX }, &[]).unwrap();
    assert!(lane.take(LaneDown::Groups { file, values: vec![[0; 16]; 32 * 1024 + 1] }, &[]).is_err());
    // Equal by its groups and not by its root.
    let small = bytes(100, 100);
    let leaf = wants.iter().find(|want| want.at.path == path("leaf")).unwrap().file;
    let value = standin_common::tree::short(&Root::of(&small).0);
    lane.take(LaneDown::Begin { file: leaf, size: 100 }, &[]).unwrap();
    let same = lane.take(LaneDown::Groups { file: leaf, values: vec![value] }, &[]).unwrap();
    assert_eq!(same, Some(LaneUp::Compared { file: leaf, groups: 1, differing: vec![] }));
    let end = FileEnd { size: 100, ..end };
    assert_eq!(lane.take(LaneDown::End { file: leaf, end }, &[]).unwrap(), Some(LaneUp::Again { file: leaf }));
}

#[test]
fn whoever_waits_is_woken() {
    let source = SimVolume::new(Disk::new(0));
    let names = 300;
    for name in 0..names {
        source.create(&Place::Tree(&path(&format!("{name:04}")))).unwrap();
    }
    let roots: Vec<_> = (0..20).map(|_| source.snapshot(Disk::new(0))).collect();
    let shared = Survey::new(&roots, How { comparison: Comparison::Checksum, owners: true }, Purpose::Verify);
    let entries: Vec<_> = Entries::new(&source, None, now)
        .map(|met| match met {
            Met::Entry(entry) => entry,
            met => panic!("{met:?}"),
        })
        .collect();
    let (wanted, wants) = mpsc::channel();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let wanted = wanted;
            let mut join = SurveyJoin::new(&shared);
            for root in 0..roots.len() {
                join.entries(RootIndex(root as u16), entries.clone(), &mut |message| {
                    if let FromStandby::Wants(more) = message {
                        more.into_iter().for_each(|want| wanted.send(want).unwrap());
                    }
                    Ok(())
                })?;
            }
            Ok::<_, ReceiveError>(())
        });
        // It asks for all that it may before it waits, goes on when files are done, and is woken by the end.
        let mut next = || wants.recv_timeout(Duration::from_secs(60)).unwrap();
        let first: Vec<Want> = (0..4096).map(|_| next()).collect();
        let mut lane = CompareLane::new(&shared);
        for want in first.iter().take(10) {
            lane.take(LaneDown::Gone { file: want.file, why: None }, &[]).unwrap();
        }
        (0..10).for_each(|_| drop(next()));
        shared.end();
        assert!(matches!(waits.join().unwrap(), Err(ReceiveError::Ended)));
        assert!(wants.recv().is_err());
    });
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    number("STANDIN_SEED").map_or(0..count, |seed| seed..seed + 1)
}

fn change(volume: &SimVolume, random: &mut Random) -> std::io::Result<()> {
    let directory = if random.one_in(2) { RelPath::root() } else { path("d") };
    let path = directory.join(format!("{}", random.below(6)).as_bytes()).unwrap();
    let place = Place::Tree(&path);
    match random.below(12) {
        0 => volume.make_directory(&RelPath::new("d").unwrap()),
        1 => volume.make_directory(&path),
        2 => volume.make_symlink(&place, &random.bytes(1)),
        3 => volume.make_fifo(&place),
        4 => volume.remove(&place),
        5 => volume.remove_directory(&path),
        6 | 7 => {
            let _ = volume.remove(&Place::Tree(&RelPath::new("link").unwrap()));
            volume.link(&place, &Place::Tree(&RelPath::new("link").unwrap()))
        }
        8 => volume.set_attrs(&place, &Attrs { mode: random.below(3) as u32, ..Attrs::default() }),
        9 => volume.open(&place, true)?.set_len(random.below(200_000)),
        _ => {
            let file = volume.open(&place, true).or_else(|_| volume.create(&place))?;
            let len = [10, 5_000, 70_000][random.below(3) as usize];
            file.write_at(&random.bytes(len), random.below(150_000))
        }
    }
}

/// What a verification has to find, by looking at both trees as a whole.
fn naive_survey(source: &SimVolume, standby: &SimVolume) -> Surveyed {
    let tree = |volume: &SimVolume| {
        let all = everything(volume).into_iter();
        all.map(|(path, kind, attrs, data, stamp)| (path, (kind, attrs, data, stamp.inode))).collect::<BTreeMap<_, _>>()
    };
    let (ours, theirs) = (tree(source), tree(standby));
    let is_directory = |kind: &ObjectKind| *kind == ObjectKind::Directory;
    let mut surveyed = Surveyed::default();
    let mut find = |path: &RelPath, difference: Difference| {
        surveyed.findings.insert((path.to_string(), format!("{difference:?}")));
    };
    for path in theirs.keys() {
        let in_the_way =
            |(above, there): (&RelPath, &(ObjectKind, Attrs, Vec<u8>, u64))| path.starts_with(above) && !is_directory(&there.0);
        if !ours.contains_key(path) && !ours.iter().any(in_the_way) {
            find(path, Difference::Orphan);
        }
    }
    let mut claimed = BTreeSet::new();
    let mut firsts: BTreeMap<u64, Option<u64>> = BTreeMap::new();
    for (path, (kind, attrs, data, inode)) in &ours {
        let here = theirs.get(path);
        let file_here = here.filter(|here| !is_directory(&here.0));
        if let Some(first) = firsts.get(inode) {
            match here {
                None => find(path, Difference::Missing),
                Some(_) if file_here.is_some_and(|here| Some(here.3) == *first) => {}
                Some(_) => find(path, Difference::OtherKind),
            }
            continue;
        }
        let elsewhere = file_here.is_some_and(|here| !claimed.insert(here.3));
        if !is_directory(kind) {
            firsts.insert(*inode, file_here.filter(|_| !elsewhere).map(|here| here.3));
        }
        let Some((kind_here, attrs_here, data_here, _)) = here else {
            find(path, Difference::Missing);
            continue;
        };
        if kind != kind_here || elsewhere {
            find(path, Difference::OtherKind);
        }
        if kind != kind_here {
            continue;
        }
        if attrs != attrs_here {
            find(path, Difference::Attributes);
        }
        if data != data_here {
            surveyed.ranges.insert(path.to_string(), naive(data, data_here));
        }
    }
    surveyed
}

#[test]
fn random_trees_are_compared_as_by_hand() {
    for seed in seeds(300) {
        let mut random = Random::new(seed);
        let source = SimVolume::new(Disk::new(0));
        let some = |volume: &SimVolume, times: u64, random: &mut Random| {
            // Whatever does not fit what is there fails, as it would for any application.
            (0..times).for_each(|_| drop(change(volume, random)));
        };
        some(&source, 25, &mut random);
        let standby = source.snapshot(Disk::new(0));
        let (here, there) = (random.below(5), random.below(5));
        some(&source, here, &mut random);
        some(&standby, there, &mut random);
        let expected = naive_survey(&source, &standby);
        let found = survey(&source, &standby, Purpose::Verify, Comparison::Checksum);
        assert_eq!((&found.findings, &found.ranges), (&expected.findings, &expected.ranges), "STANDIN_SEED={seed}");
        let orphans = found.findings.iter().filter(|(_, difference)| difference == "Orphan").count() as u64;
        assert_eq!(found.summary.orphans, orphans, "STANDIN_SEED={seed}");
        assert_eq!(found.summary.standby_objects, standby.contents().len() as u64, "STANDIN_SEED={seed}");
    }
}

#[test]
fn a_position_names_its_root() {
    let (source, standby) = twins();
    standby.remove(&Place::Tree(&path("leaf"))).unwrap();
    let roots = [standby.clone(), standby];
    let shared = Survey::new(&roots, How { comparison: Comparison::Difference, owners: true }, Purpose::DryRun);
    let mut join = SurveyJoin::new(&shared);
    let mut missing = Vec::new();
    for root in [RootIndex(0), RootIndex(1)] {
        let entries =
            Entries::new(&source, None, now).filter_map(|met| if let Met::Entry(entry) = met { Some(entry) } else { None });
        let tell = &mut |message| {
            if let FromStandby::Findings(findings) = message {
                missing.extend(findings.into_iter().filter(|found| found.difference == Difference::Missing));
            }
            Ok(())
        };
        join.entries(root, entries.collect(), tell).unwrap();
    }
    let expected = [RootIndex(0), RootIndex(1)].map(|root| Position { root, path: path("leaf") });
    assert_eq!(missing.into_iter().map(|found| found.at).collect::<Vec<_>>(), expected);
    assert!(join.entries(RootIndex(0), vec![], &mut |_| Ok(())).is_err());
}
