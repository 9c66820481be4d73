use std::collections::{BTreeSet, HashSet};

use super::Phase::*;
use super::*;

const PHASES: [Phase; 11] =
    [Idle, Mirroring, Waiting, Comparing, Following, CatchingUp, Hindered, Paused, Disconnected, Held, Bad];

fn events() -> Vec<Event> {
    vec![
        Event::WatchBegan,
        Event::WatchEnded,
        Event::Ordered,
        Event::Ended,
        Event::CompareOrdered,
        Event::CompareEnded,
        Event::Connected,
        Event::LinkLost,
        Event::Noticed,
        Event::Drained,
        Event::Paused,
        Event::Resumed,
        Event::Held(Hold::Stuck("it has no room".to_owned())),
        Event::Held(Hold::Promoted),
        Event::Hindered("it has no room".to_owned()),
        Event::Advanced,
        Event::Stopped,
        Event::Failed("the disk".to_owned()),
        Event::Reconnect(Reconnect::Manual),
        Event::Reconnect(Reconnect::Automatic),
    ]
}

/// Everything that a source can be, from every start.
fn reachable() -> HashSet<Source> {
    let holds = [None, Some(Hold::LinkLost), Some(Hold::Promoted)];
    let mut found = HashSet::new();
    let mut todo = Vec::new();
    for reconnect in [Reconnect::Automatic, Reconnect::Manual] {
        for (ordered, paused) in [(false, false), (true, false), (true, true), (false, true)] {
            todo.extend(holds.iter().map(|hold| Source::new(reconnect, ordered, paused, hold.clone())));
        }
    }
    while let Some(source) = todo.pop() {
        if found.insert(source.clone()) {
            for event in events() {
                let mut next = source.clone();
                if next.take(&event) {
                    todo.push(next);
                }
            }
        }
    }
    found
}

#[test]
fn the_legal_transitions_are_those_that_can_happen() {
    let mut met = BTreeSet::new();
    for source in reachable() {
        for event in events() {
            let mut next = source.clone();
            if next.take(&event) {
                met.insert((source.phase(), next.phase()));
            }
        }
    }
    let legal = |from: Phase| PHASES.into_iter().filter(move |to| from.leads_to(*to)).map(move |to| (from, to));
    let legal: BTreeSet<_> = PHASES.into_iter().flat_map(legal).collect();
    let illegal: Vec<_> = met.difference(&legal).collect();
    assert!(illegal.is_empty(), "they happen and are not listed: {illegal:?}");
    let vain: Vec<_> = legal.difference(&met).filter(|(from, to)| from != to).collect();
    assert!(vain.is_empty(), "they are listed and never happen: {vain:?}");
    assert!(legal.len() < 115);
}

#[test]
fn what_is_refused_changes_nothing() {
    for source in reachable() {
        for event in events() {
            let mut next = source.clone();
            match next.on(event.clone()) {
                Ok(phase) => assert_eq!(phase, next.phase()),
                Err(error) => assert_eq!((next, error.phase), (source.clone(), source.phase()), "{event:?}"),
            }
        }
    }
}

#[test]
fn nobody_follows_without_having_caught_up() {
    assert!(!Idle.leads_to(Following) && !Bad.leads_to(Following));
    for source in reachable() {
        if source.phase() == Following {
            assert!(source.watching && source.connected && !source.behind && !source.paused);
        }
        // Held and bad sources send nothing, and a person gets them out with one word.
        if matches!(source.phase(), Held | Bad | Paused) {
            assert!(!source.sends());
            let mut resumed = source.clone();
            assert!(!matches!(resumed.on(Event::Resumed).unwrap(), Held | Bad | Paused));
        }
    }
}

#[test]
fn a_day_of_a_source() {
    let mut source = Source::new(Reconnect::Manual, false, false, None);
    let story = [
        (Event::Connected, Idle),
        (Event::WatchBegan, CatchingUp),
        (Event::Drained, Following),
        (Event::Noticed, CatchingUp),
        (Event::LinkLost, Held),
        (Event::Noticed, Held),
        (Event::Resumed, Disconnected),
        (Event::Connected, CatchingUp),
        (Event::Ordered, Mirroring),
        (Event::Ended, CatchingUp),
        (Event::Drained, Following),
        (Event::Paused, Paused),
        (Event::LinkLost, Paused),
        (Event::Connected, Paused),
        (Event::CompareOrdered, Comparing),
        (Event::CompareEnded, Paused),
        (Event::Resumed, Following),
        (Event::Hindered("its disk is full".to_owned()), Hindered),
        (Event::Noticed, Hindered),
        (Event::Advanced, CatchingUp),
        (Event::Drained, Following),
        (Event::Held(Hold::Promoted), Held),
        (Event::Resumed, Following),
        (Event::Failed("the disk".to_owned()), Bad),
        (Event::Resumed, CatchingUp),
        (Event::WatchEnded, Idle),
    ];
    for (event, phase) in story {
        assert_eq!(source.on(event.clone()), Ok(phase), "{event:?}");
    }
    assert!(source.on(Event::Drained).unwrap_err().to_string().contains("Idle cannot take Drained"));
}

#[test]
fn being_held_outlives_a_restart_unless_the_setting_was_changed() {
    let kept = Some(Hold::LinkLost);
    assert_eq!(Source::new(Reconnect::Manual, false, false, kept.clone()).phase(), Held);
    assert_eq!(Source::new(Reconnect::Automatic, false, false, kept.clone()).phase(), Idle);
    let mut live = Source::new(Reconnect::Manual, true, false, kept);
    assert!(!live.dials());
    assert_eq!(live.on(Event::Reconnect(Reconnect::Automatic)), Ok(Waiting));
    assert!(live.dials());
}

#[test]
fn what_it_is_held_for_is_said_and_a_replica_that_was_promoted_or_lost_is_a_state_of_its_own() {
    let mut source = Source::new(Reconnect::Automatic, false, false, None);
    for event in [Event::WatchBegan, Event::Connected, Event::Drained] {
        source.on(event).unwrap();
    }
    assert_eq!((source.state(), source.reason()), (SetState::Following, None));
    let full = || "the disk of beta is full".to_owned();
    let mut met = Vec::new();
    for event in [
        Event::Hindered(full()),
        Event::Held(Hold::Stuck(full())),
        Event::Held(Hold::Promoted),
        Event::Held(Hold::Lost(PointNumber(7))),
        Event::Failed(full()),
    ] {
        let mut source = source.clone();
        source.on(event).unwrap();
        met.push((source.state(), source.reason().map(str::to_owned)));
    }
    let expected = [
        (SetState::Hindered, Some(full())),
        (SetState::Held, Some(full())),
        (SetState::Promoted, None),
        (SetState::Lost, None),
        (SetState::Bad, Some(full())),
    ];
    assert_eq!(met, expected);
    // A set of which nothing is ordered learns of a promotion, too, and an order is tried all the same.
    let mut idle = Source::new(Reconnect::Automatic, false, false, None);
    assert_eq!((idle.on(Event::Connected), idle.on(Event::Held(Hold::Promoted))), (Ok(Idle), Ok(Held)));
    assert_eq!((idle.on(Event::Ordered), idle.on(Event::Held(Hold::Promoted))), (Ok(Mirroring), Ok(Held)));
    assert_eq!((idle.on(Event::Stopped), idle.reason()), (Ok(Idle), None));
}
