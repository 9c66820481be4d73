//! A room of its own for the processes of a test (Linux): network, processes and mounts apart from everything else.
//!
//! Ports that a protocol fixes are free in it, two test runs at once do not see each other, and nothing outlives the test, however it
//! ends: the room's first process ends when the pipe from the test closes, and the kernel then kills every other one.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What the first process does. Its number is read before `/proc` is that of the room.
const FIRST_PROCESS: &str = r#"
    read -r pid rest </proc/self/stat
    ip link set lo up && mount --bind "$1/resolv.conf" /etc/resolv.conf && mount --bind "$1/hosts" /etc/hosts &&
        mount -t proc proc /proc || exit 1
    echo "$pid"
    cat >/dev/null
    kill -9 -1 2>/dev/null
    rm -rf -- "$1"
"#;

/// A room, with a directory that goes with it.
pub(crate) struct Namespace {
    /// What runs in the room keeps its files here.
    pub(crate) dir: PathBuf,
    /// Its first process.
    pub(super) first: u32,
    unshare: Child,
    /// The room lasts as long as this is open.
    hold: Option<ChildStdin>,
}

impl Namespace {
    /// Makes a room with a new directory in `base`. `hosts` and `resolver` are its `/etc/hosts` and its name server.
    pub(crate) fn new(base: &Path, hosts: &str, resolver: &str) -> Self {
        fs::create_dir_all(base).unwrap();
        let dir = tempfile::Builder::new().prefix("room-").tempdir_in(base).unwrap().keep();
        fs::write(dir.join("resolv.conf"), format!("nameserver {resolver}\n")).unwrap();
        fs::write(dir.join("hosts"), hosts).unwrap();
        let mut unshare = Command::new("unshare")
            .args(["--net", "--pid", "--mount", "--fork", "--kill-child=KILL", "--", "sh", "-c", FIRST_PROCESS, "sh"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (package util-linux) makes the room");
        let mut line = String::new();
        BufReader::new(unshare.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let first = line.trim().parse().expect("the room's first process tells its number when all is there; needs root");
        let hold = unshare.stdin.take();
        Self { dir, first, unshare, hold }
    }

    /// A command that will run inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.first)).args(["--net", "--pid", "--mount", "--", program]);
        command.stdin(Stdio::null());
        command
    }

    /// The words before a command line whose process is to be the started one itself, to be watched and killed: in the room's network
    /// and with its files, outside of its processes.
    #[allow(dead_code, reason = "not every test that includes this watches a process")]
    pub(crate) fn prefix(&self) -> [String; 5] {
        ["nsenter", &format!("--target={}", self.first), "--net", "--mount", "--"].map(str::to_owned)
    }

    /// Runs a command inside to its end, which must be a good one.
    #[track_caller]
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = self.command(program);
        command.args(arguments);
        finish(&mut command)
    }

    /// Runs `work` on a thread of its own that is in the room's network.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.enter();
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The calling thread, and every thread and process it starts from now on, is in the room's network.
    pub(crate) fn enter(&self) {
        let link = File::open(format!("/proc/{}/ns/net", self.first)).unwrap();
        move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter the room");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.hold.take());
        let _ = self.unshare.wait();
    }
}

/// Runs a command to its end, which must be a good one: what it said on standard output.
#[track_caller]
pub(crate) fn finish(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}
