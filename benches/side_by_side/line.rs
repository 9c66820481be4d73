//! A slow line between two network namespaces, made by the program `wan` of a folder beside this repository.

use std::env;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{Done, PATIENCE, wait_until};

/// The two ends of the line, up until it is dropped.
pub(crate) struct Line {
    wan: Child,
    /// Names of the namespaces.
    pub(crate) ends: [String; 2],
}

/// Addresses of the ends; every line has namespaces of its own, so all may have the same.
pub(crate) const ADDRESSES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(10, 78, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 78, 0, 2))];

impl Line {
    /// A line of this rate and one-way delay.
    pub(crate) fn up(rate: &str, delay: &str) -> Self {
        let program = build(&folder());
        let ends = ["a", "b"].map(|end| format!("standin-bench-{}-{end}", std::process::id()));
        let mut wan = Command::new(&program);
        for (option, (end, address)) in ["--a", "--b"].iter().zip(ends.iter().zip(ADDRESSES)) {
            wan.arg(option).arg(format!("{end}:{address}"));
        }
        let wan = wan.args(["--rate", rate, "--delay", delay]).stdin(Stdio::null()).spawn().unwrap();
        let line = Self { wan, ends };
        wait_until("the line is up", PATIENCE, || {
            let mut show = Command::new(&program);
            show.args(["ctl", "--control", &format!("/run/{}.sock", line.ends[0]), "show"]);
            Done::of(show).code == Some(0)
        });
        line
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
