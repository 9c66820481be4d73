//! Clones of trees that change while they are cloned: exact after a pass during which nothing changed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use standin_common::message::RootKind;
use standin_replicator::os::OsVolume;
use standin_replicator::standby::clone::{Cloner, weight};

struct Ground {
    dir: tempfile::TempDir,
    from: OsVolume,
    to: OsVolume,
}

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let side = dir.path().join("side").join(name);
            OsVolume::open_target(&dir.path().join(name), &side, RootKind::Directory).unwrap()
        };
        let (from, to) = (open("from"), open("to"));
        Self { dir, from, to }
    }

    fn from(&self) -> PathBuf {
        self.dir.path().join("from")
    }

    fn to(&self) -> PathBuf {
        self.dir.path().join("to")
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Everything of a tree that counts, a line each.
fn lines(root: &Path, at: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut names: Vec<PathBuf> = fs::read_dir(root.join(at)).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in names {
        let (facts, name) = (path.symlink_metadata().unwrap(), path.strip_prefix(root).unwrap().to_owned());
        let what = match () {
            () if facts.is_symlink() => format!("-> {}", fs::read_link(&path).unwrap().display()),
            () if facts.is_dir() => String::new(),
            () => format!("{:?}", fs::read(&path).unwrap()),
        };
        let time = (facts.mtime(), facts.mtime_nsec());
        let links = if facts.is_dir() { 0 } else { facts.nlink() };
        found.push(format!("{} {:o} {time:?} {links} {what}", name.display(), facts.mode()));
        if facts.is_dir() {
            found.extend(lines(root, &name));
        }
    }
    found
}

#[track_caller]
fn assert_alike(ground: &Ground) {
    assert_eq!(lines(&ground.from(), Path::new("")), lines(&ground.to(), Path::new("")));
}

/// Waits until a change has another time than the last one.
fn tick(ground: &Ground) {
    let probe = ground.dir.path().join("probe");
    let stamp = || {
        fs::write(&probe, "").unwrap();
        let facts = probe.metadata().unwrap();
        (facts.ctime(), facts.ctime_nsec())
    };
    let first = stamp();
    while stamp() == first {} // poll
}

#[test]
fn each_pass_brings_what_changed_since_the_one_before() {
    let ground = Ground::new();
    let from = ground.from();
    fs::create_dir_all(from.join("a/deep")).unwrap();
    fs::write(from.join("a/one"), "1").unwrap();
    fs::write(from.join("a/deep/two"), "22").unwrap();
    fs::hard_link(from.join("a/one"), from.join("same")).unwrap();
    symlink("nowhere", from.join("link")).unwrap();
    let mut cloner = Cloner::new(&ground.from, &ground.to);
    let first = cloner.bring(now(), &|| false).unwrap();
    assert_eq!((first.files, first.bytes), (2, 3), "a file with two names is copied once");
    assert_alike(&ground);
    assert_eq!(weight(&ground.from).unwrap(), 3);
    // What was there in the clock tick of the first pass is doubted once; after that nothing is to do.
    tick(&ground);
    std::iter::repeat_with(|| cloner.bring(now(), &|| false).unwrap()).take(100).find(|copied| copied.files == 0).unwrap();
    // Same size, same time: only the change time tells.
    let time = from.join("a/deep/two").metadata().unwrap().modified().unwrap();
    fs::write(from.join("a/deep/two"), "33").unwrap();
    fs::File::options().write(true).open(from.join("a/deep/two")).unwrap().set_modified(time).unwrap();
    fs::remove_file(from.join("link")).unwrap();
    fs::create_dir(from.join("link")).unwrap();
    fs::write(from.join("link/now-a-directory"), "x").unwrap();
    let copied = cloner.bring(now(), &|| false).unwrap();
    assert_eq!(copied.files, 2, "{copied:?}");
    assert_alike(&ground);
    fs::remove_file(from.join("same")).unwrap();
    fs::remove_dir_all(from.join("a/deep")).unwrap();
    cloner.bring(now(), &|| false).unwrap();
    assert_alike(&ground);
}

#[test]
fn a_directory_that_takes_the_place_of_another_is_not_taken_for_it() {
    let ground = Ground::new();
    let from = ground.from();
    let time = SystemTime::now();
    for (directory, text) in [("a", "one"), ("b", "two")] {
        fs::create_dir_all(from.join(directory).join("in")).unwrap();
        let file = from.join(directory).join("in/file");
        fs::write(&file, text).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    }
    let mut cloner = Cloner::new(&ground.from, &ground.to);
    cloner.bring(now(), &|| false).unwrap();
    tick(&ground);
    cloner.bring(now(), &|| false).unwrap();
    tick(&ground);
    cloner.bring(now(), &|| false).unwrap();
    // The files' own change times stay.
    fs::rename(from.join("a"), from.join("c")).unwrap();
    fs::rename(from.join("b"), from.join("a")).unwrap();
    fs::rename(from.join("c"), from.join("b")).unwrap();
    cloner.bring(now(), &|| false).unwrap();
    assert_alike(&ground);
    assert_eq!(fs::read_to_string(ground.to().join("a/in/file")).unwrap(), "two");
}

#[test]
fn a_tree_that_changes_all_the_while_is_followed_until_it_rests() {
    let ground = Ground::new();
    let from = ground.from();
    for number in 0..200 {
        fs::create_dir_all(from.join(format!("box-{}", number % 7))).unwrap();
        fs::write(from.join(format!("box-{}/{number}", number % 7)), format!("{number}")).unwrap();
    }
    let mut cloner = Cloner::new(&ground.from, &ground.to);
    std::thread::scope(|scope| {
        let changing = scope.spawn(|| {
            for number in 0..2_000_u32 {
                let of = |number: u32| from.join(format!("box-{}/{}", number % 7, number % 200));
                let _ = fs::write(of(number), format!("{number}"));
                let _ = fs::rename(of(number * 31), of(number * 17 + 1));
            }
        });
        while !changing.is_finished() {
            // What changes its kind or goes while it is copied may fail a pass; the next one begins anew.
            let _ = cloner.bring(now(), &|| false);
        }
    });
    cloner.bring(now(), &|| false).unwrap();
    assert_alike(&ground);
    assert!(cloner.bring(now(), &|| true).is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut));
}

#[test]
fn of_a_root_that_is_one_file_only_what_changed_is_brought() {
    const MIB: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let file = fs::File::create(path("from")).unwrap();
    file.set_len(8 * MIB).unwrap();
    file.write_all_at(&vec![1; MIB as usize], MIB).unwrap();
    file.write_all_at(&[2; 100], 5 * MIB - 50).unwrap();
    let open = |name: &str| OsVolume::open_target(&path(name), &dir.path().join("side").join(name), RootKind::File).unwrap();
    let (from, to) = (open("from"), open("to"));
    let alike = || fs::read(path("from")).unwrap() == fs::read(path("to")).unwrap();
    let mut cloner = Cloner::new(&from, &to);
    let copied = cloner.bring(now(), &|| false).unwrap();
    assert_eq!((copied.files, copied.bytes), (1, 8 * MIB));
    assert!(alike(), "all of it, the first time");
    assert!(path("to").metadata().unwrap().blocks() * 512 < 3 * MIB, "holes are holes");
    assert!(weight(&from).unwrap() < 3 * MIB);
    assert_eq!(path("from").metadata().unwrap().modified().unwrap(), path("to").metadata().unwrap().modified().unwrap());
    // What is known to be the same is not looked at; where data is shared, nothing is.
    file.write_all_at(&[3; 10], 3 * MIB).unwrap();
    file.write_all_at(&[4; 10], 7 * MIB - 5).unwrap();
    cloner.expect(Some(vec![0..MIB, 7 * MIB - 5..7 * MIB + 5]));
    cloner.bring(now(), &|| false).unwrap();
    let there = fs::read(path("to")).unwrap();
    assert_eq!(there[7 * MIB as usize - 5..][..10], [4; 10]);
    assert!(from.shares_into(dir.path()) || there[3 * MIB as usize] == 0);
    cloner.expect(None);
    assert!(cloner.bring(now(), &|| true).is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut) || alike());
    cloner.bring(now(), &|| false).unwrap();
    assert!(alike(), "all of it, if nothing is known");
    // Shorter, then longer than it ever was; and what became zeros takes no room.
    file.set_len(2 * MIB).unwrap();
    file.set_len(9 * MIB).unwrap();
    file.write_all_at(&vec![0; MIB as usize], MIB).unwrap();
    cloner.bring(now(), &|| false).unwrap();
    assert!(alike());
    assert!(path("to").metadata().unwrap().blocks() * 512 < MIB);
    file.set_len(10).unwrap();
    cloner.bring(now(), &|| false).unwrap();
    assert_eq!(path("to").metadata().unwrap().len(), 10);
}
