//! The standby's copy of a set: always at one recovery point, or on its way to one that a crash cannot stop.
//!
//! Between two neighbouring kept points lies one journal: `N.forward` leads from the point before to N, `N.back` from N to the point
//! before. Going over it turns one into the other, so that any kept point can be reached, back and forth. What is being
//! received lies in `incoming`; its commit record is what makes it a point.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use standin_common::id::{Generation, PointNumber};

use super::apply::{self, ApplyError, Direction};
use super::state::{IllegalTransition, Phase, State};
use crate::journal::{Journal, JournalError, Point, Record};
use crate::store::Store;
use crate::volume::{Place, Volume};

/// The journal that is being received.
pub(super) const INCOMING: &str = "incoming";
const STATE: &str = "state";
const UNFINISHED: &str = "inverse.unfinished";

/// Why something could not be done with a replica.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The state directory.
    #[error("the state directory of the set: {0}")]
    Store(#[from] std::io::Error),
    /// The file `state` is not what was written.
    #[error(
        "the file `state` in the state directory of the set is damaged ({0}); restore it, or remove the directory and mirror again"
    )]
    State(serde_json::Error),
    /// It is gone, and journals are left.
    #[error("the file `state` in the state directory of the set is gone; restore it, or remove the directory and mirror again")]
    NoState,
    /// A journal between two points is gone, or empty.
    #[error("the journal {0} in the state directory of the set is gone or empty: restore it, or promote at another point")]
    NoJournal(String),
    /// The newest point cannot be gone to.
    #[error("{error}; mend that, or go back: `--point {before}` takes the point before, which is whole")]
    Stuck {
        /// Why.
        error: Box<ReplicaError>,
        /// The point before.
        before: PointNumber,
    },
    /// A journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Applying one.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A bug.
    #[error(transparent)]
    Transition(#[from] IllegalTransition),
    /// It cannot be promoted yet.
    #[error("there is no recovery point yet: the first mirror has not finished")]
    NoPoint,
    /// It cannot be promoted to that point.
    #[error("point {0} is not kept; `standin points` lists those that are")]
    UnknownPoint(PointNumber),
    /// A point is being received.
    #[error(
        "a mirror is being received: end it with `standin mirror stop` on the source, or wait a moment if the source is gone; the newest point stays"
    )]
    Busy,
    /// It is promoted already.
    #[error("the replica was promoted already, at point {0}; its files belong to the applications now")]
    Promoted(PointNumber),
    /// It is in a bad state.
    #[error("the replica is in a bad state: {0}")]
    Bad(String),
}

impl ReplicaError {
    fn stuck(error: Self, before: Option<PointNumber>) -> Self {
        match before {
            Some(before) => Self::Stuck { error: Box::new(error), before },
            None => error,
        }
    }
}

/// A replica.
#[derive(Debug)]
pub struct Replica<V, S> {
    volumes: Vec<V>,
    store: S,
    keep_points: usize,
    state: Mutex<State>,
    receiving: Mutex<bool>,
    /// Whether it was looked for what a crash interrupted, and that was finished.
    settled: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked held no half-changed state: every change is one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<V: Volume, S: Store> Replica<V, S> {
    /// Opens a replica and finishes what a crash interrupted.
    pub fn open(volumes: Vec<V>, store: S, keep_points: usize) -> Result<Self, ReplicaError> {
        let replica = Self::load(volumes, store, keep_points)?;
        replica.settle_if_due()?;
        Ok(replica)
    }

    /// Opens a replica as it is; [`Replica::settle_if_due`] finishes what a crash interrupted.
    pub fn load(volumes: Vec<V>, store: S, keep_points: usize) -> Result<Self, ReplicaError> {
        let kept = Self::kept(&store)?;
        let begins = kept.is_none();
        let state = kept.unwrap_or_default();
        let settled = matches!(state.phase, Phase::Promoted { .. } | Phase::Bad { .. }).into();
        let replica = Self { volumes, store, keep_points, state: Mutex::new(state), receiving: Mutex::new(false), settled };
        if begins {
            replica.change(|_| Ok(()))?;
        }
        Ok(replica)
    }

    fn is_settled(&self) -> bool {
        let state = self.state();
        let at_newest = match state.phase {
            Phase::Moving { .. } => false,
            Phase::Settled { at } => state.after(at).is_none(),
            _ => true,
        };
        self.settled.load(Ordering::Acquire) && at_newest
    }

    /// Finishes what a crash or an error interrupted, if that was not done yet.
    pub fn settle_if_due(&self) -> Result<(), ReplicaError> {
        if self.is_settled() {
            return Ok(());
        }
        let _guard = self.start_receiving().ok_or(ReplicaError::Busy)?;
        self.settle()
    }

    /// The state in a store, `None` if nothing was ever kept there. Journals without it would be taken for those of other points.
    pub fn kept(store: &S) -> Result<Option<State>, ReplicaError> {
        match store.read(STATE)? {
            Some(text) => serde_json::from_slice(&text).map(Some).map_err(ReplicaError::State),
            None if store.names()?.iter().any(|name| name == INCOMING || journal_of(name).is_some()) => {
                Err(ReplicaError::NoState)
            }
            None => Ok(None),
        }
    }

    /// A copy of the state.
    pub fn state(&self) -> State {
        lock(&self.state).clone()
    }

    /// The roots' volumes.
    pub fn volumes(&self) -> &[V] {
        &self.volumes
    }

    /// Marks the replica as being received; `None` if it already is. Given back when the guard is dropped.
    pub(super) fn start_receiving(&self) -> Option<ReceivingGuard<'_>> {
        let was = std::mem::replace(&mut *lock(&self.receiving), true);
        (!was).then(|| ReceivingGuard(&self.receiving))
    }

    /// Changes the state and makes the change durable.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> Result<T, IllegalTransition>) -> Result<T, ReplicaError> {
        let mut state = lock(&self.state);
        let mut next = state.clone();
        let result = change(&mut next)?;
        let text = serde_json::to_vec_pretty(&next).map_err(|error| ReplicaError::Store(error.into()))?;
        self.store.replace(STATE, &text)?;
        *state = next;
        Ok(result)
    }

    /// Puts the replica into a bad state, from which only a person leads out.
    pub fn fail(&self, cause: String) -> Result<(), ReplicaError> {
        self.change(|state| match &state.phase {
            Phase::Bad { .. } => Ok(()),
            phase => {
                let was = Box::new(phase.clone());
                state.enter(Phase::Bad { cause, was })
            }
        })
    }

    /// Leaves a bad state, after its cause was mended.
    pub fn mend(&self) -> Result<(), ReplicaError> {
        self.change(|state| match state.phase.clone() {
            Phase::Bad { was, .. } => state.enter(*was),
            _ => Ok(()),
        })?;
        self.settle()
    }

    pub(super) fn journal(&self, name: &str) -> Result<Journal<S::Log>, ReplicaError> {
        Ok(Journal::new(self.store.open_log(name)?))
    }

    /// Takes in a journal that has its commit record, and goes on to its point, which is then the newest.
    ///
    /// A replica that is at an older one goes on to the newest, too: a journal that is received leads from the newest point to the next.
    /// This runs after every commit and at every start.
    pub fn settle(&self) -> Result<(), ReplicaError> {
        self.settled.store(false, Ordering::Release);
        if let Some(point) = self.committed()? {
            let number = point.number;
            self.store.rename(INCOMING, &forward(number))?;
            self.adopt(point)?;
        } else if let Some(point) = self.unadopted()? {
            self.adopt(point)?;
        }
        if let Phase::Moving { from, to } = self.state().phase {
            self.move_over(from, to)?;
        }
        while let Phase::Settled { at } = self.state().phase
            && let Some(next) = self.state().after(at)
        {
            self.move_on(at, next)?;
        }
        self.tidy()?;
        self.settled.store(true, Ordering::Release);
        Ok(())
    }

    /// The point that the incoming journal leads to, if it was committed.
    fn committed(&self) -> Result<Option<Point>, ReplicaError> {
        if !self.store.exists(INCOMING)? {
            return Ok(None);
        }
        let mut journal = self.journal(INCOMING)?;
        journal.cut_torn_tail()?;
        let point = commit_of(&journal)?;
        if point.is_some() {
            // Whoever wrote it may have been killed, or told that it failed, before it was durable.
            journal.sync()?;
        }
        Ok(point)
    }

    /// The point of a journal that was renamed but whose point is not in the state yet.
    fn unadopted(&self) -> Result<Option<Point>, ReplicaError> {
        let next = self.state().next_point();
        if !self.store.exists(&forward(next))? {
            return Ok(None);
        }
        commit_of(&self.journal(&forward(next))?)
    }

    fn adopt(&self, point: Point) -> Result<(), ReplicaError> {
        self.change(|state| {
            let (from, to) = (state.phase.point(), point.number);
            state.enter(Phase::Moving { from, to })?;
            state.points.push(point);
            Ok(())
        })
    }

    /// Goes to a neighbouring point.
    fn move_on(&self, at: PointNumber, next: PointNumber) -> Result<(), ReplicaError> {
        self.change(|state| state.enter(Phase::Moving { from: Some(at), to: next }))?;
        self.move_over(Some(at), next)
    }

    /// Applies the journal between two neighbouring points.
    fn move_over(&self, from: Option<PointNumber>, to: PointNumber) -> Result<(), ReplicaError> {
        let (name, inverse) = match from {
            Some(from) if to < from => (back(from), forward(from)),
            _ => (forward(to), back(to)),
        };
        let (journal, direction) = self.whole_journal(name.clone())?;
        // The first mirror leads from nothing to a point: there is no way back.
        if from.is_some() && !self.store.exists(&inverse)? {
            self.store.remove(UNFINISHED)?;
            let mut written = self.journal(UNFINISHED)?;
            written.append(&Record::Inverse, &[])?;
            apply::invert(&journal, direction, &self.volumes, &mut written)?;
            written.sync()?;
            self.store.rename(UNFINISHED, &inverse)?;
        }
        apply::perform(&journal, direction, &self.volumes)?;
        self.change(|state| state.enter(Phase::Settled { at: to }))?;
        self.store.remove(&name)?;
        Ok(())
    }

    /// A journal between two points, which must be there.
    fn whole_journal(&self, name: String) -> Result<(Journal<S::Log>, Direction), ReplicaError> {
        if !self.store.exists(&name)? {
            return Err(ReplicaError::NoJournal(name));
        }
        let journal = self.journal(&name)?;
        match journal.read(0)?.map(|placed| placed.record) {
            Some(Record::Inverse) => Ok((journal, Direction::Backward)),
            Some(Record::Begin { .. }) => Ok((journal, Direction::Forward)),
            _ => Err(ReplicaError::NoJournal(name)),
        }
    }

    /// Reads all journals on the way to a point, so that one that is damaged or gone is known before anything is moved.
    fn check_way(&self, goal: PointNumber) -> Result<(), ReplicaError> {
        let state = self.state();
        let mut next = state.phase.point();
        while let Some(at) = next
            && let Some(step) = state.step_towards(at, goal)
        {
            let name = if step < at { back(at) } else { forward(step) };
            let (journal, _) = self.whole_journal(name)?;
            journal.forward().try_for_each(|placed| placed.map(drop))?;
            next = Some(step);
        }
        Ok(())
    }

    /// Goes back to the point before the one that could not be gone to; an error if there is none.
    fn turn_back(&self) -> Result<(), ReplicaError> {
        let Phase::Moving { from: Some(from), to } = self.state().phase else { return Err(ReplicaError::NoPoint) };
        if from < to && !self.store.exists(&back(to))? {
            // Nothing was touched yet: the inverse comes first.
            return self.change(|state| state.enter(Phase::Settled { at: from }));
        }
        self.change(|state| state.enter(Phase::Moving { from: Some(to), to: from }))?;
        self.move_over(Some(to), from)
    }

    /// Goes on to the newest point if what hindered that was mended. If it was not, the source is there to send it anew: then that
    /// point is given up.
    pub(super) fn settle_or_give_up(&self) -> Result<(), ReplicaError> {
        if self.is_settled() {
            return Ok(());
        }
        let _guard = self.start_receiving().ok_or(ReplicaError::Busy)?;
        let Err(error) = self.settle() else { return Ok(()) };
        let Phase::Moving { from, to } = self.state().phase else { return Err(error) };
        let backward = from.is_some_and(|from| from > to);
        if backward || !matches!(error, ReplicaError::Apply(ApplyError::Volume { .. })) {
            return Err(error);
        }
        if from.is_some() && self.turn_back().is_err() {
            return Err(error);
        }
        self.change(|state| {
            state.points.retain(|point| Some(point.number) <= from);
            if from.is_some() { Ok(()) } else { state.enter(Phase::Empty) }
        })?;
        self.store.remove(&forward(to))?;
        self.discard_incoming()
    }

    /// Removes what no point needs any more.
    fn tidy(&self) -> Result<(), ReplicaError> {
        let Phase::Settled { at } = self.state().phase else { return Ok(()) };
        // Of the two journals of a step, the one that leads to where the replica is has been applied.
        for point in self.state().points {
            let (applied, inverse) = if point.number <= at {
                (forward(point.number), back(point.number))
            } else {
                (back(point.number), forward(point.number))
            };
            if self.store.exists(&inverse)? && self.store.exists(&applied)? {
                self.store.remove(&applied)?;
            }
        }
        let superfluous = self.state().superfluous(self.keep_points);
        if superfluous > 0 {
            self.change(|state| {
                state.points.drain(..superfluous);
                Ok(())
            })?;
        }
        self.remove_unreachable()
    }

    /// Removes journals and parked objects of points from which no way leads to an older one any more.
    fn remove_unreachable(&self) -> Result<(), ReplicaError> {
        let state = self.state();
        let oldest = state.points.first().map_or(PointNumber(0), |point| point.number);
        for name in self.store.names()? {
            if journal_of(&name).is_some_and(|number| number <= oldest) {
                self.store.remove(&name)?;
            }
        }
        for volume in &self.volumes {
            for side in volume.side_objects()? {
                if side.point <= oldest.0 {
                    volume.remove(&Place::Side(side))?;
                }
            }
        }
        Ok(())
    }

    /// Makes the replica a plain, writable tree at a kept point, by default the newest, in a new generation.
    ///
    /// What was received of a later point without a commit is dropped. Done again it does nothing, unless another point is asked for.
    pub fn promote(&self, point: Option<PointNumber>) -> Result<Point, ReplicaError> {
        let _guard = self.start_receiving().ok_or(ReplicaError::Busy)?;
        let state = self.state();
        let goal = match (&state.phase, point) {
            (Phase::Promoted { at }, None) => *at,
            (Phase::Promoted { at }, Some(point)) if point != *at => return Err(ReplicaError::Promoted(*at)),
            (Phase::Bad { cause, .. }, _) => return Err(ReplicaError::Bad(cause.clone())),
            (phase, point) => point.or(phase.point()).ok_or(ReplicaError::NoPoint)?,
        };
        let kept = state.point(goal).cloned().ok_or(ReplicaError::UnknownPoint(goal))?;
        if matches!(state.phase, Phase::Promoted { .. }) {
            return Ok(kept);
        }
        if let Err(error) = self.settle() {
            let before = match self.state().phase {
                Phase::Moving { from, to } => from.filter(|from| *from < to),
                _ => None,
            };
            // If an older point is wanted, it does not matter whether the newest can be gone to.
            if before.is_none_or(|before| goal > before) {
                return Err(ReplicaError::stuck(error, before));
            }
            self.turn_back()?;
        }
        // Before anything is moved, since what was received may be what fills the disk.
        self.discard_incoming()?;
        self.check_way(goal)?;
        while let Some(at) = self.state().phase.point()
            && let Some(step) = self.state().step_towards(at, goal)
        {
            self.move_on(at, step)?;
        }
        self.change(|state| {
            state.generation = state.generation.next();
            state.enter(Phase::Promoted { at: goal })
        })?;
        for volume in &self.volumes {
            volume.close_side()?;
        }
        Ok(kept)
    }

    /// Forgets what was received since the newest point.
    pub(super) fn discard_incoming(&self) -> Result<(), ReplicaError> {
        self.store.remove(INCOMING)?;
        let newest = self.state().points.last().map_or(PointNumber(0), |point| point.number);
        for volume in &self.volumes {
            for side in volume.side_objects()? {
                if side.point > newest.0 {
                    volume.remove(&Place::Side(side))?;
                }
            }
        }
        Ok(())
    }

    /// Raises the generation to the source's.
    pub(super) fn follow(&self, generation: Generation) -> Result<(), ReplicaError> {
        if self.state().generation < generation {
            self.change(|state| {
                state.generation = generation;
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Held while a replica is being received.
#[derive(Debug)]
pub(super) struct ReceivingGuard<'a>(&'a Mutex<bool>);

impl Drop for ReceivingGuard<'_> {
    fn drop(&mut self) {
        *lock(self.0) = false;
    }
}

fn forward(point: PointNumber) -> String {
    format!("{point}.forward")
}

fn back(point: PointNumber) -> String {
    format!("{point}.back")
}

/// The later one of the two points that a journal lies between, by its name.
fn journal_of(name: &str) -> Option<PointNumber> {
    let (number, rest) = name.split_once('.')?;
    let number = number.parse().ok().map(PointNumber)?;
    matches!(rest, "back" | "forward").then_some(number)
}

fn commit_of<L: crate::store::LogFile>(journal: &Journal<L>) -> Result<Option<Point>, ReplicaError> {
    Ok(journal.read_before(journal.len())?.and_then(|placed| match placed.record {
        Record::Commit(point) => Some(point),
        _ => None,
    }))
}
