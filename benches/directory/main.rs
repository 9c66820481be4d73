//! A failover of thousands of mailboxes on a Samba directory, beside the way of a script; the table goes to `benches/RESULTS.md`.
//! Started by `benches/run directory`.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(target_os = "linux")]

#[path = "../../tests/support/forest/mod.rs"]
mod forest;
mod results;
#[path = "../table/mod.rs"]
#[allow(dead_code)]
mod table;
mod ways;

use std::path::Path;
use std::time::Duration;

use forest::{Forest, Organization};
use ways::Way;

const HELP: &str = "benches/run directory [--mailboxes N] [--rounds N] [--dry]

  --mailboxes N  how many mailboxes the failed server has (default 5000)
  --rounds N     how often each way is gone; the median counts (default 3)
  --dry          print, do not write RESULTS.md";

fn main() {
    let (mut mailboxes, mut rounds, mut keep) = (5000, 3, true);
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).unwrap_or_else(|| usage("a number is missing"));
        match argument.as_str() {
            "--mailboxes" => mailboxes = number(),
            "--rounds" => rounds = number(),
            "--dry" => keep = false,
            "--help" | "-h" => return println!("{HELP}"),
            other => usage(&format!("unknown argument {other}")),
        }
    }
    let organization = Organization { mailboxes, strangers: mailboxes / 100 };
    let mut taken: Vec<Vec<Duration>> = vec![Vec::new(); Way::ALL.len()];
    for round in 0..rounds {
        for (at, way) in Way::ALL.iter().enumerate() {
            // Each on a copy of the same directory that never ran.
            let forest = Forest::start(Path::new(env!("CARGO_TARGET_TMPDIR")), &organization);
            let took = way.go(&forest, mailboxes);
            println!("round {}: {}: {took:.2?}", round + 1, way.words());
            taken[at].push(took);
        }
    }
    let text = results::table(mailboxes, rounds, &taken);
    println!("{text}");
    if keep {
        table::rewrite("directory", |_| text.clone());
    }
}

fn usage(problem: &str) -> ! {
    eprintln!("{problem}\n\n{HELP}");
    std::process::exit(2)
}
