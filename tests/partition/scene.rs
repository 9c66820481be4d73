//! Two nodes with a group that fails over by itself, an etcd as its witness, a client at work, and somebody who looks at both nodes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::mail;
use crate::support::etcd::Etcd;
use crate::support::group::{Group, sh};
use crate::support::machines::Machines;
use crate::support::{Node, PATIENCE, can_run, free_udp_port, pair, set_of_one, wait_until};

/// The lease of these tests; with it a candidate waits ten seconds. Machines that run tests are busy.
const LEASE: &str = "6 s";

pub(crate) struct Scene {
    pub(crate) alpha: Node,
    pub(crate) beta: Node,
    pub(crate) machines: Arc<Machines>,
    watcher: Option<JoinHandle<()>>,
    ends: Arc<AtomicBool>,
    faults: Arc<Mutex<Vec<String>>>,
    client: Child,
    etcd: Etcd,
    pub(crate) dir: TempDir,
}

impl Scene {
    /// With the group online on alpha, and the client at work. `None` where a tool is missing, which under CI is a failure.
    pub(crate) fn new() -> Option<Self> {
        if !can_run(&["etcd", "ip", "nsenter"]) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let machines = Arc::new(Machines::new());
        let etcd = Etcd::start(&machines, dir.path());
        let port = free_udp_port();
        let [alpha, beta] = ["alpha", "beta"].map(|name| {
            let listen = SocketAddr::new(machines.address(name).parse().unwrap(), port);
            let prefix = machines.prefix(name);
            Node::init_at(dir.path(), name, listen, &prefix.iter().map(String::as_str).collect::<Vec<_>>())
        });
        pair(&alpha, &beta);
        let client = machines.start("client", &mail::task("client", &[&dir.path().join("record")]));
        let (ends, faults) = (Arc::default(), Arc::default());
        let watcher = Some(watch(&machines, &ends, &faults));
        let mut scene = Self { alpha, beta, machines, watcher, ends, faults, client, etcd, dir };
        std::fs::create_dir_all(scene.store("alpha")).unwrap();
        for name in ["alpha", "beta"] {
            let stores = (scene.store("alpha"), scene.store("beta"));
            let set = set_of_one("mail", &scene.alpha, &scene.beta, &stores.0, &stores.1, "capture = \"watch\"");
            let group = scene.group(name);
            let node = scene.node(name);
            node.add_settings(&set);
            node.add_settings(&group);
            node.start();
        }
        scene.alpha.run(&["mirror", "start", "mail", "--wait"]).expect(0);
        scene.alpha.run(&["online", "mail"]).expect(0);
        scene.wait_for_mail();
        wait_until("beta knows that alpha has the group", PATIENCE, || scene.view(&scene.beta)["online"] == "alpha");
        Some(scene)
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut Node {
        if name == "alpha" { &mut self.alpha } else { &mut self.beta }
    }

    fn store(&self, name: &str) -> PathBuf {
        self.dir.path().join(name).join("store")
    }

    fn group(&self, name: &str) -> String {
        let dir = self.dir.path().join(name);
        let server = mail::server(&dir, &self.dir.path().join("monitor"));
        let server = spoilt(&dir, server);
        let alert = format!("echo \"$STANDIN_GROUP $STANDIN_ABOUT: $STANDIN_ALERT\" >>{}", dir.join("alerts").display());
        let keys = format!(
            "failover = \"automatic\"\nheartbeat = \"500 ms\"\nmisses = 6\n{}[groups.mail.alert]\ncommand = {}",
            self.etcd.settings(&format!("lease = \"{LEASE}\"")),
            sh(&alert)
        );
        Group::new(&keys).store().address().service("server", &["store", "address"], &server, "").text()
    }

    /// A handoff begins, and nobody waits for its end.
    pub(crate) fn hand_over_in_the_background(&self, to: &str) {
        self.alpha.run(&["handoff", "mail", "--to", to, "--no-wait"]).expect(0);
    }

    /// Has a script of a node's server hang or fail from now on, as [`spoilt`] lists them.
    pub(crate) fn spoil(&self, node: &str, what: &str) {
        std::fs::write(self.dir.path().join(node).join(what), "").unwrap();
    }

    /// Takes that back.
    pub(crate) fn mend(&self, node: &str, what: &str) {
        std::fs::remove_file(self.dir.path().join(node).join(what)).unwrap();
    }

    /// Writes other settings for both nodes, and starts their daemons anew.
    pub(crate) fn rewrite(&mut self, from: &str, to: &str) {
        for name in ["alpha", "beta"] {
            let node = self.node(name);
            node.stop();
            let text = std::fs::read_to_string(node.config()).unwrap();
            assert!(text.contains(from), "{text}");
            std::fs::write(node.config(), text.replace(from, to)).unwrap();
            node.start();
        }
    }

    /// Why the group has failed on a node, if it has.
    pub(crate) fn failed(&self, node: &Node) -> Value {
        node.json(&["monitor", "mail"])[0]["failed"].take()
    }

    /// The process of a node's server.
    pub(crate) fn server(&self, node: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(node).join("server.pid")).unwrap().trim().to_owned()
    }

    /// Kills the server of a node.
    pub(crate) fn kill_server(&self, node: &str) {
        let pid = self.server(node);
        let killed = std::process::Command::new("kill").args(["-9", &pid]).status().unwrap();
        assert!(killed.success(), "{pid}");
    }

    fn accepted(&self) -> Vec<(u64, u64)> {
        mail::accepted(&self.dir.path().join("record"))
    }

    /// Waits until some more messages are accepted.
    #[track_caller]
    pub(crate) fn wait_for_mail(&self) {
        let before = self.accepted().len();
        let until = Instant::now() + PATIENCE;
        while self.accepted().len() <= before + 5 {
            assert!(Instant::now() < until, "no message is accepted\n{}\n{}", self.brief(&self.alpha), self.brief(&self.beta));
            std::thread::sleep(Duration::from_millis(20)); // poll
        }
    }

    /// What a node's monitor says, in few lines.
    fn brief(&self, node: &Node) -> String {
        let mut status = node.json(&["monitor", "mail"])[0].take();
        status["view"].as_object_mut().unwrap().remove("peers");
        format!("{}: {status}", node.name)
    }

    /// The longest time without an answer so far, in milliseconds.
    pub(crate) fn longest_gap_ms(&self) -> u64 {
        self.accepted().iter().skip(5).map(|(_, gap_ms)| *gap_ms).max().unwrap_or(0)
    }

    /// What a node's monitor says of the group.
    pub(crate) fn view(&self, node: &Node) -> Value {
        node.json(&["monitor", "mail"])[0]["view"].clone()
    }

    /// Waits until a node has the address and answers.
    #[track_caller]
    pub(crate) fn wait_until_served_by(&self, name: &str) {
        wait_until(&format!("{name} has the address"), PATIENCE, || self.machines.has_floating(name));
        self.wait_for_mail();
        self.assert_one();
    }

    /// Panics if two were ever at work at once, or had the address.
    #[track_caller]
    pub(crate) fn assert_one(&self) {
        let monitor = std::fs::read_to_string(self.dir.path().join("monitor")).unwrap_or_default();
        assert_eq!(monitor, "", "a second server was at work");
        let faults = self.faults.lock().unwrap();
        assert!(faults.is_empty(), "{faults:?}");
    }
}

/// Scripts that do as these, until a file in the node's directory has one hang: `slow` the start for twenty seconds and `tardy` the stop for five,
/// which say in `begun` that they began; `stuck` the stop, and `blind` the state, for ever. With `broken` the start fails.
fn spoilt(dir: &Path, [start, stop, state]: [String; 3]) -> [String; 3] {
    let dir = dir.display();
    let hangs = "trap '' TERM; sleep 1000; sleep 1000";
    [
        format!(
            "if test -f {dir}/broken; then exit 1; fi; if test -f {dir}/slow; then echo begun >>{dir}/begun; sleep 20; fi; {start}"
        ),
        format!(
            "if test -f {dir}/stuck; then {hangs}; fi; if test -f {dir}/tardy; then echo begun >>{dir}/begun; sleep 5; fi; {stop}"
        ),
        format!("if test -f {dir}/blind; then {hangs}; fi; {state}"),
    ]
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Whether it still runs makes no difference.
        drop(self.client.kill());
        drop(self.client.wait());
        if let Some(watcher) = self.watcher.take() {
            drop(watcher.join());
        }
    }
}

/// Looks at both nodes from outside, all the while: the address is on one of them at most.
fn watch(machines: &Arc<Machines>, ends: &Arc<AtomicBool>, faults: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let (machines, ends, faults) = (machines.clone(), ends.clone(), faults.clone());
    std::thread::spawn(move || {
        while !ends.load(Ordering::SeqCst) {
            // Looked at one after the other: it may have moved between, so the first is looked at again.
            if machines.has_floating("alpha") && machines.has_floating("beta") && machines.has_floating("alpha") {
                faults.lock().unwrap().push(format!("the address was on both at {:?}", std::time::SystemTime::now()));
            }
            std::thread::sleep(Duration::from_millis(30)); // poll
        }
    })
}
