//! The standby's half: receive, journal, apply, history.

pub mod apply;
pub mod compare;
pub mod comparing;
pub mod join;
mod known;
pub mod lane;
pub mod receive;
pub mod replica;
mod resume;
pub mod session;
pub mod state;
pub mod survey;
mod target;
mod telling;
pub mod values;
