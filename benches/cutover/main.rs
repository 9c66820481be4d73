//! From the death of a mail server to one that answers: Standin beside keepalived with rsync'ed data, the same Postfix and Dovecot on the same
//! machines (network namespaces). The table goes to `benches/RESULTS.md`. Started by `benches/run cutover`.
//!
//! Seen from outside alike: when the address is on the other node, when Postfix greets there, and when a client's message is accepted there.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(target_os = "linux")]

#[path = "../../tests/mail/clients.rs"]
#[allow(dead_code)]
mod clients;
#[path = "../../tests/support/forest/mod.rs"]
mod forest;
mod keepalived;
mod results;
#[path = "../../tests/mail/scene.rs"]
#[allow(dead_code)]
mod scene;
mod seen;
#[path = "../../tests/mail/servers.rs"]
#[allow(dead_code)]
mod servers;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../table/mod.rs"]
#[allow(dead_code)]
mod table;
#[path = "../../tests/mail/users.rs"]
#[allow(dead_code)]
mod users;

use scene::Scene;
use seen::{Outside, Seen};

const HELP: &str = "benches/run cutover [--rounds N] [--dry]

  --rounds N     so many failovers of each (default: 3)
  --dry          print, do not write RESULTS.md";

fn main() {
    clients::run_task();
    let (mut rounds, mut keep) = (3_usize, true);
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => {
                rounds = arguments.next().and_then(|n| n.parse().ok()).unwrap_or_else(|| usage("--rounds needs a number"))
            }
            "--dry" => keep = false,
            "--help" | "-h" => return println!("{HELP}"),
            other => usage(&format!("unknown argument {other}")),
        }
    }
    let (mut ours, mut theirs, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        theirs.push(keepalived::failover());
        let (seen, taken) = standin();
        println!("round {round}: keepalived {:?}, standin {seen:?}", theirs.last().unwrap());
        ours.push(seen);
        steps = taken;
    }
    let table = results::table(&theirs, &ours, &steps);
    println!("{table}");
    if keep {
        table::rewrite("cutover", |_| table.clone());
    }
}

fn usage(problem: &str) -> ! {
    eprintln!("{problem}\n\n{HELP}");
    std::process::exit(2)
}

/// A failover by Standin, said by a person in the moment of the loss: what was seen from outside, and its steps as it reports them.
fn standin() -> (Seen, Vec<String>) {
    let mut scene = Scene::new("").expect("root, FUSE, Postfix, Dovecot and BIND");
    scene.wait_synced("alpha");
    scene.wait_for_mail();
    let outside = Outside::begin(&scene.machines, &scene.record());
    scene.machines.power_off("alpha");
    scene.alpha.kill();
    let report = scene.cut_over("beta", &["failover", "mail", "--accept-loss", "any"]);
    let seen = outside.end();
    let step = |step: &serde_json::Value| {
        let what = step["what"].as_str().unwrap_or_default();
        format!("{what} at {} ms for {} ms", step["at_ms"], step["took_ms"])
    };
    (seen, report["steps"].as_array().into_iter().flatten().map(step).collect())
}
