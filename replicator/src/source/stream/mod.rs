//! The source's half of a stream: a [`Recorder`] that sends what it hears.
//!
//! The layers of all roots record into one queue, in which an operation has its position ([`Stream::root`]). [`Stream::open`] begins or goes on
//! with the stream over a link, [`Stream::pump`] then sends, and takes the acknowledgements for which [`Recorder::flushed`] waits. What is not
//! acknowledged stays, so a link that comes back goes on where the standby is. When more waits than may, or an operation was missed, the stream
//! is over ([`Stream::progress`] says so): then only what the [`Noting`] noted tells what differs, rounds make the replica equal again, and another
//! stream begins there.

mod brake;
mod grouping;
mod halves;
mod queue;
mod removals;
mod sending;
mod waiting;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use standin_common::entry::Time;
use standin_common::id::{Generation, MirrorId, RootIndex, SetName};
use standin_common::link::LinkError;
use standin_common::link::talk::Talk;
use standin_common::message::{Opening, OrphanLimit, Refusal};
use standin_common::scope::Reason;
use standin_common::stream::{StreamAnswer, StreamOpening, StreamRefusal};
use standin_config::Acknowledge;

use crate::acknowledge::{Policy, Reach, Standby};
use crate::capture::ordered::{ObjectId, Operation, Position, Recorder, Tells, Touch};
use crate::store::Store;
use brake::Brake;
use grouping::Grouping;
use halves::Halves;
use queue::Queue;
pub use queue::QueueLimits;
use removals::Removals;
pub use waiting::Waited;
use waiting::Waiters;

/// Longer data is recorded as several writes, of which a standby may have the first without the others, as after a power cut.
const MOST_DATA: usize = 1024 * 1024;

/// Keeps a durable record of what may differ from the standby.
pub trait Noting: Send + Sync {
    /// As [`Recorder::before`].
    fn before(&self, root: RootIndex, touch: Touch) -> io::Result<()>;
    /// As [`Recorder::missed`]; the stream is over then.
    fn missed(&self, root: RootIndex, touch: Touch);
}

/// Where a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Position of the last operation.
    pub newest: u64,
    /// What was sent.
    pub sent: u64,
    /// What the standby has in memory.
    pub received: u64,
    /// What it has on disk.
    pub durable: u64,
    /// Bytes that wait to be acknowledged.
    pub queued_bytes: u64,
    /// Since when the oldest operation waits for that.
    pub oldest: Option<Instant>,
    /// Why the stream is over, if it is.
    pub over: Option<String>,
}

struct State<S: Store> {
    queue: Queue<S>,
    sent: u64,
    /// Up to where somebody waits.
    awaited: u64,
    /// For what the next batch is to be made a point, if it is.
    marked: Option<Reason>,
    halves: Halves,
    grouping: Grouping,
    /// Whether the thread that sends waits for something to be recorded.
    is_idle: bool,
    standby: Standby<u64>,
    waiters: Waiters,
    /// Since when nothing is sent.
    away_since: Option<Instant>,
    policy: Policy,
    /// Why nothing is sent, if that is not for want of the standby.
    held: Option<String>,
    removals: Option<Removals>,
    brake: Brake,
    over: Option<String>,
    retired: bool,
    stopping: bool,
}

impl<S: Store> State<S> {
    fn reach(&self) -> Reach {
        match (self.away_since, &self.held) {
            (None, _) => Reach::Reached,
            (Some(_), Some(why)) => Reach::Held(why.clone()),
            (Some(since), None) => Reach::Away(since.elapsed()),
        }
    }
}

/// A stream.
pub struct Stream<S: Store> {
    id: MirrorId,
    base: MirrorId,
    state: Mutex<State<S>>,
    /// There is something to send, or nothing is to be sent any more.
    to_send: Condvar,
    /// Something was acknowledged: who brakes is to look again.
    acknowledged: Condvar,
}

/// One root of a [`Stream`].
pub struct Root<S: Store> {
    stream: Arc<Stream<S>>,
    root: RootIndex,
    noting: Arc<dyn Noting>,
}

impl<S: Store> Stream<S> {
    /// A stream that begins where the replica is at a point of `base`; `store` is for what waits and has no room in memory.
    pub fn new(id: MirrorId, base: MirrorId, store: S, limits: QueueLimits, policy: Policy) -> Arc<Self> {
        let standby = Standby { received: None, durable: None, reach: Reach::Reached };
        let state = State {
            queue: Queue::new(store, limits),
            sent: 0,
            awaited: 0,
            marked: None,
            halves: Halves::default(),
            grouping: Grouping::default(),
            is_idle: false,
            standby,
            waiters: Waiters::default(),
            away_since: Some(Instant::now()),
            policy,
            held: None,
            removals: None,
            brake: Brake::new(Instant::now()),
            over: None,
            retired: false,
            stopping: false,
        };
        let state = Mutex::new(state);
        Arc::new(Self { id, base, state, to_send: Condvar::new(), acknowledged: Condvar::new() })
    }

    /// What hears of a root's operations, where nothing but a stream does.
    pub fn root(self: &Arc<Self>, root: RootIndex, noting: Arc<dyn Noting>) -> Arc<Root<S>> {
        Arc::new(Root { stream: Arc::clone(self), root, noting })
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is.
    pub fn progress(&self) -> Progress {
        let state = self.lock();
        Progress {
            newest: state.queue.newest,
            sent: state.sent,
            received: state.standby.received.unwrap_or(0),
            durable: state.standby.durable.unwrap_or(0),
            queued_bytes: state.queue.bytes(),
            oldest: state.queue.oldest(),
            over: state.over.clone(),
        }
    }

    /// Other settings hold from now on, for those who wait, too.
    pub fn set_policy(&self, policy: Policy) {
        let mut state = self.lock();
        state.policy = policy;
        state.waiters.wake_all();
    }

    /// Ends the stream for this reason, if it is not over. Who waits does so, or not, as with a standby that is away, until it is [retired](Self::retire).
    pub fn end(&self, why: &str) {
        let mut state = self.lock();
        self.end_locked(&mut state, why);
    }

    fn end_locked(&self, state: &mut State<S>, why: &str) {
        if state.over.is_none() {
            state.over = Some(why.to_owned());
            if let Err(error) = state.queue.clear() {
                tracing::warn!(%error, "files of the queue are left in the state directory");
            }
            self.to_send.notify_all();
            self.acknowledged.notify_all();
            state.waiters.wake_all();
        }
    }

    /// Everything that it ever recorded is durable on the standby by another way: nobody waits for it any more.
    pub fn retire(&self) {
        self.end("another stream follows it");
        let mut state = self.lock();
        state.retired = true;
        state.waiters.wake_all();
    }

    /// Makes [`Stream::pump`] return, with the stream's own end told to the standby.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.to_send.notify_all();
    }

    /// The base is there, with so many objects. More removals between two points than `limit` end the stream before the one that is too many.
    pub fn based(&self, limit: OrphanLimit, objects: u64) {
        let mut state = self.lock();
        (state.removals, state.away_since) = (Some(Removals::new(limit, objects)), Some(Instant::now()));
    }

    /// A point was made, with so many objects.
    pub fn pointed(&self, objects: u64) {
        if let Some(removals) = &mut self.lock().removals {
            removals.pointed(objects);
        }
    }

    /// Why nothing is sent, or nothing if that is only for want of the standby; until the stream is opened next.
    pub fn hold(&self, why: Option<String>) {
        let mut state = self.lock();
        state.held = why;
        state.waiters.wake_all();
    }

    /// Asks for a point of everything that was recorded until now. Returns the position at which it is made at the earliest; `None` if the stream is over.
    pub fn mark(&self, reason: Reason) -> Option<u64> {
        let mut state = self.lock();
        // Nobody looks at the object of a mark.
        let mark = Operation::Sync { object: ObjectId { inode: 0, handle: 0 }, data_only: true };
        if state.over.is_none() {
            match state.queue.add(RootIndex(0), &mark) {
                Ok(()) => {
                    // Whoever asked waits for it, the others do not.
                    state.marked = state.marked.filter(|marked| *marked == Reason::Asked).or(Some(reason));
                    self.to_send.notify_one();
                }
                Err(why) => self.end_locked(&mut state, &why.to_string()),
            }
        }
        state.over.is_none().then_some(state.queue.newest)
    }

    /// Whether the standby takes it.
    pub fn reach(&self) -> Reach {
        self.lock().reach()
    }

    fn record(&self, root: RootIndex, operation: &Operation<'_>) -> Position {
        let mut state = self.lock();
        let wakes = self.record_locked(&mut state, root, operation);
        let newest = state.queue.newest;
        drop(state);
        // Now, since what is woken needs the lock first of all.
        if wakes {
            self.to_send.notify_one();
        }
        Position(newest)
    }

    /// Returns whether the thread that sends is to be woken.
    fn record_locked(&self, state: &mut State<S>, root: RootIndex, operation: &Operation<'_>) -> bool {
        let is_sync = matches!(operation, Operation::Sync { .. });
        let is_whole = state.halves.hear(root, operation) && (state.awaited > state.sent || state.marked.is_some());
        match state.policy.acknowledge {
            // Nobody waits for the standby; it makes everything durable soon.
            Acknowledge::Local if is_sync => return is_whole,
            // It need not be on its disk.
            Acknowledge::Received if is_sync => return self.awaited(state, u64::MAX),
            _ => {}
        }
        if state.over.is_none() && state.removals.as_mut().is_some_and(|removals| removals.hear(operation)) {
            self.end_locked(state, "more was removed at once than `max_orphans` allows");
        }
        if state.over.is_some() {
            return false;
        }
        let is_full = match state.queue.add(root, operation) {
            Err(error) => Err(format!("an operation cannot be sent: {error}")),
            Ok(()) if state.queue.is_open_full(state.halves.until(Instant::now()).is_some()) => {
                state.queue.close(now(), state.marked.take()).map(|()| true).map_err(|full| full.to_string())
            }
            Ok(()) => Ok(false),
        };
        match is_full {
            Ok(_) if is_sync => self.awaited(state, u64::MAX),
            Ok(is_full) => is_full | is_whole | std::mem::take(&mut state.is_idle),
            Err(why) => {
                self.end_locked(state, &why);
                false
            }
        }
    }

    /// Begins the stream, or goes on with it, on a stream of the link whose first message is this; `of` is the set, its definition's digest and the
    /// source's generation. If it is refused, it is over, unless the standby is only busy.
    pub fn open(&self, of: (&SetName, [u8; 32], Generation), talk: &mut Talk) -> Result<Result<(), StreamRefusal>, LinkError> {
        let (set, definition, generation) = of;
        let (kept, newest) = {
            let state = self.lock();
            if let Some(why) = &state.over {
                return Err(LinkError::Refused(why.clone()));
            }
            (state.queue.kept, state.queue.newest)
        };
        let opening = StreamOpening { set: set.clone(), generation, definition, stream: self.id, base: self.base, kept, newest };
        talk.0.send(&Opening::Stream(opening), &[])?;
        let after = match talk.1.answer::<StreamAnswer>()? {
            StreamAnswer::Ready { after } => after,
            StreamAnswer::Refused(busy @ StreamRefusal::Replica(Refusal::Busy)) => return Ok(Err(busy)),
            StreamAnswer::Refused(why) => {
                self.end(&why.to_string());
                return Ok(Err(why));
            }
        };
        let mut state = self.lock();
        if after > newest || !state.queue.is_boundary(after) {
            return Err(LinkError::Broken(format!("the standby wants what comes after operation {after}, which it never had")));
        }
        (state.sent, state.stopping, state.held) = (after, false, None);
        state.grouping.clear();
        // What it had in memory only, a standby that restarted has no longer.
        state.standby.received = None;
        for waiter in self.take(&mut state, after, after)? {
            waiter.notify_one();
        }
        state.away_since = None;
        Ok(Ok(()))
    }
}

impl<S: Store> Tells for Stream<S>
where
    S::Log: Send,
{
    fn tell(&self, root: RootIndex, operation: &Operation<'_>) -> u64 {
        if let Operation::Write { object, offset, data, modified } = *operation
            && data.len() > MOST_DATA
        {
            let pieces = data.chunks(MOST_DATA).zip((offset..).step_by(MOST_DATA));
            let write = |(data, offset)| self.record(root, &Operation::Write { object, offset, data, modified });
            return pieces.map(write).last().unwrap_or_default().0;
        }
        self.record(root, operation).0
    }

    fn told(&self) -> u64 {
        self.lock().queue.newest
    }

    fn brake(&self) {
        let until = Instant::now() + brake::LONGEST;
        let mut state = self.lock();
        loop {
            let (now, takes) = (Instant::now(), state.over.is_none() && state.away_since.is_none());
            let awaited = state.policy.acknowledge != Acknowledge::Local;
            if !takes || now >= until || !state.brake.holds(state.queue.bytes(), state.queue.limit(), awaited, now) {
                return;
            }
            state = self.acknowledged.wait_timeout(state, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn end(&self, why: &str) {
        Self::end(self, why);
    }
}

impl<S: Store> Recorder for Root<S> {
    fn before(&self, touch: Touch) -> io::Result<()> {
        self.noting.before(self.root, touch)
    }

    fn record(&self, operation: Operation<'_>) -> Position {
        Position(self.stream.tell(self.root, &operation))
    }

    fn missed(&self, touch: Touch) {
        self.noting.missed(self.root, touch);
        self.stream.end("a change could not be told: what was touched has to be compared");
    }

    fn flushed(&self, position: Position) -> io::Result<()> {
        self.stream.flushed(position)
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Time { secs: since.as_secs() as i64, nanos: since.subsec_nanos() }
}
