//! The directory's commands, as built: `exchfailover` and `standin directory`, on exports and against Samba.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[cfg(target_os = "linux")]
mod controllers;
mod domains;
mod export;
#[cfg(target_os = "linux")]
#[path = "../support/forest/mod.rs"]
mod forest;
#[cfg(target_os = "linux")]
mod groups;
#[cfg(target_os = "linux")]
mod halfway;
#[cfg(all(feature = "gssapi", target_os = "linux"))]
mod kerberos;
#[cfg(target_os = "linux")]
mod live;
#[cfg(target_os = "linux")]
mod nodes;
mod offline;
mod refused;
#[cfg(target_os = "linux")]
mod scripts;
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_os = "linux")]
mod terminal;
#[cfg(target_os = "linux")]
mod troubles;
