//! Handoffs that a person asks for: the node that gets the group carries them out, and may die on the way, as may the one that gives it.

use standin_common::id::Generation;

use super::{Event, Service, Word, World};

/// How often a handoff goes on, in microseconds.
const LOOK: u64 = 200_000;
/// So often it asks a node, or the witness, that does not answer.
const MOST_TRIES: u32 = 25;
/// Between attempts to take one back, in microseconds.
const AGAIN: u64 = 2_000_000;

/// How far one is.
#[derive(Clone, Copy, Debug)]
pub(in crate::monitor::tests) struct Handoff {
    from: usize,
    generation: Generation,
    tries: u32,
}

impl World {
    /// The generation of a run that a node begins: above all that it knows of other runs.
    pub(super) fn next_generation(&self, index: usize) -> Generation {
        let node = &self.nodes[index];
        let of_witness = self.word.as_ref().map_or(Generation(0), |word| word.generation);
        let claimed = node.foreign.map(|(generation, _)| generation).max(node.claim.map(|(generation, _)| generation));
        match claimed.filter(|claimed| *claimed >= of_witness) {
            Some(_) => node.seen.max(of_witness).next(),
            None => node.seen.max(of_witness),
        }
    }

    pub(super) fn answers(&self, index: usize, other: usize) -> bool {
        let is_cut = |from, to| self.cut.get(&(from, to)).copied().unwrap_or(false);
        let is_there = other == self.nodes.len() || (self.nodes[other].monitor.is_some() && !self.nodes[other].paused);
        is_there && !is_cut(index, other) && !is_cut(other, index)
    }

    /// A handoff begins, if it may: every node that answers knows of it, and the one that has the group stops.
    pub(super) fn hand_over(&mut self, index: usize) {
        if self.is_stormy {
            let to = self.random(self.nodes.len() as u64) as usize;
            let after = 1000 * self.random(12_000);
            self.at(after, to, Event::HandOver);
        }
        // What the node knows that settled last, or can only go forward since: that may be a run that is stuck, and a handoff may go over it.
        let there = (0..self.nodes.len()).filter(|other| *other == index || self.answers(index, *other));
        let Some((newest, at)) = there.map(|other| self.nodes[other].reached()).max_by_key(|(generation, _)| *generation) else {
            return;
        };
        let Some(from) = self.names.iter().position(|name| Some(name) == at.as_ref()).filter(|from| *from != index) else {
            return;
        };
        let of_stuck = self.nodes[from].claim.filter(|claim| *claim == (newest, true));
        let serves = self.nodes[from].service == Service::On && self.nodes[from].online == at;
        if self.nodes[from].service == Service::Stopping || !(serves || of_stuck.is_some()) {
            return;
        }
        let is_busy = |index: usize| {
            let node = &self.nodes[index];
            let is_over =
                of_stuck.is_some_and(|(of, _)| node.foreign == Some((of, from)) || (index == from && node.foreign.is_none()));
            !is_over && (node.claim.is_some() || node.foreign.is_some())
        };
        let is_there = self.nodes[index].monitor.is_some() && !self.nodes[index].paused;
        let agree = self.nodes[index].online == self.nodes[from].online;
        let is_taking = self.nodes[index].monitor.as_ref().is_some_and(|monitor| monitor.has_won());
        // Whom the witness names since then, and who cannot be asked, may have it.
        let is_party = |word: &&Word| word.holder == self.names[index] || word.holder == self.names[from];
        let is_elsewhere = self.word.as_ref().filter(|word| !is_party(word)).is_some_and(|word| word.generation > newest);
        if is_elsewhere && !(0..self.nodes.len()).all(|other| other == index || self.answers(index, other)) {
            return;
        }
        if !is_there || !agree || is_taking || is_busy(index) || is_busy(from) || !self.answers(index, from) {
            return;
        }
        let there: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != index && self.answers(index, *other)).collect();
        let seen = there.iter().map(|other| self.nodes[*other].seen).max().max(self.word.as_ref().map(|word| word.generation));
        let generation = self.nodes[index].seen.max(seen.unwrap_or_default()).next();
        self.say(index, format!("begins a handoff from {} at generation {generation}", self.names[from]));
        let free: Vec<usize> = there.into_iter().filter(|other| *other == from || self.nodes[*other].claim.is_none()).collect();
        let node = &mut self.nodes[index];
        node.claim_over(Some((generation, false)), None);
        node.seen = generation;
        for other in free {
            let other = &mut self.nodes[other];
            other.claim_over(None, Some((generation, index)));
            other.seen = generation;
        }
        self.nodes[from].gave_up = false;
        if self.nodes[from].service == Service::On {
            self.stop(from, None);
        }
        self.tell_own(index);
        self.tell_own(from);
        self.handed_over += 1;
        self.go_on(index, Handoff { from, generation, tries: 0 });
    }

    fn go_on(&mut self, index: usize, handoff: Handoff) {
        let (after, life) = (LOOK / 2 + self.random(LOOK), self.nodes[index].life);
        self.at(after, index, Event::Hand { life, handoff });
    }

    /// Once all is stopped, the witness names the node, and from then on it can only go forward.
    pub(super) fn hand(&mut self, index: usize, handoff: Handoff) {
        let Handoff { from, generation, tries } = handoff;
        if self.nodes[index].claim != Some((generation, false)) || self.nodes[index].stalled {
            return;
        }
        let is_ours = self.nodes[from].foreign == Some((generation, index));
        let is_silent =
            !self.answers(index, from) || (self.nodes[from].service == Service::Off && !self.answers(index, self.nodes.len()));
        if is_silent && tries < MOST_TRIES {
            return self.go_on(index, Handoff { tries: tries + 1, ..handoff });
        }
        let named = self.word.as_ref().is_some_and(|word| word.generation >= generation && word.holder != self.names[index]);
        if is_silent || !is_ours || named {
            self.say(index, "takes its handoff back".to_owned());
            self.nodes[index].stalled = true;
            return self.take_back(index);
        }
        if self.nodes[from].service != Service::Off {
            return self.go_on(index, handoff);
        }
        if !std::mem::replace(&mut self.nodes[from].gave_up, true) {
            self.nodes[from].begun = false;
            self.tell_own(from);
            return self.go_on(index, handoff);
        }
        let generation = generation.max(self.word.as_ref().map_or(generation, |word| word.generation));
        self.word = Some(Word { generation, holder: self.names[index].clone(), renewals: 0 });
        let life = self.nodes[index].life;
        let (half, whole) = (1000 * self.random(500), 1000 * (500 + self.random(1500)));
        self.at(half, index, Event::Cross { life });
        self.at(whole, index, Event::Finish { life });
    }

    /// The node that gave the group has it again, once it answers.
    pub(super) fn take_back(&mut self, index: usize) {
        let Some((generation, false)) = self.nodes[index].claim.filter(|_| self.nodes[index].stalled) else { return };
        let of_this = (None, Some((generation, index)));
        let is_below = |other: &usize| self.nodes[*other].over.contains(&of_this);
        if (0..self.nodes.len()).filter(is_below).any(|other| !self.answers(index, other)) {
            let life = self.nodes[index].life;
            return self.at(AGAIN, index, Event::TakeBack { life });
        }
        self.nodes.iter_mut().for_each(|node| node.over.retain(|held| *held != of_this));
        let theirs = (0..self.nodes.len()).filter(|other| self.nodes[*other].foreign == Some((generation, index)));
        let is_named = self.word.as_ref().is_some_and(|word| word.holder == self.names[index]);
        for other in theirs.collect::<Vec<_>>() {
            if !self.answers(index, other) || (is_named && !self.answers(index, self.nodes.len())) {
                let life = self.nodes[index].life;
                return self.at(AGAIN, index, Event::TakeBack { life });
            }
            let newest = self.nodes.iter().map(|node| node.reached().0).max();
            let (reached, at) = self.nodes[other].reached();
            let had_it = at.as_ref() == Some(&self.names[other]) && Some(reached) == newest;
            if let Some(word) = self.word.as_mut().filter(|_| is_named && had_it) {
                (word.holder, word.renewals) = (self.names[other].clone(), 0);
            }
            // What goes on with a run before this one may find nothing started; else what was stopped is started before the claim ends.
            let is_empty = generation.0 % 2 == 0;
            let now = self.nodes[other].clock(self.now);
            let may_start = self.nodes[other].monitor.as_ref().unwrap().gate().is_some_and(|until| now < until);
            if had_it && !is_empty && self.nodes[other].service == Service::Off && !may_start {
                let life = self.nodes[index].life;
                return self.at(AGAIN, index, Event::TakeBack { life });
            }
            let node = &mut self.nodes[other];
            node.unclaim();
            node.gave_up = node.gave_up && node.claim.is_some() && is_empty;
            let life = node.life;
            if had_it {
                self.at(1000, other, Event::Finish { life });
            }
            self.tell_own(other);
        }
        self.nodes[index].unclaim();
        self.tell_own(index);
    }
}
