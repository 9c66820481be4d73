//! What it takes to run nodes on one machine. Nothing here refers to the rest of the program: tests include this file by path.
#![allow(dead_code)] // Every user needs another part.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;

/// A port that was free just now. Two of them asked for one after the other differ.
pub(crate) fn free_udp_port() -> io::Result<u16> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The settings of where a peer is.
pub(crate) fn peer_settings(name: &str, address: &str) -> String {
    format!("[peers.{name}]\naddresses = [\"{address}\"]")
}

/// The settings of a set of one root, the same on both nodes. `more` is for further keys of the set.
pub(crate) fn set_settings(set: &str, source: &str, standby: &str, path: &Path, target: &Path, more: &str) -> String {
    format!(
        "[sets.{set}]\nsource = \"{source}\"\nstandby = \"{standby}\"\n{more}\n[[sets.{set}.roots]]\npath = {path:?}\ntarget = {target:?}"
    )
}
