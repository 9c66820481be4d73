//! Every step of every cutover failed in turn, and its runner killed around every record: resumed or taken back, never half.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::super::decide::{Accept, Heed, Wish, decide, runner};
use super::super::plan::{Action, Plan, Undo};
use super::super::wake::{Wake, wake};
use super::report::report;
use super::sim::{Fault, Memory, World, node, run_id};
use super::{End, Journal, Record, Tools, carry};
use crate::execute::Clock;
use crate::lines::LinesError;

/// A cutover to be tried.
struct Scene {
    name: &'static str,
    wish: Wish,
    /// Where the group is after it.
    to: Option<&'static str>,
    /// Where it was before.
    from: Option<&'static str>,
    prepare: fn(&World),
    /// Whether the group has a witness.
    witnessed: bool,
}

fn failover(force: bool) -> Wish {
    Wish::Failover { to: Some(node("beta")), point: None, accept: Accept::Known, force, heed: Heed::Usual, fenced: false }
}

fn lose_alpha(world: &World) {
    world.with("alpha", |node| node.lost = true);
}

fn at_beta(world: &World) {
    finish(world, &failover(true), 100);
}

fn offline(world: &World) {
    finish(world, &Wish::Offline { resource: None }, 100);
}

/// Alpha was lost while beta took over, and is back with everything still running there cut off.
fn old_source(world: &World) {
    lose_alpha(world);
    finish(world, &failover(false), 100);
    world.mend();
}

/// Every kind, in a group without a witness and in one with.
fn scenes() -> Vec<Scene> {
    let handoff = || Wish::Handoff { to: node("beta"), force: false };
    let online = || Wish::Online { resource: None, force: false, heed: Heed::Usual };
    let (alpha, beta) = (Some("alpha"), Some("beta"));
    let with = |witnessed| {
        let scene = move |name, wish, to, from, prepare| Scene { name, wish, to, from, prepare, witnessed };
        [
            scene("handoff", handoff(), beta, alpha, |_| {}),
            scene("failover", failover(false), beta, alpha, lose_alpha),
            scene("forced failover", failover(true), beta, alpha, |_| {}),
            scene("failback", Wish::Failback, alpha, beta, at_beta),
            scene("offline", Wish::Offline { resource: None }, None, alpha, |_| {}),
            scene("online", online(), alpha, None, offline),
            scene("rejoin", Wish::Rejoin, beta, beta, old_source),
        ]
    };
    [false, true].into_iter().flat_map(with).collect()
}

impl Scene {
    fn world(&self) -> World {
        let world = if self.witnessed { World::witnessed() } else { World::new() };
        (self.prepare)(&world);
        world
    }

    fn plan(&self, world: &World) -> Plan {
        plan(world, &self.wish, 1000)
    }

    /// A failover finds its source lost; that one is back as a standby only later.
    fn assert_whole(&self, world: &World, end: End, context: &str) {
        let at = if end == End::Finished { self.to } else { self.from };
        if self.name == "failover" {
            world.mend();
            match end {
                End::Finished => finish(world, &Wish::Rejoin, 2000),
                // The machine came back with nothing running.
                _ => finish(world, &Wish::Online { resource: None, force: false, heed: Heed::Usual }, 2000),
            }
        }
        if self.name == "rejoin" && end == End::TakenBack {
            // It had not begun, and is begun again.
            finish(world, &Wish::Rejoin, 2000);
        }
        look_after_themselves(world);
        world.assert_whole(at, &format!("{}: {context}", self.name));
        // Nothing is left that would keep the next one out.
        let next = if at.is_some() {
            Wish::Offline { resource: None }
        } else {
            Wish::Online { resource: None, force: false, heed: Heed::Usual }
        };
        finish(world, &next, 4000);
    }
}

/// What nodes do that hear of what others did while nobody could tell them.
pub(super) fn look_after_themselves(world: &World) {
    for name in ["alpha", "beta"] {
        if wake(&world.group.name, &node(name), &world.facts(name), None) == Wake::Rejoin {
            let plan = decide(&world.group, &world.facts(name), &Wish::Rejoin, run_id(3000)).unwrap();
            let records = begin(world, plan);
            assert_eq!(session(world, &records, None, false, false).unwrap(), Some(End::Finished), "{name} rejoins");
        }
    }
}

pub(super) fn plan(world: &World, wish: &Wish, number: u64) -> Plan {
    let by = match wish {
        Wish::Rejoin => node("alpha"),
        _ => runner(&world.group, &world.facts("beta"), wish).unwrap(),
    };
    let plan = decide(&world.group, &world.facts(by.as_str()), wish, run_id(number)).unwrap();
    assert_eq!(plan.fault(), None, "{plan:#?}");
    plan
}

pub(super) type Records = Arc<Mutex<Vec<Record>>>;

pub(super) fn begin(world: &World, plan: Plan) -> Records {
    Arc::new(Mutex::new(vec![Record::Plan { begun_unix_ms: world.unix_ms(), plan: Box::new(plan) }]))
}

/// One session of a runner, which may die.
pub(super) fn session(
    world: &World,
    records: &Records,
    dies_at: Option<(usize, bool)>,
    cancel: bool,
    turn: bool,
) -> Result<Option<End>, LinesError> {
    let before = records.lock().unwrap().clone();
    let mut journal = Journal::over(Memory { records: records.clone(), dies_at }, before)?;
    if turn {
        journal.turn(world.unix_ms(), "on order")?;
    }
    let cancel = AtomicBool::new(cancel);
    let ended = carry(&mut journal, &Tools { nodes: world, clock: world, cancel: &cancel, progress: &|_, _| {} });
    assert!(world.is_sound(), "see the panic above; {:#?}", world.asked());
    ended
}

fn finish(world: &World, wish: &Wish, number: u64) {
    let records = begin(world, plan(world, wish, number));
    assert_eq!(session(world, &records, None, false, false).unwrap(), Some(End::Finished), "{wish:?}");
}

/// A runner with everything mended goes on until the end.
pub(super) fn resume(world: &World, records: &Records, context: &str) -> End {
    session(world, records, None, false, false).unwrap().unwrap_or_else(|| {
        let told = Journal::over(Memory::default(), records.lock().unwrap().clone()).unwrap();
        panic!("{context}: it does not end: {:#?}", report(told.told()))
    })
}

#[test]
fn cutovers_end_whole() {
    for scene in scenes() {
        let world = scene.world();
        let records = begin(&world, scene.plan(&world));
        assert_eq!(session(&world, &records, None, false, false).unwrap(), Some(End::Finished), "{}", scene.name);
        scene.assert_whole(&world, End::Finished, "undisturbed");
        let again = session(&world, &records, None, false, false).unwrap();
        assert_eq!(again, Some(End::Finished), "again changes nothing");
    }
}

#[test]
fn every_step_fails_in_turn() {
    for scene in scenes() {
        for number in 0..scene.plan(&scene.world()).steps.len() {
            for fault in [Fault::Refused, Fault::Half, Fault::AnswerLost, Fault::Dies] {
                let world = scene.world();
                let plan = scene.plan(&world);
                let step = &plan.steps[number];
                let context = format!("{fault:?} at {} on {}", step.action, step.node);
                world.fault(&step.node, &step.action, fault);
                let records = begin(&world, plan.clone());
                let first = session(&world, &records, None, false, false).unwrap();
                if first == Some(End::TakenBack) {
                    assert!(fault != Fault::Dies, "{}: {context}: who died took nothing back", scene.name);
                }
                let lost = fault == Fault::Dies;
                if lost || first.is_none() {
                    // A machine that came back runs nothing: that a run was taken back or finished without it is for `online` and `rejoin`.
                    mend_all_but_source(&world, &scene);
                }
                let end = first.unwrap_or_else(|| resume(&world, &records, &context));
                if !lost {
                    scene.assert_whole(&world, end, &context);
                }
            }
        }
    }
}

/// In a failover, alpha stays lost.
fn mend_all_but_source(world: &World, scene: &Scene) {
    world.mend();
    if scene.name == "failover" {
        lose_alpha(world);
    }
}

/// So that the run goes back as late as it can.
fn refuse_what_cannot_be_undone(world: &World, plan: &Plan) {
    let first = plan.steps.iter().find(|step| step.undo == Undo::Never).unwrap();
    for step in plan.steps.iter().filter(|step| step.undo == Undo::Never && step.after == first.after) {
        world.fault(&step.node, &step.action, Fault::Refused);
    }
}

#[test]
fn every_step_back_fails_in_turn() {
    for scene in scenes() {
        let plan = scene.plan(&scene.world());
        let last_back = plan.steps.iter().position(|step| step.undo == Undo::Never).unwrap();
        for number in 0..last_back {
            let Undo::By(undo) = plan.steps[number].undo.clone() else { continue };
            for fault in [Fault::Refused, Fault::Half, Fault::AnswerLost] {
                let world = scene.world();
                let plan = scene.plan(&world);
                refuse_what_cannot_be_undone(&world, &plan);
                let step = &plan.steps[number];
                world.fault(&step.node, &undo, fault);
                let records = begin(&world, plan.clone());
                let first = session(&world, &records, None, false, false).unwrap();
                let context = format!("{fault:?} at {undo} on {}", step.node);
                assert_eq!(first, None, "{}: {context}: it is not done", scene.name);
                assert_eq!(resume(&world, &records, &context), End::TakenBack, "{}: {context}", scene.name);
                scene.assert_whole(&world, End::TakenBack, &context);
            }
        }
    }
}

#[test]
fn the_runner_is_killed_around_every_record() {
    let mut deaths = 0;
    for scene in scenes() {
        for then_back in [false, true] {
            for durable in [false, true] {
                for at in 0.. {
                    let world = scene.world();
                    let records = begin(&world, scene.plan(&world));
                    let context = format!("killed at record {at}, durable {durable}, back {then_back}");
                    if session(&world, &records, Some((at, durable)), false, false).is_ok() {
                        break;
                    }
                    deaths += 1;
                    let end = match session(&world, &records, None, false, then_back) {
                        Ok(end) => end.unwrap_or_else(|| resume(&world, &records, &context)),
                        // Only forward, or over already.
                        Err(_) => resume(&world, &records, &context),
                    };
                    scene.assert_whole(&world, end, &context);
                }
            }
        }
    }
    assert!(deaths > 700, "only {deaths} deaths");
}

#[test]
fn the_runner_is_killed_while_it_goes_back() {
    for scene in scenes() {
        for at in 0.. {
            let world = scene.world();
            let plan = scene.plan(&world);
            refuse_what_cannot_be_undone(&world, &plan);
            let records = begin(&world, plan.clone());
            let died = session(&world, &records, Some((at, true)), false, false).is_err();
            let context = format!("killed at record {at} of a way back");
            if !died {
                break;
            }
            world.mend();
            if scene.name == "failover" {
                lose_alpha(&world);
            }
            let end = resume(&world, &records, &context);
            scene.assert_whole(&world, end, &context);
        }
    }
}

#[test]
fn a_cancelled_run_goes_back_while_it_can() {
    for scene in scenes().iter().filter(|scene| scene.name != "rejoin") {
        let world = scene.world();
        let records = begin(&world, scene.plan(&world));
        let end = session(&world, &records, None, true, false).unwrap();
        assert_eq!(end, Some(End::TakenBack), "{}", scene.name);
        scene.assert_whole(&world, End::TakenBack, "cancelled");
    }
}

#[test]
fn what_may_be_done_at_once_is() {
    let world = World::new();
    let plan = plan(&world, &Wish::Handoff { to: node("beta"), force: false }, 1);
    let at = |action: Action, name: &str| {
        plan.numbered().find(|(_, step)| step.action == action && step.node == node(name)).unwrap().0
    };
    let start = |name: &str| at(Action::Start(name.parse().unwrap()), "beta");
    let stop = |name: &str| at(Action::Stop(name.parse().unwrap()), "alpha");
    let independent = |one, other| !plan.before(one).contains(&other) && !plan.before(other).contains(&one);
    assert!(independent(start("ip"), start("setup")) && independent(start("imap"), start("smtp")));
    assert!(independent(stop("imap"), stop("smtp")));
    assert!(plan.before(start("imap")).contains(&start("setup")));
    assert!(plan.before(stop("setup")).contains(&stop("imap")));
    let drain = at(Action::Drain("mail".parse().unwrap()), "alpha");
    assert!(["imap", "smtp", "web", "setup"].iter().all(|name| plan.before(drain).contains(&stop(name))));
    let asked = {
        let records = begin(&world, plan.clone());
        session(&world, &records, None, false, false).unwrap();
        world.asked()
    };
    let last_at_alpha = asked.iter().rposition(|(name, action)| *name == node("alpha") && matches!(action, Action::Retire(_)));
    let first_at_beta = asked.iter().position(|(_, action)| matches!(action, Action::TakeOver(..)));
    assert!(last_at_alpha < first_at_beta, "{asked:?}");
}

#[test]
fn an_optional_resource_does_not_stop_a_cutover() {
    let world = World::new();
    let wish = Wish::Handoff { to: node("beta"), force: false };
    let plan = plan(&world, &wish, 1);
    world.fault(&node("beta"), &Action::Start("web".parse().unwrap()), Fault::Refused);
    let records = begin(&world, plan);
    assert_eq!(session(&world, &records, None, false, false).unwrap(), Some(End::Finished));
    let journal = Journal::over(Memory::default(), records.lock().unwrap().clone()).unwrap();
    let report = report(journal.told());
    assert!(report.by_hand.iter().any(|hint| hint == "beta: start web: refused on order"), "{report:#?}");
    assert_eq!((report.loss_ms, report.points.len(), report.end), (Some(0), 2, Some(End::Finished)));
    assert!(report.outage_ms.is_some_and(|outage| outage > 0 && outage <= report.took_ms), "{report:#?}");
    assert_eq!(serde_json::from_str::<super::report::Report>(&serde_json::to_string(&report).unwrap()).unwrap(), report);
}

#[test]
fn a_runner_that_comes_back_too_late_is_not_heard() {
    // Beta dies in the middle of a handoff, alpha goes on without it, and beta comes back.
    let world = World::new();
    let handoff = plan(&world, &Wish::Handoff { to: node("beta"), force: false }, 1);
    let records = begin(&world, handoff.clone());
    let retire = Action::Retire("mail".parse().unwrap());
    world.fault(&node("alpha"), &retire, Fault::Half);
    let died = (0..).find(|at| {
        let world = World::new();
        let records = begin(&world, handoff.clone());
        let _ = session(&world, &records, Some((*at, true)), false, false);
        world.asked().iter().any(|(_, action)| *action == retire)
    });
    assert!(session(&world, &records, died.map(|at| (at, true)), false, false).is_err());
    world.with("beta", |beta| beta.lost = true);
    let wish = Wish::Failover {
        to: Some(node("alpha")),
        point: None,
        accept: Accept::Known,
        force: false,
        heed: Heed::Usual,
        fenced: false,
    };
    let over = begin(&world, decide(&world.group, &world.facts("alpha"), &wish, run_id(2)).unwrap());
    assert_eq!(session(&world, &over, None, false, false).unwrap(), Some(End::Finished));
    world.mend();
    let end = session(&world, &records, None, false, false).unwrap();
    assert_eq!(end, None, "what it asks of alpha is refused");
    assert!(world.with("beta", |beta| beta.online.is_empty()));
    assert!(world.with("alpha", |alpha| !alpha.online.is_empty()));
}

#[test]
fn who_is_slow_is_told_to_hurry_when_the_run_goes_back() {
    struct Slow(AtomicBool);
    impl super::Nodes for Slow {
        fn perform(
            &self,
            _: &standin_common::id::NodeName,
            order: &super::Order,
            is_cancelled: &(dyn Fn() -> bool + Sync),
        ) -> Result<super::Done, super::Failed> {
            let failed = |unchanged| super::Failed { why: String::new(), unchanged };
            match &order.action {
                Action::Stop(name) if name.as_str() == "smtp" => Err(failed(true)),
                Action::Stop(name) if name.as_str() == "web" => {
                    while !is_cancelled() {
                        std::thread::yield_now();
                    }
                    self.0.store(true, Ordering::SeqCst);
                    Err(failed(false))
                }
                _ => Ok(super::Done::default()),
            }
        }
    }
    let world = World::new();
    let records = begin(&world, plan(&world, &Wish::Handoff { to: node("beta"), force: false }, 1));
    let mut journal = Journal::over(Memory { records: records.clone(), dies_at: None }, records.lock().unwrap().clone()).unwrap();
    let (slow, cancel) = (Slow(AtomicBool::new(false)), AtomicBool::new(false));
    let end = carry(&mut journal, &Tools { nodes: &slow, clock: &world, cancel: &cancel, progress: &|_, _| {} }).unwrap();
    assert_eq!((end, slow.0.load(Ordering::SeqCst)), (Some(End::TakenBack), true));
}
