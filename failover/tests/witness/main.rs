//! Witnesses for real: etcd, stopped, paused, restarted, cut off, with certificates and users. Needs `etcd-server`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod etcd;
mod ground;
mod race;
mod trust;
