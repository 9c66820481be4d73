//! Nodes, lines and the witness, in one queue of events.

mod faults;
mod handoff;
mod plots;
mod runs;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use standin_common::id::{Generation, NodeName};

use super::Broken;
use super::node::{Node, Service};
use crate::monitor::{Act, Answer, Asked, Beat, Moment, Rule};
use crate::witness::{WitnessError, Word};

const HEARTBEAT_MS: u64 = 500;
const MISSES: u16 = 4;
const LEASE_MS: u64 = 4_000;
/// After so long the witness's client gives up, in milliseconds.
const WITNESS_LIMIT_MS: u64 = 1_000;

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// The node sends heartbeats.
    Send,
    Beat {
        from: usize,
        sent: Moment,
        life: u64,
        beat: Beat,
    },
    Answered {
        from: usize,
        sent: Moment,
        life: u64,
        answer: Answer,
    },
    /// At the witness: read, or swap.
    Ask {
        life: u64,
        at: Moment,
        asked: Option<Asked>,
    },
    /// Back from it.
    Read {
        life: u64,
        at: Moment,
        answer: Result<Option<Word>, WitnessError>,
    },
    Swapped {
        life: u64,
        asked: Asked,
        answer: Result<(), WitnessError>,
    },
    /// The node looks.
    Look {
        life: u64,
    },
    Stopped {
        machine: u64,
    },
    /// Its run crosses over, and ends.
    Cross {
        life: u64,
    },
    Finish {
        life: u64,
    },
    /// What was stopped here is started again, by a run of its own.
    Again {
        life: u64,
    },
    /// Somebody wants the node to have the group.
    HandOver,
    /// Its handoff goes on.
    Hand {
        life: u64,
        handoff: handoff::Handoff,
    },
    /// Its handoff is taken back.
    TakeBack {
        life: u64,
    },
    /// Something breaks, or is mended.
    Fault,
    Unpause,
    Boot,
    /// The guard of a node whose daemon may be dead looks.
    Guard {
        machine: u64,
    },
}

pub(super) struct World {
    seed: u64,
    broken: Broken,
    rule: Rule,
    names: Vec<NodeName>,
    nodes: Vec<Node>,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, usize, usize)>>,
    events: Vec<Option<Event>>,
    word: Option<Word>,
    /// Cut lines, one way each; the witness is the last.
    cut: BTreeMap<(usize, usize), bool>,
    late_ms: u64,
    is_stormy: bool,
    log: Vec<String>,
    pub(super) taken_over: u64,
    pub(super) stood_down: u64,
    pub(super) resumed: u64,
    pub(super) handed_over: u64,
    /// Answers of the witness that are on their way: one that gave up is not told twice.
    pending: BTreeMap<(usize, u64, Moment), ()>,
}

impl World {
    pub(super) fn new(seed: u64, count: usize, broken: Broken) -> Self {
        let names: Vec<NodeName> = ["alpha", "beta", "gamma"][..count].iter().map(|name| name.parse().unwrap()).collect();
        let mut rule = Rule::new(HEARTBEAT_MS, MISSES, LEASE_MS);
        if broken == Broken::NoAllowance {
            rule.allowance_ms = 0;
        }
        let mut world = Self {
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d,
            broken,
            rule,
            names: names.clone(),
            nodes: Vec::new(),
            now: 1_000_000,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            word: Some(Word { generation: Generation(1), holder: names[0].clone(), renewals: 0 }),
            cut: BTreeMap::new(),
            late_ms: 20,
            is_stormy: true,
            log: Vec::new(),
            taken_over: 0,
            stood_down: 0,
            resumed: 0,
            handed_over: 0,
            pending: BTreeMap::new(),
        };
        for (index, name) in names.iter().enumerate() {
            let (rate, offset) = (970 + world.random(61), 1_000_000 * world.random(1_000_000));
            world.nodes.push(Node {
                name: name.clone(),
                online: Some(names[0].clone()),
                generation: Generation(1),
                seen: Generation(1),
                claim: None,
                stalled: false,
                foreign: None,
                over: Vec::new(),
                gave_up: false,
                begun: false,
                remembered: Moment::default(),
                monitor: None,
                life: 0,
                machine: 0,
                paused: false,
                waiting: Vec::new(),
                service: if index == 0 { Service::On } else { Service::Off },
                rate,
                offset,
                wake: 0,
            });
            let node = &mut world.nodes[index];
            node.remembered = node.clock(world.now).after(LEASE_MS);
            node.start(world.now, &names, rule);
            world.at(1000 * index as u64, index, Event::Send);
            world.look(index);
        }
        world
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.seed;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % below.max(1)
    }

    fn at(&mut self, after: u64, node: usize, event: Event) {
        self.queue.push(Reverse((self.now + after, self.events.len(), node)));
        self.events.push(Some(event));
    }

    fn say(&mut self, node: usize, text: String) {
        let line = format!("{:>9.3} {}: {text}", self.now as f64 / 1e6, self.nodes[node].name);
        self.log.push(line);
    }

    pub(super) fn story(&self) -> String {
        self.log[self.log.len().saturating_sub(60)..].join("\n")
    }

    fn run(&mut self, until: u64) -> Result<(), String> {
        while let Some(Reverse((at, number, index))) = self.queue.pop() {
            if at > until {
                self.queue.push(Reverse((at, number, index)));
                break;
            }
            self.now = self.now.max(at);
            let Some(event) = self.events.get_mut(number).and_then(Option::take) else { continue };
            self.happen(index, event);
            if self.nodes.iter().filter(|node| node.is_at_work()).count() > 1 {
                let at_work: Vec<_> = self.nodes.iter().filter(|node| node.is_at_work()).map(|node| &node.name).collect();
                return Err(format!("{at_work:?} are at work at once, at {:.3} s", self.now as f64 / 1e6));
            }
        }
        self.now = self.now.max(until);
        Ok(())
    }

    fn happen(&mut self, index: usize, event: Event) {
        let is_elsewhere = matches!(event, Event::Fault | Event::Unpause | Event::Ask { .. } | Event::Send | Event::HandOver);
        if self.nodes[index].paused && !is_elsewhere {
            self.nodes[index].waiting.push(event);
            return;
        }
        match event {
            Event::Send => self.send(index),
            Event::Beat { from, sent, life, beat } => self.heard(index, from, sent, life, &beat),
            Event::Answered { from, sent, life, answer } if self.is_alive(index, life) => {
                let (now, peer) = (self.nodes[index].clock(self.now), self.names[from].clone());
                self.learn(index, from, &answer.beat);
                let monitor = self.nodes[index].monitor.as_mut();
                monitor.unwrap().answered(now, &peer, "line", sent, &answer);
                self.step(index);
            }
            Event::Ask { life, at, asked } => self.witness(index, life, at, asked),
            Event::Read { life, at, answer } if self.is_alive(index, life) => {
                // Whoever gave up does not hear the answer any more.
                if self.pending.remove(&(index, life, at)).is_none() {
                    return;
                }
                let now = self.nodes[index].clock(self.now);
                self.nodes[index].monitor.as_mut().unwrap().read(now, answer);
                self.step(index);
            }
            Event::Swapped { life, asked, answer } if self.is_alive(index, life) => self.swapped(index, life, asked, answer),
            Event::Look { life } if self.is_alive(index, life) => self.step(index),
            Event::Stopped { machine }
                if self.nodes[index].machine == machine && self.nodes[index].service == Service::Stopping =>
            {
                self.nodes[index].service = Service::Off;
                self.say(index, "has stopped".to_owned());
            }
            Event::Cross { life } if self.is_alive(index, life) => {
                self.cross(index);
            }
            Event::Finish { life } if self.is_alive(index, life) => self.finish(index),
            Event::Again { life } if self.is_alive(index, life) => self.start_again(index),
            Event::HandOver => self.hand_over(index),
            Event::Hand { life, handoff } if self.is_alive(index, life) => self.hand(index, handoff),
            Event::TakeBack { life } if self.is_alive(index, life) => self.take_back(index),
            Event::Fault => self.fault(),
            Event::Unpause => self.unpause(index),
            Event::Boot => self.boot(index),
            Event::Guard { machine } if self.nodes[index].machine == machine => self.guard(index),
            _ => {}
        }
    }

    fn is_alive(&self, index: usize, life: u64) -> bool {
        self.nodes[index].life == life && self.nodes[index].monitor.is_some()
    }

    /// How long a message takes, if it arrives at all.
    fn delay(&mut self, from: usize, to: usize) -> Option<u64> {
        let lost = self.is_stormy && self.random(100) < 5;
        if lost || self.cut.get(&(from, to)).copied().unwrap_or(false) {
            return None;
        }
        let most = if self.is_stormy && self.random(20) == 0 { 10 * self.late_ms } else { self.late_ms };
        Some(200 + self.random(1000 * most))
    }

    fn send(&mut self, index: usize) {
        self.at(1000 * HEARTBEAT_MS, index, Event::Send);
        if self.nodes[index].paused || self.nodes[index].monitor.is_none() {
            return;
        }
        self.step(index);
        let node = &self.nodes[index];
        let (now, life) = (node.clock(self.now), node.life);
        let beat = node.monitor.as_ref().unwrap().beat(now);
        for to in (0..self.nodes.len()).filter(|to| *to != index).collect::<Vec<_>>() {
            if let Some(delay) = self.delay(index, to) {
                self.at(delay, to, Event::Beat { from: index, sent: now, life, beat: beat.clone() });
            }
        }
    }

    fn heard(&mut self, index: usize, from: usize, sent: Moment, life: u64, beat: &Beat) {
        if self.nodes[index].monitor.is_none() {
            return;
        }
        self.learn(index, from, beat);
        let (now, peer) = (self.nodes[index].clock(self.now), self.names[from].clone());
        let monitor = self.nodes[index].monitor.as_mut().unwrap();
        let answer = monitor.heard(now, &peer, beat);
        if self.broken == Broken::OneWay {
            let promised = Answer { promises: true, beat: beat.clone() };
            monitor.answered(now, &peer, "line", now, &promised);
        }
        if let Some(delay) = self.delay(index, from) {
            self.at(delay, from, Event::Answered { from: index, sent, life, answer });
        }
        self.step(index);
    }

    /// What nodes that see each other tell of settled cutovers.
    fn learn(&mut self, index: usize, from: usize, beat: &Beat) {
        let is_settled = beat.online.as_ref() == Some(&self.names[from]) && beat.generation <= self.nodes[from].generation;
        let node = &mut self.nodes[index];
        let own = node.over.iter().map(|(claim, _)| claim).chain([&node.claim]).flatten();
        let is_later = own.map(|(generation, _)| *generation).max().is_some_and(|own| own > beat.generation);
        if !is_settled || beat.generation <= node.generation || is_later {
            return;
        }
        (node.generation, node.seen, node.online) = (beat.generation, node.seen.max(beat.generation), beat.online.clone());
        node.settle();
        // It stops what it has, and becomes a standby.
        if node.service == Service::On {
            self.stop(index, None);
        }
        self.tell_own(index);
    }

    fn tell_own(&mut self, index: usize) {
        let own = self.nodes[index].own(&self.names);
        if let Some(monitor) = self.nodes[index].monitor.as_mut() {
            monitor.own(own);
        }
    }

    /// Stops as slowly as may be: within the allowance after the right ended, by the node's own clock.
    fn stop(&mut self, index: usize, ended: Option<Moment>) {
        let allowance = LEASE_MS / 2;
        let part = if self.random(3) == 0 { 950 } else { self.random(950) };
        let node = &mut self.nodes[index];
        node.service = Service::Stopping;
        let from = ended.unwrap_or_else(|| node.clock(self.now));
        let until = node.real(from.after(allowance * part / 1000));
        let machine = node.machine;
        self.at(until.saturating_sub(self.now), index, Event::Stopped { machine });
        if until <= self.now {
            self.nodes[index].service = Service::Off;
        }
    }

    fn step(&mut self, index: usize) {
        self.tell_own(index);
        let now = self.nodes[index].clock(self.now);
        let monitor = self.nodes[index].monitor.as_mut().unwrap();
        let right = monitor.right_until();
        let next = monitor.next(now);
        let life = self.nodes[index].life;
        for act in next.acts {
            match act {
                Act::Read => self.ask(index, life, None),
                Act::Swap(asked) => self.ask(index, life, Some(asked)),
                Act::StandDown(why) => self.stand_down(index, right, &why),
                Act::Resume => {
                    self.say(index, "resumes".to_owned());
                    self.resumed += 1;
                    let after = 1000 * self.random(1500);
                    self.at(after, index, Event::Again { life });
                }
                Act::TakeOver { .. } if matches!(self.nodes[index].claim, Some((_, true))) => {
                    let refused = Err("it has it, by a run that is not finished".to_owned());
                    self.nodes[index].monitor.as_mut().unwrap().took_over(now, refused);
                }
                Act::TakeOver { .. } => {
                    let generation = self.next_generation(index);
                    self.say(index, format!("takes over at generation {generation}"));
                    let node = &mut self.nodes[index];
                    node.claim_over(Some((generation, false)), None);
                    node.seen = generation;
                    let (half, whole) = (1000 * self.random(1000), 1000 * (1000 + self.random(1500)));
                    self.at(half, index, Event::Cross { life });
                    self.at(whole, index, Event::Finish { life });
                }
            }
        }
        self.tell_own(index);
        let node = &mut self.nodes[index];
        node.remembered = node.monitor.as_ref().unwrap().right_until();
        let wake = node.real(next.wake);
        if wake != node.wake {
            node.wake = wake;
            self.at(wake.saturating_sub(self.now), index, Event::Look { life });
        }
    }

    fn look(&mut self, index: usize) {
        let life = self.nodes[index].life;
        self.at(0, index, Event::Look { life });
    }

    fn stand_down(&mut self, index: usize, right: Moment, why: &str) {
        self.say(index, format!("stands down: {why}"));
        self.stood_down += 1;
        let now = self.nodes[index].clock(self.now);
        if self.nodes[index].service == Service::On {
            self.stop(index, Some(right.min(now)));
        }
        self.leave_run(index);
        let life = self.nodes[index].life;
        self.at(0, index, Event::TakeBack { life });
    }

    fn ask(&mut self, index: usize, life: u64, asked: Option<Asked>) {
        let witness = self.nodes.len();
        let at = self.nodes[index].clock(self.now);
        self.pending.insert((index, life, at), ());
        if let Some(delay) = self.delay(index, witness) {
            self.at(delay, index, Event::Ask { life, at, asked: asked.clone() });
        }
        let silent = || WitnessError::Unreachable("no answer".to_owned());
        let limit = 1000 * WITNESS_LIMIT_MS;
        let given_up = match asked {
            None => Event::Read { life, at, answer: Err(silent()) },
            Some(asked) => Event::Swapped { life, asked, answer: Err(silent()) },
        };
        self.at(limit, index, given_up);
    }

    /// At the witness.
    fn witness(&mut self, index: usize, life: u64, at: Moment, asked: Option<Asked>) {
        let word = self.word.clone();
        let back = self.delay(self.nodes.len(), index);
        let event = match asked {
            None => Event::Read { life, at, answer: Ok(word) },
            Some(asked) if word == asked.expected => {
                self.word = Some(asked.new.clone());
                Event::Swapped { life, asked, answer: Ok(()) }
            }
            Some(asked) => Event::Swapped { life, asked, answer: Err(WitnessError::Changed(word)) },
        };
        if let Some(back) = back {
            self.at(back, index, event);
        }
    }

    fn swapped(&mut self, index: usize, life: u64, mut asked: Asked, answer: Result<(), WitnessError>) {
        // Whoever gave up does not hear the answer any more.
        if self.pending.remove(&(index, life, asked.at)).is_none() {
            return;
        }
        let now = self.nodes[index].clock(self.now);
        if self.broken == Broken::FromAnswer {
            asked.at = now;
        }
        self.nodes[index].monitor.as_mut().unwrap().swapped(now, asked, answer);
        self.step(index);
    }
}
