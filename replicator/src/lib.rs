//! Replication: capture, mirror, journal, replica, verify, history. See `ARCHITECTURE.md`.

pub mod definition;
pub mod journal;
pub mod listing;
pub mod mirror;
pub mod os;
pub mod pack;
pub mod report;
pub mod rules;
pub mod scopes;
pub mod sim;
pub mod source;
pub mod standby;
pub mod store;
pub mod volume;
pub mod walk;
