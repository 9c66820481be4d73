//! What a node knows of its own part in a group: whether it serves, gets it or gives it, and whether it could take it over.

use std::collections::BTreeMap;

use standin_common::id::{NodeName, SetName};
use standin_config::group::{Failover, Group};
use standin_failover::group::facts::SetView;
use standin_failover::group::state::{Claim, GroupState};
use standin_failover::monitor::Own;
use standin_failover::monitor::gate::Gate;

use super::kept::Kept;
use crate::daemon::group::Desk;

/// What this node knows of its own part now.
pub(super) fn own(here: &NodeName, written: &Group, desk: &Desk, kept: &Kept, gate: &Gate) -> Own {
    let view = desk.local().brief();
    let state = view.state;
    let claim = state.claim.as_ref();
    let to_here = claim.filter(|claim| claim.to.as_ref() == Some(here));
    let gave_up = desk.local().has_stopped_all();
    // What one run has begun here, another one that goes over it may have to stop yet.
    let has_begun = claim.is_some() && gate.has_passed() && !gave_up;
    // Who gave it up to a run, and gets it back by another that goes over that one, has nothing before that one has begun.
    let is_between = to_here.is_some() && !has_begun;
    // From where a run of its own took over, another one brings it away as from where it is online.
    let crossed = crossed(here, desk, &state);
    let is_brought_away = crossed.is_some() && to_here.is_none();
    let serves = (state.online.as_ref() == Some(here) && !is_between) || is_brought_away || has_begun;
    let (generation, online) = match crossed.filter(|_| is_brought_away) {
        Some(claim) => (claim.generation, claim.to.clone()),
        None => (state.generation, state.online.clone()),
    };
    let run = claim.filter(|claim| claim.runner == *here).and_then(|claim| desk.standing(&claim.run));
    let is_abandoned = run.is_some_and(|run| !run.crossed && (run.turned || !run.running));
    let is_source = serves || crossed.is_some();
    Own {
        online,
        settled: !is_brought_away,
        generation: to_here.map_or(generation, |claim| claim.generation),
        seen: state.seen.max(state.generation),
        serves,
        claiming: to_here.is_some() && !serves && !is_abandoned,
        handing_to: claim.and_then(|claim| claim.to.clone()).filter(|to| to != here),
        gave_up,
        stopping: false,
        runner: claim.map(|claim| claim.runner.clone()),
        crossed: run.is_some_and(|run| run.crossed),
        claimed: claim.map(|claim| claim.generation),
        stalled: run.is_some_and(|run| !run.running),
        unready: unready(here, &view.sets, is_source),
        accept_loss_ms: written.accept_loss_ms,
        behind_ms: behind_ms(here, &view.sets).filter(|_| serves),
        stands_down: kept.stands_down,
        takes_over: kept.takes_over && written.failover == Failover::Automatic,
    }
}

/// The last run of this node that took over here and is not finished, though another one may have gone over it.
fn crossed<'a>(here: &NodeName, desk: &Desk, state: &'a GroupState) -> Option<&'a Claim> {
    let is_crossed = |claim: &&Claim| desk.standing(&claim.run).is_some_and(|run| run.crossed);
    state.claims().filter(|claim| claim.runner == *here && claim.to.as_ref() == Some(here)).filter(is_crossed).last()
}

/// Why this node could not take over; empty if it could.
fn unready(here: &NodeName, sets: &BTreeMap<SetName, SetView>, is_source: bool) -> String {
    let why = |(set, view): (&SetName, &SetView)| match view {
        SetView::Unknown(why) => Some(format!("how set {set} stands here cannot be seen: {why}")),
        // All that it ever had is here.
        SetView::Known { source, .. } if source == here && is_source => None,
        SetView::Known { newest: None, .. } => Some(format!("there is no recovery point of set {set} here")),
        SetView::Known { standby, .. } if standby != here => Some(format!("this node is not the standby of set {set}")),
        SetView::Known { .. } => None,
    };
    sets.iter().rev().find_map(why).unwrap_or_default()
}

/// How old what the standbys of this node's sets lack may be at most; none: nobody knows.
fn behind_ms(here: &NodeName, sets: &BTreeMap<SetName, SetView>) -> Option<u64> {
    let of = |view: &SetView| match view {
        SetView::Known { source, behind_ms, .. } if source == here => Some(*behind_ms),
        _ => None,
    };
    sets.values().filter_map(of).try_fold(0, |most, behind_ms| Some(behind_ms?.max(most)))
}
