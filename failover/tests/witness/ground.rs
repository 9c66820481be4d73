//! An etcd of the test's own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use standin_config::group::EtcdWitness as Settings;
use standin_failover::witness::etcd::EtcdWitness;
use standin_failover::witness::{Witness, Word};
use tempfile::TempDir;

/// Whether these tests can run; where they must, a panic instead of `false`.
pub(crate) fn possible() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing: Vec<_> = ["etcd", "etcdctl", "setpriv"]
        .into_iter()
        .filter(|tool| !std::env::split_paths(&path).any(|dir| dir.join(tool).exists()))
        .collect();
    assert!(missing.is_empty() || std::env::var("CI").as_deref() != Ok("true"), "missing: {missing:?}");
    if !missing.is_empty() {
        println!("not run: missing: {missing:?}");
    }
    missing.is_empty()
}

/// A server; ends with this.
pub(crate) struct Etcd {
    dir: TempDir,
    pub(crate) port: u16,
    peer_port: u16,
    scheme: &'static str,
    /// Certificates, if it has any.
    options: Vec<String>,
    child: Option<Child>,
}

impl Etcd {
    /// One without TLS and users; `None` where that is not possible.
    pub(crate) fn start() -> Option<Self> {
        possible().then(|| Self::with(tempfile::tempdir().unwrap(), "http", &[]))
    }

    /// One with these options, over `http` or `https`, with its data in `dir`.
    pub(crate) fn with(dir: TempDir, scheme: &'static str, options: &[&str]) -> Self {
        let options = options.iter().map(ToString::to_string).collect();
        let mut etcd = Self { dir, port: 0, peer_port: 0, scheme, options, child: None };
        // Somebody else may have taken the ports between the look and the start.
        for _ in 0..5 {
            (etcd.port, etcd.peer_port) = (free_port(), free_port());
            if etcd.run() {
                return etcd;
            }
        }
        panic!("etcd does not start: {}", std::fs::read_to_string(etcd.dir.path().join("log")).unwrap());
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// Starts it; whether it listens in the end.
    pub(crate) fn run(&mut self) -> bool {
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let (clients, peers) = (self.endpoint(), format!("http://127.0.0.1:{}", self.peer_port));
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "etcd", "--data-dir"])
            .arg(self.dir.path().join("data"))
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("default={peers}")])
            .args(&self.options)
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .unwrap();
        let child = self.child.insert(child);
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
            if text.contains("ready to serve client requests") {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20)); // poll
        }
        panic!("etcd is not ready after a minute");
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap(), signal).unwrap();
    }

    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Another client's command, and what it prints.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Settings of a node that asks it.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            endpoints: vec![self.endpoint()],
            prefix: "/standin".to_owned(),
            lease_ms: 10_000,
            ca: None,
            certificate: None,
            key: None,
            user: None,
            password_file: None,
        }
    }

    pub(crate) fn witness(&self) -> EtcdWitness {
        witness(&self.settings())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn witness(settings: &Settings) -> EtcdWitness {
    EtcdWitness::new(settings, &"mail".parse().unwrap())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A line on which the answers to swaps are lost: what is asked arrives.
pub(crate) struct LossyLine {
    pub(crate) endpoint: String,
}

impl LossyLine {
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        // It ends with the process of the test.
        std::thread::spawn(move || listener.incoming().flatten().for_each(|client| carry(client, port)));
        Self { endpoint }
    }
}

/// One request, whose head and body come together; each has a connection of its own.
fn carry(mut client: TcpStream, port: u16) {
    let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut request = Vec::new();
    let mut part = [0; 4096];
    while !is_whole(&request) {
        match client.read(&mut part) {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&part[..count]),
        }
    }
    server.write_all(&request).unwrap();
    let count = server.read(&mut part).unwrap();
    if !String::from_utf8_lossy(&request).contains("/v3/kv/txn") {
        let _ = client.write_all(&part[..count]);
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    length.is_none_or(|length: usize| body.len() >= length)
}

/// Both of a call's outcomes that leave the matter open or closed, and how long it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    (work(), begun.elapsed())
}

pub(crate) fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Reads until somebody answers.
pub(crate) fn wait_for(witness: &dyn Witness) -> Option<Word> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match witness.read() {
            Ok(word) => return word,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(50)); // poll
    }
}
