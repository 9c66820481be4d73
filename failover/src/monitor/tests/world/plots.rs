//! What happens to a world, and how it must end.

use super::{Event, Node, Service, World};

/// How long the storm lasts, in microseconds.
const STORM: u64 = 90_000_000;
/// Within this all is well again, in microseconds: time to fail, patience, looks at the witness, the cutover, and clocks that run apart.
const BOUND: u64 = 30_000_000;

impl World {
    /// Trouble for a while.
    pub(in crate::monitor::tests) fn storm(&mut self) -> Result<(), String> {
        self.at(3_000_000, 0, Event::Fault);
        self.at(5_000_000, 1, Event::HandOver);
        self.run(self.now + STORM)
    }

    /// All is well again: one node serves within the bound, and goes on serving.
    pub(in crate::monitor::tests) fn heal(&mut self) -> Result<(), String> {
        self.calm();
        for index in 0..self.nodes.len() {
            self.at(0, index, Event::Unpause);
            self.at(0, index, Event::Boot);
        }
        self.run(self.now + BOUND + self.pause())?;
        self.one("all was well again")
    }

    /// For how long nodes whose attempts failed in the storm wait yet, in microseconds.
    fn pause(&self) -> u64 {
        let pause = |node: &Node| {
            let failures = node.monitor.as_ref()?.failed.as_ref()?;
            Some(1000 * failures.again.since(node.clock(self.now)))
        };
        self.nodes.iter().filter_map(pause).max().unwrap_or(0)
    }

    /// The holder dies for good, and all else is well but for the delays.
    pub(in crate::monitor::tests) fn holder_dies(&mut self) -> Result<(), String> {
        self.calm();
        let until = self.now + 5_000_000 + self.random(20_000_000);
        self.run(until)?;
        self.one("the beginning")?;
        self.crash(0);
        self.run(self.now + BOUND)?;
        self.one("the holder died")
    }

    /// A handoff, and one of its two nodes dies for good at some moment of it.
    pub(in crate::monitor::tests) fn dies_in_a_handoff(&mut self, dead: usize) -> Result<(), String> {
        self.calm();
        self.run(self.now + 5_000_000)?;
        self.at(0, 1, Event::HandOver);
        let until = self.now + 1_000 * self.random(4_000);
        self.run(until)?;
        self.crash(dead);
        self.run(self.now + BOUND)?;
        self.one("a node died in a handoff")
    }

    fn calm(&mut self) {
        self.is_stormy = false;
        self.cut.clear();
        self.late_ms = 20;
    }

    fn one(&mut self, after: &str) -> Result<(), String> {
        let at_work = self.nodes.iter().filter(|node| node.service == Service::On).count();
        if at_work == 1 {
            return Ok(());
        }
        let now = |node: &Node| node.clock(self.now);
        let told = self.nodes.iter().map(|node| {
            let view = node.monitor.as_ref().map(|monitor| monitor.view(now(node)));
            format!("{}: {:?}, {view:?}\n", node.name, node.own(&self.names))
        });
        Err(format!("{at_work} nodes serve after {after}: {:?}\n{}", self.word, told.collect::<String>()))
    }
}
