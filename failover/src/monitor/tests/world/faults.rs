//! What goes wrong: machines that crash, stand still and come back, daemons that die, lines that are cut.

use super::{Event, Moment, Service, World};

impl World {
    pub(super) fn crash(&mut self, index: usize) {
        self.say(index, "crashes".to_owned());
        let node = &mut self.nodes[index];
        (node.monitor, node.service, node.remembered) = (None, Service::Off, Moment::default());
        (node.paused, node.life, node.machine) = (false, node.life + 1, node.machine + 1);
        node.waiting.clear();
        node.begun = false;
        self.leave_run(index);
    }

    pub(super) fn boot(&mut self, index: usize) {
        if self.nodes[index].monitor.is_none() {
            self.say(index, "starts".to_owned());
            // A daemon that finds that the right is over first stops what runs on.
            let ended = self.nodes[index].remembered;
            if self.nodes[index].service == Service::On && self.nodes[index].clock(self.now) >= ended {
                self.stop(index, Some(ended));
            }
            let (names, rule) = (self.names.clone(), self.rule);
            self.nodes[index].start(self.now, &names, rule);
            self.look(index);
            let life = self.nodes[index].life;
            self.at(0, index, Event::TakeBack { life });
            if let Some((_, true)) = self.nodes[index].claim {
                self.at(1_000_000, index, Event::Finish { life });
            }
        }
    }

    /// A run that nobody carries out any more: what can be taken back is, once its node runs again.
    pub(super) fn leave_run(&mut self, index: usize) {
        let generation = self.nodes[index].claim.filter(|(_, is_crossed)| !is_crossed).map(|(generation, _)| generation);
        let is_known = generation.is_some_and(|of| self.nodes.iter().any(|node| node.is_claimed_by(of, index)));
        let node = &mut self.nodes[index];
        node.gave_up = false;
        match generation {
            Some(_) if is_known => node.stalled = true,
            Some(_) => node.unclaim(),
            None => {}
        }
    }

    /// The daemon is dead, and what it started goes on: the guard stops that when the right ends.
    pub(super) fn guard(&mut self, index: usize) {
        let ended = self.nodes[index].remembered;
        if self.nodes[index].monitor.is_none() && self.nodes[index].service == Service::On {
            self.say(index, "is stopped by its guard".to_owned());
            self.stop(index, Some(ended));
        }
    }

    pub(super) fn unpause(&mut self, index: usize) {
        if !self.nodes[index].paused {
            return;
        }
        self.say(index, "goes on".to_owned());
        self.nodes[index].paused = false;
        // What was being stopped is gone, and the clock is looked at, before anybody is answered: what a real machine cannot do in no time
        // at all is what fencing is for.
        let (overdue, waiting) =
            std::mem::take(&mut self.nodes[index].waiting).into_iter().partition(|event| matches!(event, Event::Stopped { .. }));
        self.nodes[index].waiting = waiting;
        let overdue: Vec<Event> = overdue;
        overdue.into_iter().for_each(|event| self.happen(index, event));
        if self.nodes[index].monitor.is_some() {
            self.step(index);
        } else {
            let now = self.nodes[index].clock(self.now);
            if now >= self.nodes[index].remembered {
                self.guard(index);
            }
        }
        for event in std::mem::take(&mut self.nodes[index].waiting) {
            self.at(0, index, event);
        }
    }

    pub(super) fn fault(&mut self) {
        if !self.is_stormy {
            return;
        }
        let count = self.nodes.len() as u64;
        let (index, other) = (self.random(count) as usize, self.random(count + 1) as usize);
        match self.random(12) {
            0..3 => self.cut.extend([((index, other), true)]),
            3 => {
                self.cut.insert((index, other), true);
                self.cut.insert((other, index), true);
            }
            4 => self.cut.extend((0..self.nodes.len()).map(|to| ((index, to), true))),
            5 => self.cut.extend([((index, self.nodes.len()), true)]),
            6 | 7 => self.cut.clear(),
            8 => {
                self.late_ms = [5, 20, 100, 400][self.random(4) as usize];
            }
            9 if !self.nodes[index].paused => {
                self.say(index, "is paused".to_owned());
                self.nodes[index].paused = true;
                let long = 1000 * self.random(15_000);
                self.at(long, index, Event::Unpause);
            }
            10 => {
                self.crash(index);
                let long = 1000 * self.random(15_000);
                self.at(long, index, Event::Boot);
            }
            _ => self.kill_daemon(index),
        }
        let after = 1000 * self.random(4_000);
        self.at(after, 0, Event::Fault);
    }

    fn kill_daemon(&mut self, index: usize) {
        if self.nodes[index].monitor.is_none() || self.nodes[index].paused {
            return;
        }
        self.say(index, "loses its daemon".to_owned());
        let node = &mut self.nodes[index];
        (node.monitor, node.life) = (None, node.life + 1);
        self.leave_run(index);
        let node = &mut self.nodes[index];
        let machine = node.machine;
        let until = node.real(node.remembered).saturating_sub(self.now);
        self.at(until, index, Event::Guard { machine });
        let back = 1000 * self.random(8_000);
        self.at(back, index, Event::Boot);
    }
}
