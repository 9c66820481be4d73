//! Disks that run full in the middle of a mirror: it is held and says what to do, the point stays, and with room it goes on.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use serde_json::{Value, json};

mod support;

use support::{Mount, PATIENCE, Pair, assert_same, copy_standby, copy_tree, is_root, shell, wait_until};

/// A file of 12 MB that is written anew without changing its name or length is received in the journal.
/// Changes 14 of each 16 pages of a file of 12 MB: 10.5 MB, and yet not another file.
const CHANGE: &str =
    "for i in {0..182}; do dd if=/dev/urandom of=large bs=4096 count=14 seek=$((16 * i)) conv=notrunc status=none; done";

/// The mirror runs into a full disk, and says all that an operator needs.
#[track_caller]
fn assert_runs_full(pair: &Pair, which: &str, place: &str) {
    let failed = pair.try_mirror(&[]).expect(3);
    let status = Pair::status_of(&pair.alpha);
    assert_eq!(status["state"], "held", "{status}");
    let trouble = status["trouble"].as_str().unwrap().to_owned();
    println!("{trouble}");
    let there = Pair::status_of(&pair.beta)["trouble"].as_str().unwrap_or_default().to_owned();
    let full = format!("the file system of {which} is full: make room there");
    for text in [&failed.stderr, &trouble, &there] {
        assert!(text.contains("No space left on device") && text.contains(&full) && text.contains(place), "{text:?}");
    }
    let told = pair.alpha.json(&["status", "mail", "--explain"])["sets"][0]["explained"]["action"].clone();
    for text in [&failed.stderr, told.as_str().unwrap()] {
        assert!(text.contains("then `standin mirror resume mail` lets it go on where it was"), "{text:?}");
    }
}

/// A copy of the standby becomes this tree.
#[track_caller]
fn assert_promotable(pair: &Pair, number: u64, state: &Path) {
    let base = tempfile::tempdir().unwrap();
    let (mut copy, replica) = copy_standby(&pair.beta, &pair.target, base.path());
    copy.start();
    let promoted = copy.json(&["promote", "mail"]);
    assert_eq!(promoted["point"]["number"], json!(number), "{promoted}");
    copy.stop();
    assert_same(state, &replica);
}

/// With room, the mirror goes on to its end.
#[track_caller]
fn assert_goes_on(pair: &mut Pair) {
    pair.alpha.run(&["mirror", "resume", "mail"]).expect(0);
    wait_until("it ends", PATIENCE, || {
        let status = Pair::status_of(&pair.alpha);
        assert_ne!(status["state"], "held", "{status}");
        status["state"] == "idle"
    });
    for node in [&pair.alpha, &pair.beta] {
        wait_until("nothing is wrong", PATIENCE, || Pair::status_of(node)["trouble"] == Value::Null);
    }
    // What it keeps in the target is gone when it ends.
    pair.beta.stop();
    pair.assert_equal();
}

#[test]
fn a_target_that_runs_full_keeps_its_point_and_goes_on() {
    if !is_root("a target that runs full") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (source, target, state) = (dir.path().join("source"), dir.path().join("mounted"), dir.path().join("state"));
    std::fs::create_dir(&source).unwrap();
    let mount = Mount::tmpfs(&target, "20m");
    let mut pair = Pair::at(dir, source, target, "history_points = 0");
    shell(&pair.source, "for i in {1..8}; do head -c 1000000 /dev/urandom > $i; done; ln 1 linked; mkdir d");
    pair.mirror(&[]);
    copy_tree(&pair.source, &state);
    shell(&pair.source, "rm 2; mv 3 d; echo other > 4; for i in {10..30}; do head -c 1000000 /dev/urandom > d/$i; done");
    assert_runs_full(&pair, "the target", "d/");
    assert_promotable(&pair, 1, &state);
    // Without room, it is the same once more.
    pair.alpha.run(&["mirror", "resume", "mail"]).expect(0);
    wait_until("it is held again", PATIENCE, || Pair::status_of(&pair.alpha)["state"] == "held");
    mount.resize("64m");
    assert_goes_on(&mut pair);
}

#[test]
fn a_set_that_is_followed_says_what_hinders_it_and_goes_on_by_itself() {
    if !is_root("a target that runs full") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("mounted"));
    std::fs::create_dir(&source).unwrap();
    let mount = Mount::tmpfs(&target, "20m");
    let pair = Pair::at(dir, source, target, "capture = \"watch\"\nhistory_points = 0\nacknowledge = \"durable\"");
    shell(&pair.source, "echo 1 > small");
    pair.mirror(&[]);
    pair.alpha.run(&["wait", "mail", "--synced", "--timeout", "60s"]).expect(0);
    shell(&pair.source, "head -c 30000000 /dev/urandom > large");
    wait_until("it is hindered", PATIENCE, || Pair::status_of(&pair.alpha)["state"] == "hindered");
    let status = pair.alpha.json(&["status", "mail", "--explain"])["sets"][0].clone();
    let told = &status["explained"];
    assert!(told["cause"].as_str().unwrap().contains("is full: make room there"), "{status}");
    assert!(told["action"].as_str().unwrap().starts_with("See to that"), "{status}");
    // What a failed round took waits like all else.
    assert!(status["lag"]["changes"].as_u64() > Some(0) && status["lag"]["bytes"].as_u64() >= Some(30_000_000), "{status}");
    assert_eq!(status["acknowledge"]["met"]["yes"], json!(false), "{status}");
    let late = pair.alpha.run(&["wait", "mail", "--synced", "--timeout", "300ms"]).expect(6);
    assert!(late.stderr.contains("is full: make room there"), "{late:?}");
    mount.resize("64m");
    pair.alpha.run(&["wait", "mail", "--synced", "--timeout", "60s"]).expect(0);
    wait_until("it follows", PATIENCE, || Pair::status_of(&pair.alpha)["state"] == "following");
    assert_eq!(Pair::status_of(&pair.alpha)["trouble"], Value::Null);
    assert!(std::fs::read(pair.source.join("large")).unwrap() == std::fs::read(pair.target.join("large")).unwrap());
}

/// The standby's state directory on a small file system, with a point, and then a file that is changed.
fn with_small_state(size: &str) -> (Pair, Mount) {
    let dir = tempfile::tempdir().unwrap();
    let mount = Mount::tmpfs(&dir.path().join("beta/state"), size);
    let source = dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let pair = Pair::of(dir, source, "");
    shell(&pair.source, "head -c 12000000 /dev/urandom > large");
    pair.mirror(&[]);
    copy_tree(&pair.source, &pair.dir.path().join("before"));
    shell(&pair.source, CHANGE);
    (pair, mount)
}

#[test]
fn a_state_directory_that_runs_full_keeps_the_point_and_goes_on() {
    if !is_root("a state directory that runs full") {
        return;
    }
    let (mut pair, mount) = with_small_state("8m");
    assert_runs_full(&pair, "the state directory", "sets/mail/replica/incoming");
    assert_promotable(&pair, 1, &pair.dir.path().join("before"));
    mount.resize("64m");
    assert_goes_on(&mut pair);
}

#[test]
fn a_standby_with_a_full_state_directory_can_be_promoted() {
    if !is_root("a full state directory") {
        return;
    }
    let (mut pair, _mount) = with_small_state("8m");
    assert_runs_full(&pair, "the state directory", "sets/mail/replica/incoming");
    pair.promote();
    pair.beta.stop();
    assert_same(&pair.dir.path().join("before"), &pair.target);
}

/// There is room for what is received, but not for the way back that is written before it is applied.
#[test]
fn a_point_that_cannot_be_applied_is_kept_and_said() {
    if !is_root("a state directory that runs full") {
        return;
    }
    let (mut pair, mount) = with_small_state("19m");
    assert_runs_full(&pair, "the state directory", "sets/mail/replica/2.back");
    assert_promotable(&pair, 2, &pair.source);
    assert_eq!(Pair::status_of(&pair.beta)["state"], "applying");
    // Also after a restart.
    pair.beta.kill();
    pair.beta.start();
    let status = Pair::status_of(&pair.beta);
    assert_eq!((&status["state"], &status["point"]["number"]), (&json!("applying"), &json!(2)), "{status}");
    assert!(status["trouble"].as_str().is_some_and(|why| why.contains("is full: make room there")), "{status}");
    mount.resize("64m");
    assert_goes_on(&mut pair);
}
