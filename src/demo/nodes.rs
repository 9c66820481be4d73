//! The two nodes: processes of this very program, each with its own settings, identity and state.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use standin_common::id::{PointNumber, SetName};
use standin_replicator::journal::Point;
use standin_replicator::report::SetReport;

use super::local::{free_udp_port, peer_settings, set_settings};
use super::stage::{Actor, PATIENCE, Stage};
use super::{DemoError, at};
use crate::control::client::{self, Waiting};
use crate::control::{Answer, Request};

/// The set of the demo.
pub(super) const SET: &str = "mail";
/// How often two free ports are looked for: somebody else may take one before the daemon does.
const SETUPS: usize = 5;
const PAIRING_SECS: &str = "20";
const LOOK: Duration = Duration::from_millis(20);

/// A node.
pub(super) struct Node {
    name: &'static str,
    stage: Arc<Stage>,
    dir: PathBuf,
    address: String,
    /// As `standin init` says.
    pub(super) fingerprint: String,
    daemon: Option<Actor>,
}

/// Makes two nodes, alpha with a set for beta, and starts them.
pub(super) fn set_up(stage: &Arc<Stage>, path: &Path, target: &Path) -> Result<(Node, Node), DemoError> {
    let mut tries = 1;
    loop {
        match try_to_set_up(stage, path, target) {
            Err(DemoError::Node { .. }) if tries < SETUPS => tries += 1,
            result => return result,
        }
    }
}

fn try_to_set_up(stage: &Arc<Stage>, path: &Path, target: &Path) -> Result<(Node, Node), DemoError> {
    let (mut alpha, mut beta) = (Node::init(stage, "alpha")?, Node::init(stage, "beta")?);
    pair(&alpha, &beta)?;
    let set = set_settings(SET, alpha.name, beta.name, path, target, "");
    for (here, there) in [(&alpha, &beta), (&beta, &alpha)] {
        here.add_settings(&peer_settings(there.name, &there.address))?;
        here.add_settings(&set)?;
    }
    beta.start()?;
    alpha.start()?;
    Ok((alpha, beta))
}

/// Lets two nodes know each other, by fingerprints that were carried from one to the other: here, by us.
fn pair(dialler: &Node, other: &Node) -> Result<(), DemoError> {
    let accept = other.spawn(&["pair", "--accept", "--fingerprint", &dialler.fingerprint, "--timeout", PAIRING_SECS])?;
    let deadline = Instant::now() + PATIENCE;
    // The other one may not be listening yet.
    while let Err(error) = dialler.run(&["pair", &other.address, "--fingerprint", &other.fingerprint]) {
        if Instant::now() > deadline || other.stage.ended(accept).is_some() {
            return Err(error);
        }
        thread::sleep(LOOK);
    }
    match other.stage.wait(accept, PATIENCE) {
        Some(status) if status.success() => Ok(()),
        _ => Err(other.failed("`pair --accept` failed")),
    }
}

impl Node {
    fn init(stage: &Arc<Stage>, name: &'static str) -> Result<Self, DemoError> {
        let dir = stage.base().join(name);
        if dir.exists() {
            at("remove", &dir, fs::remove_dir_all(&dir))?;
        }
        at("make directory", &dir, fs::create_dir(&dir))?;
        let port = at("find a free port for", &dir, free_udp_port())?;
        let address = format!("{}:{port}", Ipv4Addr::LOCALHOST);
        let mut node = Self { name, stage: stage.clone(), dir, address, fingerprint: String::new(), daemon: None };
        let state_dir = node.state_dir();
        let state_dir = state_dir.to_str().ok_or_else(|| node.failed("the temporary directory's path is not UTF-8"))?;
        let made = node.run(&["--json", "init", "--name", name, "--listen", &node.address, "--state-dir", state_dir])?;
        let made: serde_json::Value = serde_json::from_str(&made).map_err(|error| node.failed(&error.to_string()))?;
        node.fingerprint = made["fingerprint"].as_str().unwrap_or_default().to_owned();
        Ok(node)
    }

    fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// An error with what the node said last.
    fn failed(&self, what: &str) -> DemoError {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("\n  ");
        DemoError::Node { node: self.name, what: what.to_owned(), last }
    }

    fn add_settings(&self, toml: &str) -> Result<(), DemoError> {
        let path = self.dir.join("standin.toml");
        let mut file = at("open", &path, OpenOptions::new().append(true).open(&path))?;
        at("write", &path, writeln!(file, "\n{toml}"))
    }

    /// A command of this very program.
    fn command(&self, arguments: &[&str]) -> Result<Command, DemoError> {
        let log = self.log();
        let mut command = Command::new(at("find this program, from", &self.dir, std::env::current_exe())?);
        command.arg("--config").arg(self.dir.join("standin.toml")).args(arguments);
        command.env_remove("STANDIN_LOG").env_remove("JOURNAL_STREAM").env("NO_COLOR", "1").stdin(Stdio::null());
        command.stderr(at("open", &log, File::options().create(true).append(true).open(&log))?).stdout(Stdio::null());
        Ok(command)
    }

    fn spawn(&self, arguments: &[&str]) -> Result<Actor, DemoError> {
        self.stage.spawn(self.command(arguments)?)
    }

    /// Runs a command to its end; returns what it said.
    fn run(&self, arguments: &[&str]) -> Result<String, DemoError> {
        let said = self.dir.join("said");
        let mut command = self.command(arguments)?;
        command.stdout(at("make", &said, File::create(&said))?);
        let actor = self.stage.spawn(command)?;
        match self.stage.wait(actor, PATIENCE) {
            Some(status) if status.success() => {
                let mut text = String::new();
                at("read", &said, File::open(&said).and_then(|mut file| file.read_to_string(&mut text)))?;
                Ok(text)
            }
            _ => Err(self.failed(&format!("`{}` failed", arguments.join(" ")))),
        }
    }

    /// Starts the daemon and waits until it answers.
    pub(super) fn start(&mut self) -> Result<(), DemoError> {
        let actor = self.spawn(&["run"])?;
        self.daemon = Some(actor);
        let deadline = Instant::now() + PATIENCE;
        while self.status().is_err() {
            if self.stage.ended(actor).is_some() || Instant::now() > deadline {
                return Err(self.failed("the daemon did not start"));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Kills the daemon, as a crash would.
    pub(super) fn kill(&mut self) -> Result<(), DemoError> {
        self.daemon.take().map_or(Ok(()), |daemon| self.stage.kill(daemon))
    }

    /// Ends the daemon as an administrator does; says whether it ended well.
    pub(super) fn stop(&mut self) -> bool {
        let ended = self.daemon.take().and_then(|daemon| self.stage.terminate(daemon));
        ended.is_some_and(|status| status.success())
    }

    /// Asks the daemon, and tells `progress` how far it is.
    pub(super) fn ask(&self, request: &Request, progress: &mut dyn FnMut(&SetReport)) -> Result<Answer, DemoError> {
        let waiting = Waiting { progress, is_interrupted: &|| false, confirm: &mut |_, _| false };
        client::ask(&self.state_dir(), request, waiting).map_err(|source| DemoError::Ask { node: self.name, source })
    }

    /// How the set stands on this node.
    pub(super) fn status(&self) -> Result<SetReport, DemoError> {
        match self.ask(&Request::Status { set: Some(set()?) }, &mut |_| {})? {
            Answer::Status { sets, .. } => sets.into_iter().next().ok_or_else(|| self.failed("it does not know its set")),
            _ => Err(self.failed("it answered something else than was asked")),
        }
    }

    /// Its recovery points, and the one that the replica is at.
    pub(super) fn points(&self) -> Result<(Vec<Point>, Option<PointNumber>), DemoError> {
        match self.ask(&Request::Points { set: set()? }, &mut |_| {})? {
            Answer::Points { points, at } => Ok((points, at)),
            _ => Err(self.failed("it answered something else than was asked")),
        }
    }

    /// Makes the replica a plain, writable tree.
    pub(super) fn promote(&self, point: PointNumber) -> Result<Point, DemoError> {
        match self.ask(&Request::Promote { set: set()?, point: Some(point), as_source: false, force: false }, &mut |_| {})? {
            Answer::Promoted { point, .. } => Ok(point),
            _ => Err(self.failed("it answered something else than was asked")),
        }
    }
}

/// The name of the set.
pub(super) fn set() -> Result<SetName, DemoError> {
    SET.parse().map_err(|_| DemoError::Check(format!("{SET} is no name of a set")))
}
