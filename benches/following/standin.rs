//! Standin's side: two daemons on this machine, the source watched.

use std::path::{Path, PathBuf};

use crate::follower::{Follower, Place};
use crate::support::{Node, PATIENCE, running_pair, wait_until};

pub(crate) struct Standin {
    copy: PathBuf,
    alpha: Node,
    beta: Node,
}

impl Standin {
    /// Follows a source; returns when the replica has what is there.
    pub(crate) fn start(place: &Place) -> Self {
        let copy = place.work().join("standin-copy");
        let base = place.work().join("standin");
        std::fs::create_dir(&base).unwrap();
        let (alpha, beta) = running_pair(&base, &place.source, &copy, "capture = \"watch\"");
        alpha.run(&["mirror", "start", "mail", "--wait"]).expect(0);
        Self { copy, alpha, beta }
    }

    fn wait(&self) {
        // While the standby is away, whoever waits is told so.
        wait_until("the standby has it", PATIENCE * 10, || self.alpha.run(&["point", "mail", "--wait"]).code == Some(0));
    }
}

impl Follower for Standin {
    fn name(&self) -> String {
        "standin".to_owned()
    }

    fn copy(&self) -> &Path {
        &self.copy
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.alpha.pid(), self.beta.pid()]
    }

    fn cut(&mut self) {
        self.beta.stop();
    }

    fn catch_up(&mut self) {
        self.beta.start();
        self.wait();
    }
}
