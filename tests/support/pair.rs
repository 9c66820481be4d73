//! Two nodes with one set between them, and what tests ask of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{Done, Node, PATIENCE, Proxy, running_pair, wait_until};

/// The coarsest clock tick of a file system's change times.
const TICK: Duration = Duration::from_millis(20);

/// The set `mail` from alpha's `source` to beta's `target`, both daemons running.
pub(crate) struct Pair {
    /// The source node.
    pub(crate) alpha: Node,
    /// The standby node.
    pub(crate) beta: Node,
    /// What is replicated.
    pub(crate) source: PathBuf,
    /// The replica.
    pub(crate) target: PathBuf,
    /// Holds all of it; dropped last.
    pub(crate) dir: TempDir,
}

impl Pair {
    /// With an empty directory as the source, and further keys of the set.
    pub(crate) fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        std::fs::create_dir(&source).unwrap();
        Self::of(dir, source, more)
    }

    /// With a root that is somewhere beneath `dir`.
    pub(crate) fn of(dir: TempDir, source: PathBuf, more: &str) -> Self {
        let target = dir.path().join("target");
        Self::at(dir, source, target, more)
    }

    /// With root and target as they are to be.
    pub(crate) fn at(dir: TempDir, source: PathBuf, target: PathBuf, more: &str) -> Self {
        let (alpha, beta) = running_pair(dir.path(), &source, &target, more);
        Self { alpha, beta, source, target, dir }
    }

    /// Puts a line that can be cut between the nodes; the source is started again with it.
    pub(crate) fn over_a_line(&mut self) -> Proxy {
        over_a_line(&mut self.alpha, &self.beta)
    }

    /// Orders a mirror and waits for its end.
    pub(crate) fn try_mirror(&self, arguments: &[&str]) -> Done {
        // What changes in the very clock tick in which it is read is read once more, in a second pass that makes a second point.
        let now = Instant::now();
        wait_until("the clock ticks", PATIENCE, || now.elapsed() > 2 * TICK);
        let line = ["--json", "mirror", "start", "mail", "--wait"];
        self.alpha.run(&[&line[..], arguments].concat())
    }

    /// A mirror that must do what it should, for its report.
    #[track_caller]
    pub(crate) fn mirror(&self, arguments: &[&str]) -> Value {
        self.try_mirror(arguments).expect(0).json()
    }

    /// Promotes the replica.
    #[track_caller]
    pub(crate) fn promote(&self) -> Value {
        self.beta.json(&["promote", "mail"])
    }

    /// The set as a node reports it.
    #[track_caller]
    pub(crate) fn status_of(node: &Node) -> Value {
        node.json(&["status", "mail"])["sets"][0].clone()
    }

    /// Panics unless the replica is what the source is, as rsync sees it.
    #[track_caller]
    pub(crate) fn assert_equal(&self) {
        assert_same(&self.source, &self.target);
    }
}

/// Panics unless rsync, told to look at everything, finds nothing to do to make `b` what `a` is.
#[track_caller]
pub(crate) fn assert_same(a: &Path, b: &Path) {
    let todo = rsync_todo(a, b);
    assert!(todo.is_empty(), "{} and {} differ:\n{todo}", a.display(), b.display());
}

/// What rsync would do to make directory `b` what directory `a` is, a line each.
pub(crate) fn rsync_todo(a: &Path, b: &Path) -> String {
    let mut command = Command::new("rsync");
    command.args(["-aHAXn", "--delete", "--checksum", "--itemize-changes", "--modify-window=-1"]);
    // A tree that took over is marked, and that is not replicated. The second is what rsync leaves out if nothing is said.
    command.args(["--filter=-x trusted.standin.*", "--filter=-x user.standin.live", "--filter=-x system.*"]);
    command.arg(format!("{}/", a.display())).arg(format!("{}/", b.display()));
    Done::of(command).expect(0).stdout
}

/// Copies a tree as it is: links, holes, owners, lists, times.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    command.args(["-a", "--reflink=auto", "--sparse=always", "-T"]).arg(from).arg(to);
    Done::of(command).expect(0);
}

/// A standby's state and replica as they are now, copied to `base`, with a daemon of its own that is not started yet. Returns the
/// copied replica, too.
pub(crate) fn copy_standby(node: &Node, target: &Path, base: &Path) -> (Node, PathBuf) {
    let (state, replica) = (base.join("copy/state"), base.join("copied-target"));
    let both = base.join("both");
    std::fs::create_dir_all(base.join("copy")).unwrap();
    std::fs::create_dir(&both).unwrap();
    let mut command = Command::new("cp");
    command.args(["-a", "--reflink=auto", "--sparse=always", "-t"]).arg(&both).arg(node.state_dir());
    // One command, so that names of one file on both sides stay names of one file.
    command.args(target.exists().then_some(target));
    Done::of(command).expect(0);
    std::fs::rename(both.join("state"), &state).unwrap();
    if target.exists() {
        std::fs::rename(both.join(target.file_name().unwrap()), &replica).unwrap();
    }
    // As the message says for a replica that was moved.
    let targets = state.join("sets/mail/targets.json");
    if let Ok(text) = std::fs::read_to_string(&targets) {
        std::fs::write(&targets, text.replace(target.to_str().unwrap(), replica.to_str().unwrap())).unwrap();
    }
    let copy = Node::taken_over(base, "copy");
    let settings = std::fs::read_to_string(node.config()).unwrap();
    let quoted = |path: &Path| format!("{path:?}");
    let settings = settings.replace(&quoted(&node.state_dir()), &quoted(&state)).replace(&quoted(target), &quoted(&replica));
    std::fs::write(copy.config(), settings.replace(&node.listen.to_string(), &copy.listen.to_string())).unwrap();
    // A replica that was moved is only taken up where its state says that it is.
    for set in std::fs::read_dir(state.join("sets")).into_iter().flatten() {
        let remembered = set.unwrap().path().join("targets.json");
        if let Ok(text) = std::fs::read_to_string(&remembered) {
            let mut targets: Value = serde_json::from_str(&text).unwrap();
            let mount = shell(base, &format!("stat -c %m {}", replica.display()));
            targets[0]["path"] = replica.to_str().unwrap().into();
            targets[0]["mount"] = mount.trim().into();
            std::fs::write(&remembered, targets.to_string()).unwrap();
        }
    }
    (copy, replica)
}

/// Runs a shell script in a directory; it must succeed.
#[track_caller]
pub(crate) fn shell(dir: &Path, script: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-euc", script]).current_dir(dir);
    Done::of(command).expect(0).stdout
}

/// The seed of a random test: `STANDIN_SEED`, or a new one. Printed, so that a failure can be repeated.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("STANDIN_SEED").ok().map(|text| text.parse().expect("STANDIN_SEED is a number"));
    let new = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = given.unwrap_or_else(new);
    println!("STANDIN_SEED={seed}");
    seed
}

/// Puts a line that can be cut between a source and its standby; the source is started again with it.
pub(crate) fn over_a_line(source: &mut Node, standby: &Node) -> Proxy {
    source.stop();
    let proxy = Proxy::start(standby.listen);
    let settings = std::fs::read_to_string(source.config()).unwrap();
    let (there, here) = (standby.listen.to_string(), proxy.address.to_string());
    std::fs::write(source.config(), settings.replace(&there, &here)).unwrap();
    source.start();
    proxy
}
