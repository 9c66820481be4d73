//! How runs that a node carries out go on and end.

use super::{Event, Service, World};

/// After so long a run that stopped is gone on with, in microseconds.
const AGAIN: u64 = 10_000_000;
/// After so long a start looks again whether the stop before it has ended, in microseconds.
const STOPPED: u64 = 500_000;

impl World {
    /// A run promotes. One that the node began by itself has the witness name it at its generation before that, and looks whom it names now.
    pub(super) fn cross(&mut self, index: usize) {
        let Some((generation, false)) = self.nodes[index].claim else { return };
        if self.nodes[index].monitor.as_ref().unwrap().has_won() {
            let is_named = self.word.as_ref().is_some_and(|word| word.holder == self.nodes[index].name);
            if !is_named || !self.answers(index, self.nodes.len()) {
                self.nodes[index].claim = None;
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
            && self.nodes[index].service == Service::Off
            && self.nodes[index].foreign.is_none()
            && (self.nodes[index].claim.is_some() || self.nodes[index].own(&self.names).serves);
        let done = if may && !fails { Ok(()) } else { Err("it failed".to_owned()) };
        if done.is_ok() {
            let node = &mut self.nodes[index];
            if let Some((generation, _)) = node.claim.take() {
                (node.generation, node.online) = (generation, Some(node.name.clone()));
                self.taken_over += 1;
            } else if node.seen > node.generation {
                // It comes online by a run of its own, above those that it knows of.
                node.seen = node.seen.next();
                node.generation = node.seen;
            }
            self.nodes[index].service = Service::On;
            self.say(index, "serves".to_owned());
        } else if let Some((_, false)) = self.nodes[index].claim {
            self.nodes[index].claim = None;
        } else if fails || self.nodes[index].claim.is_some() {
            // A run that can only go forward is gone on with by itself.
            let life = self.nodes[index].life;
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
