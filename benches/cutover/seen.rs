//! What is seen from outside after a machine died, in milliseconds from its death.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clients::{self, unix_ms};
use crate::support::machines::Machines;
use crate::support::{PATIENCE, wait_for};

/// When it was seen first that …
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// the floating address is on the other node.
    pub(crate) address_ms: u64,
    /// Postfix greets there.
    pub(crate) greets_ms: u64,
    /// a message was accepted by way of the floating address.
    pub(crate) accepted_ms: u64,
}

/// Looks on from the moment of the death.
pub(crate) struct Outside<'a> {
    machines: &'a Machines,
    record: PathBuf,
    answers: tempfile::TempDir,
    watcher: std::process::Child,
    died_unix_ms: u64,
    ended: Arc<AtomicBool>,
    address: JoinHandle<Option<u64>>,
}

impl<'a> Outside<'a> {
    /// Call it right before the machine dies; `record` is what the clients write down.
    pub(crate) fn begin(machines: &'a Machines, record: &Path) -> Self {
        let answers = tempfile::tempdir().unwrap();
        let watcher = machines.start("client", &clients::task("watch", &answers.path().join("answers")));
        let ended = Arc::new(AtomicBool::new(false));
        let (prefix, ends) = (machines.prefix("beta"), ended.clone());
        let died_unix_ms = unix_ms();
        let address = thread::spawn(move || {
            while !ends.load(Ordering::SeqCst) {
                let mut look = std::process::Command::new(&prefix[0]);
                let told = look.args(&prefix[1..]).args(["ip", "addr", "show", "dev", "eth0"]).output().unwrap();
                if String::from_utf8_lossy(&told.stdout).contains(crate::support::machines::FLOATING) {
                    return Some(unix_ms());
                }
                thread::sleep(Duration::from_millis(10)); // poll
            }
            None
        });
        Self { machines, record: record.to_owned(), answers, watcher, died_unix_ms, ended, address }
    }

    /// Waits until all of it was seen.
    pub(crate) fn end(mut self) -> Seen {
        assert!(!self.machines.has_floating("alpha"), "alpha is dead");
        let first = |file: &Path, kind: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let lines = text.lines().filter(|line| line.starts_with(kind)).map(str::to_owned).collect::<Vec<_>>();
            let times = lines.into_iter().filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
            times.filter(|at| *at > self.died_unix_ms + 50).min()
        };
        let wait = |what: &str, file: &Path, kind: &str| wait_for(what, PATIENCE, || first(file, kind));
        let greets = wait("Postfix greets", &self.answers.path().join("answers"), "25 beta ");
        let accepted = wait("a message is accepted", &self.record, "accepted ");
        self.ended.store(true, Ordering::SeqCst);
        let address = self.address.join().unwrap().expect("the address is on beta");
        drop(self.watcher.kill());
        drop(self.watcher.wait());
        let since = |at: u64| at.saturating_sub(self.died_unix_ms);
        Seen { address_ms: since(address), greets_ms: since(greets), accepted_ms: since(accepted) }
    }
}
