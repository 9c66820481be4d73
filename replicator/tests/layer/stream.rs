//! What a layer tells, streamed to a standby on a real directory: equal at every mark, and wherever the stream is cut off.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use standin_common::id::{Generation, MirrorId, RootIndex};
use standin_common::link::memory;
use standin_common::link::talk::{Receiver, Sender};
use standin_common::message::Opening;
use standin_common::message::RootKind;
use standin_common::scope::Reason;
use standin_config::{Acknowledge, OnDisconnect};
use standin_replicator::acknowledge::Policy;
use standin_replicator::capture::ordered::{Operation, Position, Recorder, Touch};
use standin_replicator::os::{Layer, OsVolume};
use standin_replicator::rules::Rules;
use standin_replicator::sim::Random;
use standin_replicator::source::stream::{Noting, QueueLimits, Stream};
use standin_replicator::standby::replica::Replica;
use standin_replicator::standby::stream::{Limits, Session, recover};
use standin_replicator::store::{DirectoryStore, Store};
use tempfile::TempDir;

use crate::look::{Seen, assert_same, look};
use crate::mirror::mirror;
use crate::program::Program;
use crate::record::{FromFile, ToFile};
use crate::replay::Replay;

const MIRROR: MirrorId = MirrorId(7);
const STREAM: MirrorId = MirrorId(8);
const THREADS: u64 = 4;
const ROUNDS: u64 = 50;
const STEPS: u64 = 100;

/// Nothing has to be noted where nobody crashes.
struct Nothing;

impl Noting for Nothing {
    fn before(&self, _: RootIndex, _: Touch) -> std::io::Result<()> {
        Ok(())
    }

    fn missed(&self, _: RootIndex, touch: Touch) {
        panic!("a change was missed: {touch:?}");
    }
}

/// The stream, and a record of the same operations at the same positions.
struct Both {
    record: Arc<ToFile>,
    stream: Arc<dyn Recorder>,
    order: Mutex<()>,
}

impl Recorder for Both {
    fn before(&self, touch: Touch) -> std::io::Result<()> {
        self.stream.before(touch)
    }

    fn record(&self, operation: Operation<'_>) -> Position {
        let _order = self.order.lock().unwrap();
        let recorded = self.record.record(operation);
        assert_eq!(self.stream.record(operation), recorded);
        recorded
    }

    fn missed(&self, touch: Touch) {
        self.stream.missed(touch);
    }

    fn flushed(&self, position: Position) -> std::io::Result<()> {
        self.stream.flushed(position)
    }
}

fn copied(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// The replica in `target`, with its state beside it.
fn open(at: &Path) -> Replica<OsVolume, DirectoryStore> {
    let (target, state) = (at.join("target"), at.join("state"));
    let volume = OsVolume::open_target(&target, &state.join("side"), RootKind::Directory).unwrap();
    Replica::open(vec![volume], DirectoryStore::open(&state).unwrap(), 3).unwrap()
}

type Looked = std::collections::BTreeMap<PathBuf, Seen>;

/// What of it a standby has: no sockets and devices; and the way back to an older point may be one more name of a file.
fn replicated(mut seen: Looked) -> Looked {
    let is_replicated = |mode: u32| matches!(mode & 0o170000, 0o040000 | 0o100000 | 0o120000 | 0o010000);
    seen.retain(|_, seen| is_replicated(seen.mode));
    seen.values_mut().for_each(|seen| seen.links = 0);
    seen
}

fn look_at(directory: &Path) -> Looked {
    replicated(look(directory).unwrap())
}

/// The source, what it told performed one by one, and the standby.
struct Ground {
    temporary: TempDir,
    beneath: File,
    record: FromFile,
    replay: Replay,
    performed: u64,
}

impl Ground {
    fn at(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    fn source(&self) -> Looked {
        look_at(Path::new(&format!("/proc/self/fd/{}", self.beneath.as_raw_fd())))
    }

    /// Performs what was recorded up to a position.
    fn follow(&mut self, position: u64) {
        while self.performed < position {
            let operation = self.record.next().unwrap().expect("it was recorded");
            self.replay.perform(&operation).unwrap();
            self.performed += 1;
        }
    }

    /// A copy of the standby whose log is cut off anywhere is promoted, and is what the source was.
    fn check_cut(&mut self, random: &mut Random) {
        let clone = TempDir::new().unwrap();
        for name in ["target", "state"] {
            copied(&self.at("standby").join(name), clone.path());
        }
        let store = DirectoryStore::open(&clone.path().join("state")).unwrap();
        let logs = store
            .names()
            .unwrap()
            .into_iter()
            .filter_map(|name| Some((name.strip_prefix("stream.log.")?.parse::<u64>().ok()?, name)));
        if let Some((_, last)) = logs.max() {
            let file = OpenOptions::new().write(true).open(clone.path().join("state").join(last)).unwrap();
            file.set_len(random.below(file.metadata().unwrap().len() + 1)).unwrap();
        }
        let replica = open(clone.path());
        let position = recover(&replica, &[Rules::everything()]).unwrap().expect("there is a stream").position;
        replica.promote(None).unwrap();
        assert!(position >= self.performed, "{position} is before the last mark, {}", self.performed);
        self.follow(position);
        assert_same(&format!("cut off at {position}"), &look_at(&self.at("copy")), &look_at(&clone.path().join("target")));
    }
}

fn seed() -> u64 {
    let given = std::env::var("STANDIN_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
    println!("STANDIN_SEED={seed}");
    seed
}

/// Everything that is the same for the source and its copies at the beginning.
fn prepared(seed: u64) -> (TempDir, Arc<ToFile>) {
    let temporary = TempDir::new().unwrap();
    let at = |name: &str| temporary.path().join(name);
    fs::create_dir(at("source")).unwrap();
    Program::new(&at("source"), seed).run(300);
    copied(&at("source"), &at("copy"));
    fs::create_dir_all(at("standby/target")).unwrap();
    mirror(&open(&at("standby")), OsVolume::open_source(&at("source")).unwrap(), MIRROR);
    let same = "the mirror";
    assert_same(same, &look_at(&at("source")), &look_at(&at("standby/target")));
    let record = Arc::new(ToFile::create(&at("record")).unwrap());
    (temporary, record)
}

#[test]
fn the_standby_is_the_source_at_every_mark_and_every_cut() {
    let seed = seed();
    let mut random = Random::new(seed);
    let (temporary, record) = prepared(seed);
    let at = |name: &str| temporary.path().join(name);
    let policy = Policy { acknowledge: Acknowledge::Durable, on_disconnect: OnDisconnect::Block };
    let limits = QueueLimits { memory_bytes: 1 << 20, disk_bytes: 1 << 30 };
    let queue = DirectoryStore::open(&at("queue")).unwrap();
    let stream = Stream::new(STREAM, MIRROR, queue, limits, policy);
    let root = stream.root(RootIndex(0), Arc::new(Nothing));
    let mut ground = Ground {
        beneath: File::open(at("source")).unwrap(),
        record: FromFile::open(&at("record")).unwrap(),
        replay: Replay::onto(&at("copy")).unwrap(),
        performed: 0,
        temporary,
    };
    let source = ground.at("source");
    let both = Both { record: Arc::clone(&record), stream: Arc::clone(&root) as _, order: Mutex::new(()) };
    let layer = Layer::mount(&source, Arc::new(both)).expect("the tests of the layer need root and FUSE");
    let mut programs: Vec<_> = (0..THREADS).map(|number| Program::new(&source, seed + 1 + number)).collect();
    let replica = open(&ground.at("standby"));
    let rules = [Rules::everything()];
    for round in 0..ROUNDS {
        // Each round is a connection of its own.
        let ((send, receive), (their_send, their_receive)) = memory::pair(8);
        let mut theirs = (Sender::new(their_send), Receiver::new(their_receive));
        std::thread::scope(|scope| {
            let pumping = scope.spawn(|| {
                let mut talk = (Sender::new(send), Receiver::new(receive));
                stream.open((&"mail".parse().unwrap(), [0; 32], Generation(1)), &mut talk).unwrap().unwrap();
                stream.pump(talk, &|_| true, &|_| {})
            });
            let (Opening::Stream(opening), _) = theirs.1.receive::<Opening>().unwrap().unwrap() else {
                panic!("another opening")
            };
            let limits = Limits { fold_every: Duration::from_secs(3600), quiet: Duration::from_secs(3600), ..Limits::default() };
            let (session, answer) = Session::open(&replica, &rules, &opening, limits).unwrap().unwrap();
            let session = Arc::new(session);
            theirs.0.send(&answer, &[]).unwrap();
            let receiving = scope.spawn({
                let session = Arc::clone(&session);
                move || session.serve(theirs, &|| Reason::Passing)
            });
            std::thread::scope(|scope| programs.iter_mut().for_each(|program| drop(scope.spawn(|| program.run(STEPS)))));
            let newest = stream.progress().newest;
            root.flushed(Position(newest)).unwrap();
            record.flush().unwrap();
            if round % 5 == 0 {
                ground.check_cut(&mut random);
            }
            let folded = session.fold(Reason::Interval).unwrap();
            assert!(folded.position >= newest && folded.over.is_none(), "{folded:?}, {newest} operations");
            println!("round {round}: {} operations", folded.position);
            assert_same("source and standby", &ground.source(), &look_at(&ground.at("standby/target")));
            ground.follow(folded.position);
            stream.stop();
            pumping.join().unwrap().unwrap();
            receiving.join().unwrap().unwrap();
        });
    }
    drop(programs);
    assert!(ground.performed > THREADS * ROUNDS * STEPS / 10, "only {}: the programs do nothing", ground.performed);
    layer.unmount().map_err(|(_, error)| error).unwrap();
}
