//! A source that breaks the rules, and rules that leave something out.

use standin_common::entry::Time;
use standin_common::id::RootIndex;
use standin_common::path::RelPath;
use standin_common::scope::Reason;
use standin_common::stream::Batch;
use standin_config::{Effect, Rule};
use standin_replicator::capture::ordered::{Kind, Made, Operation, Place, encode};
use standin_replicator::rules::Rules;
use standin_replicator::standby::stream::{Folded, Limits, Session, StreamError};
use standin_replicator::volume::{ObjectKind, Volume, VolumeFile};

use crate::ground::{Ground, Told, assert_same, contents, opening};
use crate::model::{Model, ROOT};
use crate::program::id;

const NOW: Time = Time { secs: 5_000_000, nanos: 0 };
const MADE: Made = Made { mode: 0o600, uid: 0, gid: 0, modified: NOW };

fn at(parent: u64, name: &'static str) -> Place<'static> {
    Place { parent: id(parent), name: name.as_bytes() }
}

fn make(object: u64, place: Place<'static>, kind: Kind<'static>) -> Operation<'static> {
    Operation::Make { object: id(object), at: Some(place), kind, made: MADE, directory: NOW }
}

fn known(object: u64, at: Place<'static>) -> Operation<'static> {
    Operation::Known { object: id(object), at }
}

fn write(object: u64, offset: u64, data: &'static [u8]) -> Operation<'static> {
    Operation::Write { object: id(object), offset, data, modified: NOW }
}

fn rename(object: u64, from: Place<'static>, to: Place<'static>) -> Operation<'static> {
    Operation::Rename { object: id(object), from, to, replaced: None, left: NOW, entered: NOW }
}

/// A source with a directory, a file in it, and a file beside it.
fn model() -> Model {
    let mut model = Model::new();
    let (directory, inside, file) = (model.add(ObjectKind::Directory), model.add(ObjectKind::File), model.add(ObjectKind::File));
    model.thing(file).data = b"as it was".to_vec();
    model.put(ROOT, b"d", directory);
    model.put(directory, b"inside", inside);
    model.put(ROOT, b"file", file);
    model
}

const DIRECTORY: u64 = 2;
const INSIDE: u64 = 3;
const FILE: u64 = 4;

fn fold(ground: &Ground, rules: &[Rules], operations: &[(u16, Operation<'_>)]) -> Folded {
    let replica = ground.open();
    let (session, _) = Session::open(&replica, rules, &opening(0, 1000), Limits::default()).unwrap().unwrap();
    let mut payload = Vec::new();
    operations.iter().for_each(|(root, operation)| encode(RootIndex(*root), operation, &mut payload).unwrap());
    session.take(&Batch { first: 1, count: operations.len() as u32, at: NOW, point: None }, &payload).unwrap();
    session.fold(Reason::Interval).unwrap()
}

/// Everything up to what cannot be is done, and nothing of it or after it.
#[test]
fn what_cannot_be_is_refused_and_what_came_before_it_is_kept() {
    let rules = [Rules::everything()];
    let root = Operation::Root { object: id(ROOT) };
    let (directory, file) = (known(DIRECTORY, at(ROOT, "d")), known(FILE, at(ROOT, "file")));
    let no_link = Kind::Symlink(b"");
    let bad: Vec<(u16, Operation<'_>)> = vec![
        (0, write(99, 0, b"to nobody")),
        (0, make(50, at(99, "x"), Kind::File)),
        (0, make(50, at(ROOT, ".."), Kind::File)),
        (0, make(50, at(ROOT, "../out"), Kind::File)),
        (0, make(50, at(ROOT, "a/b"), Kind::File)),
        (0, make(50, at(ROOT, "/etc/passwd"), Kind::File)),
        (0, make(50, at(ROOT, ""), Kind::File)),
        (0, make(50, at(ROOT, "nul\0"), Kind::File)),
        (0, make(50, at(FILE, "x"), Kind::File)),
        (0, make(50, at(ROOT, "link"), no_link)),
        (0, Operation::Make { object: id(50), at: None, kind: Kind::Directory, made: MADE, directory: NOW }),
        (0, write(FILE, u64::MAX - 3, b"far beyond")),
        (0, Operation::Truncate { object: id(FILE), len: u64::MAX, modified: NOW }),
        (0, write(DIRECTORY, 0, b"no file")),
        (0, Operation::Link { object: id(DIRECTORY), at: at(ROOT, "e"), directory: NOW }),
        (0, rename(DIRECTORY, at(ROOT, "d"), at(DIRECTORY, "beneath"))),
        (0, rename(FILE, at(ROOT, "d"), at(ROOT, "g"))),
        (0, Operation::Remove { object: id(FILE), at: at(ROOT, "nothing"), directory: NOW }),
        (1, Operation::Root { object: id(ROOT) }),
        (9, make(50, at(ROOT, "x"), Kind::File)),
    ];
    for (index, (number, operation)) in bad.into_iter().enumerate() {
        let ground = Ground::of(&model(), index as u64);
        let before = contents(&ground.volume);
        let good = make(40, at(ROOT, "good"), Kind::File);
        let never = make(41, at(ROOT, "never"), Kind::File);
        let folded = fold(&ground, &rules, &[(0, root), (0, directory), (0, file), (0, good), (number, operation), (0, never)]);
        assert_eq!(folded.position, 4, "{operation:?}: {folded:?}");
        assert!(folded.over.is_some(), "{operation:?}");
        let after: Vec<_> = contents(&ground.volume).into_iter().filter(|(path, ..)| path.as_bytes() != b"good").collect();
        // The root has another time, since something was made in it.
        assert_same(&format!("{operation:?}"), &after[1..].to_vec(), &before[1..].to_vec());
        assert_eq!(contents(&ground.volume).len(), before.len() + 1);
    }
}

#[test]
fn batches_that_are_not_what_they_say_are_refused() {
    let ground = Ground::of(&model(), 1);
    let (replica, rules) = (ground.open(), [Rules::everything()]);
    let (session, _) = Session::open(&replica, &rules, &opening(0, 1000), Limits::default()).unwrap().unwrap();
    let mut one = Vec::new();
    encode(RootIndex(0), &Operation::Root { object: id(ROOT) }, &mut one).unwrap();
    let batch = |first, count| Batch { first, count, at: NOW, point: None };
    let mut long = one.clone();
    long[2..6].copy_from_slice(&u32::MAX.to_le_bytes());
    let bad: [(Batch, &[u8]); 8] = [
        (batch(2, 1), &one),
        (batch(0, 1), &one),
        (batch(1, 2), &one),
        (batch(1, 0), &[]),
        (batch(1, u32::MAX), &one),
        (batch(u64::MAX, 1), &one),
        (batch(1, 1), &one[..one.len() - 1]),
        (batch(1, 1), &long),
    ];
    for (batch, payload) in bad {
        assert!(matches!(session.take(&batch, payload), Err(StreamError::Over(_))), "{batch:?}");
    }
    session.take(&batch(1, 1), &one).unwrap();
    session.end();
    assert!(session.take(&batch(2, 1), &one).is_err(), "it was ended");
    assert!(session.sync().is_err(), "nothing is acknowledged after the end");
    assert_eq!(session.fold(Reason::Quiet).unwrap().position, 1);
}

fn rules(texts: &[&str]) -> [Rules; 1] {
    let rule = |text: &&str| {
        let (effect, pattern) = text.split_at(1);
        let effect = if effect == "+" { Effect::Include } else { Effect::Exclude };
        Rule { effect, pattern: pattern.to_owned(), recurse: true }
    };
    [Rules::new(&texts.iter().map(rule).collect::<Vec<_>>()).unwrap()]
}

fn names(ground: &Ground) -> Vec<String> {
    contents(&ground.volume).into_iter().skip(1).map(|(path, ..)| String::from_utf8_lossy(path.as_bytes()).into_owned()).collect()
}

#[test]
fn what_the_rules_leave_out_is_not_in_the_replica_until_it_is_let_in() {
    let ground = Ground::of(&model(), 1);
    let rules = rules(&["-*.tmp", "-**/*.tmp"]);
    let root = (0, Operation::Root { object: id(ROOT) });
    let (temporary, name) = (at(ROOT, "new.tmp"), at(ROOT, "new"));
    // Written under a name that is left out, then put in place: all of it was told.
    let folded = fold(
        &ground,
        &rules,
        &[
            root,
            (0, make(40, temporary, Kind::File)),
            (0, write(40, 0, b"whole")),
            (0, make(41, at(ROOT, "stays.tmp"), Kind::File)),
            (0, rename(40, temporary, name)),
        ],
    );
    assert!(folded.lacking.is_empty() && folded.point.unwrap().consistent);
    assert_eq!(names(&ground), ["d", "d/inside", "file", "new"]);
    assert_eq!(contents(&ground.volume).last().unwrap().3, b"whole");
}

#[test]
fn what_was_left_out_before_and_is_let_in_is_lacking_and_said() {
    let ground = Ground::of(&model(), 1);
    let rules = rules(&["-*.tmp", "-**/*.tmp"]);
    let root = (0, Operation::Root { object: id(ROOT) });
    let (temporary, name) = (at(ROOT, "old.tmp"), at(ROOT, "old"));
    let gone = at(ROOT, "file.tmp");
    let operations = [
        root,
        (0, known(70, temporary)),
        (0, write(70, 0, b"part")),
        (0, rename(70, temporary, name)),
        (0, known(FILE, at(ROOT, "file"))),
        (0, rename(FILE, at(ROOT, "file"), gone)),
        (0, known(DIRECTORY, at(ROOT, "d"))),
        (0, known(INSIDE, at(DIRECTORY, "inside"))),
        (0, write(INSIDE, 0, b"is told")),
    ];
    let folded = fold(&ground, &rules, &operations);
    let lacking: Vec<_> = folded.lacking.iter().map(|scope| scope.at.path.clone()).collect();
    assert_eq!(lacking, [RelPath::new("old").unwrap()]);
    assert!(!folded.point.unwrap().consistent, "it is not what the source was");
    assert_eq!(names(&ground), ["d", "d/inside"]);
    assert_eq!(contents(&ground.volume).last().unwrap().3, b"is told");
}

/// A root of its own for each: nothing of one gets into the other.
#[test]
fn a_link_in_the_replica_leads_nowhere() {
    let ground = Ground::of(&model(), 1);
    let rules = [Rules::everything()];
    ground.volume.make_symlink(&standin_replicator::volume::Place::Tree(&RelPath::new("trap").unwrap()), b"d").unwrap();
    let folded = fold(
        &ground,
        &rules,
        &[
            (0, Operation::Root { object: id(ROOT) }),
            (0, known(60, at(ROOT, "trap"))),
            (0, make(61, at(60, "through"), Kind::File)),
        ],
    );
    assert!(folded.over.is_some(), "{folded:?}");
    assert_eq!(names(&ground), ["d", "d/inside", "file", "trap"]);
    let file = ground.volume.open(&standin_replicator::volume::Place::Tree(&RelPath::new("file").unwrap()), false).unwrap();
    assert_eq!(file.object().unwrap().size, 9);
}

/// What is there to be compared is not empty.
#[test]
fn programs_do_something() {
    let (_, told): (_, Told) = crate::ground::told(1, 30, 200);
    assert!(told.operations.len() > 100 && told.states.last().unwrap().len() > 3);
}
