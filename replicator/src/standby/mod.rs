//! The standby's half: receive, journal, apply, history.

pub mod apply;
mod claims;
pub mod compare;
pub mod comparing;
mod error;
mod excluded;
mod history;
pub mod join;
mod known;
pub mod lane;
mod merge;
mod moving;
pub mod opening;
pub mod receive;
pub mod replica;
mod resume;
pub mod scrub;
pub mod session;
pub mod state;
pub mod survey;
mod target;
mod telling;
pub mod values;
