//! Lines that are cut and mended: a mirror waits, says why, and goes on by itself where it was.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

#[path = "../src/demo/material/mod.rs"]
mod material;
mod support;

use material::Random;
use support::{PATIENCE, Pair, Proxy, seed, shell, wait_for, wait_until};

const TOTAL: u64 = 24_000_000;
/// What may have been under way, or not yet durable, when the line was cut.
const LOST: u64 = 5_000_000;
/// After so long a silence, a connection is given up; a node that cannot be reached is dialled again within 20 s.
const SILENCE: Duration = Duration::from_secs(10);

/// A source of 24 MB that does not compress, whose node reaches the standby over a line that can be cut.
fn over_a_line() -> (Pair, Proxy) {
    let mut pair = Pair::new("");
    shell(&pair.source, "for i in {1..24}; do head -c 1000000 /dev/urandom > $i; done");
    let proxy = pair.over_a_line();
    (pair, proxy)
}

fn status(pair: &Pair) -> Value {
    Pair::status_of(&pair.alpha)
}

fn sent(status: &Value) -> u64 {
    status["mirror"]["data_bytes"].as_u64().unwrap_or(0)
}

/// Starts a slow mirror and waits until so much was sent.
fn send(pair: &Pair, limit: &str, bytes: u64) {
    pair.alpha.run(&["mirror", "start", "mail", "--limit", limit]).expect(0);
    wait_until("some was sent", PATIENCE, || sent(&status(pair)) >= bytes);
}

fn end(pair: &Pair) -> Value {
    wait_for("the mirror ends by itself", PATIENCE, || Some(status(pair)).filter(|status| status["state"] == "idle"))
}

#[test]
fn a_mirror_over_a_cut_line_waits_and_goes_on() {
    let (pair, proxy) = over_a_line();
    send(&pair, "6 MB/s", 10_000_000);
    proxy.cut();
    let waiting = wait_for("it is said that it waits", PATIENCE, || {
        Some(status(&pair)).filter(|status| status["state"] == "waiting" && status["trouble"].is_string())
    });
    let why = waiting["trouble"].as_str().unwrap();
    assert!(why.contains("cut off") && why.contains("nothing was heard"), "{waiting}");
    assert!(sent(&waiting) > 9_000_000, "it still says how far it is: {waiting}");
    let shown = pair.alpha.run(&["status", "mail"]).expect(0).stdout;
    assert!(shown.contains(why), "{shown}");
    // Dialling in vain is said, too.
    wait_until("it is said that the standby cannot be reached", PATIENCE, || {
        status(&pair)["trouble"].as_str().is_some_and(|why| why.contains("beta cannot be reached"))
    });
    assert_eq!(Pair::status_of(&pair.beta)["state"], "first_mirror");
    pair.beta.run(&["promote", "mail"]).expect(3);
    proxy.mend();
    let end = end(&pair);
    let last = &end["last_mirror"];
    let data = last["data_bytes"].as_u64().unwrap();
    println!("{data} bytes of data for {TOTAL} over a cut line");
    assert!(data < TOTAL + LOST, "what was durable is not sent again: {last}");
    // What QUIC had under way when the line was cut comes on top; that is the more, the slower a busy machine makes the line look.
    assert!(last["wire"]["sent_bytes"].as_u64().unwrap() < 2 * TOTAL, "{last}");
    assert_eq!((&end["trouble"], &last["consistent"]), (&Value::Null, &json!(true)), "{end}");
    assert!(last["resumed"].as_u64() >= Some(1), "{last}");
    pair.assert_equal();
}

#[test]
fn a_short_silence_is_no_cut() {
    let (pair, proxy) = over_a_line();
    send(&pair, "8 MB/s", 4_000_000);
    proxy.cut();
    let cut = Instant::now();
    wait_until("a while of silence passed", PATIENCE, || cut.elapsed() > SILENCE / 4);
    proxy.mend();
    let end = end(&pair);
    let last = &end["last_mirror"];
    assert_eq!((&last["resumed"], &last["consistent"], &last["passes"]), (&json!(0), &json!(true), &json!(1)), "{last}");
    assert_eq!(last["data_bytes"], json!(TOTAL), "{last}");
    pair.assert_equal();
}

/// The change of one large file in many places: what was compared and sent before the cut is not sent again.
#[test]
fn a_compared_file_goes_on_after_a_cut() {
    let (pair, proxy) = over_a_line();
    let mut random = Random::new(seed());
    let path = pair.source.join("database");
    shell(&pair.source, "head -c 64M /dev/urandom > database");
    pair.mirror(&[]);
    let file = File::options().write(true).open(&path).unwrap();
    let mut page = vec![0; 4096];
    for number in 0..64 * 1024 * 1024 / 4096 / 4 {
        random.fill(&mut page);
        file.write_all_at(&page, number * 4 * 4096).unwrap();
    }
    let changed = 16 << 20;
    let point = Pair::status_of(&pair.beta)["point"]["number"].clone();
    send(&pair, "4 MB/s", changed / 2);
    proxy.cut();
    wait_until("it waits", PATIENCE, || status(&pair)["state"] == "waiting");
    assert_eq!(Pair::status_of(&pair.beta)["point"]["number"], point, "the point stays");
    proxy.mend();
    let end = end(&pair);
    let data = end["last_mirror"]["data_bytes"].as_u64().unwrap();
    println!("{data} bytes of data for {changed} changed over a cut line");
    assert!(data < changed + changed / 4, "{end}");
    pair.assert_equal();
}

/// The line fails again and again, at random, as lines do.
#[test]
fn a_line_that_fails_all_the_time_only_takes_longer() {
    let (pair, proxy) = over_a_line();
    let mut random = Random::new(seed());
    pair.alpha.run(&["mirror", "start", "mail", "--limit", "5 MB/s"]).expect(0);
    let mut cuts = 0;
    while status(&pair)["state"] != "idle" {
        let (good, bad) = (200 + random.below(800), 50 + random.below(1200));
        for (time, cut) in [(good, false), (bad, true)] {
            if cut {
                proxy.cut()
            } else {
                proxy.mend()
            }
            let began = Instant::now();
            wait_until("the line changes", PATIENCE, || began.elapsed() > Duration::from_millis(time));
        }
        cuts += 1;
        assert!(cuts < 100, "it never ends");
    }
    println!("{cuts} cuts");
    proxy.mend();
    pair.assert_equal();
}

/// The scheduling policy of the thread that drives the daemon's link, as proc(5) counts the fields.
fn policy_of_link(daemon: u32) -> Option<u32> {
    let tasks = fs::read_dir(format!("/proc/{daemon}/task")).ok()?;
    let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
    stats.filter_map(|stat| stat.split_once(" (link) ")?.1.split(' ').nth(38)?.parse().ok()).next()
}

#[test]
fn on_a_long_line_only_the_link_runs_in_real_time() {
    let usual = Some(0);
    let prompt = if std::thread::available_parallelism().unwrap().get() > 1 { Some(2) } else { usual };
    let (pair, proxy) = over_a_line();
    pair.mirror(&[]);
    for node in [&pair.alpha, &pair.beta] {
        assert_eq!(policy_of_link(node.pid()), usual, "the line is short");
    }
    // The least that was ever seen counts, so this line has to begin as a long one.
    proxy.cut();
    wait_until("the link is gone", PATIENCE, || status(&pair)["peer"]["path"].is_null());
    proxy.lengthen(Duration::from_millis(5));
    proxy.mend();
    for node in [&pair.alpha, &pair.beta] {
        wait_until("the link of a long line runs at once", PATIENCE, || policy_of_link(node.pid()) == prompt);
    }
}
