//! Cutovers of a group between two machines, with a client that delivers and reads all the while: a set, a floating address, a service
//! and a script. What was accepted is never lost by a handoff, and no two are at work at once, whatever dies.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fenced;
mod foreseen;
mod mail;
#[path = "../support/mod.rs"]
mod support;
mod witness;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;

use serde_json::Value;
use support::group::{Group, sh};
use support::machines::Machines;
use support::{Done, Node, PATIENCE, free_udp_port, pair, set_of_one, wait_for, wait_until};
use tempfile::TempDir;

/// Two nodes and a client.
struct Scene {
    alpha: Node,
    beta: Node,
    client: Child,
    machines: Machines,
    dir: TempDir,
}

impl Scene {
    /// With the group online on alpha, and the client at work.
    fn new() -> Self {
        Self::with(|_, _| String::new())
    }

    /// The same with more of the group's settings.
    fn with(more: impl FnOnce(&Machines, &Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let machines = Machines::new();
        let more = more(&machines, dir.path());
        let port = free_udp_port();
        let [alpha, beta] = ["alpha", "beta"].map(|name| {
            let listen = SocketAddr::new(machines.address(name).parse().unwrap(), port);
            let prefix = machines.prefix(name);
            Node::init_at(dir.path(), name, listen, &prefix.iter().map(String::as_str).collect::<Vec<_>>())
        });
        pair(&alpha, &beta);
        let client = machines.start("client", &mail::task("client", &[&dir.path().join("record")]));
        let mut scene = Self { alpha, beta, client, machines, dir };
        std::fs::create_dir_all(scene.store("alpha")).unwrap();
        for name in ["alpha", "beta"] {
            let set =
                set_of_one("mail", &scene.alpha, &scene.beta, &scene.store("alpha"), &scene.store("beta"), "capture = \"watch\"");
            let group = scene.group(name) + &more;
            let node = scene.node(name);
            node.add_settings(&set);
            node.add_settings(&group);
            node.start();
        }
        scene.alpha.run(&["mirror", "start", "mail", "--wait"]).expect(0);
        scene.alpha.run(&["online", "mail"]).expect(0);
        scene.wait_for_mail();
        scene
    }

    fn node(&mut self, name: &str) -> &mut Node {
        if name == "alpha" { &mut self.alpha } else { &mut self.beta }
    }

    fn store(&self, name: &str) -> PathBuf {
        self.dir.path().join(name).join("store")
    }

    fn gate(&self, name: &str) -> PathBuf {
        self.dir.path().join(name).join("gate")
    }

    /// As long as this file is there, a node's script fails.
    fn fault(&self, name: &str) -> PathBuf {
        self.dir.path().join(name).join("fault")
    }

    /// The group as written on a node. A script waits as long as there is a gate.
    fn group(&self, name: &str) -> String {
        let server = mail::server(&self.dir.path().join(name), &self.dir.path().join("monitor"));
        let gate = self.gate(name).display().to_string();
        let fault = self.fault(name).display().to_string();
        let wait = sh(&format!(
            "env | grep ^CLP_EVENT= >>{gate}.log; while test -f {gate}; do sleep 0.05; done; if test -f {fault}; then exit 1; fi"
        ));
        let group = Group::new("").store().address().service("server", &["store", "address"], &server, "");
        group.resource("script", "script", &["server"], &format!("start = {wait}\nstop = {wait}")).text()
    }

    fn record(&self) -> PathBuf {
        self.dir.path().join("record")
    }

    fn accepted(&self) -> Vec<(u64, u64)> {
        mail::accepted(&self.record())
    }

    /// Waits until some more messages are accepted.
    #[track_caller]
    fn wait_for_mail(&self) {
        let before = self.accepted().len();
        wait_until("messages are accepted", PATIENCE, || self.accepted().len() > before + 5);
    }

    /// The longest time without an answer since so many messages, in milliseconds.
    fn longest_gap_ms(&self, since: usize) -> u64 {
        self.accepted().iter().skip(since).map(|(_, gap_ms)| *gap_ms).max().unwrap_or(0)
    }

    /// Accepted messages that a node does not have.
    fn missing(&self, name: &str) -> Vec<u64> {
        let text = std::fs::read_to_string(self.store(name).join("messages")).unwrap();
        let there: BTreeSet<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        self.accepted().into_iter().map(|(number, _)| number).filter(|number| !there.contains(number)).collect()
    }

    /// Panics if two servers were ever at work at once, or the address is where it should not be.
    #[track_caller]
    fn assert_one(&self, at: &str, not_at: &str) {
        let monitor = std::fs::read_to_string(self.dir.path().join("monitor")).unwrap_or_default();
        assert_eq!(monitor, "", "a second server was at work");
        assert!(self.machines.has_floating(at) && !self.machines.has_floating(not_at), "the address is on {at}, not on {not_at}");
    }

    /// A cutover that must be done, for its report.
    #[track_caller]
    fn cut_over(&self, on: &str, line: &[&str]) -> Value {
        let node = if on == "alpha" { &self.alpha } else { &self.beta };
        let report = node.json(line);
        assert_eq!(report["end"], "finished", "{report:#}");
        report
    }

    /// The last report of the group, once the run has this end.
    #[track_caller]
    fn wait_for_end(&self, node: &Node, end: &str) -> Value {
        wait_for(&format!("the run is {end}"), PATIENCE, || {
            let done = node.run(&["--json", "group", "report", "mail"]);
            (done.code == Some(0)).then(|| done.json()).filter(|report| report["end"] == end)
        })
    }

    fn online(&self, node: &Node) -> Value {
        let groups = node.json(&["group", "show", "mail"]);
        let nodes = &groups[0]["facts"]["nodes"];
        nodes[&node.name]["there"]["state"]["online"].clone()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Whether it still runs makes no difference.
        drop(self.client.kill());
        drop(self.client.wait());
    }
}

fn told_missing(scene: &Scene, at: &str) {
    assert_eq!(scene.missing(at), Vec::<u64>::new(), "accepted, and not on {at}");
}

#[test]
fn a_group_is_handed_over_and_back_under_load() {
    let scene = Scene::new();
    for round in 0..3 {
        for (from, to) in [("alpha", "beta"), ("beta", "alpha")] {
            scene.wait_for_mail();
            let source = if from == "alpha" { &scene.alpha } else { &scene.beta };
            source.run(&["wait", "mail", "--synced", "--timeout", "60"]).expect(0);
            let before = scene.accepted().len();
            // From either node it is the same.
            let on = if round == 1 { from } else { to };
            let report = scene.cut_over(on, &["handoff", "mail", "--to", to]);
            scene.wait_for_mail();
            scene.assert_one(to, from);
            told_missing(&scene, to);
            assert_eq!(report["loss_ms"], 0);
            println!(
                "{from} -> {to}: outage {} ms as reported, {} ms as the client saw it",
                report["outage_ms"],
                scene.longest_gap_ms(before)
            );
        }
    }
    let done = scene.alpha.run(&["handoff", "mail", "--to", "alpha"]).expect(3);
    assert!(done.stderr.contains("online on alpha already"), "{done:?}");
}

#[test]
fn a_lost_source_is_stood_in_for_and_comes_home() {
    let mut scene = Scene::new();
    scene.wait_for_mail();
    let done = scene.beta.run(&["failover", "mail"]).expect(3);
    assert!(done.stderr.contains("standin handoff mail --to beta"), "{done:?}");
    let before = scene.accepted().len();
    scene.machines.power_off("alpha");
    scene.alpha.kill();
    let dry = scene.beta.run(&["failover", "mail", "--accept-loss", "any", "--dry-run"]).expect(0);
    assert!(dry.stdout.contains("become source of mail") && scene.online(&scene.beta) == "alpha", "{dry:?}");
    let report = scene.cut_over("beta", &["failover", "mail", "--accept-loss", "any"]);
    scene.wait_for_mail();
    let gap_ms = scene.longest_gap_ms(before);
    println!("failover: {} ms as reported, {gap_ms} ms from the loss as the client saw it", report["outage_ms"]);
    assert!(report["by_hand"].to_string().contains("alpha did not answer"), "{report:#}");
    let at_loss = scene.missing("beta").len();
    // The old source comes back: it starts nothing, becomes a standby, and is told what the group is now.
    scene.machines.plug("alpha", true);
    scene.alpha.start();
    wait_until("alpha knows that beta has the group", PATIENCE, || scene.online(&scene.alpha) == "beta");
    scene.wait_for_mail();
    scene.assert_one("beta", "alpha");
    let report = scene.cut_over("beta", &["failback", "mail"]);
    scene.wait_for_mail();
    scene.assert_one("alpha", "beta");
    assert_eq!(report["to"], "alpha");
    assert!(scene.missing("alpha").len() <= at_loss, "failing back loses nothing");
}

#[test]
fn a_runner_that_is_killed_goes_on_when_it_is_back() {
    let mut scene = Scene::new();
    for (gated, what) in [("alpha", "while alpha stops"), ("beta", "after beta took over")] {
        scene.wait_for_mail();
        std::fs::write(scene.gate(gated), "").unwrap();
        let begun = scene.alpha.json(&["handoff", "mail", "--to", "beta", "--no-wait"]);
        assert_eq!(begun["node"], "beta");
        let step = if gated == "alpha" { "stop script" } else { "start script" };
        wait_until(&format!("the run is at it {what}"), PATIENCE, || {
            let report = scene.alpha.run(&["--json", "group", "report", "mail"]);
            report.code == Some(0) && report.json()["steps"].as_array().unwrap().iter().any(|taken| taken["what"] == step)
        });
        scene.beta.kill();
        std::fs::remove_file(scene.gate(gated)).unwrap();
        scene.beta.start();
        let report = scene.wait_for_end(&scene.beta, "finished");
        assert_eq!(report["to"], "beta", "{report:#}");
        scene.wait_for_mail();
        scene.assert_one("beta", "alpha");
        told_missing(&scene, "beta");
        scene.cut_over("alpha", &["failback", "mail"]);
        scene.assert_one("alpha", "beta");
        told_missing(&scene, "alpha");
    }
}

#[test]
fn a_handoff_that_cannot_be_is_taken_back() {
    let scene = Scene::new();
    scene.wait_for_mail();
    std::fs::write(scene.gate("alpha"), "").unwrap();
    scene.alpha.run(&["handoff", "mail", "--to", "beta", "--no-wait"]).expect(0);
    wait_until("the run is at the script", PATIENCE, || {
        let report = scene.alpha.run(&["--json", "group", "report", "mail"]);
        report.code == Some(0) && report.json()["steps"].to_string().contains("stop script")
    });
    let undone = scene.alpha.command(&["group", "undo", "mail"]);
    let undoing = std::thread::spawn(move || Done::of(undone));
    wait_until("the script is killed, and may be started again", PATIENCE, || {
        scene.alpha.json(&["group", "report", "mail"])["steps"].to_string().contains("killed")
    });
    std::fs::remove_file(scene.gate("alpha")).unwrap();
    undoing.join().unwrap().expect(0);
    scene.wait_for_end(&scene.alpha, "taken_back");
    scene.wait_for_mail();
    scene.assert_one("alpha", "beta");
    told_missing(&scene, "alpha");
}

#[test]
fn a_handing_back_that_is_taken_back_leaves_the_first_handoff_to_be_finished() {
    let scene = Scene::new();
    scene.wait_for_mail();
    // Beta takes over, and cannot start all of it; nor can it stop it again for alpha.
    std::fs::write(scene.fault("beta"), "").unwrap();
    let stuck = scene.alpha.run(&["--json", "handoff", "mail", "--to", "beta"]).expect(5).json();
    let back = wait_for("a handoff back is begun between two attempts to finish the first", PATIENCE, || {
        let done = scene.alpha.run(&["--json", "handoff", "mail", "--to", "alpha"]);
        assert!(matches!(done.code, Some(1 | 3)), "{done:?}");
        (done.code == Some(1)).then(|| done.json())
    });
    assert_eq!(back["end"], "taken_back", "{back:#}");
    let shown = scene.alpha.json(&["group", "show", "mail"]);
    let beta = &shown[0]["facts"]["nodes"]["beta"]["there"];
    assert_eq!((&beta["unfinished"]["run"], &beta["state"]["claim"]["run"]), (&stuck["run"], &stuck["run"]), "{shown:#}");
    std::fs::remove_file(scene.fault("beta")).unwrap();
    wait_until("the first handoff is finished", PATIENCE, || {
        [&scene.alpha, &scene.beta].into_iter().all(|node| scene.online(node) == "beta")
    });
    let report = scene.beta.json(&["group", "report", "mail", stuck["run"].as_str().unwrap()]);
    assert_eq!(report["end"], "finished", "{report:#}");
    scene.wait_for_mail();
    scene.assert_one("beta", "alpha");
    told_missing(&scene, "beta");
    // Nothing is left of either.
    scene.alpha.run(&["wait", "mail", "--synced", "--timeout", "60"]).expect(0);
    scene.cut_over("alpha", &["failback", "mail"]);
    told_missing(&scene, "alpha");
}

#[test]
fn parts_go_offline_and_a_restarted_daemon_starts_what_should_be_online() {
    let mut scene = Scene::new();
    scene.cut_over("beta", &["offline", "mail", "server"]);
    let shown = scene.alpha.json(&["group", "show", "mail"]);
    let alpha = &shown[0]["facts"]["nodes"]["alpha"]["there"];
    assert_eq!(
        (&alpha["resources"]["server"], &alpha["resources"]["address"]),
        (&"offline".into(), &"online".into()),
        "{shown:#}"
    );
    scene.cut_over("beta", &["online", "mail"]);
    scene.wait_for_mail();
    // A machine that was switched off and on again asks first, and beta answers.
    scene.machines.power_off("alpha");
    scene.alpha.kill();
    scene.machines.plug("alpha", true);
    let dead = Path::new(&scene.dir.path().join("alpha/server.pid")).exists();
    assert!(dead, "the server died without being stopped");
    scene.alpha.start();
    scene.wait_for_mail();
    scene.assert_one("alpha", "beta");
    let check = scene.alpha.run(&["group", "check", "mail"]).expect(0);
    assert!(check.stdout.contains("ok"), "{check:?}");
    what_is_said_of_a_group_and_its_set(&scene);
}

fn what_is_said_of_a_group_and_its_set(scene: &Scene) {
    let explained = scene.beta.run(&["status", "mail", "--explain"]).expect(0);
    assert!(
        explained.stdout.contains("`standin failover mail`") && !explained.stdout.contains("standin promote"),
        "{explained:?}"
    );
    let off = scene.alpha.run(&["offline", "mail", "script"]).expect(0);
    let said = format!("{}{}", off.stdout, off.stderr);
    assert_eq!(said.matches("alpha: stop script").count(), 1, "{said}");
    scene.cut_over("alpha", &["online", "mail"]);
    let refused = scene.alpha.run(&["mirror", "stop", "mail"]).expect(3);
    assert!(refused.stderr.contains("set of group mail") && refused.stderr.contains("standin mirror pause mail"), "{refused:?}");
    scene.alpha.run(&["mirror", "stop", "mail", "--force"]).expect(0);
    let check = scene.beta.run(&["group", "check", "mail"]).expect(1);
    let said = check.stdout.lines().find(|line| line.starts_with("FAIL  alpha set mail: ")).unwrap_or_default();
    assert!(said.contains("nothing watches the roots") && said.contains("`standin mirror start mail`"), "{check:?}");
    scene.alpha.run(&["mirror", "start", "mail", "--wait"]).expect(0);
    scene.beta.run(&["group", "check", "mail"]).expect(0);
}
