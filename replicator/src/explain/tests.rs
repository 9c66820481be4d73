//! What people are told of each state.

use super::*;
use crate::acknowledge::Met;
use crate::report::ScrubFinding;
use crate::report::{AcknowledgeReport, LimitReport, ScrubReport, WatchReport};
use standin_common::entry::Time;
use standin_common::id::{Generation, RootIndex};
use standin_config::{Acknowledge, Change, Day, LocalTime, OnDisconnect, Reconnect};

fn report(role: Role, state: SetState) -> SetReport {
    let next = Change { at: LocalTime { day: Day::Mon, minute: 18 * 60 }, in_minutes: 90, rate: Rate::Unlimited };
    let words = "what is acknowledged is on the standby's disk".to_owned();
    let (acknowledge, on_disconnect) = (Acknowledge::Durable, OnDisconnect::Continue);
    SetReport {
        role,
        lag: Some(Lag { changes: 7, directories: 0, bytes: Some(3 << 20), oldest_seconds: Some(2.5) }),
        watch: Some(WatchReport { method: "fanotify".into(), why: None }),
        acknowledge: Some(AcknowledgeReport { acknowledge, on_disconnect, met: Met { yes: true, holds: false, words } }),
        limit: Some(LimitReport { rate: Rate::Limit(2_000_000), next: Some(next) }),
        reconnect: Some(Reconnect::Manual),
        away_seconds: Some(245.0),
        ..SetReport::new("mail".parse().unwrap(), role, Generation(1), state, "beta".parse().unwrap())
    }
}

const SOURCE: [SetState; 14] = [
    SetState::Retired,
    SetState::Idle,
    SetState::Mirroring,
    SetState::Waiting,
    SetState::Comparing,
    SetState::Following,
    SetState::CatchingUp,
    SetState::Hindered,
    SetState::Promoted,
    SetState::Lost,
    SetState::Paused,
    SetState::Disconnected,
    SetState::Held,
    SetState::Bad,
];
const STANDBY: [SetState; 7] = [
    SetState::Empty,
    SetState::FirstMirror,
    SetState::Ready,
    SetState::Receiving,
    SetState::Applying,
    SetState::Promoted,
    SetState::Bad,
];

#[test]
fn every_state_has_words_of_its_own() {
    for (role, states) in [(Role::Source, &SOURCE[..]), (Role::Standby, &STANDBY[..])] {
        let mut causes = Vec::new();
        for state in states {
            for trouble in [None, Some("the disk of beta is full".to_owned())] {
                let told = explain(&SetReport { trouble: trouble.clone(), ..report(role, *state) });
                for text in [&told.cause, &told.consequence, &told.action] {
                    assert!(text.len() > 7 && text.ends_with('.') && !text.contains("..") && !text.contains("  "), "{text}");
                }
                if trouble.is_none() {
                    causes.push(told.cause);
                }
            }
        }
        causes.sort();
        causes.dedup();
        assert_eq!(causes.len(), states.len(), "{causes:#?}");
    }
}

#[test]
fn what_a_scrub_found_is_said_beside_what_hinders() {
    let finding = |groups, unreadable: Option<&str>| ScrubFinding {
        root: RootIndex(0),
        path: "store.edb".into(),
        at: Time::default(),
        first_byte: 65_536,
        groups,
        unreadable: unreadable.map(Into::into),
    };
    let told = |findings: Vec<ScrubFinding>, hindered: Option<&str>, state| {
        let finding_count = findings.len() as u64;
        let scrub = Some(ScrubReport { findings, finding_count, ..ScrubReport::default() });
        let report = SetReport { scrub, ..report(Role::Standby, state) };
        let trouble = trouble(hindered.map(Into::into), &report);
        (trouble.clone(), explain(&SetReport { trouble, ..report }))
    };
    assert_eq!(told(vec![], None, SetState::Ready).0, None);
    let (trouble, explained) = told(vec![finding(1, None)], None, SetState::Ready);
    let trouble = trouble.unwrap();
    assert!(trouble.contains("1 group of 64 KiB differs, from byte 65536 on, although"), "{trouble}");
    assert!(explained.cause.contains("store.edb of root 0 is not on this disk") && !explained.cause.contains("promotion"));
    assert!(explained.consequence.contains("wrong after a promotion; older"), "{explained:?}");
    assert!(explained.action.starts_with("`standin verify mail --repair` on beta mends it"), "{explained:?}");
    let (trouble, _) = told(vec![finding(2, Some("gone")), finding(1, None)], Some("the disk is full"), SetState::Ready);
    let trouble = trouble.unwrap();
    assert!(
        trouble.starts_with("the disk is full; and a scrub found that store.edb of root 0 (and 1 file besides) is"),
        "{trouble}"
    );
    assert!(
        trouble.contains(
            "2 groups of 64 KiB differ, from byte 65536 on, although nothing says that it was written to, and more of it"
        )
    );
    let (_, promoted) = told(vec![finding(0, Some("gone"))], None, SetState::Promoted);
    assert!(!promoted.action.contains("--repair") && promoted.cause.contains("store.edb"), "{promoted:?}");
    assert!(promoted.action.contains("means of its application"), "{promoted:?}");
}

#[test]
fn what_is_wrong_and_what_to_do_is_said() {
    let told = explain(&report(Role::Source, SetState::CatchingUp));
    assert_eq!(
        told.cause,
        "7 changes of at most 3.00 MiB wait to be sent, the oldest 2.5 s old. The rate is limited to 2 MB/s until mon 18:00."
    );
    assert!(told.consequence.ends_with("What is acknowledged is on the standby's disk."), "{told:?}");
    let away = explain(&report(Role::Source, SetState::Disconnected));
    assert_eq!(away.cause, "beta has not been reached for 4 min 05 s.");
    assert!(away.consequence.contains("7 changes of at most 3.00 MiB so far"), "{away:?}");
    let with = |state, trouble: &str| SetReport { trouble: Some(trouble.into()), ..report(Role::Source, state) };
    let held = explain(&with(SetState::Held, "the root is empty"));
    assert_eq!(held.cause, "the root is empty.");
    assert!(held.action.contains("`standin mirror resume mail`"), "{held:?}");
    let following = explain(&report(Role::Source, SetState::Following));
    assert!(following.cause.starts_with("Fanotify notices changes") && following.action == "Nothing.", "{following:?}");
    assert_eq!(following.brief(), following.cause);
    assert!(held.brief().starts_with("the root is empty. ") && held.brief().ends_with(&held.action), "{held:?}");
    // Whatever is wrong is in the cause, and then nobody is told to do nothing.
    for state in SOURCE.into_iter().filter(|state| !matches!(state, SetState::Mirroring | SetState::Comparing)) {
        let told = explain(&with(state, "the disk of beta is full"));
        let is_own = matches!(state, SetState::Promoted | SetState::Lost | SetState::Retired);
        assert!(is_own || told.cause.contains("the disk of beta is full"), "{state:?}: {told:?}");
        assert!(!told.action.starts_with("Nothing"), "{state:?}: {told:?}");
    }
    for state in [SetState::Empty, SetState::Ready, SetState::Applying, SetState::Bad] {
        let told = explain(&SetReport { role: Role::Standby, ..with(state, "the target is not there: mount it") });
        assert!(told.cause.ends_with("the target is not there: mount it.") && told.action.starts_with("See to that"), "{told:?}");
    }
}

#[test]
fn the_set_of_a_group_is_left_to_its_cutovers() {
    let of_group = |role, state| explain(&SetReport { group: Some("post".parse().unwrap()), ..report(role, state) }).action;
    for state in [SetState::Ready, SetState::Receiving, SetState::Applying] {
        let (alone, moves) = (explain(&report(Role::Standby, state)).action, of_group(Role::Standby, state));
        assert!(alone.contains("`standin promote mail`") && !alone.contains("failover"), "{alone}");
        assert!(moves.contains("`standin failover post`") && moves.contains("`standin handoff post --to"), "{moves}");
        assert!(!moves.contains("promote"), "{moves}");
    }
    let retired = of_group(Role::Source, SetState::Retired);
    assert!(retired.contains("standin group resume post") && !retired.contains("set turn"), "{retired}");
}

#[test]
fn an_error_that_asks_something_gets_no_full_stop() {
    let asked = "no answer: does the node run, and does a firewall let UDP through?";
    let told = explain(&SetReport { trouble: Some(asked.into()), ..report(Role::Source, SetState::Waiting) });
    assert_eq!(told.cause, asked);
}

#[test]
fn an_idle_set_says_how_changes_are_to_be_found() {
    let idle = |capture| explain(&SetReport { capture: Some(capture), ..report(Role::Source, SetState::Idle) });
    let (watch, scan) = (idle(Capture::Watch), idle(Capture::Scan));
    assert!(watch.cause.contains("begins with a mirror") && !watch.action.contains("capture"), "{watch:?}");
    assert!(scan.cause.contains("`capture` is \"scan\"") && scan.action.contains("capture = \"watch\""), "{scan:?}");
}

#[test]
fn nobody_is_told_a_size_that_is_not_known() {
    let words = |changes, directories, bytes| Lag { changes, directories, bytes, oldest_seconds: None }.words();
    assert_eq!(words(0, 0, Some(0)), "none");
    assert_eq!(words(1, 1, Some(0)), "1 directory with all beneath it");
    assert_eq!(words(3, 1, Some(2048)), "1 directory with all beneath it and 2 changes of at most 2.00 KiB");
    assert_eq!(words(20_000, 2, None), "2 directories with all beneath them and 19998 changes");
    assert_eq!(words(1, 0, Some(5)), "1 change of at most 5 B");
}
