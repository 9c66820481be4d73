//! Work through the layer of an ordered set with a standby attached, beside the directory itself and the plainest layer there is; the
//! table goes to `benches/RESULTS.md`. Started by `benches/run ordered`.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(target_os = "linux")]

mod database;
mod place;
#[path = "../../tests/ordered/postgres.rs"]
#[allow(dead_code)]
mod postgres;
mod rows;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../table/mod.rs"]
#[allow(dead_code)]
mod table;
mod work;

use rows::Row;
use table::Table;

const TABLE: Table = Table {
    name: "ordered",
    head: "| work | what | beside | its | standin's | ratio | goal |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    keys: 3,
};

const HELP: &str = "benches/run ordered [--rows LIST] [--rounds N] [--dry]

  --rows LIST    of sequential,sync,durable,writers,sqlite,pgbench,cached,files,age (default: all)
  --rounds N     how often each is measured, in turn; the median counts (default 3)
  --dry          print, do not write RESULTS.md";

fn main() {
    let (mut rows, mut rounds, mut keep) = (Row::ALL.to_vec(), 3, true);
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rows" => {
                let list = arguments.next().unwrap_or_else(|| usage("--rows needs a list"));
                let known = |name: &str| Row::ALL.iter().copied().find(|row| row.name() == name);
                rows = list.split(',').map(|name| known(name).unwrap_or_else(|| usage(&format!("unknown row {name}")))).collect();
            }
            "--rounds" => {
                rounds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or_else(|| usage("--rounds needs a number"));
            }
            "--dry" => keep = false,
            "--help" | "-h" => return println!("{HELP}"),
            other => usage(&format!("unknown argument {other}")),
        }
    }
    for row in rows {
        for line in row.run(rounds) {
            println!("{line}");
            if keep {
                TABLE.keep(&line);
            }
        }
    }
}

fn usage(problem: &str) -> ! {
    eprintln!("{problem}\n\n{HELP}");
    std::process::exit(2)
}
