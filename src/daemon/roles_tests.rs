use standin_common::entry::Time;
use standin_common::id::MirrorId;
use standin_common::scope::Reason;

use super::*;

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn point(number: u64) -> Point {
    Point {
        number: PointNumber(number),
        generation: Generation(1),
        mirror: MirrorId(7),
        reason: Reason::Asked,
        at: Time::default(),
        consistent: true,
        objects: 0,
        bytes: 0,
        orphans: 0,
    }
}

fn roles(source: &str, generation: u64) -> Roles {
    Roles { format: FORMAT, generation: Generation(generation), source: node(source), from: None, retired: None, returning: None }
}

#[test]
fn the_higher_generation_is_right() {
    let (alpha, beta) = (node("alpha"), node("beta"));
    let new = roles("alpha", 1).taken_over(&beta, Generation(2), point(9));
    // The old source hears of the new one.
    let Heard::Keep(now) = roles("alpha", 1).hear(&new, &alpha, &beta) else { panic!() };
    assert_eq!((now.generation, &now.source, now.from.clone()), (Generation(2), &beta, Some(point(9))));
    assert_eq!(now.returning, Some(Returning { was: Generation(1), drained: None, founded: false }));
    // Whoever knows it hears nothing new, and the new source nothing of the old.
    assert_eq!(now.hear(&new, &alpha, &beta), Heard::Nothing);
    assert_eq!(new.hear(&roles("alpha", 1), &beta, &alpha), Heard::Nothing);
    // The point may be heard later.
    let Heard::Keep(learned) = (Roles { from: None, ..now.clone() }).hear(&new, &alpha, &beta) else { panic!() };
    assert_eq!(learned, now);
    // A standby of a source that was raised stays one, and its tree is none of a source.
    let Heard::Keep(raised) = roles("alpha", 1).hear(&roles("alpha", 3), &beta, &alpha) else { panic!() };
    assert_eq!((raised.generation, raised.returning), (Generation(3), None));
    // Nobody is made source by hearsay, and nobody else is source.
    assert_eq!(roles("alpha", 1).hear(&roles("beta", 2), &beta, &alpha), Heard::Forgotten(Generation(2)));
    assert_eq!(roles("alpha", 1).hear(&roles("gamma", 9), &beta, &alpha), Heard::Nothing);
}

#[test]
fn only_a_peer_of_the_same_generation_is_sent_anything() {
    let (alpha, beta) = (node("alpha"), node("beta"));
    let (old, new) = (roles("alpha", 1), roles("beta", 2));
    assert_eq!(old.lets_send(&roles("alpha", 1), &beta, true), Ok(()));
    assert!(old.lets_send(&roles("alpha", 1), &beta, false).is_err());
    assert!(old.lets_send(&new, &beta, true).unwrap_err().contains("beta is source"));
    assert!(new.lets_send(&old, &alpha, true).unwrap_err().contains("alpha has not become a standby"));
    assert!(roles("alpha", 2).lets_send(&new, &beta, true).is_err());
}

#[test]
fn what_was_drained_is_known_only_if_the_other_took_over_there() {
    let beta = node("beta");
    let retired = |generation, drained| Roles {
        retired: Some(Retired { generation: Generation(generation), drained: Some(PointNumber(drained)) }),
        ..roles("alpha", 1)
    };
    let given_up = |roles: Roles, at| roles.given_up(&beta, Generation(2), Some(point(at)));
    assert!(given_up(retired(2, 9), 9).is_drained());
    assert!(!given_up(retired(2, 9), 8).is_drained());
    assert!(!given_up(retired(3, 9), 9).is_drained());
    assert!(!given_up(roles("alpha", 1), 9).is_drained());
    assert!(!retired(2, 9).given_up(&beta, Generation(2), None).is_drained());
}

/// A set from alpha to beta, in the settings of a file in this directory.
fn written(directory: &Path) -> Set {
    let file = directory.join("standin.toml");
    let text = "[node]\nname = \"alpha\"\nstate_dir = \"/tmp\"\n[peers.beta]\naddresses = [\"127.0.0.1:1\"]\n[sets.mail]\nsource = \"alpha\"\n\
                standby = \"beta\"\n[[sets.mail.roots]]\npath = \"/here\"\ntarget = \"/there\"\n";
    std::fs::write(&file, text).unwrap();
    Settings::load(&file).unwrap().sets["mail".parse::<standin_common::id::SetName>().as_ref().unwrap()].clone()
}

#[test]
fn what_is_heard_while_the_tree_becomes_a_replica_does_not_make_it_forgotten() {
    let (alpha, beta) = (node("alpha"), node("beta"));
    let directory = tempfile::tempdir().unwrap();
    let file = RolesFile::open(&written(directory.path()), directory.path()).unwrap();
    file.change(|now| Some(now.given_up(&beta, Generation(2), None))).unwrap();
    // The peer says from which point it took over; before that is kept, the tree was made a replica.
    let said = Roles { from: Some(point(5)), ..roles("beta", 2) };
    assert!(matches!(file.now().hear(&said, &alpha, &beta), Heard::Keep(_)));
    let returning = file.now().returning.map(|returning| Returning { founded: true, ..returning });
    file.found(Generation(2), returning).unwrap();
    file.change(|now| match now.hear(&said, &alpha, &beta) {
        Heard::Keep(learned) => Some(learned),
        _ => None,
    })
    .unwrap();
    let reopened = RolesFile::open(&written(directory.path()), directory.path()).unwrap();
    for now in [file.now(), reopened.now()] {
        assert_eq!((now.from, now.returning), (Some(point(5)), returning));
    }
    // Of a generation that is over, nothing.
    file.found(Generation(1), None).unwrap();
    assert_eq!(file.now().returning, returning);
}

#[test]
fn a_turned_set_goes_the_other_way() {
    let directory = tempfile::tempdir().unwrap();
    let written = written(directory.path());
    assert_eq!(Roles::written(&written).orient(&written), written);
    let turned = roles("beta", 2).orient(&written);
    assert_eq!((turned.source.as_str(), turned.standby.as_str()), ("beta", "alpha"));
    assert_eq!((&turned.roots[0].path, &turned.roots[0].target), (&"/there".into(), &"/here".into()));
    assert_eq!(turned.turned(), written);
}
