//! What is asked of the witness in which cutover, and what is refused without it.

use standin_common::id::Generation;

use super::super::plan::Action;
use super::super::run::sim::{World, node, run_id};
use super::*;
use crate::witness::raise::{Need, Over, Raise};
use crate::witness::{Testimony, Word};

fn word(generation: u64, holder: &str, renewals: u64) -> Word {
    Word { generation: Generation(generation), holder: node(holder), renewals }
}

fn failover(heed: Heed) -> Wish {
    Wish::Failover { to: Some(node("beta")), point: None, accept: Accept::Known, force: false, heed, fenced: false }
}

fn online(force: bool, heed: Heed) -> Wish {
    Wish::Online { resource: None, force, heed }
}

/// A plan where these are lost and the witness says this.
fn ask(lost: &[&str], says: Testimony, runner: &str, wish: &Wish) -> Result<Plan, Refusal> {
    let world = World::new();
    lost.iter().for_each(|name| world.with(name, |node| node.lost = true));
    let facts = Facts { witness: Some(says), ..world.facts(runner) };
    decide(&world.group, &facts, wish, run_id(5))
}

fn raise(plan: &Plan) -> Option<&Raise> {
    plan.steps.iter().find_map(|step| match &step.action {
        Action::Raise(raise) => Some(raise),
        _ => None,
    })
}

fn raised_after_starts(plan: &Plan) -> bool {
    let is = |wanted: fn(&Action) -> bool| plan.numbered().filter(move |(_, step)| wanted(&step.action)).map(|(id, _)| id);
    let raise = is(|action| matches!(action, Action::Raise(_))).next().unwrap();
    is(|action| matches!(action, Action::Start(_))).all(|start| plan.before(raise).contains(&start))
}

fn says(generation: u64, holder: &str) -> Testimony {
    Testimony::Says(Some(word(generation, holder, 7)))
}

fn silent() -> Testimony {
    Testimony::Silent("etcd1:2379: no answer within 2 s".to_owned())
}

#[test]
fn every_cutover_that_starts_a_group_asks_the_witness() {
    let handoff = Wish::Handoff { to: node("beta"), force: false };
    for (runner, wish) in [("beta", &handoff), ("alpha", &online(false, Heed::Usual))] {
        for said in [says(1, "alpha"), silent(), Testimony::Says(None), says(9, "gamma")] {
            let plan = ask(&[], said.clone(), runner, wish).unwrap();
            let is_silent = matches!(said, Testimony::Silent(_));
            let need = if is_silent { Need::Later } else { Need::May };
            assert_eq!(raise(&plan), Some(&Raise { over: Over::Lower, need }), "{said:?}: every node takes part");
            assert_eq!(raised_after_starts(&plan), is_silent, "nobody waits for a witness that is known to be silent");
            assert_eq!(plan.fault(), None);
        }
    }
    for wish in [
        Wish::Offline { resource: None },
        Wish::Online { resource: Some("imap".parse().unwrap()), force: false, heed: Heed::Usual },
    ] {
        assert_eq!(raise(&ask(&[], silent(), "alpha", &wish).unwrap()), None, "it moves nothing: {wish:?}");
    }
    let world = World::new();
    let without = decide(&world.group, &world.facts("beta"), &handoff, run_id(5)).unwrap();
    assert_eq!(raise(&without), None, "a group without a witness");
}

#[test]
fn a_failover_from_a_lost_node_needs_the_witness() {
    let lost = &["alpha"][..];
    let plan = ask(lost, says(1, "alpha"), "beta", &failover(Heed::Usual)).unwrap();
    let exactly = Raise { over: Over::Exactly(Some(word(1, "alpha", 7))), need: Need::Must };
    assert_eq!(raise(&plan), Some(&exactly));
    let refused = ask(lost, silent(), "beta", &failover(Heed::Usual)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the witness does not answer (etcd1:2379: no answer within 2 s), and alpha does not either: only the witness knows whether alpha has group mail. Mend it; or make sure that alpha is off, and say --without-witness. If it is not, both will have the group, each with its own changes"
    );
    let without = ask(lost, silent(), "beta", &failover(Heed::Without)).unwrap();
    assert_eq!(raise(&without), Some(&Raise { over: Over::Lower, need: Need::Later }));
    assert!(raised_after_starts(&without) && without.fault().is_none());
    let nobody = ask(lost, Testimony::Says(None), "beta", &failover(Heed::Usual)).unwrap();
    assert_eq!(raise(&nobody), Some(&Raise { over: Over::Exactly(None), need: Need::Must }));
}

#[test]
fn who_is_named_and_was_not_known_to_have_it_keeps_it() {
    let refused = ask(&["alpha"], says(9, "gamma"), "beta", &failover(Heed::Usual)).unwrap_err();
    assert!(refused.to_string().starts_with("the witness says that gamma since generation 9 has group mail"), "{refused}");
    let over = ask(&["alpha"], says(9, "gamma"), "beta", &failover(Heed::Without)).unwrap();
    assert_eq!(over.generation(), Generation(10), "above what the witness knows");
    assert_eq!(raise(&over).unwrap().over, Over::Exactly(Some(word(9, "gamma", 7))), "and not if it counts up");
    let refused = ask(&["beta"], says(5, "beta"), "alpha", &online(true, Heed::Usual)).unwrap_err();
    assert!(matches!(refused, Refusal::WitnessNames { .. }), "beta took over while alpha was off: {refused}");
    let own = ask(&["beta"], says(1, "alpha"), "alpha", &online(true, Heed::Usual)).unwrap();
    assert_eq!(raise(&own), Some(&Raise { over: Over::Renewed(word(1, "alpha", 7)), need: Need::Must }));
    assert!(matches!(ask(&["beta"], silent(), "alpha", &online(true, Heed::Usual)), Err(Refusal::WitnessSilent { .. })));
    assert!(ask(&["beta"], silent(), "alpha", &online(true, Heed::Without)).is_ok());
}

#[test]
fn what_was_watched_has_to_stand_there_still() {
    let watched = word(1, "alpha", 7);
    let wish = failover(Heed::Exactly(Some(watched.clone())));
    let plan = ask(&["alpha"], Testimony::Says(Some(watched.clone())), "beta", &wish).unwrap();
    assert_eq!(raise(&plan), Some(&Raise { over: Over::Exactly(Some(watched)), need: Need::Must }));
    for moved in [Testimony::Says(Some(word(1, "alpha", 8))), Testimony::Says(None), silent()] {
        assert!(matches!(ask(&["alpha"], moved, "beta", &wish), Err(Refusal::WitnessMoved(_))));
    }
    let world = World::new();
    world.with("alpha", |alpha| alpha.lost = true);
    let without = decide(&world.group, &world.facts("beta"), &wish, run_id(5));
    assert!(matches!(without, Err(Refusal::NoWitness(_))));
}
