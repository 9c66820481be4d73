//! What notices and decides by itself: heartbeats over every path, who may serve until when, and who takes over.
//!
//! Participants: the nodes of a group, one of which *has* it (serves), the others are *candidates*; and the witness, which keeps one word
//! that changes by compare-and-swap. Goals: at most one node serves at any time, whatever is lost, late, paused, cut or restarted; when the
//! one that has it dies and the others reach the witness, one of them takes over. Non-goals: agreeing on anything else, comparing clocks.
//!
//! [`Monitor`] is driven so: it is *told* what happened ([`Monitor::heard`], [`answered`](Monitor::answered), [`read`](Monitor::read),
//! [`swapped`](Monitor::swapped), [`own`](Monitor::own)), *asked* what to say ([`beat`](Monitor::beat)), and *polled* for what to do and
//! when to look again ([`next`](Monitor::next)). It has no clock, no disk and no network.
//!
//! *The rule.* `L` is the lease, `A` the allowance for stopping, `P` ([`Rule::patience_ms`]) the patience of a candidate, somewhat more than
//! `L + A`. Whoever serves may do so until the later of
//! - when it sent its last successful renewal at the witness, plus `L`;
//! - the earliest, over all candidates, of when it sent the last heartbeat that this one answered with a promise, plus `L`;
//!
//! and has stopped everything `A` later. A candidate asks the witness for the group only if its own last promise is older than `P` and
//! it has known the witness's word for longer than `P`; the swap succeeds only if that very word still stands there. Why that is
//! enough is in ARCHITECTURE.md, "Monitor"; `tests.rs` looks at every moment of thousands of schedules.

pub mod alert;
mod beat;
mod decide;
pub mod gate;
mod machine;
mod paths;
#[cfg(test)]
mod tests;
mod trouble;
mod view;

use serde::{Deserialize, Serialize};
use standin_common::id::NodeName;

pub use beat::{Answer, Beat};
pub use decide::{Act, Next, Obstacle};
pub use machine::{Asked, Monitor, Own};
pub use view::{PathView, PeerView, View, WitnessView};

/// A moment on this node's own clock, in milliseconds: one that never goes back and goes on while the machine sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// So many milliseconds later.
    pub fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// How long after another one it is, in milliseconds; 0 if before.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The spans of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Between heartbeats, in milliseconds.
    pub heartbeat_ms: u64,
    /// So many that did not come make a node lost.
    pub misses: u16,
    /// How long a renewal or a promise counts, in milliseconds.
    pub lease_ms: u64,
    /// How long stopping may take, in milliseconds: what does not stop until then is killed before.
    pub allowance_ms: u64,
}

impl Rule {
    /// Of a group with this lease.
    pub fn new(heartbeat_ms: u64, misses: u16, lease_ms: u64) -> Self {
        Self { heartbeat_ms, misses, lease_ms, allowance_ms: lease_ms / 2 }
    }

    /// After so long without a sign a node counts as lost, in milliseconds.
    pub fn time_to_fail_ms(&self) -> u64 {
        self.heartbeat_ms.saturating_mul(u64::from(self.misses))
    }

    /// How long a candidate waits, in milliseconds: a tenth more than lease and allowance, so that it is enough where one clock runs 4 %
    /// too fast and the other 4 % too slow (1.04 / 0.96 < 1.1).
    pub fn patience_ms(&self) -> u64 {
        self.lease_ms.saturating_add(self.allowance_ms).saturating_mul(11) / 10
    }

    /// Between renewals, and between looks at the witness, in milliseconds.
    pub fn tick_ms(&self) -> u64 {
        self.lease_ms / 3
    }
}

/// What does not change while a monitor runs.
#[derive(Clone, Debug)]
pub struct Setting {
    /// This node.
    pub here: NodeName,
    /// All nodes of the group, the first to take it first.
    pub by_priority: Vec<NodeName>,
    /// Whether nodes decide by themselves, with a witness. Else the monitor only notices.
    pub automatic: bool,
    /// The spans.
    pub rule: Rule,
}
