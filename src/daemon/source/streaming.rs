//! The stream of operations that follows a round under capture `ordered`: begun while the round holds the layers, adopted when the round's point is
//! there, and then sent as long as nothing else has to be done.
//!
//! While it runs, the places that changed are kept as *generations*, each until a point has all that was done before it ended. When the
//! stream is over, what is left of them is for rounds, which lead to the next stream.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime};

use standin_common::entry::Time;
use standin_common::id::MirrorId;
use standin_common::link::talk::{Open, Talk};
use standin_common::message::Refusal;
use standin_common::stream::StreamRefusal;
use standin_config::{Acknowledge, OnDisconnect};
use standin_replicator::acknowledge::Policy;
use standin_replicator::capture::{LinkedNames, Taken};
use standin_replicator::definition;
use standin_replicator::report::{Lag, StreamReport};
use standin_replicator::source::pass::{PassError, Passed};
use standin_replicator::source::stream::{QueueLimits, Stream, Waited};
use standin_replicator::store::{DirectoryStore, Store};

use super::SourceSet;
use super::follow::Follow;
use crate::daemon::source::new_mirror_id;

/// Memory for what waits for the standby; the rest of `queue_limit` is disk.
const MEMORY_BYTES: u64 = 64 << 20;
/// Where in the set's state directory that is.
const QUEUE: &str = "queue";
/// After a stream that did not come to run, or ended, the next is tried this much later; twice as much if it ends soon, again and again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A stream that ran for so long did not end soon.
const LONG: Duration = Duration::from_secs(60);
/// How long everything is waited for before a comparison.
const CATCH_UP: Duration = Duration::from_secs(30);

/// A stream, and the position of the layers at which it began.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) stream: Arc<Stream<DirectoryStore>>,
    pub(super) offset: u64,
    began: Instant,
}

impl Current {
    /// Whether nothing can be waited for any more.
    pub(super) fn is_over(&self) -> bool {
        self.stream.progress().over.is_some()
    }

    /// How far it is, unless it is over.
    pub(super) fn report(&self) -> Option<StreamReport> {
        let progress = self.stream.progress();
        progress.over.is_none().then(|| StreamReport {
            operations: progress.newest,
            durable: progress.durable,
            queued_bytes: progress.queued_bytes,
            seconds: self.began.elapsed().as_secs_f64(),
        })
    }

    /// What the standby lacks.
    pub(super) fn lag(&self) -> Lag {
        let progress = self.stream.progress();
        Lag {
            changes: progress.newest.saturating_sub(progress.durable),
            directories: 0,
            bytes: Some(progress.queued_bytes),
            oldest_seconds: progress.oldest.map(|oldest| oldest.elapsed().as_secs_f64()),
        }
    }
}

/// A stream that began with a round, which has not ended.
pub(super) struct Begun {
    id: MirrorId,
    current: Current,
}

/// Places that changed until some position of the stream.
pub(super) struct Generation {
    pub(super) position: u64,
    taken: Taken,
    pub(super) began: Time,
    /// Turn of the durable record that began then, with nothing under way.
    pub(super) turn: Option<u64>,
}

/// What the set's thread knows of the stream.
pub(super) struct Streaming {
    pub(super) id: MirrorId,
    pub(super) current: Current,
    pub(super) generations: VecDeque<Generation>,
    /// When the last began, and the position then.
    pub(super) cut: (Instant, u64),
    /// Points that were asked for: from which position on, up to which request.
    pub(super) marks: VecDeque<(u64, u64)>,
    /// How many there were: they are no changes.
    pub(super) marked: u64,
    /// When the last change was seen, how many there were then, and how many when the last point was made that is kept.
    pub(super) changed: (Instant, u64),
    pub(super) kept: u64,
}

impl Streaming {
    /// The next generation.
    pub(super) fn began(&mut self, taken: Taken, began: Time, turn: Option<u64>) {
        // Whatever was done before the places were taken has a position by now.
        let position = self.current.stream.progress().newest;
        self.generations.push_back(Generation { position, taken, began, turn });
        self.cut = (Instant::now(), position);
    }
}

/// When the next stream may begin.
pub(super) struct Next {
    due: Instant,
    pause: Duration,
}

impl Default for Next {
    fn default() -> Self {
        Self { due: Instant::now(), pause: FIRST_PAUSE }
    }
}

impl Next {
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// One ended, or did not come to run.
    fn ended(&mut self, ran: Duration) {
        if ran >= LONG {
            self.pause = FIRST_PAUSE;
        }
        self.due = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

/// How a stream came to its end, or what else is to be done.
pub(super) enum Left {
    /// Something else is to be done, or it is over.
    Ended,
    /// It goes on when the standby is there.
    Cut(String),
    /// The replica was promoted.
    Promoted,
}

impl SourceSet {
    /// What an earlier daemon left of its queue means nothing.
    pub(super) fn clear_queue(&self) {
        let clear = || -> io::Result<()> {
            if self.layers.is_some() {
                let store = DirectoryStore::open(&self.directory.join(QUEUE))?;
                store.names()?.iter().try_for_each(|name| store.forget(name))?;
            }
            Ok(())
        };
        if let Err(error) = clear() {
            tracing::warn!(%error, "what an earlier daemon left of the queue stays on the disk");
        }
    }

    /// Begins a stream, while the layers are held. Removals that are not to be repeated on the standby are no operations for it.
    pub(super) fn begin_stream(&self, base: MirrorId) -> Option<Begun> {
        let layers = self.layers.as_ref()?;
        if !self.removes_orphans() {
            return None;
        }
        let store = DirectoryStore::open(&self.directory.join(QUEUE));
        let store =
            store.inspect_err(|error| tracing::warn!(%error, "no stream: what waits for the standby has no place")).ok()?;
        let set = self.set();
        let memory_bytes = MEMORY_BYTES.min(set.queue_limit_bytes / 2);
        let limits = QueueLimits { memory_bytes, disk_bytes: set.queue_limit_bytes - memory_bytes };
        let id = new_mirror_id();
        let stream = Stream::new(id, base, store, limits, Policy::of(&set));
        let offset = layers.ledger().begin_stream(stream.clone())?;
        Some(Begun { id, current: Current { stream, offset, began: Instant::now() } })
    }

    /// The stream that began with a round runs from now on, if the round's point is the state in which it began. Returns which it is.
    pub(super) fn adopt(
        &self,
        follow: &mut Follow,
        begun: Option<Begun>,
        ended: &Result<Passed, PassError>,
        whole: bool,
    ) -> Option<MirrorId> {
        let Some(begun) = begun else {
            // Not at once again.
            if follow.next_stream.is_due() {
                follow.next_stream.ended(Duration::ZERO);
            }
            return None;
        };
        let layers = self.layers.as_ref()?;
        let passed = ended.as_ref().ok().filter(|passed| whole && passed.flaws == 0);
        let point = passed.and_then(|passed| passed.point.as_ref()).filter(|point| point.consistent && point.orphans == 0);
        let Some(point) = point else {
            layers.ledger().end_stream("the round that it began with did not make its point");
            follow.next_stream.ended(Duration::ZERO);
            return None;
        };
        let Begun { id, current } = begun;
        let mut state = self.lock();
        let ordered = state.kept.following.map(|following| following.ordered);
        ordered.into_iter().for_each(|ordered| current.stream.based(ordered.orphan_limit, point.objects));
        tracing::info!(point = %point.number, stream = %id, "a stream of operations begins");
        let (now, newest) = (Instant::now(), 0);
        follow.stream = Some(Streaming {
            id,
            current: current.clone(),
            generations: VecDeque::new(),
            cut: (now, newest),
            marks: VecDeque::new(),
            marked: 0,
            changed: (now, newest),
            kept: newest,
        });
        state.stream = Some(current);
        state.news.clear();
        // Whoever waited for a round waits for the stream from now on.
        let all = state.syncs.last;
        state.syncs.answer(all);
        drop(state);
        self.changed.notify_all();
        Some(id)
    }

    /// There is no stream any more: what it did not bring to a point is for rounds.
    pub(super) fn drop_stream(&self, follow: &mut Follow, why: &str) {
        let Some(streaming) = follow.stream.take() else { return };
        if let Some(layers) = &self.layers {
            layers.ledger().end_stream(why);
        }
        let why = streaming.current.stream.progress().over.unwrap_or_default();
        tracing::info!(why, "the stream of operations is over");
        // First, so that it counts as lag before the stream does no longer.
        follow.put_back(streaming.generations.into_iter().map(|generation| generation.taken));
        self.lock().stream = None;
        self.changed.notify_all();
        follow.next_stream.ended(streaming.current.began.elapsed());
        // Names of which no round heard may have come and gone.
        follow.names = LinkedNames::default();
    }

    /// Sends the stream until something else is to be done, it is over, or cut off.
    pub(super) fn send_stream(&self, connection: &standin_common::link::quic::Connection, follow: &mut Follow) -> Left {
        let Some(current) = follow.stream.as_ref().map(|streaming| streaming.current.clone()) else { return Left::Ended };
        let talk = match self.open_stream(connection, &current) {
            Ok(talk) => talk,
            Err(left) => return left,
        };
        let done = AtomicBool::new(false);
        let pace = self.pace_of_stream();
        let pumped = std::thread::scope(|scope| {
            let pumping = scope.spawn(|| {
                let pumped = current.stream.pump(talk, &|bytes| pace.admit(bytes), &|news| {
                    self.lock().news.push(news);
                    self.changed.notify_all();
                });
                done.store(true, SeqCst);
                drop(self.lock());
                self.changed.notify_all();
                pumped
            });
            self.attend(follow, &current, &pace, &done);
            let ended_there = done.load(SeqCst);
            current.stream.hold(self.why_nothing_is_sent());
            pace.stop();
            current.stream.stop();
            pumping.join().map(|pumped| pumped.map_err(|error| error.to_string()).map(|()| ended_there))
        });
        // Of what came at the end.
        self.hear_news(follow);
        match pumped {
            Ok(_) if current.stream.progress().over.is_some() => Left::Ended,
            Ok(Err(error)) => Left::Cut(error),
            Ok(Ok(true)) => Left::Cut("the standby ended the stream".to_owned()),
            Ok(_) => Left::Ended,
            Err(_) => {
                current.stream.end("sending it failed");
                Left::Ended
            }
        }
    }

    fn open_stream(&self, connection: &standin_common::link::quic::Connection, current: &Current) -> Result<Talk, Left> {
        let set = self.set();
        let generation = self.lock().kept.generation;
        let cut = |error: standin_common::link::LinkError| Left::Cut(error.to_string());
        let mut talk = Open::open(connection).map_err(cut)?;
        match current.stream.open((&set.name, definition::digest(&set), generation), &mut talk).map_err(cut)? {
            Ok(()) => Ok(talk),
            Err(StreamRefusal::Replica(Refusal::Promoted)) => Err(Left::Promoted),
            Err(busy @ StreamRefusal::Replica(Refusal::Busy)) => Err(Left::Cut(busy.to_string())),
            Err(_) => Err(Left::Ended),
        }
    }

    /// Before a comparison the standby gets what there is.
    pub(super) fn catch_up(&self, current: &Current, done: &AtomicBool) {
        let policy = Policy { acknowledge: Acknowledge::Durable, on_disconnect: OnDisconnect::Block };
        let until = Instant::now() + CATCH_UP;
        let position = current.stream.progress().newest;
        while !done.load(SeqCst) && Instant::now() < until && !self.lock().stopping {
            match current.stream.wait(position, &policy, Duration::from_millis(200)) {
                Waited::NotYet => {}
                Waited::Safe | Waited::Unmet(_) | Waited::Over => return,
            }
        }
    }
}

/// Now, as it is kept.
pub(super) fn now() -> Time {
    SystemTime::now().into()
}
