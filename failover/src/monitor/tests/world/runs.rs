//! How runs that a node carries out go on and end.

use standin_common::id::Generation;

use super::{Event, Service, Word, World};

/// After so long a run that stopped is gone on with, in microseconds.
const AGAIN: u64 = 10_000_000;
/// After so long a node tries again to start what was stopped, in microseconds.
const START_AGAIN: u64 = 5_000_000;
/// After so long a start looks again whether the stop before it has ended, in microseconds.
const STOPPED: u64 = 500_000;

impl World {
    /// A run promotes. One that the node began by itself has the witness name it at its generation before that, and looks whom it names now.
    pub(super) fn cross(&mut self, index: usize) {
        let Some((generation, false)) = self.nodes[index].claim else { return };
        if self.nodes[index].monitor.as_ref().unwrap().has_won() {
            let is_named = self.word.as_ref().is_some_and(|word| word.holder == self.nodes[index].name);
            if !is_named || !self.answers(index, self.nodes.len()) {
                self.nodes[index].unclaim();
                let now = self.nodes[index].clock(self.now);
                let refused = Err("the witness names another node, or nobody".to_owned());
                self.nodes[index].monitor.as_mut().unwrap().took_over(now, refused);
                return self.step(index);
            }
            let word = self.word.as_mut().unwrap();
            if word.generation < generation {
                (word.generation, word.renewals) = (generation, 0);
            }
        }
        self.nodes[index].claim = Some((generation, true));
    }

    /// A node that may serve again comes online by a run of its own: every other node takes part in it, or the witness names it for it.
    pub(super) fn start_again(&mut self, index: usize) {
        let others: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != index).collect();
        let is_asked = others.iter().all(|other| self.answers(index, *other));
        let is_free = |index: usize| self.nodes[index].claim.is_none() && self.nodes[index].foreign.is_none();
        let node = &self.nodes[index];
        let is_named = self.word.as_ref().is_some_and(|word| word.holder == node.name) && self.answers(index, self.nodes.len());
        let is_on = node.service == Service::On;
        let (serves, is_down) = (node.own(&self.names).serves, node.monitor.as_ref().unwrap().is_down());
        if is_down || !serves || is_on {
            return;
        }
        if let Some((_, true)) = node.claim {
            return self.finish(index);
        }
        if !(is_free(index) && (is_named || is_asked && others.iter().all(|other| is_free(*other)))) {
            let life = self.nodes[index].life;
            return self.at(START_AGAIN, index, Event::Again { life });
        }
        let known = others.iter().filter(|_| is_asked).map(|other| self.nodes[*other].seen).max().unwrap_or_default();
        let of_witness = self.word.as_ref().map_or(Generation(0), |word| word.generation);
        let generation = self.nodes[index].seen.max(known).max(of_witness).next();
        for other in others.into_iter().filter(|_| is_asked) {
            self.nodes[other].seen = generation;
        }
        let node = &mut self.nodes[index];
        (node.generation, node.seen) = (generation, generation);
        if is_named {
            self.word = Some(Word { generation, holder: self.names[index].clone(), renewals: 0 });
        }
        self.finish(index);
    }

    /// A run, or a start, comes to its end.
    pub(super) fn finish(&mut self, index: usize) {
        let now = self.nodes[index].clock(self.now);
        let monitor = self.nodes[index].monitor.as_ref().unwrap();
        if !monitor.has_won() && self.nodes[index].claim.is_some_and(|(_, is_crossed)| !is_crossed) {
            // It was for a run before this one.
            return;
        }
        // A start after a stand-down is tried again by itself.
        let fails = self.is_stormy && self.nodes[index].claim.is_some() && self.random(4) == 0;
        let monitor = self.nodes[index].monitor.as_ref().unwrap();
        let may = monitor.gate().is_some_and(|until| now < until)
            && (self.nodes[index].service == Service::Off
                || (self.nodes[index].begun && self.nodes[index].service == Service::On))
            && self.nodes[index].foreign.is_none()
            && (self.nodes[index].claim.is_some() || self.nodes[index].own(&self.names).serves);
        let done = if may && !fails { Ok(()) } else { Err("it failed".to_owned()) };
        if done.is_ok() {
            let node = &mut self.nodes[index];
            if let Some((generation, _)) = node.claim {
                (node.generation, node.online) = (generation, Some(node.name.clone()));
                self.taken_over += 1;
            }
            node.settle();
            self.nodes[index].service = Service::On;
            self.say(index, "serves".to_owned());
        } else if let Some((_, false)) = self.nodes[index].claim {
            self.nodes[index].unclaim();
        } else if fails || self.nodes[index].claim.is_some() {
            // A run that can only go forward is gone on with by itself.
            let is_half = fails && may && self.random(2) == 0;
            let node = &mut self.nodes[index];
            if is_half {
                // Something of it was started.
                (node.service, node.begun, node.gave_up) = (Service::On, true, false);
            }
            let life = node.life;
            self.at(AGAIN, index, Event::Finish { life });
        } else if self.nodes[index].service == Service::Stopping {
            // A start comes after the stop that is under way.
            let life = self.nodes[index].life;
            self.at(STOPPED, index, Event::Finish { life });
        }
        self.tell_own(index);
        let monitor = self.nodes[index].monitor.as_mut().unwrap();
        if monitor.has_won() {
            monitor.took_over(now, done);
        }
        self.step(index);
    }
}
