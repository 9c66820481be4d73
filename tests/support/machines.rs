//! Machines on one network, each a network namespace: two nodes, a witness, a client, a name server. Nodes may have mounts of their own,
//! too, so that both have their mail at the same path.

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Done;

/// The floating address.
pub(crate) const FLOATING: &str = "10.77.0.50";
/// Where the name server is.
pub(crate) const NAMES: &str = "10.77.0.53";
/// Where the directory is, where there is one.
pub(crate) const DIRECTORY: &str = "10.77.0.60";
/// Where a node's replicated volume is, as the node sees it.
pub(crate) const VOLUME: &str = "/mnt/mail";
/// What is the node's own there: sockets, process ids, logs.
pub(crate) const OWN: &str = "/mnt/own";

const MACHINES: [(&str, &str); 5] =
    [("alpha", "10.77.0.1"), ("beta", "10.77.0.2"), ("witness", "10.77.0.8"), ("client", "10.77.0.9"), ("names", NAMES)];

/// The machines; gone when it is dropped, with all that runs on them.
pub(crate) struct Machines {
    id: String,
    /// Hold the mounts of alpha and beta, also while nothing runs there.
    keepers: Vec<(&'static str, Child)>,
}

impl Machines {
    /// Makes them. Needs root, `ip` (iproute2) and `nsenter` (util-linux).
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let machines = Self { id, keepers: Vec::new() };
        let hub = machines.name("hub");
        let mut script = format!("ip netns add {hub}; ip -n {hub} link add bridge type bridge; ip -n {hub} link set bridge up\n");
        for (machine, address) in MACHINES {
            let name = machines.name(machine);
            writeln!(script, "ip netns add {name}; ip -n {name} link set lo up").unwrap();
            script += &machines.cable(machine, &format!("ip -n {name}"), &name, address);
        }
        sh(&script);
        machines
    }

    /// The same, with `base/NODE/volume` as the volume of each node, and `base/hosts` as the hosts that they know. Needs `unshare` (util-linux), too.
    pub(crate) fn with_volumes(base: &Path) -> Self {
        let mut machines = Self::new();
        std::fs::write(base.join("hosts"), "127.0.0.1 localhost\n").unwrap();
        for node in ["alpha", "beta"] {
            let volume = base.join(node).join("volume");
            std::fs::create_dir_all(&volume).unwrap();
            machines.keepers.push((node, keeper(&volume, &base.join("hosts"))));
        }
        machines
    }

    /// Joins the network of a process that is on none of the machines, as one of this name and address.
    pub(crate) fn join(&self, machine: &str, pid: u32, address: &str) {
        sh(&self.cable(machine, &format!("nsenter --target={pid} --net ip"), &pid.to_string(), address));
    }

    /// A script that lays a cable from the hub to a network, in which `ip` is a command.
    fn cable(&self, machine: &str, ip: &str, network: &str, address: &str) -> String {
        let hub = self.name("hub");
        format!(
            "ip -n {hub} link add {machine} type veth peer name eth0 netns {network}\n\
             ip -n {hub} link set dev {machine} master bridge up\n\
             {ip} link set eth0 up; {ip} addr add {address}/24 dev eth0\n"
        )
    }

    fn name(&self, machine: &str) -> String {
        format!("standin-{}-{machine}", self.id)
    }

    /// The address of a machine.
    pub(crate) fn address(&self, machine: &str) -> &'static str {
        MACHINES.iter().find(|(name, _)| *name == machine).unwrap().1
    }

    /// What runs a command line on a machine.
    pub(crate) fn prefix(&self, machine: &str) -> Vec<String> {
        let mounts = self.keepers.iter().find(|(node, _)| *node == machine);
        let mounts = mounts.map(|(_, keeper)| format!("--mount=/proc/{}/ns/mnt", keeper.id()));
        let words = ["nsenter".to_owned(), format!("--net=/run/netns/{}", self.name(machine))];
        words.into_iter().chain(mounts).collect()
    }

    /// A command on a machine.
    pub(crate) fn command(&self, machine: &str, words: &[&str]) -> Command {
        let prefix = self.prefix(machine);
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).args(words).stdin(Stdio::null());
        command
    }

    /// Starts something that stays.
    pub(crate) fn start(&self, machine: &str, words: &[String]) -> Child {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.command(machine, &words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Pulls a machine's cable, or plugs it in.
    pub(crate) fn plug(&self, machine: &str, plugged: bool) {
        sh(&format!("ip -n {} link set dev {machine} {}", self.name("hub"), if plugged { "up" } else { "down" }));
    }

    /// Loses everything that one machine sends to another, or nothing of it any more; the other way nothing changes.
    pub(crate) fn block(&self, from: &str, to: &str, blocked: bool) {
        let (verb, from, to) = (if blocked { "replace" } else { "del" }, self.name(from), self.address(to));
        let done = Done::of(script(&format!("ip -n {from} route {verb} blackhole {to}/32")));
        // Nothing is blocked where nothing was.
        assert!(!blocked || done.code == Some(0), "{done:?}");
    }

    /// The same in both ways.
    pub(crate) fn cut(&self, one: &str, other: &str, cut: bool) {
        self.block(one, other, cut);
        self.block(other, one, cut);
    }

    /// Whether the floating address is on a machine.
    pub(crate) fn has_floating(&self, machine: &str) -> bool {
        let show = script(&format!("ip -n {} addr show dev eth0", self.name(machine)));
        Done::of(show).expect(0).stdout.contains(FLOATING)
    }

    /// What a power failure does: everything on the machine ends at once, and what was only in memory is gone: mounts and addresses.
    pub(crate) fn power_off(&self, machine: &str) {
        self.plug(machine, false);
        self.kill_all(machine);
        let mut gone = format!("ip addr del {FLOATING}/24 dev eth0;");
        if self.keepers.iter().any(|(node, _)| *node == machine) {
            // The layer, whose daemon is dead.
            write!(gone, "umount --lazy --types fuse {VOLUME}; find {OWN} -mindepth 1 -delete").unwrap();
        }
        // It may not have had them.
        Done::of(self.command(machine, &["sh", "-c", &gone]));
    }

    fn kill_all(&self, machine: &str) {
        // Some may have ended by themselves.
        Done::of(script(&format!("ip netns pids {} | xargs --no-run-if-empty kill -9", self.name(machine))));
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for (machine, _) in MACHINES {
            self.kill_all(machine);
        }
        for (_, keeper) in &mut self.keepers {
            // Whether it still runs makes no difference.
            drop(keeper.kill());
            drop(keeper.wait());
        }
        for machine in MACHINES.iter().map(|(machine, _)| *machine).chain(["hub"]) {
            drop(Done::of(script(&format!("ip netns del {}", self.name(machine)))));
        }
    }
}

/// A process outside of all machines that has a machine's mounts. A systemd of the host's is none of this machine.
fn keeper(volume: &Path, hosts: &Path) -> Child {
    let script = format!(
        "mount --bind '{}' /etc/hosts && mount -t tmpfs -o mode=755 tmpfs /mnt && mkdir {VOLUME} {OWN} && mount --bind '{}' {VOLUME} && {{ test ! -d /run/systemd/system || mount -t tmpfs tmpfs /run/systemd; }} && echo ready && exec sleep infinity",
        hosts.display(),
        volume.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut keeper = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "a machine's mounts are there");
    keeper
}

fn script(text: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-euc", text]);
    command
}

#[track_caller]
fn sh(text: &str) {
    Done::of(script(text)).expect(0);
}
