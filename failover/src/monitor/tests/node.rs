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

/// A claim of the node's own, or of another one.
pub(super) type Held = (Option<(Generation, bool)>, Option<(Generation, usize)>);

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
    /// The runs that the one now goes over: each claim, and whose it was.
    pub(super) over: Vec<Held>,
    /// A run knows that all is stopped here.
    pub(super) gave_up: bool,
    /// A run that is not finished started something here.
    pub(super) begun: bool,
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
        let has_begun =
            (self.begun || self.service != Service::Off) && !self.gave_up && (self.claim.is_some() || self.foreign.is_some());
        let is_between = self.claim.is_some() && !has_begun;
        // From where a run of its own took over, another one brings it away as from where it is online.
        let is_brought_away = self.crossed().is_some() && self.claim.is_none();
        let serves = (self.online.as_ref() == Some(&self.name) && !is_between) || is_brought_away || has_begun;
        let (generation, online) = if is_brought_away { self.reached() } else { (self.generation, self.online.clone()) };
        Own {
            online,
            settled: !is_brought_away,
            generation: self.claim.map_or(generation, |(generation, _)| generation),
            seen: self.seen,
            serves,
            claiming: self.claim.is_some() && !serves && !self.stalled,
            stalled: self.claim.is_some() && self.stalled,
            crossed: self.claim.is_some_and(|(_, is_crossed)| is_crossed),
            stopping: self.service == Service::Stopping && self.foreign.is_none(),
            handing_to: runner.clone(),
            gave_up: self.gave_up,
            runner: self.claim.map(|_| self.name.clone()).or(runner),
            claimed: self.claim.map(|(generation, _)| generation).or(self.foreign.map(|(generation, _)| generation)),
            stands_down: true,
            takes_over: true,
            ..Own::default()
        }
    }

    /// A run claims the node, over whatever was there.
    pub(super) fn claim_over(&mut self, claim: Option<(Generation, bool)>, foreign: Option<(Generation, usize)>) {
        if self.claim.is_some() || self.foreign.is_some() {
            self.over.push((self.claim, self.foreign));
        }
        (self.claim, self.foreign, self.stalled) = (claim, foreign, false);
    }

    /// The run that has the node is taken back: what it went over holds again.
    pub(super) fn unclaim(&mut self) {
        (self.claim, self.foreign) = self.over.pop().unwrap_or_default();
        self.stalled = self.claim.is_some_and(|(_, is_crossed)| !is_crossed);
    }

    /// The last run of its own that can only go forward.
    fn crossed(&self) -> Option<Generation> {
        let mut own = self.over.iter().map(|(claim, _)| claim).chain([&self.claim]).flatten();
        own.rfind(|(_, is_crossed)| *is_crossed).map(|(generation, _)| *generation)
    }

    /// Where the group is as far as it knows, and since which generation: by its own run, where that can only go forward.
    pub(super) fn reached(&self) -> (Generation, Option<NodeName>) {
        match self.crossed() {
            Some(generation) => (generation, Some(self.name.clone())),
            None => (self.generation, self.online.clone()),
        }
    }

    /// Whether it knows of a run of another node.
    pub(super) fn is_claimed_by(&self, generation: Generation, runner: usize) -> bool {
        let claim = Some((generation, runner));
        self.foreign == claim || self.over.contains(&(None, claim))
    }

    /// Another node settled a cutover.
    pub(super) fn settle(&mut self) {
        (self.claim, self.stalled, self.foreign, self.gave_up, self.begun) = (None, false, None, false, false);
        self.over.clear();
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
