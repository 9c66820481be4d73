//! What a pass looks at, where that is not everything.

use serde::{Deserialize, Serialize};

use crate::message::Position;

/// How much of what lies at a place may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// The object itself: its data and attributes, or that it is there at all; of a directory, not what it holds.
    Object,
    /// The object and everything beneath it.
    Subtree,
}

/// A place that is looked at. The directories that lead there are looked at, too, each by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    /// Where.
    pub at: Position,
    /// How deep.
    pub depth: Depth,
}

/// Why a recovery point is made, which decides how long it is kept.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A mirror ended.
    #[default]
    Mirror,
    /// Changes came in. Such a point goes when the next one is there, unless it is the newest consistent one.
    Passing,
    /// The interval between points is over.
    Interval,
    /// Nothing changed for a while.
    Quiet,
    /// Somebody asked for it.
    Asked,
}
