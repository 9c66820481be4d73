//! A changed password of the directory, from node to node.

use serde::{Deserialize, Serialize};

use crate::secret::{self, Secret};

/// A changed password of the account that nodes use in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password {
    /// The account, as a user principal name or `DOMAIN\\user`.
    pub account: String,
    /// The password, which the directory took from whoever sends it.
    #[serde(with = "secret::sent")]
    pub password: Secret,
}

/// What became of a changed password on a peer, which stores only what its own directory takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PasswordAnswer {
    /// It is in the file that the peer's settings name.
    Stored,
    /// The peer keeps no password of this account, and why; nothing had to be done.
    NotKept(String),
    /// It is not stored: why, and what to do.
    Failed(String),
}
