//! What nodes of a group say to each other every heartbeat.

use serde::{Deserialize, Serialize};
use standin_common::id::{Generation, NodeName};

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Of the group, as the sender goes by; of its own run where that is bringing the group there.
    pub generation: Generation,
    /// Where the group is, as far as the sender knows.
    pub online: Option<NodeName>,
    /// Whether it serves.
    pub serves: bool,
    /// Whether it serves, or hopes to again: whoever answers with a promise leaves the group to it.
    pub wants: bool,
    /// Whether it could take over if it had to, as it sees it.
    pub could: bool,
    /// Whether it stops by itself when its right ends. One that does not is never taken over from by itself.
    pub stands_down: bool,
    /// Of a node that serves: how old what its standby lacks is, in milliseconds, if it knows.
    pub behind_ms: Option<u64>,
    /// How long a candidate has to wait for it by its settings, in milliseconds.
    #[serde(default)]
    pub patience_ms: u64,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The promise: for the patience of the group whoever answers will not take over.
    pub promises: bool,
    /// What it says of itself.
    pub beat: Beat,
}
