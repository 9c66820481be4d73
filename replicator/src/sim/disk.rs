//! What the simulated volume and store share: when the machine crashes, and what it forgets.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::random::Random;

/// How the machine fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It stops; nothing works any more until it is started again.
    Crash,
    /// The disk has no room for what is written from now on.
    Full,
}

#[derive(Debug)]
struct Plan {
    operations: u64,
    /// Of files of volumes.
    read_bytes: u64,
    fault: Option<(u64, Fault)>,
    random: Random,
}

/// The machine's disk: counts operations and fails at the one that was planned.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Mutex<Plan>>);

impl Disk {
    /// Of a machine whose crashes forget as `seed` decides.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Plan { operations: 0, read_bytes: 0, fault: None, random: Random::new(seed) })))
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans a fault after so many more operations; `None` for none.
    pub fn plan(&self, fault: Option<(u64, Fault)>) {
        let mut plan = self.lock();
        plan.fault = fault.map(|(after, fault)| (plan.operations + after, fault));
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Bytes of files that were read so far.
    pub fn read_bytes(&self) -> u64 {
        self.lock().read_bytes
    }

    pub(super) fn note_read(&self, bytes: usize) {
        self.lock().read_bytes += bytes as u64;
    }

    /// Whether the machine has crashed and was not started again.
    pub fn crashed(&self) -> bool {
        let plan = self.lock();
        matches!(plan.fault, Some((at, Fault::Crash)) if plan.operations >= at)
    }

    pub(super) fn operation(&self, takes_room: bool) -> io::Result<()> {
        let mut plan = self.lock();
        plan.operations += 1;
        match plan.fault {
            Some((at, Fault::Crash)) if plan.operations >= at => Err(io::Error::other("the simulated machine has crashed")),
            Some((at, Fault::Full)) if plan.operations >= at && takes_room => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn random<T>(&self, use_it: impl FnOnce(&mut Random) -> T) -> T {
        use_it(&mut self.lock().random)
    }
}
