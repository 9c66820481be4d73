//! Postfix and Dovecot on a replicated volume, with clients that deliver and read all the while: handed over and back, lost, stood in for,
//! and brought home. No accepted message is lost, and at no moment do two nodes answer.
//!
//! The set is ordered and durable: Postfix answers 250 when its queue file is synced, and only with these two that sync waits until
//! the standby has it on its disk. While the standby is away mail is accepted all the same (`on_disconnect = "continue"`): a pair that
//! stops when either of the two is lost would be worse than one machine.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clients;
#[path = "../support/forest/mod.rs"]
mod forest;
mod health;
mod scene;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod users;

use clients::unix_ms;
use scene::{Beside, LEASE_MS, Scene};
use serde_json::Value;
use support::{Done, PATIENCE, wait_until};

/// How often the group goes there and back: `STANDIN_ROUNDS`, or twice.
fn rounds() -> usize {
    std::env::var("STANDIN_ROUNDS").ok().map_or(2, |text| text.parse().expect("STANDIN_ROUNDS is a number"))
}

#[test]
fn mail_is_handed_over_and_back_under_load() {
    let Some(scene) = Scene::with(&Beside { users: true, ..Beside::default() }) else { return };
    for round in 1..=rounds() {
        for (from, to) in [("alpha", "beta"), ("beta", "alpha")] {
            scene.wait_for_mail();
            scene.wait_synced(from);
            let before = unix_ms();
            let report = scene.cut_over(to, &["handoff", "mail", "--to", to]);
            scene.wait_for_mail();
            scene.assert_one(to, from);
            assert_eq!(report["loss_ms"], 0);
            let (delivering, reading) = (scene.longest_gap_ms("accepted", before), scene.longest_gap_ms("read", before));
            println!(
                "round {round}, {from} -> {to}: outage {} ms as reported, {delivering} ms for who delivers, {reading} ms for who reads",
                report["outage_ms"]
            );
        }
    }
    scene.stop_clients();
    let (accepted, doubled) = scene.assert_all_there();
    assert!(doubled.is_empty(), "of {accepted} messages these are there twice: {}", scene.story_of(&doubled));
    println!("{accepted} messages accepted, all there once");
    scene.assert_never_two(2 * rounds());
}

#[test]
fn a_lost_mail_server_is_stood_in_for_and_comes_home() {
    let Some(mut scene) = Scene::new("") else { return };
    let lost = lose(&mut scene);
    let report = scene.cut_over("beta", &["failover", "mail", "--accept-loss", "any"]);
    stood_in_for(&scene, &report, lost);
    comes_home(&mut scene);
}

#[test]
fn a_mail_server_that_dies_is_stood_in_for_by_itself_and_comes_home() {
    let Some(mut scene) = Scene::with(&Beside { automatic: true, users: true, ..Beside::default() }) else { return };
    wait_until("beta could take over", PATIENCE, || {
        scene.monitor("beta")["obstacle"].to_string().contains("alpha has it and is there")
    });
    let lost = lose(&mut scene);
    let report = scene.wait_for_end("beta", "finished");
    println!("    {} ms from the loss until the run began", report["begun_unix_ms"].as_u64().unwrap() - lost);
    stood_in_for(&scene, &report, lost);
    // Started again without its network it knows nobody, so it does nothing.
    scene.alpha.start();
    let since = unix_ms();
    let greets = ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/25"];
    wait_until("a lease passes", PATIENCE, || {
        assert!(!scene.machines.has_floating("alpha"), "alpha takes no address");
        assert_ne!(Done::of(scene.machines.command("alpha", &greets)).code, Some(0), "alpha starts nothing");
        unix_ms() > since + LEASE_MS
    });
    comes_home(&mut scene);
}

/// The machine of the source dies, while mail is accepted; returns when.
fn lose(scene: &mut Scene) -> u64 {
    scene.wait_for_mail();
    scene.wait_synced("alpha");
    scene.wait_for_mail();
    let lost = unix_ms();
    scene.machines.power_off("alpha");
    scene.alpha.kill();
    lost
}

/// Panics unless beta answers, and has everything that was accepted.
fn stood_in_for(scene: &Scene, report: &Value, lost: u64) {
    scene.wait_for_mail();
    scene.assert_one("beta", "alpha");
    println!(
        "failover: {} ms as reported, {} ms from the loss for who delivers, {} ms for who reads; {} ms of changes may be lost",
        report["outage_ms"],
        scene.longest_gap_ms("accepted", lost),
        scene.longest_gap_ms("read", lost),
        report["loss_ms"]
    );
    // Durable: what was answered with 250 is there, although its machine is gone.
    let (accepted, doubled) = scene.assert_all_there();
    println!("{accepted} messages accepted so far, all there; {} delivered twice, as after any crash of Postfix", doubled.len());
}

/// The old source comes back as a standby, keeps its own changes aside, and is handed the group.
fn comes_home(scene: &mut Scene) {
    // Something that only the old source has, as if it had been written in its last moment.
    std::fs::write(scene.volume("alpha").join("mail/only-here"), "the standby never had this").unwrap();
    scene.machines.plug("alpha", true);
    if !scene.alpha.is_running() {
        scene.alpha.start();
    }
    wait_until("alpha knows that beta has the group", PATIENCE, || scene.online(&scene.alpha) == "beta");
    wait_until("what only alpha had is kept aside, and listed", PATIENCE, || {
        support::shell(&scene.alpha.state_dir(), "grep -rl only-here . || true").lines().next().is_some()
    });
    scene.wait_for_mail();
    scene.assert_one("beta", "alpha");
    let home = unix_ms();
    let report = scene.cut_over("beta", &["failback", "mail"]);
    assert_eq!(report["to"], "alpha");
    scene.wait_for_mail();
    scene.assert_one("alpha", "beta");
    println!("failback: {} ms as reported, {} ms for who delivers", report["outage_ms"], scene.longest_gap_ms("accepted", home));
    scene.stop_clients();
    let (accepted, doubled) = scene.assert_all_there();
    println!("{accepted} messages accepted, all there, {} delivered twice", doubled.len());
    scene.assert_never_two(2);
}
