//! Work of databases.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rusqlite::Connection;

use crate::place::run;
use crate::postgres::Postgres;
use crate::support;

/// Transactions a second of SQLite, one insert each, its log written ahead and synced.
pub(crate) fn sqlite(at: &Path) -> f64 {
    const COUNT: i64 = 2000;
    let path = at.join("sqlite");
    let database = Connection::open(&path).unwrap();
    database.query_row("pragma journal_mode = wal", [], |row| row.get::<_, String>(0)).unwrap();
    database.execute_batch("pragma synchronous = full; create table t (n integer primary key, body blob)").unwrap();
    let began = Instant::now();
    for number in 0..COUNT {
        database.execute("insert into t values (?1, randomblob(500))", [number]).unwrap();
    }
    let rate = COUNT as f64 / began.elapsed().as_secs_f64();
    drop(database);
    std::fs::remove_file(path).unwrap();
    rate
}

/// Transactions a second of pgbench with eight clients, for ten seconds.
pub(crate) fn pgbench(at: &Path) -> f64 {
    let data = at.join("postgres");
    std::fs::create_dir(&data).unwrap();
    support::shell(at, "chmod 755 .; chown postgres postgres; chmod 700 postgres");
    Postgres::run("initdb", &["-D", data.to_str().unwrap(), "-A", "trust", "--no-sync"]).expect(0);
    let server = Postgres { data: data.clone(), port: "5435".to_owned() };
    server.start();
    let bench = |arguments: &[&str]| {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(Postgres::program("pgbench")).args([
            "-h",
            data.to_str().unwrap(),
            "-p",
            "5435",
        ]);
        command.args(arguments).arg("postgres").current_dir("/");
        run(command)
    };
    bench(&["-i", "-q", "-s", "5"]);
    let told = bench(&["-c", "8", "-j", "2", "-T", "10"]);
    server.stop("fast");
    std::fs::remove_dir_all(data).unwrap();
    let rate = told.lines().find_map(|line| line.strip_prefix("tps = ")).expect("pgbench tells its rate");
    rate.split_whitespace().next().unwrap().parse().unwrap()
}
