//! Cutover: resources that move with a group, and the directory: read Exchange's objects once, pair the stores, plan every change, check the plan, and only then write.
//!
//! The way is one direction: directory snapshot → pairing → plan → check → execute (journalled) → verified. Everything up to the check
//! is pure or only reads; see `ARCHITECTURE.md` for the map.

pub mod compare;
pub mod credentials;
pub mod directory;
pub mod exchange;
pub mod exchfailover;
pub mod execute;
pub mod group;
pub mod lines;
pub mod monitor;
pub mod pairing;
pub mod plan;
pub mod preflight;
pub mod resource;
pub mod witness;

#[cfg(test)]
mod tests;
