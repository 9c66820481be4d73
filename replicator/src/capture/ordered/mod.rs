//! Capture `ordered`: every operation on a root, in the order in which it took effect.
//!
//! A layer over the root (on Linux `os/linux/layer`) performs each operation on the directory beneath and tells a [`Recorder`]. What
//! the recorder hears is a history of that directory: whoever performs a prefix of the [`Operation`]s on a copy of it as it was at the
//! start has a state that the directory had. The rule by which the order is kept is in `ARCHITECTURE.md`, "The layer".

mod operation;
mod recorder;

pub use operation::{Allocation, Kind, Made, ObjectId, Operation, Place};
pub use recorder::{Forgetful, Position, Recorder, Touch};
