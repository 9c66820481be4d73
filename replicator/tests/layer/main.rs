//! The layer: what it records, performed on a copy, gives what the directory beneath is. Needs root.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod away;
mod ground;
mod look;
#[path = "../stream/mirror.rs"]
mod mirror;
mod one_file;
mod order;
mod past;
mod posix;
mod program;
mod random;
mod record;
mod replay;
mod stream;
