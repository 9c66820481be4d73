//! What the simulated volume and store share: when the machine fails, how, and what it forgets.

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
    /// One operation fails and does nothing.
    Error,
}

/// What a disk may say without doing it. No replica can live on such a disk: it shows that a simulation is not blind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// That logs are synced.
    LogSync,
    /// That volumes are synced.
    VolumeSync,
}

#[derive(Debug)]
struct Plan {
    operations: u64,
    /// Of files of volumes.
    read_bytes: u64,
    fault: Option<(u64, Fault)>,
    random: Random,
    lie: Option<Lie>,
}

/// The machine's disk: counts operations and fails at the one that was planned.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Mutex<Plan>>);

impl Disk {
    /// Of a machine whose crashes forget as `seed` decides.
    pub fn new(seed: u64) -> Self {
        let plan = Plan { operations: 0, read_bytes: 0, fault: None, random: Random::new(seed), lie: None };
        Self(Arc::new(Mutex::new(plan)))
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans a fault for the operation after so many others; `None` for none.
    pub fn plan(&self, fault: Option<(u64, Fault)>) {
        let mut plan = self.lock();
        plan.fault = fault.map(|(after, fault)| (plan.operations + after, fault));
    }

    /// What the next crashes forget is decided by another seed.
    pub fn reseed(&self, seed: u64) {
        self.lock().random = Random::new(seed);
    }

    /// From now on the disk lies, or is honest.
    pub fn tell(&self, lie: Option<Lie>) {
        self.lock().lie = lie;
    }

    pub(super) fn lies(&self, lie: Lie) -> bool {
        self.lock().lie == Some(lie)
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

    /// Whether the operation was reached at which a fault was planned.
    pub fn failed(&self) -> bool {
        let plan = self.lock();
        matches!(plan.fault, Some((at, _)) if plan.operations >= at)
    }

    pub(super) fn operation(&self, takes_room: bool) -> io::Result<()> {
        let mut plan = self.lock();
        plan.operations += 1;
        match plan.fault {
            Some((at, Fault::Crash)) if plan.operations >= at => Err(io::Error::other("the simulated machine has crashed")),
            Some((at, Fault::Full)) if plan.operations >= at && takes_room => Err(io::ErrorKind::StorageFull.into()),
            Some((at, Fault::Error)) if plan.operations == at => Err(io::Error::other("a simulated error of the disk")),
            _ => Ok(()),
        }
    }

    pub(super) fn random<T>(&self, use_it: impl FnOnce(&mut Random) -> T) -> T {
        use_it(&mut self.lock().random)
    }
}
