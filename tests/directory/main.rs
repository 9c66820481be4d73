//! The directory's commands, as built: `exchfailover` and `standin directory`, on exports and against Samba.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod export;
#[cfg(target_os = "linux")]
#[path = "../support/forest/mod.rs"]
mod forest;
#[cfg(target_os = "linux")]
mod live;
mod offline;
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_os = "linux")]
mod troubles;
