//! The control socket on Linux: a Unix socket in the state directory, for the owner and root.
#![allow(unsafe_code)]

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use standin_common::disk::DiskError;

use super::{LOCK, SOCKET, SocketError};

/// Longest path that fits `sun_path` of unix(7), in bytes, without its final zero.
const MAX_PATH_LEN: usize = 107;
/// How long a client may not read before it counts as gone.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// The socket of the daemon that runs. The lock goes with it, at the latest when the process ends.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    _lock: File,
}

/// A connection, of either side.
#[derive(Debug)]
pub(crate) struct Stream(UnixStream);

/// Listens in this state directory, which must exist.
pub(crate) fn listen(state_dir: &Path) -> Result<Listener, SocketError> {
    let lock = lock(state_dir)?;
    let path = state_dir.join(SOCKET);
    // Whoever left it is gone, for we have the lock.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DiskError::at("remove the old socket", &path)(error))?,
        _ => {}
    }
    let socket = short(state_dir, UnixListener::bind).map_err(DiskError::at("listen at", &path))?;
    // The directory is its owner's alone, and who comes in between is looked at in `accept`.
    fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(DiskError::at("protect", &path))?;
    Ok(Listener { socket, path, _lock: lock })
}

/// Connects to the daemon of this state directory.
pub(crate) fn connect(state_dir: &Path) -> Result<Stream, SocketError> {
    let stream = short(state_dir, UnixStream::connect).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => SocketError::NotRunning,
        _ => DiskError::at("connect to the daemon at", &state_dir.join(SOCKET))(error).into(),
    })?;
    Ok(Stream(stream))
}

fn lock(state_dir: &Path) -> Result<File, SocketError> {
    let path = state_dir.join(LOCK);
    let file = File::options().create(true).append(true).open(&path).map_err(DiskError::at("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SocketError::Running(state_dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(DiskError::at("lock", &path)(error).into()),
    }
}

/// Does something with the socket's path, or with a short way to it if that is too long.
fn short<T>(state_dir: &Path, with: impl FnOnce(PathBuf) -> io::Result<T>) -> io::Result<T> {
    let path = state_dir.join(SOCKET);
    if path.as_os_str().as_bytes().len() <= MAX_PATH_LEN {
        return with(path);
    }
    let directory = File::open(state_dir)?;
    with(Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(SOCKET))
}

impl Listener {
    /// Waits for a client of the same user or of root; others are sent away. An error after [`Listener::shut`].
    pub(crate) fn accept(&self) -> io::Result<Stream> {
        loop {
            let (stream, _) = self.socket.accept()?;
            let user = user_of(&stream)?;
            if user == 0 || user == rustix::process::geteuid().as_raw() {
                stream.set_write_timeout(Some(WRITE_LIMIT))?;
                return Ok(Stream(stream));
            }
            tracing::warn!(uid = user, "sent a client of the control socket away: it is another user's");
        }
    }

    /// Wakes who waits in [`Listener::accept`], lets nobody in any more and removes the socket.
    pub(crate) fn shut(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the control socket was gone already");
        }
        if let Err(error) = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both) {
            tracing::warn!(%error, "cannot shut the control socket");
        }
    }
}

/// The user at the other end. Not by `rustix`: its `UCred` has no room for the process number 0, which is that of a client outside of this
/// process's PID namespace (a daemon in a container).
fn user_of(stream: &UnixStream) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of_val(&peer) as libc::socklen_t;
    let socket = stream.as_raw_fd();
    // SAFETY: the descriptor is open as long as `stream` is borrowed, and the kernel writes at most `len` bytes into `peer`, which is that long.
    let done = unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &raw mut len) };
    if done == 0 { Ok(peer.uid) } else { Err(io::Error::last_os_error()) }
}

impl Stream {
    /// Reads what there is, waiting at most `limit`; `None` if nothing came, 0 at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8], limit: Duration) -> io::Result<Option<usize>> {
        self.0.set_read_timeout(Some(limit))?;
        match self.0.read(buffer) {
            Ok(len) => Ok(Some(len)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes all of it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Whether the other side has closed the connection.
    pub(crate) fn is_hung_up(&self) -> bool {
        let mut polled = [PollFd::new(&self.0, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_the_owners_alone_and_one_that_a_crash_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SOCKET);
        // What a crash leaves.
        drop(UnixListener::bind(&path).unwrap());
        assert!(matches!(connect(dir.path()), Err(SocketError::NotRunning)));
        let listener = listen(dir.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let client = connect(dir.path()).unwrap();
        let server = listener.accept().unwrap();
        assert!(!server.is_hung_up());
        drop(client);
        assert!(server.is_hung_up());
        listener.shut();
        assert!(listener.accept().is_err() && !path.exists());
    }
}
