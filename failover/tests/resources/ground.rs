//! Rooms with a cable to one switch, and a step of a run that never is.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use standin_config::Settings;
use standin_config::group::Resource as ResourceSettings;
use standin_failover::resource::{Memo, Resource, Step, build};

use crate::namespace::{Namespace, finish};

/// Whether these tests can run; where they must, a panic instead of `false`.
pub(crate) fn possible(tools: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_missing = |tool: &&&str| !std::env::split_paths(&path).any(|dir| dir.join(tool).exists());
    let (is_root, missing) = (rustix::process::geteuid().is_root(), tools.iter().find(is_missing));
    let is_possible = is_root && missing.is_none();
    assert!(is_possible || std::env::var("CI").as_deref() != Ok("true"), "root: {is_root}, missing: {missing:?}");
    if !is_possible {
        println!("not run: root: {is_root}, missing: {missing:?}");
    }
    is_possible
}

/// Machines on one network: `eth0` in each, `10.0.0.N/24` for the Nth from 1.
pub(crate) struct Wire {
    pub(crate) rooms: Vec<Namespace>,
}

impl Wire {
    /// `None` where that is not possible.
    pub(crate) fn new(count: usize) -> Option<Self> {
        if !possible(&["ip", "unshare", "nsenter"]) {
            return None;
        }
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let switch = Namespace::new(base, "", "127.0.0.1");
        switch.run("ip", &["link", "add", "br0", "type", "bridge"]);
        switch.run("ip", &["link", "set", "br0", "up"]);
        let room = |number: usize| {
            let room = Namespace::new(base, "", "127.0.0.1");
            let inside = room.within(|| File::open("/proc/thread-self/ns/net").unwrap());
            // The command has to see this process, so it shares only the switch's network.
            let there = format!("/proc/{}/fd/{}", std::process::id(), inside.as_raw_fd());
            let port = format!("port{number}");
            switch.within(|| {
                let cable = ["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &there];
                finish(Command::new("ip").args(cable));
                finish(Command::new("ip").args(["link", "set", &port, "master", "br0", "up"]));
            });
            room.run("ip", &["link", "set", "eth0", "up"]);
            room.run("ip", &["address", "add", &format!("10.0.0.{number}/24"), "dev", "eth0"]);
            room
        };
        let mut rooms: Vec<Namespace> = (1..=count).map(room).collect();
        // Kept, since the cables end in it.
        rooms.push(switch);
        Some(Self { rooms })
    }
}

/// The settings of one resource, of nodes alpha and beta, with what it needs of `[groups.mail]`.
pub(crate) fn settings(group: &str, resource: &str) -> ResourceSettings {
    let text = format!(
        "[node]\nname = \"alpha\"\nstate_dir = \"/s\"\n[peers.beta]\naddresses = [\"10.0.0.2\"]\n\
         [groups.mail]\nnodes = {{ alpha = 1, beta = 10 }}\n{group}\n[[groups.mail.resources]]\nname = \"it\"\n{resource}"
    );
    let settings = Settings::parse(&text, "test").unwrap_or_else(|problems| panic!("{problems:#?}"));
    settings.groups.into_values().next().unwrap().resources.remove(0)
}

pub(crate) fn on(node: &str, settings: &ResourceSettings) -> Box<dyn Resource> {
    build(settings, &"mail".parse().unwrap(), &node.parse().unwrap()).unwrap()
}

/// A step that remembers, with something that happens when it is given a memory.
pub(crate) struct TestStep<'a> {
    deadline: Instant,
    lines: Mutex<Vec<String>>,
    memo: Mutex<Option<Memo>>,
    at_keep: &'a (dyn Fn() + Sync),
}

impl<'a> TestStep<'a> {
    pub(crate) fn new(at_keep: &'a (dyn Fn() + Sync)) -> Self {
        Self { deadline: Instant::now() + Duration::from_secs(60), lines: Mutex::default(), memo: Mutex::default(), at_keep }
    }

    /// One that is given up so soon.
    pub(crate) fn lasting(limit: Duration) -> Self {
        Self { deadline: Instant::now() + limit, ..Self::new(&|| {}) }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

pub(crate) fn step() -> TestStep<'static> {
    TestStep::new(&|| {})
}

impl Step for TestStep<'_> {
    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn tell(&self, line: fmt::Arguments<'_>) {
        self.lines.lock().unwrap().push(line.to_string());
    }

    fn keep(&self, memo: Memo) -> io::Result<()> {
        *self.memo.lock().unwrap() = Some(memo);
        (self.at_keep)();
        Ok(())
    }

    fn memo(&self) -> Option<Memo> {
        self.memo.lock().unwrap().clone()
    }

    fn variables(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}
