//! The material that other tests, the demo and the benches are made of is what it says, and the comparison of trees sees everything.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

#[path = "../src/demo/material/mod.rs"]
mod material;

use material::{MAILBOX, Shape, Writer, change, check_mailbox, compare, generate};

const SHAPE: Shape = Shape { size_bytes: 24 * 1024 * 1024, seed: 7 };

fn allocated_and_apparent(path: &Path) -> (u64, u64) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let own = if metadata.is_file() { (metadata.blocks() * 512, metadata.len()) } else { (0, 0) };
    let children = if metadata.is_dir() { fs::read_dir(path).unwrap().collect() } else { Vec::new() };
    children
        .into_iter()
        .map(|child| allocated_and_apparent(&child.unwrap().path()))
        .fold(own, |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[test]
fn the_same_seed_makes_the_same_volume() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (directory.path().join("a"), directory.path().join("b"));
    let contents = generate(&a, &SHAPE).unwrap();
    assert_eq!(generate(&b, &SHAPE).unwrap(), contents);
    // The roots themselves are not part of a volume.
    let now = SystemTime::now();
    for root in [&a, &b] {
        File::open(root).unwrap().set_modified(now).unwrap();
    }
    assert_eq!(compare(&a, &b), Vec::<String>::new());
    let (allocated, apparent) = allocated_and_apparent(&a);
    assert!(allocated.abs_diff(SHAPE.size_bytes) < SHAPE.size_bytes / 5, "{allocated}");
    assert!(apparent > allocated + 60 * 1024 * 1024, "no holes: {apparent} bytes, {allocated} allocated");
}

#[test]
fn changes_are_what_they_count() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (directory.path().join("a"), directory.path().join("b"));
    let contents = generate(&a, &SHAPE).unwrap();
    generate(&b, &SHAPE).unwrap();
    let changes = change(&b, &contents, 1).unwrap();
    let differences = compare(&a, &b);
    let count =
        |word: &str, folder: &str| differences.iter().filter(|line| line.contains(word) && line.contains(folder)).count() as u64;
    assert_eq!(count("only on the second side", "\"queue/"), changes.queue_arrived + contents.queue_files.div_ceil(100));
    assert_eq!(count("missing on the second side", "\"queue/"), changes.queue_gone + contents.queue_files.div_ceil(100));
    assert_eq!(count("missing on the second side", "\"log/"), changes.logs_rotated);
    assert_eq!(count("kind: directory / file", "\"odd/empty\""), 1);
    let state = check_mailbox(&b.join(MAILBOX)).unwrap();
    assert_eq!(state.integrity, "ok");
    assert!(state.messages.abs_diff(contents.messages) <= changes.deleted, "{state:?} {contents:?} {changes:?}");
}

#[test]
fn the_writer_commits_until_told_to_stop() {
    let directory = tempfile::tempdir().unwrap();
    generate(directory.path(), &SHAPE).unwrap();
    let writer = Writer::start(directory.path(), 3, Duration::from_millis(1)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while writer.last_commit() < 20 {
        assert!(Instant::now() < deadline, "only {} commits in a minute", writer.last_commit());
        std::thread::sleep(Duration::from_millis(5)); // poll
    }
    let last = writer.stop().unwrap();
    let state = check_mailbox(&directory.path().join(MAILBOX)).unwrap();
    assert_eq!((state.last_commit, state.integrity.as_str()), (last, "ok"));
}

/// One way to make a tree differ, and what is to be said of it.
type Harm = (&'static str, fn(&Path));

const HARMS: &[Harm] = &[
    ("data differ first at byte 1", |root| {
        let time = fs::metadata(root.join("file")).unwrap().modified().unwrap();
        fs::write(root.join("file"), b"fXle").unwrap();
        File::open(root.join("file")).unwrap().set_modified(time).unwrap();
    }),
    ("size: 4 / 5", |root| fs::write(root.join("file"), b"files").unwrap()),
    ("time", |root| File::open(root.join("file")).unwrap().set_modified(SystemTime::UNIX_EPOCH + Duration::new(9, 1)).unwrap()),
    ("mode: 644 / 600", |root| fs::set_permissions(root.join("file"), fs::Permissions::from_mode(0o600)).unwrap()),
    ("missing on the second side", |root| fs::remove_file(root.join("file")).unwrap()),
    ("only on the second side", |root| fs::write(root.join("more"), b"").unwrap()),
    ("kind: file / directory", |root| {
        fs::remove_file(root.join("file")).unwrap();
        fs::create_dir(root.join("file")).unwrap();
    }),
    ("target: \"file\" / \"other\"", |root| {
        fs::remove_file(root.join("link")).unwrap();
        symlink("other", root.join("link")).unwrap();
    }),
    ("the same file as", |root| {
        fs::remove_file(root.join("name 2")).unwrap();
        fs::write(root.join("name 2"), b"same").unwrap();
    }),
    ("extended attributes", |root| {
        rustix::fs::lsetxattr(root.join("file"), "user.test", b"", rustix::fs::XattrFlags::empty()).unwrap();
    }),
];

#[test]
fn the_comparison_sees_every_harm() {
    for (expected, harm) in HARMS {
        let directory = tempfile::tempdir().unwrap();
        let roots = ["a", "b"].map(|name| directory.path().join(name));
        for root in &roots {
            fs::create_dir(root).unwrap();
            fs::write(root.join("file"), b"file").unwrap();
            fs::write(root.join("name 1"), b"same").unwrap();
            fs::hard_link(root.join("name 1"), root.join("name 2")).unwrap();
            symlink("file", root.join("link")).unwrap();
        }
        harm(&roots[1]);
        let differences = compare(&roots[0], &roots[1]);
        assert!(differences.iter().any(|line| line.contains(expected)), "{expected}: {differences:#?}");
    }
}
