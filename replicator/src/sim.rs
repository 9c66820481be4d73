//! A simulated machine: a volume and a store in memory that forget what was not synced when they crash.
//!
//! The model is that of a journalling file system. Changes of names and attributes become durable in the order in which they were made,
//! so that a crash keeps a prefix of them; data that was written but not synced may be kept or lost, block by block, the last
//! write torn; an append to a log may be torn anywhere. Everything random comes from a seed.

mod disk;
mod random;
mod shelf;
mod store;
mod tree;
mod volume;
mod wire;

pub use disk::{Disk, Fault, Lie};
pub use random::Random;
pub use shelf::SimShelf;
pub use store::{SimLog, SimStore};
pub use volume::{SimDirectory, SimFile, SimObject, SimVolume};
pub use wire::SimWire;
