//! Two nodes in memory that fail on order, watched at each step: at most one is online, and a handoff loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use standin_common::id::{Generation, NodeName, PointNumber, ResourceName, RunId, SetName};

use super::super::facts::{Facts, Seen, SetView, Stand, Unfinished, View};
use super::super::graph::{Group, Member, Part};
use super::super::plan::{Action, Kind};
use super::super::state::GroupState;
use super::super::vouch;
use super::{Done, Failed, Keep, Nodes, Order, Record};
use crate::execute::Clock;
use crate::lines::LinesError;
use crate::witness::raise::Patience;
use crate::witness::sim::SimWitness;
use crate::witness::{Testimony, Word};

/// One attempt.
const PATIENCE: Patience<'static> = Patience { is_over: &|| true, pause: &|| {} };

/// What happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused, and nothing was changed.
    Refused,
    /// Half of it is done, or none: nobody knows.
    Half,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// The node is lost before it does it.
    Dies,
}

/// The nodes of a group.
pub(crate) struct World {
    pub(crate) group: Group,
    /// Its witness, if it has one.
    pub(crate) witness: Option<SimWitness>,
    inner: Mutex<Inner>,
}

#[derive(Clone, Debug, Default)]
struct Inner {
    nodes: BTreeMap<NodeName, SimNode>,
    faults: Vec<(NodeName, Action, Fault)>,
    unix_ms: u64,
    /// What was asked, in order.
    asked: Vec<(NodeName, Action)>,
    /// Whether something happened that must not: the run takes a panic for a step that failed.
    broken: bool,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SimNode {
    pub(crate) lost: bool,
    pub(crate) state: GroupState,
    pub(crate) online: BTreeSet<ResourceName>,
    pub(crate) sets: BTreeMap<SetName, SimSet>,
    pub(crate) unfinished: Option<Unfinished>,
    /// Whether it was lost and is back, with nothing running.
    pub(crate) rebooted: bool,
}

/// A node's side of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SimSet {
    pub(crate) generation: Generation,
    pub(crate) source: bool,
    pub(crate) retired: bool,
    /// How many changes it has.
    pub(crate) data: u64,
}

pub(crate) fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

pub(crate) fn part(name: &str, set: Option<&str>, needs: &[&str]) -> Part {
    let needs = needs.iter().map(|name| name.parse().unwrap()).collect();
    let set = set.map(|set| set.parse().unwrap());
    Part { name: name.parse().unwrap(), set, needs, start_limit_ms: 1000, stop_limit_ms: 1000, optional: name == "web" }
}

impl World {
    /// A group of two sets and five other resources, online on alpha.
    pub(crate) fn new() -> Self {
        let parts = vec![
            part("store", Some("mail"), &[]),
            part("spool", Some("queue"), &[]),
            part("ip", None, &[]),
            part("setup", None, &["store"]),
            part("imap", None, &["setup", "ip"]),
            part("smtp", None, &["store", "spool", "ip"]),
            part("web", None, &["imap"]),
        ];
        let members = [("alpha", 1), ("beta", 10)].map(|(name, priority)| Member { node: node(name), priority });
        let group = Group::new("mail".parse().unwrap(), members.to_vec(), parts).unwrap().with_fence(true);
        let state =
            GroupState { generation: Generation(1), seen: Generation(1), online: Some(node("alpha")), ..GroupState::default() };
        let side = |source: bool| SimSet { generation: Generation(1), source, retired: false, data: 10 };
        let sets = |source: bool| group.sets().map(|set| (set.clone(), side(source))).collect();
        let online = group.resources.iter().filter(|part| part.set.is_none()).map(|part| part.name.clone()).collect();
        let alpha = SimNode { state: state.clone(), online, sets: sets(true), ..SimNode::default() };
        let beta = SimNode { state, sets: sets(false), ..SimNode::default() };
        let nodes = [(node("alpha"), alpha), (node("beta"), beta)].into();
        Self { group, witness: None, inner: Mutex::new(Inner { nodes, unix_ms: 1_000_000, ..Inner::default() }) }
    }

    /// The same with a witness that names alpha.
    pub(crate) fn witnessed() -> Self {
        let witness = SimWitness::default();
        witness.lock().word = Some(Word { generation: Generation(1), holder: node("alpha"), renewals: 5 });
        Self { witness: Some(witness), ..Self::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a node.
    pub(crate) fn with<T>(&self, name: &str, change: impl FnOnce(&mut SimNode) -> T) -> T {
        change(self.lock().nodes.get_mut(&node(name)).unwrap())
    }

    /// What is to happen at a step.
    pub(crate) fn fault(&self, node: &NodeName, action: &Action, fault: Fault) {
        self.lock().faults.push((node.clone(), action.clone(), fault));
    }

    /// Nobody fails any more, and everybody is back. A machine that was lost has nothing running.
    pub(crate) fn mend(&self) {
        let mut inner = self.lock();
        inner.faults.clear();
        for node in inner.nodes.values_mut().filter(|node| node.lost) {
            node.lost = false;
            node.rebooted = true;
            node.online.clear();
        }
    }

    /// Whether nothing happened that must not.
    pub(crate) fn is_sound(&self) -> bool {
        !self.lock().broken
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<(NodeName, Action)> {
        self.lock().asked.clone()
    }

    pub(crate) fn facts(&self, runner: &str) -> Facts {
        let inner = self.lock();
        let seen = |name: &NodeName| match &inner.nodes[name] {
            lost if lost.lost => Seen::Away("no answer".to_owned()),
            there => Seen::There(Box::new(self.view(&inner, name, there))),
        };
        let nodes = inner.nodes.keys().map(|name| (name.clone(), seen(name))).collect();
        Facts {
            runner: node(runner),
            nodes,
            heard: Default::default(),
            last_heard: Default::default(),
            witness: self.witness.as_ref().map(|witness| Testimony::of(witness)),
        }
    }

    fn view(&self, inner: &Inner, name: &NodeName, of: &SimNode) -> View {
        let other = inner.nodes.keys().find(|other| *other != name).unwrap();
        let set = |side: &SimSet| {
            let (source, standby) = if side.source { (name, other) } else { (other, name) };
            SetView::Known {
                generation: side.generation,
                source: source.clone(),
                standby: standby.clone(),
                newest: Some(PointNumber(side.data)),
                behind_ms: Some(0),
                trouble: String::new(),
            }
        };
        let stand = |part: &Part| if of.online.contains(&part.name) { Stand::Online } else { Stand::Offline };
        let others = self.group.resources.iter().filter(|part| part.set.is_none());
        View {
            state: of.state.clone(),
            unfinished: of.unfinished.clone(),
            sets: of.sets.iter().map(|(name, side)| (name.clone(), set(side))).collect(),
            resources: others.map(|part| (part.name.clone(), stand(part))).collect(),
            ..View::default()
        }
    }

    /// Panics unless everything is where the group is online, once, and no run has a claim. Who was not told of the end of a run may still
    /// have its claim: the next run goes over it.
    pub(crate) fn assert_whole(&self, at: Option<&str>, context: &str) {
        let newest = self.facts("alpha").newest();
        assert_eq!(newest.online.as_ref().map(NodeName::as_str), at, "{context}");
        if let (Some(witness), Some(at)) = (&self.witness, at) {
            let word = witness.lock().word.clone();
            let names_it = word.as_ref().is_some_and(|word| word.holder.as_str() == at && word.generation >= newest.generation);
            assert!(names_it || witness.lock().away, "{context}: the witness says {word:?}, and {at} has the group: {newest:?}");
        }
        let inner = self.lock();
        for (name, node) in &inner.nodes {
            let is_told = node.state.generation == newest.generation;
            assert!(!is_told || node.state.claim.is_none(), "{context}: {name} is still claimed: {inner:#?}");
            let here = at == Some(name.as_str());
            for part in &self.group.resources {
                match &part.set {
                    // The group counts as online without it.
                    None if part.optional && here => {}
                    None => assert_eq!(node.online.contains(&part.name), here, "{context}: {} on {name}", part.name),
                    Some(set) => {
                        let side = &node.sets[set];
                        assert!(!side.retired || !side.source, "{context}: {set} is retired on {name}");
                        assert!(at.is_none() || side.source == here, "{context}: who is source of {set}: {inner:#?}");
                    }
                }
            }
        }
    }
}

impl Inner {
    /// A service on a node writes; whoever is online works on whole volumes of its own.
    fn watch(&mut self, group: &Group, witness: Option<&SimWitness>) {
        let mut online = Vec::new();
        for (name, node) in &mut self.nodes {
            let services = node.online.iter().filter_map(|name| group.part(name));
            for part in services.filter(|_| !node.lost) {
                online.push(name.clone());
                let sets: Vec<&SetName> = part.needs.iter().filter_map(|need| group.part(need)?.set.as_ref()).collect();
                for set in sets {
                    let side = node.sets.get_mut(set).unwrap();
                    assert!(side.source && !side.retired, "{} runs on {name} without {set}", part.name);
                    side.data += 1;
                }
            }
        }
        online.dedup();
        assert!(online.len() <= 1, "two nodes are online: {online:?}");
        // As who has a group does while it serves.
        if let (Some(witness), Some(online)) = (witness, online.first())
            && let Some(word) = witness.lock().word.as_mut().filter(|word| word.holder == *online)
        {
            word.renewals += 1;
        }
    }

    fn assert_offline_but(&self, name: &NodeName) {
        let online = self.nodes.iter().find(|(other, node)| *other != name && !node.lost && !node.online.is_empty());
        assert!(online.is_none(), "the witness is raised while {online:?} is online");
    }

    fn act(&mut self, name: &NodeName, order: &Order, group: &Group, witness: Option<&SimWitness>) -> Result<Done, Failed> {
        let at = |point| Done { point: Some(point), ..Done::default() };
        let refused = |why: String| Failed { why, unchanged: true };
        let other = self.nodes.keys().find(|other| *other != name).unwrap().clone();
        let state = self.nodes[name].state.clone();
        let next = match &order.action {
            Action::Claim => Some(state.claimed(&order.claim)),
            Action::Unclaim => Some(Ok(state.unclaimed(&order.claim.run))),
            Action::Settle => Some(state.settled(&order.claim, &order.down)),
            _ => None,
        };
        if let Some(next) = next {
            self.nodes.get_mut(name).unwrap().state = next.map_err(|denied| refused(denied.to_string()))?;
            return Ok(Done::default());
        }
        state.permits(&order.claim.run).map_err(|denied| refused(denied.to_string()))?;
        let there = self.nodes[&other].clone();
        let here = self.nodes.get_mut(name).unwrap();
        match &order.action {
            // As a node does it: what is missing of what it needs comes first.
            Action::Start(resource) if here.rebooted => {
                let needs = group.with_needs(resource);
                here.online.extend(needs.into_iter().filter(|need| group.part(need).unwrap().set.is_none()));
            }
            Action::Start(resource) => {
                for need in &group.part(resource).unwrap().needs {
                    let is_set = group.part(need).unwrap().set.is_some();
                    assert!(is_set || here.online.contains(need) || need.as_str() == "web", "{resource} before {need}");
                }
                here.online.insert(resource.clone());
            }
            Action::Stop(resource) | Action::Withdraw(resource) => {
                let later = group.needed_by(resource).find(|part| here.online.contains(&part.name));
                assert_eq!(later.map(|part| &part.name), None, "stopped before what needs it");
                here.online.remove(resource);
            }
            Action::Drain(set) => {
                let data = here.sets[set].data;
                self.nodes.get_mut(&other).unwrap().sets.get_mut(set).unwrap().data = data;
                return if there.lost { Err(refused("the other node is away".into())) } else { Ok(at(PointNumber(data))) };
            }
            Action::Retire(set) => here.sets.get_mut(set).unwrap().retired = true,
            Action::Release(set) => {
                let side = here.sets.get_mut(set).unwrap();
                assert!(side.source, "released, and is no source");
                side.retired = false;
            }
            Action::TakeOver(set, _) => {
                let side = here.sets.get_mut(set).unwrap();
                let lossless = matches!(order.kind, Kind::Handoff | Kind::Failback);
                assert!(!lossless || side.source || side.data == there.sets[set].data, "a handoff lost something");
                let (source, generation) = (true, order.claim.generation);
                *side = SimSet { generation, source, retired: false, data: side.data };
                return Ok(at(PointNumber(side.data)));
            }
            Action::BecomeStandby(set, since) => {
                assert!(there.sets[set].source && there.sets[set].generation == *since, "nobody is source since then");
                let (source, generation) = (false, *since);
                *here.sets.get_mut(set).unwrap() = SimSet { generation, source, retired: false, data: there.sets[set].data };
            }
            Action::Fence(lost) => assert!(self.nodes[lost].lost, "{lost} is fenced, and is there"),
            Action::CatchUp(_) | Action::Claim | Action::Unclaim | Action::Settle => {}
            Action::Raise(asked) => {
                self.assert_offline_but(name);
                return vouch::raise(witness.unwrap(), name, order, asked, &PATIENCE);
            }
            Action::GiveBack(holder, need) => return vouch::give_back(witness.unwrap(), order, holder, *need, &PATIENCE),
        }
        Ok(Done::default())
    }
}

impl Nodes for World {
    fn perform(&self, name: &NodeName, order: &Order, _: &(dyn Fn() -> bool + Sync)) -> Result<Done, Failed> {
        let mut inner = self.lock();
        assert!(!inner.broken, "something happened that must not");
        inner.broken = true;
        inner.unix_ms += 10;
        inner.asked.push((name.clone(), order.action.clone()));
        let fault = inner.faults.iter().position(|(node, action, _)| node == name && *action == order.action);
        let fault = fault.map(|place| inner.faults.remove(place).2);
        let done = self.answer(&mut inner, name, order, fault);
        inner.broken = false;
        done
    }
}

impl World {
    fn answer(&self, inner: &mut Inner, name: &NodeName, order: &Order, fault: Option<Fault>) -> Result<Done, Failed> {
        let unsure = |why: &str| Failed { why: why.to_owned(), unchanged: false };
        match fault {
            Some(Fault::Refused) => return Err(Failed { why: "refused on order".to_owned(), unchanged: true }),
            Some(Fault::Half) => return Err(unsure("half of it on order")),
            Some(Fault::Dies) => inner.nodes.get_mut(name).unwrap().lost = true,
            _ => {}
        }
        if inner.nodes[name].lost {
            return Err(unsure("no answer"));
        }
        let done = inner.act(name, order, &self.group, self.witness.as_ref());
        inner.watch(&self.group, self.witness.as_ref());
        match fault {
            Some(Fault::AnswerLost) => Err(unsure("the answer was lost on order")),
            _ => done,
        }
    }
}

impl Clock for World {
    fn now(&self) -> Duration {
        Duration::from_millis(self.unix_ms())
    }

    fn sleep(&self, pause: Duration) {
        self.lock().unix_ms += pause.as_millis() as u64;
    }

    fn unix_ms(&self) -> u64 {
        self.lock().unix_ms
    }
}

/// A journal in memory whose process dies on order.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) records: std::sync::Arc<Mutex<Vec<Record>>>,
    /// At which record from now, and whether that one is durable.
    pub(crate) dies_at: Option<(usize, bool)>,
}

impl Keep for Memory {
    fn append(&mut self, record: &Record) -> Result<(), LinesError> {
        let dead = || LinesError::Exists("the process is dead".into());
        let mut records = self.records.lock().unwrap();
        match &mut self.dies_at {
            Some((0, durable)) => {
                if std::mem::take(durable) {
                    records.push(record.clone());
                }
                return Err(dead());
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        records.push(record.clone());
        Ok(())
    }
}

pub(crate) fn run_id(number: u64) -> RunId {
    format!("run-{number}").parse().unwrap()
}
