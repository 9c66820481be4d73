//! Databases on ordered roots, cut off and killed at any moment: what the standby has opens, is whole, and has all that was promised.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use crate::cuts::{Promise, Work, assert_all_there, cut_while_working, cuts};
use crate::material::Random;
use crate::postgres::Postgres;
use crate::roots::Roots;
use crate::support::{PATIENCE, seed, wait_until};

fn open(path: &Path, journal: &str) -> rusqlite::Result<Connection> {
    let database = Connection::open(path)?;
    database.busy_timeout(Duration::from_secs(20))?;
    database.query_row(&format!("pragma journal_mode = {journal}"), [], |row| row.get::<_, String>(0))?;
    database.execute_batch("pragma synchronous = extra; create table if not exists t (n integer primary key, body blob)")?;
    Ok(database)
}

/// Commits one number after the other until the work ends, or fails.
fn write(path: &Path, journal: &str, worker: usize, work: &Work) -> rusqlite::Result<()> {
    let database = open(path, journal)?;
    let mut number: u64 = database.query_row("select coalesce(max(n), 0) from t", [], |row| row.get::<_, i64>(0))? as u64;
    while work.goes_on() {
        number += 1;
        database.execute("insert into t values (?1, randomblob(500))", [number as i64])?;
        work.did(worker, number);
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

fn transactions_are_committed(promise: Promise) {
    let mut random = Random::new(seed());
    let mut ground = Roots::new(1, promise.keys());
    let proxy = ground.over_a_line();
    ground.mirror();
    let (source, work) = (ground.source(0), Work::new(JOURNALS.len()));
    let worker = |index: usize| write(&source.join(JOURNALS[index]), JOURNALS[index], index, &work).unwrap();
    let check = |_: &Path, replicas: Vec<PathBuf>| JOURNALS.map(|journal| check(&replicas[0].join(journal))).to_vec();
    cut_while_working((&ground, &proxy), (promise, cuts(), &mut random), &work, &worker, &check);
    assert_all_there(&ground, &work, &check);
}

#[test]
fn what_was_seen_committed_is_on_the_standby_wherever_the_line_is_cut() {
    transactions_are_committed(Promise::Seen);
}

#[test]
fn what_was_committed_before_the_last_mark_is_on_the_standby_wherever_the_line_is_cut() {
    transactions_are_committed(Promise::Marked);
}

#[test]
fn a_killed_daemon_gives_errors_and_only_what_was_active_is_compared() {
    let seed = seed();
    let mut random = Random::new(seed);
    let large = "head -c 40000000 /dev/urandom > large; mkdir d; for i in {1..200}; do echo $i > d/$i; done";
    let mut ground = Roots::filled(1, "acknowledge = \"durable\"\non_disconnect = \"continue\"\nhistory_points = 20", large);
    ground.mirror();
    for kill in 0..cuts() {
        let work = Work::new(1);
        let path = ground.source(0).join("wal");
        let seen = thread::scope(|scope| {
            let writing = scope.spawn(|| write(&path, "wal", 0, &work));
            wait_until("transactions are committed", PATIENCE, || work.done()[0] > 3 || writing.is_finished());
            thread::park_timeout(Duration::from_micros(random.below(200_000)));
            let seen = if kill % 2 == 0 {
                ground.alpha.kill();
                work.done()[0]
            } else {
                let seen = work.done()[0];
                ground.beta.kill();
                work.end();
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

/// Opens the clone of a server; returns the last number, before which none is missing.
fn check_postgres(replicas: &[PathBuf]) -> u64 {
    let copy = Postgres { data: replicas[0].join("data"), port: "5434".to_owned() };
    let pg_wal = copy.data.join("pg_wal");
    std::fs::remove_file(&pg_wal).unwrap();
    std::os::unix::fs::symlink(replicas[1].join("wal"), &pg_wal).unwrap();
    let _ = std::fs::remove_file(copy.data.join("postmaster.pid"));
    copy.start();
    let found = copy.ask("set enable_indexscan = off; select count(*), coalesce(max(n), 0) from t").expect(0).stdout;
    copy.stop("fast");
    let (count, last) = found.trim().split_once('|').unwrap();
    assert_eq!(count, last, "a later transaction is there without an earlier one");
    last.parse().unwrap()
}

fn postgres_commits(promise: Promise, port: &str) {
    let mut random = Random::new(seed());
    let mut ground = Roots::new(2, promise.keys());
    let proxy = ground.over_a_line();
    let open = format!(
        "chmod 755 {0}; chown postgres {0}/source0 {0}/source1; chmod 700 {0}/source0 {0}/source1",
        ground.dir.path().display()
    );
    crate::shell(ground.dir.path(), &open);
    let (data, wal) = (ground.source(0).join("data"), ground.source(1).join("wal"));
    Postgres::run("initdb", &["-D", data.to_str().unwrap(), "-X", wal.to_str().unwrap(), "-A", "trust", "--no-sync"]).expect(0);
    ground.mirror();
    let server = Postgres { data, port: port.to_owned() };
    server.start();
    server.ask("create table t (n bigint primary key, body text)").expect(0);
    let work = Work::new(1);
    let worker = |index: usize| {
        for number in 1.. {
            if !work.goes_on() {
                break;
            }
            server.ask(&format!("insert into t values ({number}, repeat(md5({number}::text), 30))")).expect(0);
            work.did(index, number);
        }
    };
    let check = |_: &Path, replicas: Vec<PathBuf>| vec![check_postgres(&replicas)];
    let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cut_while_working((&ground, &proxy), (promise, cuts().div_ceil(2), &mut random), &work, &worker, &check);
    }));
    server.stop("immediate");
    worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert_all_there(&ground, &work, &check);
}

#[test]
fn postgres_with_its_log_on_another_root_recovers_with_all_that_was_seen_committed() {
    postgres_commits(Promise::Seen, "5433");
}

#[test]
fn postgres_with_its_log_on_another_root_recovers_with_all_that_was_committed_before_the_last_mark() {
    postgres_commits(Promise::Marked, "5435");
}
