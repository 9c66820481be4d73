//! The step at the witness: what a run does where it is lost, silent, or names somebody else.

use super::super::decide::{Accept, Heed, Wish};
use super::super::plan::{Action, Plan};
use super::report::{Report, report};
use super::sim::{Fault, Memory, World, node};
use super::tests::{begin, plan, resume, session};
use super::{End, Journal};
use crate::witness::Word;
use crate::witness::sim::Fault as Silence;

fn handoff() -> Wish {
    Wish::Handoff { to: node("beta"), force: false }
}

fn failover(heed: Heed) -> Wish {
    Wish::Failover { to: Some(node("beta")), point: None, accept: Accept::Known, force: false, heed, fenced: false }
}

fn lost_alpha() -> World {
    let world = World::witnessed();
    world.with("alpha", |alpha| alpha.lost = true);
    world
}

fn word_of(world: &World) -> Option<(String, u64)> {
    let word = world.witness.as_ref().unwrap().lock().word.clone();
    word.map(|word| (word.holder.to_string(), word.generation.0))
}

fn carry_out(world: &World, plan: Plan) -> (Option<End>, Report) {
    let records = begin(world, plan);
    let end = session(world, &records, None, false, false).unwrap();
    let journal = Journal::over(Memory::default(), records.lock().unwrap().clone()).unwrap();
    (end, report(journal.told()))
}

/// The witness is silent from the moment at which the run was decided.
fn falls_silent(world: &World) {
    world.witness.as_ref().unwrap().lock().away = true;
}

#[test]
fn nothing_is_promoted_before_the_witness_says_so() {
    let world = World::witnessed();
    let plan = plan(&world, &handoff(), 1);
    let place = |is: fn(&Action) -> bool| plan.numbered().find(|(_, step)| is(&step.action)).unwrap().0;
    let raise = place(|action| matches!(action, Action::Raise(_)));
    let before = plan.before(raise);
    assert!(plan.numbered().filter(|(_, step)| matches!(step.action, Action::Retire(_))).all(|(id, _)| before.contains(&id)));
    let mut wrong = plan.clone();
    wrong.steps.iter_mut().for_each(|step| step.after.retain(|after| *after != raise));
    assert!(wrong.fault().unwrap().contains("the witness's word"), "{:?}", wrong.fault());
    let mut early = plan.clone();
    early.steps[raise.0].after.clear();
    assert!(early.fault().unwrap().contains("two nodes could be online"), "{:?}", early.fault());
    let (end, report) = carry_out(&world, plan);
    assert_eq!((end, word_of(&world)), (Some(End::Finished), Some(("beta".into(), 2))));
    assert!(report.steps.iter().any(|taken| taken.what == "have the witness name this node"));
}

#[test]
fn a_handoff_goes_on_without_the_witness_and_says_so() {
    let world = World::witnessed();
    let decided = plan(&world, &handoff(), 1);
    falls_silent(&world);
    let (end, report) = carry_out(&world, decided);
    assert_eq!(end, Some(End::Finished));
    assert!(report.by_hand.iter().any(|hint| hint.contains("went on without")), "{report:#?}");
    world.assert_whole(Some("beta"), "silent");
    // Silent before that, too.
    let world = World::witnessed();
    falls_silent(&world);
    assert_eq!(carry_out(&world, plan(&world, &handoff(), 1)).0, Some(End::Finished));
}

#[test]
fn a_failover_without_the_witness_is_taken_back() {
    let world = lost_alpha();
    let decided = plan(&world, &failover(Heed::Usual), 1);
    falls_silent(&world);
    let (end, report) = carry_out(&world, decided.clone());
    assert_eq!(end, Some(End::TakenBack), "it is certain that nothing was changed");
    assert!(report.by_hand.iter().any(|hint| hint.contains("no answer on order")), "{report:#?}");
    assert!(world.with("beta", |beta| beta.online.is_empty() && beta.state.claim.is_none()));
    assert_eq!(word_of(&world), Some(("alpha".into(), 1)));
    // It was swapped, and nobody heard so: the run is not over before the witness is asked to name alpha again.
    let world = lost_alpha();
    let decided = plan(&world, &failover(Heed::Usual), 1);
    let records = begin(&world, decided);
    world.witness.as_ref().unwrap().lock().faults.extend([None, Some(Silence::AnswerLost), Some(Silence::Dropped)]);
    assert_eq!(session(&world, &records, None, false, false).unwrap(), None);
    assert_eq!(resume(&world, &records, "the witness is back"), End::TakenBack);
    assert_eq!(word_of(&world), Some(("alpha".into(), 2)));
}

#[test]
fn who_lost_at_the_witness_is_taken_back_and_who_had_the_group_has_it_again() {
    for (wish, world) in [(handoff(), World::witnessed()), (failover(Heed::Usual), lost_alpha())] {
        let decided = plan(&world, &wish, 1);
        let faster = Word { generation: decided.generation(), holder: node("gamma"), renewals: 0 };
        world.witness.as_ref().unwrap().lock().faults.extend([None, Some(Silence::Before(Some(faster)))]);
        let (end, report) = carry_out(&world, decided);
        assert_eq!((end, word_of(&world).unwrap().0.as_str()), (Some(End::TakenBack), "gamma"), "{report:#?}");
        assert!(world.with("beta", |beta| beta.online.is_empty()));
        assert!(world.with("alpha", |alpha| alpha.lost || alpha.online.len() == 5));
    }
}

#[test]
fn a_lost_node_that_counts_up_keeps_its_group() {
    let world = lost_alpha();
    let decided = plan(&world, &failover(Heed::Usual), 1);
    world.witness.as_ref().unwrap().lock().word.as_mut().unwrap().renewals += 1;
    let (end, report) = carry_out(&world, decided);
    assert_eq!(end, Some(End::TakenBack));
    assert!(report.by_hand.iter().any(|hint| hint.contains("alpha serves: it counted up")), "{report:#?}");
    assert_eq!(word_of(&world), Some(("alpha".into(), 1)));
}

#[test]
fn what_is_taken_back_later_is_told_to_the_witness() {
    let world = World::witnessed();
    let decided = plan(&world, &handoff(), 1);
    for step in decided.steps.iter().filter(|step| matches!(step.action, Action::TakeOver(..))) {
        world.fault(&step.node, &step.action, Fault::Refused);
    }
    assert_eq!(carry_out(&world, decided).0, Some(End::TakenBack));
    assert_eq!(word_of(&world), Some(("alpha".into(), 2)), "the same node at a number that nobody ever had");
    world.assert_whole(Some("alpha"), "taken back");
    // And where it cannot be told, services do not wait for it.
    let world = World::witnessed();
    let decided = plan(&world, &handoff(), 1);
    for step in decided.steps.iter().filter(|step| matches!(step.action, Action::TakeOver(..))) {
        world.fault(&step.node, &step.action, Fault::Refused);
    }
    world.witness.as_ref().unwrap().lock().faults.extend([None, None, Some(Silence::Dropped)]);
    assert_eq!(carry_out(&world, decided).0, Some(End::TakenBack));
    assert_eq!(world.with("alpha", |alpha| alpha.online.len()), 5);
}
