//! What the set's thread does while the stream runs: it hears of points, asks for them when they are due, and keeps account of what changed.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use standin_common::stream::StreamNews;
use standin_replicator::journal::Point;
use standin_replicator::source::pace::Pace;
use standin_replicator::source::rhythm::Moment;
use standin_replicator::source::state::{Event, Phase};

use super::SourceSet;
use super::follow::Follow;
use super::held;
use super::run::Next;
use super::streaming::{Current, now};
use crate::daemon::clock;

/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_millis(100);
/// How often what changed is counted to a new generation of places.
const GENERATION: Duration = Duration::from_secs(1);
/// More generations are not kept apart.
const MOST_GENERATIONS: usize = 4;
/// How long changes are kept out, so that none is under way.
const HOLD: Duration = Duration::from_millis(100);

impl SourceSet {
    /// A pace as it is set now.
    pub(super) fn pace_of_stream(&self) -> Pace {
        Pace::new(self.rate_of_stream(), self.set().compression)
    }

    fn rate_of_stream(&self) -> standin_config::Rate {
        let ordered = self.lock().kept.following.and_then(|following| following.ordered.limit_bytes_per_second);
        self.rate(ordered, clock::local_time())
    }

    /// Why nothing is sent although the standby may be there.
    pub(super) fn why_nothing_is_sent(&self) -> Option<String> {
        let state = self.lock();
        let waits = matches!(state.source.phase(), Phase::Paused | Phase::Held | Phase::Bad);
        waits.then(|| format!("the set is {}", state.source.state().word()))
    }

    /// Attends to the stream until it is `done`, over, or something else is to be done.
    pub(super) fn attend(&self, follow: &mut Follow, current: &Current, pace: &Pace, done: &AtomicBool) {
        while !done.load(SeqCst) && current.stream.progress().over.is_none() {
            self.hear_news(follow);
            match self.next() {
                Next::Follow if !follow.is_whole_due() => {}
                Next::Compare(_) => return self.catch_up(current, done),
                _ => return,
            }
            pace.set_rate(self.rate_of_stream());
            self.count(follow, current);
            let asked = self.mark(follow, current);
            let state = self.lock();
            let is_new = state.asked.last > asked || !state.news.is_empty() || state.stopping;
            if !is_new && !done.load(SeqCst) {
                let _state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Keeps account of what changed.
    fn count(&self, follow: &mut Follow, current: &Current) {
        let (Some(streaming), Some(watch), Some(layers)) = (&mut follow.stream, &follow.watch, &self.layers) else { return };
        let progress = current.stream.progress();
        let changes = progress.newest.saturating_sub(streaming.marked);
        if changes != streaming.changed.1 {
            streaming.changed = (Instant::now(), changes);
        }
        if progress.durable == progress.newest {
            let mut state = self.lock();
            state.syncs.are_met();
            if state.source.phase() == Phase::CatchingUp {
                state.on(Event::Drained);
            }
        }
        let due = streaming.cut.0.elapsed() >= GENERATION && progress.newest > streaming.cut.1;
        if !due || streaming.generations.len() >= MOST_GENERATIONS {
            return;
        }
        let began = now();
        let held = if follow.holding.tidies() { layers.ledger().hold(HOLD) } else { None };
        let taken = watch.take_all();
        let turn = held.and_then(|held| {
            let turn = layers.ledger().activity().begin_turn();
            let lasted = held.end();
            layers.held(lasted);
            lasted.map(|_| turn)
        });
        match taken {
            Ok((taken, _)) => streaming.began(taken, began, turn),
            Err(error) => current.stream.end(&error.to_string()),
        }
    }

    /// Asks for a point if one is due. Returns the last request that it heard of.
    fn mark(&self, follow: &mut Follow, current: &Current) -> u64 {
        let (asked, since) = {
            let state = self.lock();
            (state.asked.last, state.asked.since)
        };
        let (ended, kept) = (follow.ended, follow.last_kept());
        let Some(streaming) = &mut follow.stream else { return asked };
        let under_way = streaming.marks.back();
        let since = since.filter(|_| under_way.is_none_or(|(_, upto)| *upto < asked));
        if under_way.is_some() && since.is_none() {
            return asked;
        }
        let moment = Moment {
            oldest: None,
            newest: Some(streaming.changed.0),
            ended,
            worked: Duration::ZERO,
            kept,
            is_kept: streaming.changed.1 == streaming.kept,
            asked: since,
            syncs: false,
        };
        if let Some(reason) = self.rhythm().mark(Instant::now(), &moment)
            && let Some(position) = current.stream.mark(reason)
        {
            streaming.marked += 1;
            streaming.marks.push_back((position, asked));
        }
        asked
    }

    /// Takes in what the standby said.
    pub(super) fn hear_news(&self, follow: &mut Follow) {
        let news = std::mem::take(&mut self.lock().news);
        for news in news {
            let StreamNews::Point { number, reason, at, consistent, objects, bytes, orphans, position, lacking } = news else {
                continue;
            };
            let Some(streaming) = &mut follow.stream else { return };
            let generation = self.lock().kept.generation;
            let mirror = streaming.id;
            let point = Point { number, generation, mirror, reason, at, consistent, objects, bytes, orphans };
            tracing::debug!(point = %number, consistent, ?reason, position, "point");
            streaming.current.stream.pointed(objects);
            let (mut began, mut turn, mut asked) = (None, None, None);
            while streaming.generations.front().is_some_and(|generation| generation.position <= position) {
                let Some(generation) = streaming.generations.pop_front() else { break };
                (began, turn) = (Some(generation.began), generation.turn.or(turn));
            }
            while streaming.marks.front().is_some_and(|(at, _)| *at <= position) {
                let Some((_, upto)) = streaming.marks.pop_front() else { break };
                asked = Some(upto);
            }
            streaming.kept = streaming.changed.1;
            let over = (!lacking.is_empty())
                .then_some("what was left out by the rules came to be let in, and has to be read")
                .map(|why| (why, streaming.current.clone()));
            follow.made(&point, Duration::ZERO, false);
            follow.note(lacking);
            self.reached(&point, began, follow);
            self.tidy_from(follow, turn);
            let mut state = self.lock();
            state.told.outdate();
            state.syncs.flawed = false;
            if let Some(upto) = asked.filter(|_| consistent) {
                state.asked.answer(upto, &point);
            }
            state.on(Event::Advanced);
            drop(state);
            self.changed.notify_all();
            if let Some((why, current)) = over {
                current.stream.end(why);
            }
        }
    }

    /// What rested since a turn of the durable record is on the standby.
    fn tidy_from(&self, follow: &mut Follow, turn: Option<u64>) {
        let (Some(turn), Some(layers)) = (turn, &self.layers) else { return };
        if layers.ledger().tidies() {
            return;
        }
        match self.open_roots(false) {
            Ok((volumes, _)) => {
                follow.holding.is_tidied(turn);
                held::tidy(layers.ledger().clone(), Some(turn), volumes);
            }
            Err(error) => {
                tracing::debug!(%error, "the record is not tidied");
                layers.ledger().tidied();
            }
        }
    }
}
