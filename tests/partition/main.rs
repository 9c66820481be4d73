//! A group that fails over by itself, with real daemons and a real etcd, while lines are cut in every way that two nodes and a witness have,
//! and machines and daemons die: the address and the service are on one node at most, and come back.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../cutover/mail.rs"]
#[allow(dead_code)]
mod mail;
mod scene;
#[path = "../support/mod.rs"]
mod support;

use scene::Scene;
use support::{PATIENCE, wait_until};

/// How often lines come and go: `STANDIN_ROUNDS`, or twelve times.
fn rounds() -> usize {
    std::env::var("STANDIN_ROUNDS").ok().map_or(12, |text| text.parse().expect("STANDIN_ROUNDS is a number"))
}

#[test]
fn a_source_that_dies_is_stood_in_for() {
    let Some(mut scene) = Scene::new() else { return };
    wait_until("beta reads the witness's word", PATIENCE, || scene.view(&scene.beta)["witness"]["word"]["holder"] == "alpha");
    let before = scene.view(&scene.beta);
    assert!(before["obstacle"].as_str().unwrap().contains("alpha has it and is there"), "{before:#}");
    println!("{}", scene.beta.run(&["monitor", "mail"]).expect(0).stdout);
    scene.machines.power_off("alpha");
    scene.alpha.kill();
    wait_until("alpha is missed", PATIENCE, || scene.view(&scene.beta)["time_to_fail_ms"] == 0);
    println!("{}", scene.beta.run(&["monitor", "mail"]).expect(0).stdout);
    scene.wait_until_served_by("beta");
    println!("{} ms without an answer, from the death of the source", scene.longest_gap_ms());
    let told = scene.dir.path().join("beta/alerts");
    wait_until("somebody is told", PATIENCE, || {
        std::fs::read_to_string(&told).is_ok_and(|told| told.contains("mail took_over: beta took over from alpha by itself"))
    });
    // It comes back as a standby, and starts nothing.
    scene.machines.plug("alpha", true);
    scene.alpha.start();
    wait_until("alpha knows that beta has the group", PATIENCE, || scene.view(&scene.alpha)["online"] == "beta");
    scene.wait_until_served_by("beta");
}

#[test]
fn a_fence_that_fails_keeps_a_node_from_taking_over_and_one_that_succeeds_lets_it() {
    let Some(mut scene) = Scene::new() else { return };
    let (fenced, works) = (scene.dir.path().join("fenced"), scene.dir.path().join("works"));
    let script = format!("echo \"$STANDIN_LOST for $STANDIN_NODE\" >>{}; test -f {}", fenced.display(), works.display());
    scene.rewrite("failover = \"automatic\"", &format!("failover = \"automatic\"\nfence = {}", support::group::sh(&script)));
    scene.wait_until_served_by("alpha");
    wait_until("beta knows that alpha has the group", PATIENCE, || scene.view(&scene.beta)["online"] == "alpha");
    scene.machines.power_off("alpha");
    scene.alpha.kill();
    let alerts = scene.dir.path().join("beta/alerts");
    wait_until("somebody is told", PATIENCE, || {
        std::fs::read_to_string(&alerts)
            .is_ok_and(|told| told.contains("not_taken_over") && told.contains("whether alpha still serves is not known"))
    });
    println!("{}", std::fs::read_to_string(&alerts).unwrap());
    assert_eq!(std::fs::read_to_string(&fenced).unwrap().lines().next(), Some("alpha for beta"));
    assert!(!scene.machines.has_floating("beta"), "nothing was taken over");
    std::fs::write(works, "").unwrap();
    scene.beta.run(&["monitor", "ack", "mail"]).expect(0);
    scene.wait_until_served_by("beta");
}

#[test]
fn what_does_not_start_where_it_went_is_handed_to_the_node_that_is_back() {
    let Some(mut scene) = Scene::new() else { return };
    scene.spoil("beta", "broken");
    scene.machines.power_off("alpha");
    scene.alpha.kill();
    wait_until("beta has tried in vain", PATIENCE, || scene.beta.log().contains("the cutover is not finished"));
    scene.machines.plug("alpha", true);
    scene.alpha.start();
    scene.wait_until_served_by("alpha");
    // It is not given back to beta before somebody was there.
    assert!(scene.failed(&scene.beta).as_str().is_some_and(|why| why.contains("could not be finished here")));
    scene.mend("beta", "broken");
    scene.beta.run(&["monitor", "ack", "mail"]).expect(0);
    wait_until("that is forgotten", PATIENCE, || scene.failed(&scene.beta).is_null());
    scene.alpha.run(&["handoff", "mail", "--to", "beta"]).expect(0);
    scene.wait_until_served_by("beta");
}

#[test]
fn a_node_that_dies_while_it_gets_the_group_leaves_it_where_it_was() {
    // Before it was source, and after.
    for (node, spoilt) in [("alpha", "tardy"), ("beta", "slow")] {
        let Some(mut scene) = Scene::new() else { return };
        scene.spoil(node, spoilt);
        scene.hand_over_in_the_background("beta");
        let begun = scene.dir.path().join(node).join("begun");
        wait_until("it is on its way", PATIENCE, || begun.exists());
        scene.machines.power_off("beta");
        scene.beta.kill();
        scene.mend(node, spoilt);
        let told = scene.dir.path().join("alpha/alerts");
        wait_until("alpha has it again by itself", PATIENCE, || {
            std::fs::read_to_string(&told).is_ok_and(|told| told.contains("alpha took over from beta by itself"))
        });
        scene.wait_until_served_by("alpha");
        println!("{spoilt}: {} ms without an answer", scene.longest_gap_ms());
        scene.machines.plug("beta", true);
        scene.beta.start();
        wait_until("beta knows that alpha has the group", PATIENCE, || scene.view(&scene.beta)["online"] == "alpha");
        scene.alpha.run(&["wait", "mail", "--synced", "--timeout", "60"]).expect(0);
        scene.alpha.run(&["handoff", "mail", "--to", "beta"]).expect(0);
        scene.wait_until_served_by("beta");
    }
}

#[test]
fn what_does_not_start_where_it_was_handed_comes_back() {
    let Some(scene) = Scene::new() else { return };
    scene.spoil("beta", "broken");
    scene.hand_over_in_the_background("beta");
    wait_until("beta has tried in vain", PATIENCE, || scene.beta.log().contains("the cutover is not finished"));
    wait_until("it is handed back", PATIENCE, || !scene.failed(&scene.beta).is_null());
    scene.wait_until_served_by("alpha");
    wait_until("beta knows that alpha has the group", PATIENCE, || {
        let [alpha, beta] = [&scene.alpha, &scene.beta].map(|node| scene.view(node));
        alpha["online"] == "alpha"
            && beta["online"] == "alpha"
            && beta["obstacle"].as_str().unwrap().contains("alpha has it and is there")
    });
    // Nobody had a right that ended: it was given from one to the other and back.
    for node in [&scene.alpha, &scene.beta] {
        assert!(!node.log().contains("stops what it has"), "{}", node.log());
    }
    scene.alpha.run(&["wait", "mail", "--synced", "--timeout", "60"]).expect(0);
}

/// The group is handed to beta, which cannot start it, and so it is on its way back to alpha, and all is stopped.
fn on_its_way_back() -> Option<Scene> {
    let scene = Scene::new()?;
    scene.spoil("beta", "broken");
    scene.hand_over_in_the_background("beta");
    // What is written to it last is on its way then.
    wait_until("beta stops for alpha", PATIENCE, || {
        scene.beta.log().contains("it is not here any more group=mail resource=address")
    });
    Some(scene)
}

fn wait_until_alpha_is_stuck(scene: &Scene) {
    wait_until("alpha cannot go on with it", PATIENCE, || {
        ["NOT FINISHED", "is not finished", "is taken back"].iter().any(|said| scene.alpha.log().contains(said))
    });
}

fn assert_settles(scene: &Scene) {
    wait_until("no run is left", PATIENCE, || {
        let shown = scene.alpha.json(&["group", "show", "mail"]);
        ["alpha", "beta"].iter().all(|node| {
            let there = &shown[0]["facts"]["nodes"][node]["there"];
            there["state"].is_object() && there["unfinished"].is_null() && there["state"]["claim"].is_null()
        })
    });
    scene.wait_for_mail();
    scene.assert_one();
}

#[test]
fn what_is_handed_back_when_the_line_is_cut_is_served_by_one_again() {
    let Some(scene) = on_its_way_back() else { return };
    scene.machines.cut("alpha", "beta", true);
    wait_until_alpha_is_stuck(&scene);
    scene.mend("beta", "broken");
    scene.wait_for_mail();
    scene.assert_one();
    scene.machines.cut("alpha", "beta", false);
    assert_settles(&scene);
}

#[test]
fn what_is_handed_back_by_a_node_whose_daemon_dies_as_the_line_is_cut_is_served_by_one_again() {
    let Some(mut scene) = on_its_way_back() else { return };
    scene.machines.cut("alpha", "beta", true);
    scene.beta.kill();
    scene.beta.start();
    wait_until_alpha_is_stuck(&scene);
    scene.mend("beta", "broken");
    scene.machines.cut("alpha", "beta", false);
    assert_settles(&scene);
}

#[test]
fn who_gets_it_back_and_begins_again_on_the_way_says_nothing_that_is_not_so() {
    let Some(mut scene) = on_its_way_back() else { return };
    scene.alpha.kill();
    scene.alpha.start();
    scene.mend("beta", "broken");
    assert_settles(&scene);
    for node in [&scene.alpha, &scene.beta] {
        let log = node.log();
        for false_alarm in ["it serves again", "does not start again", "by itself, and did not"] {
            assert!(!log.contains(false_alarm), "{}: {false_alarm}", node.name);
        }
    }
}

#[test]
fn a_node_that_dies_while_it_gives_the_group_is_stood_in_for() {
    let Some(mut scene) = Scene::new() else { return };
    scene.spoil("alpha", "tardy");
    scene.hand_over_in_the_background("beta");
    let begun = scene.dir.path().join("alpha/begun");
    wait_until("it is on its way", PATIENCE, || begun.exists());
    scene.machines.power_off("alpha");
    scene.alpha.kill();
    scene.wait_until_served_by("beta");
    println!("{} ms without an answer", scene.longest_gap_ms());
    scene.mend("alpha", "tardy");
    scene.machines.plug("alpha", true);
    scene.alpha.start();
    wait_until("alpha knows that beta has the group", PATIENCE, || scene.view(&scene.alpha)["online"] == "beta");
    scene.wait_until_served_by("beta");
}

#[test]
fn a_group_that_is_a_persons_from_now_on_is_not_stopped_by_an_old_guard() {
    let Some(mut scene) = Scene::new() else { return };
    scene.rewrite("failover = \"automatic\"", "failover = \"manual\"");
    let since = std::time::Instant::now();
    wait_until("the old right is over for long", PATIENCE, || {
        assert!(scene.machines.has_floating("alpha"), "the guard stopped it");
        since.elapsed().as_secs() > 12
    });
    scene.wait_until_served_by("alpha");
}

#[test]
fn a_daemon_that_dies_alone_takes_its_services_with_it() {
    let Some(mut scene) = Scene::new() else { return };
    scene.alpha.kill();
    scene.wait_until_served_by("beta");
    assert!(!scene.machines.has_floating("alpha"));
    assert!(scene.alpha.log().contains("the guard does"), "{}", scene.alpha.log());
    scene.alpha.start();
    wait_until("alpha knows that beta has the group", PATIENCE, || scene.view(&scene.alpha)["online"] == "beta");
    scene.assert_one();
}

#[test]
fn a_start_that_outlives_its_daemon_starts_nothing_beside_the_other_node() {
    let Some(mut scene) = Scene::new() else { return };
    scene.spoil("alpha", "slow");
    scene.kill_server("alpha");
    let begun = scene.dir.path().join("alpha/begun");
    wait_until("the server is started again", PATIENCE, || begun.exists());
    let since = std::time::Instant::now();
    scene.alpha.kill();
    scene.wait_until_served_by("beta");
    wait_until("the start would have ended", PATIENCE, || since.elapsed().as_secs() > 25);
    assert!(scene.alpha.log().contains("a start that was under way was killed"), "{}", scene.alpha.log());
    scene.wait_for_mail();
    scene.assert_one();
}

#[test]
fn a_server_whose_stop_hangs_is_killed_in_time() {
    let Some(scene) = Scene::new() else { return };
    scene.spoil("alpha", "stuck");
    scene.machines.cut("alpha", "beta", true);
    scene.machines.cut("alpha", "witness", true);
    scene.wait_until_served_by("beta");
    assert!(scene.alpha.log().contains("it was killed"), "{}", scene.alpha.log());
}

#[test]
fn a_server_that_does_not_say_how_it_stands_is_stopped_all_the_same() {
    let Some(scene) = Scene::new() else { return };
    scene.spoil("alpha", "blind");
    scene.machines.cut("alpha", "beta", true);
    scene.machines.cut("alpha", "witness", true);
    scene.wait_until_served_by("beta");
}

#[test]
fn without_the_peer_or_without_the_witness_it_serves_on() {
    let Some(scene) = Scene::new() else { return };
    let server = scene.server("alpha");
    scene.machines.cut("alpha", "beta", true);
    wait_until("beta misses alpha", PATIENCE, || scene.view(&scene.beta)["time_to_fail_ms"] == 0);
    // Longer than a candidate waits: the witness's word moves, so it goes on waiting.
    let since = std::time::Instant::now();
    wait_until("beta waits in vain", PATIENCE, || since.elapsed().as_secs() > 14);
    assert!(scene.view(&scene.beta)["obstacle"].as_str().unwrap().contains("stand still"), "{:#}", scene.view(&scene.beta));
    scene.machines.cut("alpha", "beta", false);
    wait_until("beta hears alpha", PATIENCE, || scene.view(&scene.beta)["time_to_fail_ms"].as_u64() > Some(0));
    scene.machines.cut("alpha", "witness", true);
    let since = std::time::Instant::now();
    wait_until("the witness is missed for long", PATIENCE, || since.elapsed().as_secs() > 14);
    assert_eq!(scene.view(&scene.alpha)["is_down"], false);
    scene.wait_until_served_by("alpha");
    // How long a client waited is a matter of the machine, too; that nothing was stopped or started anew is not.
    println!("{} ms without an answer", scene.longest_gap_ms());
    assert_eq!(scene.server("alpha"), server, "it was started anew");
    assert!(!scene.alpha.log().contains("stops what it has"), "{}", scene.alpha.log());
}

#[test]
fn a_source_that_sees_nobody_stops_before_the_other_starts() {
    let Some(scene) = Scene::new() else { return };
    scene.machines.cut("alpha", "beta", true);
    scene.machines.cut("alpha", "witness", true);
    wait_until("alpha stops", PATIENCE, || scene.view(&scene.alpha)["is_down"] == true);
    scene.wait_until_served_by("beta");
    println!("{} ms without an answer, from the cut", scene.longest_gap_ms());
    scene.machines.cut("alpha", "beta", false);
    scene.machines.cut("alpha", "witness", false);
    wait_until("alpha knows that beta has the group", PATIENCE, || scene.view(&scene.alpha)["online"] == "beta");
    scene.wait_until_served_by("beta");
}

#[test]
fn a_source_whose_words_are_lost_on_the_way_hands_over_or_stays() {
    let Some(scene) = Scene::new() else { return };
    // What alpha hears is whole, what it says is lost: to beta, then to the witness, too.
    scene.machines.block("alpha", "beta", true);
    scene.machines.block("alpha", "witness", true);
    scene.wait_until_served_by("beta");
    scene.machines.block("alpha", "beta", false);
    scene.machines.block("alpha", "witness", false);
    wait_until("alpha knows that beta has the group", PATIENCE, || scene.view(&scene.alpha)["online"] == "beta");
    // The other way round, over the peer's line only: both sides go on as they are.
    scene.machines.block("alpha", "beta", true);
    let since = std::time::Instant::now();
    wait_until("nothing moves", PATIENCE, || since.elapsed().as_secs() > 14);
    scene.wait_until_served_by("beta");
}

#[test]
fn lines_that_come_and_go_never_make_two() {
    let Some(scene) = Scene::new() else { return };
    let mut seed = support::seed();
    let mut served = Vec::new();
    for round in 0..rounds() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lines = [("alpha", "beta"), ("beta", "alpha"), ("alpha", "witness"), ("beta", "witness")];
        for (bit, (from, to)) in lines.into_iter().enumerate() {
            scene.machines.block(from, to, seed >> (33 + bit) & 1 == 1);
        }
        // Mostly too short for a candidate to take over, and sometimes long enough.
        let long_ms = u128::from(seed >> 40) % 4000 * if round % 4 == 3 { 5 } else { 1 };
        let since = std::time::Instant::now();
        wait_until("some time passes", PATIENCE, || since.elapsed().as_millis() > long_ms);
        scene.assert_one();
        served.extend(["alpha", "beta"].into_iter().find(|node| scene.machines.has_floating(node)));
    }
    for (one, other) in [("alpha", "beta"), ("alpha", "witness"), ("beta", "witness")] {
        scene.machines.cut(one, other, false);
    }
    scene.wait_for_mail();
    scene.assert_one();
    let (up, all) = (served.len(), rounds());
    served.dedup();
    println!(
        "{all} partitions of random lines, {up} ended with somebody serving, it moved {} times",
        served.len().saturating_sub(1)
    );
}

#[test]
fn switched_off_nothing_goes_by_itself() {
    let Some(mut scene) = Scene::new() else { return };
    scene.beta.run(&["group", "automatic", "mail", "off"]).expect(0);
    scene.machines.cut("alpha", "beta", true);
    scene.machines.cut("alpha", "witness", true);
    let since = std::time::Instant::now();
    wait_until("nobody stops", PATIENCE, || since.elapsed().as_secs() > 14);
    let view = scene.view(&scene.beta);
    // Which of the two is said depends on whether alpha could still say that it stays.
    let obstacle = view["obstacle"].as_str().unwrap();
    assert!(obstacle.contains("switched off") || obstacle.contains("told not to stop"), "{view:#}");
    scene.wait_until_served_by("alpha");
    let alert = scene.beta.run(&["monitor", "mail"]).expect(0);
    println!("{}", alert.stdout);
    assert!(alert.stdout.contains("ALERT"), "{}", alert.stdout);
    scene.beta.run(&["group", "automatic", "mail", "on"]).expect(3);
    let off = scene.beta.run(&["group", "automatic", "mail", "off"]).expect(4);
    assert!(off.stdout.contains("alpha  NOT REACHED, and may still take over by itself"), "{off:?}");
    let answered = scene.beta.run(&["monitor", "ack", "mail"]).expect(0);
    assert!(answered.stdout.contains("1 alert answered\nalpha  not reached"), "{answered:?}");
    scene.machines.cut("alpha", "beta", false);
    scene.machines.cut("alpha", "witness", false);
    // It stays so over a restart.
    scene.node("beta").stop();
    scene.node("beta").start();
    assert_eq!(scene.view(&scene.beta)["takes_over"], false);
    wait_until("it is switched on again", PATIENCE, || scene.beta.run(&["group", "automatic", "mail", "on"]).code == Some(0));
    let answered = scene.beta.run(&["monitor", "ack", "mail"]).expect(0);
    assert!(answered.stdout.contains("answered"), "{answered:?}");
    assert!(!scene.beta.run(&["monitor", "mail"]).expect(0).stdout.contains("ALERT"));
    scene.wait_until_served_by("alpha");
}

#[test]
fn a_pause_keeps_it_off_and_so_does_a_node_that_is_away_at_its_end() {
    let Some(scene) = Scene::new() else { return };
    let paused = scene.beta.json(&["group", "pause", "mail"]);
    assert_eq!(
        (&paused["automatic"]["on"], &paused["nodes"][0]["failed"]),
        (&false.into(), &serde_json::Value::Null),
        "{paused}"
    );
    let refused = scene.alpha.run(&["group", "automatic", "mail", "on"]).expect(3);
    assert!(refused.stderr.contains("is paused on"), "{refused:?}");
    scene.machines.cut("alpha", "beta", true);
    let ended = scene.alpha.run(&["group", "resume", "mail"]).expect(4);
    println!("{}", ended.stdout);
    assert!(ended.stdout.contains("stays off, as beta does not answer"), "{ended:?}");
    assert_eq!(scene.view(&scene.alpha)["takes_over"], false);
    scene.machines.cut("alpha", "beta", false);
    // It is still paused there.
    wait_until("all is resumed", PATIENCE, || scene.alpha.run(&["group", "resume", "mail"]).code == Some(0));
    for node in [&scene.alpha, &scene.beta] {
        assert_eq!(scene.view(node)["takes_over"], true, "{}", node.name);
    }
    scene.machines.power_off("alpha");
    scene.wait_until_served_by("beta");
}
