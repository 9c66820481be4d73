//! `kill -9`, again and again: whatever dies and whenever, the standby is at one of the source's points, exactly, and the mirror goes on
//! by itself to its end.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../src/demo/material/mod.rs"]
mod material;
mod story;
#[path = "../support/mod.rs"]
mod support;
mod tree;

use story::{Story, Victim};

/// Kills of each kind, each of them while a mirror runs.
const KILLS: usize = 32;

#[test]
fn a_killed_standby_is_at_a_point_and_goes_on() {
    Story::until(KILLS, &[Victim::Standby]);
}

#[test]
fn a_killed_source_goes_on() {
    Story::until(KILLS, &[Victim::Source]);
}

#[test]
fn both_are_killed() {
    Story::until(KILLS / 2, &[Victim::Both, Victim::Both, Victim::Standby, Victim::Source]);
}
