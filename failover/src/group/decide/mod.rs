//! What a cutover does, or why it may not be: a pure decision from what the nodes said.

mod build;
mod refuse;
#[cfg(test)]
mod tests;
mod vouch;
#[cfg(test)]
mod vouch_tests;

use serde::{Deserialize, Serialize};
use standin_common::id::{Generation, NodeName, PointNumber, ResourceName, RunId, SetName};

use super::facts::{Facts, LastHeard, SetView, Unfinished, View};
use super::graph::Group;
use super::plan::{Kind, Loss, PLAN_SCHEMA, Plan};
use super::state::Claim;
use build::Builder;
pub use refuse::Refusal;
pub(crate) use refuse::words;
pub use vouch::Heed;
use vouch::vouch;

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// Another node takes over.
    Failover {
        /// Which; `None`: the first by priority that answers.
        to: Option<NodeName>,
        /// At this recovery point; `None`: the newest.
        point: Option<PointNumber>,
        /// How much may be lost.
        accept: Accept,
        /// Although the node that has the group answers.
        force: bool,
        /// What the witness has to say.
        #[serde(default)]
        heed: Heed,
        /// Whether the lost node was kept from going on already, or a person made sure that it does not: then the group's fence is not run.
        #[serde(default)]
        fenced: bool,
    },
    /// The node that has the group hands it over.
    Handoff {
        /// To whom.
        to: NodeName,
        /// However much is yet to be sent while services are down.
        force: bool,
    },
    /// Home, once home has everything again.
    Failback,
    /// Online where it belongs: all of it, or this and what it needs.
    Online {
        /// Only this.
        resource: Option<ResourceName>,
        /// Although not all nodes can be asked whether it is online there.
        force: bool,
        /// What the witness has to say.
        #[serde(default)]
        heed: Heed,
    },
    /// Offline: all of it, or this and what needs it.
    Offline {
        /// Only this.
        resource: Option<ResourceName>,
    },
    /// The runner gives up what it had before another node took over.
    Rejoin,
}

/// How much a failover may lose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accept {
    /// Whatever it is, as long as it is known.
    #[default]
    Known,
    /// What changed within so many milliseconds.
    AtMost(u64),
    /// Whatever it is, known or not.
    Any,
}

/// How old what the standby lacks may be at most for a handoff, in milliseconds: services are down while the rest is sent.
pub const MOST_BEHIND_MS: u64 = 10 * 60 * 1000;

/// Who has to carry out a wish: the node that the group goes to, as it is the one that must not die.
///
/// # Errors
/// [`Refusal`] where there is none.
pub fn runner(group: &Group, facts: &Facts, wish: &Wish) -> Result<NodeName, Refusal> {
    match wish {
        Wish::Failover { to: Some(to), .. } | Wish::Handoff { to, .. } => member(group, to),
        Wish::Failover { to: None, .. } => {
            // A run of somebody who is lost may have brought the group there.
            let has_it = stranded(facts).and_then(|claim| claim.to.clone()).or(facts.newest().online);
            let others = group.by_priority().into_iter().filter(|node| has_it.as_ref() != Some(*node));
            let there = others.filter(|node| facts.view(node).is_some()).map(NodeName::clone).next();
            there.ok_or_else(|| match has_it.filter(|node| facts.view(node).is_some()) {
                Some(node) => Refusal::There { group: group.name.clone(), node },
                None => Refusal::NobodyThere(group.name.clone()),
            })
        }
        Wish::Failback => {
            group.by_priority().first().map(|node| (*node).clone()).ok_or_else(|| Refusal::NobodyThere(group.name.clone()))
        }
        Wish::Online { .. } => seat(group, facts),
        Wish::Offline { .. } => facts.newest().online.ok_or_else(|| Refusal::Offline(group.name.clone())),
        Wish::Rejoin => Ok(facts.runner.clone()),
    }
}

/// The plan of a wish, to be carried out by the one who asked for the facts.
///
/// # Errors
/// [`Refusal`]: why it may not be.
pub fn decide(group: &Group, facts: &Facts, wish: &Wish, run: RunId) -> Result<Plan, Refusal> {
    let runner = runner(group, facts, wish)?;
    if runner != facts.runner {
        return Err(Refusal::OtherRunner(runner));
    }
    let maker = Maker { group, facts, run };
    match wish {
        Wish::Failover { point, accept, force, heed, fenced, .. } => maker.failover((*point, *accept), *force, heed, *fenced),
        Wish::Handoff { force, .. } => maker.handoff(Kind::Handoff, *force),
        Wish::Failback => maker.handoff(Kind::Failback, true),
        Wish::Online { resource, force, heed } => maker.online(resource.as_ref(), *force, heed),
        Wish::Offline { resource } => maker.offline(resource.as_ref()),
        Wish::Rejoin => maker.rejoin(),
    }
}

/// The claim of a run whose runner does not answer.
pub fn stranded(facts: &Facts) -> Option<&Claim> {
    let claims = facts.there().filter_map(|(_, view)| view.state.claim.as_ref());
    claims.filter(|claim| facts.view(&claim.runner).is_none()).max_by_key(|claim| claim.generation)
}

fn member(group: &Group, node: &NodeName) -> Result<NodeName, Refusal> {
    if group.has_node(node) { Ok(node.clone()) } else { Err(Refusal::NoMember(group.name.clone(), node.clone())) }
}

/// Where a group belongs now: where it is online, else where its sets are written, else at home.
fn seat(group: &Group, facts: &Facts) -> Result<NodeName, Refusal> {
    let state = facts.newest();
    let claimed = state.claim.and_then(|claim| claim.to);
    let sources = facts.there().flat_map(|(_, view)| view.sets.values()).filter_map(|set| match set {
        SetView::Known { generation, source, .. } => Some((*generation, source.clone())),
        SetView::Unknown(_) => None,
    });
    let source = sources.max_by_key(|(generation, _)| *generation).map(|(_, source)| source);
    let home = || group.by_priority().first().map(|node| (*node).clone());
    state.online.or(claimed).or(source).or_else(home).ok_or_else(|| Refusal::NobodyThere(group.name.clone()))
}

/// What a cutover may go over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    /// No run that is not finished.
    Nothing,
    /// One that can only go forward, if nobody carries it out now.
    Crossed,
    /// Any that nobody carries out now.
    All,
}

/// Makes one plan.
struct Maker<'a> {
    group: &'a Group,
    facts: &'a Facts,
    run: RunId,
}

impl Maker<'_> {
    fn here(&self) -> &NodeName {
        &self.facts.runner
    }

    fn view(&self, node: &NodeName) -> Result<&View, Refusal> {
        self.facts.view(node).ok_or_else(|| {
            let why = self.facts.away().find(|(away, _)| *away == node).map(|(_, why)| why.to_owned()).unwrap_or_default();
            Refusal::Unreachable { node: node.clone(), why }
        })
    }

    /// Runs that are not finished keep others out, unless what is asked for may go over them: a handoff over one that only needs its
    /// end where the group is now, a failover over any that nobody carries out.
    fn free(&self, over: Over) -> Result<(), Refusal> {
        for (node, view) in self.facts.there() {
            if let Some(Unfinished { run, running, crossed }) = view.unfinished.clone() {
                let may = match over {
                    Over::Nothing => false,
                    Over::Crossed => crossed,
                    Over::All => true,
                };
                if running || !may {
                    return Err(Refusal::Unfinished { group: self.group.name.clone(), run, node: node.clone(), running });
                }
            }
        }
        match stranded(self.facts) {
            Some(Claim { run, runner, .. }) if over != Over::All => {
                Err(Refusal::Stranded { run: run.clone(), runner: runner.clone(), group: self.group.name.clone() })
            }
            _ => Ok(()),
        }
    }

    fn failover(
        &self,
        (point, accept): (Option<PointNumber>, Accept),
        force: bool,
        heed: &Heed,
        fenced: bool,
    ) -> Result<Plan, Refusal> {
        let group = self.group.name.clone();
        let here = self.here().clone();
        self.free(Over::All)?;
        let online = self.facts.newest().online.ok_or_else(|| Refusal::Offline(group.clone()))?;
        // A run of somebody who is lost may have brought the group there.
        let taken_to = stranded(self.facts).and_then(|claim| claim.to.clone()).filter(|to| *to != here);
        let was_here = online == here;
        let from =
            if was_here { taken_to.ok_or_else(|| Refusal::There { group: group.clone(), node: here.clone() })? } else { online };
        let alive = self.facts.view(&from).is_some();
        if alive && !force {
            return Err(Refusal::Alive { group, node: from, to: here });
        }
        if self.facts.heard.contains(&from) && !force {
            let why = self.facts.away().find(|(node, _)| **node == from).map(|(_, why)| why.to_owned()).unwrap_or_default();
            return Err(Refusal::Heard { group, node: from, why });
        }
        let heard = self.facts.last_heard.get(&from).copied();
        let loss = self.loss(&here, (point, accept), was_here, heard)?;
        let vouch = vouch(self.group, self.facts, Some(&from), &here, heed)?;
        let mut builder = Builder::new(self.group, self.facts, &here);
        let left = if alive { builder.leave(&from, false) } else { Vec::new() };
        builder.fences((self.group.fences && !alive && !fenced).then(|| from.clone()));
        builder.take(&here, point, left, vouch, alive.then_some(&from));
        Ok(self.plan(Kind::Failover, Some(from), Some(here), Some(loss), Vec::new(), builder))
    }

    /// What a failover to this node loses, if that is accepted.
    fn loss(
        &self,
        here: &NodeName,
        (point, accept): (Option<PointNumber>, Accept),
        was_source: bool,
        heard: Option<LastHeard>,
    ) -> Result<Loss, Refusal> {
        let view = self.view(here)?;
        let heard_ms = heard.map(|heard| heard.ms);
        let mut loss = Loss { points: Vec::new(), behind_ms: Some(0), heard_ms };
        for set in self.group.sets() {
            match view.sets.get(set) {
                // It was source when the runner was lost: all that it ever had is here.
                Some(SetView::Known { source, .. }) if was_source && source == here => loss.points.push((set.clone(), point)),
                Some(SetView::Known { standby, .. }) if standby != here => {
                    return Err(Refusal::NoStandby { set: set.clone(), node: here.clone() });
                }
                Some(SetView::Known { newest: None, trouble, .. }) => {
                    return Err(Refusal::NoPoint { set: set.clone(), node: here.clone(), why: trouble.clone() });
                }
                Some(SetView::Known { newest: Some(newest), .. }) if point.is_some_and(|point| point > *newest) => {
                    return Err(Refusal::LaterPoint { set: set.clone(), newest: *newest });
                }
                Some(SetView::Known { behind_ms, .. }) => {
                    loss.points.push((set.clone(), point));
                    let at_loss_ms = behind_ms.map(|ms| heard.map_or(ms, |heard| heard.behind_at_loss_ms(ms)));
                    loss.behind_ms = loss.behind_ms.zip(at_loss_ms).map(|(one, other)| one.max(other));
                }
                Some(SetView::Unknown(why)) => {
                    return Err(Refusal::SetUnknown { set: set.clone(), node: here.clone(), why: why.clone() });
                }
                None => {
                    let why = "it is not in the settings there".to_owned();
                    return Err(Refusal::SetUnknown { set: set.clone(), node: here.clone(), why });
                }
            }
        }
        match (accept, loss.behind_ms) {
            (Accept::Known | Accept::AtMost(_), None) => Err(Refusal::LossUnknown),
            (Accept::AtMost(most_ms), Some(behind_ms)) if behind_ms > most_ms => {
                Err(Refusal::Loss { behind_ms, most_ms, heard_ms })
            }
            _ => Ok(loss),
        }
    }

    fn handoff(&self, kind: Kind, however_far: bool) -> Result<Plan, Refusal> {
        let here = self.here().clone();
        self.free(Over::Crossed)?;
        let from = self.facts.newest().online.ok_or_else(|| Refusal::Offline(self.group.name.clone()))?;
        if from == here {
            return Err(Refusal::There { group: self.group.name.clone(), node: here });
        }
        let (source, target) = (self.view(&from)?, self.view(&here)?);
        for set in self.group.sets() {
            for (node, view) in [(&from, source), (&here, target)] {
                let unknown = |why: String| Refusal::SetUnknown { set: set.clone(), node: node.clone(), why };
                match view.sets.get(set) {
                    Some(SetView::Known { source, standby, .. }) if *source != from || *standby != here => {
                        return Err(Refusal::OtherRoles {
                            set: set.clone(),
                            node: node.clone(),
                            source_node: source.clone(),
                            standby: standby.clone(),
                        });
                    }
                    Some(SetView::Known { trouble, .. }) if !trouble.is_empty() => {
                        return Err(Refusal::Trouble { set: set.clone(), node: node.clone(), why: trouble.clone() });
                    }
                    Some(SetView::Known { behind_ms, .. }) if *node == from && !however_far => {
                        let behind_ms = behind_ms.ok_or_else(|| Refusal::NotYet(set.clone()))?;
                        if behind_ms > MOST_BEHIND_MS {
                            return Err(Refusal::Behind { set: set.clone(), behind_ms });
                        }
                    }
                    Some(SetView::Known { .. }) => {}
                    Some(SetView::Unknown(why)) => return Err(unknown(why.clone())),
                    None => return Err(unknown("it is not in the settings there".to_owned())),
                }
            }
        }
        let vouch = vouch(self.group, self.facts, Some(&from), &here, &Heed::Usual)?;
        let mut builder = Builder::new(self.group, self.facts, &here);
        if kind == Kind::Failback {
            builder.catch_up(&from);
        }
        let left = builder.leave(&from, true);
        builder.take(&here, None, left, vouch, Some(&from));
        Ok(self.plan(kind, Some(from), Some(here), None, Vec::new(), builder))
    }

    fn online(&self, resource: Option<&ResourceName>, force: bool, heed: &Heed) -> Result<Plan, Refusal> {
        let here = self.here().clone();
        self.free(Over::Nothing)?;
        let state = self.facts.newest();
        if let Some((node, why)) = self.facts.away().find(|_| !force) {
            return Err(Refusal::NotAsked { group: self.group.name.clone(), node: node.clone(), why: why.to_owned() });
        }
        for set in self.group.sets() {
            match self.view(&here)?.sets.get(set) {
                Some(SetView::Known { source, .. }) if *source == here => {}
                Some(SetView::Known { source, .. }) => {
                    return Err(Refusal::Elsewhere { set: set.clone(), source_node: source.clone(), node: here.clone() });
                }
                _ => return Err(Refusal::NoStandby { set: set.clone(), node: here.clone() }),
            }
        }
        let wanted = match resource {
            Some(name) => self.known(name).map(|()| self.group.with_needs(name))?,
            None => self.group.resources.iter().map(|part| part.name.clone()).collect(),
        };
        let mut down: Vec<ResourceName> = match &state.online {
            Some(_) => state.down.clone(),
            None => self.group.resources.iter().map(|part| part.name.clone()).collect(),
        };
        down.retain(|name| !wanted.contains(name));
        // A part of what is online here already moves nothing.
        let is_part = resource.is_some() && state.online.as_ref() == Some(&here);
        let vouch = if is_part { None } else { vouch(self.group, self.facts, state.online.as_ref(), &here, heed)? };
        let mut builder = Builder::new(self.group, self.facts, &here);
        builder.start_only(&here, &wanted, vouch, state.online.is_some());
        Ok(self.plan(Kind::Online, state.online, Some(here), None, down, builder))
    }

    fn offline(&self, resource: Option<&ResourceName>) -> Result<Plan, Refusal> {
        let here = self.here().clone();
        self.free(Over::Nothing)?;
        let state = self.facts.newest();
        let unwanted = match resource {
            Some(name) => self.known(name).map(|()| self.group.with_dependents(name))?,
            None => self.group.resources.iter().map(|part| part.name.clone()).collect(),
        };
        let mut builder = Builder::new(self.group, self.facts, &here);
        builder.stop_only(&here, &unwanted);
        let mut down: Vec<ResourceName> = state.down.iter().filter(|name| !unwanted.contains(*name)).cloned().collect();
        down.extend(unwanted);
        let (to, down) = if resource.is_some() { (Some(here.clone()), down) } else { (None, Vec::new()) };
        Ok(self.plan(Kind::Offline, Some(here), to, None, down, builder))
    }

    fn rejoin(&self) -> Result<Plan, Refusal> {
        let here = self.here().clone();
        let own = &self.view(&here)?.state;
        let newest = self.facts.newest();
        let sets = &self.view(&here)?.sets;
        let is_source = sets.values().any(|set| matches!(set, SetView::Known { source, .. } if *source == here));
        let behind = newest.generation > own.generation || is_source;
        let Some(other) = newest.online.clone().filter(|node| *node != here && behind) else {
            return Err(Refusal::There { group: self.group.name.clone(), node: here });
        };
        let mut builder = Builder::new(self.group, self.facts, &here);
        builder.give_up(&here, self.taken_over(&other));
        let mut plan = self.plan(Kind::Rejoin, Some(here.clone()), Some(other), None, newest.down.clone(), builder);
        // It makes nothing new: it takes note of what the others made.
        plan.claim.generation = newest.generation;
        Ok(plan)
    }

    /// The sets of which another node is source, and since when.
    fn taken_over(&self, other: &NodeName) -> Vec<(SetName, Generation)> {
        let sets = self.facts.view(other).into_iter().flat_map(|view| &view.sets);
        let taken = sets.filter_map(|(set, view)| match view {
            SetView::Known { source, generation, .. } if source == other => Some((set.clone(), *generation)),
            _ => None,
        });
        taken.collect()
    }

    fn known(&self, resource: &ResourceName) -> Result<(), Refusal> {
        let missing = || Refusal::NoResource { group: self.group.name.clone(), resource: resource.clone() };
        self.group.part(resource).map(drop).ok_or_else(missing)
    }

    fn plan(
        &self,
        kind: Kind,
        from: Option<NodeName>,
        to: Option<NodeName>,
        loss: Option<Loss>,
        down: Vec<ResourceName>,
        builder: Builder<'_>,
    ) -> Plan {
        let away = self.facts.away().map(|(node, why)| (node.clone(), why.to_owned())).collect();
        let claim = Claim { run: self.run.clone(), generation: self.facts.next_generation(), runner: self.here().clone(), to };
        let steps = builder.finish();
        Plan { schema: PLAN_SCHEMA, group: self.group.name.clone(), kind, claim, from, away, loss, down, steps }
    }
}
