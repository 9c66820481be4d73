//! What two nodes say of a set besides what is in it.

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::Opening;
use crate::id::{Generation, PointNumber, SetName};

/// What the peer knows of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetAnswer {
    /// The set is not in its settings, or the asker has no part in it.
    Unknown,
    /// It is.
    Known {
        /// The set as in its settings, JSON.
        definition: String,
        /// Its status report, JSON.
        status: String,
    },
}

/// Asks the standby to take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeOver {
    /// The set.
    pub set: SetName,
    /// The point at which nothing was left to send.
    pub point: PointNumber,
    /// The generation of the new source.
    pub generation: Generation,
}

/// The answer to [`Opening::TakeOver`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TakeOverAnswer {
    /// It is source from now on; its roles, JSON.
    Taken(String),
    /// It is not, and nothing was changed; why.
    Refused(String),
}
