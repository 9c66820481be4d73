//! The peer that catches up: one rsync, to a daemon as lsyncd starts it, or within this machine. Neither waits for the disk.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::follower::Place;
use crate::lsyncd::Server;
use crate::support::Done;

pub(crate) struct Rsync {
    /// As the table names it.
    pub(crate) name: &'static str,
    options: &'static [&'static str],
    source: PathBuf,
    copy: String,
    /// Lives as long as it is copied to.
    _server: Option<Server>,
}

impl Rsync {
    /// To a daemon over loopback, with rsync's own choices.
    pub(crate) fn served(place: &Place) -> Self {
        let copy = place.work().join("served-copy");
        fs::create_dir(&copy).unwrap();
        let server = Server::start(place.work(), &copy);
        let to = server.address();
        Self {
            name: "rsync -a to a daemon, unsynced",
            options: &["-a"],
            source: place.source.clone(),
            copy: to,
            _server: Some(server),
        }
    }

    /// From directory to directory, where rsync compares nothing.
    pub(crate) fn local(place: &Place) -> Self {
        let copy = place.work().join("local-copy").display().to_string();
        let options = &["-a", "--inplace"];
        Self { name: "rsync -a --inplace, local, unsynced", options, source: place.source.clone(), copy, _server: None }
    }

    /// Runs it; returns how long that took.
    pub(crate) fn run(&self) -> Duration {
        let mut command = Command::new("rsync");
        command.args(self.options).arg(format!("{}/", self.source.display())).arg(&self.copy);
        let start = Instant::now();
        Done::of(command).expect(0);
        start.elapsed()
    }
}
