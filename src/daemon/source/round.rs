//! One round: what changed is taken, and read and sent as a pass over these places.

use std::time::{Duration, Instant, SystemTime};

use standin_common::entry::Time;
use standin_common::id::MirrorId;
use standin_common::link::quic::Connection;
use standin_common::message::{Comparison, MirrorOpening, Refusal};
use standin_common::scope::Reason;
use standin_replicator::capture::watch::Watch;
use standin_replicator::capture::{LinkedNames, Taken};
use standin_replicator::journal::Point;
use standin_replicator::os::{OsVolume, cpu_time};
use standin_replicator::scopes::Scopes;
use standin_replicator::source::pass::{PassError, Passed};
use standin_replicator::source::rhythm::Moment;
use standin_replicator::source::state::{Event, Hold};

use super::follow::{Follow, hold_for};
use super::held::{Ground, Shown};
use super::kept::Kept;
use super::pass::What;
use super::run::Outcome;
use super::streaming::Begun;
use super::{SourceSet, new_mirror_id};

/// How often it is kept how far the standby is: what may have changed since then is compared by its data after an end that was not orderly.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// What one round is about.
#[derive(Debug, Clone)]
pub(super) struct Round {
    pub(super) mirror: MirrorId,
    pub(super) taken: Taken,
    /// The count of notices when it was taken.
    seen: u64,
    /// The last request for a point that came before it, and the last application that waited.
    asked: u64,
    syncs: u64,
    /// When it was not taken yet.
    began: Time,
    /// Whether it is made only for a stream to begin.
    only_to_begin: bool,
}

/// A round that is about to be made: with a picture, and with the stream that began with it.
type Ready<'s> = (Round, Option<(Shown<'s>, Option<Begun>)>);

/// Whether a round that ended so is made again as it was.
fn goes_on(error: &PassError) -> bool {
    use Refusal::{Anew, Busy, Failed};
    matches!(error, PassError::Stopped | PassError::Link(_) | PassError::Lane(_) | PassError::Refused(Anew | Busy | Failed(_)))
}

impl SourceSet {
    /// Takes what changed for a round, with a picture of it where there are layers. `None` if notices were lost.
    fn take_round<'s>(&'s self, follow: &mut Follow, ground: &Ground<'_>, asked: u64, only_to_begin: bool) -> Option<Ready<'s>> {
        if let Some(round) = follow.cut.take() {
            return Some((round, None));
        }
        // Whoever comes from now on may have changed what is taken before.
        let (syncs, began) = (self.lock().syncs.last, SystemTime::now().into());
        let mirror = new_mirror_id();
        let due = follow.stream.is_none() && follow.next_stream.is_due();
        let (taken, seen, shown) = match &self.layers {
            Some(layers) => {
                let begin = || if due { self.begin_stream(mirror) } else { None };
                follow.holding.take(layers, &mut follow.names, ground, &begin).ok()?
            }
            None => ground.watch.take_all().map(|(taken, seen)| (taken, seen, None)).ok()?,
        };
        Some((Round { mirror, taken, seen, asked, syncs, began, only_to_begin }, shown))
    }

    pub(super) fn round(
        &self,
        connection: &Connection,
        follow: &mut Follow,
        watch: &Watch,
        moment: &Moment,
        asked: u64,
        only_to_begin: bool,
    ) -> Outcome {
        let again = follow.cut.is_some();
        let (began, used) = (Instant::now(), cpu_time());
        let volumes = match self.open_roots(false) {
            Ok((volumes, _)) => volumes,
            Err(error) => {
                self.hold(Hold::Stuck(error.to_string()));
                return Outcome::Ended;
            }
        };
        let ground = Ground { volumes: &volumes, rules: &self.rules, watch };
        let Some((round, shown)) = self.take_round(follow, &ground, asked, only_to_begin) else {
            return self.order_whole(follow);
        };
        let (shown, begun) = shown.map_or((None, None), |(shown, begun)| (Some(shown), begun));
        if round.taken.whole.is_some() {
            watch.put_back(round.taken);
            return self.order_whole(follow);
        }
        let mut base = follow.base.clone();
        // If only the answer to its end was lost, the replica is there already.
        base.extend(again.then_some(round.mirror));
        let Follow { waiting, names, .. } = follow;
        let run = || self.run_round(connection, (names, shown.as_ref()), (base, !again), &round, &ground, moment);
        let ended = waiting.keep_during(Some(watch), Some(&round.taken), run);
        let had_picture = shown.is_some();
        let begun = self.adopt(follow, begun, &ended, shown.is_some_and(|shown| shown.album.is_whole()));
        match ended {
            Ok(passed) => {
                let took = began.elapsed();
                tracing::debug!(millis = took.as_millis(), "round ended");
                self.count_hold(follow, volumes, &passed, had_picture);
                self.round_passed(follow, round, watch, passed, cpu_time().saturating_sub(used).min(took), begun)
            }
            Err(error) => {
                let end = self.round_failed(connection, &error);
                if goes_on(&error) {
                    follow.cut = Some(round);
                } else {
                    watch.put_back(round.taken);
                    follow.base.clear();
                }
                end
            }
        }
    }

    /// What a round says of the holds that come.
    fn count_hold(&self, follow: &mut Follow, volumes: Vec<OsVolume>, passed: &Passed, had_picture: bool) {
        match (&self.layers, &passed.point) {
            (Some(layers), Some(point)) if point.consistent => follow.holding.consistent(layers, volumes, had_picture),
            (Some(_), _) if had_picture => follow.holding.spoilt(),
            _ => {}
        }
    }

    fn run_round(
        &self,
        connection: &Connection,
        (names, shown): (&mut LinkedNames, Option<&Shown<'_>>),
        (base, is_new): (Vec<MirrorId>, bool),
        round: &Round,
        ground: &Ground<'_>,
        moment: &Moment,
    ) -> Result<Passed, PassError> {
        let scopes = match shown {
            Some(shown) => shown.scopes.clone(),
            None => {
                let scopes = names.expand(ground.volumes, &self.rules, round.taken.scopes.clone()).and_then(Scopes::by_root);
                scopes.map_err(|error| PassError::Unsafe(error.to_string()))?
            }
        };
        let ordered = self.lock().kept.following.as_ref().map(|following| following.ordered).ok_or(PassError::Stopped)?;
        let running = self.running(round.mirror, ordered.limit_bytes_per_second, connection);
        let opening = MirrorOpening {
            // Whatever was noticed may have left size and times as they were.
            comparison: Comparison::Checksum,
            orphans: ordered.orphans,
            orphan_limit: ordered.orphan_limit,
            base: Some(base),
            ..self.opening(round.mirror, ground.volumes)
        };
        tracing::debug!(places = round.taken.scopes.len(), picture = shown.is_some(), "round");
        let rhythm = self.rhythm();
        let still = || ground.watch.catch_up().is_ok_and(|seen| seen == round.seen);
        let of_one_moment = || shown.is_some_and(|shown| shown.album.is_whole());
        let reason = |consistent| match round.only_to_begin {
            true => Reason::Passing,
            false => rhythm.reason(Instant::now(), moment, consistent),
        };
        let what = What {
            opening,
            is_new,
            scopes: Some(scopes),
            still: &still,
            of_one_moment: &of_one_moment,
            reason: &reason,
            hashes: None,
            since: None,
        };
        let passed = match shown {
            Some(shown) => self.pass(connection, &running, &shown.album.pictures, what),
            None => self.pass(connection, &running, ground.volumes, what),
        };
        let mut state = self.lock();
        let wire = running.wire(Some(connection));
        state.followed.rounds += 1;
        state.followed.sent_bytes += wire.sent_bytes;
        state.running = None;
        drop(state);
        passed
    }

    fn round_passed(
        &self,
        follow: &mut Follow,
        round: Round,
        watch: &Watch,
        passed: Passed,
        worked: Duration,
        begun: Option<MirrorId>,
    ) -> Outcome {
        let Some(point) = passed.point else { return Outcome::Ended };
        tracing::debug!(point = %point.number, consistent = point.consistent, reason = ?point.reason, "point");
        follow.base = [round.mirror].into_iter().chain(begun).collect();
        follow.waiting.arrived();
        follow.made(&point, worked, round.only_to_begin && round.taken.is_empty());
        follow.looked(passed.flaws > 0, self.left_orphans(&point));
        // What changed without a notice is looked at once more; of what there is a notice, it says where.
        if passed.moved && watch.catch_up().is_ok_and(|seen| seen == round.seen) {
            watch.put_back(Taken { oldest: Some(Instant::now()), ..round.taken });
        }
        self.reached(&point, (passed.flaws == 0).then_some(round.began), follow);
        let mut state = self.lock();
        state.told.outdate();
        state.asked.answer(round.asked, &point);
        state.syncs.flawed = passed.flaws > 0;
        if point.consistent {
            state.syncs.answer(round.syncs);
        }
        state.trouble = follow.left.clone();
        state.on(Event::Advanced);
        drop(state);
        self.changed.notify_all();
        Outcome::Ended
    }

    /// The standby is at the point of a round that began then; what is older than an unread file is not known to be there.
    pub(super) fn reached(&self, point: &Point, began: Option<Time>, follow: &mut Follow) {
        let change = |kept: &mut Kept| {
            kept.point = Some(point.clone());
            kept.since = began.or(kept.since);
        };
        let due = follow.since_kept.elapsed() >= KEEP_EVERY;
        if due {
            follow.since_kept = Instant::now();
        }
        // What cannot be kept only costs reading, should this be the last that is tried.
        if !due || self.keep(change).is_err() {
            change(&mut self.lock().kept);
        }
    }

    /// What is to be done about a round that did not end well; what it took is kept.
    fn round_failed(&self, connection: &Connection, error: &PassError) -> Outcome {
        match error {
            PassError::Stopped | PassError::Refused(Refusal::OtherBase) => Outcome::Ended,
            error if goes_on(error) => {
                if connection.is_closed() {
                    self.disconnect(connection);
                } else if matches!(error, PassError::Lane(_) | PassError::Refused(Refusal::Failed(_))) {
                    self.on(Event::Hindered(error.to_string()));
                }
                Outcome::Again(error.to_string())
            }
            error => {
                self.hold(hold_for(error));
                Outcome::Ended
            }
        }
    }
}
