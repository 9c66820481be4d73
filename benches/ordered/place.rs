//! Where work is done: a directory, the same beneath the plainest layer, or beneath Standin's.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{self, Done, Node, PATIENCE, wait_until};

/// A place for work. It goes, with all that is in it, when dropped.
pub(crate) enum Place {
    /// The directory itself.
    Directory(TempDir),
    Plain(Plain),
    Standin(Box<Standin>),
}

fn temporary() -> TempDir {
    let dir = tempfile::Builder::new().prefix("standin-ordered-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // PostgreSQL runs as somebody else.
    support::shell(dir.path(), "chmod 755 .");
    dir
}

impl Place {
    pub(crate) fn directory() -> Self {
        Self::Directory(temporary())
    }

    pub(crate) fn plain() -> Self {
        Self::Plain(Plain::mount())
    }

    pub(crate) fn standin(acknowledge: &str) -> Self {
        Self::standin_with(acknowledge, "")
    }

    /// With more keys of the set.
    pub(crate) fn standin_with(acknowledge: &str, more: &str) -> Self {
        Self::Standin(Box::new(Standin::start(acknowledge, more)))
    }

    /// Where to work.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Directory(dir) => dir.path().to_owned(),
            Self::Plain(plain) => plain.at.clone(),
            Self::Standin(standin) => standin.source.clone(),
        }
    }

    /// As the table calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Directory(_) => "the directory itself",
            Self::Plain(_) => "libfuse's `passthrough_ll`",
            Self::Standin(_) => "standin",
        }
    }

    /// Waits until nothing of the work before is left to be done.
    pub(crate) fn rest(&self) {
        rustix::fs::sync();
        if let Self::Standin(standin) = self {
            standin.rest();
        }
    }
}

/// libfuse's example, as Debian's libfuse3-dev has it, over a directory.
pub(crate) struct Plain {
    at: PathBuf,
    server: std::process::Child,
    _dir: TempDir,
}

impl Plain {
    fn mount() -> Self {
        let dir = temporary();
        let (at, under) = (dir.path().join("mount"), dir.path().join("under"));
        fs::create_dir(&at).unwrap();
        fs::create_dir(&under).unwrap();
        let program = Self::built(dir.path());
        // It has every file open that the kernel knows of.
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n $(ulimit -Hn); exec \"$@\"", "sh"]).arg(program);
        // With extended attributes, as ours; all else as it comes.
        command.arg("-f").arg("-o").arg(format!("source={},allow_other,xattr", under.display())).arg(&at);
        let server = command.spawn().unwrap();
        let plain = Self { at, server, _dir: dir };
        wait_until("passthrough_ll is mounted", PATIENCE, || plain.is_mounted());
        plain
    }

    fn is_mounted(&self) -> bool {
        fs::read_to_string("/proc/self/mounts").unwrap().contains(self.at.to_str().unwrap())
    }

    fn built(into: &Path) -> PathBuf {
        let script = "for name in passthrough_ll.c passthrough_helpers.h; do
            at=/usr/share/doc/libfuse3-dev/examples/$name
            if test -e $at.gz; then zcat $at.gz > $name; else cp $at $name; fi
        done
        cc -O2 passthrough_ll.c $(pkg-config fuse3 --cflags --libs) -o passthrough_ll";
        support::shell(into, script);
        into.join("passthrough_ll")
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.at, rustix::mount::UnmountFlags::DETACH);
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Two daemons on this machine, the layer over the source's root.
pub(crate) struct Standin {
    source: PathBuf,
    pub(crate) alpha: Node,
    pub(crate) beta: Node,
    _dir: TempDir,
}

impl Standin {
    fn start(acknowledge: &str, keys: &str) -> Self {
        let dir = temporary();
        let (source, target) = (dir.path().join("source"), dir.path().join("target"));
        fs::create_dir(&source).unwrap();
        let more =
            format!("capture = \"ordered\"\nmax_orphans = \"100%\"\nacknowledge = \"{acknowledge}\"\non_disconnect = \"block\"");
        let more = if acknowledge == "local" { more.replace("\non_disconnect = \"block\"", "") } else { more };
        let (alpha, beta) = support::running_pair(dir.path(), &source, &target, &(more + keys));
        alpha.run(&["mirror", "start", "mail", "--wait"]).expect(0);
        let standin = Self { source, alpha, beta, _dir: dir };
        standin.rest();
        standin
    }

    fn rest(&self) {
        wait_until("the standby has it", PATIENCE * 5, || self.alpha.run(&["point", "mail", "--wait"]).code == Some(0));
    }

    /// The set as the source reports it.
    pub(crate) fn status(&self) -> serde_json::Value {
        self.alpha.json(&["status", "mail"])["sets"][0].clone()
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        if self.alpha.is_running() {
            self.alpha.kill();
        }
        let _ = rustix::mount::unmount(&self.source, rustix::mount::UnmountFlags::DETACH);
    }
}

/// How long the way to a peer and back takes over the loopback, by its echo.
pub(crate) fn round_trip() -> std::time::Duration {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() {
                stream.write_all(&byte).unwrap();
            }
        });
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut taken: Vec<_> = (0..1000)
            .map(|_| {
                let began = std::time::Instant::now();
                stream.write_all(&[1]).unwrap();
                stream.read_exact(&mut [0]).unwrap();
                began.elapsed()
            })
            .collect();
        taken.sort();
        taken[500]
    })
}

/// Runs a shell script that must do what it should.
pub(crate) fn run(command: Command) -> String {
    Done::of(command).expect(0).stdout
}
