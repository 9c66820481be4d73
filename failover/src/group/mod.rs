//! Resources that move together: cutovers from one node to another.
//!
//! The way: [`facts`] (what each node says) → [`decide`] (a [`plan`], or why not) → [`run`] (journalled, step by step, resumed or taken
//! back) → [`run::report`]. All but the run is pure. A node does a step by [`perform`], for its own runs and for those of others alike.
//!
//! What always holds:
//! - At most one node is online: nothing is started or taken over before everything is stopped wherever it may be online.
//! - A run claims the group on every node before it changes anything, and is heard only as long as it has that claim ([`state`]).
//! - Where a group has a witness, that names the node before anything is promoted there; only where every node takes part in the run, or a
//!   person says so, it goes on without.
//! - Each step is in the journal, durable, before it is asked for. Each may be repeated.
//! - Up to the first step that cannot be taken back (a set's taking over), a run can go back; from there on, only forward.

pub mod decide;
pub mod facts;
pub mod graph;
pub mod health;
pub mod perform;
pub mod plan;
pub mod run;
pub mod state;
pub mod volume;
mod vouch;
pub mod wake;
