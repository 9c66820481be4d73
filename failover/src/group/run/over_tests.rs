//! A run that goes over another one which is not finished, and is taken back itself: the first one can be finished then.

use super::super::decide::{Accept, Heed, Wish, decide};
use super::super::facts::Unfinished;
use super::super::plan::{Action, Plan, Undo};
use super::super::wake::{Overtaken, overtaken};
use super::sim::{Fault, World, node, run_id};
use super::tests::{Records, begin, look_after_themselves, plan, resume, session};
use super::{End, Journal};

fn handoff(to: &str) -> Wish {
    Wish::Handoff { to: node(to), force: false }
}

/// As a node tells of its run.
fn is_open(world: &World, at: &str, plan: &Plan, records: &Records) {
    let told = Journal::over(super::sim::Memory::default(), records.lock().unwrap().clone()).unwrap();
    let (closed, crossed) = (told.progress().closed(), told.progress().is_crossed(plan));
    let unfinished = Unfinished { run: plan.run().clone(), running: false, crossed };
    world.with(at, |node| node.unfinished = closed.is_none().then_some(unfinished));
}

/// A handoff to beta, where imap cannot be started.
fn stuck(world: &World) -> (Plan, Records) {
    let plan = plan(world, &handoff("beta"), 1);
    world.fault(&node("beta"), &Action::Start("imap".parse().unwrap()), Fault::Refused);
    let records = begin(world, plan.clone());
    assert_eq!(session(world, &records, None, false, false).unwrap(), None);
    is_open(world, "beta", &plan, &records);
    (plan, records)
}

/// The first run is finished if the one that went over it was taken back, and over otherwise.
fn assert_ends(world: &World, (first, records): &(Plan, Records), end: End, context: &str) {
    world.with("alpha", |alpha| alpha.unfinished = None);
    match end {
        End::TakenBack => {
            assert_eq!(overtaken(&world.facts("beta"), first), Overtaken::No, "{context}");
            assert_eq!(resume(world, records, context), End::Finished, "{context}");
            world.with("beta", |beta| beta.unfinished = None);
            world.assert_whole(Some("beta"), context);
        }
        _ => {
            assert!(matches!(overtaken(&world.facts("beta"), first), Overtaken::ForGood(..)), "{context}");
            world.with("beta", |beta| beta.unfinished = None);
            look_after_themselves(world);
            world.assert_whole(Some("alpha"), context);
        }
    }
}

#[test]
fn handed_back_and_taken_back_at_every_step() {
    for witnessed in [false, true] {
        let new = || if witnessed { World::witnessed() } else { World::new() };
        let planned = |world: &World| {
            let first = stuck(world);
            (first, plan(world, &handoff("alpha"), 2))
        };
        let steps = planned(&new()).1.steps;
        let mut taken_back = 0;
        for (number, step) in steps.iter().enumerate() {
            for fault in [Fault::Refused, Fault::Half, Fault::AnswerLost] {
                let world = new();
                let (first, back) = planned(&world);
                let context = format!("{fault:?} at step {number}, {} on {}", step.action, step.node);
                world.fault(&step.node, &step.action, fault);
                let records = begin(&world, back.clone());
                let ended = session(&world, &records, None, false, false).unwrap();
                is_open(&world, "alpha", &back, &records);
                if ended.is_none() && number > 0 {
                    assert_ne!(overtaken(&world.facts("beta"), &first.0), Overtaken::No, "{context}: while it is open");
                }
                let end = ended.unwrap_or_else(|| resume(&world, &records, &context));
                taken_back += usize::from(end == End::TakenBack);
                assert_ends(&world, &first, end, &context);
            }
        }
        assert!(taken_back > 20, "{taken_back}");
    }
}

#[test]
fn handed_back_and_every_step_back_fails_once() {
    let steps = |world: &World| (stuck(world), plan(world, &handoff("alpha"), 2));
    let last = steps(&World::witnessed()).1.steps.iter().position(|step| step.undo == Undo::Never).unwrap();
    for number in 0..last {
        let world = World::witnessed();
        let (first, back) = steps(&world);
        let crossing = &back.steps[last];
        for step in back.steps.iter().filter(|step| step.undo == Undo::Never && step.after == crossing.after) {
            world.fault(&step.node, &step.action, Fault::Refused);
        }
        let step = &back.steps[number];
        let Undo::By(undo) = &step.undo else { continue };
        world.fault(&step.node, undo, Fault::Half);
        let records = begin(&world, back.clone());
        let context = format!("{undo} on {}", step.node);
        assert_eq!(session(&world, &records, None, false, false).unwrap(), None, "{context}");
        is_open(&world, "alpha", &back, &records);
        assert_eq!(overtaken(&world.facts("beta"), &first.0), Overtaken::By(back.claim.clone()), "{context}");
        assert_eq!(resume(&world, &records, &context), End::TakenBack, "{context}");
        assert_ends(&world, &first, End::TakenBack, &context);
    }
}

#[test]
fn a_lost_runner_finishes_its_run_where_the_failover_without_it_was_taken_back() {
    let failover = Wish::Failover {
        to: Some(node("alpha")),
        point: None,
        accept: Accept::Known,
        force: false,
        heed: Heed::Usual,
        fenced: true,
    };
    let mut over = 0;
    for at in 0.. {
        let world = World::witnessed();
        let first = plan(&world, &handoff("beta"), 1);
        let records = begin(&world, first.clone());
        if session(&world, &records, Some((at, true)), false, false).is_ok() {
            break;
        }
        world.with("beta", |beta| beta.lost = true);
        // As long as no run is known here, there is nothing to go over.
        let Ok(second) = decide(&world.group, &world.facts("alpha"), &failover, run_id(2)) else { continue };
        let raise = second.steps.iter().find(|step| matches!(step.action, Action::Raise(_)));
        let crossing = || second.steps.iter().find(|step| step.undo == Undo::Never).unwrap();
        let refused = raise.unwrap_or_else(crossing);
        world.fault(&refused.node, &refused.action, Fault::Refused);
        let context = format!("killed at record {at}");
        assert_eq!(session(&world, &begin(&world, second), None, false, false).unwrap(), Some(End::TakenBack), "{context}");
        // It was only cut off.
        world.with("beta", |beta| beta.lost = false);
        is_open(&world, "beta", &first, &records);
        assert_eq!(overtaken(&world.facts("beta"), &first), Overtaken::No, "{context}");
        assert_eq!(resume(&world, &records, &context), End::Finished, "{context}");
        world.with("beta", |beta| beta.unfinished = None);
        world.assert_whole(Some("beta"), &context);
        over += 1;
    }
    assert!(over > 20, "only {over} runs were gone over");
}
