//! Nodes for tests and benches: each with its own directory, settings, identity and daemon, gone when it is dropped.
//!
//! Included by path, so every user has parts that it does not need.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub(crate) mod etcd;
pub(crate) mod group;
pub(crate) mod machines;
mod pair;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod platform;
mod proxy;
mod wait;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

#[allow(unused_imports)]
pub(crate) use pair::{Pair, assert_same, copy_standby, copy_tree, over_a_line, rsync_todo, seed, shell};
#[allow(unused_imports)]
pub(crate) use platform::{LoopDevice, Mount, Suspended, is_root, peak_rss_kib, peak_rss_kib_of_tree, terminate};
#[allow(unused_imports)]
pub(crate) use proxy::Proxy;
#[allow(unused_imports)]
pub(crate) use wait::{wait_for, wait_until};

/// How long anything may take that should take an instant, in seconds of a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_standin");

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// The command line, for messages.
    pub(crate) command: String,
    /// Exit code; `None` if it was killed.
    pub(crate) code: Option<i32>,
    /// All of standard output.
    pub(crate) stdout: String,
    /// All of standard error.
    pub(crate) stderr: String,
}

impl Done {
    /// Runs a command to its end.
    pub(crate) fn of(mut command: Command) -> Self {
        let text = format!("{command:?}");
        let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{text}: {error}"));
        Self {
            command: text,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Panics with all that was said unless the exit code is this one.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert!(self.code == Some(code), "expected exit code {code}, got {self:#?}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}: {self:#?}"))
    }
}

/// A node: `init` was run, the daemon runs between [`Node::start`] and [`Node::stop`], [`Node::kill`] or the drop.
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// Everything of it is in here: `standin.toml`, `state/`, `daemon.log`.
    pub(crate) dir: PathBuf,
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// Put before every command line, to run it elsewhere: `ip netns exec NAME`.
    prefix: Vec<String>,
    daemon: Option<Child>,
}

impl Node {
    /// Makes a node in `base/NAME` that listens on loopback.
    pub(crate) fn init(base: &Path, name: &str) -> Self {
        Self::init_at(base, name, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), free_udp_port()), &[])
    }

    /// Makes a node in `base/NAME`, whose commands all begin with `prefix`.
    pub(crate) fn init_at(base: &Path, name: &str, listen: SocketAddr, prefix: &[&str]) -> Self {
        let dir = base.join(name);
        fs::create_dir_all(&dir).unwrap();
        let prefix = prefix.iter().map(|word| (*word).to_owned()).collect();
        let node = Self { name: name.to_owned(), dir, listen, prefix, daemon: None };
        let state = node.state_dir();
        node.run(&["init", "--name", name, "--listen", &listen.to_string(), "--state-dir", state.to_str().unwrap()]).expect(0);
        node
    }

    /// A node whose directory somebody else filled, or will.
    pub(crate) fn taken_over(base: &Path, name: &str) -> Self {
        let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), free_udp_port());
        Self { name: name.to_owned(), dir: base.join(name), listen, prefix: Vec::new(), daemon: None }
    }

    /// Its settings file.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("standin.toml")
    }

    /// Its state directory.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// What its daemon said so far, of all runs.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("daemon.log")).unwrap_or_default()
    }

    /// Adds to the settings file.
    pub(crate) fn add_settings(&self, toml: &str) {
        let mut file = OpenOptions::new().append(true).open(self.config()).unwrap();
        writeln!(file, "\n{toml}").unwrap();
    }

    /// A command of this node's, not yet run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let program = self.config();
        let line: Vec<&str> =
            self.prefix.iter().map(String::as_str).chain([PROGRAM, "--config", program.to_str().unwrap()]).collect();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done::of(self.command(arguments))
    }

    /// Runs a command that must succeed, for its JSON.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
        self.run(&arguments).expect(0).json()
    }

    /// Its own fingerprint.
    pub(crate) fn fingerprint(&self) -> String {
        let done = self.run(&["pair", "--show"]).expect(0);
        done.stdout.split_whitespace().last().unwrap_or_else(|| panic!("no fingerprint: {done:#?}")).to_owned()
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn start(&mut self) {
        assert!(self.daemon.is_none(), "the daemon of {} runs already", self.name);
        let log = File::options().create(true).append(true).open(self.dir.join("daemon.log")).unwrap();
        let mut command = self.command(&["run"]);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
        wait_until(&format!("the daemon of {} answers", self.name), PATIENCE, || {
            if let Some(status) = self.daemon.as_mut().unwrap().try_wait().unwrap() {
                panic!("the daemon of {} ended at once ({status}):\n{}", self.name, self.log());
            }
            self.run(&["status"]).code == Some(0)
        });
    }

    /// The daemon's process.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").id()
    }

    /// Whether the daemon runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|daemon| daemon.try_wait().unwrap().is_none())
    }

    /// Ends the daemon as an administrator does, and says how it ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        platform::terminate(daemon.id());
        let status = wait_for(&format!("the daemon of {} ends", self.name), PATIENCE, || daemon.try_wait().unwrap());
        assert!(status.success(), "{status}:\n{}", self.log());
        status
    }

    /// Kills the daemon, as a crash would.
    pub(crate) fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // It may have ended by itself; then there is nothing to kill.
            drop(daemon.kill());
            drop(daemon.wait());
        }
        if std::thread::panicking() {
            eprintln!("---- log of {}:\n{}", self.name, self.log());
        }
    }
}

/// Lets two nodes know each other: addresses in the settings, then each other's fingerprint. Their daemons must not run yet.
pub(crate) fn pair(dialler: &Node, other: &Node) {
    for (here, there) in [(dialler, other), (other, dialler)] {
        here.add_settings(&format!("[peers.{}]\naddresses = [\"{}\"]", there.name, there.listen));
    }
    let (fingerprint, others) = (dialler.fingerprint(), other.fingerprint());
    let mut accept = other.command(&["pair", "--accept", "--fingerprint", &fingerprint, "--timeout", "30"]);
    let accept = std::thread::spawn(move || {
        accept.stdout(Stdio::piped()).stderr(Stdio::piped());
        Done::of(accept)
    });
    // Dialling may be faster than the other side begins to listen.
    wait_until("the nodes are paired", PATIENCE, || {
        let done = dialler.run(&["pair", &other.listen.to_string(), "--fingerprint", &others]);
        let paired = done.code == Some(0);
        assert!(paired || !accept.is_finished(), "cannot pair: {done:#?}");
        paired
    });
    accept.join().unwrap().expect(0);
}

/// The settings of a set of one root, the same on both nodes. `more` is for further keys of the set.
pub(crate) fn set_of_one(set: &str, source: &Node, standby: &Node, path: &Path, target: &Path, more: &str) -> String {
    format!(
        "[sets.{set}]\nsource = \"{}\"\nstandby = \"{}\"\n{more}\n[[sets.{set}.roots]]\npath = {path:?}\ntarget = {target:?}",
        source.name, standby.name
    )
}

/// Two nodes, paired and running, alpha with the set `mail` for beta.
pub(crate) fn running_pair(base: &Path, path: &Path, target: &Path, more: &str) -> (Node, Node) {
    let (mut alpha, mut beta) = (Node::init(base, "alpha"), Node::init(base, "beta"));
    pair(&alpha, &beta);
    let set = set_of_one("mail", &alpha, &beta, path, target, more);
    for node in [&mut alpha, &mut beta] {
        node.add_settings(&set);
        node.start();
    }
    (alpha, beta)
}

/// Whether a test that needs root and these programs can run; where it must, a panic instead of `false`.
pub(crate) fn can_run(tools: &[&str]) -> bool {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let is_missing = |tool: &&&str| !std::env::split_paths(&path).any(|dir| dir.join(tool).exists());
    let (root, missing) = (is_root("this test"), tools.iter().find(is_missing));
    let can_run = root && missing.is_none();
    assert!(can_run || std::env::var("CI").as_deref() != Ok("true"), "root: {root}, missing: {missing:?}");
    if !can_run {
        println!("not run: root: {root}, missing: {missing:?}");
    }
    can_run
}

/// A port that is free. It lies below those that the system gives to whoever asks for any, so that nobody else gets it before it is
/// used; processes begin at different places.
pub(crate) fn free_udp_port() -> u16 {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(97);
    let ports = (0..COUNT).map(|_| FIRST + begin.wrapping_add(NEXT.fetch_add(1, Relaxed)) % COUNT);
    let mut free =
        ports.filter_map(|port| u16::try_from(port).ok()).filter(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.next().expect("a port is free")
}
