//! Resources for real, in network namespaces of the tests' own: an address that moves between machines, names at a real DNS server. Needs
//! root, and what `tests/run` lists.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod address;
mod ground;
mod names;
#[path = "../../../tests/support/forest/namespace.rs"]
mod namespace;
mod services;
