//! Following: what changes at the source reaches the standby as it comes, through cuts, kills and pauses, and points are what they say.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Child, Command};

use serde_json::{Value, json};

mod kills;
#[path = "../../src/demo/material/mod.rs"]
mod material;
mod operations;
#[path = "../support/mod.rs"]
mod support;

use support::{Mount, PATIENCE, Pair, assert_same, copy_standby, is_root, shell, wait_for, wait_until};

const WATCH: &str = "capture = \"watch\"";
/// How a source says in its log that a mirror over everything begins.
const WHOLE: &str = "everything is compared";

/// A pair whose source is followed.
fn following(more: &str, script: &str) -> Pair {
    let pair = Pair::new(&format!("{WATCH}\n{more}"));
    shell(&pair.source, script);
    pair.mirror(&[]);
    pair
}

/// Asks for a point of what is there now, and waits for it.
#[track_caller]
fn point(pair: &Pair) -> Value {
    // While the standby is away, whoever waits is told so.
    let made = wait_for("the standby is there", PATIENCE, || {
        let done = pair.alpha.run(&["--json", "point", "mail", "--wait"]);
        (done.code != Some(4)).then_some(done)
    });
    made.expect(0).json()["point"].clone()
}

fn status(pair: &Pair) -> Value {
    Pair::status_of(&pair.alpha)
}

fn count(log: &str, what: &str) -> usize {
    log.matches(what).count()
}

/// A program that writes; it ends when this is dropped.
struct Writer(Child);

impl Writer {
    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

const SOME: &str = "mkdir -p d/e; for i in {1..50}; do head -c 20000 /dev/urandom > d/$i; done; head -c 5000000 /dev/urandom > large; ln large d/linked";

#[test]
fn every_kind_of_change_follows() {
    let pair = following("", SOME);
    let changes = [
        "echo more >> d/1; truncate -s 100 d/2; rm d/3; mv d/4 d/e/4; mv d/5 ../5; echo new > new",
        "dd if=/dev/urandom of=large bs=4096 count=3 seek=700 conv=notrunc status=none; chmod 600 d/6; touch -d 2001-01-01 d/7; ln -s x link; mkfifo pipe",
        "mv d moved; echo in > moved/in; mkdir -p a/b/c; echo deep > a/b/c/deep; setfattr -n user.x -v 1 moved/8",
        "rm -r moved/e; mv a/b b; rmdir a; cp -a moved copied; echo x > copied/1; rm large; mv ../5 back",
        "ln moved/9 ninth; echo through >> ninth; rm link; mkdir link; echo y > link/y; rm -r copied; echo file > copied",
        "chmod 700 .; echo same > s; touch -r s r; echo SAME > s; touch -r r s",
    ];
    for change in changes {
        shell(&pair.source, change);
        let made = point(&pair);
        assert_eq!(made["consistent"], json!(true), "{change}: {made}");
        pair.assert_equal();
    }
    assert_eq!(count(&pair.alpha.log(), WHOLE), 0, "{}", pair.alpha.log());
    assert_eq!(status(&pair)["lag"]["changes"], json!(0));
}

#[test]
fn it_follows_without_being_asked() {
    let pair = following("", SOME);
    for round in 0..5 {
        shell(&pair.source, &format!("echo {round} >> d/1; echo {round} > new-{round}; rm -f new-{}", round - 2));
        wait_until("the standby has it", PATIENCE, || support::rsync_todo(&pair.source, &pair.target).is_empty());
    }
}

#[test]
fn a_standby_that_was_away_gets_only_what_changed() {
    let mut pair = following("", SOME);
    shell(&pair.source, "head -c 30000000 /dev/urandom > big");
    point(&pair);
    pair.beta.kill();
    let before = status(&pair)["followed"]["sent_bytes"].as_u64().unwrap();
    shell(
        &pair.source,
        "echo more >> d/1; rm d/2; mkdir away; echo away > away/file; dd if=/dev/urandom of=big bs=4096 count=5 seek=100 conv=notrunc status=none",
    );
    wait_until("it is noticed", PATIENCE, || status(&pair)["lag"]["changes"].as_u64() > Some(3));
    pair.beta.start();
    point(&pair);
    pair.assert_equal();
    let sent = status(&pair)["followed"]["sent_bytes"].as_u64().unwrap() - before;
    println!("sent after the standby came back: {sent} bytes");
    assert!(sent < 300_000, "{sent}");
    assert_eq!(count(&pair.alpha.log(), WHOLE), 0, "{}", pair.alpha.log());
}

#[test]
fn a_source_that_was_restarted_or_killed_compares_all_and_goes_on() {
    let mut pair = following("", SOME);
    pair.alpha.stop();
    shell(&pair.source, "echo while stopped >> d/1; rm d/2");
    pair.alpha.start();
    point(&pair);
    pair.assert_equal();
    pair.alpha.kill();
    shell(&pair.source, "echo while killed >> d/3; mv d/4 4");
    pair.alpha.start();
    point(&pair);
    pair.assert_equal();
    shell(&pair.source, "echo and on >> d/5");
    point(&pair);
    pair.assert_equal();
}

#[test]
fn what_waited_when_the_source_ended_is_compared_by_its_data() {
    // Nothing but a notice tells of this change.
    let change = |name: &str| {
        format!("touch -r {name} ../time; tr a-y b-z < {name} > ../new; cat ../new > {name}; touch -r ../time {name}")
    };
    let mut pair = following("", "for i in 1 2; do head -c 100000 /dev/urandom | base64 > $i; done");
    pair.beta.kill();
    shell(&pair.source, &change("1"));
    wait_until("it is noticed", PATIENCE, || status(&pair)["lag"]["changes"].as_u64() > Some(0));
    pair.alpha.stop();
    pair.alpha.start();
    shell(&pair.source, &change("2"));
    let waiting = pair.alpha.state_dir().join("sets/mail/waiting");
    assert!(waiting.exists());
    pair.beta.start();
    point(&pair);
    pair.assert_equal();
    wait_until("nothing is kept of it", PATIENCE, || !waiting.exists());
}

#[test]
fn what_changed_during_a_long_round_is_kept_over_a_kill() {
    const LIMIT: &str = "limit = \"500kB/s\"";
    let mut pair = following(LIMIT, "head -c 100000 /dev/urandom > 1");
    shell(&pair.source, "head -c 20000000 /dev/urandom > long");
    shell(&pair.source, "touch -r 1 ../time; head -c 100000 /dev/urandom > ../new; cat ../new > 1; touch -r ../time 1");
    let waiting = pair.alpha.state_dir().join("sets/mail/waiting");
    wait_until("what waits is kept", PATIENCE, || waiting.exists());
    pair.alpha.kill();
    let settings = std::fs::read_to_string(pair.alpha.config()).unwrap();
    std::fs::write(pair.alpha.config(), settings.replace(LIMIT, "")).unwrap();
    pair.alpha.start();
    point(&pair);
    pair.assert_equal();
}

#[test]
fn if_what_waited_is_not_known_all_is_compared_by_its_data() {
    let mut pair = following("", "head -c 100000 /dev/urandom > 1");
    pair.beta.kill();
    shell(&pair.source, "touch -r 1 ../time; head -c 100000 /dev/urandom > ../new; cat ../new > 1; touch -r ../time 1");
    wait_until("it is noticed", PATIENCE, || status(&pair)["lag"]["changes"].as_u64() > Some(0));
    pair.alpha.stop();
    let waiting = pair.alpha.state_dir().join("sets/mail/waiting");
    std::fs::write(&waiting, "damaged").unwrap();
    pair.alpha.start();
    pair.beta.start();
    point(&pair);
    pair.assert_equal();
    assert!(!waiting.exists());
    assert_eq!(count(&pair.alpha.log(), WHOLE), 1, "{}", pair.alpha.log());
}

#[test]
fn what_changes_while_it_is_paused_is_remembered() {
    let pair = following("", SOME);
    pair.alpha.run(&["mirror", "pause", "mail"]).expect(0);
    shell(&pair.source, "echo more >> d/1; rm d/2");
    wait_until("it is noticed", PATIENCE, || status(&pair)["lag"]["changes"].as_u64() > Some(1));
    assert_eq!(status(&pair)["state"], json!("paused"));
    assert!(pair.alpha.run(&["point", "mail", "--wait"]).expect(3).stderr.contains("mirror resume mail"));
    assert!(!support::rsync_todo(&pair.source, &pair.target).is_empty());
    pair.alpha.run(&["mirror", "resume", "mail"]).expect(0);
    point(&pair);
    pair.assert_equal();
    assert_eq!(count(&pair.alpha.log(), WHOLE), 0);
    pair.alpha.run(&["mirror", "stop", "mail"]).expect(0);
    shell(&pair.source, "echo not this");
    wait_until("the round that was under way has ended", PATIENCE, || status(&pair)["state"] == json!("idle"));
    pair.alpha.run(&["point", "mail", "--wait"]).expect(3);
}

#[test]
fn a_cut_line_loses_nothing() {
    let mut pair = following("", SOME);
    let proxy = pair.over_a_line();
    point(&pair);
    let compared = count(&pair.alpha.log(), WHOLE);
    for round in 0..3 {
        // While a round is on its way, and between rounds.
        shell(&pair.source, &format!("head -c 8000000 /dev/urandom > cut-{round}"));
        wait_until("some of it is on its way", PATIENCE, || proxy.forwarded() > (round + 1) * 1_000_000);
        proxy.cut();
        shell(&pair.source, &format!("echo {round} >> d/1; rm -f d/{}", round + 10));
        wait_until("it is known", PATIENCE, || status(&pair)["peer"]["path"].is_null());
        proxy.mend();
        point(&pair);
        pair.assert_equal();
    }
    assert_eq!(count(&pair.alpha.log(), WHOLE), compared, "{}", pair.alpha.log());
}

#[test]
fn a_root_that_is_emptied_at_once_is_asked_about() {
    let pair = following("", SOME);
    shell(&pair.source, "rm -rf d");
    // How many they are, the rounds after the first may still find.
    let told = || status(&pair)["trouble"].as_str().map(str::to_owned);
    let is_told = || assert!(told().is_some_and(|told| told.contains("--max-orphans 100%")), "{:?}", told());
    wait_for("it is told", PATIENCE, told);
    is_told();
    assert!(pair.target.join("d/1").exists());
    // Also after rounds that leave nothing.
    shell(&pair.source, "echo more > more");
    let left = point(&pair)["orphans"].as_u64();
    assert!(left > Some(50), "{left:?}");
    is_told();
    // And a mirror that leaves them, too, with what follows it.
    pair.alpha.run(&["mirror", "start", "mail", "--wait"]).expect(3);
    shell(&pair.source, "echo more >> more");
    assert_eq!(point(&pair)["orphans"].as_u64(), left);
    is_told();
    pair.mirror(&["--max-orphans", "100%"]);
    assert_eq!(status(&pair)["trouble"], Value::Null);
    pair.assert_equal();
}

#[test]
fn orphans_that_stay_for_what_cannot_be_read_are_not_said_to_be_too_many() {
    if !is_root("a file larger than any") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("mounted");
    // Other file systems have no files of that size.
    let _mount = Mount::tmpfs(&source, "16m");
    let pair = Pair::of(dir, source, WATCH);
    shell(&pair.source, SOME);
    pair.mirror(&[]);
    pair.alpha.run(&["mirror", "pause", "mail"]).expect(0);
    shell(&pair.source, "rm d/{1..9}; truncate -s 128T endless");
    pair.alpha.run(&["mirror", "resume", "mail"]).expect(0);
    assert_eq!(point(&pair)["orphans"], json!(9));
    shell(&pair.source, "rm endless; echo more > more");
    point(&pair);
    assert_eq!(status(&pair)["trouble"], Value::Null);
    pair.mirror(&[]);
    pair.assert_equal();
}

#[test]
fn orphans_that_are_to_be_kept_are_no_trouble() {
    let pair = following("orphans = \"keep\"", SOME);
    shell(&pair.source, "rm -r d");
    point(&pair);
    assert!(pair.target.join("d/1").exists());
    assert_eq!(status(&pair)["trouble"], Value::Null);
}

#[test]
fn consistent_points_of_a_database_that_is_written_to_are_whole() {
    let pair = following(
        "history_points = 50",
        "sqlite3 db 'pragma journal_mode=wal; create table mail(n integer primary key, body text)' > /dev/null",
    );
    let writer = Command::new("bash")
        .args(["-c", "for n in {1..400}; do sqlite3 db \"pragma busy_timeout=5000; insert into mail values($n, hex(randomblob(2000)))\" > /dev/null || exit 1; done"])
        .current_dir(&pair.source)
        .spawn()
        .unwrap();
    let mut writer = Writer(writer);
    let mut checked = 0;
    while writer.is_running() {
        let made = point(&pair);
        let clone = tempfile::tempdir().unwrap();
        let (mut node, replica) = copy_standby(&pair.beta, &pair.target, clone.path());
        node.start();
        let promoted = node.json(&["promote", "mail"]);
        if promoted["consistent"] == json!(true) {
            assert_eq!(shell(&replica, "sqlite3 db 'pragma integrity_check'").trim(), "ok", "{made}");
            checked += 1;
        }
    }
    println!("{checked} consistent points");
    point(&pair);
    assert_same(&pair.source, &pair.target);
}
