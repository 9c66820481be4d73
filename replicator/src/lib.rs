//! Replication: capture, mirror, journal, replica, verify, history. See `ARCHITECTURE.md`.

pub mod volume;
