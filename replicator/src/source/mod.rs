//! The source's half: walking, sending, and the proof that nothing changed meanwhile.

mod another;
pub mod entries;
mod groups;
pub mod hashes;
pub mod holding;
pub mod lane;
pub mod meter;
pub mod pace;
pub mod pass;
mod queue;
mod ranges;
pub mod rhythm;
pub mod safety;
mod sink;
pub mod standing;
pub mod state;
pub mod stream;
mod whole;
