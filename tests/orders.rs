//! What an operator orders and is told: pause, stop, limits, points, promotion, and what is refused because it would not be safe.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

mod support;

use support::{Mount, Node, PATIENCE, Pair, is_root, shell, wait_for, wait_until};

/// A source of 24 MB that does not compress.
fn filled(more: &str) -> Pair {
    let pair = Pair::new(more);
    shell(&pair.source, "for i in {1..24}; do head -c 1000000 /dev/urandom > $i; done");
    pair
}

fn state(node: &Node) -> Value {
    Pair::status_of(node)["state"].clone()
}

/// Starts a slow mirror and waits until some of it was sent.
fn begin_slowly(pair: &Pair) {
    pair.alpha.run(&["mirror", "start", "mail", "--limit", "4 MB/s"]).expect(0);
    wait_until("some was sent", PATIENCE, || Pair::status_of(&pair.alpha)["mirror"]["data_bytes"].as_u64() > Some(2_000_000));
}

#[test]
fn a_paused_mirror_goes_on_where_it_was() {
    let mut pair = filled("");
    begin_slowly(&pair);
    assert_eq!((state(&pair.alpha), state(&pair.beta)), (json!("mirroring"), json!("first_mirror")));
    // Marks are made each second; what was durable then is not sent again.
    wait_until("a third was sent", PATIENCE, || Pair::status_of(&pair.alpha)["mirror"]["data_bytes"].as_u64() > Some(8_000_000));
    pair.alpha.run(&["mirror", "pause", "mail"]).expect(0);
    wait_until("it is paused", PATIENCE, || state(&pair.alpha) == "paused" && Pair::status_of(&pair.alpha)["mirror"].is_null());
    let refused = pair.try_mirror(&["--full"]).expect(3);
    assert!(refused.stderr.contains("mirror resume mail"), "{refused:?}");
    // Also after a restart.
    pair.alpha.stop();
    pair.alpha.start();
    assert_eq!(state(&pair.alpha), json!("paused"));
    pair.alpha.run(&["mirror", "resume", "mail"]).expect(0);
    let end = wait_for("it ends", PATIENCE, || Some(Pair::status_of(&pair.alpha)).filter(|status| status["state"] == "idle"));
    let sent = end["last_mirror"]["data_bytes"].as_u64().unwrap();
    println!("sent after the pause: {sent} bytes of 24,000,000");
    assert!(sent < 20_000_000, "{end}");
    pair.assert_equal();
    assert_eq!(end["last_mirror"]["consistent"], json!(true), "{end}");
}

#[test]
fn a_stopped_mirror_leaves_the_point() {
    let pair = filled("");
    pair.mirror(&[]);
    shell(&pair.source, "for i in {1..24}; do head -c 1000000 /dev/urandom > $i; done; sha256sum * > ../sums");
    begin_slowly(&pair);
    assert_eq!(state(&pair.beta), json!("receiving"));
    pair.alpha.run(&["mirror", "stop", "mail"]).expect(0);
    wait_until("it is stopped", PATIENCE, || state(&pair.alpha) == "idle" && state(&pair.beta) == "ready");
    assert_eq!(pair.beta.json(&["points", "mail"])["points"].as_array().unwrap().len(), 1);
    pair.alpha.run(&["mirror", "stop", "mail"]).expect(0);
    assert_eq!(pair.mirror(&[])["point"], json!(2));
    pair.assert_equal();
}

#[test]
fn a_limit_is_roughly_kept() {
    let pair = filled("limit = \"6 MB/s\"");
    let began = Instant::now();
    let report = pair.mirror(&[]);
    let seconds = began.elapsed().as_secs_f64();
    println!("24 MB at 6 MB/s in {seconds:.1} s");
    assert!((2.8..15.0).contains(&seconds), "{seconds} s: {report}");
}

#[test]
fn points_are_kept_and_an_older_one_can_be_promoted() {
    let pair = Pair::new("history_points = 3");
    for number in 1..=5 {
        shell(&pair.source, &format!("echo {number} > file; echo {number} > new-{number}; rm -f new-$(({number} - 2))"));
        assert_eq!(pair.mirror(&[])["point"], json!(number));
    }
    let points = pair.beta.json(&["points", "mail"]);
    assert_eq!(points, pair.alpha.json(&["points", "mail"]), "the source asks the standby");
    let numbers: Vec<u64> = points["points"].as_array().unwrap().iter().map(|point| point["number"].as_u64().unwrap()).collect();
    assert!(numbers.ends_with(&[3, 4, 5]) && points["at"] == json!(5), "{points}");
    let status = Pair::status_of(&pair.beta);
    assert_eq!((&status["state"], &status["point"]["number"], &status["role"]), (&json!("ready"), &json!(5), &json!("standby")));
    assert_eq!((&status["peer"]["node"], &status["trouble"]), (&json!("alpha"), &Value::Null));
    assert!(status["peer"]["path"]["rtt_ms"].is_f64(), "{status}");

    pair.beta.run(&["promote", "mail", "--point", "77"]).expect(3);
    pair.alpha.run(&["promote", "mail"]).expect(2);
    let promoted = pair.beta.json(&["promote", "mail", "--point", "3"]);
    assert_eq!((&promoted["point"]["number"], &promoted["point"]["consistent"]), (&json!(3), &json!(true)));
    assert_eq!(shell(&pair.target, "cat *; ls"), "3\n2\n3\nfile\nnew-2\nnew-3\n");
    fs::write(pair.target.join("written"), b"by its own applications").unwrap();
    // Once more says the same; another point would throw away what was written.
    assert_eq!(pair.beta.run(&["--json", "promote", "mail", "--point", "3"]).expect(0).json()["point"]["number"], json!(3));
    pair.beta.run(&["promote", "mail", "--point", "4"]).expect(3);
    assert_eq!(state(&pair.beta), json!("promoted"));

    let before = shell(&pair.target, "find . -printf '%p %C@ %i\\n' | sort");
    let refused = pair.try_mirror(&[]).expect(3);
    assert!(refused.stderr.contains("promoted"), "{refused:?}");
    assert_eq!(before, shell(&pair.target, "find . -printf '%p %C@ %i\\n' | sort"));
}

#[test]
fn a_promotion_outlives_a_restart() {
    let mut pair = Pair::new("");
    shell(&pair.source, "echo 1 > file");
    pair.beta.run(&["promote", "mail"]).expect(3);
    pair.mirror(&[]);
    pair.promote();
    pair.beta.kill();
    pair.beta.start();
    assert_eq!(state(&pair.beta), json!("promoted"));
    pair.try_mirror(&[]).expect(3);
}

#[test]
fn one_daemon_for_a_state_directory() {
    let pair = Pair::new("");
    let second = pair.alpha.run(&["run"]).expect(1);
    assert!(second.stderr.contains("running already"), "{second:?}");
    pair.alpha.run(&["status"]).expect(0);
}

#[test]
fn a_daemon_that_does_not_run_is_said() {
    let mut pair = Pair::new("");
    pair.beta.stop();
    pair.beta.run(&["status"]).expect(4);
    pair.alpha.stop();
    pair.alpha.run(&["mirror", "start", "mail"]).expect(4);
}

#[test]
fn sets_that_differ_are_refused_and_explained() {
    let mut pair = Pair::new("");
    shell(&pair.source, "echo 1 > file");
    pair.alpha.run(&["set", "check", "mail"]).expect(0);
    pair.alpha.stop();
    let settings = fs::read_to_string(pair.alpha.config()).unwrap();
    let target = pair.target.to_str().unwrap();
    fs::write(pair.alpha.config(), settings.replace(target, &format!("{target}-other"))).unwrap();
    pair.alpha.start();
    let refused = pair.try_mirror(&[]).expect(3);
    assert!(refused.stderr.contains("set check"), "{refused:?}");
    assert!(!pair.target.exists());
    let check = pair.alpha.run(&["set", "check", "mail"]).expect(5);
    assert!(check.stdout.contains("-other"), "{check:?}");
}

/// The mirror is refused, says why, and removes nothing.
#[track_caller]
fn assert_refused(pair: &Pair, why: &str) {
    let before = shell(&pair.target, "find . -printf '%p %C@ %i\\n' | sort");
    let refused = pair.try_mirror(&["--max-orphans", "99%"]).expect(3);
    assert!(refused.stderr.contains(why), "{refused:?}");
    assert!(refused.stderr.to_lowercase().contains("nothing was removed"), "{refused:?}");
    assert_eq!(before, shell(&pair.target, "find . -printf '%p %C@ %i\\n' | sort"));
    assert!(Pair::status_of(&pair.alpha)["trouble"].as_str().is_some_and(|trouble| trouble.contains(why)));
}

#[test]
fn a_source_that_is_gone_or_emptied_removes_nothing() {
    let pair = Pair::new("");
    shell(&pair.source, "mkdir a; touch a/{1..20}");
    pair.mirror(&[]);
    let aside = pair.dir.path().join("aside");
    fs::rename(&pair.source, &aside).unwrap();
    assert_refused(&pair, "cannot be read");
    fs::create_dir(&pair.source).unwrap();
    assert_refused(&pair, "is empty");
    fs::remove_dir(&pair.source).unwrap();
    fs::rename(&aside, &pair.source).unwrap();
    assert_eq!(pair.mirror(&[])["orphans"], json!(0));
    // Meant is meant.
    shell(&pair.source, "rm -r a");
    let report = pair.mirror(&["--max-orphans", "100%"]);
    assert_eq!(report["orphans_left"], json!(0), "{report}");
    pair.assert_equal();
}

#[test]
fn a_source_that_was_unmounted_removes_nothing_and_says_why() {
    if !is_root("a source that was unmounted") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("mounted");
    let mount = Mount::tmpfs(&source, "16m");
    let pair = Pair::of(dir, source, "");
    shell(&pair.source, "mkdir a; touch a/{1..20}");
    pair.mirror(&[]);
    drop(mount);
    assert_refused(&pair, "which is not mounted now");
    // Something that lies beneath the mount point is no reason to go on.
    fs::write(pair.source.join("a file of the root file system"), b"").unwrap();
    assert_refused(&pair, "which is not mounted now");
    fs::remove_file(pair.source.join("a file of the root file system")).unwrap();
    let _mount = Mount::tmpfs(&pair.source, "16m");
    assert_refused(&pair, "is empty");
}

#[test]
fn a_target_that_was_unmounted_gets_nothing() {
    if !is_root("a target that was unmounted") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("mounted"));
    fs::create_dir(&source).unwrap();
    let mount = Mount::tmpfs(&target, "16m");
    let mut pair = Pair::at(dir, source, target, "");
    shell(&pair.source, "echo 1 > file");
    pair.mirror(&[]);
    pair.beta.stop();
    drop(mount);
    pair.beta.start();
    let told = explained(&pair.beta);
    assert_eq!(state(&pair.beta), json!("bad"));
    assert!(told["cause"].as_str().unwrap().contains("mount it") && told["action"].as_str().unwrap().starts_with("See to that"));
    let failed = pair.try_mirror(&[]).expect(3);
    assert!(failed.stderr.contains("not mounted now"), "{failed:?}");
    assert_eq!(fs::read_dir(&pair.target).unwrap().count(), 0);
    pair.beta.run(&["promote", "mail"]).expect(3);
}

fn explained(node: &Node) -> Value {
    node.json(&["status", "mail", "--explain"])["sets"][0]["explained"].clone()
}

#[test]
fn a_target_in_a_directory_that_is_not_there_is_said_and_goes_on_when_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (source, parent) = (dir.path().join("source"), dir.path().join("not there yet"));
    fs::create_dir(&source).unwrap();
    let target = parent.join("target");
    let pair = Pair::at(dir, source, target, "");
    shell(&pair.source, "echo 1 > file");
    let failed = pair.try_mirror(&[]).expect(3);
    assert!(failed.stderr.contains("mount or make it") && failed.stderr.contains("mirror resume mail"), "{failed:?}");
    // Nobody paused it.
    assert_eq!(state(&pair.alpha), json!("held"));
    let told = explained(&pair.beta);
    assert!(told["cause"].as_str().unwrap().contains("mount or make it"), "{told}");
    assert!(told["action"].as_str().unwrap().starts_with("See to that"), "{told}");
    fs::create_dir(&parent).unwrap();
    // Ordering it once more is as good as letting it go on.
    pair.mirror(&[]);
    pair.assert_equal();
}

#[test]
fn a_promotion_is_told_to_the_source_and_nothing_is_waited_for() {
    let mut pair = Pair::new("capture = \"watch\"");
    for number in 1..=3 {
        shell(&pair.source, &format!("echo {number} > file"));
        if number == 1 { drop(pair.mirror(&[])) } else { drop(pair.alpha.run(&["point", "mail", "--wait"]).expect(0)) }
    }
    let oldest = pair.beta.json(&["points", "mail"])["points"][0]["number"].to_string();
    pair.beta.json(&["promote", "mail", "--point", &oldest]);
    assert_eq!(Pair::status_of(&pair.beta)["point"]["number"].to_string(), oldest, "where it was promoted");
    for restart in [false, true] {
        if restart {
            pair.alpha.stop();
            pair.alpha.start();
        }
        wait_until("the source knows", PATIENCE, || state(&pair.alpha) == "promoted");
        let told = explained(&pair.alpha);
        assert!(told["cause"].as_str().unwrap().contains("was promoted"), "{told}");
        for command in [&["wait", "mail", "--synced"][..], &["point", "mail", "--wait"], &["verify", "mail"]] {
            let refused = pair.alpha.run(command).expect(3);
            assert!(refused.stderr.contains("promoted") && !refused.stderr.contains("paused"), "{refused:?}");
        }
        pair.try_mirror(&[]).expect(3);
    }
    // Letting it go on makes nothing green.
    pair.alpha.run(&["mirror", "resume", "mail"]).expect(0);
    wait_until("the source knows again", PATIENCE, || state(&pair.alpha) == "promoted");
    // Made a standby again, as the README says: not before a person orders it.
    pair.beta.stop();
    fs::remove_dir_all(pair.beta.state_dir().join("sets/mail")).unwrap();
    pair.beta.start();
    assert_eq!(state(&pair.alpha), json!("promoted"));
    pair.mirror(&["--max-orphans", "100%"]);
    wait_until("it follows", PATIENCE, || state(&pair.alpha) == "following");
    pair.assert_equal();
}

#[test]
fn a_replica_that_is_gone_is_noticed_without_a_change() {
    let mut pair = Pair::new("capture = \"watch\"");
    shell(&pair.source, "echo 1 > file");
    pair.mirror(&[]);
    wait_until("it follows", PATIENCE, || state(&pair.alpha) == "following");
    pair.beta.stop();
    fs::remove_dir_all(pair.beta.state_dir().join("sets/mail")).unwrap();
    pair.beta.start();
    wait_until("it is noticed", PATIENCE, || state(&pair.alpha) == "lost");
    assert_eq!(Pair::status_of(&pair.alpha)["point"], Value::Null);
    let refused = pair.alpha.run(&["wait", "mail", "--synced"]).expect(3);
    assert!(refused.stderr.contains("`standin mirror start mail` makes a new replica"), "{refused:?}");
    pair.mirror(&[]);
    wait_until("it follows", PATIENCE, || state(&pair.alpha) == "following");
    pair.assert_equal();
}

#[test]
fn a_set_that_is_watched_and_paused_is_not_mirrored() {
    let pair = Pair::new("capture = \"watch\"");
    let before = explained(&pair.alpha);
    assert!(before["cause"].as_str().unwrap().contains("begins with a mirror"), "{before}");
    let refused = pair.alpha.run(&["point", "mail", "--wait"]).expect(3);
    assert!(refused.stderr.contains("begins with a mirror: `standin mirror start mail`"), "{refused:?}");
    shell(&pair.source, "echo 1 > file");
    pair.mirror(&[]);
    pair.alpha.run(&["mirror", "pause", "mail"]).expect(0);
    for wait in [&["mirror", "start", "mail"][..], &["mirror", "start", "mail", "--wait"]] {
        let refused = pair.alpha.run(wait).expect(3);
        assert!(refused.stderr.contains("mirror resume mail"), "{refused:?}");
    }
    pair.alpha.run(&["mirror", "resume", "mail"]).expect(0);
    wait_until("it follows", PATIENCE, || state(&pair.alpha) == "following");
}

#[test]
fn who_waits_for_a_standby_that_is_away_is_told_and_let_go() {
    let mut pair = Pair::new("");
    shell(&pair.source, "echo 1 > file");
    pair.mirror(&[]);
    pair.beta.stop();
    let late = pair.alpha.run(&["mirror", "start", "mail", "--wait", "--timeout", "3"]).expect(6);
    assert!(late.stderr.contains("waiting for beta: ") && late.stderr.contains("the mirror goes on"), "{late:?}");
    pair.alpha.run(&["mirror", "stop", "mail"]).expect(0);
    pair.alpha.run(&["verify", "mail"]).expect(4);
    pair.beta.start();
    pair.mirror(&[]);
}

#[test]
fn what_is_never_replicated_is_no_difference() {
    let pair = Pair::new("");
    shell(&pair.source, "mkdir d; echo 1 > d/file");
    let _socket = std::os::unix::net::UnixListener::bind(pair.source.join("d/socket")).unwrap();
    pair.mirror(&[]);
    let verified = pair.alpha.run(&["verify", "mail"]).expect(0).stdout;
    assert!(verified.contains("both sides are equal") && verified.contains("root 0: d/socket: "), "{verified}");
    shell(&pair.target, "echo 2 > d/file");
    pair.alpha.run(&["verify", "mail"]).expect(5);
}

#[test]
fn a_daemon_is_asked_although_its_settings_are_wrong_by_now() {
    let pair = Pair::new("");
    shell(&pair.source, "echo 1 > file");
    pair.alpha.add_settings("[sets.mail.points]\nintervall = \"5 min\"");
    let told = pair.alpha.run(&["status", "mail"]).expect(0);
    assert!(told.stdout.contains("state       idle") && told.stderr.contains("the settings are wrong"), "{told:?}");
    pair.alpha.run(&["mirror", "start", "mail", "--wait"]).expect(0);
    pair.alpha.run(&["reload"]).expect(2);
    pair.alpha.run(&["check"]).expect(2);
}

#[test]
fn daemons_end_cleanly_in_the_middle_of_a_mirror() {
    let mut pair = filled("");
    begin_slowly(&pair);
    let began = Instant::now();
    pair.alpha.stop();
    pair.beta.stop();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    pair.beta.start();
    pair.alpha.start();
    wait_until("it goes on by itself", PATIENCE, || state(&pair.alpha) == "idle" && state(&pair.beta) == "ready");
    pair.assert_equal();
}

#[test]
fn a_file_system_in_a_root_that_was_unmounted_removes_nothing_and_says_why() {
    if !is_root("a file system mounted in a root") {
        return;
    }
    let pair = Pair::new("");
    let mount = Mount::tmpfs(&pair.source.join("a b"), "1m");
    shell(&pair.source, "touch {1..20} 'a b'/{1..4}");
    pair.mirror(&[]);
    drop(mount);
    assert_refused(&pair, "is not mounted now");
    let report = pair.mirror(&["--max-orphans", "100%"]);
    assert_eq!((&report["orphans"], &report["orphans_left"]), (&json!(4), &json!(0)), "{report}");
}

#[test]
fn files_beyond_reason_are_reported_and_a_mirror_of_long_holes_can_be_stopped() {
    let pair = Pair::new("");
    shell(&pair.source, "touch small; mkdir d");
    pair.mirror(&[]);
    // Not every file system has files of this size.
    if fs::File::create(pair.source.join("d/endless")).unwrap().set_len(1 << 47).is_ok() {
        shell(&pair.source, "ln d/endless endless; echo 1 > small");
        let report = pair.mirror(&[]);
        assert_eq!(report["problem_count"], json!(2), "{report}");
        assert!(report["problems"][0]["text"].as_str().unwrap().contains("exclude it by a rule"), "{report}");
        assert_eq!(fs::read(pair.target.join("small")).unwrap(), b"1\n");
        shell(&pair.source, "rm d/endless endless");
    }
    let long = fs::File::create(pair.source.join("long")).unwrap();
    let bits = (40..=45).rev().find(|bits| long.set_len(1 << bits).is_ok()).unwrap();
    println!("a hole of 2^{bits} bytes");
    pair.alpha.run(&["mirror", "start", "mail"]).expect(0);
    wait_until("it is at the hole", PATIENCE, || Pair::status_of(&pair.alpha)["mirror"]["wanted_files"].as_u64() > Some(0));
    pair.alpha.run(&["mirror", "stop", "mail"]).expect(0);
    fs::remove_file(pair.source.join("long")).unwrap();
    let report = pair.mirror(&[]);
    assert_eq!(report["problem_count"], json!(0), "{report}");
    pair.assert_equal();
}
