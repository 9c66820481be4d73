//! What the monitor does next.

use std::fmt;

use serde::{Deserialize, Serialize};
use standin_common::id::{Generation, NodeName};

use super::machine::{Asked, Attempt, Failures, Monitor, Watched};
use super::{Moment, Rule};
use crate::group::decide::words;
use crate::witness::Word;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Read the witness; [`Monitor::read`] is told.
    Read,
    /// Swap its word; [`Monitor::swapped`] is told.
    Swap(Asked),
    /// Stop everything at once, addresses first, within the allowance; the reason.
    StandDown(String),
    /// Start again what was stopped: this node has the right again.
    Resume,
    /// Take the group over; [`Monitor::took_over`] is told.
    TakeOver {
        /// From whom.
        from: NodeName,
        /// Whether that node answers, and so can hand over.
        answers: bool,
    },
}

/// What to do, and when to look again at the latest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// In this order.
    pub acts: Vec<Act>,
    /// Told something, look at once.
    pub wake: Moment,
}

/// Why a node does not take over now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// The group is offline, by intention.
    Offline,
    /// It has it itself.
    Here,
    /// A cutover is under way.
    Running(NodeName),
    /// The node that has it is there.
    Alive(NodeName),
    /// It is not silent for long enough: so long to go, in milliseconds.
    TimeToFail(NodeName, u64),
    /// The settings leave it to a person.
    Manual,
    /// Somebody switched automatic failover off.
    Off,
    /// The node that has it does not stop by itself.
    StaysUp(NodeName),
    /// This node could not take over, and why.
    Unready(String),
    /// More would be lost than is allowed, in milliseconds; none: nobody knows.
    Loss(Option<u64>, u64),
    /// Another candidate comes first.
    After(NodeName),
    /// Its own promise is not old enough: so long to go, in milliseconds.
    Promised(u64),
    /// The witness does not answer, and why.
    NoWitness(String),
    /// Nobody ever had the group by the witness's word.
    NoWord,
    /// The witness's word has not stood still for long enough: so long to go, in milliseconds.
    Moving(u64),
    /// The last attempt failed, and why; how long until the next one, in milliseconds.
    Failed(String, u64),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offline => f.write_str("the group is offline"),
            Self::Here => f.write_str("this node has it"),
            Self::Running(runner) => write!(f, "{runner} carries out a cutover"),
            Self::Alive(node) => write!(f, "{node} has it and is there"),
            Self::TimeToFail(node, ms) => {
                write!(f, "{node} has it; without a sign of it for another {} it counts as lost", words(*ms))
            }
            Self::Manual => f.write_str("`failover` is \"manual\": a person says `standin failover`"),
            Self::Off => f.write_str("automatic failover was switched off"),
            Self::StaysUp(node) => write!(f, "{node} was told not to stop by itself, so it may serve still"),
            Self::Unready(why) => f.write_str(why),
            Self::Loss(Some(ms), most) => {
                write!(f, "up to {} of changes would be lost, and `accept_loss` allows {}", words(*ms), words(*most))
            }
            Self::Loss(None, most) => {
                write!(f, "how much would be lost is not known here, and `accept_loss` allows {}", words(*most))
            }
            Self::After(node) => write!(f, "{node} comes first by its priority, and could take it"),
            Self::Promised(ms) => write!(f, "this node promised to leave it for another {}", words(*ms)),
            Self::NoWitness(why) => write!(f, "the witness does not answer: {why}"),
            Self::NoWord => f.write_str("the witness has no word of the group: it was never online with it"),
            Self::Moving(ms) => write!(f, "the witness's word has to stand still for another {}", words(*ms)),
            Self::Failed(why, ms) => write!(f, "the last attempt failed: {why}; it tries again in {}", words(*ms)),
        }
    }
}

impl Monitor {
    fn rule(&self) -> &Rule {
        &self.setting.rule
    }

    /// Decides. Acts that are returned count as begun; those on the witness are told of later.
    pub fn next(&mut self, now: Moment) -> Next {
        let mut acts = Vec::new();
        self.follow_run(now);
        if self.setting.automatic && !self.take(now, &mut acts) && !self.give_back(now, &mut acts) {
            if self.holds() {
                self.keep(now, &mut acts);
            } else if self.is_down {
                self.come_back(now, &mut acts);
            } else if self.own.claiming {
                self.claim(now, &mut acts);
            } else {
                self.look(now, &mut acts);
            }
        }
        Next { acts, wake: self.wake(now) }
    }

    fn wake(&self, now: Moment) -> Moment {
        let rule = self.rule();
        let mut wake = now.after(rule.heartbeat_ms.min(rule.tick_ms()).max(1));
        if self.setting.automatic && self.holds() && self.own.stands_down {
            wake = wake.min(self.right_until().max(now.after(1)));
        }
        wake
    }

    /// Somebody else has the group by a word or a sign that this node knew nothing of.
    pub(super) fn is_superseded(&self) -> Option<String> {
        if let Some(generation) = self.superseded.filter(|generation| *generation > self.own.seen) {
            return Some(format!("another node has it at generation {generation}"));
        }
        let word = self.word.as_ref()?.word.as_ref()?;
        (word.holder != self.setting.here && word.generation > self.own.seen)
            .then(|| format!("the witness says that {} has it at generation {}", word.holder, word.generation))
    }

    fn keep(&mut self, now: Moment, acts: &mut Vec<Act>) {
        let over =
            || "neither the witness nor all other nodes were reached for too long, and another one may take it soon".to_owned();
        let why = self.is_superseded().or_else(|| (now >= self.right_until()).then(over));
        let gave_up = self.own.gave_up && self.own.handing_to.is_some();
        if let Some(why) = why.filter(|_| self.own.stands_down && !gave_up) {
            (self.is_down, self.attempt) = (true, Attempt::Idle);
            acts.push(Act::StandDown(why));
            return;
        }
        if self.attempt == Attempt::Won {
            // Nobody, where a cutover that seemed lost, or stalled, goes on after all.
            let is_over = self.of_run(now).is_none();
            // And nobody for a run of its own that can only go forward: that goes on once it has the right.
            let from = self.holder().filter(|node| is_over && !self.own.crossed && **node != self.setting.here).cloned();
            self.attempt = if from.is_some() { Attempt::Acting } else { Attempt::Idle };
            acts.extend(from.map(|from| Act::TakeOver { answers: self.is_answered_by(&from, now), from }));
        }
        self.renew(now, acts);
    }

    fn is_answered_by(&self, node: &NodeName, now: Moment) -> bool {
        let sent = self.peers.get(node).and_then(|peer| peer.answered);
        sent.is_some_and(|sent| now.since(sent) < self.rule().time_to_fail_ms())
    }

    fn come_back(&mut self, now: Moment, acts: &mut Vec<Act>) {
        if self.own.stopping || self.is_superseded().is_some() {
            // What the witness says may change, and only looking tells.
            return self.look(now, acts);
        }
        if now.after(self.rule().tick_ms()) < self.right_until() {
            self.is_down = false;
            acts.push(Act::Resume);
        }
        self.renew(now, acts);
    }

    /// A cutover that somebody asked for comes to where it needs a right: nothing is waited for longer than it must be.
    fn claim(&mut self, now: Moment, acts: &mut Vec<Act>) {
        if self.may_try(now) {
            self.asked = None;
            let is_ours = |word: &Word| word.holder == self.setting.here;
            let named = self.word.as_ref().and_then(|watched| watched.word.as_ref()).is_some_and(is_ours);
            if named && self.trouble.is_none() { self.renew(now, acts) } else { self.look(now, acts) }
        }
    }

    fn may_ask(&self, now: Moment) -> bool {
        !self.is_asking && self.asked.is_none_or(|asked| now.since(asked) >= self.rule().tick_ms())
    }

    /// Taking over waits for no tick, but what was not answered is not repeated at once.
    fn may_try(&self, now: Moment) -> bool {
        let pause = self.rule().tick_ms() / 4;
        !self.is_asking && self.asked.is_none_or(|asked| now.since(asked) >= pause)
    }

    fn look(&mut self, now: Moment, acts: &mut Vec<Act>) {
        if self.may_ask(now) {
            (self.is_asking, self.asked) = (true, Some(now));
            acts.push(Act::Read);
        }
    }

    fn swap(&mut self, now: Moment, expected: Option<Word>, new: Word, takes: bool, acts: &mut Vec<Act>) {
        (self.is_asking, self.asked) = (true, Some(now));
        acts.push(Act::Swap(Asked { at: now, expected, new, takes }));
    }

    /// Counts up at the witness, or gets the word back that somebody left who does not want it any more.
    fn renew(&mut self, now: Moment, acts: &mut Vec<Act>) {
        if !self.may_ask(now) {
            return;
        }
        let here = self.setting.here.clone();
        let word = |generation: Generation, renewals| Word { generation, holder: here.clone(), renewals };
        // All others said just now that they leave the group to this node.
        let is_left = now < self.promised_until() && self.own.runner.is_none();
        match self.word.as_ref().map(|watched| watched.word.clone()) {
            Some(Some(last)) if last.holder == self.setting.here => {
                let generation = last.generation.max(self.own.generation);
                let new = word(generation, last.renewals.saturating_add(1));
                self.swap(now, Some(last), new, false, acts);
            }
            Some(Some(last)) if is_left && last.generation <= self.own.seen => {
                let new = word(last.generation.next().max(self.own.generation), 0);
                self.swap(now, Some(last), new, false, acts);
            }
            Some(None) if is_left => self.swap(now, None, word(self.own.generation, 0), false, acts),
            _ => self.look(now, acts),
        }
    }

    /// Asks the witness for the group, if nothing is in the way. Returns whether it does.
    fn take(&mut self, now: Moment, acts: &mut Vec<Act>) -> bool {
        if self.attempt != Attempt::Idle || self.own.stopping || !self.may_try(now) || self.obstacle(now).is_some() {
            return false;
        }
        let Some(Watched { word: Some(last), .. }) = self.word.clone() else { return false };
        // Of an attempt before this one, no run knows.
        let is_above_all = last.holder == self.setting.here && last.generation > self.own.seen;
        let (generation, renewals) = match is_above_all {
            true => (last.generation, last.renewals.saturating_add(1)),
            false => (last.generation.max(self.own.seen).next(), 0),
        };
        let new = Word { generation, holder: self.setting.here.clone(), renewals };
        self.attempt = Attempt::Asked;
        self.swap(now, Some(last), new, true, acts);
        true
    }

    /// Gives the witness's word to the node that a cutover brings the group to, where this one took it as that cutover seemed lost, and it
    /// goes on after all. Returns whether it does.
    fn give_back(&mut self, now: Moment, acts: &mut Vec<Act>) -> bool {
        let wants = |node: &NodeName| self.peers.get(node).and_then(|peer| peer.said.as_ref()).is_some_and(|beat| beat.wants);
        let heir =
            self.own.handing_to.clone().filter(|heir| self.stranded.is_none() && self.attempt == Attempt::Idle && wants(heir));
        let is_taken =
            |word: &Word| word.holder == self.setting.here && self.own.claimed.is_some_and(|claimed| word.generation > claimed);
        let word = self.word.as_ref().and_then(|watched| watched.word.clone()).filter(is_taken);
        let (Some(heir), Some(last)) = (heir.filter(|_| self.may_try(now)), word) else { return false };
        let new = Word { holder: heir, renewals: 0, ..last.clone() };
        self.swap(now, Some(last), new, false, acts);
        true
    }

    /// Why this node does not take over now; none if it does.
    pub fn obstacle(&self, now: Moment) -> Option<Obstacle> {
        let is_here = self.own.online.as_ref() == Some(&self.setting.here);
        let is_given_up = self.stranded.is_some() || (self.own.stalled && !is_here);
        if self.has_won() || (!is_given_up && (is_here || self.holds() || self.is_down)) {
            return Some(Obstacle::Here);
        }
        let Some(has_it) = self.holder().cloned() else { return Some(Obstacle::Offline) };
        self.of_run(now)
            .or_else(|| self.of_holder(&has_it, now))
            .or_else(|| self.of_this_node(&has_it, now))
            .or_else(|| self.of_rule(now))
    }

    /// Whether this node takes the group over, now or once it has waited for long enough.
    pub fn is_about_to_take_over(&self, now: Moment) -> bool {
        let waits =
            |obstacle: &Obstacle| matches!(obstacle, Obstacle::TimeToFail(..) | Obstacle::Promised(_) | Obstacle::Moving(_));
        self.setting.automatic && (self.has_won() || self.obstacle(now).is_none_or(|obstacle| waits(&obstacle)))
    }

    fn of_run(&self, now: Moment) -> Option<Obstacle> {
        let runner = self.own.runner.clone()?;
        let is_over = if runner == self.setting.here { self.own.stalled } else { self.is_silent(&runner, now) };
        (!is_over).then_some(Obstacle::Running(runner))
    }

    /// Whether a node has not been heard for as long as makes it count as lost.
    pub fn is_silent(&self, node: &NodeName, now: Moment) -> bool {
        self.to_fail_ms(node, now) == 0
    }

    /// For how long this node knows that this word of the witness stands there, in milliseconds.
    pub fn still_ms(&self, word: &Word, now: Moment) -> u64 {
        let same = self.word.as_ref().filter(|watched| watched.word.as_ref() == Some(word));
        same.map_or(0, |watched| now.since(watched.since))
    }

    /// How long ago a node was heard, in milliseconds.
    pub fn heard_ms(&self, node: &NodeName, now: Moment) -> Option<u64> {
        Some(now.since(self.peers.get(node)?.heard?))
    }

    /// How long a node must yet be silent to count as lost, in milliseconds.
    pub(super) fn to_fail_ms(&self, node: &NodeName, now: Moment) -> u64 {
        let heard = self.peers.get(node).and_then(|peer| peer.heard).unwrap_or(self.started);
        self.rule().time_to_fail_ms().saturating_sub(now.since(heard))
    }

    fn of_holder(&self, has_it: &NodeName, now: Moment) -> Option<Obstacle> {
        let peer = self.peers.get(has_it)?;
        let said = peer.said.as_ref();
        // One that says that it gave up needs no silence: what it was promised is waited for.
        let gave_up = said.is_some_and(|beat| !beat.wants && !beat.serves && beat.online.as_ref() == Some(has_it));
        let to_fail_ms = self.to_fail_ms(has_it, now);
        if to_fail_ms > 0 && !(gave_up && self.setting.automatic) {
            let recent = peer.heard.is_some_and(|heard| now.since(heard) <= 2 * self.rule().heartbeat_ms);
            return Some(if recent { Obstacle::Alive(has_it.clone()) } else { Obstacle::TimeToFail(has_it.clone(), to_fail_ms) });
        }
        (!self.setting.automatic).then_some(Obstacle::Manual)
    }

    fn of_this_node(&self, has_it: &NodeName, now: Moment) -> Option<Obstacle> {
        if !self.own.takes_over {
            return Some(Obstacle::Off);
        }
        let said = self.peers.get(has_it).and_then(|peer| peer.said.as_ref());
        if said.is_some_and(|beat| !beat.stands_down) {
            return Some(Obstacle::StaysUp(has_it.clone()));
        }
        let waits = |failures: &&Failures| now < failures.again && (!failures.in_silence || self.is_silent(has_it, now));
        if let Some(failures) = self.failed.as_ref().filter(waits) {
            return Some(Obstacle::Failed(failures.why.clone(), failures.again.since(now)));
        }
        if !self.own.unready.is_empty() {
            return Some(Obstacle::Unready(self.own.unready.clone()));
        }
        if let Some(most) = self.own.accept_loss_ms {
            let loss = self.loss_ms(has_it);
            if loss.is_none_or(|loss| loss > most) {
                return Some(Obstacle::Loss(loss, most));
            }
        }
        let named = self.word.as_ref().and_then(|watched| watched.word.as_ref());
        if self.stranded.is_some() || named.is_some_and(|word| word.holder == self.setting.here) {
            // Nobody else takes it over from a node that is there, or against the witness's word.
            return None;
        }
        let before = self.setting.by_priority.iter().take_while(|node| **node != self.setting.here);
        let could = |node: &&NodeName| {
            let peer = self.peers.get(*node);
            *node != has_it
                && self.to_fail_ms(node, now) > 0
                && peer.and_then(|peer| peer.said.as_ref()).is_some_and(|beat| beat.could)
        };
        before.filter(|node| could(node)).map(|node| Obstacle::After(node.clone())).next()
    }

    /// How old what would be lost may be, in milliseconds: what the standby lacked when the node that has the group said so last, or when
    /// this one gave it up, and what that one may have served since, until its right ended.
    pub(super) fn loss_ms(&self, has_it: &NodeName) -> Option<u64> {
        let given = self.gave_up.filter(|_| self.stranded.is_some()).map(|since| (since, 0));
        let (said, behind_ms) = self.peers.get(has_it)?.behind.max(given)?;
        let last = self.others.map_or(said, |others| others.max(said));
        Some(behind_ms.saturating_add(last.since(said)).saturating_add(self.rule().lease_ms))
    }

    /// The longest that any node asks for: where settings differ, whoever stops late is waited for.
    pub(super) fn patience_ms(&self) -> u64 {
        let said = self.peers.values().filter_map(|peer| Some(peer.said.as_ref()?.patience_ms));
        said.fold(self.rule().patience_ms(), u64::max)
    }

    fn of_rule(&self, now: Moment) -> Option<Obstacle> {
        let patience = self.patience_ms();
        let promised = patience.saturating_sub(now.since(self.promised));
        if promised > 0 {
            return Some(Obstacle::Promised(promised));
        }
        if !self.sees_witness(now) {
            return Some(Obstacle::NoWitness(self.trouble.clone().unwrap_or_else(|| "it has not answered yet".to_owned())));
        }
        match &self.word {
            None => Some(Obstacle::NoWord),
            Some(Watched { word: None, .. }) => Some(Obstacle::NoWord),
            // Nobody else can have it by the witness's word, and nobody has it by this node's promise.
            Some(Watched { word: Some(word), .. }) if word.holder == self.setting.here => None,
            Some(Watched { since, .. }) => {
                let still = patience.saturating_sub(now.since(*since));
                (still > 0).then_some(Obstacle::Moving(still))
            }
        }
    }
}
