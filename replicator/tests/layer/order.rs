//! The order of what is recorded is the order of what took effect.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::ground::Ground;

/// Bytes of the range that all writers write.
const RANGE: usize = 64 * 1024;

#[test]
fn whoever_writes_last_is_recorded_last() {
    let mut ground = Ground::new(|source| fs::write(source.join("file"), vec![0; RANGE]).unwrap());
    let path = ground.source().join("file");
    for round in 0..10 {
        std::thread::scope(|scope| {
            for writer in 0..4u64 {
                let path = &path;
                scope.spawn(move || {
                    // Two go through the cache, two around it.
                    let flags = if writer % 2 == 0 { 0 } else { rustix::fs::OFlags::DIRECT.bits() as i32 };
                    let file = OpenOptions::new().write(true).custom_flags(flags).open(path).unwrap();
                    for step in 0..20 {
                        file.write_all_at(&vec![(round * 80 + writer * 20 + step) as u8; RANGE / 2], step % 3 * 4096).unwrap();
                        if step == 10 {
                            file.set_len(writer * 10_000).unwrap();
                        }
                    }
                });
            }
        });
        ground.assert_same();
    }
}

/// Counts the rows of a database that was just cut off; it recovers first.
fn rows(database: &Path) -> u64 {
    let query = "pragma integrity_check; select count(*), coalesce(max(n), 0) from t;";
    let output = Command::new("sqlite3").arg(database).arg(query).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("ok"), "{text} {told}");
    let (count, most) = lines.next().expect("a count").split_once('|').unwrap();
    assert_eq!(count, most, "a later row without an earlier one");
    count.parse().unwrap()
}

/// A database is written to; at many moments the copy, cut off there, is one that recovers and holds every row that was committed.
fn database_recovers(mode: &str) {
    let mut ground = Ground::new(|_| {});
    let database = ground.source().join("db");
    let mut shell = Command::new("sqlite3").arg(&database).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = shell.stdin.take().unwrap();
    let mut answers = std::io::BufRead::lines(std::io::BufReader::new(shell.stdout.take().unwrap()));
    writeln!(input, "pragma journal_mode={mode}; create table t(n integer primary key, x text); select 'made';").unwrap();
    assert!(answers.any(|line| line.unwrap() == "made"));
    let cut = tempfile::TempDir::new().unwrap();
    for n in 1..=60 {
        writeln!(input, "insert into t values({n}, hex(randomblob(300))); select 'committed {n}';").unwrap();
        // Of every third, the next is under way when the copy is cut off.
        if n % 3 != 0 {
            assert_eq!(answers.next().unwrap().unwrap(), format!("committed {n}"));
        }
        ground.follow();
        let at = cut.path().join(n.to_string());
        assert!(Command::new("cp").arg("-a").arg(ground.copy()).arg(&at).status().unwrap().success());
        let rows = rows(&at.join("db"));
        assert!(rows == n || n % 3 == 0 && rows == n - 1, "{rows} rows after {n} were committed");
        if n % 3 == 0 {
            assert_eq!(answers.next().unwrap().unwrap(), format!("committed {n}"));
        }
    }
    drop(input);
    shell.wait().unwrap();
    ground.assert_same();
}

#[test]
fn a_database_with_a_rollback_journal_recovers() {
    database_recovers("delete");
}

#[test]
fn a_database_with_a_log_recovers() {
    database_recovers("wal");
}
