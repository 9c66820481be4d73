//! Sending what waits, and taking in what the standby says.
//!
//! What somebody waits for is sent at once. All else lingers for a moment, so that many small operations are one batch: waking threads here and on
//! the standby for each of them would take more time than the operations themselves.

use std::sync::{Arc, Condvar, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use standin_common::link::LinkError;
use standin_common::link::talk::{Receiver, Sender, Talk};
use standin_common::stream::{Batch, StreamNews};
use standin_config::Acknowledge;

use super::{State, Stream, now as time_now};
use crate::store::Store;

/// How long an operation for which nobody waits is kept for others to come.
const LINGER: Duration = Duration::from_millis(5);
/// For so long after something was sent it is looked every [`LINGER`] whether there is more, so that nobody has to say so.
const AWAKE: Duration = Duration::from_millis(100);

/// What is to be sent.
enum Next {
    Batch(Batch, Arc<Vec<u8>>),
    /// Something, but not before this.
    At(Instant),
    /// Nothing was recorded.
    Nothing,
}

impl<S: Store> Stream<S> {
    /// Sends until the link fails, the stream is over, or it is [stopped](Self::stop); `news` hears of points. [`Stream::open`] comes before.
    /// `admit` waits until so many bytes may be sent, `false` if nothing is any more.
    pub fn pump(
        &self,
        (mut send, mut receive): Talk,
        admit: &dyn Fn(usize) -> bool,
        news: &(dyn Fn(StreamNews) + Sync),
    ) -> Result<(), LinkError> {
        let pumped = thread::scope(|scope| {
            let hearing = scope.spawn(|| {
                let heard = self.hear(&mut receive, news);
                // Whatever ends the one ends the other.
                self.stop();
                heard
            });
            let sent = self.send(&mut send, admit);
            // Dropped without an end, it tells the standby that there will be none.
            drop(send);
            let heard = hearing.join().unwrap_or(Err(LinkError::ClosedHere));
            sent.and(heard)
        });
        let mut state = self.lock();
        state.away_since = Some(Instant::now());
        state.waiters.wake_all();
        drop(state);
        self.acknowledged.notify_all();
        pumped
    }

    fn send(&self, send: &mut Sender, admit: &dyn Fn(usize) -> bool) -> Result<(), LinkError> {
        while let Some((batch, bytes)) = self.wait_for_batch() {
            if !admit(bytes.len()) {
                break;
            }
            send.send(&batch, &bytes)?;
        }
        send.finish()
    }

    /// The next batch when it is to be sent; `None` when nothing is any more.
    fn wait_for_batch(&self) -> Option<(Batch, Arc<Vec<u8>>)> {
        let until = Instant::now() + AWAKE;
        let mut state = self.lock();
        loop {
            if state.stopping || state.over.is_some() {
                return None;
            }
            let now = Instant::now();
            match self.next(&mut state, now) {
                Next::Batch(batch, bytes) => return Some((batch, bytes)),
                Next::At(when) => {
                    let left = when.saturating_duration_since(now);
                    state = self.to_send.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                Next::Nothing if now < until => {
                    state = self.to_send.wait_timeout(state, LINGER).unwrap_or_else(PoisonError::into_inner).0;
                }
                Next::Nothing => {
                    state.is_idle = true;
                    state = self.to_send.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.is_idle = false;
                }
            }
        }
    }

    /// What is to be sent now.
    fn next(&self, state: &mut State<S>, now: Instant) -> Next {
        match self.try_next(state, now) {
            Ok(next) => {
                if let Next::Batch(batch, _) = &next {
                    let end = batch.first + u64::from(batch.count) - 1;
                    if state.awaited > state.sent {
                        state.grouping.sent(end, now);
                    }
                    state.sent = end;
                }
                next
            }
            Err(why) => {
                self.end_locked(state, &format!("the queue cannot be read: {why}"));
                Next::Nothing
            }
        }
    }

    fn try_next(&self, state: &mut State<S>, now: Instant) -> Result<Next, String> {
        state.grouping.holds = false;
        let after = |state: &State<S>| state.queue.after(state.sent).map_err(|error| error.to_string());
        if let Some((batch, bytes)) = after(state)? {
            return Ok(Next::Batch(batch, bytes));
        }
        let Some(since) = state.queue.open_since() else { return Ok(Next::Nothing) };
        if state.awaited <= state.sent && state.marked.is_none() && now < since + LINGER {
            return Ok(Next::At(since + LINGER));
        }
        if let Some(until) = state.halves.until(now) {
            return Ok(Next::At(until));
        }
        if let Some(until) = state.grouping.until(now).filter(|_| state.marked.is_none()) {
            state.grouping.holds = true;
            return Ok(Next::At(until));
        }
        state.queue.close(time_now(), state.marked.take()).map_err(|full| full.to_string())?;
        Ok(after(state)?.map_or(Next::Nothing, |(batch, bytes)| Next::Batch(batch, bytes)))
    }

    /// Somebody waits for everything up to a position. Returns whether the thread that sends is to be woken, when the lock is given back.
    pub(super) fn awaited(&self, state: &mut State<S>, position: u64) -> bool {
        let position = position.min(state.queue.newest);
        let is_new = position > state.awaited;
        state.awaited = state.awaited.max(position);
        is_new && position > state.sent && !state.grouping.holds
    }

    fn hear(&self, receive: &mut Receiver, news: &(dyn Fn(StreamNews) + Sync)) -> Result<(), LinkError> {
        while let Some((heard, _)) = receive.receive::<StreamNews>()? {
            match heard {
                StreamNews::Reached { received, durable } => {
                    // Woken when they can go on: what they need first is this lock.
                    let woken = self.take(&mut self.lock(), received, durable)?;
                    woken.iter().for_each(|waiter| waiter.notify_one());
                }
                StreamNews::Over(why) => {
                    self.end(&why);
                    return Ok(());
                }
                point => news(point),
            }
        }
        Ok(())
    }

    /// Takes an acknowledgement; returns those who wait no longer, and are to be woken.
    pub(super) fn take(&self, state: &mut State<S>, received: u64, durable: u64) -> Result<Vec<Arc<Condvar>>, LinkError> {
        if durable > received || received > state.sent {
            return Err(LinkError::Broken("the standby acknowledged what was never sent".to_owned()));
        }
        let standby = &mut state.standby;
        (standby.received, standby.durable) = (standby.received.max(Some(received)), standby.durable.max(Some(durable)));
        let before = state.queue.bytes();
        let acknowledged = state.queue.acknowledge(durable);
        let fewer = before.saturating_sub(state.queue.bytes());
        state.brake.acknowledged(fewer, Instant::now());
        if let Err(error) = acknowledged {
            tracing::warn!(%error, "a file of the queue is left in the state directory");
        }
        self.acknowledged.notify_all();
        let reached = if state.policy.acknowledge == Acknowledge::Durable { durable } else { received };
        if state.grouping.reached(reached) {
            self.to_send.notify_one();
        }
        Ok(state.waiters.reached(received, durable))
    }
}

#[cfg(test)]
mod tests {
    use standin_common::entry::Time;
    use standin_common::id::{MirrorId, RootIndex};
    use standin_common::scope::Reason;
    use standin_config::OnDisconnect;

    use super::super::QueueLimits;
    use super::super::halves::LONGEST;
    use super::*;
    use crate::acknowledge::Policy;
    use crate::capture::ordered::{ObjectId, Operation, Tells};
    use crate::store::DirectoryStore;

    const OBJECT: ObjectId = ObjectId { inode: 1, handle: 2 };
    const ROOT: RootIndex = RootIndex(0);
    const WRITE: Operation<'_> =
        Operation::Write { object: OBJECT, offset: 0, data: &[1; 4096], modified: Time { secs: 0, nanos: 0 } };
    const SYNC: Operation<'_> = Operation::Sync { object: OBJECT, data_only: true };

    fn stream(acknowledge: Acknowledge) -> (tempfile::TempDir, Arc<Stream<DirectoryStore>>) {
        let directory = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(directory.path()).unwrap();
        let limits = QueueLimits { memory_bytes: 1 << 20, disk_bytes: 1 << 20 };
        let policy = Policy { acknowledge, on_disconnect: OnDisconnect::Block };
        let id = MirrorId(1);
        (directory, Stream::new(id, id, store, limits, policy))
    }

    /// Operations in the batch that is to be sent at a moment; `Err` with how long it lingers.
    fn due(stream: &Stream<DirectoryStore>, now: Instant) -> Option<Result<u32, Duration>> {
        match stream.next(&mut stream.lock(), now) {
            Next::Batch(batch, _) => Some(Ok(batch.count)),
            Next::At(when) => Some(Err(when - now)),
            Next::Nothing => None,
        }
    }

    #[test]
    fn what_nobody_waits_for_lingers() {
        let (_directory, stream) = stream(Acknowledge::Local);
        assert_eq!(due(&stream, Instant::now()), None);
        assert_eq!(stream.tell(ROOT, &WRITE), 1);
        assert_eq!(stream.tell(ROOT, &SYNC), 1, "nobody waits for the standby, so it need not sync");
        let now = Instant::now();
        assert!(matches!(due(&stream, now), Some(Err(left)) if left <= LINGER));
        assert_eq!(stream.tell(ROOT, &WRITE), 2);
        assert_eq!(due(&stream, now + LINGER), Some(Ok(2)));
        assert_eq!(due(&stream, now + LINGER), None);
    }

    #[test]
    fn what_somebody_waits_for_is_sent_at_once() {
        let (_directory, stream) = stream(Acknowledge::Durable);
        stream.tell(ROOT, &WRITE);
        assert_eq!(stream.tell(ROOT, &SYNC), 2);
        assert_eq!(due(&stream, Instant::now()), Some(Ok(2)));
        // What comes afterwards is not waited for, until somebody does, who may be mistaken.
        stream.tell(ROOT, &WRITE);
        assert!(matches!(due(&stream, Instant::now()), Some(Err(_))));
        assert!(stream.awaited(&mut stream.lock(), u64::MAX));
        assert_eq!(due(&stream, Instant::now()), Some(Ok(1)));
        stream.tell(ROOT, &WRITE);
        assert!(matches!(due(&stream, Instant::now()), Some(Err(_))));
    }

    #[test]
    fn no_batch_ends_between_two_halves_of_a_write() {
        let (_directory, stream) = stream(Acknowledge::Durable);
        let other = ObjectId { inode: 3, handle: 4 };
        let modified = Time { secs: 0, nanos: 0 };
        let half = Operation::Write { object: other, offset: 4000, data: &[1; 96], modified };
        let rest = Operation::Write { object: other, offset: 4096, data: &[1; 10], modified };
        stream.tell(ROOT, &half);
        stream.tell(ROOT, &SYNC);
        assert!(matches!(due(&stream, Instant::now()), Some(Err(left)) if left <= LONGEST), "somebody waits, but not for this");
        stream.tell(ROOT, &rest);
        assert_eq!(due(&stream, Instant::now()), Some(Ok(3)));
        // It was all of it.
        stream.tell(ROOT, &half);
        assert_eq!(stream.mark(Reason::Passing), Some(5));
        assert!(matches!(due(&stream, Instant::now()), Some(Err(_))));
        assert_eq!(due(&stream, Instant::now() + LONGEST), Some(Ok(2)));
        stream.tell(ROOT, &half);
        stream.tell(ROOT, &Operation::Sync { object: other, data_only: true });
        assert_eq!(due(&stream, Instant::now()), Some(Ok(2)), "who syncs has written");
    }

    #[test]
    fn to_be_received_nothing_has_to_be_synced() {
        let (_directory, stream) = stream(Acknowledge::Received);
        stream.tell(ROOT, &WRITE);
        assert_eq!(stream.tell(ROOT, &SYNC), 1);
        assert_eq!(due(&stream, Instant::now()), Some(Ok(1)));
    }
}
