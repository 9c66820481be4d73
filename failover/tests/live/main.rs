//! The directory for real: Samba domain controllers with Exchange's schema, in a room of their own. Needs root, and what `tests/run` lists.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod execute;
#[path = "../../../tests/support/forest/mod.rs"]
mod forest;
#[cfg(feature = "gssapi")]
mod kerberos;
mod ldap;
mod plans;
#[path = "../witness/race.rs"]
mod race;
mod support;
mod witness;
mod zone;
