//! What applications have open.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::node::Node;
use super::way::Way;

/// An open file.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) node: Arc<Node>,
    pub(super) file: File,
    /// Whether each write waits until it is durable; `true` if only the data.
    pub(super) synced: Option<bool>,
    /// How it is read and written; left when this is dropped.
    pub(super) way: Way,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.node.ways().leave(self.way);
    }
}

/// An open directory; the lock holds where its list goes on.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    pub(super) node: Arc<Node>,
    pub(super) file: File,
    pub(super) at: Mutex<u64>,
}

/// All that is open, by the number that the kernel was given for it.
#[derive(Debug)]
pub(super) struct Opens<T> {
    next: AtomicU64,
    open: RwLock<HashMap<u64, Arc<T>>>,
}

impl<T> Opens<T> {
    pub(super) fn new() -> Self {
        Self { next: AtomicU64::new(1), open: RwLock::new(HashMap::new()) }
    }

    pub(super) fn put(&self, what: T) -> u64 {
        let number = self.next.fetch_add(1, Relaxed);
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::new(what));
        number
    }

    pub(super) fn get(&self, number: u64) -> io::Result<Arc<T>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(&number).cloned().ok_or_else(|| rustix::io::Errno::BADF.into())
    }

    pub(super) fn take(&self, number: u64) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }
}
