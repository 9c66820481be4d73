//! Databases on ordered roots, cut off and killed at any moment: what the standby has opens, is whole, and has all that was promised.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

use crate::material::Random;
use crate::postgres::Postgres;
use crate::roots::Roots;
use crate::support::{PATIENCE, seed, wait_until};

/// How often a line is cut or a daemon killed, unless `STANDIN_CUTS` says otherwise.
const CUTS: u64 = 6;

pub(crate) fn cuts() -> u64 {
    std::env::var("STANDIN_CUTS").map_or(CUTS, |text| text.parse().expect("STANDIN_CUTS is a number"))
}

fn open(path: &Path, journal: &str) -> rusqlite::Result<Connection> {
    let database = Connection::open(path)?;
    database.busy_timeout(Duration::from_secs(20))?;
    database.query_row(&format!("pragma journal_mode = {journal}"), [], |row| row.get::<_, String>(0))?;
    database.execute_batch("pragma synchronous = extra; create table if not exists t (n integer primary key, body blob)")?;
    Ok(database)
}

/// Commits one number after the other until it is told to end or fails; `committed` is the last that the client saw committed.
fn write(path: &Path, journal: &str, committed: &AtomicU64, ended: &AtomicBool) -> rusqlite::Result<()> {
    let database = open(path, journal)?;
    let mut number: u64 = database.query_row("select coalesce(max(n), 0) from t", [], |row| row.get::<_, i64>(0))? as u64;
    while !ended.load(SeqCst) {
        number += 1;
        database.execute("insert into t values (?1, randomblob(500))", [number as i64])?;
        committed.store(number, SeqCst);
    }
    Ok(())
}

/// Opens what a standby has: it must be whole, with every number up to the last. Returns that.
#[track_caller]
fn check(path: &Path) -> u64 {
    let database = Connection::open(path).unwrap();
    let whole: String = database.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok", "{path:?}");
    let read = |what: &str| database.query_row(&format!("select {what} from t"), [], |row| row.get::<_, i64>(0)).unwrap_or(0);
    let (count, last) = (read("count(*)"), read("coalesce(max(n), 0)"));
    assert_eq!(count, last, "a later transaction is there without an earlier one, in {path:?}");
    last as u64
}

const JOURNALS: [&str; 2] = ["wal", "delete"];

#[test]
fn what_was_seen_committed_is_on_the_standby_wherever_the_line_is_cut() {
    let seed = seed();
    let mut random = Random::new(seed);
    let mut ground = Roots::new(1, "acknowledge = \"durable\"\non_disconnect = \"block\"\nhistory_points = 20");
    let proxy = ground.over_a_line();
    ground.mirror();
    let ended = AtomicBool::new(false);
    let committed = JOURNALS.map(|_| AtomicU64::new(0));
    let paths = JOURNALS.map(|journal| ground.source(0).join(journal));
    let began = Instant::now();
    thread::scope(|scope| {
        let writing: Vec<_> = (0..JOURNALS.len())
            .map(|index| {
                scope.spawn({
                    let (ended, committed, paths) = (&ended, &committed, &paths);
                    move || write(&paths[index], JOURNALS[index], &committed[index], ended)
                })
            })
            .collect();
        let struck = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for cut in 0..cuts() {
                let before = committed[0].load(SeqCst);
                wait_until("transactions are committed", PATIENCE, || committed[0].load(SeqCst) > before + 5);
                thread::park_timeout(Duration::from_micros(random.below(100_000)));
                proxy.cut();
                let seen: Vec<_> = committed.iter().map(|committed| committed.load(SeqCst)).collect();
                let base = tempfile::tempdir().unwrap();
                let (replicas, point) = ground.promoted(base.path());
                for (journal, seen) in JOURNALS.iter().zip(seen) {
                    let has = check(&replicas[0].join(journal));
                    println!("cut {cut}, point {}, {journal}: {seen} seen committed, {has} on the standby", point["number"]);
                    assert!(has >= seen, "{journal}: {has} of {seen}");
                }
                proxy.mend();
            }
        }));
        ended.store(true, SeqCst);
        proxy.mend();
        writing.into_iter().for_each(|writing| writing.join().unwrap().unwrap());
        struck.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let done: u64 = committed.iter().map(|committed| committed.load(SeqCst)).sum();
    println!("{done} transactions in {:?}; {}", began.elapsed(), ground.status()["layer"]);
    ground.point();
    ground.assert_equal();
}

#[test]
fn a_killed_daemon_gives_errors_and_only_what_was_active_is_compared() {
    let seed = seed();
    let mut random = Random::new(seed);
    let large = "head -c 40000000 /dev/urandom > large; mkdir d; for i in {1..200}; do echo $i > d/$i; done";
    let mut ground = Roots::filled(1, "acknowledge = \"durable\"\non_disconnect = \"continue\"\nhistory_points = 20", large);
    ground.mirror();
    for kill in 0..cuts() {
        let (ended, committed) = (AtomicBool::new(false), AtomicU64::new(0));
        let path = ground.source(0).join("wal");
        let seen = thread::scope(|scope| {
            let writing = scope.spawn(|| write(&path, "wal", &committed, &ended));
            wait_until("transactions are committed", PATIENCE, || committed.load(SeqCst) > 3 || writing.is_finished());
            thread::park_timeout(Duration::from_micros(random.below(200_000)));
            let seen = if kill % 2 == 0 {
                ground.alpha.kill();
                committed.load(SeqCst)
            } else {
                let seen = committed.load(SeqCst);
                ground.beta.kill();
                ended.store(true, SeqCst);
                seen
            };
            let written = writing.join().unwrap();
            assert_eq!(written.is_err(), kill % 2 == 0, "{written:?}");
            seen
        });
        if kill % 2 == 0 {
            assert!(std::fs::write(ground.source(0).join("new"), "never").is_err(), "nobody replicates it");
            ground.alpha.start();
        } else {
            ground.beta.start();
        }
        ground.point();
        ground.assert_equal();
        assert!(!ground.source(0).join("new").exists());
        let status = ground.status();
        println!(
            "kill {kill}: {seen} seen committed; left {}; {} bytes sent by rounds",
            status["layer"]["left"], status["followed"]["sent_bytes"]
        );
        if kill % 2 == 0 {
            assert!(status["layer"]["left"]["bytes"].as_u64() < Some(20_000_000), "not the large file: {status}");
        }
        let base = tempfile::tempdir().unwrap();
        let (replicas, _) = ground.promoted(base.path());
        assert!(check(&replicas[0].join("wal")) >= seen);
    }
}

#[test]
fn postgres_with_its_log_on_another_root_recovers_with_all_that_was_seen_committed() {
    let seed = seed();
    let mut random = Random::new(seed);
    let mut ground = Roots::new(2, "acknowledge = \"durable\"\non_disconnect = \"block\"\nhistory_points = 20");
    let proxy = ground.over_a_line();
    let open = format!(
        "chmod 755 {0}; chown postgres {0}/source0 {0}/source1; chmod 700 {0}/source0 {0}/source1",
        ground.dir.path().display()
    );
    crate::shell(ground.dir.path(), &open);
    let (data, wal) = (ground.source(0).join("data"), ground.source(1).join("wal"));
    Postgres::run("initdb", &["-D", data.to_str().unwrap(), "-X", wal.to_str().unwrap(), "-A", "trust", "--no-sync"]).expect(0);
    ground.mirror();
    let server = Postgres { data, port: "5433".to_owned() };
    server.start();
    server.ask("create table t (n bigint primary key, body text)").expect(0);
    let (ended, committed) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            while !ended.load(SeqCst) {
                let next = committed.load(SeqCst) + 1;
                server.ask(&format!("insert into t values ({next}, repeat(md5({next}::text), 30))")).expect(0);
                committed.store(next, SeqCst);
            }
        });
        let struck = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for cut in 0..cuts() / 2 {
                let before = committed.load(SeqCst);
                wait_until("transactions are committed", PATIENCE, || committed.load(SeqCst) > before + 3);
                thread::park_timeout(Duration::from_micros(random.below(200_000)));
                proxy.cut();
                let seen = committed.load(SeqCst);
                let base = tempfile::tempdir().unwrap();
                crate::shell(base.path(), "chmod 755 .");
                let (replicas, point) = ground.promoted(base.path());
                let copy = Postgres { data: replicas[0].join("data"), port: "5434".to_owned() };
                let pg_wal = copy.data.join("pg_wal");
                std::fs::remove_file(&pg_wal).unwrap();
                std::os::unix::fs::symlink(replicas[1].join("wal"), &pg_wal).unwrap();
                let _ = std::fs::remove_file(copy.data.join("postmaster.pid"));
                copy.start();
                let found = copy.ask("set enable_indexscan = off; select count(*), coalesce(max(n), 0) from t").expect(0).stdout;
                copy.stop("fast");
                let (count, last) = found.trim().split_once('|').unwrap();
                println!("cut {cut}, point {}: {seen} seen committed, {last} on the standby", point["number"]);
                assert_eq!(count, last);
                assert!(last.parse::<u64>().unwrap() >= seen, "{last} of {seen}");
                proxy.mend();
            }
        }));
        ended.store(true, SeqCst);
        proxy.mend();
        let written = writing.join();
        server.stop("immediate");
        written.unwrap();
        struck.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert_eq!(ground.point()["consistent"], json!(true));
    ground.assert_equal();
}
