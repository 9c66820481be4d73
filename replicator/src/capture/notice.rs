//! What a watcher tells, and how it is asked.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use standin_common::message::Position;
use standin_common::scope::Scope;

/// Something that a watcher noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noticed {
    /// At this place something changed, or may have.
    Changed(Scope),
    /// The attributes of the directory at this place changed, or may have.
    Directory(Position),
    /// Anything beneath any root may have changed, for this reason; in words that end a sentence.
    Lost(String),
}

/// How changes are noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// One mark for each whole file system: costs nothing for each directory.
    Fanotify,
    /// One watch for each directory.
    Inotify {
        /// Why not [`Method::Fanotify`].
        why: String,
    },
    /// A layer over each root, which sees every operation.
    Layer,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fanotify => f.write_str("fanotify"),
            Self::Inotify { why } => write!(f, "inotify ({why})"),
            Self::Layer => f.write_str("the layer"),
        }
    }
}

/// Ends the waiting of a watcher, from any thread.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// From what wakes.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Ends the waiting that is going on, else the next one.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

/// Notices of change for all roots of a set.
///
/// How it is driven: one thread waits and drains, again and again. A short pause between a wait that ended and the drain lets many writes
/// to one file become one notice. Places are in the order of the roots that the watcher was made for.
///
/// What happened to the roots before the watcher was made is not told. An error of `drain` means that this watcher will tell no more: make
/// another, and take everything as changed.
pub trait Watcher: Send + Sync {
    /// How it notices.
    fn method(&self) -> &Method;

    /// Ends waiting.
    fn waker(&self) -> Waker;

    /// Waits until something may be there to drain, the waker is used, or `limit` is over.
    fn wait(&self, limit: Duration) -> io::Result<()>;

    /// Gives everything that the kernel has queued so far, without waiting: every change whose system call returned before this was called
    /// is given now, or was before. So when nothing is given, nothing changed since the last time.
    fn drain(&mut self, each: &mut dyn FnMut(Noticed)) -> io::Result<()>;
}
