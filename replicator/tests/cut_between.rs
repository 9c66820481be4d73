//! What the source makes of a directory while a mirror is cut off: what the journal already says of it is taken for what it is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use standin_common::entry::{Entry, Time};
use standin_common::id::{Generation, MirrorId, PointNumber, RootIndex};
use standin_common::message::{Comparison, FromStandby, MirrorOpening, OrphanLimit, OrphanPolicy, Purpose, RootKind, Want};
use standin_common::path::RelPath;
use standin_common::scope::{Depth, Reason};
use standin_replicator::mirror::How;
use standin_replicator::rules::Rules;
use standin_replicator::scopes::Scopes;
use standin_replicator::sim::{Disk, Fault, SimStore, SimVolume};
use standin_replicator::source::entries::{Entries, Met};
use standin_replicator::source::lane::{self, LaneError, Packing, Sink};
use standin_replicator::standby::join::Join;
use standin_replicator::standby::lane::Lane;
use standin_replicator::standby::receive::{ReceiveError, Reception};
use standin_replicator::standby::replica::Replica;
use standin_replicator::volume::{Place, Volume, VolumeFile};

type SimReplica = Replica<SimVolume, SimStore>;

/// Objects of the source: a path that ends with a slash is a directory, one with an @ a symbolic link; `b=a` is another name of `a`, `b:data`
/// a file with this data.
type Tree<'t> = &'t [&'t str];

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn remove_all(volume: &SimVolume) {
    for object in volume.objects().into_iter().rev().filter(|object| !object.path.is_root()) {
        let place = Place::Tree(&object.path);
        volume.remove(&place).or_else(|_| volume.remove_directory(&object.path)).unwrap();
    }
}

/// Makes the source hold this and nothing else; the data of a file is `data` and its name.
fn make(volume: &SimVolume, tree: Tree<'_>, data: &str) {
    remove_all(volume);
    for name in tree {
        if let Some((name, other)) = name.split_once('=') {
            volume.link(&Place::Tree(&path(other)), &Place::Tree(&path(name))).unwrap();
            continue;
        }
        if let Some((name, data)) = name.split_once(':') {
            volume.create(&Place::Tree(&path(name))).unwrap().write_at(data.as_bytes(), 0).unwrap();
            continue;
        }
        match (name.strip_suffix('/'), name.strip_suffix('@')) {
            (Some(directory), _) => volume.make_directory(&path(directory)).unwrap(),
            (_, Some(link)) => volume.make_symlink(&Place::Tree(&path(link)), data.as_bytes()).unwrap(),
            _ => volume.create(&Place::Tree(&path(name))).unwrap().write_at(format!("{data} {name}").as_bytes(), 0).unwrap(),
        }
    }
}

#[derive(Default)]
struct Wire(Vec<(standin_common::message::LaneDown, Vec<u8>)>);

impl Sink for Wire {
    fn send(&mut self, message: &standin_common::message::LaneDown, payload: &[u8]) -> Result<(), LaneError> {
        self.0.push((message.clone(), payload.to_vec()));
        Ok(())
    }
}

/// Sends a file as the source does, to its proof.
fn send(source: &SimVolume, lane: &mut Lane<'_, '_, SimVolume, SimStore>, want: Want) {
    let volumes = std::slice::from_ref(source);
    let (mut sending, mut wire) = (lane::Lane::new(volumes, Packing { level: None }), Wire::default());
    sending.start(want, &mut wire).unwrap();
    while sending.under_way() > 0 {
        for (message, payload) in std::mem::take(&mut wire.0) {
            if let Some(answer) = lane.take(message, &payload).unwrap() {
                sending.answer(answer, &mut wire).unwrap();
            }
        }
        sending.scan(&mut wire).unwrap();
    }
}

/// The places of the only root.
type Places = BTreeMap<RootIndex, Scopes>;

fn opening(mirror: u64, limit: OrphanLimit, base: Option<Vec<MirrorId>>) -> MirrorOpening {
    MirrorOpening {
        set: "mail".parse().unwrap(),
        generation: Generation(1),
        mirror: MirrorId(mirror),
        definition: [0; 32],
        roots: vec![RootKind::Directory],
        purpose: Purpose::Mirror,
        comparison: Comparison::Checksum,
        orphans: OrphanPolicy::Remove,
        orphan_limit: limit,
        base,
    }
}

/// One pass of a mirror, to its point, which is not applied yet. If it is cut, of the files that were asked for only those come that are
/// named, and there is no point.
fn try_pass(
    replica: &SimReplica,
    source: &SimVolume,
    opening: MirrorOpening,
    places: Option<&Places>,
    cut: Option<Tree<'_>>,
) -> Result<(), ReceiveError> {
    let reception = Reception::begin(replica, opening, u64::MAX)?;
    let rules = [Rules::everything()];
    let mut join = Join::new(&reception, How { comparison: Comparison::Checksum, owners: true }, &rules).within(places);
    let after = reception.after().map(|after| after.path.clone());
    let entries = Entries::new(source, after, &rules[0], || UNIX_EPOCH + Duration::from_secs(1 << 40));
    let entries = entries.within(places.and_then(|places| places.get(&RootIndex(0))));
    let entries: Vec<Entry> = entries.filter_map(|met| if let Met::Entry(entry) = met { Some(entry) } else { None }).collect();
    let count = entries.len() as u64;
    let mut said = join.entries(RootIndex(0), entries)?;
    said.extend(join.end()?);
    let wants = said.into_iter().flat_map(|said| if let FromStandby::Wants(wants) = said { wants } else { Vec::new() });
    let mut lane = Lane::new(&reception);
    let comes = |want: &Want| cut.is_none_or(|names| names.iter().any(|name| want.at.path == path(name)));
    wants.filter(comes).for_each(|want| send(source, &mut lane, want));
    if cut.is_some() {
        reception.mark().map(drop)
    } else {
        reception.commit(Time::default(), false, count, 0, Reason::Mirror).map(drop)
    }
}

/// A pass that begins anew if it has to.
fn pass(replica: &SimReplica, source: &SimVolume, mirror: u64, limit: OrphanLimit, cut: Option<Tree<'_>>) {
    let passed = match try_pass(replica, source, opening(mirror, limit, None), None, cut) {
        Err(ReceiveError::Anew) => try_pass(replica, source, opening(mirror, limit, None), None, cut),
        passed => passed,
    };
    passed.unwrap();
}

/// A round over these places, which builds upon the mirror before it; `cut` is as with a pass.
fn round(replica: &SimReplica, source: &SimVolume, mirror: u64, places: &[(&str, Depth)], cut: Option<Tree<'_>>) {
    let mut scopes = Scopes::default();
    places.iter().for_each(|(place, depth)| scopes.push(path(place), *depth).unwrap());
    let places = Places::from([(RootIndex(0), scopes)]);
    try_pass(replica, source, opening(mirror, MANY, Some(vec![MirrorId(mirror - 1)])), Some(&places), cut).unwrap();
}

/// Names in a volume, and the data of files.
type Found = Vec<(String, Vec<u8>)>;

fn found(volume: &SimVolume) -> Found {
    volume.objects().into_iter().map(|object| (object.path.to_string(), object.data.to_vec())).collect()
}

/// What a set has on the source, one after the other: when a mirror of it is made, when the next is cut off, of which only these files have
/// come, and when that goes on.
struct Story<'t> {
    first: Tree<'t>,
    second: Tree<'t>,
    came: Tree<'t>,
    third: Tree<'t>,
}

impl Story<'_> {
    /// Plays it. That its last point is applied fails at the operation of this number, and is done again. Returns whether it did fail, and
    /// what the standby has then.
    fn play(&self, limit: OrphanLimit, fails: u64) -> (bool, Found) {
        let disk = Disk::new(1);
        let (source, target) = (SimVolume::new(Disk::new(0)), SimVolume::new(disk.clone()));
        let replica = Replica::load(vec![target.clone()], SimStore::new(disk.clone()), 3).unwrap();
        make(&source, self.first, "first");
        pass(&replica, &source, 1, limit, None);
        replica.settle().unwrap();
        let before = found(&target);
        make(&source, self.second, "second");
        pass(&replica, &source, 2, limit, Some(self.came));
        make(&source, self.third, "third");
        pass(&replica, &source, 2, limit, None);
        disk.plan(Some((fails, Fault::Error)));
        let failed = replica.settle().is_err();
        disk.plan(None);
        replica.settle().unwrap();
        pass(&replica, &source, 3, limit, None);
        replica.settle().unwrap();
        let there = found(&target);
        if limit == MANY {
            assert_eq!(there, found(&source));
        }
        replica.promote(Some(PointNumber(1))).unwrap();
        assert_eq!(found(&target), before);
        (failed, there)
    }

    fn play_with_failures(&self, limit: OrphanLimit) -> Found {
        let mut played = (1..).map(|fails| self.play(limit, fails));
        played.find(|(failed, _)| !failed).unwrap().1
    }
}

const MANY: OrphanLimit = OrphanLimit::Percent(100);
const NONE: OrphanLimit = OrphanLimit::Count(0);

#[test]
fn an_object_that_was_received_into_before_a_cut_is_kept_by_no_other_name() {
    let disk = Disk::new(1);
    let (source, target) = (SimVolume::new(Disk::new(0)), SimVolume::new(disk.clone()));
    let replica = Replica::load(vec![target.clone()], SimStore::new(disk), 3).unwrap();
    make(&source, &["a", "b=a"], "first");
    pass(&replica, &source, 1, MANY, None);
    replica.settle().unwrap();
    // One name has other data from now on, and goes on with the object; the other name keeps the data.
    make(&source, &["0", "a", "b:first a", "c=a", "d=b"], "second");
    pass(&replica, &source, 2, MANY, Some(&["a"]));
    pass(&replica, &source, 2, MANY, None);
    replica.settle().unwrap();
    assert_eq!(found(&target), found(&source));
}

#[test]
fn a_directory_is_something_else_when_a_round_comes_to_it() {
    let first = &["a", "d/", "d/1", "d/e/", "d/e/2", "d/e/3@", "f"][..];
    for (places, third) in [
        (&[("d", Depth::Object)][..], &["a", "d", "f"][..]),
        (&[("d", Depth::Object)], &["a", "d@", "f"]),
        (&[("d", Depth::Object), ("d/e/2", Depth::Object), ("f", Depth::Object)], &["a", "d", "f"]),
        (&[("d/e", Depth::Subtree)], &["a", "d", "f"]),
        (&[("d", Depth::Object), ("d/e", Depth::Object)], &["a", "d/", "d/1", "d/e", "f"]),
    ] {
        for cut in [None, Some(&[][..]), Some(&["d", "f"])] {
            println!("{places:?}, {third:?}, cut {cut:?}");
            let disk = Disk::new(1);
            let (source, target) = (SimVolume::new(Disk::new(0)), SimVolume::new(disk.clone()));
            let replica = Replica::load(vec![target.clone()], SimStore::new(disk), 3).unwrap();
            make(&source, first, "first");
            pass(&replica, &source, 1, MANY, None);
            replica.settle().unwrap();
            let before = found(&target);
            // It was a directory yet when it was said where to look.
            make(&source, third, "first");
            if cut.is_some() {
                round(&replica, &source, 2, places, cut);
            }
            round(&replica, &source, 2, places, None);
            replica.settle().unwrap();
            assert_eq!(found(&target), found(&source));
            replica.promote(Some(PointNumber(1))).unwrap();
            assert_eq!(found(&target), before);
        }
    }
}

#[test]
fn orphans_stay_and_a_file_comes_where_their_directory_was() {
    let first = &["a", "d/", "d/1", "d/e/", "d/e/2", "f"][..];
    let story = Story { first, second: &["a"], came: &[], third: &["a", "d"] };
    let there = story.play_with_failures(NONE);
    assert!(there.contains(&("d".to_owned(), b"third d".to_vec())), "{there:?}");
    assert!(there.contains(&("f".to_owned(), b"first f".to_vec())), "{there:?}");
    story.play_with_failures(MANY);
}

#[test]
fn a_directory_that_was_taken_out_is_there_again() {
    for (first, third) in [
        (&["a", "d/", "d/1"][..], &["a", "d/", "d/1", "d/2"][..]),
        (&["a", "d/"], &["a", "d/"]),
        (&["a", "d/", "d/e/", "d/e/1"], &["a", "d/", "d/e/", "d/e/2"]),
    ] {
        Story { first, second: &["a"], came: &[], third }.play_with_failures(MANY);
    }
}

#[test]
fn a_directory_and_something_else_take_turns() {
    let (file, link, directory) = (&["a", "d"][..], &["a", "d@"][..], &["a", "d/", "d/1", "d/2@"][..]);
    let nothing = &["a"][..];
    let all = [file, link, directory, nothing];
    for (first, second, third) in
        all.iter().flat_map(|first| all.iter().flat_map(move |second| all.map(|third| (first, second, third))))
    {
        for came in [&[][..], &["d", "d/1"]] {
            println!("{first:?}, then {second:?} of which {came:?} came, then {third:?}");
            for limit in [MANY, NONE] {
                Story { first, second, came, third }.play_with_failures(limit);
            }
        }
    }
}

#[test]
fn what_came_into_a_directory_that_is_one_no_more() {
    let (first, second) = (&["a", "d/", "d/1"][..], &["a", "d/", "d/1", "d/2", "d/3@", "d/e/", "d/e/1"][..]);
    for third in [&["a", "d"][..], &["a", "d@"], &["a"], &["a", "d/"], &["a", "d/", "d/e"]] {
        println!("then {third:?}");
        let story = Story { first, second, came: &["d/1", "d/2", "d/e/1"], third };
        story.play_with_failures(MANY);
        story.play_with_failures(NONE);
    }
}
