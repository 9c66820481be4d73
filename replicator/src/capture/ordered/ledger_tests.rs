//! What is heard is told, once for each time it is asked, and is in the record before it changes.

use standin_common::entry::Time;
use standin_common::path::RelPath;

use super::super::{Kind, Made};
use super::*;

struct AtOnce;

impl Acknowledges for AtOnce {
    fn acknowledged(&self, _: LogPosition) -> io::Result<()> {
        Ok(())
    }
}

const ROOT: ObjectId = ObjectId { inode: 1, handle: 0 };
const FILE: ObjectId = ObjectId { inode: 2, handle: 0 };

fn changed(path: &str) -> Noticed {
    let at = Position { root: RootIndex(0), path: RelPath::new(path).unwrap() };
    Noticed::Changed(Scope { at, depth: Depth::Object })
}

fn write() -> Operation<'static> {
    Operation::Write { object: FILE, offset: 0, data: b"x", modified: Time::default() }
}

const DATA: Touch = Touch::Data { object: FILE, start: 0, end: 1 };

fn drained(watcher: &mut Box<dyn Watcher>) -> Vec<Noticed> {
    let mut all = Vec::new();
    watcher.drain(&mut |noticed| all.push(noticed)).unwrap();
    all
}

struct Begun {
    ledger: Arc<Ledger>,
    recorder: Arc<dyn Recorder>,
    watcher: Box<dyn Watcher>,
    _directory: tempfile::TempDir,
}

fn begun() -> Begun {
    begun_with(Passthrough::default())
}

fn begun_with(passthrough: Passthrough) -> Begun {
    let directory = tempfile::tempdir().unwrap();
    let (activity, _) = Activity::open(directory.path()).unwrap();
    let ledger = Ledger::new(1, activity, passthrough, Arc::new(AtOnce));
    let recorder = ledger.recorder(RootIndex(0));
    recorder.record(Operation::Root { object: ROOT });
    ledger.begin();
    let watcher = ledger.watcher();
    recorder.record(Operation::Known { object: FILE, at: Place { parent: ROOT, name: b"f" } });
    Begun { ledger, recorder, watcher, _directory: directory }
}

#[test]
fn a_change_is_told_before_and_after_whoever_took_the_notices() {
    let Begun { ledger, recorder, mut watcher, _directory } = begun();
    assert_eq!(drained(&mut watcher), []);
    recorder.before(DATA).unwrap();
    let active = Active { root: RootIndex(0), path: RelPath::new("f").unwrap(), reach: Reach::Object };
    assert_eq!(ledger.activity().contents().0, [active]);
    // A round begins between the notice and the change: it may read what was before, so it is told again.
    assert_eq!(drained(&mut watcher), [changed("f")]);
    recorder.record(write());
    assert_eq!(drained(&mut watcher), [changed("f")]);
    for _ in 0..3 {
        recorder.before(DATA).unwrap();
        recorder.record(write());
    }
    assert_eq!(drained(&mut watcher), [changed("f")], "many are one");
}

#[test]
fn names_and_their_directories_are_told() {
    let Begun { ledger, recorder, mut watcher, _directory } = begun();
    recorder.before_name(Place { parent: ROOT, name: b"new" }).unwrap();
    recorder.before(Touch::Names { directory: ROOT }).unwrap();
    let made = Made { mode: 0o600, uid: 0, gid: 0, modified: Time::default() };
    let (object, at) = (ObjectId { inode: 3, handle: 0 }, Some(Place { parent: ROOT, name: b"new" }));
    recorder.record(Operation::Make { object, at, kind: Kind::File, made, directory: Time::default() });
    let told = drained(&mut watcher);
    assert!(
        told.contains(&changed("new"))
            && told.contains(&Noticed::Directory(Position { root: RootIndex(0), path: RelPath::root() }))
    );
    let active = |path: &str, reach| Active { root: RootIndex(0), path: RelPath::new(path).unwrap(), reach };
    assert_eq!(ledger.activity().contents().0, [active("", Reach::Object), active("new", Reach::Object)]);
    // Many are the directory with its names, and cost nothing from then on.
    for n in 0..50 {
        recorder.before_name(Place { parent: ROOT, name: format!("{n}").as_bytes() }).unwrap();
    }
    let size = ledger.activity().size();
    assert!(size.0 < 25 && ledger.activity().contents().0.contains(&active("", Reach::Names)), "{size:?}");
    recorder.before_name(Place { parent: ROOT, name: b"one more" }).unwrap();
    assert_eq!(ledger.activity().size(), size);
}

#[test]
fn a_watcher_of_layers_that_went_says_so() {
    let Begun { ledger, mut watcher, .. } = begun();
    ledger.end("the layers were taken away");
    assert!(watcher.drain(&mut |_| {}).is_err());
    ledger.begin();
    assert!(watcher.drain(&mut |_| {}).is_err(), "what happened between is not known to it");
    assert!(ledger.watcher().drain(&mut |_| {}).is_ok());
}

#[test]
fn what_an_earlier_daemon_left_becomes_places() {
    let active = |path: &str, reach| Active { root: RootIndex(0), path: RelPath::new(path).unwrap(), reach };
    let left = vec![active("a", Reach::Object), active("d", Reach::Names), active("t", Reach::Subtree)];
    let scopes = scopes_of(left, |_| vec![b"x".to_vec(), b"y".to_vec()]);
    let found: Vec<_> = scopes.iter().map(|scope| (scope.at.path.to_string(), scope.depth)).collect();
    let object = |path: &str| (path.to_owned(), Depth::Object);
    assert_eq!(found, [object("a"), object("d/x"), object("d/y"), object("d"), ("t".to_owned(), Depth::Subtree)]);
}

/// Keeps what it is told, as text.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>, Mutex<Option<String>>);

impl Tells for Heard {
    fn tell(&self, _: RootIndex, operation: &Operation<'_>) -> u64 {
        let text = format!("{operation:?}");
        let mut all = self.0.lock().unwrap();
        all.push(text.split(' ').next().unwrap().to_owned());
        all.len() as u64
    }

    fn told(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    fn brake(&self) {}

    fn end(&self, why: &str) {
        self.1.lock().unwrap().get_or_insert_with(|| why.to_owned());
    }
}

impl Heard {
    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn a_stream_is_told_who_is_who_before_it_is_told_what_is_done() {
    let begun = begun();
    let known = |object, name| Operation::Known { object, at: Place { parent: ROOT, name } };
    let nameless = ObjectId { inode: 9, handle: 0 };
    begun.recorder.record(known(FILE, b"file"));
    let made = Made { mode: 0, uid: 0, gid: 0, modified: Time::default() };
    begun.recorder.record(Operation::Make { object: nameless, at: None, kind: Kind::File, made, directory: Time::default() });
    let heard = Arc::new(Heard::default());
    assert_eq!(begun.ledger.begin_stream(heard.clone()), Some(0));
    // What is not spoken of is not told, nor what nobody can ever see.
    begun.recorder.record(known(ObjectId { inode: 3, handle: 0 }, b"other"));
    begun.recorder.record(Operation::Truncate { object: nameless, len: 0, modified: Time::default() });
    assert_eq!(heard.names(), ["Root"]);
    let first = begun.recorder.record(write());
    assert_eq!((first, begun.recorder.record(write())), (LogPosition(3), LogPosition(4)));
    assert_eq!(heard.names(), ["Root", "Known", "Write", "Write"]);
    // The next stream is told anew, and positions go on.
    begun.ledger.end_stream("for a test");
    assert_eq!(heard.1.lock().unwrap().as_deref(), Some("for a test"));
    let next = Arc::new(Heard::default());
    assert_eq!(begun.ledger.begin_stream(next.clone()), Some(4));
    assert_eq!(begun.recorder.record(write()), LogPosition(7));
    assert_eq!(next.names(), ["Root", "Known", "Write"]);
    assert_eq!(*next.1.lock().unwrap(), None);
    // What lost the name by which it was told, and has another, cannot be skipped.
    let third = Arc::new(Heard::default());
    begun.recorder.record(known(ObjectId { inode: 4, handle: 0 }, b"one"));
    let at = Place { parent: ROOT, name: b"one" };
    begun.recorder.record(Operation::Remove { object: ObjectId { inode: 4, handle: 0 }, at, directory: Time::default() });
    begun.ledger.end_stream("for a test");
    begun.ledger.begin_stream(third.clone());
    let write = Operation::Write { object: ObjectId { inode: 4, handle: 0 }, offset: 0, data: b"x", modified: Time::default() };
    begun.recorder.record(write);
    assert_eq!((third.names().len(), third.1.lock().unwrap().is_some()), (1, true), "it is not skipped: the stream ends");
    // Whose contents nobody told gets a name: that cannot be told.
    let next = Arc::new(Heard::default());
    begun.ledger.begin_stream(next.clone());
    let at = Place { parent: ROOT, name: b"late" };
    begun.recorder.record(Operation::Link { object: nameless, at, directory: Time::default() });
    assert!(next.1.lock().unwrap().is_some());
}

#[test]
fn a_file_is_read_past_the_layer_if_all_its_names_are_of_such_files() {
    let begun = begun_with(Passthrough::new(&["**/cur/*".to_owned()]).unwrap());
    let recorder = &begun.recorder;
    let (cur, mail, other) =
        (ObjectId { inode: 10, handle: 0 }, ObjectId { inode: 11, handle: 0 }, ObjectId { inode: 12, handle: 0 });
    assert!(recorder.has_passthrough() && !begun_with(Passthrough::default()).recorder.has_passthrough());
    assert!(!recorder.is_passthrough(mail), "nobody said where it is");
    recorder.record(Operation::Known { object: cur, at: Place { parent: ROOT, name: b"cur" } });
    recorder.record(Operation::Known { object: mail, at: Place { parent: cur, name: b"1:2,S" } });
    recorder.record(Operation::Known { object: other, at: Place { parent: ROOT, name: b"dovecot.index" } });
    assert!(recorder.is_passthrough(mail));
    assert!(!recorder.is_passthrough(other));
    recorder.record(Operation::Known { object: mail, at: Place { parent: ROOT, name: b"draft" } });
    assert!(!recorder.is_passthrough(mail), "by its other name it may be written to");
}
