//! What is waited for before a change counts as safe. Pure: positions and times come in, what becomes of whoever waits goes out.
//!
//! A flush of an application waits for the position of its last change, `standin point --wait` for that of its point. Positions only
//! grow, and the standby acknowledges all up to one at once; so many waiters share one sync and one round trip without a word of it here.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use standin_config::{Acknowledge, OnDisconnect, Set};

use crate::words;

/// How long a standby may be away before those who need not wait for it are let go: a path that is dialled again, or a daemon that
/// restarts, is no reason to say that something was not met.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// What is waited for, and what becomes of whoever waits while the standby cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What is waited for.
    pub acknowledge: Acknowledge,
    /// What becomes of whoever waits.
    pub on_disconnect: OnDisconnect,
}

/// What the source knows of the standby. Positions are of whatever kind the log counts in; only their order matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standby<P> {
    /// Everything up to here is in its memory; `None` for nothing.
    pub received: Option<P>,
    /// Everything up to here is on its disk; `None` for nothing.
    pub durable: Option<P>,
    /// Whether it takes what is sent.
    pub reach: Reach,
}

/// Whether the standby takes what is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// It does.
    Reached,
    /// It has not been reached for so long.
    Away(Duration),
    /// Nothing is sent until a person acts, for this reason: it is paused, held, or bad.
    Held(String),
}

/// What becomes of somebody who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// What they wait for is reached: they go on.
    Release,
    /// They wait. To be asked again when something changes, and at the latest after the time given.
    Hold(Option<Duration>),
    /// They go on although it is not reached, for this reason.
    ReleaseUnmet(String),
}

/// Whether the acknowledgement is being met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// Nobody is let go without what was promised.
    pub yes: bool,
    /// Whoever waits does so until the standby takes what is sent again.
    pub holds: bool,
    /// What that means now, for people.
    pub words: String,
}

impl Policy {
    /// As the settings of a set say.
    pub fn of(set: &Set) -> Self {
        Self { acknowledge: set.acknowledge, on_disconnect: set.on_disconnect }
    }

    /// What becomes of somebody who waits for everything up to `waits_for`.
    pub fn verdict<P: Ord>(&self, waits_for: &P, standby: &Standby<P>) -> Verdict {
        let is_at = |position: &Option<P>| position.as_ref().is_some_and(|position| waits_for <= position);
        let reached = match self.acknowledge {
            Acknowledge::Local => true,
            // What is on disk was received, whatever a standby that restarted has in memory.
            Acknowledge::Received => is_at(&standby.received) || is_at(&standby.durable),
            Acknowledge::Durable => is_at(&standby.durable),
        };
        if reached {
            return Verdict::Release;
        }
        match (&standby.reach, self.on_disconnect) {
            (Reach::Reached, _) | (_, OnDisconnect::Block) => Verdict::Hold(None),
            (Reach::Away(away), OnDisconnect::Continue) if *away < PATIENCE => Verdict::Hold(Some(PATIENCE - *away)),
            (reach, OnDisconnect::Continue) => Verdict::ReleaseUnmet(reach.why()),
        }
    }

    /// Whether it is being met now.
    pub fn met<P>(&self, standby: &Standby<P>) -> Met {
        let where_ = match self.acknowledge {
            Acknowledge::Local => {
                return Met {
                    yes: true,
                    holds: false,
                    words: "nothing waits for the standby, as `acknowledge` is \"local\"".to_owned(),
                };
            }
            Acknowledge::Received => "in the standby's memory",
            Acknowledge::Durable => "on the standby's disk",
        };
        match (&standby.reach, self.on_disconnect) {
            (Reach::Reached, _) => Met { yes: true, holds: false, words: format!("what is acknowledged is {where_}") },
            (Reach::Away(away), OnDisconnect::Continue) if *away < PATIENCE => {
                Met { yes: true, holds: false, words: format!("whoever waits does so a moment longer: {}", standby.reach.why()) }
            }
            (reach, OnDisconnect::Block) => {
                Met { yes: true, holds: true, words: format!("whoever waits is held until it goes on: {}", reach.why()) }
            }
            (reach, OnDisconnect::Continue) => {
                let why = reach.why();
                Met {
                    yes: false,
                    holds: false,
                    words: format!("what is acknowledged is not {where_}, and nobody waits for it: {why}"),
                }
            }
        }
    }
}

impl Reach {
    fn why(&self) -> String {
        match self {
            Self::Reached => "the standby is reached".to_owned(),
            Self::Away(away) => format!("the standby has not been reached for {}", words::span(away.as_secs_f64())),
            Self::Held(why) => why.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Acknowledge::{Durable, Local, Received};
    use OnDisconnect::{Block, Continue};

    fn policy(acknowledge: Acknowledge, on_disconnect: OnDisconnect) -> Policy {
        Policy { acknowledge, on_disconnect }
    }

    fn standby(received: u64, durable: u64, reach: &Reach) -> Standby<u64> {
        let some = |position: u64| (position > 0).then_some(position);
        Standby { received: some(received), durable: some(durable), reach: reach.clone() }
    }

    const MOMENT: Duration = Duration::from_millis(500);

    fn reaches() -> [Reach; 4] {
        [Reach::Reached, Reach::Away(MOMENT), Reach::Away(Duration::from_secs(180)), Reach::Held("the set is paused".to_owned())]
    }

    #[test]
    fn every_combination() {
        let (release, hold, soon) = (Verdict::Release, Verdict::Hold(None), Verdict::Hold(Some(PATIENCE - MOMENT)));
        let unmet = |why: &str| Verdict::ReleaseUnmet(why.to_owned());
        let (away, paused) = (unmet("the standby has not been reached for 3 min 00 s"), unmet("the set is paused"));
        // Waiting for 5, the standby has received 7 and made 3 durable: only `received` is met.
        for (acknowledge, on_disconnect, expected) in [
            (Local, Continue, [&release; 4]),
            (Local, Block, [&release; 4]),
            (Received, Continue, [&release; 4]),
            (Received, Block, [&release; 4]),
            (Durable, Continue, [&hold, &soon, &away, &paused]),
            (Durable, Block, [&hold; 4]),
        ] {
            for (reach, expected) in reaches().iter().zip(expected) {
                let verdict = policy(acknowledge, on_disconnect).verdict(&5, &standby(7, 3, reach));
                assert_eq!(verdict, *expected, "{acknowledge} {on_disconnect} {reach:?}");
            }
        }
        // It has nothing of it at all: nothing but `local` is met.
        for (acknowledge, on_disconnect, expected) in [
            (Local, Continue, [&release; 4]),
            (Local, Block, [&release; 4]),
            (Received, Continue, [&hold, &soon, &away, &paused]),
            (Received, Block, [&hold; 4]),
            (Durable, Continue, [&hold, &soon, &away, &paused]),
            (Durable, Block, [&hold; 4]),
        ] {
            for (reach, expected) in reaches().iter().zip(expected) {
                for (received, durable) in [(0, 0), (4, 0), (4, 4)] {
                    let verdict = policy(acknowledge, on_disconnect).verdict(&5, &standby(received, durable, reach));
                    assert_eq!(verdict, *expected, "{acknowledge} {on_disconnect} {reach:?} {received} {durable}");
                }
            }
        }
        // What is durable is enough for everybody, also after a restart that emptied its memory, and whether it is reached or not.
        for acknowledge in [Local, Received, Durable] {
            for (on_disconnect, reach) in [Continue, Block].into_iter().flat_map(|on| reaches().map(|reach| (on, reach))) {
                assert_eq!(policy(acknowledge, on_disconnect).verdict(&5, &standby(0, 5, &reach)), Verdict::Release);
            }
        }
    }

    #[test]
    fn one_acknowledgement_releases_everybody_up_to_it() {
        let policy = policy(Durable, Block);
        let standby = standby(100, 60, &Reach::Reached);
        let released: Vec<_> =
            (1..=100_u64).filter(|waits_for| policy.verdict(waits_for, &standby) == Verdict::Release).collect();
        assert_eq!(released, (1..=60).collect::<Vec<_>>());
    }

    #[test]
    fn whoever_is_held_for_a_moment_is_let_go_when_it_is_over() {
        let policy = policy(Received, Continue);
        let Verdict::Hold(Some(wait)) = policy.verdict(&5, &standby(0, 0, &Reach::Away(MOMENT))) else { panic!("not held") };
        let later = standby(0, 0, &Reach::Away(MOMENT + wait));
        assert!(matches!(policy.verdict(&5, &later), Verdict::ReleaseUnmet(_)));
    }

    #[test]
    fn it_is_met_unless_somebody_may_be_let_go_without_it() {
        for acknowledge in [Local, Received, Durable] {
            for on_disconnect in [Continue, Block] {
                for reach in reaches() {
                    let (policy, standby) = (policy(acknowledge, on_disconnect), standby(0, 0, &reach));
                    let unmet = matches!(policy.verdict(&1, &standby), Verdict::ReleaseUnmet(_));
                    let met = policy.met(&standby);
                    assert_eq!(met.yes, !unmet, "{acknowledge} {on_disconnect} {reach:?}: {met:?}");
                }
            }
        }
        let away = standby(0, 0, &Reach::Away(Duration::from_secs(180)));
        assert_eq!(
            policy(Durable, Continue).met(&away).words,
            "what is acknowledged is not on the standby's disk, and nobody waits for it: the standby has not been reached for 3 min 00 s"
        );
        assert_eq!(policy(Durable, Block).met(&away).words.split(':').next(), Some("whoever waits is held until it goes on"));
    }
}
