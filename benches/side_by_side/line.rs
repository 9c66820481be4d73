//! A slow line between two network namespaces, made by the program `wan` of a folder beside this repository.

use std::env;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{Done, PATIENCE, wait_until};

/// The two ends of the line, up until it is dropped.
pub(crate) struct Line {
    wan: Child,
    program: PathBuf,
    /// Names of the namespaces.
    pub(crate) ends: [String; 2],
}

/// What a line counted, in packets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// Packets that were sent into it.
    pub(crate) offered: u64,
    /// Packets that found its queue full.
    pub(crate) overflowed: u64,
}

/// Addresses of the ends; every line has namespaces of its own, so all may have the same.
pub(crate) const ADDRESSES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(10, 78, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 78, 0, 2))];

impl Line {
    /// A line of this rate, one-way delay and share of packets lost at random; its queue holds a round trip.
    pub(crate) fn up(rate: &str, delay: &str, loss: &str) -> Self {
        let program = build(&folder());
        let ends = ["a", "b"].map(|end| format!("standin-bench-{}-{end}", std::process::id()));
        // What is hardware elsewhere does not wait here for a processor that whoever is measured keeps busy.
        let mut wan = Command::new("chrt");
        wan.args(["--fifo", "10"]).arg(&program);
        for (option, (end, address)) in ["--a", "--b"].iter().zip(ends.iter().zip(ADDRESSES)) {
            wan.arg(option).arg(format!("{end}:{address}"));
        }
        let wan = wan.args(["--rate", rate, "--delay", delay, "--loss", loss]).stdin(Stdio::null()).spawn().unwrap();
        let line = Self { wan, program, ends };
        wait_until("the line is up", PATIENCE, || Done::of(line.control("show")).code == Some(0));
        line
    }

    fn control(&self, what: &str) -> Command {
        let mut control = Command::new(&self.program);
        control.args(["ctl", "--control", &format!("/run/{}.sock", self.ends[0]), what]);
        control
    }

    /// What went from the first end to the second since the line is up.
    pub(crate) fn counts(&self) -> Counts {
        let done = Done::of(self.control("stats")).expect(0);
        let first: serde_json::Value = serde_json::from_str(done.stdout.lines().next().unwrap()).unwrap();
        let count = |name: &str| first[name].as_u64().unwrap();
        Counts { offered: count("offered"), overflowed: count("overflowed") }
    }

    /// Has TCP from the first end to the second use this congestion control, and windows for a long fat line. Says why it cannot.
    pub(crate) fn set_tcp(&self, congestion: &str) -> Result<(), String> {
        let to = ADDRESSES[1].to_string();
        let commands: [&[&str]; 2] = [
            &["sysctl", "-q", "-w", "net.ipv4.tcp_wmem=4096 65536 33554432"],
            // By the route: the setting of a namespace takes only what the host grants to everyone.
            &["ip", "route", "replace", &to, "dev", "wan0", "congctl", congestion],
        ];
        for words in commands {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &self.ends[0]]).args(words);
            let done = Done::of(command);
            if done.code != Some(0) {
                return Err(done.stderr.trim().to_owned());
            }
        }
        Ok(())
    }

    /// What to put before a command line to run it at an end.
    pub(crate) fn prefix(&self, end: usize) -> [&str; 4] {
        ["ip", "netns", "exec", &self.ends[end]]
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // It removes the namespaces, so it is asked to end, not killed.
        crate::support::terminate(self.wan.id());
        drop(self.wan.wait());
    }
}

fn folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/wan");
    let folder = env::var_os("STANDIN_WAN").map_or_else(beside, PathBuf::from);
    assert!(folder.join("Cargo.toml").exists(), "{} is not there: set STANDIN_WAN to the folder of wan", folder.display());
    folder
}

fn build(folder: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wan");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--quiet", "--target-dir"]).arg(&target).current_dir(folder);
    Done::of(cargo).expect(0);
    target.join("release/wan")
}
