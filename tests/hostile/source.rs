//! A hostile source against a standby's daemon.

use std::path::{Path, PathBuf};

use standin_common::entry::{Entry, Kind, Time};
use standin_common::id::{Generation, MirrorId, RootIndex};
use standin_common::link::quic::Connection;
use standin_common::link::talk::{Receiver, Talk};
use standin_common::message::{
    Comparison, Encoding, FileEnd, FromSource, FromStandby, Hello, HelloAnswer, LaneDown, MirrorAnswer, MirrorOpening, Opening,
    OrphanLimit, OrphanPolicy, PROTOCOL, Position, Purpose, Refusal, RootKind,
};
use standin_common::scope::Reason;
use standin_common::tree::{Root, ShortValue};
use standin_config::Settings;
use standin_replicator::definition;

use crate::raw::{EVIL_PATHS, Raw, Stolen, attrs, entry, forged, hello, open, path, placeholder};
use crate::support::{Node, PATIENCE, Pair, assert_same, copy_standby, rsync_todo, shell, wait_until};

/// A standby with a point, whose source's key is in hostile hands.
struct Scene {
    pair: Pair,
    stolen: Stolen,
    definition: [u8; 32],
    before: String,
    mirrors: u64,
}

fn stamps(path: &Path) -> String {
    shell(path, "find . -printf '%p %i %C@ %s %n %m\\n' | sort")
}

impl Scene {
    fn new() -> Self {
        let mut pair = Pair::new("");
        let canary = pair.dir.path().join("canary");
        shell(pair.dir.path(), "mkdir canary; echo secret > canary/secret; chmod 640 canary/secret");
        let tree = "mkdir d; echo 1 > d/file; head -c 200000 /dev/urandom > large; ln large other-name; ln -s ../canary way";
        shell(&pair.source, tree);
        std::os::unix::fs::symlink(&canary, pair.source.join("way-absolute")).unwrap();
        pair.mirror(&[]);
        pair.alpha.stop();
        let stolen = Stolen::of(&pair.alpha.state_dir(), &[]);
        let settings = Settings::load(&pair.alpha.config()).unwrap();
        let definition = definition::digest(settings.sets.values().next().unwrap());
        let before = stamps(&canary);
        Self { pair, stolen, definition, before, mirrors: 0x1000 }
    }

    fn canary(&self) -> PathBuf {
        self.pair.dir.path().join("canary")
    }

    /// A connection that said hello.
    fn connect(&self) -> Connection {
        self.connect_to(&self.pair.beta)
    }

    fn connect_to(&self, node: &Node) -> Connection {
        let connection = self.stolen.dial(node);
        let (_send, mut receive) = open(&connection, &Opening::Hello(hello("alpha")));
        assert!(matches!(receive.answer().unwrap(), HelloAnswer::Welcome(_)));
        connection
    }

    fn opening(&mut self) -> MirrorOpening {
        self.mirrors += 0x100;
        MirrorOpening {
            set: "mail".parse().unwrap(),
            generation: Generation(1),
            mirror: MirrorId(self.mirrors),
            definition: self.definition,
            roots: vec![RootKind::Directory],
            purpose: Purpose::Mirror,
            comparison: Comparison::Difference,
            orphans: OrphanPolicy::Keep,
            orphan_limit: OrphanLimit::Percent(100),
            base: None,
        }
    }

    /// A mirror that was taken.
    fn mirror(&mut self, connection: &Connection) -> (MirrorId, Talk) {
        let opening = self.opening();
        let mirror = opening.mirror;
        let mut talk = open(connection, &Opening::Mirror(opening));
        let answer: MirrorAnswer = talk.1.answer().unwrap();
        assert!(matches!(answer, MirrorAnswer::Ready { first: false, .. }), "{answer:?}");
        (mirror, talk)
    }

    /// What is asked of the standby, refused.
    fn refused(&self, opening: MirrorOpening) -> Refusal {
        let connection = self.connect();
        let (_send, mut receive) = open(&connection, &Opening::Mirror(opening));
        match receive.answer().unwrap() {
            MirrorAnswer::Refused(refusal) => refusal,
            ready => panic!("{ready:?}"),
        }
    }

    /// The standby lives and is where it was; nothing outside has changed; a copy of it can be promoted.
    #[track_caller]
    fn check(&mut self, attack: &str) {
        assert!(self.pair.beta.is_running(), "the daemon died of: {attack}");
        wait_until(&format!("the standby is ready after: {attack}"), PATIENCE, || {
            Pair::status_of(&self.pair.beta)["state"] == "ready"
        });
        assert_eq!(stamps(&self.canary()), self.before, "outside of the target, after: {attack}");
        assert_eq!(rsync_todo(&self.pair.source, &self.pair.target), "", "{attack}");
        let points = self.pair.beta.json(&["points", "mail"]);
        assert_eq!(points["points"].as_array().unwrap().len(), 1, "{attack}: {points}");
    }

    /// A copy is promoted, and the honest source is served.
    fn check_at_last(mut self) {
        let base = tempfile::tempdir().unwrap();
        let (mut copy, replica) = copy_standby(&self.pair.beta, &self.pair.target, base.path());
        copy.start();
        copy.run(&["promote", "mail"]).expect(0);
        assert_same(&self.pair.source, &replica);
        drop(self.stolen);
        shell(&self.pair.source, "echo more > more; echo 2 > d/file; rm large");
        self.pair.alpha.start();
        self.pair.mirror(&[]);
        self.pair.assert_equal();
        assert_eq!(stamps(&self.pair.dir.path().join("canary")), self.before);
    }
}

fn entries(entries: Vec<Entry>) -> FromSource {
    FromSource::Entries { root: RootIndex(0), entries }
}

fn commit() -> FromSource {
    FromSource::Commit { at: Time { secs: 1, nanos: 0 }, consistent: true, objects: 1, bytes: 1, reason: Reason::Mirror }
}

/// Reads until the standby ends the pass; says why, if it does. It must not make a point.
#[track_caller]
fn ended(receive: &mut Receiver, attack: &str) -> Option<Refusal> {
    loop {
        match receive.receive::<FromStandby>() {
            Ok(Some((FromStandby::Committed { .. }, _))) => panic!("made a point of: {attack}"),
            Ok(Some((FromStandby::Stopped(refusal), _))) => return Some(refusal),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

fn directory() -> Entry {
    entry("", Kind::Directory)
}

fn file(at: &str) -> Entry {
    entry(at, Kind::File { size: 5 })
}

#[test]
fn paths_that_lead_out_are_no_messages() {
    let mut scene = Scene::new();
    let connection = scene.connect();
    for evil in EVIL_PATHS {
        let word = placeholder(evil);
        let at = Position { root: RootIndex(0), path: path(&word) };
        let link = Kind::Hardlink { to: path(&word) };
        let messages = [
            forged(&entries(vec![directory(), file(&word)]), &word, evil),
            forged(&entries(vec![directory(), entry("x", link)]), &word, evil),
            forged(&FromSource::Unreadable(at), &word, evil),
        ];
        for message in messages {
            let (_, (mut send, mut receive)) = scene.mirror(&connection);
            send.send(&Raw(message), &[]).unwrap();
            // Told or cut off: either way nothing comes of it.
            drop(send.send(&FromSource::WalkEnd, &[]).and_then(|()| send.send(&commit(), &[])));
            ended(&mut receive, &String::from_utf8_lossy(evil));
        }
    }
    scene.check("paths that lead out");
    scene.check_at_last();
}

/// Listings that no walk makes.
fn odd_listings() -> Vec<(&'static str, Vec<FromSource>)> {
    let link = |at, to: &[u8]| entry(at, Kind::Symlink { target: to.to_vec() });
    vec![
        ("through a link", vec![entries(vec![directory(), link("way", b"../canary"), file("way/secret")])]),
        ("through a link, unannounced", vec![entries(vec![directory(), file("way/secret")])]),
        ("through an absolute link", vec![entries(vec![directory(), file("way-absolute/secret")])]),
        ("a directory through a link", vec![entries(vec![directory(), entry("way/d", Kind::Directory)])]),
        ("beneath a file", vec![entries(vec![directory(), file("d"), file("d/file")])]),
        ("without a root", vec![entries(vec![file("new")])]),
        ("a root that is a link", vec![entries(vec![link("", b"/etc")])]),
        ("a root that is a file", vec![entries(vec![file("")])]),
        ("twice", vec![entries(vec![directory(), file("x"), file("x")])]),
        ("the root twice", vec![entries(vec![directory()]), entries(vec![directory()])]),
        ("out of order", vec![entries(vec![directory(), file("y"), file("x")])]),
        ("a root of the set too many", vec![FromSource::Entries { root: RootIndex(1), entries: vec![directory()] }]),
        ("the last root", vec![FromSource::Entries { root: RootIndex(u16::MAX), entries: vec![directory()] }]),
        ("the reserved name", vec![entries(vec![directory(), entry(".standin", Kind::Directory), file(".standin/1-1")])]),
        ("files that never come", vec![entries(vec![directory(), file("new")]), FromSource::WalkEnd, commit()]),
        ("a commit before the end", vec![entries(vec![directory(), file("new")]), commit()]),
    ]
}

#[test]
fn listings_that_no_walk_makes_are_refused() {
    let mut scene = Scene::new();
    let connection = scene.connect();
    for (attack, messages) in odd_listings() {
        let (_, (mut send, mut receive)) = scene.mirror(&connection);
        for message in messages {
            // It may have been cut off already.
            drop(send.send(&message, &[]));
        }
        let why = ended(&mut receive, attack);
        assert!(matches!(why, Some(Refusal::Protocol(_))), "{attack}: {why:?}");
        drop((send, receive));
        scene.check(attack);
    }
    scene.check_at_last();
}

type Sent = Vec<(LaneDown, Vec<u8>)>;

fn end(file: u64, size: u64) -> (LaneDown, Vec<u8>) {
    (LaneDown::End { file, end: FileEnd { size, root: Root::of(b"other"), attrs: attrs(0o644) } }, Vec::new())
}

/// A zstd frame of 64 MiB of zeros in a few hundred bytes: RLE blocks of 128 KiB (RFC 8878, 3.1.1.2).
fn bomb() -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    const BLOCKS: u32 = 512;
    for number in 1..=BLOCKS {
        let head = (128 * 1024) << 3 | 1 << 1 | u32::from(number == BLOCKS);
        frame.extend_from_slice(&head.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

/// What is sent of a wanted file of 200,000 bytes.
fn odd_data(f: u64) -> Vec<(&'static str, Sent)> {
    let data = |file, len, encoding, payload: Vec<u8>| (LaneDown::Data { file, len, encoding }, payload);
    let begin = |size| (LaneDown::Begin { file: f, size }, Vec::new());
    let groups = |count| (LaneDown::Groups { file: f, values: vec![ShortValue::default(); count] }, Vec::new());
    let leaves = |group, mask, hole, len, payload: Vec<u8>| {
        (LaneDown::Leaves { file: f, group, mask, hole, len, encoding: Encoding::Plain }, payload)
    };
    let small = |size, payload: Vec<u8>| {
        let end = FileEnd { size: u64::from(size), root: Root::of(&payload), attrs: attrs(0o644) };
        (LaneDown::Small { file: f, size, encoding: Encoding::Plain, end }, payload)
    };
    vec![
        ("a file not asked for", vec![(LaneDown::Begin { file: f + 77, size: 1 }, Vec::new())]),
        ("the orphans' file", vec![(LaneDown::Gone { file: 0, why: None }, Vec::new())]),
        ("an end without a beginning", vec![end(f, 5)]),
        ("more than its length says", vec![begin(5), data(f, 5, Encoding::Plain, vec![1; 10])]),
        ("less than its length says", vec![begin(5), data(f, 500, Encoding::Plain, vec![1; 10])]),
        ("a length beyond all bounds", vec![begin(5), data(f, u32::MAX, Encoding::Zstd, vec![1; 10])]),
        ("no zstd", vec![begin(5), data(f, 5, Encoding::Zstd, vec![1; 10])]),
        ("a bomb", vec![begin(5), data(f, 4 << 20, Encoding::Zstd, bomb())]),
        ("a bomb that claims little", vec![begin(5), data(f, 5, Encoding::Zstd, bomb())]),
        ("a small file of another length", vec![small(10, vec![1; 5])]),
        ("groups beyond the end", vec![begin(200_000), groups(5)]),
        ("groups of nothing", vec![begin(0), groups(1)]),
        ("groups without end", vec![begin(u64::MAX), groups(50_000)]),
        ("leaves not announced", vec![begin(200_000), leaves(0, 1, false, 4096, vec![1; 4096])]),
        ("leaves of no group", vec![begin(200_000), groups(4), leaves(u64::MAX, 1, false, 4096, vec![1; 4096])]),
        ("leaves beyond the end", vec![begin(200_000), groups(4), leaves(3, 0xffff, false, 65_536, vec![1; 65_536])]),
        ("leaves of too little", vec![begin(200_000), groups(4), leaves(0, 0xffff, false, 4096, vec![1; 4096])]),
        ("leaves of too much", vec![begin(200_000), groups(4), leaves(0, 1, false, 8192, vec![1; 8192])]),
        ("a hole of leaves of another length", vec![begin(200_000), groups(4), leaves(0, 1, true, u32::MAX, vec![])]),
        ("whole and compared", vec![begin(200_000), groups(4), data(f, 5, Encoding::Plain, vec![1; 5])]),
        ("compared and whole", vec![begin(200_000), data(f, 5, Encoding::Plain, vec![1; 5]), groups(1)]),
        ("a hole beyond the end", vec![begin(10), (LaneDown::Hole { file: f, len: 11 }, Vec::new())]),
        (
            "a hole that overflows",
            vec![begin(u64::MAX), small_hole(f, 10), (LaneDown::Hole { file: f, len: u64::MAX }, Vec::new())],
        ),
    ]
}

fn small_hole(file: u64, len: u64) -> (LaneDown, Vec<u8>) {
    (LaneDown::Hole { file, len }, Vec::new())
}

/// Announces a file that exists (compared) or does not (whole), and waits until it is wanted.
fn wanted(scene: &mut Scene, connection: &Connection, name: &str) -> (MirrorId, Talk, u64) {
    let (mirror, (mut send, mut receive)) = scene.mirror(connection);
    let announced = entry(name, Kind::File { size: 200_000 });
    send.send(&entries(vec![directory(), announced]), &[]).unwrap();
    loop {
        if let (FromStandby::Wants(wants), _) = receive.receive().unwrap().unwrap() {
            return (mirror, (send, receive), wants[0].file);
        }
    }
}

#[test]
fn data_that_nobody_asked_for_is_refused() {
    let mut scene = Scene::new();
    for name in ["large", "new"] {
        for number in 0..odd_data(0).len() {
            let connection = scene.connect();
            let (mirror, (mut send, mut receive), file) = wanted(&mut scene, &connection, name);
            let (attack, sent) = odd_data(file).swap_remove(number);
            let mut lane = open(&connection, &Opening::Lane { mirror });
            for (message, payload) in sent {
                // It may have been cut off already.
                drop(lane.0.send(&message, &payload));
            }
            let why = ended(&mut receive, attack);
            assert!(matches!(why, Some(Refusal::Protocol(_))), "{attack} ({name}): {why:?}");
            drop((lane, send.send(&commit(), &[])));
            drop((send, receive));
            scene.check(attack);
        }
    }
    scene.check_at_last();
}

#[test]
fn endless_work_ends_with_its_connection() {
    let mut scene = Scene::new();
    let connection = scene.connect();
    let (mirror, _talk, file) = wanted(&mut scene, &connection, "new");
    let mut lane = open(&connection, &Opening::Lane { mirror });
    for message in [LaneDown::Begin { file, size: 1 << 62 }, LaneDown::Hole { file, len: 1 << 62 }] {
        lane.0.send(&message, &[]).unwrap();
    }
    // A root that is never the right one is answered as often as it is said.
    let connection2 = scene.connect();
    drop((lane, connection));
    let (mirror, _talk, file) = wanted(&mut scene, &connection2, "new");
    let mut lane = open(&connection2, &Opening::Lane { mirror });
    for _ in 0..100 {
        let (message, _) = end(file, 0);
        lane.0.send(&LaneDown::Begin { file, size: 0 }, &[]).unwrap();
        lane.0.send(&message, &[]).unwrap();
        assert!(matches!(lane.1.answer().unwrap(), standin_common::message::LaneUp::Again { .. }));
    }
    drop((lane, connection2));
    scene.check("endless work");
    scene.check_at_last();
}

#[test]
fn openings_that_do_not_fit_are_refused() {
    let mut scene = Scene::new();
    let refused = |change: &dyn Fn(&mut MirrorOpening), scene: &mut Scene| {
        let mut opening = scene.opening();
        change(&mut opening);
        scene.refused(opening)
    };
    let other_set = refused(&|opening| opening.set = "Mail".parse().unwrap(), &mut scene);
    assert_eq!(other_set, Refusal::NotYourSet, "names are case-sensitive");
    assert_eq!(refused(&|opening| opening.definition[7] ^= 1, &mut scene), Refusal::OtherDefinition);
    for roots in [vec![], vec![RootKind::File], vec![RootKind::Directory; 2], vec![RootKind::Directory; 60_000]] {
        let why = refused(&|opening| opening.roots.clone_from(&roots), &mut scene);
        assert!(
            matches!(why, Refusal::Protocol(_) | Refusal::Failed(_) | Refusal::OtherDefinition),
            "{} roots: {why:?}",
            roots.len()
        );
    }
    let older = refused(&|opening| opening.generation = Generation(0), &mut scene);
    assert_eq!(older, Refusal::OldGeneration { here: Generation(1) });
    scene.check("openings that do not fit");
    scene.check_at_last();
}

#[test]
fn a_promoted_standby_refuses_its_source() {
    let mut scene = Scene::new();
    scene.pair.promote();
    let opening = scene.opening();
    let why = scene.refused(opening);
    assert!(matches!(why, Refusal::Promoted | Refusal::OldGeneration { .. }), "{why:?}");
    assert_eq!(stamps(&scene.canary()), scene.before);
}

#[test]
fn other_versions_and_names_are_told_so() {
    let mut scene = Scene::new();
    for protocol in [0, PROTOCOL - 1, PROTOCOL + 1, u16::MAX] {
        let connection = scene.stolen.dial(&scene.pair.beta);
        let (_send, mut receive) = open(&connection, &Opening::Hello(Hello { protocol, ..hello("alpha") }));
        let answer: HelloAnswer = receive.answer().unwrap();
        assert_eq!(answer, HelloAnswer::OtherVersion(PROTOCOL), "{protocol}");
    }
    let connection = scene.stolen.dial(&scene.pair.beta);
    let (_send, mut receive) = open(&connection, &Opening::Hello(hello("beta")));
    let answer: HelloAnswer = receive.answer().unwrap();
    assert!(matches!(answer, HelloAnswer::OtherName { known_as } if known_as.to_string() == "alpha"));
    // Whoever says nothing of itself gets nothing.
    let connection = scene.stolen.dial(&scene.pair.beta);
    let opening = scene.opening();
    let (_send, mut receive) = open(&connection, &Opening::Mirror(opening));
    assert!(receive.answer::<MirrorAnswer>().is_err());
    scene.check("other versions and names");
    scene.check_at_last();
}
