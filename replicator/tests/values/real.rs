//! With a real file system, its clock and its stamps.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use standin_replicator::os::OsVolume;
use standin_replicator::store::DirectoryStore;

use super::*;

type OsReplica = Replica<OsVolume, DirectoryStore>;

struct Real(tempfile::TempDir);

impl Real {
    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self) -> OsReplica {
        let volume = OsVolume::open_target(&self.at("target"), &self.at("side"), RootKind::Directory).unwrap();
        let store = DirectoryStore::open(&self.at("state")).unwrap();
        Replica::open(vec![volume], store, 2).unwrap().keeping_values_from(1)
    }

    fn write(&self, name: &str, offset: u64) -> File {
        let file = OpenOptions::new().write(true).open(self.at(name)).unwrap();
        file.write_all_at(b"changed", offset).unwrap();
        file
    }

    /// One pass; returns how many groups differed, and how many files had to be compared once more.
    fn pass(&self, replica: &OsReplica, mirror: u64) -> (usize, usize) {
        let source = [OsVolume::open_source(&self.at("source")).unwrap()];
        let rules = [Rules::everything()];
        let reception = Reception::begin(replica, opening(MirrorId(mirror), Comparison::Difference, None), u64::MAX).unwrap();
        let mut join = Join::new(&reception, How { comparison: Comparison::Difference, owners: false }, &rules);
        let (mut wants, mut entries) = (Vec::new(), Vec::new());
        for met in Entries::new(&source[0], None, &rules[0], now) {
            entries.extend(if let Met::Entry(entry) = met { Some(entry) } else { None });
        }
        take(join.entries(RootIndex(0), entries).unwrap(), &mut wants);
        take(join.end().unwrap(), &mut wants);
        let (mut from, mut to) = (Lane::new(&source, Packing { level: None }), standby::Lane::new(&reception));
        let (mut differing, mut again) = (0, 0);
        let driven = drive(&mut from, wants, |message, payload| {
            let answer = to.take(message, payload)?;
            match &answer {
                Some(LaneUp::Compared { differing: groups, .. }) => differing += groups.len(),
                Some(LaneUp::Again { .. }) => again += 1,
                _ => {}
            }
            Ok(answer)
        });
        driven.unwrap();
        reception.commit(Time::default(), true, 0, 0, Reason::Mirror).unwrap();
        replica.settle().unwrap();
        assert!(fs::read(self.at("target/large")).unwrap() == fs::read(self.at("source/large")).unwrap(), "mirror {mirror}");
        (differing, again)
    }
}

#[test]
fn on_a_real_file_system_too() {
    let real = Real(tempfile::tempdir().unwrap());
    ["source", "target", "side", "state"].iter().for_each(|name| fs::create_dir(real.at(name)).unwrap());
    fs::write(real.at("source/large"), Random::new(11).bytes(LARGE as usize)).unwrap();
    let replica = real.open();
    real.pass(&replica, 1);
    replica.rest();

    let replica = real.open();
    real.write("source/large", 5 * GROUP);
    assert_eq!(real.pass(&replica, 2), (1, 0));
    assert_eq!(fs::read_dir(real.at("state/values")).unwrap().count(), 1, "one list, and no seal while it is used");
    replica.rest();
    assert!(real.at("state/values/sealed").exists());

    // Written by somebody else, who even sets the time back: the change time tells.
    let replica = real.open();
    let before = fs::metadata(real.at("target/large")).unwrap().modified().unwrap();
    real.write("target/large", 9 * GROUP).set_modified(before).unwrap();
    real.write("source/large", 5 * GROUP + 100);
    assert_eq!(real.pass(&replica, 3), (2, 0));
    replica.rest();

    // A value that is not the file's is noticed where it is used, and only there.
    let lists = fs::read_dir(real.at("state/values")).unwrap().map(|entry| entry.unwrap().path());
    let list = lists.into_iter().find(|path| path.extension().is_some_and(|end| end == "values")).unwrap();
    OpenOptions::new().write(true).open(list).unwrap().write_all_at(&[0; 32], 3 * 32).unwrap();
    real.write("source/large", 5 * GROUP + 200);
    assert_eq!(real.pass(&real.open(), 4), (1, 1));
}
