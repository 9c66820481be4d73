//! What `standin monitor` shows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standin_common::id::NodeName;

use super::{Moment, Monitor};
use crate::witness::Word;

/// How a group is watched on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Where the group is, as far as this node knows.
    pub online: Option<NodeName>,
    /// Whether nodes decide by themselves.
    pub automatic: bool,
    /// Whether this node takes over by itself.
    pub takes_over: bool,
    /// Whether it stops by itself when its right ends.
    pub stands_down: bool,
    /// Whether it has stopped so, and waits for a right.
    pub is_down: bool,
    /// On the node that serves, by itself: for how long it may yet, in milliseconds.
    pub right_ms: Option<u64>,
    /// How long the node that has the group must yet be silent to count as lost, in milliseconds.
    pub time_to_fail_ms: Option<u64>,
    /// Why this node does not take over now.
    pub obstacle: String,
    /// The other nodes.
    pub peers: BTreeMap<NodeName, PeerView>,
    /// The witness, where there is one.
    pub witness: Option<WitnessView>,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// How long ago anything was heard of it, in milliseconds.
    pub heard_ms: Option<u64>,
    /// The paths to it.
    pub paths: BTreeMap<String, PathView>,
}

/// One path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathView {
    /// How long ago a heartbeat was answered on it, in milliseconds.
    pub answered_ms: Option<u64>,
    /// How long that took, in milliseconds.
    pub rtt_ms: Option<u64>,
}

/// The witness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessView {
    /// Its word, if it has one.
    pub word: Option<Word>,
    /// Since when this node knows that word, in milliseconds ago.
    pub still_ms: Option<u64>,
    /// How long ago it answered last, in milliseconds.
    pub seen_ms: Option<u64>,
    /// Why it did not the last time.
    pub trouble: Option<String>,
}

impl Monitor {
    /// How it stands.
    pub fn view(&self, now: Moment) -> View {
        let ago = |moment: Option<Moment>| moment.map(|moment| now.since(moment));
        let peers = self.peers.iter().map(|(node, peer)| {
            let path = |(name, path): (&String, &super::paths::Path)| {
                let rtt_ms = path.answered.map(|_| path.rtt_ms);
                (name.clone(), PathView { answered_ms: ago(path.answered), rtt_ms })
            };
            (node.clone(), PeerView { heard_ms: ago(peer.heard), paths: peer.paths.iter().map(path).collect() })
        });
        let watched = self.word.as_ref();
        let witness = self.setting.automatic.then(|| WitnessView {
            word: watched.and_then(|watched| watched.word.clone()),
            still_ms: watched.map(|watched| now.since(watched.since)),
            seen_ms: ago(self.seen),
            trouble: self.trouble.clone(),
        });
        let elsewhere = self.holder().filter(|node| **node != self.setting.here);
        View {
            online: if self.own.crossed { Some(self.setting.here.clone()) } else { self.own.online.clone() },
            automatic: self.setting.automatic,
            takes_over: self.own.takes_over,
            stands_down: self.own.stands_down,
            is_down: self.is_down,
            right_ms: (self.setting.automatic && self.holds()).then(|| self.right_until().since(now)),
            time_to_fail_ms: elsewhere.map(|node| self.to_fail_ms(node, now)),
            obstacle: self.obstacle(now).map_or_else(String::new, |obstacle| obstacle.to_string()),
            peers: peers.collect(),
            witness,
        }
    }
}
