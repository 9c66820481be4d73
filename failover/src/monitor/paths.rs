//! What is seen of a peer, over each path.

use std::collections::BTreeMap;

use super::{Answer, Beat, Moment};

/// One path to a peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    /// When an answer came last.
    pub(super) answered: Option<Moment>,
    /// How long that took, in milliseconds.
    pub(super) rtt_ms: u64,
}

/// A peer.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Over each path on which this node sends.
    pub(super) paths: BTreeMap<String, Path>,
    /// The last sign of it, on whichever path and in whichever direction it was sent.
    pub(super) heard: Option<Moment>,
    /// When the last heartbeat was sent that it answered.
    pub(super) answered: Option<Moment>,
    /// When the last one was sent that it answered with a promise.
    pub(super) promised: Option<Moment>,
    /// What it said last.
    pub(super) said: Option<Beat>,
    /// When it said last, serving, how far its standby is behind, in milliseconds.
    pub(super) behind: Option<(Moment, u64)>,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self { paths: BTreeMap::new(), heard: None, answered: None, promised: None, said: None, behind: None }
    }

    /// A heartbeat of the peer came.
    pub(super) fn heard(&mut self, now: Moment, beat: &Beat) {
        self.heard = self.heard.max(Some(now));
        self.behind = beat.behind_ms.map(|ms| (now, ms)).or(self.behind);
        self.said = Some(beat.clone());
    }

    /// It answered what was sent then.
    pub(super) fn answered(&mut self, now: Moment, path: &str, sent: Moment, answer: &Answer) {
        self.heard(now, &answer.beat);
        let on_path = self.paths.entry(path.to_owned()).or_default();
        on_path.answered = on_path.answered.max(Some(now));
        on_path.rtt_ms = now.since(sent);
        self.answered = self.answered.max(Some(sent));
        if answer.promises {
            self.promised = self.promised.max(Some(sent));
        }
    }
}
