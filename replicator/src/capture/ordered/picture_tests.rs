//! A picture shows what was, whatever is done to the files meanwhile.

use std::thread;

use standin_common::scope::{Depth, Scope};

use super::*;
use crate::sim::{Disk, Random, SimVolume};
use crate::volume::VolumeFile;

const SIZE: usize = 1 << 20;
const ROOT: RootIndex = RootIndex(0);

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn everything() -> BTreeMap<RootIndex, Scopes> {
    let at = Position { root: ROOT, path: RelPath::root() };
    Scopes::by_root([Scope { at, depth: Depth::Subtree }]).unwrap()
}

fn album(volume: &SimVolume, room: u64, patience: Duration) -> Album<SimVolume> {
    Album::take(std::slice::from_ref(volume), &[Rules::everything()], &everything(), (100, room, patience)).unwrap()
}

fn filled() -> (SimVolume, Vec<u8>) {
    let volume = SimVolume::new(Disk::new(7));
    let mut random = Random::new(3);
    let data: Vec<u8> = (0..SIZE).map(|_| random.below(256) as u8).collect();
    volume.make_directory(&path("d")).unwrap();
    let file = volume.create(&Place::Tree(&path("d/f"))).unwrap();
    file.write_at(&data, 0).unwrap();
    volume.create(&Place::Tree(&path("gone"))).unwrap();
    (volume, data)
}

fn read(picture: &impl Volume, name: &str) -> Vec<u8> {
    let file = picture.open(&Place::Tree(&path(name)), false).unwrap();
    let mut data = vec![0; file.object().unwrap().size as usize + 10];
    let len = file.read_at(&mut data, 0).unwrap();
    data.truncate(len);
    data
}

#[test]
fn it_shows_what_was() {
    let (volume, data) = filled();
    let album = album(&volume, 64 << 20, Duration::ZERO);
    let picture = &album.pictures[0];
    let file = volume.open(&Place::Tree(&path("d/f")), true).unwrap();
    let inode = file.object().unwrap().stamp.inode;
    let mut random = Random::new(11);
    for round in 0..60 {
        let start = random.below(SIZE as u64 + 1000);
        let new = vec![round; 1 + random.below(100_000) as usize];
        if round % 10 == 9 {
            album.keep(ROOT, inode, start, u64::MAX);
            file.set_len(start).unwrap();
        } else {
            album.keep(ROOT, inode, start, start + new.len() as u64);
            file.write_at(&new, start).unwrap();
        }
        assert!(read(picture, "d/f") == data, "after change {round}");
    }
    volume.remove(&Place::Tree(&path("gone"))).unwrap();
    volume.rename(&Place::Tree(&path("d/f")), &Place::Tree(&path("moved"))).unwrap();
    assert!(read(picture, "d/f") == data && album.is_whole());
    assert_eq!(read(picture, "gone"), b"");
    assert!(picture.object(&Place::Tree(&path("moved"))).unwrap().is_none());
    let rules = Rules::everything();
    let steps = Walk::new(picture, None, &rules).map(|step| step.unwrap().path.to_string());
    assert_eq!(steps.collect::<Vec<_>>(), [".", "d", "d/f", "gone"]);
    assert!(album.kept_bytes() >= SIZE as u64 / 2);
}

#[test]
fn who_reads_while_others_write_reads_what_was() {
    let (volume, data) = filled();
    let album = album(&volume, 64 << 20, Duration::ZERO);
    let file = volume.open(&Place::Tree(&path("d/f")), true).unwrap();
    let inode = file.object().unwrap().stamp.inode;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(5);
            for round in 0..500 {
                let (start, new) = (random.below(SIZE as u64), [round as u8; 4096]);
                album.keep(ROOT, inode, start, start + 4096);
                file.write_at(&new, start).unwrap();
            }
        });
        for _ in 0..50 {
            assert!(read(&album.pictures[0], "d/f") == data);
        }
    });
}

#[test]
fn without_room_it_is_spoilt_and_says_so() {
    let (volume, _) = filled();
    let album = album(&volume, 100_000, Duration::from_millis(5));
    let inode = volume.object(&Place::Tree(&path("d/f"))).unwrap().unwrap().stamp.inode;
    album.keep(ROOT, inode, 0, 1);
    assert!(album.is_whole());
    album.keep(ROOT, inode, 500_000, 500_001);
    assert!(!album.is_whole());
}

#[test]
fn nobody_waits_for_room_in_a_picture_that_nobody_reads() {
    let (volume, _) = filled();
    let album = album(&volume, 1, Duration::from_secs(3600));
    let inode = volume.object(&Place::Tree(&path("d/f"))).unwrap().unwrap().stamp.inode;
    thread::scope(|scope| {
        scope.spawn(|| album.keep(ROOT, inode, 0, 1));
        album.over();
    });
    assert!(album.is_whole());
}

#[test]
fn more_than_may_be_looked_at_is_refused() {
    let (volume, _) = filled();
    let taken = Album::take(&[volume], &[Rules::everything()], &everything(), (3, 1 << 20, Duration::ZERO));
    assert!(matches!(taken, Err(NoPicture::TooMany)));
}
