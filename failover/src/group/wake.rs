//! What a node does about a group by itself: after its start, and when it hears that others went on without it. Pure.

use standin_common::id::{Generation, GroupName, NodeName, RunId};

use super::facts::{Facts, SetView, Stand};
use super::plan::Plan;
use super::state::Claim;

/// What a node does next about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Nothing.
    Rest,
    /// Nothing before a person says so, and why.
    Wait(String),
    /// It goes on with its own run that was not finished.
    Resume(RunId),
    /// It closes its own run that was not finished: another one went on from there.
    GiveOver(RunId),
    /// It stops everything and becomes a standby: another node took over.
    Rejoin,
    /// It starts what should be online here and is not.
    Online,
}

/// A node's own run that is not finished and not being carried out.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// Its plan.
    pub plan: &'a Plan,
    /// Whether it can only go forward.
    pub is_crossed: bool,
    /// Whether the witness leaves the group to this node now, by itself: then nobody else can have gone on with it.
    pub has_right: bool,
}

/// Decides that for a group. `run` is its own.
pub fn wake(group: &GroupName, here: &NodeName, facts: &Facts, run: Option<Own<'_>>) -> Wake {
    let Some(own) = facts.view(here) else { return Wake::Rest };
    let newest = facts.newest();
    if let Some(run) = run {
        return of_run(facts, run);
    }
    if others_run(here, facts) {
        return Wake::Rest;
    }
    let elsewhere = newest.online.as_ref().is_some_and(|node| node != here);
    let is_source = own.sets.values().any(|set| matches!(set, SetView::Known { source, .. } if source == here));
    if elsewhere
        && (newest.generation > own.state.generation
            || (is_source && newest.online.as_ref().is_some_and(|node| facts.view(node).is_some())))
    {
        return Wake::Rejoin;
    }
    if newest.online.as_ref() != Some(here) {
        return Wake::Rest;
    }
    let off =
        |(name, stand): (&standin_common::id::ResourceName, &Stand)| *stand != Stand::Online && !own.state.down.contains(name);
    let missing = own.resources.iter().any(off);
    match facts.away().next() {
        _ if !missing => Wake::Rest,
        Some((node, why)) => Wake::Wait(format!(
            "it was online here, and whether {node} took over meanwhile cannot be asked ({why}). If it did not, `standin online {group} --force` starts it here"
        )),
        None => Wake::Online,
    }
}

/// Whether a run of another node has the group, and is not over.
fn others_run(here: &NodeName, facts: &Facts) -> bool {
    let claim = facts.view(here).and_then(|view| view.state.claim.as_ref());
    claim.is_some_and(|claim| claim.runner != *here && is_open(claim, facts))
}

/// Whether the run of a claim is not over, as far as its runner can be asked.
fn is_open(claim: &Claim, facts: &Facts) -> bool {
    let runner = facts.view(&claim.runner);
    runner.is_none_or(|view| view.unfinished.as_ref().is_some_and(|unfinished| unfinished.run == claim.run))
}

/// How another run went over one that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overtaken {
    /// None did.
    No,
    /// One did, and is not over: if it is taken back, the first one can go on.
    By(Claim),
    /// For good: a node knows the group at a later generation.
    ForGood(NodeName, Generation),
}

/// Whether another run went over the one of a plan.
pub fn overtaken(facts: &Facts, plan: &Plan) -> Overtaken {
    let reached = facts.there().map(|(node, view)| (node, view.reached().generation)).max_by_key(|(_, reached)| *reached);
    if let Some((node, generation)) = reached.filter(|(_, reached)| *reached > plan.generation()) {
        return Overtaken::ForGood(node.clone(), generation);
    }
    let later = open_claim(facts).filter(|claim| claim.generation > plan.generation());
    later.map_or(Overtaken::No, |claim| Overtaken::By(claim.clone()))
}

/// The claim of the newest run that is not over.
pub fn open_claim(facts: &Facts) -> Option<&Claim> {
    let claims = facts.there().filter_map(|(_, view)| view.state.claim.as_ref());
    claims.filter(|claim| is_open(claim, facts)).max_by_key(|claim| claim.generation)
}

fn of_run(facts: &Facts, own_run: Own<'_>) -> Wake {
    let Own { plan, is_crossed, has_right } = own_run;
    let (run, group) = (plan.run(), &plan.group);
    match overtaken(facts, plan) {
        Overtaken::ForGood(..) => Wake::GiveOver(run.clone()),
        Overtaken::By(Claim { runner, .. }) if facts.view(&runner).is_some() => Wake::Rest,
        Overtaken::By(Claim { run: over, runner, .. }) => Wake::Wait(format!(
            "run {over} of {runner} went over run {run}, which was not finished, and {runner} does not answer: `standin failover {group}` goes on without it"
        )),
        Overtaken::No => match facts.away().next() {
            Some(_) if is_crossed && has_right => Wake::Resume(run.clone()),
            Some((node, why)) => Wake::Wait(format!(
                "run {run} was not finished, and {node} cannot be asked whether it went on without it ({why}): `standin group resume {group}` goes on, `standin group undo {group}` takes it back"
            )),
            None => Wake::Resume(run.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::decide::{Accept, Heed, Wish, decide};
    use super::super::facts::Unfinished;
    use super::super::run::sim::{World, node, run_id};
    use super::*;

    fn plan(world: &World, to: &str) -> Plan {
        let wish = Wish::Failover {
            to: Some(node(to)),
            point: None,
            accept: Accept::Known,
            force: true,
            heed: Heed::Usual,
            fenced: false,
        };
        decide(&world.group, &world.facts(to), &wish, run_id(7)).unwrap()
    }

    #[test]
    fn a_node_that_was_online_asks_first() {
        let world = World::new();
        let wake = |world: &World| wake(&world.group.name, &node("alpha"), &world.facts("alpha"), None);
        assert_eq!(wake(&world), Wake::Rest, "all is well");
        world.with("alpha", |alpha| alpha.online.clear());
        assert_eq!(wake(&world), Wake::Online, "nobody else has it");
        world.with("beta", |beta| beta.lost = true);
        assert!(
            matches!(wake(&world), Wake::Wait(why) if why.contains("beta") && why.contains("`standin online mail --force`")),
            "who cannot be asked might have it"
        );
        world.with("beta", |beta| {
            beta.lost = false;
            beta.state.online = Some(node("beta"));
            beta.state.generation = beta.state.generation.next();
        });
        assert_eq!(wake(&world), Wake::Rejoin, "it was taken over");
    }

    #[test]
    fn what_was_taken_offline_stays_so() {
        let world = World::new();
        world.with("alpha", |alpha| {
            let smtp = "smtp".parse().unwrap();
            alpha.online.remove(&smtp);
            alpha.state.down = vec![smtp];
        });
        assert_eq!(wake(&world.group.name, &node("alpha"), &world.facts("alpha"), None), Wake::Rest);
    }

    #[test]
    fn a_run_goes_on_only_where_nobody_went_on_without_it() {
        let world = World::new();
        let plan = plan(&world, "beta");
        for name in ["alpha", "beta"] {
            world.with(name, |node| node.state = node.state.claimed(&plan.claim).unwrap());
        }
        let own = |is_crossed, has_right| Own { plan: &plan, is_crossed, has_right };
        let wake_as = |is_crossed, has_right| {
            wake(&world.group.name, &node("beta"), &world.facts("beta"), Some(own(is_crossed, has_right)))
        };
        let wake_beta = || wake_as(false, false);
        assert_eq!(wake_beta(), Wake::Resume(run_id(7)));
        let running = Unfinished { run: run_id(7), running: true, crossed: false };
        world.with("beta", |beta| beta.unfinished = Some(running));
        assert_eq!(wake(&world.group.name, &node("alpha"), &world.facts("alpha"), None), Wake::Rest, "another run has it");
        world.with("alpha", |alpha| alpha.lost = true);
        assert!(matches!(wake_beta(), Wake::Wait(why) if why.contains("`standin group undo mail`")));
        assert!(matches!(wake_as(true, false), Wake::Wait(_)), "the lost node might have gone on");
        assert!(matches!(wake_as(false, true), Wake::Wait(_)), "it could be taken back: a person decides");
        assert_eq!(wake_as(true, true), Wake::Resume(run_id(7)), "the witness says that nobody went on without it");
        world.with("alpha", |alpha| {
            alpha.lost = false;
            alpha.state.seen = alpha.state.seen.next();
        });
        assert_eq!(wake_beta(), Wake::Resume(run_id(7)), "one that went over it was taken back");
    }

    #[test]
    fn a_run_that_another_one_went_over_waits_for_the_end_of_that_one() {
        let world = World::new();
        let plan = plan(&world, "beta");
        let over = Claim { run: run_id(8), generation: plan.generation().next(), runner: node("alpha"), to: Some(node("alpha")) };
        for name in ["alpha", "beta"] {
            world.with(name, |node| node.state = node.state.claimed(&plan.claim).unwrap().claimed(&over).unwrap());
        }
        let wake_beta = || {
            let own = Own { plan: &plan, is_crossed: true, has_right: true };
            wake(&world.group.name, &node("beta"), &world.facts("beta"), Some(own))
        };
        let is_at = |crossed| {
            world.with("alpha", |alpha| alpha.unfinished = Some(Unfinished { run: run_id(8), running: false, crossed }));
        };
        is_at(false);
        assert_eq!(wake_beta(), Wake::Rest, "it may still be taken back");
        is_at(true);
        assert_eq!(wake_beta(), Wake::GiveOver(run_id(7)), "it can only go forward");
        is_at(false);
        world.with("alpha", |alpha| alpha.lost = true);
        assert!(matches!(wake_beta(), Wake::Wait(why) if why.contains("`standin failover mail`")), "nobody knows");
        world.with("alpha", |alpha| alpha.lost = false);
        for name in ["alpha", "beta"] {
            world.with(name, |node| node.state = node.state.unclaimed(&over.run));
        }
        world.with("alpha", |alpha| alpha.unfinished = None);
        assert_eq!(wake_beta(), Wake::Resume(run_id(7)), "it was taken back");
        world.with("alpha", |alpha| alpha.state.generation = over.generation);
        assert_eq!(wake_beta(), Wake::GiveOver(run_id(7)), "it was settled");
    }
}
