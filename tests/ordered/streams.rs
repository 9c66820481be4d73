//! The stream of operations: what it brings without a round, and what happens when it cannot go on.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::material::Random;
use crate::roots::Roots;
use crate::support::{PATIENCE, seed, shell, wait_until};

/// How many operations a stream had, if there is one.
pub(crate) fn operations(ground: &Roots) -> Option<u64> {
    ground.status()["layer"]["stream"]["operations"].as_u64()
}

pub(crate) fn wait_for_stream(ground: &Roots) {
    wait_until("a stream runs", PATIENCE, || operations(ground).is_some());
}

#[test]
fn what_is_written_arrives_by_the_stream_without_a_round() {
    let ground = Roots::new(2, "");
    shell(&ground.source(0), "mkdir d; echo before > d/before; ln d/before d/linked");
    ground.mirror();
    wait_for_stream(&ground);
    let rounds = ground.status()["followed"]["rounds"].clone();
    shell(&ground.source(0), "echo new > d/new; echo more >> d/linked; mv d e; mkdir d; echo again > d/again; rm e/before");
    shell(&ground.source(1), "head -c 3000000 /dev/urandom > large; cp -a large copy; truncate -s 1000 large; chmod 600 copy");
    ground.alpha.run(&["wait", "mail", "--synced", "--timeout", "60s"]).expect(0);
    // No point was asked for: they are made as operations come.
    wait_until("it is in the replica", PATIENCE, || {
        ground.target(1).join("copy").exists() && ground.target(0).join("d/again").exists()
    });
    ground.point();
    ground.assert_equal();
    let status = ground.status();
    assert_eq!(status["followed"]["rounds"], rounds, "{status}");
    assert!(operations(&ground) > Some(10), "{status}");
    assert!(ground.alpha.run(&["status", "mail"]).expect(0).stdout.contains("operations since it began"));
    ground.alpha.run(&["verify", "mail"]).expect(0);
    shell(&ground.source(0), "echo after > d/after");
    ground.point();
    ground.assert_equal();
    assert_eq!(ground.status()["followed"]["rounds"], rounds, "a verification does not end it");
}

/// Whether all threads of a process wait, at many looks one after the other: one that spins never does.
fn rests(pid: u32) -> bool {
    let waits = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('R'));
    (0..50).all(|_| {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        // One that ended meanwhile does not spin.
        threads.flatten().all(|thread| fs::read_to_string(thread.path().join("stat")).map_or(true, waits))
    })
}

#[test]
fn after_a_point_that_was_asked_for_both_rest() {
    let ground = Roots::new(1, "");
    ground.mirror();
    wait_for_stream(&ground);
    shell(&ground.source(0), "echo new > new");
    ground.point();
    assert!(operations(&ground).is_some(), "the stream goes on");
    for node in [&ground.alpha, &ground.beta] {
        wait_until("a daemon that has nothing to do waits for something", PATIENCE, || rests(node.pid()));
    }
}

#[test]
fn what_was_synced_is_on_the_standby_when_both_are_killed() {
    let mut random = Random::new(seed());
    let mut ground = Roots::new(1, "acknowledge = \"durable\"\non_disconnect = \"block\"");
    ground.mirror();
    for kill in 0..4 {
        let synced = AtomicU64::new(0);
        wait_for_stream(&ground);
        let source = ground.source(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                let file = File::create(source.join(format!("n{kill}"))).unwrap();
                for number in 1_u64.. {
                    // Of a daemon that is dead, errors.
                    if file.write_all_at(&number.to_le_bytes(), number % 1000 * 8).and_then(|()| file.sync_data()).is_err() {
                        return;
                    }
                    synced.store(number, SeqCst);
                }
            });
            wait_until("much is synced", PATIENCE, || synced.load(SeqCst) > 20);
            thread::park_timeout(Duration::from_micros(random.below(500_000)));
            if kill % 2 == 0 {
                ground.alpha.kill();
                ground.beta.kill();
            } else {
                ground.beta.kill();
                ground.alpha.kill();
            }
        });
        let was_synced = synced.load(SeqCst);
        ground.beta.start();
        let base = tempfile::tempdir().unwrap();
        let (replicas, point) = ground.promoted(base.path());
        let found = fs::read(replicas[0].join(format!("n{kill}"))).unwrap();
        let last = found.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).max().unwrap();
        println!("{last} on the standby, at {point}");
        assert!(last >= was_synced, "{last} of {was_synced}");
        ground.alpha.start();
        ground.point();
        ground.assert_equal();
    }
}

#[test]
fn more_than_may_wait_ends_the_stream_and_another_begins() {
    let mut ground = Roots::new(1, "queue_limit = \"4 MiB\"");
    let proxy = ground.over_a_line();
    ground.mirror();
    wait_for_stream(&ground);
    // What fits goes on with the same stream.
    proxy.cut();
    wait_until("the cut is known", PATIENCE, || ground.status()["peer"]["path"].is_null());
    shell(&ground.source(0), "head -c 3000000 /dev/urandom > fits");
    let rounds = ground.status()["followed"]["rounds"].clone();
    assert!(ground.status()["lag"]["bytes"].as_u64() > Some(3_000_000 - 1), "{}", ground.status());
    proxy.mend();
    ground.point();
    ground.assert_equal();
    assert_eq!(ground.status()["followed"]["rounds"], rounds);
    // What does not is found by the places that changed.
    proxy.cut();
    wait_until("the cut is known", PATIENCE, || ground.status()["peer"]["path"].is_null());
    shell(&ground.source(0), "for i in {1..8}; do head -c 2000000 /dev/urandom > large$i; done; rm fits; mv large3 moved");
    assert_eq!(operations(&ground), None, "{}", ground.status());
    assert_eq!(fs::read_dir(ground.alpha.state_dir().join("sets/mail/queue")).unwrap().count(), 0, "its files are gone");
    proxy.mend();
    ground.point();
    ground.assert_equal();
    assert!(ground.alpha.log().contains("queue_limit"), "{}", ground.alpha.log());
    wait_for_stream(&ground);
    assert_eq!(ground.status()["last_mirror"]["passes"], json!(1), "nothing was compared as a whole");
}

#[test]
fn what_comes_out_of_what_is_left_out_is_read_and_another_stream_begins() {
    let ground = Roots::with_root_keys(1, "", "rules = [ { exclude = \"tmp/**\" }, { exclude = \"*.part\" } ]");
    shell(&ground.source(0), "mkdir -p tmp kept; echo outside > tmp/outside; echo old > old.part");
    ground.mirror();
    wait_for_stream(&ground);
    // One that is made and written while it is told, whatever it is called, is whole.
    shell(&ground.source(0), "echo whole > new.part; mv new.part kept/new");
    ground.point();
    assert_eq!(fs::read_to_string(ground.target(0).join("kept/new")).unwrap(), "whole\n");
    // One that was there before is not.
    shell(&ground.source(0), "mv tmp/outside kept/inside; mv old.part kept/old");
    let made = ground.point();
    assert_eq!(made["consistent"], json!(true), "{made}");
    assert_eq!(fs::read_to_string(ground.target(0).join("kept/inside")).unwrap(), "outside\n");
    assert_eq!(fs::read_to_string(ground.target(0).join("kept/old")).unwrap(), "old\n");
    wait_for_stream(&ground);
    shell(&ground.source(0), "echo more >> kept/old");
    ground.point();
    assert_eq!(fs::read_to_string(ground.target(0).join("kept/old")).unwrap(), "old\nmore\n");
}

#[test]
fn more_removals_than_are_allowed_are_not_repeated() {
    let ground = Roots::new(1, "");
    shell(&ground.source(0), "for i in {1..40}; do echo $i > $i; done");
    ground.mirror();
    wait_for_stream(&ground);
    shell(&ground.source(0), "rm 1 2 3");
    ground.point();
    ground.assert_equal();
    assert!(operations(&ground).is_some());
    for node in [&ground.alpha, &ground.beta] {
        let settings = fs::read_to_string(node.config()).unwrap();
        fs::write(node.config(), settings.replace("max_orphans = \"100%\"", "max_orphans = \"50%\"")).unwrap();
        node.run(&["reload"]).expect(0);
    }
    ground.alpha.run(&["mirror", "start", "mail", "--wait"]).expect(0);
    wait_for_stream(&ground);
    shell(&ground.source(0), "rm *");
    wait_until("the stream is over", PATIENCE, || operations(&ground).is_none());
    assert!(ground.target(0).join("40").exists());
    assert!(ground.alpha.log().contains("max_orphans"));
}
