//! What each node keeps of a group, durably: where it is online, and which run is allowed to change that.
//!
//! A run *claims* a group on every node that it works with, before anything else. While a claim holds, a node does what that run
//! asks and nothing of its own, and no other run is heard unless its generation is higher. So a runner that comes back after
//! somebody else went on without it is refused everywhere. If that one is taken back, the claim that it went over holds again: what the
//! first run had begun is still to be finished.

use serde::{Deserialize, Serialize};
use standin_common::id::{Generation, NodeName, ResourceName, RunId};

/// A node's knowledge of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    /// Of the last run that was settled.
    pub generation: Generation,
    /// The highest that any run claimed, settled or not; none is ever used twice.
    pub seen: Generation,
    /// Where the group is online, as far as the last settled run tells.
    pub online: Option<NodeName>,
    /// What was taken offline by itself, and stays so until it is asked for.
    pub down: Vec<ResourceName>,
    /// The run that is under way.
    pub claim: Option<Claim>,
    /// The runs that it went over, the first one first: none of them is finished, unless this node was not told.
    #[serde(default)]
    pub over: Vec<Claim>,
}

/// A run's right to change where a group is online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Which run.
    pub run: RunId,
    /// The generation of what it makes.
    pub generation: Generation,
    /// Who carries it out, and has its journal.
    pub runner: NodeName,
    /// Where the group will be online, if anywhere.
    pub to: Option<NodeName>,
}

/// Why a node does not do what a run asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Denied {
    /// Another run has the group.
    #[error("run {run} of {runner} has the group at generation {generation}: let that one finish, or resume or undo it there")]
    Claimed {
        /// Which.
        run: RunId,
        /// Whose.
        runner: NodeName,
        /// At which generation.
        generation: Generation,
    },
    /// A higher or equal generation is known.
    #[error("generation {seen} of the group is known here, so a run of generation {asked} is out of date")]
    Old {
        /// The one that is known.
        seen: Generation,
        /// The run's.
        asked: Generation,
    },
    /// The run has no claim here any more.
    #[error("run {0} has no claim on the group here (any more): somebody settled it without this run")]
    NotYours(RunId),
}

impl GroupState {
    /// With the claim of a run; the same again changes nothing.
    ///
    /// # Errors
    /// [`Denied`] where another run is as high.
    pub fn claimed(&self, claim: &Claim) -> Result<Self, Denied> {
        // Who only takes note of what others settled comes with their generation.
        let follows = claim.to.as_ref().is_some_and(|to| *to != claim.runner);
        let too_low = |known: Generation| known > claim.generation || (known == claim.generation && !follows);
        match &self.claim {
            Some(own) if own == claim => return Ok(self.clone()),
            Some(other) if too_low(other.generation) => {
                let Claim { run, runner, generation, .. } = other.clone();
                return Err(Denied::Claimed { run, runner, generation });
            }
            // What others settled may be below a run that was taken back.
            _ if follows && claim.generation >= self.generation => {}
            _ if too_low(self.seen) => return Err(Denied::Old { seen: self.seen, asked: claim.generation }),
            _ => {}
        }
        let over = self.claims().cloned().collect();
        Ok(Self { seen: self.seen.max(claim.generation), claim: Some(claim.clone()), over, ..self.clone() })
    }

    /// All claims that this node knows of, the one that holds last.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.over.iter().chain(&self.claim)
    }

    /// Whether a run may do something here.
    ///
    /// # Errors
    /// [`Denied::NotYours`].
    pub fn permits(&self, run: &RunId) -> Result<(), Denied> {
        let yours = self.claim.as_ref().is_some_and(|claim| claim.run == *run);
        if yours { Ok(()) } else { Err(Denied::NotYours(run.clone())) }
    }

    /// Without the claim of a run that was taken back: that of the run that it went over holds again.
    pub fn unclaimed(&self, run: &RunId) -> Self {
        let mut over: Vec<Claim> = self.claims().filter(|claim| claim.run != *run).cloned().collect();
        let claim = over.pop();
        Self { claim, over, ..self.clone() }
    }

    /// After a run: what it made holds, and the claim is gone. The same again changes nothing.
    ///
    /// # Errors
    /// [`Denied::NotYours`] where the run neither has the claim nor settled it before.
    pub fn settled(&self, claim: &Claim, down: &[ResourceName]) -> Result<Self, Denied> {
        let (generation, online) = (claim.generation, claim.to.clone());
        let after = Self { generation, seen: self.seen, online, down: down.to_vec(), claim: None, over: Vec::new() };
        if *self == after {
            return Ok(after);
        }
        self.permits(&claim.run)?;
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(run: &str, generation: u64, to: &str) -> Claim {
        let to: NodeName = to.parse().unwrap();
        Claim { run: run.parse().unwrap(), generation: Generation(generation), runner: to.clone(), to: Some(to) }
    }

    #[test]
    fn one_run_at_a_time_and_a_higher_generation_goes_before() {
        let (first, second) = (claim("r1", 1, "a"), claim("r2", 2, "b"));
        let state = GroupState::default().claimed(&first).unwrap();
        assert_eq!(state.claimed(&first).unwrap(), state, "again changes nothing");
        assert!(matches!(state.claimed(&claim("r3", 1, "b")), Err(Denied::Claimed { .. })));
        let taken = state.claimed(&second).unwrap();
        assert!(taken.permits(&first.run).is_err(), "the first is not heard any more");
        assert!(taken.settled(&first, &[]).is_err());
        let settled = taken.settled(&second, &[]).unwrap();
        assert_eq!(settled.settled(&second, &[]).unwrap(), settled, "again changes nothing");
        assert_eq!(settled.online, Some("b".parse().unwrap()));
        assert!(matches!(settled.claimed(&first), Err(Denied::Old { .. })));
    }

    #[test]
    fn a_run_that_was_taken_back_leaves_only_its_number() {
        let before = GroupState::default().claimed(&claim("r1", 1, "a")).unwrap().settled(&claim("r1", 1, "a"), &[]).unwrap();
        let claimed = before.claimed(&claim("r2", 2, "b")).unwrap();
        let back = claimed.unclaimed(&"r2".parse().unwrap());
        assert_eq!(back, GroupState { seen: Generation(2), ..before.clone() });
        assert!(back.claimed(&claim("r3", 2, "b")).is_err(), "no generation is used twice");
        assert_eq!(claimed.unclaimed(&"r9".parse().unwrap()), claimed, "only its own");
    }

    #[test]
    fn who_takes_note_of_what_was_settled_may_have_heard_of_a_later_run_that_was_taken_back() {
        let (first, second) = (claim("r1", 1, "b"), claim("r2", 2, "a"));
        let here = GroupState::default().claimed(&first).unwrap().claimed(&second).unwrap().unclaimed(&second.run);
        let rejoin = Claim { runner: "a".parse().unwrap(), ..claim("r3", 1, "b") };
        let after = here.claimed(&rejoin).unwrap().settled(&rejoin, &[]).unwrap();
        let online = Some("b".parse().unwrap());
        assert_eq!(after, GroupState { generation: Generation(1), seen: Generation(2), online, ..GroupState::default() });
        let under_way = here.claimed(&claim("r4", 3, "a")).unwrap();
        assert!(matches!(under_way.claimed(&rejoin), Err(Denied::Claimed { .. })), "not while a later one is under way");
        let later = GroupState { generation: Generation(2), ..here };
        assert!(matches!(later.claimed(&rejoin), Err(Denied::Old { .. })), "nor below what was settled here");
    }

    #[test]
    fn what_a_run_went_over_holds_again_when_it_is_taken_back() {
        let (first, second, third) = (claim("r1", 1, "a"), claim("r2", 2, "b"), claim("r3", 3, "a"));
        let one = GroupState::default().claimed(&first).unwrap();
        let two = one.claimed(&second).unwrap();
        assert_eq!(two.unclaimed(&second.run), GroupState { seen: Generation(2), ..one.clone() });
        let three = two.claimed(&third).unwrap();
        assert_eq!(three.claimed(&third).unwrap(), three, "again changes nothing");
        assert!(three.claimed(&first).is_err() && three.permits(&first.run).is_err());
        let without_second = three.unclaimed(&second.run);
        assert_eq!((&without_second.claim, &without_second.over), (&Some(third.clone()), &vec![first.clone()]));
        assert_eq!(without_second.unclaimed(&third.run).claim, Some(first.clone()));
        assert_eq!(three.settled(&third, &[]).unwrap().claims().count(), 0, "nothing comes back after an end");
        let back = three.unclaimed(&third.run).unclaimed(&second.run);
        assert!(back.settled(&first, &[]).is_ok_and(|state| state.seen == Generation(3)), "the first one can be finished");
    }
}
