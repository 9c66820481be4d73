//! A simulated source and standby, and schedules of what happens to them. Included by the tests and by the example `sim`.
//!
//! [`schedule`] is what happens, as data; [`world`] does it with the real cores of both sides over a simulated disk ([`standin_replicator::sim`])
//! and line ([`pass`]); [`check`] is what holds after every step; [`run`] does that many times, and [`shrink`] makes what fails small.
#![allow(clippy::unwrap_used)]

mod check;
mod contents;
mod meanwhile;
mod pass;
mod run;
mod schedule;
mod shrink;
mod source;
mod world;

#[allow(unused_imports)]
pub use meanwhile::Vice;
pub use run::{run, search};
#[allow(unused_imports)]
pub use schedule::Schedule;
