//! The peer: lsyncd, which starts rsync for what inotify tells it. It is told of writes to open files, too, which it is not by default.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::follower::{Follower, Place};
use crate::support::{PATIENCE, wait_until};

pub(crate) struct Lsyncd {
    source: PathBuf,
    copy: PathBuf,
    server: Server,
    lsyncd: Child,
    delay_seconds: u32,
}

impl Lsyncd {
    /// Follows a source; returns when the copy has what is there.
    pub(crate) fn start(place: &Place, delay_seconds: u32) -> Self {
        let work = place.work();
        let copy = work.join("lsyncd-copy");
        fs::create_dir(&copy).unwrap();
        let server = Server::start(work, &copy);
        let settings = format!(
            "settings {{ nodaemon = true, inotifyMode = \"CloseWrite or Modify\" }}\n\
             sync {{ default.rsync, source = {:?}, target = {:?}, delay = {delay_seconds}, rsync = {{ archive = true }} }}\n",
            place.source,
            server.address()
        );
        let path = work.join("lsyncd.lua");
        fs::write(&path, settings).unwrap();
        let mut command = Command::new("lsyncd");
        command.arg(&path);
        let lsyncd = spawn(command, &work.join("lsyncd.log"));
        let started = Self { source: place.source.clone(), copy, server, lsyncd, delay_seconds };
        started.wait();
        started
    }

    /// Waits until a file that is made now is in the copy.
    fn wait(&self) {
        let name = format!("reached-{:x}", std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos());
        fs::write(self.source.join(&name), "").unwrap();
        wait_until("the copy has it", PATIENCE * 10, || self.copy.join(&name).exists());
    }
}

/// An rsync daemon that takes a copy; it ends when dropped.
pub(crate) struct Server {
    config: PathBuf,
    port: u16,
    rsync: Option<Child>,
}

impl Server {
    /// Starts it; returns when it listens. Its files are in `work`.
    pub(crate) fn start(work: &Path, copy: &Path) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let config = work.join(format!("rsyncd-{port}.conf"));
        let module = format!("use chroot = no\nuid = root\ngid = root\n[copy]\nread only = no\npath = {}\n", copy.display());
        fs::write(&config, module).unwrap();
        let mut server = Self { config, port, rsync: None };
        server.listen();
        server
    }

    /// As rsync is told it.
    pub(crate) fn address(&self) -> String {
        format!("rsync://127.0.0.1:{}/copy/", self.port)
    }

    fn listen(&mut self) {
        let mut command = Command::new("rsync");
        command.args(["--daemon", "--no-detach", "--address", "127.0.0.1", "--port", &self.port.to_string(), "--config"]);
        command.arg(&self.config);
        self.rsync = Some(spawn(command, &self.config.with_extension("log")));
        let port = self.port;
        wait_until("rsync listens", PATIENCE, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    }

    fn stop(&mut self) {
        self.rsync.take().into_iter().for_each(end);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(mut command: Command, log: &Path) -> Child {
    let log = File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn end(mut child: Child) {
    // It may have ended by itself; then there is nothing to kill.
    drop(child.kill());
    drop(child.wait());
}

impl Follower for Lsyncd {
    fn name(&self) -> String {
        format!("lsyncd with rsync, delay {} s", self.delay_seconds)
    }

    fn copy(&self) -> &Path {
        &self.copy
    }

    fn processes(&self) -> Vec<u32> {
        [self.lsyncd.id()].into_iter().chain(self.server.rsync.as_ref().map(Child::id)).collect()
    }

    fn cut(&mut self) {
        self.server.stop();
    }

    fn catch_up(&mut self) {
        self.server.listen();
        self.wait();
    }
}

impl Drop for Lsyncd {
    fn drop(&mut self) {
        drop(self.lsyncd.kill());
        drop(self.lsyncd.wait());
    }
}
