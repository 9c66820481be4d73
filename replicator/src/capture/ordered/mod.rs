//! Capture `ordered`: every operation on a root, in the order in which it took effect.
//!
//! A layer over the root (on Linux `os/linux/layer`) performs each operation on the directory beneath and tells a [`Recorder`]. What
//! the recorder hears is a history of that directory: whoever performs a prefix of the [`Operation`]s on a copy of it as it was at the
//! start has a state that the directory had. The rule by which the order is kept is in `ARCHITECTURE.md`, "The layer".
//!
//! The daemon's recorder is a [`Ledger`]: it remembers where something changed, as a watcher does, holds all roots of a set still for a
//! moment ([`Gate`]), lets a round read what was there at that moment ([`Album`]), and keeps a durable record of what may differ
//! ([`Activity`]).

mod activity;
mod encoding;
mod gate;
mod ledger;
mod operation;
mod passthrough;
mod picture;
mod places;
mod recorder;
mod telling;

pub use activity::{Active, Activity, Reach};
pub use encoding::{Encoded, NotOperations, decode, encode};
pub use gate::{Gate, Held};
pub use ledger::{Acknowledges, Ledger, scopes_of};
pub use operation::{Allocation, Kind, Made, ObjectId, Operation, Place};
pub use passthrough::Passthrough;
pub use picture::{Album, Keeps, NoPicture, Picture, PictureDirectory, PictureFile, Room};
pub use recorder::{Forgetful, Position, Recorder, Touch};
pub use telling::Tells;
