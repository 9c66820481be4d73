//! Each refusal, and what is allowed beside it.

use standin_common::id::Generation;

use super::super::facts::{LastHeard, Seen, Unfinished};
use super::super::run::sim::{World, node, run_id};
use super::super::state::Claim;
use super::*;

fn ask(world: &World, runner: &str, wish: &Wish) -> Result<Plan, Refusal> {
    decide(&world.group, &world.facts(runner), wish, run_id(5))
}

fn failover(point: Option<u64>, accept: Accept, force: bool) -> Wish {
    Wish::Failover { to: Some(node("beta")), point: point.map(PointNumber), accept, force, heed: Heed::Usual, fenced: false }
}

fn handoff(to: &str) -> Wish {
    Wish::Handoff { to: node(to), force: false }
}

/// Facts with something other about a node's set `mail`.
fn with_set(world: &World, of: &str, change: impl Fn(&mut SetView)) -> Facts {
    let mut facts = world.facts("beta");
    let Some(Seen::There(view)) = facts.nodes.get_mut(&node(of)) else { panic!("{of} is away") };
    change(view.sets.get_mut(&"mail".parse().unwrap()).unwrap());
    facts
}

fn lost_alpha() -> World {
    let world = World::new();
    world.with("alpha", |alpha| alpha.lost = true);
    world
}

#[test]
fn a_failover_from_a_node_that_answers_points_to_the_handoff() {
    let world = World::new();
    let refused = ask(&world, "beta", &failover(None, Accept::Known, false)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "alpha has group mail and answers: `standin handoff mail --to beta` moves it without loss; --force stops it there, and loses what was not sent yet"
    );
    let forced = ask(&world, "beta", &failover(None, Accept::Known, true)).unwrap();
    assert!(
        forced.steps.iter().any(|step| step.node == node("alpha") && matches!(step.action, super::super::plan::Action::Stop(_)))
    );
    let plan = ask(&lost_alpha(), "beta", &failover(None, Accept::Known, false)).unwrap();
    assert!(plan.steps.iter().all(|step| step.node == node("beta")), "nothing is asked of a lost node");
    assert_eq!(plan.away.len(), 1);
}

#[test]
fn the_first_by_priority_that_answers_takes_over() {
    let wish = Wish::Failover { to: None, point: None, accept: Accept::Known, force: false, heed: Heed::Usual, fenced: false };
    assert_eq!(runner(&World::new().group, &lost_alpha().facts("beta"), &wish), Ok(node("beta")));
    let world = World::new();
    world.with("beta", |beta| beta.lost = true);
    assert!(
        matches!(runner(&world.group, &world.facts("alpha"), &wish), Err(Refusal::There { node: there, .. }) if there == node("alpha"))
    );
    assert!(matches!(runner(&world.group, &world.facts("alpha"), &handoff("gamma")), Err(Refusal::NoMember(..))));
    assert!(matches!(ask(&world, "alpha", &handoff("beta")), Err(Refusal::OtherRunner(other)) if other == node("beta")));
}

#[test]
fn who_is_heard_and_does_not_answer_is_not_lost() {
    let world = lost_alpha();
    let facts = Facts { heard: [node("alpha")].into(), ..world.facts("beta") };
    let ask = |force| decide(&world.group, &facts, &failover(None, Accept::Known, force), run_id(5));
    assert!(matches!(ask(false), Err(Refusal::Heard { node: heard, .. }) if heard == node("alpha")));
    assert!(ask(true).is_ok(), "a person knows better");
    let heed = Heed::Without;
    let without = Wish::Failover { to: None, point: None, accept: Accept::Known, force: false, heed, fenced: false };
    let refused = decide(&world.group, &facts, &without, run_id(5));
    assert!(matches!(refused, Err(Refusal::Heard { .. })), "the witness has no part in that");
}

#[test]
fn what_would_be_lost_is_said_and_bounded() {
    let world = lost_alpha();
    let facts = |behind: Option<u64>| {
        with_set(&world, "beta", |set| {
            let SetView::Known { behind_ms, .. } = set else { panic!() };
            *behind_ms = behind;
        })
    };
    let ask = |behind, accept| decide(&world.group, &facts(behind), &failover(None, accept, false), run_id(5));
    let ask_later = |ms, accept| {
        let heard = LastHeard { ms, slack_ms: 1000 };
        let facts = Facts { last_heard: [(node("alpha"), heard)].into(), ..facts(Some(45_000)) };
        decide(&world.group, &facts, &failover(None, accept, false), run_id(5))
    };
    let refused = ask(Some(45_000), Accept::AtMost(30_000)).unwrap_err();
    let words = refused.to_string();
    assert!(
        words.starts_with("this node last had everything 45 s ago") && words.contains("--accept-loss allows 30 s"),
        "{words}"
    );
    assert_eq!(ask(Some(45_000), Accept::AtMost(60_000)).unwrap().loss.unwrap().behind_ms, Some(45_000));
    // A person who comes late loses no more than one who was there.
    let loss = ask_later(44_000, Accept::AtMost(30_000)).unwrap().loss.unwrap();
    assert_eq!((loss.behind_ms, loss.heard_ms), (Some(2000), Some(44_000)));
    // The standby heard of the source after its last heartbeat: something may be lost all the same.
    assert_eq!(ask_later(60_000, Accept::Known).unwrap().loss.unwrap().behind_ms, Some(1000));
    assert!(ask_later(60_000, Accept::AtMost(0)).is_err());
    let refused = ask_later(10_000, Accept::AtMost(30_000)).unwrap_err().to_string();
    assert!(refused.contains("in the last 36 s before it was lost, 10 s ago"), "{refused}");
    assert!(ask(Some(45_000), Accept::Known).is_ok());
    assert_eq!(ask(None, Accept::Known), Err(Refusal::LossUnknown));
    assert_eq!(ask(None, Accept::AtMost(60_000)), Err(Refusal::LossUnknown));
    assert_eq!(ask(None, Accept::Any).unwrap().loss.unwrap().behind_ms, None);
}

#[test]
fn nothing_is_started_without_a_point() {
    let world = lost_alpha();
    let without = with_set(&world, "beta", |set| {
        let SetView::Known { newest, .. } = set else { panic!() };
        *newest = None;
    });
    let refused = decide(&world.group, &without, &failover(None, Accept::Any, false), run_id(5));
    assert!(matches!(refused, Err(Refusal::NoPoint { .. })));
    assert!(matches!(ask(&world, "beta", &failover(Some(11), Accept::Any, false)), Err(Refusal::LaterPoint { .. })));
    assert!(ask(&world, "beta", &failover(Some(9), Accept::Any, false)).is_ok());
    let unknown = with_set(&world, "beta", |set| *set = SetView::Unknown("no".into()));
    let refused = decide(&world.group, &unknown, &failover(None, Accept::Any, false), run_id(5));
    assert!(matches!(refused, Err(Refusal::SetUnknown { .. })));
}

#[test]
fn a_handoff_is_refused_where_it_could_lose_something() {
    let world = World::new();
    let with = |of: &str, change: &dyn Fn(&mut SetView)| {
        decide(&world.group, &with_set(&world, of, change), &handoff("beta"), run_id(5))
    };
    let behind = |ms: Option<u64>| {
        move |set: &mut SetView| {
            let SetView::Known { behind_ms, .. } = set else { panic!() };
            *behind_ms = ms;
        }
    };
    let set = || "mail".parse().unwrap();
    assert_eq!(with("alpha", &behind(None)), Err(Refusal::NotYet(set())));
    assert!(Refusal::NotYet(set()).to_string().contains("`standin mirror start mail --wait`"));
    assert_eq!(
        with("alpha", &behind(Some(MOST_BEHIND_MS + 1))),
        Err(Refusal::Behind { set: set(), behind_ms: MOST_BEHIND_MS + 1 })
    );
    assert!(with("alpha", &behind(Some(MOST_BEHIND_MS))).is_ok());
    for of in ["alpha", "beta"] {
        let ill = with(of, &|set| {
            let SetView::Known { trouble, .. } = set else { panic!() };
            *trouble = "the disk is full".into();
        });
        assert!(matches!(ill, Err(Refusal::Trouble { .. })), "{of}");
        let turned = with(of, &|set| {
            let SetView::Known { source, standby, .. } = set else { panic!() };
            std::mem::swap(source, standby);
        });
        assert!(matches!(turned, Err(Refusal::OtherRoles { .. })), "{of}");
    }
    assert!(matches!(ask(&lost_alpha(), "beta", &handoff("beta")), Err(Refusal::Offline(_) | Refusal::Unreachable { .. })));
    assert!(matches!(ask(&world, "alpha", &handoff("alpha")), Err(Refusal::There { .. })));
    assert!(matches!(ask(&world, "alpha", &Wish::Failback), Err(Refusal::There { .. })));
}

#[test]
fn runs_that_are_not_finished_keep_others_out() {
    let world = World::new();
    let unfinished = |running, crossed| Some(Unfinished { run: run_id(1), running, crossed });
    let claim = Claim { run: run_id(1), generation: Generation(2), runner: node("beta"), to: Some(node("beta")) };
    for name in ["alpha", "beta"] {
        world.with(name, |node| node.state = node.state.claimed(&claim).unwrap());
    }
    let offline = Wish::Offline { resource: None };
    world.with("beta", |beta| beta.unfinished = unfinished(true, false));
    assert!(matches!(ask(&world, "beta", &failover(None, Accept::Any, true)), Err(Refusal::Unfinished { running: true, .. })));
    world.with("beta", |beta| beta.unfinished = unfinished(false, false));
    assert!(matches!(ask(&world, "alpha", &offline), Err(Refusal::Unfinished { running: false, .. })));
    assert!(matches!(ask(&world, "beta", &handoff("beta")), Err(Refusal::Unfinished { .. })));
    // A failover goes over what nobody carries out, since that may be all that is left to do.
    let over = ask(&world, "beta", &failover(None, Accept::Any, true)).unwrap();
    assert_eq!(over.generation(), Generation(3));
    // Its runner is lost: alpha was to give the group up, and may take it back by a failover only.
    world.with("beta", |beta| beta.lost = true);
    assert!(matches!(ask(&world, "alpha", &offline), Err(Refusal::Stranded { .. })));
    let back = |to| Wish::Failover { to, point: None, accept: Accept::Known, force: false, heed: Heed::Usual, fenced: false };
    let unnamed = runner(&world.group, &world.facts("alpha"), &back(None));
    assert_eq!(unnamed, Ok(node("alpha")), "beta may have it, and is lost");
    let plan = ask(&world, "alpha", &back(Some(node("alpha")))).unwrap();
    assert_eq!(
        (plan.from.clone(), plan.to().cloned(), plan.loss.unwrap().behind_ms),
        (Some(node("beta")), Some(node("alpha")), Some(0))
    );
}

#[test]
fn a_run_past_its_point_of_no_return_may_be_handed_back() {
    let world = World::new();
    let plan = ask(&world, "beta", &failover(None, Accept::Known, true)).unwrap();
    for name in ["alpha", "beta"] {
        world.with(name, |node| {
            node.state = node.state.claimed(&plan.claim).unwrap();
            node.online.clear();
            for side in node.sets.values_mut() {
                (side.source, side.generation) = (name == "beta", plan.generation());
            }
        });
    }
    world.with("beta", |beta| beta.unfinished = Some(Unfinished { run: run_id(5), running: false, crossed: true }));
    assert_eq!(world.facts("alpha").newest().online, Some(node("beta")), "as the run makes it");
    let back = ask(&world, "alpha", &handoff("alpha")).unwrap();
    assert_eq!((back.from.clone(), back.to().cloned()), (Some(node("beta")), Some(node("alpha"))));
}

#[test]
fn online_asks_everybody_first() {
    let world = World::new();
    world.with("beta", |beta| beta.lost = true);
    let online = |force| Wish::Online { resource: None, force, heed: Heed::Usual };
    assert!(matches!(ask(&world, "alpha", &online(false)), Err(Refusal::NotAsked { .. })));
    assert!(ask(&world, "alpha", &online(true)).is_ok());
    world.with("beta", |beta| beta.lost = false);
    assert!(ask(&world, "alpha", &online(false)).is_ok());
    let part = Wish::Online { resource: Some("imap".parse().unwrap()), force: false, heed: Heed::Usual };
    let started: Vec<String> = ask(&world, "alpha", &part)
        .unwrap()
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            super::super::plan::Action::Start(name) => Some(name.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(started, ["ip", "setup", "imap"], "with what it needs, and nothing else");
    let other = Wish::Online { resource: Some("pop".parse().unwrap()), force: false, heed: Heed::Usual };
    assert!(ask(&world, "alpha", &other).unwrap_err().is_usage());
    let down = ask(&world, "alpha", &Wish::Offline { resource: Some("imap".parse().unwrap()) }).unwrap();
    assert_eq!(down.down.iter().map(ToString::to_string).collect::<Vec<_>>(), ["imap", "web"]);
    assert_eq!(down.to(), Some(&node("alpha")), "the rest stays");
}
