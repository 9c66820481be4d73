//! The standby's half of one pass over a link: what [`crate::source::pass`] talks to.
//!
//! The calling thread joins entries and commits; each lane has a thread; one marks what is durable. Whichever fails first tells the
//! source why ([`FromStandby::Stopped`]); the source then drops all streams of the pass, which ends the other threads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use standin_common::id::RootIndex;
use standin_common::link::LinkError;
use standin_common::link::talk::{Receiver, Talk};
use standin_common::message::{Comparison, FromSource, FromStandby, MirrorAnswer, MirrorOpening, Refusal};
use standin_common::scope::Scope;

use super::join::Join;
use super::lane::Lane;
use super::opening::{self, Way};
use super::receive::{Marked, ReceiveError, Reception};
use super::replica::{Replica, ReplicaError};
use super::telling::{Telling, serve_lane};
use crate::journal::Point;
use crate::mirror::How;
use crate::rules::Rules;
use crate::scopes::Scopes;
use crate::store::Store;
use crate::volume::{Volume, is_reserved};

/// How often what was received is made durable. What came since is lost in a crash, and sent again.
const MARK_EVERY: Duration = Duration::from_millis(250);
/// Marks may take at most one part in so many of the time.
const MARK_SHARE: u32 = 3;
/// How long nothing may come of what a commit has overtaken, which was sent before it on other streams.
const OVERTAKEN: Duration = Duration::from_secs(10);
/// The most lanes of a pass.
const MOST_LANES: usize = 16;

/// The most scopes of a round; a source that has more looks at whole directories.
pub const MOST_SCOPES: usize = 1 << 20;

/// Why a session ended without a point.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The replica, the disk or the source's breach of the protocol.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The link; what is durable stays for the same mirror to go on from.
    #[error("the mirror was cut off: {0}")]
    Link(#[from] LinkError),
}

/// Lanes that have arrived and were not yet taken.
#[derive(Debug, Default)]
pub struct Arrivals {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lanes: VecDeque<Talk>,
    taken: usize,
    closed: bool,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} lanes waiting, {} taken", self.lanes.len(), self.taken)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that nothing more comes. An error says that nobody listens.
fn end_well((send, _): &mut Talk) {
    let _ = send.finish();
}

impl Arrivals {
    /// Hands a lane to the session; `false` if it takes no more, and the lane is over. A pass of little may be over before its last lane is
    /// there: that one ends well, or the source would take the pass for cut off.
    pub fn push(&self, mut lane: Talk) -> bool {
        let mut state = lock(&self.state);
        let welcome = !state.closed && state.taken < MOST_LANES;
        if welcome {
            state.taken += 1;
            state.lanes.push_back(lane);
            self.changed.notify_all();
        } else {
            end_well(&mut lane);
        }
        welcome
    }

    pub(super) fn next(&self) -> Option<Talk> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            match state.lanes.pop_front() {
                Some(lane) => return Some(lane),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.lanes.drain(..).for_each(|mut lane| end_well(&mut lane));
        self.changed.notify_all();
    }
}

/// Receives one pass of a mirror.
///
/// `lanes` gets the lanes of the mirror from whoever accepts streams. `stopping` is told when the session fails: it has to see to it
/// that a source that goes on all the same is cut off before long.
pub fn receive<V: Volume, S: Store>(
    replica: &Replica<V, S>,
    rules: &[Rules],
    opening: MirrorOpening,
    journal_limit: u64,
    (mut send, receive): Talk,
    lanes: &Arrivals,
    stopping: &(dyn Fn() + Sync),
) -> Result<Option<Point>, SessionError> {
    let reception = match begin(replica, opening, journal_limit) {
        Ok(reception) => reception,
        Err(refused) => {
            lanes.close();
            send.send(&MirrorAnswer::Refused(refused.0), &[])?;
            send.finish()?;
            return refused.1.map_or(Ok(None), |error| Err(error.into()));
        }
    };
    let owners = replica.volumes().iter().all(|volume| volume.abilities().owners);
    let objects = replica.state().points.last().map_or(0, |point| point.objects);
    let ready = MirrorAnswer::Ready { after: reception.after().cloned(), first: reception.first(), owners, objects };
    send.send(&ready, &[])?;
    let unproven = replica.is_unproven();
    let session = Session { reception: &reception, rules, unproven, telling: Telling::new(send, stopping) };
    let point = session.run(receive, lanes, owners);
    if point.is_some() {
        // Acknowledged is what is durable; the source's stream ends when it is applied, too.
        match replica.settle() {
            Ok(()) => {
                session.telling.finish()?;
                return Ok(point);
            }
            Err(error) => session.fail(ReceiveError::from(error).into()),
        }
    }
    session.telling.into_failure().map_or(Ok(None), Err)
}

/// What the source is told, and the error if it is one.
pub type Refused = (Refusal, Option<ReceiveError>);

/// Decides whether a pass may begin, and begins or resumes its reception; nothing is written for one that is refused by its generation, by a
/// replica that was promoted, or by its base.
pub fn begin<'a, V: Volume, S: Store>(
    replica: &'a Replica<V, S>,
    opening: MirrorOpening,
    journal_limit: u64,
) -> Result<Reception<'a, V, S>, Refused> {
    let refused = |error: ReceiveError| {
        let expected = matches!(error, ReceiveError::Replica(ReplicaError::Busy | ReplicaError::Promoted(_)));
        (refusal(&error), (!expected).then_some(error))
    };
    let answer = |received| match opening::way(&replica.state(), received, &opening) {
        Way::Refuse(why) => Err((why, None)),
        way => Ok(way),
    };
    // Nothing is touched for a source that is refused, but a base counts only where the newest point can be gone to.
    if let Err(refused @ (Refusal::Promoted | Refusal::Bad(_) | Refusal::OldGeneration { .. }, _)) = answer(None) {
        return Err(refused);
    }
    // Whatever hindered the last point from being applied may have been mended meanwhile.
    let received = replica.settle_or_give_up().and_then(|()| replica.received()).map_err(|error| refused(error.into()))?;
    let way = answer(received)?;
    tracing::debug!(?way, mirror = %opening.mirror, "answered");
    Reception::begin(replica, opening, journal_limit).map_err(refused)
}

/// An error as the source is told it.
pub(super) fn refusal(error: &ReceiveError) -> Refusal {
    match error {
        ReceiveError::Replica(ReplicaError::Promoted(_)) => Refusal::Promoted,
        ReceiveError::Replica(ReplicaError::Busy) => Refusal::Busy,
        ReceiveError::Replica(ReplicaError::Bad(cause)) => Refusal::Bad(cause.clone()),
        ReceiveError::Anew => Refusal::Anew,
        ReceiveError::Protocol(what) => Refusal::Protocol((*what).to_owned()),
        other => Refusal::Failed(other.explained()),
    }
}

fn received(receive: &mut Receiver) -> Result<Option<FromSource>, LinkError> {
    Ok(receive.receive::<FromSource>()?.map(|(message, _)| message))
}

/// What of each root a round looks at.
type RoundScopes = BTreeMap<RootIndex, Scopes>;

struct Session<'s, 'a, V: Volume, S: Store> {
    reception: &'s Reception<'a, V, S>,
    rules: &'s [Rules],
    /// Whether what is here was never proven to be a source's.
    unproven: bool,
    telling: Telling<'s>,
}

impl<V: Volume, S: Store> Session<'_, '_, V, S> {
    fn run(&self, receive: Receiver, lanes: &Arrivals, owners: bool) -> Option<Point> {
        thread::scope(|scope| {
            scope.spawn(|| {
                while let Some(mut lane) = lanes.next() {
                    if self.reception.opening().base.is_none() {
                        lane.1.take_time();
                    }
                    // The source is told why before its stream ends.
                    scope.spawn(move || {
                        let mut receiving = Lane::new(self.reception);
                        let served = serve_lane(&mut lane, |message, payload| receiving.take(message, payload));
                        served.unwrap_or_else(|error| self.fail(error));
                    });
                }
            });
            scope.spawn(|| self.mark().unwrap_or_else(|error| self.fail(error)));
            let point = self.lead(receive, owners);
            self.reception.end();
            lanes.close();
            point.unwrap_or_else(|error| {
                self.fail(error);
                None
            })
        })
    }

    fn fail(&self, error: SessionError) {
        self.reception.end();
        // Whoever ended it says why.
        if !matches!(error, SessionError::Receive(ReceiveError::Ended)) {
            self.telling.fail(error);
        }
    }

    fn tell(&self, messages: &[FromStandby]) -> Result<(), SessionError> {
        messages.iter().try_for_each(|message| self.telling.tell(message))
    }

    fn lead(&self, mut receive: Receiver, owners: bool) -> Result<Option<Point>, SessionError> {
        let comparison = match self.reception.opening().comparison {
            // Whatever lies in the target before the first mirror, or was a source's tree, was not put there by us: it has to be proven.
            Comparison::Difference if self.reception.first() || self.unproven => Comparison::Checksum,
            comparison => comparison,
        };
        let (scopes, mut next) = self.scopes(&mut receive)?;
        let mut join = Join::new(self.reception, How { comparison, owners }, self.rules).within(scopes.as_ref());
        while let Some(message) = next {
            match message {
                FromSource::Entries { root, entries } => self.tell(&join.entries(root, entries)?)?,
                FromSource::Unreadable(_) => self.reception.keep_orphans()?,
                FromSource::WalkEnd => {
                    self.tell(&join.end()?)?;
                    self.reception.walked();
                }
                FromSource::Scopes(_) => return Err(ReceiveError::Protocol("it sent scopes where none belong").into()),
                FromSource::Commit { at, consistent, objects, bytes, reason } => {
                    self.reception.wait_for_files(OVERTAKEN);
                    let point = self.reception.commit(at, consistent, objects, bytes, reason)?;
                    let Point { number, orphans: orphans_left, objects, bytes, .. } = point;
                    self.telling.tell(&FromStandby::Committed { point: number, orphans_left, objects, bytes })?;
                    return Ok(Some(point));
                }
            }
            next = received(&mut receive)?;
        }
        Ok(None)
    }

    /// In a round, the scopes of each root; and the first message that is none.
    fn scopes(&self, receive: &mut Receiver) -> Result<(Option<RoundScopes>, Option<FromSource>), SessionError> {
        if self.reception.opening().base.is_none() {
            return Ok((None, received(receive)?));
        }
        let mut all: Vec<Scope> = Vec::new();
        loop {
            match received(receive)? {
                Some(FromSource::Scopes(scopes)) => all.extend(scopes),
                next => {
                    if all.iter().any(|scope| is_reserved(&scope.at.path)) {
                        return Err(ReceiveError::Protocol("it named a scope of a reserved name").into());
                    }
                    let scopes = Scopes::by_root(all).map_err(|_| ReceiveError::Protocol("its scopes are out of order"))?;
                    return Ok((Some(scopes), next));
                }
            }
            if all.len() > MOST_SCOPES {
                return Err(ReceiveError::Protocol("it sent more scopes than anybody needs").into());
            }
        }
    }

    /// Makes durable what came: from time to time, and where that was worth it as soon as everything has come, while the source looks whether
    /// anything changed.
    fn mark(&self) -> Result<(), SessionError> {
        let (begun, mut pause) = (Instant::now(), MARK_EVERY);
        while let Some(all) = self.reception.wait_to_mark(pause) {
            if all && begun.elapsed() < MARK_EVERY {
                continue;
            }
            let began = Instant::now();
            let Marked { position, data_bytes } = self.reception.mark()?;
            self.telling.tell(&FromStandby::Durable { position, data_bytes })?;
            pause = MARK_EVERY.max(began.elapsed() * (MARK_SHARE - 1));
        }
        Ok(())
    }
}
