//! A file system over a root: it performs each operation on the directory beneath, and tells it to a [`Recorder`].
//!
//! | module | what it does |
//! | --- | --- |
//! | `wire` | the FUSE protocol, without I/O |
//! | `device` | `/dev/fuse` |
//! | `mount` | puts the layer over a directory, takes it away, clears a dead one |
//! | `connection` | ends what another container still has of it |
//! | `holders` | who keeps it from being taken away |
//! | `pool` | threads, as many as there are requests that wait |
//! | `under_way` | what is being served, so that who waits can be killed |
//! | `caller` | what a thread does in the name of whoever asked |
//! | `beneath` | the directory beneath, by handles only |
//! | `node` | the objects that the kernel knows of |
//! | `open` | what applications have open |
//! | `way` | how that is read and written |
//! | `serve` | each operation: performed, and told |
//!
//! No path is ever put together: an object is reached by its handle, a name from the handle of its directory, and no link is followed.

mod beneath;
mod caller;
mod connection;
mod device;
mod holders;
mod mount;
mod node;
mod open;
mod pool;
mod serve;
mod under_way;
mod way;
mod wire;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::beneath::Beneath;
use self::connection::Connection;
use self::device::Device;
use self::mount::Mounted;
use self::pool::Pool;
use self::serve::Serving;
use crate::capture::ordered::Recorder;
use crate::os::mounts_beneath;

/// How long what is being served may take to end, once nobody can ask any more. Changes are soon done; who waits for the standby is not waited for.
const END: Duration = Duration::from_secs(5);

/// A layer over a directory. If the process ends without [`Layer::unmount`], whoever uses the directory gets errors (`ENOTCONN`), until
/// a layer is put over it again.
#[derive(Debug)]
pub struct Layer {
    mounted: Mounted,
    pool: Arc<Pool>,
}

impl Layer {
    /// Puts a layer over a directory: from now on the recorder hears of all that happens through its path. What a daemon that died
    /// left there is cleared away first.
    ///
    /// Errors: the caller is not root; the directory is not there, or has other file systems mounted beneath, which would be hidden; it
    /// lies on a file system without file handles; it has a living layer; the kernel is too old.
    pub fn mount(directory: &Path, recorder: Arc<dyn Recorder>) -> io::Result<Self> {
        mount::clear_dead(directory)?;
        let path = directory.canonicalize().map_err(|error| explain("open", directory, &error))?;
        if mount::is_layer(&path)? {
            let text = format!("{} has a layer already, of a daemon that is running", path.display());
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        let hidden = mounts_beneath(&path)?;
        if let Some(first) = hidden.first() {
            let text = format!("other file systems are mounted beneath {}, such as at {}; ", path.display(), first.display());
            return Err(io::Error::other(text + "a layer would hide them: make each a root of its own"));
        }
        let beneath = Beneath::open(&path).map_err(|error| explain("open", &path, &error))?;
        let serving = Serving::new(beneath, recorder).map_err(|error| explain("put a layer over", &path, &error))?;
        let device = Device::open()?;
        let mounted = Mounted::mount(&path, serving.beneath.root(), &device)?;
        match Pool::start(device, serving) {
            Ok(pool) => Ok(Self { mounted, pool }),
            Err(error) => {
                // The first error is the one to tell.
                let _ = mounted.unmount();
                Err(explain("put a layer over", &path, &error))
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.mounted.path()
    }

    /// Takes the layer away; all that it heard is recorded then. If somebody uses the directory, that is an error that names the
    /// processes, and the layer stays: it is given back. Containers that were started meanwhile have a mount of their own; they get errors from then on.
    pub fn unmount(self) -> Result<(), (Self, io::Error)> {
        // While it is there for certain, so that it is this one that is ended.
        let connection = Connection::open(&self.mounted.device);
        if let Err(error) = self.mounted.unmount() {
            return Err((self, error));
        }
        let path = self.path().display();
        if let Err(error) = connection.and_then(Connection::end) {
            tracing::warn!(%path, %error, "what other containers have of the layer cannot be ended");
        }
        if !self.pool.end(END) {
            tracing::warn!(%path, "the layer was taken away while somebody in another container used it, or waited for the standby");
        }
        Ok(())
    }

    /// A path that leads to the directory beneath, past the layer, as long as this lives.
    pub fn beneath(&self) -> PathBuf {
        self.pool.beneath()
    }

    /// The processes that have something open beneath, or work there.
    pub fn holders(&self) -> Vec<String> {
        holders::of(&self.mounted)
    }
}

/// Clears away what a daemon that died left over a directory, so that the directory beneath is seen again, unguarded; returns whether
/// there was something.
pub fn clear_dead_layer(directory: &Path) -> io::Result<bool> {
    mount::clear_dead(directory)
}

fn explain(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what} {}: {error}", PathBuf::from(path).display()))
}
