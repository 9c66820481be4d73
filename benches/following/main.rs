//! Standin following a source, beside lsyncd with rsync; the table goes to `benches/RESULTS.md`. Started by `benches/run following`.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(target_os = "linux")]

mod follower;
mod lsyncd;
mod results;
mod rows;
mod rsync;
mod standin;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../table/mod.rs"]
mod table;

use rows::Row;

const HELP: &str = "benches/run following [--rows LIST] [--dry]

  --rows LIST    of fresh,busy,catchup,idle (default: all)
  --dry          print, do not write RESULTS.md";

fn main() {
    let (mut rows, mut keep) = (Row::ALL.to_vec(), true);
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rows" => {
                let list = arguments.next().unwrap_or_else(|| usage("--rows needs a list"));
                let known = |name: &str| Row::ALL.iter().copied().find(|row| row.name() == name);
                rows = list.split(',').map(|name| known(name).unwrap_or_else(|| usage(&format!("unknown row {name}")))).collect();
            }
            "--dry" => keep = false,
            "--help" | "-h" => return println!("{HELP}"),
            other => usage(&format!("unknown argument {other}")),
        }
    }
    for row in rows {
        for line in row.run() {
            println!("{line}");
            if keep {
                results::TABLE.keep(&line);
            }
        }
    }
}

fn usage(problem: &str) -> ! {
    eprintln!("{problem}\n\n{HELP}");
    std::process::exit(2)
}
