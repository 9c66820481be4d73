//! Two nodes with the group, a name server, and the clients at work.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;

use serde_json::Value;
use tempfile::TempDir;

use crate::clients::{self, answered_by, ids_of_lines};
use crate::servers::{self, Names};
use crate::support::etcd::Etcd;
use crate::support::machines::{Machines, VOLUME};
use crate::support::{Done, Node, PATIENCE, can_run, free_udp_port, pair, set_of_one, wait_for, wait_until};
use crate::users::Users;

/// So many clients deliver at once.
const DELIVERERS: usize = 3;

pub(crate) struct Scene {
    pub(crate) alpha: Node,
    pub(crate) beta: Node,
    clients: Mutex<Vec<Child>>,
    watcher: Child,
    _names: Names,
    witness: Option<Etcd>,
    users: Option<Users>,
    pub(crate) machines: Machines,
    dir: TempDir,
}

/// What a scene has beside the rest.
#[derive(Default)]
pub(crate) struct Beside {
    /// Further keys of the group.
    pub(crate) keys: &'static str,
    /// The group fails over by itself, with an etcd as its witness.
    pub(crate) automatic: bool,
    /// Users in a directory move with the group.
    pub(crate) users: bool,
}

/// A candidate waits somewhat longer than one and a half of it. Machines that run tests are busy.
pub(crate) const LEASE_MS: u64 = 6000;

/// What these tests need.
const TOOLS: [&str; 9] = ["ip", "unshare", "nsenter", "postfix", "dovecot", "doveadm", "named", "tsig-keygen", "dig"];

impl Scene {
    /// With the group online on alpha, and the clients at work. `keys` is for further keys of the group. `None` where that is not possible.
    pub(crate) fn new(keys: &'static str) -> Option<Self> {
        Self::with(&Beside { keys, ..Beside::default() })
    }

    /// The same with more beside it.
    pub(crate) fn with(beside: &Beside) -> Option<Self> {
        let tools = [&TOOLS[..], if beside.automatic { &["etcd"] } else { &[] }, if beside.users { &Users::TOOLS } else { &[] }];
        if !can_run(&tools.concat()) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let machines = Machines::with_volumes(dir.path());
        let names = Names::new(&machines, &dir.path().join("names"));
        let witness = beside.automatic.then(|| Etcd::start(&machines, dir.path()));
        let users = beside.users.then(|| Users::start(&machines, dir.path()));
        let port = free_udp_port();
        let [alpha, beta] = ["alpha", "beta"].map(|name| {
            let listen = SocketAddr::new(machines.address(name).parse().unwrap(), port);
            let prefix = machines.prefix(name);
            Node::init_at(dir.path(), name, listen, &prefix.iter().map(String::as_str).collect::<Vec<_>>())
        });
        pair(&alpha, &beta);
        servers::fill(&dir.path().join("alpha/volume"));
        let watcher = machines.start("client", &clients::task("watch", &dir.path().join("answers")));
        let mut scene = Self { alpha, beta, clients: Mutex::default(), watcher, _names: names, witness, users, machines, dir };
        let settings = scene.settings(beside);
        for node in [&mut scene.alpha, &mut scene.beta] {
            node.add_settings(&settings);
            node.start();
        }
        scene.alpha.run(&["mirror", "start", "mail", "--wait"]).expect(0);
        scene.alpha.run(&["online", "mail"]).expect(0);
        let mut tasks: Vec<String> = (0..DELIVERERS).map(|number| format!("deliver-{number}")).collect();
        tasks.push("read-".to_owned());
        let started = tasks.iter().map(|task| scene.machines.start("client", &clients::task(task, &scene.record())));
        *scene.clients.lock().unwrap() = started.collect();
        scene.wait_for_mail();
        Some(scene)
    }

    /// The set, the group and what they need, the same on both nodes.
    fn settings(&self, beside: &Beside) -> String {
        let volume = Path::new(VOLUME);
        let keys = "capture = \"ordered\"\nacknowledge = \"durable\"\non_disconnect = \"continue\"\nmax_orphans = \"100%\"";
        let rules = "\nrules = [ { exclude = \"spool/{pid,private,public}\", recurse = true } ]";
        let set = set_of_one("mail", &self.alpha, &self.beta, volume, volume, keys) + rules;
        let mut group_keys = beside.keys.to_owned();
        if let Some(etcd) = &self.witness {
            let lease = format!("lease = \"{LEASE_MS} ms\"");
            group_keys += &format!("\nfailover = \"automatic\"\n{}", etcd.settings(&lease));
        }
        let mut group = servers::group(&self.dir.path().join("names/key"), &group_keys);
        let mut directory = String::new();
        if let Some(users) = &self.users {
            group = group.users("users", &["dovecot", "postfix"], "");
            directory = users.settings();
        }
        format!("{set}\n{}\n{directory}", group.text())
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
        if name == "alpha" { &self.alpha } else { &self.beta }
    }

    /// A node's volume, beneath any layer.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.dir.path().join(name).join("volume")
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.dir.path().join("record")
    }

    /// What the clients wrote down of one kind, each as its words.
    fn told(&self, kind: &str) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(self.record()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.strip_prefix(kind));
        lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    }

    /// Waits until some more messages were accepted, and the mailbox was read.
    #[track_caller]
    pub(crate) fn wait_for_mail(&self) {
        let counted = || (self.told("accepted").len(), self.told("read").len());
        let (accepted, read) = counted();
        wait_until("messages are accepted and read", PATIENCE, || {
            let now = counted();
            now.0 > accepted + 10 && now.1 > read + 2
        });
    }

    /// Waits until the standby has what changed.
    #[track_caller]
    pub(crate) fn wait_synced(&self, source: &str) {
        self.node(source).run(&["wait", "mail", "--synced", "--timeout", "60"]).expect(0);
    }

    /// The longest time without an answer since a moment, in milliseconds.
    pub(crate) fn longest_gap_ms(&self, kind: &str, since_unix_ms: u64) -> u64 {
        let times = self.told(kind).into_iter().filter_map(|words| words.last()?.parse::<u64>().ok());
        let mut times: Vec<u64> = times.filter(|at| *at >= since_unix_ms).chain([since_unix_ms]).collect();
        times.sort_unstable();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }

    /// A cutover that must be done, for its report.
    #[track_caller]
    pub(crate) fn cut_over(&self, on: &str, line: &[&str]) -> Value {
        let report = self.node(on).json(line);
        assert_eq!(report["end"], "finished", "{report:#}");
        print_steps(&report);
        report
    }

    /// The last report of the group, once the run has this end.
    #[track_caller]
    pub(crate) fn wait_for_end(&self, on: &str, end: &str) -> Value {
        let report = wait_for(&format!("the run is {end}"), PATIENCE, || {
            let done = self.node(on).run(&["--json", "group", "report", "mail"]);
            (done.code == Some(0)).then(|| done.json()).filter(|report| report["end"] == end)
        });
        print_steps(&report);
        report
    }

    /// What a node's monitor says of the group.
    pub(crate) fn monitor(&self, name: &str) -> Value {
        self.node(name).json(&["monitor", "mail"])[0]["view"].clone()
    }

    pub(crate) fn online(&self, node: &Node) -> Value {
        let groups = node.json(&["group", "show", "mail"]);
        groups[0]["facts"]["nodes"][&node.name]["there"]["state"]["online"].clone()
    }

    /// Panics unless the address is on one node alone, and the name leads there.
    #[track_caller]
    pub(crate) fn assert_one(&self, at: &str, not_at: &str) {
        let floating = |name| self.machines.has_floating(name);
        assert!(floating(at) && !floating(not_at), "the address is on {at}, not on {not_at}");
        assert_eq!(servers::resolved(&self.machines), self.machines.address(at), "mail.example.org");
        if let Some(users) = &self.users {
            let server = if at == "alpha" { "EX1" } else { "EX2" };
            assert!(users.servers(&self.machines).iter().all(|told| told == server), "users are on {server}");
        }
    }

    pub(crate) fn stop_clients(&self) {
        for client in self.clients.lock().unwrap().iter_mut() {
            drop(client.kill());
            drop(client.wait());
        }
    }

    /// How often each message is in the mailbox, as a client sees it.
    fn mailbox(&self) -> BTreeMap<String, usize> {
        let seen = Done::of(self.machines.command("client", &["bash", "-c", &clients::all_subjects()])).stdout;
        let mut found = BTreeMap::new();
        ids_of_lines(&seen).into_iter().for_each(|id| *found.entry(id).or_default() += 1);
        found
    }

    /// Waits until every message that was accepted so far is in the mailbox; returns how many, and those that are there more than once.
    #[track_caller]
    pub(crate) fn assert_all_there(&self) -> (usize, Vec<String>) {
        let accepted: Vec<String> = self.told("accepted").into_iter().filter_map(|words| words.first().cloned()).collect();
        let mut missing = Vec::new();
        let look = || {
            let found = self.mailbox();
            missing = accepted.iter().filter(|id| !found.contains_key(*id)).cloned().collect();
            missing.is_empty().then_some(found)
        };
        let found = {
            let mut look = look;
            let until = std::time::Instant::now() + PATIENCE;
            loop {
                match look() {
                    Some(found) => break Some(found),
                    None if std::time::Instant::now() > until => break None,
                    None => std::thread::sleep(std::time::Duration::from_millis(200)), // poll
                }
            }
        };
        let found = found.unwrap_or_else(|| panic!("accepted, and not in the mailbox: {missing:?}"));
        (accepted.len(), found.into_iter().filter(|(_, times)| *times > 1).map(|(id, _)| id).collect())
    }

    /// What Postfix has in its logs of messages, for whoever looks why they are there twice.
    pub(crate) fn story_of(&self, ids: &[String]) -> String {
        let of = |(node, id): (&str, &String)| {
            let log = "/mnt/own/postfix.log";
            let script = format!(
                "for queued in $(sed -n 's/.*: \\([0-9A-Za-z]*\\): message-id=<{id}@client>.*/\\1/p' {log}); do grep $queued {log}; done"
            );
            format!("{node}, {id}:\n{}", Done::of(self.machines.command(node, &["sh", "-c", &script])).stdout)
        };
        ids.iter().flat_map(|id| [("alpha", id), ("beta", id)]).map(of).collect()
    }

    /// Panics unless the node that answers on a port became another so often, and no oftener: two at once would be seen in turn.
    #[track_caller]
    pub(crate) fn assert_never_two(&self, cutovers: usize) {
        for port in [25, 143] {
            let nodes = wait_for("the watcher saw the last one", PATIENCE, || {
                Some(answered_by(&self.dir.path().join("answers"), port)).filter(|nodes| nodes.len() > cutovers)
            });
            assert_eq!(nodes.len(), cutovers + 1, "port {port} was answered by {nodes:?}");
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop_clients();
        drop(self.watcher.kill());
        drop(self.watcher.wait());
        if std::thread::panicking() {
            for (machine, node) in [("alpha", "alpha"), ("beta", "beta")] {
                let log = "tail -n 40 /mnt/own/postfix.log /mnt/own/dovecot.log; postqueue -c /mnt/mail/postfix -p | tail -5";
                eprintln!("---- mail of {node}: {}", Done::of(self.machines.command(machine, &["sh", "-c", log])).stdout);
            }
        }
    }
}

fn print_steps(report: &Value) {
    let took = |step: &Value| format!("{} {} at {} for {}", step["node"], step["what"], step["at_ms"], step["took_ms"]);
    let steps: Vec<String> = report["steps"].as_array().into_iter().flatten().map(took).collect();
    println!("    {}", steps.join("; ").replace('"', ""));
}
