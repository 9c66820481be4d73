//! Replication: capture, mirror, journal, replica, verify, history. See `ARCHITECTURE.md`.

pub mod acknowledge;
pub mod capture;
pub mod definition;
pub mod explain;
pub mod goal;
pub mod journal;
pub mod listing;
pub mod mirror;
pub mod os;
pub mod pack;
pub mod report;
pub mod rules;
pub mod scopes;
pub mod shelf;
pub mod sim;
pub mod source;
pub mod standby;
pub mod store;
pub mod volume;
pub mod walk;
pub mod words;

// Unit tests share what the tests beside the crate use.
#[cfg(test)]
extern crate self as standin_replicator;
