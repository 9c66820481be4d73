//! What a cutover needs of replication. The halves do not know each other: the program implements this over the replicator.

use std::time::{Duration, Instant};

use standin_common::id::{Generation, NodeName, PointNumber, SetName};

use crate::resource::Trouble;

/// How a set stands, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeStanding {
    /// The generation of this node's side.
    pub generation: Generation,
    /// Who is source at that generation.
    pub source: NodeName,
    /// Who is standby.
    pub standby: NodeName,
    /// The newest recovery point that this node could go to or has sent, if there is any.
    pub newest: Option<PointNumber>,
    /// How old what the standby lacks may be at most; `None` where nobody knows (first mirror not finished, source lost before).
    pub behind: Option<Duration>,
    /// Why the set is not in order, in words; empty where it is.
    pub trouble: String,
}

/// The sets of this node, for cutovers. Each call may be repeated, and then does what is left of it.
pub trait Volumes: Send + Sync {
    /// How a set stands.
    ///
    /// # Errors
    /// Where there is no such set, or it cannot be seen.
    fn standing(&self, set: &SetName) -> Result<VolumeStanding, Trouble>;

    /// On the source, with nobody writing any more: takes a last point and returns its number when the standby has it, durably.
    /// `is_over` is asked meanwhile, and ends it.
    ///
    /// # Errors
    /// Where the standby does not have everything in time; then the source still is what it was.
    fn drain(&self, set: &SetName, deadline: Instant, is_over: &dyn Fn() -> bool) -> Result<PointNumber, Trouble>;

    /// On the source: nothing is sent, and no write of the set's is made by the daemon, until the generation is raised or this is
    /// taken back by [`release`](Self::release). Kept over a restart.
    ///
    /// # Errors
    /// Where it cannot be made durable.
    fn retire(&self, set: &SetName, generation: Generation) -> Result<(), Trouble>;

    /// Takes back [`retire`](Self::retire).
    ///
    /// # Errors
    /// Where a higher generation is known by now.
    fn release(&self, set: &SetName) -> Result<(), Trouble>;

    /// On the standby: the replica becomes the plain, writable tree of a point (`None`: the newest), and this node the set's source at
    /// `generation`, which is higher than its own. Replication to the other node begins when that one is there and knows it.
    ///
    /// # Errors
    /// Where there is no such point, or a higher generation is known.
    fn take_over(&self, set: &SetName, point: Option<PointNumber>, generation: Generation) -> Result<PointNumber, Trouble>;

    /// On a node that was source: it becomes the standby at `generation`. What it has and the new source lacks is kept aside, and listed,
    /// before anything is overwritten.
    ///
    /// # Errors
    /// Where its own generation is higher.
    fn become_standby(&self, set: &SetName, generation: Generation) -> Result<(), Trouble>;
}
