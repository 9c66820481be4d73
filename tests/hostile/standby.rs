//! A hostile standby against a source's daemon.

use std::time::Instant;

use standin_common::id::{PointNumber, RootIndex};
use standin_common::message::{
    Difference, Differing, Finding, FromSource, FromStandby, HelloAnswer, LaneDown, LaneUp, MirrorAnswer, Opening, Position, Want,
};
use standin_common::tree::ShortValue;

use crate::fake::{Fake, Scene, Session, want};
use crate::raw::{EVIL_PATHS, Raw, forged, path, placeholder};
use crate::support::{PATIENCE, Pair, wait_until};

type Act = Box<dyn FnOnce(&mut Session)>;

/// What it says, and what the source says of that.
fn breaches() -> Vec<(&'static str, &'static str, Act)> {
    let wants = |wants: Vec<Want>| -> Act { Box::new(move |session| session.want(wants)) };
    let says = |message: FromStandby| -> Act { Box::new(move |session| session.say(&message)) };
    let answers = |answer: LaneUp| -> Act { Box::new(move |session| session.answer(&answer)) };
    let other_root = Want { at: Position { root: RootIndex(7), path: path("d/file") }, ..want(1, "") };
    vec![
        ("an unknown root", "a root that the set does not have", wants(vec![other_root])),
        ("an excluded file", "the rules exclude", wants(vec![want(1, "excluded")])),
        ("two of a number", "the same number", wants(vec![want(1, "large"), want(1, "d/file")])),
        ("a file not sent is done", "not asked", answers(LaneUp::Done { file: 1 })),
        ("a file not sent again", "not asked", answers(LaneUp::Again { file: u64::MAX })),
        ("values not announced", "not asked", answers(LaneUp::Compared { file: 1, groups: 1, differing: vec![] })),
        ("a size not asked for", "not asked", answers(LaneUp::Here { file: 1, size: 1 })),
        ("many values", "more than was asked", answers(LaneUp::Compared { file: 1, groups: u32::MAX, differing: vec![] })),
        (
            "committed before it was asked",
            "not asked to commit",
            says(FromStandby::Committed {
                point: PointNumber(u64::MAX),
                orphans_left: u64::MAX,
                objects: u64::MAX,
                bytes: u64::MAX,
            }),
        ),
        ("garbage", "cannot be read", Box::new(|session| drop(session.send.send(&Raw(vec![0xff; 1_000_000]), &[])))),
        ("garbage on a lane", "cannot be read", Box::new(|session| drop(session.lane.0.send(&Raw(vec![0xff; 1000]), &[])))),
        (
            "wants after all",
            "after it had said that it has all",
            Box::new(|session| {
                session.say(&FromStandby::Joined(Default::default()));
                session.want(vec![want(1, "large")]);
            }),
        ),
        (
            "all twice",
            "before it was told all",
            Box::new(|session| {
                session.want(vec![want(1, "large")]);
                session.say(&FromStandby::Joined(Default::default()));
                session.say(&FromStandby::Joined(Default::default()));
            }),
        ),
        (
            "one file a million times",
            "more files than it was told of",
            Box::new(|session| {
                for batch in 0..1000 {
                    session.want((0..1000).map(|number| want(batch * 1000 + number, "large")).collect());
                }
            }),
        ),
    ]
}

#[test]
fn breaches_of_the_protocol_end_the_mirror() {
    let mut scene = Scene::new();
    for (attack, why, act) in breaches() {
        scene.assert_breach(attack, why, |standby| {
            let mut session = standby.begun(None);
            act(&mut session);
            session.wait_for_the_end();
        });
    }
    let nowhere = Position { root: RootIndex(9), path: path("d") };
    scene.assert_breach("going on nowhere", "go on in a root", |standby| {
        let (_, (mut send, mut receive)) = standby.mirror();
        let ready = MirrorAnswer::Ready { after: Some(nowhere), first: false, owners: true, objects: 0 };
        send.send(&ready, &[]).unwrap();
        while let Ok(Some(_)) = receive.receive::<FromSource>() {}
    });
    scene.check_at_last();
}

/// Asks for a file to be compared, and takes it until its values come.
fn compared(standby: &Fake) -> Session {
    let mut session = standby.begun(None);
    session.want(vec![Want { whole: false, ..want(1, "large") }]);
    assert!(matches!(session.hear(), LaneDown::Begin { file: 1, size: 200_000 }));
    assert!(matches!(session.hear(), LaneDown::Groups { file: 1, values } if values.len() == 4));
    session
}

#[test]
fn false_comparisons_end_the_mirror() {
    let mut scene = Scene::new();
    let differing = |group, leaves| Differing { group, leaves: vec![ShortValue::default(); leaves] };
    let answers = [
        ("too many groups", "more than was announced", 9, vec![]),
        ("a group that is none", "not announced", 4, vec![differing(77, 16)]),
        ("groups in disorder", "not announced", 4, vec![differing(2, 16), differing(1, 16)]),
        ("a group twice", "not announced", 4, vec![differing(1, 0), differing(1, 0)]),
        ("endless leaves", "more than was asked", 4, vec![differing(1, 60_000)]),
        ("endless groups", "more than was asked", 4, (0..300_000).map(|_| differing(1, 0)).collect()),
    ];
    for (attack, why, groups, differing) in answers {
        scene.assert_breach(attack, why, |standby| {
            let mut session = compared(standby);
            session.answer(&LaneUp::Compared { file: 1, groups, differing });
            session.wait_for_the_end();
        });
    }
    scene.assert_breach("a size where nothing is compared", "compares where it should receive", |standby| {
        let mut session = compared(standby);
        session.answer(&LaneUp::Here { file: 1, size: 7 });
        session.wait_for_the_end();
    });
    scene.assert_breach("another file's proof", "was not sent", |standby| {
        let mut session = compared(standby);
        session.answer(&LaneUp::Done { file: 1 });
        session.wait_for_the_end();
    });
    scene.check_at_last();
}

#[test]
fn nothing_outside_of_the_roots_is_sent() {
    let mut scene = Scene::new();
    let paths = [
        "way/secret",
        "absolute/secret",
        "way",
        "absolute",
        "d",
        "",
        "pipe",
        ".standin/1-1",
        ".standin",
        "none",
        "d/file/beneath",
        "d/none/none",
    ];
    for (whole, number) in [(true, 0), (false, 100)] {
        let done = scene.attack("paths that lead elsewhere", |standby| {
            let mut session = standby.begun(None);
            let wants: Vec<_> = paths.iter().zip(number..).map(|(at, file)| Want { whole, ..want(file, at) }).collect();
            session.want(wants);
            for (at, number) in paths.iter().zip(number..) {
                let message = session.hear();
                assert!(matches!(message, LaneDown::Gone { file, .. } if file == number), "{at:?}: {message:?}");
            }
            session.be_honest();
        });
        done.expect(0);
    }
    for evil in EVIL_PATHS {
        let word = placeholder(evil);
        let message = forged(&FromStandby::Wants(vec![want(1, &word)]), &word, evil);
        scene.assert_breach(&String::from_utf8_lossy(evil), "cannot be read", |standby| {
            let mut session = standby.begun(None);
            drop(session.send.send(&Raw(message), &[]));
            session.wait_for_the_end();
        });
    }
    scene.check_at_last();
}

#[test]
fn a_standby_that_has_something_of_a_new_mirror_is_asked_first_the_next_time() {
    let mut scene = Scene::new();
    let somewhere = Position { root: RootIndex(0), path: path("large") };
    let done = scene.attack("going on with what is new", |standby| {
        let (first, (mut send, mut receive)) = standby.mirror();
        let ready = MirrorAnswer::Ready { after: Some(somewhere.clone()), first: false, owners: true, objects: 0 };
        send.send(&ready, &[]).unwrap();
        while let Ok(Some(_)) = receive.receive::<FromSource>() {}
        // By now it goes on where it is told to.
        let (second, (mut send, mut receive)) = standby.mirror();
        assert_eq!(first, second);
        send.send(&ready, &[]).unwrap();
        let Some((FromSource::Entries { entries, .. }, _)) = receive.receive().unwrap() else { panic!("no entries") };
        // The root is named once more, since it is what the rest is in.
        assert!(entries.iter().all(|entry| entry.path.is_root() || entry.path > somewhere.path), "{entries:?}");
        drop((send, receive));
        standby.begun(None).be_honest();
    });
    assert!(done.expect(0).json()["resumed"].as_u64() >= Some(2));
    scene.check_at_last();
}

#[test]
fn what_means_nothing_does_no_harm() {
    let mut scene = Scene::new();
    let at = Position { root: RootIndex(60_000), path: path("nonsense") };
    let findings = FromStandby::Findings(vec![Finding { at: at.clone(), difference: Difference::Data }; 5000]);
    let problem = FromStandby::Problem { at: at.clone(), text: "\u{1b}[31mx\n".repeat(60_000) };
    let done = scene.attack("much talk", |standby| {
        let mut session = standby.begun(None);
        for position in [None, Some(at)] {
            session.say(&FromStandby::Durable { position, data_bytes: u64::MAX });
        }
        (0..300).for_each(|_| session.say(&findings));
        (0..150).for_each(|_| session.say(&problem));
        session.want(vec![Want { size: u64::MAX, ..want(1, "large") }, Want { size: u64::MAX, ..want(2, "d/file") }]);
        // Whatever size it claims, it gets what is there.
        for file in [1, 2] {
            while !matches!(session.hear(), LaneDown::Small { .. } | LaneDown::End { .. }) {}
            session.answer(&LaneUp::Done { file });
        }
        session.be_honest();
    });
    let report = done.expect(0).json();
    assert_eq!((report["finding_count"].as_u64(), report["problem_count"].as_u64()), (Some(1_500_000), Some(150)));
    assert!(report["problems"].as_array().unwrap().iter().all(|problem| problem["text"].as_str().unwrap().len() <= 4000));
    let log = scene.pair.alpha.log();
    assert!(log.len() < 2_000_000 && !log.contains('\u{1b}'), "{} bytes of log", log.len());
    scene.check_at_last();
}

#[test]
fn what_never_arrives_is_not_sent_for_ever() {
    let mut scene = Scene::new();
    let done = scene.attack("never proven", |standby| {
        let mut session = standby.begun(None);
        session.want(vec![want(1, "d/file")]);
        for answered in 0.. {
            assert!(answered < 100, "it is sent again and again");
            match session.lane.1.receive::<LaneDown>() {
                Ok(Some((LaneDown::Small { .. } | LaneDown::End { .. }, _))) => session.answer(&LaneUp::Again { file: 1 }),
                Ok(Some((LaneDown::Groups { .. }, _))) => {
                    session.answer(&LaneUp::Compared {
                        file: 1,
                        groups: 1,
                        differing: vec![Differing { group: 0, leaves: vec![] }],
                    });
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        session.wait_for_the_end();
    });
    // It is held until a person has seen to it.
    assert!(done.expect(3).stderr.contains("does not arrive as it was sent"));
    scene.pair.alpha.run(&["mirror", "stop", "mail"]).expect(0);
    scene.check_at_last();
}

/// The operator stops it, at once for them; the next mirror begins as soon as the connection was given up.
#[track_caller]
fn stop(scene: &mut Scene, attack: &str, hold: impl FnOnce(&Fake) -> Box<dyn std::any::Any>) {
    println!("silence: {attack}");
    scene.pair.alpha.run(&["mirror", "start", "mail"]).expect(0);
    let held = hold(scene.standby());
    let began = Instant::now();
    scene.pair.alpha.run(&["mirror", "stop", "mail"]).expect(0);
    wait_until(&format!("it is stopped: {attack}"), PATIENCE, || {
        let status = Pair::status_of(&scene.pair.alpha);
        status["state"] == "idle" && status["mirror"].is_null()
    });
    println!("stopped in {:?}", began.elapsed());
    scene.check(attack);
    scene.attack("none", |standby| standby.begun(None).be_honest()).expect(0);
    drop(held);
}

#[test]
fn silence_can_be_stopped() {
    let mut scene = Scene::new();
    stop(&mut scene, "a mirror without an answer", |standby| Box::new(standby.mirror()));
    stop(&mut scene, "a mirror that goes no further", |standby| {
        let (_, (mut send, receive)) = standby.mirror();
        send.send(&MirrorAnswer::Ready { after: None, first: false, owners: true, objects: 0 }, &[]).unwrap();
        Box::new((send, receive))
    });
    scene.check_at_last();
}

#[test]
fn a_breach_is_said_to_who_does_not_let_go() {
    let mut scene = Scene::new();
    let mut held = None;
    scene.assert_breach("it holds on", "not asked to commit", |standby| {
        let (mirror, (mut send, receive)) = standby.mirror();
        let ready = MirrorAnswer::Ready { after: None, first: false, owners: true, objects: 0 };
        send.send(&ready, &[]).unwrap();
        send.send(&FromStandby::Committed { point: PointNumber(2), orphans_left: 0, objects: 0, bytes: 0 }, &[]).unwrap();
        held = Some((mirror, send, receive));
    });
    drop(held);
    scene.check_at_last();
}

#[test]
fn answers_that_do_not_fit_are_said() {
    let mut scene = Scene::new();
    let say = |scene: &mut Scene, answer: Option<HelloAnswer>, why: &str| {
        // A connection of its own.
        scene.pair.alpha.stop();
        scene.pair.alpha.start();
        let mut held = Vec::new();
        wait_until(&format!("it is said: {why}"), PATIENCE, || {
            while let Some((opening, mut talk)) = scene.standby().try_next() {
                if let (Opening::Hello(_), Some(answer)) = (opening, &answer) {
                    drop(talk.0.send(answer, &[]).and_then(|()| talk.0.finish()));
                }
                held.push(talk);
            }
            Pair::status_of(&scene.pair.alpha)["trouble"].as_str().is_some_and(|trouble| trouble.contains(why))
        });
        scene.check(why);
    };
    say(&mut scene, Some(HelloAnswer::OtherVersion(9)), "speaks version 9 of the protocol");
    say(&mut scene, Some(HelloAnswer::OtherName { known_as: "gamma".parse().unwrap() }), "knows this node as gamma");
    say(&mut scene, None, "did not answer");
    scene.check_at_last();
}
