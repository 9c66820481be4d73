//! The control socket of Linux: a Unix socket in the state directory, which only its owner may enter.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

pub(super) type Stream = UnixStream;

const NAME: &str = "control.sock";
const LOCK: &str = "daemon.lock";

/// The socket a daemon listens on. Held, nobody else can; dropped, its name is gone.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixListener,
    directory: PathBuf,
    /// Held, not read: the lock ends with the process, however that ends.
    _lock: File,
}

/// A name for a file of `directory` that fits into the 108 bytes of a socket's address, however long the directory's is.
fn short_name(directory: &File, name: impl AsRef<OsStr>) -> PathBuf {
    Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name.as_ref())
}

/// Listens in a state directory. An error of kind `AddrInUse` if a daemon does already.
pub(super) fn listen(directory: &Path) -> io::Result<Listener> {
    let lock = File::options().create(true).append(true).open(directory.join(LOCK))?;
    lock.try_lock().map_err(|error| match error {
        fs::TryLockError::WouldBlock => io::ErrorKind::AddrInUse.into(),
        fs::TryLockError::Error(error) => error,
    })?;
    let handle = File::open(directory)?;
    // Left by a daemon that was killed: the lock says that nobody has it any more.
    match fs::remove_file(directory.join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(short_name(&handle, NAME))?;
    fs::set_permissions(directory.join(NAME), fs::Permissions::from_mode(0o600))?;
    Ok(Listener { socket, directory: directory.to_owned(), _lock: lock })
}

/// Connects to the daemon of a state directory.
pub(super) fn connect(directory: &Path) -> io::Result<Stream> {
    let handle = File::open(directory)?;
    UnixStream::connect(short_name(&handle, NAME))
}

impl Listener {
    /// Waits for a client that is the same user, or root; others are sent away.
    pub(super) fn accept(&self) -> io::Result<Stream> {
        loop {
            let (stream, _) = self.socket.accept()?;
            let peer = socket_peercred(&stream)?.uid;
            if peer == geteuid() || peer.is_root() {
                return Ok(stream);
            }
            tracing::warn!(uid = peer.as_raw(), "sent another user away from the control socket");
        }
    }

    /// Wakes whoever waits in [`Listener::accept`].
    pub(super) fn wake(&self) {
        // If it cannot be connected to, nobody waits.
        let _ = connect(&self.directory);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Left behind, it does no harm: the next daemon removes it.
        let _ = fs::remove_file(self.directory.join(NAME));
    }
}
