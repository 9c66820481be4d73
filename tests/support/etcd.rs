//! etcd on the machine `witness`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::machines::Machines;
use super::{Done, PATIENCE, wait_until};

/// etcd; it ends with its machine.
pub(crate) struct Etcd {
    child: Child,
    endpoint: String,
    prefix: Vec<String>,
}

impl Etcd {
    /// Starts it, with its data and its log in `dir`.
    pub(crate) fn start(machines: &Machines, dir: &Path) -> Self {
        let (prefix, endpoint) = (machines.prefix("witness"), format!("http://{}:2379", machines.address("witness")));
        let log = dir.join("etcd.log");
        let output = File::create(&log).unwrap();
        let child = Command::new(&prefix[0])
            .args(&prefix[1..])
            // How long a disk takes that others keep busy is nothing that these tests are about.
            .args(["etcd", "--unsafe-no-fsync", "--data-dir"])
            .arg(dir.join("etcd"))
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .stdin(Stdio::null())
            .stderr(output.try_clone().unwrap())
            .stdout(output)
            .spawn()
            .expect("etcd is needed (package etcd-server)");
        wait_until("etcd is ready", PATIENCE, || fs::read_to_string(&log).unwrap().contains("ready to serve client requests"));
        Self { child, endpoint, prefix }
    }

    /// The settings of the group `mail` that make it its witness; `more` is for further keys.
    pub(crate) fn settings(&self, more: &str) -> String {
        format!("\n[groups.mail.witness]\nkind = \"etcd\"\nendpoints = [\"{}\"]\n{more}\n", self.endpoint)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let mut command = Command::new("kill");
        command.args([signal, &self.child.id().to_string()]);
        Done::of(command).expect(0);
    }

    /// Whom it names, and at which generation.
    pub(crate) fn names(&self) -> (String, u64) {
        let mut command = Command::new(&self.prefix[0]);
        command.args(&self.prefix[1..]).env("ETCDCTL_API", "3");
        command.args(["etcdctl", "--endpoints", &self.endpoint, "get", "--print-value-only", "/standin/mail"]);
        let word = Done::of(command).expect(0).json();
        (word["holder"].as_str().unwrap().to_owned(), word["generation"].as_u64().unwrap())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // Whether it still runs makes no difference.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
