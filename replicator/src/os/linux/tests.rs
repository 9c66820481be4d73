//! The real file system, with everything that a tree can hold.

use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

use standin_common::path::RelPath;

use standin_common::message::RootKind;

use super::OsVolume;
use crate::rules::Rules;
use crate::volume::{Directory, ObjectKind, Place, SideId, Volume, VolumeFile};
use crate::walk::Walk;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn target() -> (tempfile::TempDir, OsVolume) {
    let directory = tempfile::tempdir().unwrap();
    let volume =
        OsVolume::open_target(&directory.path().join("root"), &directory.path().join("side"), RootKind::Directory).unwrap();
    (directory, volume)
}

#[test]
fn nothing_leads_out_of_the_root() {
    let (directory, volume) = target();
    let outside = directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("victim"), b"precious").unwrap();
    symlink(&outside, directory.path().join("root/way-out")).unwrap();
    let victim = path("way-out/victim");
    let place = Place::Tree(&victim);
    assert_eq!(volume.object(&place).unwrap(), None);
    assert!(volume.open(&place, true).is_err());
    assert!(volume.create(&Place::Tree(&path("way-out/new"))).is_err());
    assert!(volume.remove(&place).is_err());
    assert!(volume.make_directory(&path("way-out/new")).is_err());
    assert!(volume.rename(&place, &Place::Side(SideId { point: 1, number: 1 })).is_err());
    assert!(volume.set_attrs(&place, &Default::default()).is_err());
    assert!(volume.open_directory(&path("way-out")).is_err());
    assert!(volume.open(&Place::Tree(&path("way-out")), false).is_err());
    assert_eq!(std::fs::read(outside.join("victim")).unwrap(), b"precious");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn what_was_created_can_be_opened() {
    let (_directory, volume) = target();
    volume.make_directory(&path("d")).unwrap();
    let inner = path("d/file");
    for place in [Place::Tree(&inner), Place::Side(SideId { point: 1, number: 1 })] {
        volume.create(&place).unwrap().write_at(b"data", 0).unwrap();
        volume.open(&place, true).unwrap().write_at(b"D", 0).unwrap();
        let mut data = [0; 10];
        assert_eq!(volume.open(&place, false).unwrap().read_at(&mut data, 0).unwrap(), 4);
        assert_eq!(&data[..4], b"Data");
    }
}

#[test]
fn attributes_come_back_as_they_were_set() {
    let (_directory, volume) = target();
    let file_path = path("file");
    let file = volume.create(&Place::Tree(&file_path)).unwrap();
    file.write_at(b"data", 100_000).unwrap();
    let mut attrs = file.object().unwrap().attrs;
    attrs.mode = 0o640;
    attrs.mtime = standin_common::entry::Time { secs: -5, nanos: 123_456_789 };
    attrs.xattrs = vec![(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), vec![0; 300])];
    file.set_attrs(&attrs).unwrap();
    assert_eq!(file.object().unwrap().attrs, attrs);
    let object = volume.object(&Place::Tree(&file_path)).unwrap().unwrap();
    assert_eq!(object.attrs, attrs);
    assert_eq!(object, volume.open_directory(&RelPath::root()).unwrap().object(b"file").unwrap().unwrap());
    attrs.xattrs.remove(0);
    volume.set_attrs(&Place::Tree(&file_path), &attrs).unwrap();
    assert_eq!(file.object().unwrap().attrs, attrs);
    let stretch = file.stretch(0).unwrap();
    assert!(!stretch.hole || stretch.end <= 100_000);
}

#[test]
fn every_kind_is_walked_in_order() {
    let (directory, volume) = target();
    let root = directory.path().join("root");
    let long = "x".repeat(255);
    for name in ["b", "a", "a-b", &long] {
        std::fs::create_dir(root.join(name)).unwrap();
        std::fs::write(root.join(name).join("file"), name).unwrap();
    }
    volume.make_fifo(&Place::Tree(&path("fifo"))).unwrap();
    volume.make_symlink(&Place::Tree(&path("link")), b"/nowhere").unwrap();
    std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let steps: Vec<_> = Walk::new(&volume, None, &Rules::everything()).map(Result::unwrap).collect();
    assert!(steps.is_sorted_by(|a, b| a.path < b.path));
    assert_eq!(steps.len(), 12);
    assert!(std::fs::symlink_metadata(root.join("fifo")).unwrap().file_type().is_fifo());
    let kind = |name: &str| steps.iter().find(|step| step.path == path(name)).unwrap().object.kind.clone();
    assert_eq!(kind("link"), ObjectKind::Symlink(b"/nowhere".to_vec()));
    assert_eq!(kind("socket"), ObjectKind::Special("a socket"));
    for (index, step) in steps.iter().enumerate() {
        let rest: Vec<_> =
            Walk::new(&volume, Some(step.path.clone()), &Rules::everything()).map(|step| step.unwrap().path).collect();
        assert!(rest.iter().eq(steps[index + 1..].iter().map(|step| &step.path)), "after {:?}", step.path);
    }
}

#[test]
fn trees_deeper_than_a_path_may_be_long() {
    let (_directory, volume) = target();
    let mut deep = RelPath::root();
    for _ in 0..40 {
        deep = deep.join(&[b'd'; 200]).unwrap();
        volume.make_directory(&deep).unwrap();
    }
    let file = deep.join(b"file").unwrap();
    volume.create(&Place::Tree(&file)).unwrap().write_at(b"deep", 0).unwrap();
    assert_eq!(volume.object(&Place::Tree(&file)).unwrap().unwrap().size, 4);
    assert_eq!(Walk::new(&volume, None, &Rules::everything()).filter(Result::is_ok).count(), 42);
}

#[test]
fn the_side_area_takes_and_gives() {
    let (directory, volume) = target();
    let (side, file) = (SideId { point: 2, number: 7 }, path("file"));
    volume.create(&Place::Side(side)).unwrap().write_at(b"staged", 0).unwrap();
    assert_eq!(volume.side_objects().unwrap(), [side]);
    volume.rename(&Place::Side(side), &Place::Tree(&file)).unwrap();
    assert_eq!(std::fs::read(directory.path().join("root/file")).unwrap(), b"staged");
    assert!(volume.side_objects().unwrap().is_empty());
    volume.link(&Place::Tree(&file), &Place::Tree(&path("second"))).unwrap();
    assert_eq!(std::fs::metadata(directory.path().join("root/second")).unwrap().nlink(), 2);
    volume.sync().unwrap();
}

#[test]
fn a_root_may_be_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    let volume = OsVolume::open_target(&image, &directory.path().join("side"), RootKind::File).unwrap();
    let root = RelPath::root();
    volume.open(&Place::Tree(&root), true).unwrap().write_at(b"blocks", 0).unwrap();
    assert_eq!(std::fs::read(&image).unwrap(), b"blocks");
    assert_eq!(volume.object(&Place::Tree(&root)).unwrap().unwrap().size, 6);
    assert!(volume.create(&Place::Tree(&path("beneath"))).is_err());
    volume.sync().unwrap();
}
