//! The standby's half of a stream: what came is kept in a log, and parts of it are folded into recovery points.
//!
//! `log` keeps operations as they came, in segments. `tree` performs them on what the replica was at its last point, in memory; `net` finds
//! what that comes to; `write` makes a journal of it, which [`Replica`](super::replica::Replica) takes in as it does that of a round.
//! `checkpoint` is what is kept beside the log: up to where it was folded, and the places of the objects that were told.
//! `session` drives all that.

mod acl;
mod base;
mod checkpoint;
mod fold;
mod log;
mod net;
mod node;
mod opening;
mod serve;
mod session;
mod tree;
mod write;

pub use opening::{Has, answer};
pub use session::{Folded, Limits, Session, StreamError, recover, stream_of};
pub use tree::Fault;
