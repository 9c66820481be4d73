//! Receiving a stream, and making recovery points of it.
//!
//! One thread receives ([`Session::receive`]), another folds ([`Session::fold`]) when [`Session::due`] says so. Whoever ends the stream for
//! another reason (a promotion, a mirror) calls [`Session::end`], after which nothing is taken in or acknowledged, and folds once more:
//! then everything that was ever acknowledged as durable is in the newest point.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use standin_common::entry::Time;
use standin_common::id::{MirrorId, RootIndex};
use standin_common::link::LinkError;
use standin_common::link::talk::Receiver;
use standin_common::message::Refusal;
use standin_common::path::RelPath;
use standin_common::scope::{Reason, Scope};
use standin_common::stream::{Batch, MOST_OPERATIONS, StreamAnswer, StreamNews, StreamOpening, StreamRefusal};

use super::checkpoint::Checkpoint;
use super::fold::{self, Window};
use super::log::{self, Log};
use super::opening::{self, Has};
use super::tree::Fault;
use crate::capture::ordered::{Operation, decode};
use crate::journal::{JournalError, Point};
use crate::rules::Rules;
use crate::standby::replica::{Replica, ReplicaError};
use crate::standby::state::Phase;
use crate::store::Store;
use crate::volume::Volume;

/// Why a stream could not be received or folded.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The link; what is durable stays.
    #[error("the stream was cut off: {0}")]
    Link(#[from] LinkError),
    /// The state directory.
    #[error("the log of the stream: {0}")]
    Store(#[from] io::Error),
    /// The log, or the journal of a point.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The replica.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// An operation.
    #[error(transparent)]
    Fold(#[from] Fault),
    /// A root.
    #[error("{what} failed at {path:?} of root {}: {source}", root.0)]
    Volume {
        /// What was done.
        what: &'static str,
        /// The root.
        root: RootIndex,
        /// Where.
        path: RelPath,
        /// What the system said.
        source: io::Error,
    },
    /// The source broke the protocol, or the stream was ended here.
    #[error("the stream is over: {0}")]
    Over(String),
}

/// How much may wait, and when a point is made.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// So many bytes of the log wait to be folded before no more is taken in.
    pub log_bytes: u64,
    /// A point is made after so many bytes of the log,
    pub fold_bytes: u64,
    /// after so long,
    pub fold_every: Duration,
    /// or when nothing came for so long.
    pub quiet: Duration,
    /// Bytes of the way back to older points.
    pub history_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log_bytes: 1 << 30,
            fold_bytes: 128 << 20,
            fold_every: Duration::from_secs(10),
            quiet: Duration::from_secs(1),
            history_bytes: u64::MAX,
        }
    }
}

/// What came of a fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// The point, if one was made.
    pub point: Option<Point>,
    /// Everything up to here is in the newest point.
    pub position: u64,
    /// What the replica lacks, which a round has to bring.
    pub lacking: Vec<Scope>,
    /// Why nothing after `position` can be folded: the source contradicted itself.
    pub over: Option<String>,
}

/// When what waits came.
struct Waiting {
    since: Option<Instant>,
    last: Instant,
}

struct Inner<L> {
    log: Log<L>,
    waiting: Waiting,
    /// For what the source wants a point.
    wanted: Option<Reason>,
    ended: bool,
}

/// A stream that is received.
pub struct Session<'a, V, S: Store> {
    replica: &'a Replica<V, S>,
    rules: &'a [Rules],
    limits: Limits,
    inner: Mutex<Inner<S::Log>>,
    room: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stream that a store has, and its log.
type Kept<S> = (Checkpoint, Log<<S as Store>::Log>);

fn kept<V: Volume, S: Store>(replica: &Replica<V, S>) -> Result<Option<Kept<S>>, StreamError> {
    let store = replica.store();
    let Some(checkpoint) = Checkpoint::load(store, &replica.state())? else { return Ok(None) };
    let log = Log::open(store, checkpoint.stream, checkpoint.position, &checkpoint.needed())?;
    Ok(Some((checkpoint, log)))
}

/// Makes a point of whatever is in the log: at a start, before a promotion, and before a mirror or round is received. `None` if there is nothing.
///
/// If the replica has gone to another point than the stream was at, the log is of no use, and removed.
pub fn recover<V: Volume, S: Store>(replica: &Replica<V, S>, rules: &[Rules]) -> Result<Option<Folded>, StreamError> {
    if matches!(replica.state().phase, Phase::Promoted { .. } | Phase::Empty | Phase::FirstMirror { .. }) {
        return Ok(None);
    }
    replica.settle_if_due()?;
    let Some((_, mut log)) = kept(replica)? else {
        forget(replica.store())?;
        return Ok(None);
    };
    fold_log(replica, rules, &mut log, Reason::Quiet).map(Some)
}

fn forget<S: Store>(store: &S) -> Result<(), StreamError> {
    Checkpoint::drop(store)?;
    Log::<S::Log>::remove_all(store)
}

/// Folds the closed segments of a log, and gives them up.
fn fold_log<V: Volume, S: Store>(
    replica: &Replica<V, S>,
    rules: &[Rules],
    log: &mut Log<S::Log>,
    reason: Reason,
) -> Result<Folded, StreamError> {
    let segments = log.closed.clone();
    let (folded, needed) = fold::fold(replica, rules, &Window { segments: &segments, at: log.at, reason, in_any_case: false })?;
    if folded.over.is_some() {
        forget(replica.store())?;
    } else {
        log.give_up(folded.position);
        log::remove(replica.store(), folded.position, &needed)?;
    }
    Ok(folded)
}

impl<'a, V: Volume, S: Store> Session<'a, V, S> {
    /// Begins to receive a stream, or goes on with one. What is answered has to be sent.
    pub fn open(
        replica: &'a Replica<V, S>,
        rules: &'a [Rules],
        opening: &StreamOpening,
        limits: Limits,
    ) -> Result<Result<(Self, StreamAnswer), StreamRefusal>, StreamError> {
        let refused = |refusal| Ok(Err(refusal));
        if let StreamAnswer::Refused(refusal @ StreamRefusal::Replica(_)) = opening::answer(&replica.state(), None, opening) {
            return refused(refusal);
        }
        match replica.settle_if_due() {
            Err(ReplicaError::Busy) => return refused(StreamRefusal::Replica(Refusal::Busy)),
            settled => settled?,
        }
        let kept = kept(replica)?;
        let has = kept.as_ref().map(|(checkpoint, log)| Has { stream: checkpoint.stream, durable: log.end });
        let answer = opening::answer(&replica.state(), has, opening);
        if let StreamAnswer::Refused(refusal) = answer {
            return refused(refusal);
        }
        replica.follow(opening.generation)?;
        replica.bound_history(limits.history_bytes);
        let log = match kept.filter(|(checkpoint, _)| checkpoint.stream == opening.stream) {
            Some((_, log)) => log,
            None => Self::begin(replica, opening)?,
        };
        let waiting = Waiting { since: (log.bytes() > 0).then(Instant::now), last: Instant::now() };
        let inner = Mutex::new(Inner { log, waiting, wanted: None, ended: false });
        Ok(Ok((Self { replica, rules, limits, inner, room: Condvar::new() }, answer)))
    }

    fn begin(replica: &Replica<V, S>, opening: &StreamOpening) -> Result<Log<S::Log>, StreamError> {
        let store = replica.store();
        let newest = replica.state().points.pop().ok_or(ReplicaError::NoPoint)?;
        let checkpoint = Checkpoint {
            stream: opening.stream,
            generation: opening.generation,
            point: newest.number,
            position: 0,
            lacks: !newest.consistent,
            told: Default::default(),
        };
        // Segments tell of which stream they are, so those of the one before do no harm.
        checkpoint.keep(store)?;
        Log::open(store, opening.stream, 0, &checkpoint.needed())
    }

    /// Whether something came that is not durable yet.
    pub fn is_behind(&self) -> bool {
        let inner = lock(&self.inner);
        !inner.ended && inner.log.durable < inner.log.end
    }

    /// Receives until the source ends the stream; `tell` sends news. What nobody waits for is made durable by who asks [`Session::is_behind`]. What is acknowledged as durable is in what is promoted.
    pub fn receive(
        &self,
        receiver: &mut Receiver,
        tell: &mut dyn FnMut(StreamNews) -> Result<(), LinkError>,
    ) -> Result<(), StreamError> {
        let mut due = false;
        loop {
            // Whatever has come already is made durable by one sync.
            if due && !receiver.has_more() {
                tell(self.sync()?)?;
                due = false;
            }
            let Some((batch, payload)) = receiver.receive::<Batch>()? else { break };
            due |= self.take(&batch, payload)?;
            // Of many that come at once, the last says it for all.
            if !due && !receiver.has_more() {
                let inner = lock(&self.inner);
                tell(StreamNews::Reached { received: inner.log.end, durable: inner.log.durable })?;
            }
        }
        tell(self.sync()?)?;
        Ok(())
    }

    /// Takes in a batch; whether somebody waits for it to be durable. Waits itself while too much is to be folded.
    pub fn take(&self, batch: &Batch, payload: &[u8]) -> Result<bool, StreamError> {
        let due = check(batch, payload).map_err(StreamError::Over)?;
        let mut inner = lock(&self.inner);
        while inner.log.bytes() > self.limits.log_bytes && !inner.ended {
            inner = self.room.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        let inner = &mut *inner;
        if inner.ended {
            return Err(StreamError::Over("it was ended here".to_owned()));
        }
        if batch.first != inner.log.end + 1 {
            return Err(StreamError::Over(format!("operation {} came, and {} was to come", batch.first, inner.log.end + 1)));
        }
        inner.log.append(self.replica.store(), batch, payload)?;
        inner.waiting.last = Instant::now();
        inner.waiting.since.get_or_insert(inner.waiting.last);
        // Whoever asked waits for it, the others do not.
        inner.wanted = batch.point.filter(|_| inner.wanted != Some(Reason::Asked)).or(inner.wanted);
        Ok(due)
    }

    /// Makes durable what came.
    pub fn sync(&self) -> Result<StreamNews, StreamError> {
        let mut inner = lock(&self.inner);
        if inner.ended {
            return Err(StreamError::Over("it was ended here".to_owned()));
        }
        inner.log.sync()?;
        Ok(StreamNews::Reached { received: inner.log.end, durable: inner.log.durable })
    }

    /// Takes in nothing any more. What was acknowledged stays, for [`Session::fold`] or [`recover`].
    pub fn end(&self) {
        lock(&self.inner).ended = true;
        self.room.notify_all();
    }

    /// How long until a point is to be made, if anything waits.
    pub fn due(&self, now: Instant) -> Option<Duration> {
        let inner = lock(&self.inner);
        let since = inner.waiting.since?;
        if inner.wanted.is_some() || inner.log.bytes() >= self.limits.fold_bytes {
            return Some(Duration::ZERO);
        }
        let at = (since + self.limits.fold_every).min(inner.waiting.last + self.limits.quiet);
        Some(at.saturating_duration_since(now))
    }

    /// Makes a recovery point of everything that came until now. Receiving goes on meanwhile.
    pub fn fold(&self, reason: Reason) -> Result<Folded, StreamError> {
        let (segments, at, wanted) = {
            let mut inner = lock(&self.inner);
            inner.log.close()?;
            inner.waiting.since = None;
            (inner.log.closed.clone(), inner.log.at, inner.wanted.take())
        };
        let window = Window { segments: &segments, at, reason: wanted.unwrap_or(reason), in_any_case: wanted.is_some() };
        let (folded, needed) = fold::fold(self.replica, self.rules, &window)?;
        if folded.over.is_some() {
            let mut inner = lock(&self.inner);
            inner.ended = true;
            forget(self.replica.store())?;
        } else {
            lock(&self.inner).log.give_up(folded.position);
            // Whoever receives does not wait for that: the files may be long.
            log::remove(self.replica.store(), folded.position, &needed)?;
        }
        self.room.notify_all();
        Ok(folded)
    }
}

impl Folded {
    /// As the source is told.
    pub fn news(&self) -> Option<StreamNews> {
        match (&self.over, &self.point) {
            (Some(why), _) => Some(StreamNews::Over(why.clone())),
            (None, Some(point)) => {
                let Point { number, reason, at, consistent, objects, bytes, orphans, .. } = *point;
                let (position, lacking) = (self.position, self.lacking.clone());
                Some(StreamNews::Point { number, reason, at, consistent, objects, bytes, orphans, position, lacking })
            }
            (None, None) => None,
        }
    }
}

/// Whether a batch is what it says; and whether somebody waits for it.
fn check(batch: &Batch, payload: &[u8]) -> Result<bool, String> {
    if batch.count == 0 || batch.count > MOST_OPERATIONS || batch.first == 0 || batch.first > u64::MAX / 2 {
        return Err("it sent a batch of no operations, or of too many".to_owned());
    }
    let (mut count, mut waits) = (0, false);
    for encoded in decode(payload) {
        waits |= matches!(encoded.map_err(|error| error.to_string())?.operation, Operation::Sync { .. });
        count += 1;
    }
    if count == batch.count { Ok(waits) } else { Err(format!("it sent {count} operations and said {}", batch.count)) }
}

/// Which stream a replica has something of, if any.
pub fn stream_of<V: Volume, S: Store>(replica: &Replica<V, S>) -> Result<Option<MirrorId>, StreamError> {
    Ok(Checkpoint::load(replica.store(), &replica.state())?.map(|checkpoint| checkpoint.stream))
}

/// Until something was received, there is no time of the source.
pub(super) fn or_before(at: Time, before: Time) -> Time {
    at.max(before)
}
