//! What somebody waits for with a set, and whether it is reached. Pure, from a report.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use standin_common::id::PointNumber;
use standin_config::{Capture, Role};

use crate::explain::{explain, trouble};
use crate::report::{SetReport, SetState};

/// So long whoever just started, or is about to order a mirror, is waited for.
const MOMENT: Duration = Duration::from_secs(5);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Source: everything that changed before the waiting began is at the standby, whatever changed since, or, where nothing watches the
    /// roots, no mirror is to be done. Standby: everything received is in the replica.
    Synced,
    /// Source: no change waits to be sent. Standby: nothing is being received or applied.
    QueueEmpty,
    /// The recovery point of this number, or a later one, is complete.
    Point(PointNumber),
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// It is reached.
    Reached,
    /// It may still be.
    Coming,
    /// It is not before a person acts, for this reason.
    Stuck(String),
    /// It failed, for this reason.
    Failed(String),
    /// There is no such thing to wait for, for this reason.
    Senseless(String),
}

impl Goal {
    /// How far a set is from it, for somebody who has waited for so long. All that changed before the waiting began has to be noticed when a
    /// source reports.
    pub fn outlook(self, report: &SetReport, waited: Duration) -> Outlook {
        if let Self::Point(number) = self
            && report.point.as_ref().is_some_and(|point| point.number >= number)
        {
            return Outlook::Reached;
        }
        if report.state.waits_for_a_person() {
            return Outlook::Stuck(format!("{}: {}", report.set, explain(report).brief()));
        }
        match report.role {
            Role::Source => self.of_source(report, waited),
            Role::Standby => self.of_standby(report),
        }
    }

    fn of_source(self, report: &SetReport, waited: Duration) -> Outlook {
        let waiting = report.lag.as_ref().map(|lag| lag.changes);
        // A busy server is never without a change under way: what changed since the waiting began is not waited for.
        let oldest = report.lag.as_ref().and_then(|lag| lag.oldest_seconds);
        let only_newer = oldest.is_some_and(|oldest_seconds| oldest_seconds < waited.as_secs_f64());
        match (self, waiting, report.state) {
            (Self::QueueEmpty, None, _) => {
                let set = &report.set;
                Outlook::Senseless(format!("nothing watches the roots of {set}, so no changes are queued: wait for --synced"))
            }
            (Self::QueueEmpty, Some(0), _) | (Self::Synced, Some(0), SetState::Following) => Outlook::Reached,
            (Self::Synced, _, SetState::Following | SetState::CatchingUp) if only_newer => Outlook::Reached,
            // Nothing is ordered, and what was ordered last came to nothing.
            (_, None, SetState::Idle) if report.trouble.is_some() => Outlook::Failed(report.trouble.clone().unwrap_or_default()),
            (Self::Synced, None, SetState::Idle) if report.point.is_some() && !is_to_be_watched(report) => Outlook::Reached,
            // Changes are not noticed, and nothing will ever be sent by itself.
            (_, None, SetState::Idle) if waited >= MOMENT => {
                Outlook::Stuck(format!("{}: {}", report.set, explain(report).brief()))
            }
            _ => Outlook::Coming,
        }
    }

    fn of_standby(self, report: &SetReport) -> Outlook {
        match (self, report.state) {
            // What a scrub found hinders nothing from being received.
            (Self::Synced | Self::QueueEmpty, SetState::Ready) if report.trouble == trouble(None, report) => Outlook::Reached,
            (Self::QueueEmpty, SetState::Empty) => Outlook::Reached,
            _ => Outlook::Coming,
        }
    }
}

/// Whether the settings say that something watches the roots.
fn is_to_be_watched(report: &SetReport) -> bool {
    matches!(report.capture, Some(Capture::Watch | Capture::Ordered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Point;
    use crate::report::Lag;
    use standin_common::entry::Time;
    use standin_common::id::{Generation, MirrorId};
    use standin_common::scope::Reason;

    fn report(role: Role, state: SetState, point: Option<u64>, changes: Option<u64>) -> SetReport {
        let point = point.map(|number| Point {
            number: PointNumber(number),
            generation: Generation(1),
            mirror: MirrorId(1),
            reason: Reason::Mirror,
            at: Time::default(),
            consistent: true,
            objects: 0,
            bytes: 0,
            orphans: 0,
        });
        let lag = changes.map(|changes| Lag { changes, ..Lag::default() });
        let new = SetReport::new("mail".parse().unwrap(), role, Generation(1), state, "beta".parse().unwrap());
        SetReport { point, lag, ..new }
    }

    #[test]
    fn a_source_is_synced_when_nothing_is_missing_over_there() {
        use SetState::*;
        for (state, point, changes, reached) in [
            (Following, Some(3), Some(0), true),
            (Following, Some(3), Some(2), false),
            (CatchingUp, Some(3), Some(2), false),
            (Disconnected, Some(3), Some(0), false),
            (Mirroring, Some(3), None, false),
            (Waiting, Some(3), None, false),
            (Idle, None, None, false),
            (Idle, Some(3), None, true),
        ] {
            let outlook = Goal::Synced.outlook(&report(Role::Source, state, point, changes), Duration::ZERO);
            assert_eq!(outlook, if reached { Outlook::Reached } else { Outlook::Coming }, "{state:?} {point:?} {changes:?}");
        }
        let failed = SetReport { trouble: Some("refused".into()), ..report(Role::Source, Idle, Some(3), None) };
        assert_eq!(Goal::Synced.outlook(&failed, Duration::ZERO), Outlook::Failed("refused".into()));
    }

    #[test]
    fn where_nothing_is_noticed_though_it_should_be_nothing_is_synced() {
        let stopped = SetReport { capture: Some(Capture::Ordered), ..report(Role::Source, SetState::Idle, Some(3), None) };
        assert_eq!(Goal::Synced.outlook(&stopped, Duration::ZERO), Outlook::Coming, "it may just have been started");
        let never = SetReport { capture: Some(Capture::Scan), ..report(Role::Source, SetState::Idle, None, None) };
        for report in [stopped, never] {
            let outlook = Goal::Synced.outlook(&report, MOMENT);
            assert!(matches!(&outlook, Outlook::Stuck(why) if why.contains("mirror start mail")), "{outlook:?}");
        }
    }

    #[test]
    fn what_changed_after_the_waiting_began_is_not_waited_for() {
        let seen = |state, oldest_seconds, waited_ms| {
            let lag = Some(Lag { changes: 2, oldest_seconds: Some(oldest_seconds), ..Lag::default() });
            let report = SetReport { lag, ..report(Role::Source, state, Some(3), None) };
            [Goal::Synced, Goal::QueueEmpty]
                .map(|goal| goal.outlook(&report, Duration::from_millis(waited_ms)) == Outlook::Reached)
        };
        for state in [SetState::Following, SetState::CatchingUp] {
            assert_eq!(seen(state, 0.1, 99), [false, false], "it may have changed before");
            assert_eq!(seen(state, 0.1, 101), [true, false]);
        }
        assert_eq!(seen(SetState::Disconnected, 0.1, 101), [false, false]);
    }

    #[test]
    fn a_queue_is_empty_only_where_there_is_one() {
        let outlook =
            |changes| Goal::QueueEmpty.outlook(&report(Role::Source, SetState::Disconnected, None, changes), Duration::ZERO);
        assert_eq!((outlook(Some(0)), outlook(Some(1))), (Outlook::Reached, Outlook::Coming));
        assert!(matches!(outlook(None), Outlook::Senseless(why) if why.contains("--synced")));
        for (state, reached) in [(SetState::Ready, true), (SetState::Receiving, false), (SetState::Applying, false)] {
            let outlook = Goal::QueueEmpty.outlook(&report(Role::Standby, state, None, None), Duration::ZERO);
            assert_eq!(outlook == Outlook::Reached, reached, "{state:?}");
        }
    }

    #[test]
    fn a_point_is_reached_by_it_or_a_later_one_whatever_the_state() {
        let outlook =
            |state, point| Goal::Point(PointNumber(3)).outlook(&report(Role::Standby, state, point, None), Duration::ZERO);
        for state in [SetState::Ready, SetState::Receiving, SetState::Promoted, SetState::Bad] {
            assert_eq!((outlook(state, Some(3)), outlook(state, Some(4))), (Outlook::Reached, Outlook::Reached));
        }
        assert_eq!(outlook(SetState::Ready, Some(2)), Outlook::Coming);
        assert!(matches!(outlook(SetState::Promoted, Some(2)), Outlook::Stuck(_)));
        assert!(matches!(outlook(SetState::Bad, None), Outlook::Stuck(_)));
    }

    #[test]
    fn what_waits_for_a_person_says_why_and_what_to_do() {
        let stuck = |state, trouble: Option<&str>| {
            let trouble = trouble.map(str::to_owned);
            match Goal::Synced.outlook(&SetReport { trouble, ..report(Role::Source, state, Some(1), Some(0)) }, Duration::ZERO) {
                Outlook::Stuck(why) => why,
                other => panic!("{state:?}: {other:?}"),
            }
        };
        for (state, trouble) in [(SetState::Paused, None), (SetState::Held, None), (SetState::Held, Some("no room"))] {
            let why = stuck(state, trouble);
            assert!(why.matches("mirror resume mail").count() == 1 && why.contains(trouble.unwrap_or_default()), "{why}");
        }
        assert!(stuck(SetState::Promoted, None).contains("was promoted"));
        assert!(stuck(SetState::Lost, None).contains("mirror start mail"));
        // What is tried again without a person may come.
        let hindered = report(Role::Source, SetState::Hindered, Some(1), Some(1));
        assert_eq!(Goal::Synced.outlook(&hindered, Duration::ZERO), Outlook::Coming);
    }
}
