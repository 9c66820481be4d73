//! The peer: rsync, to a daemon on loopback or over ssh.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::copier::{Copier, Run, Work, slashed, timed};
use crate::support::{Done, PATIENCE, peak_rss_kib_of_tree, wait_until};

const SAMPLE_PAUSE: Duration = Duration::from_millis(20);

/// How rsync reaches its other side.
enum Way {
    /// A daemon; its module is the directory of the copy. Plaintext.
    Daemon,
    /// ssh, with these options.
    Ssh { command: String },
}

/// rsync with some options, and the server it talks to.
pub(crate) struct Rsync {
    name: String,
    source: PathBuf,
    copy: PathBuf,
    options: Vec<String>,
    way: Way,
    address: IpAddr,
    port: u16,
    server: Child,
    /// Put before the client's command line.
    prefix: Vec<String>,
}

impl Rsync {
    /// With a daemon of its own, on loopback.
    pub(crate) fn daemon(work: &Path, source: &Path, options: &[&str]) -> Self {
        Self::daemon_at(work, source, options, Ipv4Addr::LOCALHOST.into(), [&[], &[]])
    }

    /// With a daemon of its own at an address; `prefixes` are put before the command lines of client and daemon.
    pub(crate) fn daemon_at(work: &Path, source: &Path, options: &[&str], address: IpAddr, prefixes: [&[&str]; 2]) -> Self {
        let copy = work.join("rsync-copy");
        fs::create_dir_all(&copy).unwrap();
        let port = free_tcp_port();
        let config = work.join("rsyncd.conf");
        // Without the last of these it waits for a name server, of which a network namespace has none.
        let text = "use chroot = no\nuid = root\ngid = root\nreverse lookup = no\n[copy]\nread only = no\npath = ";
        fs::write(&config, format!("{text}{}\n", copy.display())).unwrap();
        let mut server = in_prefix(prefixes[1], "rsync");
        server
            .args(["--daemon", "--no-detach", "--address", &address.to_string(), "--port", &port.to_string(), "--config"])
            .arg(&config);
        let server = spawn(server, &work.join("rsyncd.log"));
        let name = format!("rsync daemon, `{}`", options.join(" "));
        let prefix = prefixes[0].iter().map(|word| (*word).to_owned()).collect();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let rsync = Self { name, source: source.to_owned(), copy, options, way: Way::Daemon, address, port, server, prefix };
        rsync.wait_for_server();
        rsync
    }

    /// With an ssh server of its own, on loopback, with keys that are thrown away.
    pub(crate) fn ssh(work: &Path, source: &Path, options: &[&str]) -> Self {
        let copy = work.join("rsync-copy");
        fs::create_dir_all(&copy).unwrap();
        let ssh = work.join("ssh");
        fs::create_dir_all(&ssh).unwrap();
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(ssh.join(key));
            Done::of(keygen).expect(0);
        }
        let port = free_tcp_port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/user.pub\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin prohibit-password\n",
            ssh.display()
        );
        fs::write(ssh.join("sshd_config"), config).unwrap();
        // sshd wants it for its unprivileged half; the service would have made it.
        fs::create_dir_all("/run/sshd").unwrap();
        let mut server = Command::new("/usr/sbin/sshd");
        server.args(["-D", "-e", "-f"]).arg(ssh.join("sshd_config"));
        let server = spawn(server, &ssh.join("sshd.log"));
        let command = format!(
            "ssh -p {port} -i {}/user -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            ssh.display()
        );
        let rsync = Self {
            name: format!("rsync over ssh, `{}`", options.join(" ")),
            source: source.to_owned(),
            copy,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            way: Way::Ssh { command },
            address: Ipv4Addr::LOCALHOST.into(),
            port,
            server,
            prefix: Vec::new(),
        };
        rsync.wait_for_server();
        rsync
    }

    fn wait_for_server(&self) {
        if !self.prefix.is_empty() {
            // In another network namespace; asked there.
            return wait_until("the rsync daemon answers", PATIENCE, || {
                let mut list = self.client();
                list.arg(format!("rsync://{}:{}/", self.address, self.port));
                Done::of(list).code == Some(0)
            });
        }
        wait_until("the peer's server listens", PATIENCE, || TcpStream::connect((self.address, self.port)).is_ok());
    }

    /// The command that does the work.
    pub(crate) fn push(&self, work: Work) -> Command {
        let mut command = self.client();
        command.arg("--stats").args(&self.options);
        match work {
            Work::Full | Work::Difference => {}
            Work::Checksum => drop(command.arg("--checksum")),
            Work::Orphans => drop(command.arg("--delete")),
        }
        command.arg(slashed(&self.source));
        match &self.way {
            Way::Daemon => command.arg(format!("rsync://{}:{}/copy/", self.address, self.port)),
            Way::Ssh { command: ssh } => command.arg("-e").arg(ssh).arg(format!("{}:{}", self.address, slashed(&self.copy))),
        };
        command
    }

    fn client(&self) -> Command {
        in_prefix(&self.prefix.iter().map(String::as_str).collect::<Vec<_>>(), "rsync")
    }
}

impl Copier for Rsync {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn copy(&self) -> &Path {
        &self.copy
    }

    fn forget(&mut self) {
        fs::remove_dir_all(&self.copy).unwrap();
        fs::create_dir_all(&self.copy).unwrap();
    }

    fn mirror(&mut self, work: Work) -> Run {
        let command = self.push(work);
        let ((done, time), peak_rss_kib) = with_memory(self.server.id(), || timed(command));
        let wire_bytes =
            ["Total bytes sent: ", "Total bytes received: "].map(|what| number_after(&done.stdout, what)).iter().sum();
        Run { time, wire_bytes: Some(wire_bytes), peak_rss_kib }
    }
}

impl Drop for Rsync {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

fn in_prefix(prefix: &[&str], program: &str) -> Command {
    let mut words = prefix.iter().copied().chain([program]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

fn spawn(mut command: Command, log: &Path) -> Child {
    let log = File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn free_tcp_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A number of rsync's statistics, which has commas.
fn number_after(text: &str, what: &str) -> u64 {
    let rest = text.split_once(what).unwrap_or_else(|| panic!("no {what:?} in:\n{text}")).1;
    let digits: String =
        rest.chars().take_while(|char| char.is_ascii_digit() || *char == ',').filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// The most memory that a process of the client's and of the server's side has while something runs: rsync makes new ones for every run.
fn with_memory<T>(server: u32, run: impl FnOnce() -> T) -> (T, [u64; 2]) {
    let ended = AtomicBool::new(false);
    let peaks = [AtomicU64::new(0), AtomicU64::new(0)];
    // The server is a child of this process, too.
    let sides = [(std::process::id(), Some(server)), (server, None)];
    let result = thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                for ((root, except), peak) in sides.iter().zip(&peaks) {
                    peak.fetch_max(peak_rss_kib_of_tree(*root, *except, "rsync").unwrap_or(0), Ordering::Relaxed);
                }
                thread::park_timeout(SAMPLE_PAUSE);
            }
        });
        let result = run();
        ended.store(true, Ordering::Release);
        sampler.thread().unpark();
        result
    });
    (result, peaks.map(AtomicU64::into_inner))
}
