//! What waits to be sent and acknowledged: in memory, then on disk, then no more.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use standin_common::entry::Time;
use standin_common::id::RootIndex;
use standin_common::scope::Reason;
use standin_common::stream::Batch;

use crate::capture::ordered::{NotOperations, Operation, encode};
use crate::store::{LogFile, Store};

/// A batch is sent as soon as the line is free, and at this length is not added to.
const BATCH_LEN: usize = 1024 * 1024;
/// Memory that is kept for batches to come, in batches.
const SPARE: usize = 8;
/// A file of the queue is not added to at this length.
const FILE_LEN: u64 = 64 * 1024 * 1024;

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Bytes in memory.
    pub memory_bytes: u64,
    /// Bytes on disk beyond that.
    pub disk_bytes: u64,
}

/// Why nothing more can wait.
#[derive(Debug, thiserror::Error)]
pub(super) enum Full {
    #[error("more waits for the standby than `queue_limit` allows: {0} bytes")]
    Limit(u64),
    #[error("the queue cannot be written to the disk: {0}")]
    Disk(#[from] io::Error),
}

enum Bytes<L> {
    Memory(Arc<Vec<u8>>),
    Disk { file: Arc<File<L>>, at: u64, len: usize },
}

/// A file of the queue.
struct File<L> {
    log: std::sync::Mutex<L>,
    name: String,
}

struct Queued<L> {
    batch: Batch,
    bytes: Bytes<L>,
    since: Instant,
}

/// Operations from the first that is not acknowledged on.
pub(super) struct Queue<S: Store> {
    store: S,
    limits: QueueLimits,
    batches: VecDeque<Queued<S::Log>>,
    open: Vec<u8>,
    open_count: u32,
    /// When the first of what is open was added.
    open_since: Option<Instant>,
    spare: Vec<Vec<u8>>,
    /// Position of the last operation, and up to where all is acknowledged as durable.
    pub newest: u64,
    pub kept: u64,
    memory: u64,
    disk: u64,
    file: Option<Arc<File<S::Log>>>,
    files: u64,
}

impl<S: Store> Queue<S> {
    pub(super) fn new(store: S, limits: QueueLimits) -> Self {
        Self {
            store,
            limits,
            batches: VecDeque::new(),
            open: Vec::new(),
            open_count: 0,
            open_since: None,
            spare: Vec::new(),
            newest: 0,
            kept: 0,
            memory: 0,
            disk: 0,
            file: None,
            files: 0,
        }
    }

    /// Bytes that wait to be acknowledged.
    pub(super) fn bytes(&self) -> u64 {
        self.memory + self.disk + self.open.len() as u64
    }

    /// Bytes that there is room for.
    pub(super) fn limit(&self) -> u64 {
        self.limits.memory_bytes.saturating_add(self.limits.disk_bytes)
    }

    /// Since when the oldest operation waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.batches.front().map(|queued| queued.since).or(self.open_since)
    }

    /// When the first operation was added of those that are not in a batch yet.
    pub(super) fn open_since(&self) -> Option<Instant> {
        self.open_since
    }

    /// Adds an operation; an error if it cannot be one, and nothing is added then.
    pub(super) fn add(&mut self, root: RootIndex, operation: &Operation<'_>) -> Result<(), NotOperations> {
        if self.open_count == 0 && self.open.capacity() == 0 {
            self.open = self.spare.pop().unwrap_or_default();
        }
        encode(root, operation, &mut self.open)?;
        self.open_since.get_or_insert_with(Instant::now);
        self.open_count += 1;
        self.newest += 1;
        Ok(())
    }

    /// Whether what was added is to be closed before more is, if it is better not closed now, too.
    pub(super) fn is_open_full(&self, better_not: bool) -> bool {
        self.open.len() >= if better_not { 2 * BATCH_LEN } else { BATCH_LEN }
    }

    /// What was added is a batch now, which `at` is the time of, and which a point is to be made of for the reason given.
    pub(super) fn close(&mut self, at: Time, point: Option<Reason>) -> Result<(), Full> {
        if self.open_count == 0 {
            return Ok(());
        }
        let batch = Batch { first: self.newest + 1 - u64::from(self.open_count), count: self.open_count, at, point };
        let since = self.open_since.take().unwrap_or_else(Instant::now);
        let bytes = std::mem::take(&mut self.open);
        self.open_count = 0;
        let len = bytes.len() as u64;
        let bytes = if self.memory + len <= self.limits.memory_bytes {
            self.memory += len;
            Bytes::Memory(Arc::new(bytes))
        } else {
            let bytes_on_disk = self.put_on_disk(&bytes)?;
            self.recycle(bytes);
            bytes_on_disk
        };
        self.batches.push_back(Queued { batch, bytes, since });
        Ok(())
    }

    fn put_on_disk(&mut self, bytes: &[u8]) -> Result<Bytes<S::Log>, Full> {
        let waits = self.bytes() + bytes.len() as u64;
        if self.disk + bytes.len() as u64 > self.limits.disk_bytes {
            return Err(Full::Limit(waits));
        }
        let file = match &self.file {
            Some(file) if lock(&file.log).len() < FILE_LEN => Arc::clone(file),
            _ => {
                self.files += 1;
                let name = format!("queue.{}", self.files);
                let mut log = self.store.open_log(&name)?;
                log.truncate(0)?;
                let file = Arc::new(File { log: std::sync::Mutex::new(log), name });
                self.file = Some(Arc::clone(&file));
                file
            }
        };
        let at = {
            let mut log = lock(&file.log);
            let at = log.len();
            log.append(&[bytes])?;
            at
        };
        self.disk += bytes.len() as u64;
        Ok(Bytes::Disk { file, at, len: bytes.len() })
    }

    fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < SPARE {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// The batch that comes after a position; `None` if there is none.
    pub(super) fn after(&self, position: u64) -> io::Result<Option<(Batch, Arc<Vec<u8>>)>> {
        let at = self.batches.partition_point(|queued| queued.batch.first <= position);
        let Some(queued) = self.batches.get(at) else { return Ok(None) };
        let bytes = match &queued.bytes {
            Bytes::Memory(bytes) => Arc::clone(bytes),
            Bytes::Disk { file, at, len } => {
                let mut bytes = vec![0; *len];
                if lock(&file.log).read_at(&mut bytes, *at)? < *len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Arc::new(bytes)
            }
        };
        Ok(Some((queued.batch, bytes)))
    }

    /// Whether a batch ends at a position, or nothing before it is kept.
    pub(super) fn is_boundary(&self, position: u64) -> bool {
        let end = |queued: &Queued<S::Log>| queued.batch.first + u64::from(queued.batch.count) - 1;
        position == self.kept || self.batches.iter().any(|queued| end(queued) == position)
    }

    /// Everything up to a position is durable elsewhere.
    pub(super) fn acknowledge(&mut self, durable: u64) -> io::Result<()> {
        while let Some(queued) = self.batches.front()
            && queued.batch.first + u64::from(queued.batch.count) <= durable + 1
        {
            let Some(queued) = self.batches.pop_front() else { break };
            self.give_up(queued.bytes)?;
        }
        self.kept = self.kept.max(durable);
        Ok(())
    }

    fn give_up(&mut self, bytes: Bytes<S::Log>) -> io::Result<()> {
        match bytes {
            Bytes::Memory(bytes) => {
                self.memory -= bytes.len() as u64;
                if let Ok(bytes) = Arc::try_unwrap(bytes) {
                    self.recycle(bytes);
                }
            }
            Bytes::Disk { file, len, .. } => {
                self.disk -= len as u64;
                // Nobody but the queue itself holds it, if it is the one that is added to.
                let held = Arc::strong_count(&file);
                let current = self.file.as_ref().is_some_and(|current| Arc::ptr_eq(current, &file));
                if held == 1 + usize::from(current) {
                    self.file.take_if(|_| current);
                    self.store.forget(&file.name)?;
                }
            }
        }
        Ok(())
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        (self.open, self.open_count, self.open_since, self.spare) = (Vec::new(), 0, None, Vec::new());
        while let Some(queued) = self.batches.pop_front() {
            self.give_up(queued.bytes)?;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::ordered::{ObjectId, decode};
    use crate::store::DirectoryStore;

    const OBJECT: ObjectId = ObjectId { inode: 1, handle: 2 };

    fn names(store: &DirectoryStore) -> Vec<String> {
        store.names().unwrap()
    }

    #[test]
    fn memory_then_disk_then_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(directory.path()).unwrap();
        let limits = QueueLimits { memory_bytes: 2_500, disk_bytes: 5_000 };
        let mut queue = Queue::new(store.clone(), limits);
        let add = |queue: &mut Queue<DirectoryStore>, byte: u8| {
            let operation = Operation::Write { object: OBJECT, offset: 0, data: &[byte; 1000], modified: Time::default() };
            queue.add(RootIndex(0), &operation).unwrap();
            queue.close(Time::default(), None)
        };
        for byte in 0..6 {
            add(&mut queue, byte).unwrap();
        }
        assert_eq!(names(&store), ["queue.1"]);
        assert!(matches!(add(&mut queue, 6), Err(Full::Limit(_))));
        // All that is kept is sent in its order, from wherever the standby is.
        let mut position = 1;
        while let Some((batch, bytes)) = queue.after(position).unwrap() {
            assert_eq!((batch.first, batch.count), (position + 1, 1));
            let Operation::Write { data, .. } = decode(&bytes).next().unwrap().unwrap().operation else { panic!() };
            assert_eq!(data, [position as u8; 1000]);
            position += 1;
        }
        assert_eq!(position, 6);
        queue.acknowledge(5).unwrap();
        assert!(queue.is_boundary(5) && queue.is_boundary(6) && !queue.is_boundary(4));
        assert_eq!(names(&store), ["queue.1"]);
        queue.acknowledge(6).unwrap();
        assert!(names(&store).is_empty());
        assert_eq!(queue.bytes(), 0);
    }
}
