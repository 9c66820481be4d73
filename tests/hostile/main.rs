//! Paired peers that break every rule, and strangers: nothing outside the roots is read or written, nobody crashes, and whoever is
//! honest afterwards is served.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../src/demo/material/mod.rs"]
mod material;
#[path = "../support/mod.rs"]
mod support;

mod fake;
mod raw;
mod source;
mod standby;
mod strangers;
