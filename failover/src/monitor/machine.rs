//! The monitor of one group on one node: what it knows, and how it is told.

use std::collections::BTreeMap;

use standin_common::id::{Generation, NodeName};

use super::paths::Peer;
use super::{Answer, Beat, Moment, Setting};
use crate::witness::{WitnessError, Word};

/// What this node knows of its own part in the group. Told whenever it changes, and before each decision that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Where the group is online, as far as this node knows: by the last run that it knows to be settled, or by one of its own that took over
    /// and that another one goes over.
    pub online: Option<NodeName>,
    /// Whether that run is settled.
    pub settled: bool,
    /// Of what this node serves, or of that run.
    pub generation: Generation,
    /// The highest that it ever heard of.
    pub seen: Generation,
    /// Whether anything of the group may be running here, or is being started.
    pub serves: bool,
    /// A cutover that is under way brings the group here, and has started nothing yet.
    pub claiming: bool,
    /// To whom a cutover that is under way brings it, if not here: whoever serves here stops before anything starts there.
    pub handing_to: Option<NodeName>,
    /// Whether that cutover has stopped everything here: then nothing is left that a right could run out for.
    pub gave_up: bool,
    /// Whether what this node had is being stopped since its right ended.
    pub stopping: bool,
    /// Who carries out the cutover that is under way, if there is one.
    pub runner: Option<NodeName>,
    /// Its generation.
    pub claimed: Option<Generation>,
    /// Whether that one is this node's own and has stopped on its way. If it could still be taken back, it brings the group nowhere by itself
    /// and this node does not claim it.
    pub stalled: bool,
    /// Whether that one is this node's own and took over here: it can only go forward.
    pub crossed: bool,
    /// Why this node could not take over; empty if it could.
    pub unready: String,
    /// How much may be lost by an automatic failover, in milliseconds; none: whatever it is.
    pub accept_loss_ms: Option<u64>,
    /// How old what the standby lacks is, where this node serves, in milliseconds.
    pub behind_ms: Option<u64>,
    /// Whether this node stops by itself when its right ends.
    pub stands_down: bool,
    /// Whether this node takes over by itself.
    pub takes_over: bool,
}

/// A question to the witness that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When it was decided: before it was sent.
    pub at: Moment,
    /// What stands there, as far as this node knows.
    pub expected: Option<Word>,
    /// What is to stand there.
    pub new: Word,
    /// Whether it is to take over, rather than to go on.
    pub takes: bool,
}

/// The witness's word, and since when this node knows that it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) word: Option<Word>,
    /// When the answer came that showed it first.
    pub(super) since: Moment,
}

/// How far this node is with taking over. A crash makes it [`Attempt::Idle`]; what the witness was told shows when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It is not.
    Idle,
    /// The witness was asked for the group, and has not answered.
    Asked,
    /// The witness has given it the group; nothing was begun.
    Won,
    /// The cutover is being carried out.
    Acting,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Monitor {
    pub(super) setting: Setting,
    pub(super) started: Moment,
    pub(super) own: Own,
    /// Since when all is stopped here for the node that a cutover brings the group to.
    pub(super) gave_up: Option<Moment>,
    /// To whom a cutover was bringing the group from here, whose runner is lost: this node counts as a candidate, and that one as the
    /// holder, whether it had got it or not.
    pub(super) stranded: Option<NodeName>,
    pub(super) peers: BTreeMap<NodeName, Peer>,
    /// When this node last promised to leave the group to another one; it does not know what it promised before it started.
    pub(super) promised: Moment,
    pub(super) word: Option<Watched>,
    /// When the witness's word last changed by another node: that one served until then, and for a lease more.
    pub(super) others: Option<Moment>,
    /// When the witness answered last.
    pub(super) seen: Option<Moment>,
    /// Why it did not the last time.
    pub(super) trouble: Option<String>,
    /// When the last renewal that succeeded was sent.
    pub(super) renewed: Option<Moment>,
    /// A right from before the start that this node remembers.
    pub(super) remembered: Moment,
    /// A question to the witness is under way.
    pub(super) is_asking: bool,
    /// When the last one was begun.
    pub(super) asked: Option<Moment>,
    pub(super) attempt: Attempt,
    /// This node's right ended, and it serves nothing before it has one again.
    pub(super) is_down: bool,
    /// Somebody serves at a higher generation than this node knew.
    pub(super) superseded: Option<Generation>,
    /// The attempts that failed, one after the other, until one succeeds, a person answers for them, or the group is elsewhere.
    pub(super) failed: Option<Failures>,
}

/// Attempts to take the group over that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failures {
    /// Why the last one did.
    pub(super) why: String,
    /// When the next one may be made: nobody may be there to say so, and what was in the way may be gone.
    pub(super) again: Moment,
    /// How long was waited for it, in milliseconds.
    pause_ms: u64,
    /// Whether the node that had the group was silent: once it is heard, the next one is another thing.
    pub(super) in_silence: bool,
}

/// After the first attempt that failed; after each further one twice as long.
const FIRST_PAUSE_MS: u64 = 10_000;
/// What is not mended by then needs a person, who was told.
const LONGEST_PAUSE_MS: u64 = 300_000;

impl Monitor {
    /// A monitor that begins now. A node that has the group serves until `remembered` by a right from before; where that is over, it
    /// serves nothing before it has a new one.
    pub fn new(setting: Setting, own: Own, now: Moment, remembered: Moment) -> Self {
        let others = setting.by_priority.iter().filter(|node| **node != setting.here);
        let peers = others.map(|node| (node.clone(), Peer::new())).collect();
        let is_down = setting.automatic && own.serves && own.stands_down && remembered <= now;
        Self {
            setting,
            started: now,
            own,
            gave_up: None,
            stranded: None,
            peers,
            promised: now,
            word: None,
            others: None,
            seen: None,
            trouble: None,
            renewed: None,
            remembered,
            is_asking: false,
            asked: None,
            attempt: Attempt::Idle,
            is_down,
            superseded: None,
            failed: None,
        }
    }

    /// This node's part is so now.
    pub fn own(&mut self, own: Own) {
        if own.serves && !self.own.serves {
            self.superseded = None;
        }
        if !own.serves && !own.stopping {
            // What was to be stood down from is elsewhere now, or offline by intention.
            self.is_down = false;
        }
        if own.online != self.own.online {
            self.failed = None;
        }
        self.own = own;
    }

    /// Takes note of how a cutover stands that brings the group from here to another node.
    pub(super) fn follow_run(&mut self, now: Moment) {
        self.gave_up = self.own.gave_up.then(|| self.gave_up.unwrap_or(now));
        let runner = self.own.runner.as_ref().filter(|runner| **runner != self.setting.here);
        let is_lost = runner.is_some_and(|runner| self.is_silent(runner, now));
        let is_here = self.own.online.as_ref() == Some(&self.setting.here);
        self.stranded = self.own.handing_to.clone().filter(|_| is_lost && is_here);
    }

    /// Who has the group as far as it matters for taking it over.
    pub(super) fn holder(&self) -> Option<&NodeName> {
        self.stranded.as_ref().or(self.own.online.as_ref())
    }

    /// Whether the witness has given this node the group.
    pub(super) fn has_won(&self) -> bool {
        matches!(self.attempt, Attempt::Won | Attempt::Acting)
    }

    /// Whether this node serves, or is about to.
    pub(super) fn holds(&self) -> bool {
        let is_left = self.stranded.is_some() && self.gave_up.is_some();
        !self.is_down && (self.has_won() || (self.own.serves && !is_left))
    }

    /// Whether every other node answered within the last lease.
    fn is_answered_by_all(&self, now: Moment) -> bool {
        let lease = self.setting.rule.lease_ms;
        self.peers.values().all(|peer| peer.answered.is_some_and(|sent| now.since(sent) < lease))
    }

    /// What this node says to the others now.
    pub fn beat(&self, now: Moment) -> Beat {
        let holds = self.holds();
        let hopes = self.is_down && self.is_superseded().is_none() && self.is_answered_by_all(now);
        // Until the cutover is settled, the node that had it takes part in it, and must not take this for somebody else's.
        let serves = holds && self.own.settled && self.own.online.as_ref() == Some(&self.setting.here);
        Beat {
            generation: self.own.generation,
            online: self.holder().cloned(),
            serves,
            // One that was cut off may hope only if everybody hears it and is heard; or promises in vain would keep others from taking over.
            wants: holds || self.own.claiming || hopes,
            could: self.own.takes_over
                && self.own.unready.is_empty()
                && self.failed.is_none()
                && !self.is_down
                && self.sees_witness(now),
            stands_down: self.own.stands_down,
            behind_ms: self.own.behind_ms.filter(|_| serves),
            patience_ms: self.setting.rule.patience_ms(),
        }
    }

    pub(super) fn sees_witness(&self, now: Moment) -> bool {
        self.seen.is_some_and(|seen| now.since(seen) < self.setting.rule.lease_ms)
    }

    /// A heartbeat came; what to answer.
    pub fn heard(&mut self, now: Moment, from: &NodeName, beat: &Beat) -> Answer {
        let is_free = self.attempt == Attempt::Idle && (!self.holds() || self.own.handing_to.as_ref() == Some(from));
        // What the witness gave to this node at a later generation it may use yet, where it has the group or brings it here.
        let here = Some(&self.setting.here);
        let is_party = self.own.online.as_ref() == here || self.own.runner.as_ref() == here;
        let word = self.word.as_ref().and_then(|watched| watched.word.as_ref()).filter(|_| is_party);
        let is_later = word.is_some_and(|word| word.holder == self.setting.here && word.generation > beat.generation);
        let promises = self.setting.automatic && beat.wants && is_free && beat.generation >= self.own.generation && !is_later;
        if let Some(peer) = self.peers.get_mut(from) {
            peer.heard(now, beat);
            if promises {
                self.promised = now;
            }
        }
        self.learn(beat);
        Answer { promises, beat: self.beat(now) }
    }

    /// A peer answered what was sent then over this path.
    pub fn answered(&mut self, now: Moment, from: &NodeName, path: &str, sent: Moment, answer: &Answer) {
        if let Some(peer) = self.peers.get_mut(from) {
            peer.answered(now, path, sent, answer);
        }
        self.learn(&answer.beat);
    }

    /// A path to a peer is there, whether anything comes over it or not.
    pub fn has_path(&mut self, to: &NodeName, path: &str) {
        if let Some(peer) = self.peers.get_mut(to) {
            peer.paths.entry(path.to_owned()).or_default();
        }
    }

    fn learn(&mut self, beat: &Beat) {
        if beat.serves && beat.generation > self.own.seen {
            self.superseded = self.superseded.max(Some(beat.generation));
        }
    }

    /// The witness was read.
    pub fn read(&mut self, now: Moment, answer: Result<Option<Word>, WitnessError>) {
        self.is_asking = false;
        match answer {
            Ok(word) => self.observe(now, word),
            Err(error) => self.trouble = Some(error.to_string()),
        }
    }

    /// The witness answered a swap.
    pub fn swapped(&mut self, now: Moment, asked: Asked, answer: Result<(), WitnessError>) {
        self.is_asking = false;
        let is_taking = asked.takes && self.attempt == Attempt::Asked;
        match answer {
            Ok(()) => {
                if asked.new.holder == self.setting.here {
                    self.renewed = self.renewed.max(Some(asked.at));
                }
                self.observe(now, Some(asked.new));
                if is_taking {
                    (self.attempt, self.is_down) = (Attempt::Won, false);
                }
                return;
            }
            // Should it be what this node wrote itself, with the answer lost: when that was is not known, so it is no renewal.
            Err(WitnessError::Changed(word)) => self.observe(now, word),
            Err(error) => self.trouble = Some(error.to_string()),
        }
        if is_taking {
            self.attempt = Attempt::Idle;
        }
    }

    fn observe(&mut self, now: Moment, word: Option<Word>) {
        (self.seen, self.trouble) = (Some(now), None);
        if self.word.as_ref().is_none_or(|watched| watched.word != word) {
            if word.as_ref().is_some_and(|word| word.holder != self.setting.here) {
                self.others = Some(now);
            }
            self.word = Some(Watched { word, since: now });
        }
    }

    /// The cutover that [`Act::TakeOver`](super::Act::TakeOver) asked for ended, or why it could not be.
    pub fn took_over(&mut self, now: Moment, done: Result<(), String>) {
        if self.attempt == Attempt::Acting {
            self.attempt = Attempt::Idle;
        }
        let pause_ms = self.failed.as_ref().map_or(FIRST_PAUSE_MS, |before| LONGEST_PAUSE_MS.min(2 * before.pause_ms));
        let in_silence = self.holder().is_some_and(|node| self.is_silent(node, now));
        self.failed = done.err().map(|why| Failures { why, again: now.after(pause_ms), pause_ms, in_silence });
    }

    /// A person switched it so. It holds at once.
    pub fn switched_to(&mut self, takes_over: Option<bool>, stands_down: Option<bool>) {
        self.own.takes_over = takes_over.unwrap_or(self.own.takes_over);
        self.own.stands_down = stands_down.unwrap_or(self.own.stands_down);
    }

    /// A person has seen what failed: it may be attempted again at once.
    pub fn acknowledge(&mut self) {
        self.failed = None;
    }

    /// Until when this node may serve, as far as it knows now.
    pub fn right_until(&self) -> Moment {
        let lease = self.setting.rule.lease_ms;
        let by_witness = self.renewed.map_or(Moment::default(), |sent| sent.after(lease));
        by_witness.max(self.promised_until()).max(self.remembered)
    }

    /// Until when all others have promised to leave the group to this node.
    pub(super) fn promised_until(&self) -> Moment {
        let lease = self.setting.rule.lease_ms;
        let until = |peer: &Peer| peer.promised.map_or(Moment::default(), |sent| sent.after(lease));
        self.peers.values().map(until).min().unwrap_or_default()
    }

    /// Until when anything may be started here; none: always.
    pub fn gate(&self) -> Option<Moment> {
        let until = if self.is_down { Moment::default() } else { self.right_until() };
        (self.setting.automatic && self.own.stands_down).then_some(until)
    }

    /// Whether this node has the group, as far as it knows.
    pub fn serves(&self) -> bool {
        self.own.serves
    }

    /// Whether this node stopped what it had, and waits for a right.
    pub fn is_down(&self) -> bool {
        self.is_down
    }
}
