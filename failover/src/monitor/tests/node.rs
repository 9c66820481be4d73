//! One node of the simulated world.

use standin_common::id::{Generation, NodeName};

use crate::monitor::{Moment, Monitor, Own, Rule, Setting};

/// What is at work on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Off,
    On,
    Stopping,
}

/// A node: what a crash leaves comes first.
pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) online: Option<NodeName>,
    pub(super) generation: Generation,
    pub(super) seen: Generation,
    /// The generation of its own run that is not finished, and whether that can only go forward.
    pub(super) claim: Option<(Generation, bool)>,
    /// Its own run is to be taken back, and nobody carries that out now.
    pub(super) stalled: bool,
    /// The generation of another node's run that brings the group there, and which node.
    pub(super) foreign: Option<(Generation, usize)>,
    /// That run knows that all is stopped here.
    pub(super) gave_up: bool,
    /// The right that it remembers while its machine runs.
    pub(super) remembered: Moment,
    pub(super) monitor: Option<Monitor>,
    /// What happened before it was last started or killed is not for it.
    pub(super) life: u64,
    /// The same for its machine.
    pub(super) machine: u64,
    pub(super) paused: bool,
    /// What waits for a paused node.
    pub(super) waiting: Vec<super::world::Event>,
    pub(super) service: Service,
    /// Its clock: parts per thousand, and an offset in microseconds.
    pub(super) rate: u64,
    pub(super) offset: u64,
    /// When it looks again, in real time.
    pub(super) wake: u64,
}

impl Node {
    /// Its own clock at a real time in microseconds.
    pub(super) fn clock(&self, real: u64) -> Moment {
        Moment((self.offset + real * self.rate / 1000) / 1000)
    }

    /// The real time at which its clock shows this, rounded up.
    pub(super) fn real(&self, moment: Moment) -> u64 {
        ((moment.0 + 1) * 1000).saturating_sub(self.offset) * 1000 / self.rate
    }

    pub(super) fn own(&self, names: &[NodeName]) -> Own {
        let runner = self.foreign.map(|(_, runner)| names[runner].clone());
        let serves = self.online.as_ref() == Some(&self.name);
        Own {
            online: self.online.clone(),
            generation: self.claim.map_or(self.generation, |(generation, _)| generation),
            seen: self.seen,
            serves,
            claiming: self.claim.is_some() && !serves && !self.stalled,
            stalled: self.claim.is_some() && self.stalled,
            stopping: self.service == Service::Stopping && self.foreign.is_none(),
            handing_to: runner.clone(),
            gave_up: self.gave_up,
            runner: self.claim.map(|_| self.name.clone()).or(runner),
            stands_down: true,
            takes_over: true,
            ..Own::default()
        }
    }

    /// Its daemon starts.
    pub(super) fn start(&mut self, real: u64, nodes: &[NodeName], rule: Rule) {
        let setting = Setting { here: self.name.clone(), by_priority: nodes.to_vec(), automatic: true, rule };
        self.life += 1;
        // A right is remembered for what runs on; what does not is started with a new one.
        if self.service != Service::On {
            self.remembered = Moment::default();
        }
        self.monitor = Some(Monitor::new(setting, self.own(nodes), self.clock(real), self.remembered));
        self.wake = real;
    }

    /// Whether clients could meet it now.
    pub(super) fn is_at_work(&self) -> bool {
        self.service != Service::Off && !self.paused
    }
}
