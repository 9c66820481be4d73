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
    Comparison, Difference, Differing, Encoding, FileEnd, FromStandby, JoinSummary, LaneDown, LaneUp, Position, Purpose,
    RootKind, Want,
};
use standin_common::path::RelPath;
use standin_common::tree::{GROUP_LEN, Root};
use standin_replicator::mirror::How;
use standin_replicator::rules::Rules;
use standin_replicator::sim::{Disk, Fault, Random, SimVolume};
use standin_replicator::source::entries::{Entries, Met};
use standin_replicator::source::lane::{Found, Lane, LaneError, Sink};
use standin_replicator::standby::compare::CompareLane;
use standin_replicator::standby::receive::ReceiveError;
use standin_replicator::standby::survey::{Survey, SurveyJoin};
use standin_replicator::volume::{ObjectKind, Place, Stamp, Volume, VolumeFile};
use std::sync::LazyLock;

mod differences;
mod protocol;
mod random;

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

/// No rules, for any root.
static KINDS: [RootKind; 20] = [RootKind::Directory; 20];
static RULES: LazyLock<Vec<Rules>> = LazyLock::new(|| vec![Rules::everything(); 20]);

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
    let shared = Survey::new(&standbys, &RULES, &KINDS, How { comparison, owners: true }, purpose);
    let mut join = SurveyJoin::new(&shared);
    let (mut from, mut to) = (Lane::comparing(&sources), CompareLane::new(&shared));
    let mut surveyed = Surveyed::default();
    let mut told = Vec::new();
    let mut entries = Entries::new(source, None, &RULES[0], now).peekable();
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

fn findings(surveyed: &Surveyed) -> Vec<(&str, &str)> {
    surveyed.findings.iter().map(|(path, difference)| (&path[..], &difference[..])).collect()
}
