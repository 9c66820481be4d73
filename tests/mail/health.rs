//! A service that dies, a node on which it cannot be mended, a pause, and a shutdown.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scene::{Beside, Scene};
use crate::servers::{BROKEN, STUCK};
use crate::support::{Done, Node, PATIENCE, wait_until};

impl Scene {
    /// Runs a script on a machine.
    fn on(&self, machine: &str, script: &str) {
        Done::of(self.machines.command(machine, &["sh", "-c", script])).expect(0);
    }

    /// Kills Postfix, as a fault of its own would.
    fn kill_postfix(&self, machine: &str) {
        self.on(machine, "kill -9 $(tr -d ' ' </mnt/mail/spool/pid/master.pid)");
    }

    fn view(&self, node: &Node) -> Value {
        node.json(&["group", "show", "mail"])[0]["facts"]["nodes"][&node.name]["there"].clone()
    }

    fn is_running(&self, node: &Node) -> bool {
        self.view(node)["resources"]["postfix"] == "online"
    }

    fn times_started_again(&self, node: &Node) -> usize {
        node.log().matches("started again: ").count()
    }
}

#[test]
fn what_dies_is_started_again_and_a_pause_keeps_that_quiet() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.kill_postfix("alpha");
    wait_until("it is started again", PATIENCE, || scene.times_started_again(&scene.alpha) == 1);
    scene.wait_for_mail();
    // Paused, it stays as it is, also over a restart of the daemon.
    let said = scene.beta.run(&["group", "pause", "mail"]).expect(0);
    assert!(said.stdout.contains("alpha") && said.stdout.contains("beta"), "{said:?}");
    scene.kill_postfix("alpha");
    let begin = Instant::now();
    wait_until("time for three looks passes", PATIENCE, || {
        assert_eq!((scene.is_running(&scene.alpha), scene.times_started_again(&scene.alpha)), (false, 1));
        begin.elapsed() > Duration::from_secs(10)
    });
    let shown = scene.alpha.run(&["group", "show", "mail"]).expect(0).stdout;
    assert!(shown.contains("PAUSED"), "{shown}");
    println!("{shown}");
    scene.beta.stop();
    scene.beta.start();
    assert!(scene.view(&scene.beta)["paused_unix_ms"].is_u64());
    // Its limit of one restart is used up, so with the end of the pause the group has failed here; a person mends it.
    scene.alpha.run(&["group", "resume", "mail"]).expect(0);
    wait_until("the group has failed on alpha", PATIENCE, || scene.view(&scene.alpha)["failed"].is_string());
    let shown = scene.alpha.run(&["group", "show", "mail"]).expect(0).stdout;
    assert!(shown.contains("FAILED"), "{shown}");
    println!("{shown}");
    scene.cut_over("beta", &["online", "mail"]);
    scene.wait_for_mail();
    wait_until("it is well again", PATIENCE, || scene.view(&scene.alpha)["failed"].is_null());
    assert_eq!(scene.times_started_again(&scene.alpha), 1);
    scene.assert_one("alpha", "beta");
    scene.stop_clients();
    scene.assert_all_there();
}

#[test]
fn what_cannot_be_stopped_on_a_dead_layer_is_said_and_stopped_as_soon_as_it_can_be() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.on("alpha", &format!("touch {STUCK}"));
    scene.alpha.kill();
    scene.alpha.start();
    let failed = || scene.view(&scene.alpha)["failed"].as_str().map(str::to_owned);
    wait_until("it is said", PATIENCE, || failed().is_some_and(|why| why.contains("cannot be stopped")));
    println!("{}", scene.alpha.run(&["group", "show", "mail"]).expect(0).stdout);
    scene.on("alpha", &format!("rm {STUCK}"));
    wait_until("it is over", PATIENCE, || failed().is_none());
    scene.wait_for_mail();
    scene.stop_clients();
    scene.assert_all_there();
}

#[test]
fn what_a_run_had_started_when_its_daemon_died_is_started_anew() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.wait_synced("alpha");
    scene.on("beta", &format!("touch {BROKEN}"));
    // Dovecot runs by then, and Postfix does not.
    scene.alpha.run(&["handoff", "mail", "--to", "beta"]).expect(5);
    assert_eq!(scene.view(&scene.beta)["resources"]["dovecot"], "online");
    scene.beta.kill();
    scene.on("beta", &format!("rm {BROKEN}"));
    scene.beta.start();
    scene.wait_for_mail();
    scene.assert_one("beta", "alpha");
    scene.stop_clients();
    scene.assert_all_there();
}

#[test]
fn what_a_node_has_is_not_taken_over_anew_under_what_uses_it() {
    let Some(scene) = Scene::with(&Beside { automatic: true, ..Beside::default() }) else { return };
    scene.wait_synced("alpha");
    // It starts by half on beta, so it is to go back, and cannot be stopped for that; alpha is not heard of any more by then.
    scene.on("beta", &format!("touch {BROKEN}; echo hang >{STUCK}"));
    scene.alpha.run(&["handoff", "mail", "--to", "beta", "--no-wait"]).expect(0);
    wait_until("beta stops for alpha", PATIENCE, || scene.alpha.log().contains("beta: stop dovecot"));
    scene.machines.cut("alpha", "beta", true);
    scene.on("beta", &format!(": >{STUCK}"));
    wait_until("beta does not take it over again under Dovecot", PATIENCE, || {
        let log = scene.beta.log();
        let failed = |line: &str| line.contains("become source of mail") && line.contains("Failed") && line.contains("dovecot");
        log.contains("takes over by itself") && log.lines().any(failed)
    });
    scene.on("beta", &format!("rm {BROKEN} {STUCK}"));
    scene.wait_for_mail();
    scene.machines.cut("alpha", "beta", false);
    scene.stop_clients();
    scene.assert_all_there();
}

#[test]
fn a_node_that_is_shut_down_hands_over_first() {
    let Some(mut scene) = Scene::new("at_shutdown = \"handoff\"") else { return };
    scene.wait_synced("alpha");
    scene.alpha.stop();
    assert!(scene.alpha.log().contains("it was handed over"));
    scene.wait_for_mail();
    scene.assert_one("beta", "alpha");
    assert_eq!(scene.online(&scene.beta), "beta");
    // Where nobody is left to take it, it stays.
    scene.beta.stop();
    assert!(scene.beta.log().contains("it stays here"));
    scene.alpha.start();
    scene.beta.start();
    scene.wait_for_mail();
    scene.cut_over("alpha", &["failback", "mail"]);
    scene.wait_for_mail();
    scene.assert_one("alpha", "beta");
    let (_, doubled) = scene.assert_all_there();
    assert!(doubled.is_empty(), "these are there twice: {}", scene.story_of(&doubled));
    // A daemon that is killed takes its layers with it, and whoever used them is started again by the next one.
    scene.alpha.kill();
    scene.alpha.start();
    scene.wait_for_mail();
    let stopped = |scene: &Scene| scene.alpha.log().matches("it ran before the layers were there").count();
    assert_eq!(stopped(&scene), 1);
    // So they are where a run has the group, which would take them for started.
    scene.wait_synced("alpha");
    let begun = scene.alpha.json(&["online", "mail", "--no-wait"]);
    scene.alpha.kill();
    scene.alpha.start();
    let report = scene.wait_for_end("alpha", "finished");
    assert_eq!(report["run"], begun["run"], "{report:#}");
    scene.wait_for_mail();
    assert_eq!(stopped(&scene), 2);
    scene.stop_clients();
    scene.assert_all_there();
}

#[test]
fn a_group_that_failed_goes_to_the_next_node_where_it_may() {
    let Some(scene) = Scene::with(&Beside { automatic: true, ..Beside::default() }) else { return };
    scene.wait_synced("alpha");
    scene.on("alpha", &format!("touch {BROKEN}"));
    scene.kill_postfix("alpha");
    wait_until("beta has it", PATIENCE, || scene.online(&scene.beta) == "beta");
    scene.wait_for_mail();
    scene.assert_one("beta", "alpha");
    assert!(scene.alpha.log().contains("the group has failed here"), "it says so");
    scene.stop_clients();
    scene.assert_all_there();
    scene.assert_never_two(1);
}
