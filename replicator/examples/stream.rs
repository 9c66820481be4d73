//! What a stream costs over QUIC on loopback: `stream DIRECTORY [SECONDS]` measures beneath that directory.
//!
//! Printed are: fdatasync of 4 KiB writes to a file by themselves; from the call of `flushed` to the standby's acknowledgement, for one writer
//! and for sixteen; and the throughput of writes of 1 MiB through recorder, stream and log, without a local disk.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use standin_common::entry::Time;
use standin_common::id::{Generation, MirrorId, RootIndex};
use standin_common::identity::{Fingerprint, Identity};
use standin_common::link::quic::{Connection, Endpoint, Expect, TrustCheck};
use standin_common::link::talk::{Open, Receiver, Sender};
use standin_common::message::{Opening, RootKind};
use standin_common::scope::Reason;
use standin_config::{Acknowledge, OnDisconnect};
use standin_replicator::acknowledge::Policy;
use standin_replicator::capture::ordered::{ObjectId, Operation, Position, Recorder, Touch};
use standin_replicator::os::OsVolume;
use standin_replicator::rules::Rules;
use standin_replicator::source::stream::{Noting, QueueLimits, Stream};
use standin_replicator::standby::replica::Replica;
use standin_replicator::standby::stream::{Limits, Session};
use standin_replicator::store::DirectoryStore;

#[path = "../tests/stream/mirror.rs"]
mod mirror;

const FILE: ObjectId = ObjectId { inode: 2, handle: 2 };
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

struct Nothing;

impl Noting for Nothing {
    fn before(&self, _: RootIndex, _: Touch) -> io::Result<()> {
        Ok(())
    }

    fn missed(&self, _: RootIndex, _: Touch) {}
}

struct Anybody;

impl TrustCheck for Anybody {
    fn trusted(&self, _: &Fingerprint) -> bool {
        true
    }

    fn pairing_open(&self) -> bool {
        false
    }
}

fn node(at: &Path) -> Outcome<(Arc<Endpoint>, Fingerprint, Vec<SocketAddr>)> {
    let identity = Arc::new(Identity::load_or_create(at, &"node".parse()?)?);
    let key = identity.fingerprint();
    let endpoint = Arc::new(Endpoint::bind(&["127.0.0.1:0".parse()?], identity, Arc::new(Anybody))?);
    let addresses = endpoint.local_addrs()?;
    Ok((endpoint, key, addresses))
}

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("stream DIRECTORY [SECONDS]")?;
    let seconds = arguments.next().map_or(Ok(4), |seconds| seconds.parse())?;
    let at = |name: &str| Path::new(&directory).join(name);
    for name in ["source", "target", "local", "one", "other"] {
        std::fs::create_dir_all(at(name))?;
    }
    std::fs::write(at("source/file"), b"")?;
    let volume = OsVolume::open_target(&at("target"), &at("state/side"), RootKind::Directory)?;
    let replica = Replica::open(vec![volume], DirectoryStore::open(&at("state"))?, 0)?;
    mirror::mirror(&replica, OsVolume::open_source(&at("source"))?, MirrorId(1));
    let policy = Policy { acknowledge: Acknowledge::Durable, on_disconnect: OnDisconnect::Block };
    let limits = QueueLimits { memory_bytes: 64 << 20, disk_bytes: 1 << 40 };
    let stream = Stream::new(MirrorId(2), MirrorId(1), DirectoryStore::open(&at("queue"))?, limits, policy);
    let ((one, ..), (other, key, addresses)) = (node(&at("one"))?, node(&at("other"))?);
    let here = one.dial(&addresses, Expect::Pinned(key))?;
    let there: Connection = other.accept().ok_or("nobody came")?;
    std::thread::scope(|scope| -> Outcome {
        let serving = scope.spawn(|| serve(&replica, &there));
        let mut talk = Open::open(&here)?;
        stream.open((&"mail".parse()?, [0; 32], Generation(1)), &mut talk)?.map_err(|refusal| refusal.to_string())?;
        let pumping = scope.spawn(|| stream.pump(talk, &|_| true, &|_| {}));
        let root = stream.root(RootIndex(0), Arc::new(Nothing));
        root.record(Operation::Root { object: ObjectId { inode: 1, handle: 1 } });
        let place = standin_replicator::capture::ordered::Place { parent: ObjectId { inode: 1, handle: 1 }, name: b"file" };
        root.record(Operation::Known { object: FILE, at: place });
        let time = Duration::from_secs(seconds);
        // By turns, since a disk that others use is not always as fast.
        for _ in 0..3 {
            measure("local fdatasync, 1 writer", time, 1, &|number, count| local(&at("local"), number, count))?;
            measure("flushed, 1 writer", time, 1, &|number, count| Ok(flushed(root.as_ref(), number, count)?))?;
            measure("flushed, 16 writers", time, 16, &|number, count| Ok(flushed(root.as_ref(), number, count)?))?;
        }
        throughput(root.as_ref(), &|| stream.progress().queued_bytes, time)?;
        stream.stop();
        pumping.join().map_err(|_| "pumping failed")??;
        serving.join().map_err(|_| "serving failed")?
    })
}

fn serve(replica: &Replica<OsVolume, DirectoryStore>, connection: &Connection) -> Outcome {
    let (send, receive) = connection.accept()?;
    let mut talk = (Sender::new(send), Receiver::new(receive));
    let Some((Opening::Stream(opening), _)) = talk.1.receive::<Opening>()? else { return Err("no opening".into()) };
    let rules = [Rules::everything()];
    // Folding is not what is measured.
    let limits = Limits {
        log_bytes: 1 << 40,
        fold_bytes: 1 << 40,
        fold_every: Duration::MAX / 4,
        quiet: Duration::MAX / 4,
        ..Limits::default()
    };
    let (session, answer) = Session::open(replica, &rules, &opening, limits)?.map_err(|refusal| refusal.to_string())?;
    talk.0.send(&answer, &[])?;
    Ok(session.serve(talk, &|| Reason::Passing)?)
}

fn local(at: &Path, number: u64, count: u64) -> Outcome<Duration> {
    let file = File::options().create(true).append(false).write(true).truncate(false).open(at.join(number.to_string()))?;
    file.write_all_at(&[count as u8; 4096], count * 4096)?;
    let began = Instant::now();
    file.sync_data()?;
    Ok(began.elapsed())
}

fn flushed(root: &dyn Recorder, number: u64, count: u64) -> io::Result<Duration> {
    let offset = (number * 1024 + count % 1024) * 4096;
    root.record(Operation::Write { object: FILE, offset, data: &[count as u8; 4096], modified: Time::default() });
    let position = root.record(Operation::Sync { object: FILE, data_only: true });
    let began = Instant::now();
    root.flushed(position)?;
    Ok(began.elapsed())
}

fn measure(what: &str, time: Duration, writers: u64, once: &(dyn Fn(u64, u64) -> Outcome<Duration> + Sync)) -> Outcome {
    let all = Mutex::new(Vec::new());
    let began = Instant::now();
    std::thread::scope(|scope| -> Outcome {
        let writing: Vec<_> = (0..writers)
            .map(|number| {
                let all = &all;
                scope.spawn(move || -> Outcome {
                    let mut taken = Vec::new();
                    while began.elapsed() < time {
                        taken.push(once(number, taken.len() as u64)?);
                    }
                    all.lock().map_err(|_| "a writer failed")?.extend(taken);
                    Ok(())
                })
            })
            .collect();
        writing.into_iter().try_for_each(|writer| writer.join().map_err(|_| "a writer failed")?)
    })?;
    let mut all = all.into_inner()?;
    all.sort_unstable();
    let share =
        |per_mille: usize| all.get((all.len() * per_mille / 1000).min(all.len().saturating_sub(1))).copied().unwrap_or_default();
    let rate = all.len() as f64 / began.elapsed().as_secs_f64();
    println!("{what}: {rate:.0}/s, median {:?}, p99 {:?}", share(500), share(990));
    Ok(())
}

fn throughput(root: &dyn Recorder, queued: &dyn Fn() -> u64, time: Duration) -> Outcome {
    let (began, data) = (Instant::now(), vec![7; 1 << 20]);
    let (mut written, mut most) = (0u64, 0);
    let mut last = Position::default();
    while began.elapsed() < time {
        last =
            root.record(Operation::Write { object: FILE, offset: written % (1 << 30), data: &data, modified: Time::default() });
        written += data.len() as u64;
        most = most.max(queued());
        if written % (64 << 20) == 0 {
            last = root.record(Operation::Sync { object: FILE, data_only: true });
            root.flushed(last)?;
        }
    }
    let sync = root.record(Operation::Sync { object: FILE, data_only: true });
    root.flushed(sync.max(last))?;
    println!("1 MiB writes: {:.0} MB/s, at most {} MiB queued", written as f64 / 1e6 / began.elapsed().as_secs_f64(), most >> 20);
    Ok(())
}
