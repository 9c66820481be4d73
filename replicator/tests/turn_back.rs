//! Applying a journal that stops anywhere, and going back from there: the replica is what it was, whole.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use standin_common::entry::{Attrs, Time};
use standin_common::id::{Generation, MirrorId, PointNumber, RootIndex};
use standin_common::path::RelPath;
use standin_replicator::journal::{Journal, Op, Record};
use standin_replicator::sim::{Disk, Fault, SimStore, SimVolume};
use standin_replicator::standby::apply::{self, Direction, Reading};
use standin_replicator::store::Store;
use standin_replicator::volume::{Place, SideId, Volume, VolumeFile};

const ROOT: RootIndex = RootIndex(0);

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn side(number: u64) -> SideId {
    SideId { point: 2, number }
}

fn attrs(mode: u32) -> Attrs {
    Attrs { mode, mtime: Time { secs: 1_000, nanos: 0 }, ..Attrs::default() }
}

fn file(volume: &SimVolume, at: &Place<'_>, data: &[u8]) {
    volume.create(at).unwrap().write_at(data, 0).unwrap();
    volume.set_attrs(at, &attrs(0o600)).unwrap();
}

/// A replica at a point, what was staged for the next, and the journal that leads there: names are replaced by other names of a file,
/// a directory by one, a file by a directory and by a file, data is written, attributes change.
fn replica(disk: &Disk) -> (SimVolume, SimStore) {
    let volume = SimVolume::new(disk.clone());
    for name in ["a", "linked", "file", "written"] {
        file(&volume, &Place::Tree(&path(name)), name.as_bytes());
    }
    for name in ["directory", "leaving"] {
        volume.make_directory(&path(name)).unwrap();
        volume.set_attrs(&Place::Tree(&path(name)), &attrs(0o700)).unwrap();
    }
    file(&volume, &Place::Side(side(9)), b"staged");
    volume.set_attrs(&Place::Tree(&RelPath::root()), &attrs(0o755)).unwrap();
    volume.sync().unwrap();
    let store = SimStore::new(disk.clone());
    let mut journal = Journal::new(store.open_log("forward").unwrap());
    let (from, to) = (Some(PointNumber(1)), PointNumber(2));
    journal.append(&Record::Begin { mirror: MirrorId(1), generation: Generation(1), from, to }, &[]).unwrap();
    let mut note = |name: &str, op: Op, payload: &[u8]| {
        let root = ROOT;
        journal.append(&Record::Op { file: None, root, path: path(name), op }, payload).unwrap();
    };
    note("directory", Op::RemoveDirectory, &[]);
    note("directory", Op::Link { to: path("a") }, &[]);
    note("file", Op::Park(side(1)), &[]);
    note("file", Op::MakeDirectory, &[]);
    note("leaving", Op::RemoveDirectory, &[]);
    note("leaving", Op::Install(side(9)), &[]);
    note("linked", Op::Park(side(2)), &[]);
    note("linked", Op::Link { to: path("a") }, &[]);
    note("new", Op::Link { to: path("a") }, &[]);
    let write = Op::Write { offset: 2, len: 9, encoding: standin_common::message::Encoding::Plain };
    note("written", Op::Resize { len: 11 }, &[]);
    note("written", write, b"different");
    note("written", Op::Attrs(attrs(0o644)), &[]);
    let op = Op::Attrs(attrs(0o711));
    journal.append(&Record::Op { file: None, root: ROOT, path: RelPath::root(), op }, &[]).unwrap();
    journal.sync().unwrap();
    (volume, store)
}

type SimJournal = Journal<<SimStore as Store>::Log>;

fn log(store: &SimStore, name: &str) -> SimJournal {
    Journal::new(store.open_log(name).unwrap())
}

/// Does the operations until the disk says no.
fn perform(journal: &SimJournal, direction: Direction, volume: &SimVolume) -> bool {
    let reading = Reading::of(journal, direction);
    reading.and_then(|reading| apply::perform(&reading, std::slice::from_ref(volume), false, &mut || Ok(()))).is_ok()
}

#[test]
fn it_is_what_it_was_wherever_it_stopped() {
    let mut stops = 0;
    for (forward, back) in (1..100).flat_map(|forward| (1..100).map(move |back| (forward, back))) {
        let disk = Disk::new(1);
        let (volume, store) = replica(&disk);
        let before = volume.contents();
        let mut inverse = log(&store, "back");
        let journal = log(&store, "forward");
        let reading = Reading::of(&journal, Direction::Forward).unwrap();
        apply::invert(&reading, std::slice::from_ref(&volume), &mut inverse).unwrap();
        disk.plan(Some((forward, Fault::Crash)));
        let there = perform(&journal, Direction::Forward, &volume);
        disk.plan(Some((back, Fault::Crash)));
        let whole = perform(&inverse, Direction::Backward, &volume);
        disk.plan(None);
        assert!(perform(&inverse, Direction::Backward, &volume), "stopped at {forward}, then at {back}");
        assert_eq!(volume.contents(), before, "stopped at {forward}, then at {back}");
        stops += usize::from(!there) + usize::from(!whole);
        if there && whole {
            break;
        }
    }
    assert!(stops > 100, "{stops}");
}
