//! Two nodes with a set of several ordered roots.

use std::path::{Path, PathBuf};

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{self, Done, Node, PATIENCE, Proxy, Suspended, assert_same, wait_for};

pub(crate) struct Roots {
    pub(crate) alpha: Node,
    pub(crate) beta: Node,
    pub(crate) count: usize,
    pub(crate) dir: TempDir,
}

impl Roots {
    /// So many empty roots, and further keys of the set. Both daemons run.
    pub(crate) fn new(count: usize, more: &str) -> Self {
        Self::made(count, more, "", "")
    }

    /// The same, with the first root filled by a script before its layer comes.
    pub(crate) fn filled(count: usize, more: &str, script: &str) -> Self {
        Self::made(count, more, "", script)
    }

    /// The same, with further keys of each root.
    pub(crate) fn with_root_keys(count: usize, more: &str, of_root: &str) -> Self {
        Self::made(count, more, of_root, "")
    }

    fn made(count: usize, more: &str, of_root: &str, script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mut alpha, mut beta) = (Node::init(dir.path(), "alpha"), Node::init(dir.path(), "beta"));
        support::pair(&alpha, &beta);
        let mut set = format!(
            "\n[sets.mail]\nsource = \"alpha\"\nstandby = \"beta\"\ncapture = \"ordered\"\nmax_orphans = \"100%\"\n{more}\n"
        );
        for index in 0..count {
            let (path, target) = (dir.path().join(format!("source{index}")), dir.path().join(format!("target{index}")));
            std::fs::create_dir(&path).unwrap();
            set += &format!("[[sets.mail.roots]]\npath = {path:?}\ntarget = {target:?}\n{of_root}\n");
        }
        support::shell(&dir.path().join("source0"), script);
        for node in [&mut alpha, &mut beta] {
            node.add_settings(&set);
            node.start();
        }
        Self { alpha, beta, count, dir }
    }

    pub(crate) fn source(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("source{index}"))
    }

    pub(crate) fn target(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("target{index}"))
    }

    /// Puts a line that can be cut between the nodes; the source is started again with it.
    pub(crate) fn over_a_line(&mut self) -> Proxy {
        support::over_a_line(&mut self.alpha, &self.beta)
    }

    #[track_caller]
    pub(crate) fn mirror(&self) {
        self.alpha.run(&["mirror", "start", "mail", "--wait"]).expect(0);
    }

    /// Asks for a point of what is there now, and waits for it.
    #[track_caller]
    pub(crate) fn point(&self) -> Value {
        let made = wait_for("the standby is there", PATIENCE, || {
            let done = self.alpha.run(&["--json", "point", "mail", "--wait"]);
            (done.code != Some(4)).then_some(done)
        });
        made.expect(0).json()["point"].clone()
    }

    pub(crate) fn status(&self) -> Value {
        self.alpha.json(&["status", "mail"])["sets"][0].clone()
    }

    #[track_caller]
    pub(crate) fn assert_equal(&self) {
        (0..self.count).for_each(|index| assert_same(&self.source(index), &self.target(index)));
    }

    /// A copy of the standby as it is at this moment, while its daemon stands still; its own daemon is not started.
    pub(crate) fn copy(&self, base: &Path) -> (Node, Vec<PathBuf>) {
        let both = base.join("both");
        std::fs::create_dir_all(&both).unwrap();
        let mut command = Command::new("cp");
        command.args(["-a", "--reflink=auto", "--sparse=always", "-t"]).arg(&both).arg(self.beta.state_dir());
        command.args((0..self.count).map(|index| self.target(index)).filter(|target| target.exists()));
        {
            let _still = Suspended::new(self.beta.pid());
            Done::of(command).expect(0);
        }
        let copy = Node::taken_over(base, "copy");
        std::fs::create_dir(&copy.dir).unwrap();
        std::fs::rename(both.join("state"), copy.state_dir()).unwrap();
        let replicas: Vec<_> = (0..self.count).map(|index| both.join(format!("target{index}"))).collect();
        let places = (0..self.count).map(|index| (self.target(index), replicas[index].clone()));
        let places: Vec<_> = places.chain([(self.beta.state_dir(), copy.state_dir())]).collect();
        // As the message says for a replica that was moved.
        let moved =
            |text: String| places.iter().fold(text, |text, (from, to)| text.replace(&format!("{from:?}"), &format!("{to:?}")));
        let remembered = copy.state_dir().join("sets/mail/targets.json");
        if let Ok(text) = std::fs::read_to_string(&remembered) {
            std::fs::write(&remembered, moved(text)).unwrap();
        }
        let settings = moved(std::fs::read_to_string(self.beta.config()).unwrap());
        std::fs::write(copy.config(), settings.replace(&self.beta.listen.to_string(), &copy.listen.to_string())).unwrap();
        (copy, replicas)
    }

    /// Promotes a copy of the standby as it is at this moment, at its newest consistent point; the replicas, and that point.
    #[track_caller]
    pub(crate) fn promoted(&self, base: &Path) -> (Vec<PathBuf>, Value) {
        let (mut copy, replicas) = self.copy(base);
        copy.start();
        let points = copy.json(&["points", "mail"])["points"].as_array().unwrap().clone();
        let newest = points.iter().rev().find(|point| point["consistent"] == json!(true)).expect("a consistent point");
        copy.json(&["promote", "mail", "--point", &newest["number"].to_string()]);
        (replicas, newest.clone())
    }
}

impl Drop for Roots {
    fn drop(&mut self) {
        for node in [&mut self.alpha, &mut self.beta] {
            if node.is_running() {
                node.kill();
            }
        }
        // A failed test must not leave a mount behind.
        for root in (0..self.count).flat_map(|index| [self.source(index), self.target(index)]) {
            let _ = rustix::mount::unmount(root, rustix::mount::UnmountFlags::DETACH);
        }
    }
}
