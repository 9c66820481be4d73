//! `standin demo`: the main job, for real, on this machine.

pub(crate) mod material;
