//! The source's half: what is read, and how it is sent.

pub mod entries;
pub mod lane;
