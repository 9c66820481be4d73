//! Standin's side of the comparison: two daemons on this machine.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::copier::{Copier, Run, Work, timed};
use crate::support::{Node, free_udp_port, pair, peak_rss_kib, set_of_one};

/// Where the nodes run: prefixes of their command lines, and addresses if not loopback.
pub(crate) struct Hosts<'a> {
    /// Of the source and the standby.
    pub(crate) prefixes: [&'a [&'a str]; 2],
    /// Where they listen.
    pub(crate) addresses: [SocketAddr; 2],
}

impl Hosts<'_> {
    /// Both on loopback.
    pub(crate) fn loopback() -> Self {
        let address = || SocketAddr::from(([127, 0, 0, 1], free_udp_port()));
        Self { prefixes: [&[], &[]], addresses: [address(), address()] }
    }
}

/// Source and standby node, and the copy of the latter.
pub(crate) struct Standin<'a> {
    work: PathBuf,
    source: PathBuf,
    copy: PathBuf,
    hosts: Hosts<'a>,
    nodes: Option<[Node; 2]>,
    more: String,
}

impl<'a> Standin<'a> {
    /// Two nodes beneath `work`; `more` is for further keys of the set.
    pub(crate) fn new(work: &Path, source: &Path, hosts: Hosts<'a>, more: &str) -> Self {
        let copy = work.join("standin-copy");
        let mut standin =
            Self { work: work.join("standin"), source: source.to_owned(), copy, hosts, nodes: None, more: more.to_owned() };
        standin.forget();
        standin
    }

    fn nodes(&self) -> &[Node; 2] {
        self.nodes.as_ref().expect("the nodes run from `new` on")
    }
}

impl Copier for Standin<'_> {
    fn name(&self) -> String {
        "standin".to_owned()
    }

    fn copy(&self) -> &Path {
        &self.copy
    }

    fn forget(&mut self) {
        self.nodes = None;
        for directory in [&self.work, &self.copy] {
            if directory.exists() {
                fs::remove_dir_all(directory).unwrap();
            }
            fs::create_dir_all(directory).unwrap();
        }
        let [a, b] = ["alpha", "beta"];
        let mut alpha = Node::init_at(&self.work, a, self.hosts.addresses[0], self.hosts.prefixes[0]);
        let mut beta = Node::init_at(&self.work, b, self.hosts.addresses[1], self.hosts.prefixes[1]);
        pair(&alpha, &beta);
        let set = set_of_one("mail", &alpha, &beta, &self.source, &self.copy, &self.more);
        for node in [&mut alpha, &mut beta] {
            node.add_settings(&set);
            node.start();
        }
        self.nodes = Some([alpha, beta]);
    }

    fn mirror(&mut self, work: Work) -> Run {
        let [alpha, beta] = self.nodes();
        let mut arguments = vec!["--json", "mirror", "start", "mail", "--wait"];
        match work {
            // An empty standby needs no word for it.
            Work::Full => {}
            Work::Difference => arguments.push("--difference"),
            Work::Checksum => arguments.push("--checksum"),
            Work::Orphans => arguments.extend(["--difference", "--orphans", "remove", "--max-orphans", "100%"]),
        }
        let (done, time) = timed(alpha.command(&arguments));
        let report = done.json();
        let wire_bytes = ["/wire/sent_bytes", "/wire/received_bytes"]
            .map(|pointer| report.pointer(pointer).and_then(serde_json::Value::as_u64));
        Run {
            time,
            wire_bytes: wire_bytes[0].zip(wire_bytes[1]).map(|(sent, received)| sent + received),
            peak_rss_kib: [alpha, beta].map(|node| peak_rss_kib(node.pid()).unwrap_or(0)),
        }
    }
}
