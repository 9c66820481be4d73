//! The steps of a plan, put in order.

use std::collections::{BTreeMap, BTreeSet};

use standin_common::id::{Generation, NodeName, PointNumber, ResourceName, SetName};

use super::super::facts::{Facts, Stand};
use super::super::graph::{Group, Part};
use super::super::plan::{Action, Step, StepId, Undo};
use super::vouch::Vouch;
use crate::resource::hook;
use crate::witness::raise::Need;

/// How long what only takes note of something may take, in milliseconds.
const NOTE_LIMIT_MS: u64 = 60_000;

/// How long it may take to keep aside what only this node has, in milliseconds.
const ASIDE_LIMIT_MS: u64 = 30 * 60_000;

/// How long the witness is asked where nothing goes on without it, and where the run does, in milliseconds: services are down meanwhile.
const WITNESS_MUST_MS: u64 = 30_000;
const WITNESS_MAY_MS: u64 = 3_000;

/// How long a failback waits for the home node to catch up, in milliseconds: users work meanwhile.
const CATCH_UP_LIMIT_MS: u64 = 7 * 24 * 3_600_000;

/// Collects steps.
pub(super) struct Builder<'a> {
    group: &'a Group,
    facts: &'a Facts,
    /// The nodes that answer; the runner first, then by name.
    there: Vec<NodeName>,
    steps: Vec<Step>,
    claims: Vec<StepId>,
    /// Of the run.
    generation: Generation,
    /// Who is kept from going on before anything is taken over.
    lost: Option<NodeName>,
}

impl<'a> Builder<'a> {
    /// With the claims: first of all, every node that answers knows of the run.
    pub(super) fn new(group: &'a Group, facts: &'a Facts, runner: &NodeName) -> Self {
        let mut there: Vec<NodeName> = facts.there().map(|(node, _)| node.clone()).collect();
        there.sort_by_key(|node| node != runner);
        let (steps, claims, generation) = (Vec::new(), Vec::new(), facts.next_generation());
        let mut builder = Self { group, facts, there, steps, claims, generation, lost: None };
        for node in builder.there.clone() {
            let claim = builder.add(&node, Action::Claim, &builder.claims.clone(), NOTE_LIMIT_MS, Undo::By(Action::Unclaim));
            // The runner's own comes first, so that it knows of the run before anybody else does.
            if builder.claims.is_empty() || node != *runner {
                builder.claims.push(claim);
            }
        }
        builder
    }

    fn add(&mut self, node: &NodeName, action: Action, after: &[StepId], limit_ms: u64, undo: Undo) -> StepId {
        let mut after = after.to_vec();
        after.sort();
        after.dedup();
        self.steps.push(Step { node: node.clone(), action, after, limit_ms, undo, lenient: false });
        StepId(self.steps.len() - 1)
    }

    fn no_way_back(&mut self, id: StepId) {
        if let Some(step) = self.steps.get_mut(id.0) {
            step.undo = Undo::Never;
        }
    }

    fn lenient(&mut self, id: StepId) {
        if let Some(step) = self.steps.get_mut(id.0) {
            step.lenient = true;
        }
    }

    /// Waits until the other side of each set has nearly everything; services go on.
    pub(super) fn catch_up(&mut self, source: &NodeName) {
        let claims = self.claims.clone();
        for set in self.group.sets() {
            let waited = self.add(source, Action::CatchUp(set.clone()), &claims, CATCH_UP_LIMIT_MS, Undo::Nothing);
            self.claims.push(waited);
        }
    }

    /// A node stops everything, each after what needs it, sends the rest if it is to, and is source no longer. Returns all its steps.
    pub(super) fn leave(&mut self, node: &NodeName, drain: bool) -> Vec<StepId> {
        let mut left = Vec::new();
        let stops = self.stops(node, &self.all());
        for part in self.volumes() {
            let (Some(set), mut after) = (part.set.clone(), stops.values().copied().collect::<Vec<_>>()) else { continue };
            after.extend(&self.claims);
            if drain {
                let drained = self.add(node, Action::Drain(set.clone()), &after, part.stop_limit_ms, Undo::Nothing);
                after.push(drained);
            }
            left.push(self.add(node, Action::Retire(set.clone()), &after, NOTE_LIMIT_MS, Undo::By(Action::Release(set))));
        }
        left.extend(stops.into_values());
        left
    }

    /// Whoever takes over keeps this node from going on before that.
    pub(super) fn fences(&mut self, lost: Option<NodeName>) {
        self.lost = lost;
    }

    /// A node becomes source of the sets, and starts everything, each after what it needs. What `other` was, it is the standby then.
    pub(super) fn take(
        &mut self,
        node: &NodeName,
        point: Option<PointNumber>,
        left: Vec<StepId>,
        vouch: Option<Vouch>,
        other: Option<&NodeName>,
    ) {
        let mut before = self.claims.clone();
        before.extend(left);
        let vouch = self.vouch(node, vouch, &mut before);
        // After the witness's word: who is named there may serve, and is not to be switched off.
        if let Some(lost) = self.lost.take() {
            let limit_ms = u64::try_from(hook::FENCE_LIMIT.as_millis()).unwrap_or(u64::MAX);
            let fenced = self.add(node, Action::Fence(lost), &before, limit_ms, Undo::Nothing);
            before.push(fenced);
        }
        let mut started = BTreeMap::new();
        let mut standbys = Vec::new();
        for part in self.volumes() {
            let Some(set) = part.set.clone() else { continue };
            let taken = self.add(node, Action::TakeOver(set.clone(), point), &before, part.start_limit_ms, Undo::Never);
            started.insert(part.name.clone(), taken);
            standbys.push((set, taken));
        }
        // Nothing is started before it is certain that this node takes over.
        before.extend(started.values());
        self.starts(node, &self.all(), &before, &mut started, true);
        let mut turned = Vec::new();
        for (set, taken) in standbys {
            if let Some(other) = other {
                let standby = self.add(other, Action::BecomeStandby(set, self.generation), &[taken], ASIDE_LIMIT_MS, Undo::Never);
                self.lenient(standby);
                turned.push(standby);
            }
        }
        let mut done = started.into_values().collect();
        self.vouch_late(node, vouch, &mut done);
        self.settle(node, done, &turned);
    }

    /// A node starts some of its resources, or all. What was online before is not stopped because something else does not start.
    pub(super) fn start_only(
        &mut self,
        node: &NodeName,
        wanted: &BTreeSet<ResourceName>,
        vouch: Option<Vouch>,
        was_online: bool,
    ) {
        let mut before = self.claims.clone();
        let vouch = self.vouch(node, vouch, &mut before);
        let mut started = BTreeMap::new();
        for part in self.volumes().filter(|part| wanted.contains(&part.name)) {
            let Some(set) = part.set.clone() else { continue };
            let released = self.add(node, Action::Release(set), &before, NOTE_LIMIT_MS, Undo::Nothing);
            started.insert(part.name.clone(), released);
        }
        self.starts(node, wanted, &before, &mut started, !was_online);
        let mut done = started.into_values().collect();
        self.vouch_late(node, vouch, &mut done);
        self.settle(node, done, &[]);
    }

    /// A node stops some of its resources, or all.
    pub(super) fn stop_only(&mut self, node: &NodeName, unwanted: &BTreeSet<ResourceName>) {
        let stops = self.stops(node, unwanted);
        self.settle(node, stops.into_values().collect(), &[]);
    }

    /// A node stops everything, and becomes standby of the sets that another one took over. There is no way back: another one has them.
    pub(super) fn give_up(&mut self, node: &NodeName, sets: Vec<(SetName, Generation)>) {
        self.there.retain(|there| there == node);
        self.steps.retain(|step| step.node == *node);
        self.claims = vec![StepId(0)];
        let stops = self.stops(node, &self.all());
        stops.values().for_each(|stop| self.no_way_back(*stop));
        let mut done: Vec<StepId> = stops.into_values().collect();
        done.extend(&self.claims);
        let mut after = done.clone();
        for (set, since) in sets {
            after.push(self.add(node, Action::BecomeStandby(set, since), &done, ASIDE_LIMIT_MS, Undo::Never));
        }
        self.settle(node, after, &[]);
    }

    /// The witness names a node, after all that stops and before anything that starts; given back if that is for later.
    fn vouch(&mut self, node: &NodeName, vouch: Option<Vouch>, before: &mut Vec<StepId>) -> Option<Vouch> {
        let Vouch { raise, back_to } = match vouch? {
            late if late.raise.need == Need::Later => return Some(late),
            now => now,
        };
        let need = raise.need;
        let limit_ms = if need == Need::Must { WITNESS_MUST_MS } else { WITNESS_MAY_MS };
        let undo = back_to.map_or(Undo::Nothing, |back_to| Undo::By(Action::GiveBack(back_to, need)));
        let raised = self.add(node, Action::Raise(raise), before, limit_ms, undo);
        before.push(raised);
        None
    }

    /// The witness that was silent names a node after everything was started there.
    fn vouch_late(&mut self, node: &NodeName, vouch: Option<Vouch>, done: &mut Vec<StepId>) {
        let Some(Vouch { raise, .. }) = vouch else { return };
        let after = [self.claims.as_slice(), done.as_slice()].concat();
        let raised = self.add(node, Action::Raise(raise), &after, WITNESS_MAY_MS, Undo::Nothing);
        // Whatever it says now, users have their mail.
        self.lenient(raised);
        done.push(raised);
    }

    fn all(&self) -> BTreeSet<ResourceName> {
        self.group.resources.iter().map(|part| part.name.clone()).collect()
    }

    fn volumes(&self) -> impl Iterator<Item = &'a Part> + use<'a> {
        self.group.resources.iter().filter(|part| part.set.is_some())
    }

    /// Stops what is no volume, in reverse order: each after all that needs it, through volumes, too.
    fn stops(&mut self, node: &NodeName, which: &BTreeSet<ResourceName>) -> BTreeMap<ResourceName, StepId> {
        let (group, mut stops) = (self.group, BTreeMap::new());
        for part in group.resources.iter().rev().filter(|part| part.set.is_none() && which.contains(&part.name)) {
            let dependents = group.with_dependents(&part.name);
            let mut after: Vec<StepId> = dependents.iter().filter_map(|name| stops.get(name).copied()).collect();
            after.extend(&self.claims);
            let undo = if self.was_online(node, &part.name) { Undo::By(Action::Start(part.name.clone())) } else { Undo::Nothing };
            stops.insert(part.name.clone(), self.add(node, Action::Stop(part.name.clone()), &after, part.stop_limit_ms, undo));
        }
        stops
    }

    /// Whether a way back brings a resource online again. What was not online before might not start, and need not; what a run that is not
    /// finished has begun to start is for that one, which goes on if this one is taken back.
    fn was_online(&self, node: &NodeName, name: &ResourceName) -> bool {
        let is_over = || self.facts.there().any(|(_, view)| view.unfinished.is_some());
        match self.facts.view(node).and_then(|view| view.resources.get(name)) {
            Some(Stand::Offline) => false,
            Some(Stand::Partly(_)) => !is_over(),
            Some(Stand::Online | Stand::Unknown(_)) | None => true,
        }
    }

    /// Starts what is no volume, each after all that it needs.
    fn starts(
        &mut self,
        node: &NodeName,
        which: &BTreeSet<ResourceName>,
        before: &[StepId],
        started: &mut BTreeMap<ResourceName, StepId>,
        withdraw: bool,
    ) {
        let group = self.group;
        for part in group.resources.iter().filter(|part| part.set.is_none() && which.contains(&part.name)) {
            let needs = group.with_needs(&part.name);
            let mut after: Vec<StepId> = needs.iter().filter_map(|name| started.get(name).copied()).collect();
            after.extend(before);
            let undo = if withdraw { Undo::By(Action::Withdraw(part.name.clone())) } else { Undo::Nothing };
            let id = self.add(node, Action::Start(part.name.clone()), &after, part.start_limit_ms, undo);
            if part.optional {
                self.lenient(id);
            }
            started.insert(part.name.clone(), id);
        }
    }

    /// The node that it is about takes note of the end, then all others that answer.
    fn settle(&mut self, node: &NodeName, mut after: Vec<StepId>, turned: &[StepId]) {
        after.extend(&self.claims);
        let settled = self.add(node, Action::Settle, &after, NOTE_LIMIT_MS, Undo::Never);
        let others: Vec<NodeName> = self.there.iter().filter(|there| *there != node).cloned().collect();
        for other in others {
            // The claim ends with it, so nothing more can be asked of that node.
            let before = [turned, &[settled]].concat();
            let told = self.add(&other, Action::Settle, &before, NOTE_LIMIT_MS, Undo::Never);
            self.lenient(told);
        }
    }

    /// The steps.
    pub(super) fn finish(self) -> Vec<Step> {
        self.steps
    }
}
