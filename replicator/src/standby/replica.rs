//! The standby's copy of a set: always at one recovery point, or on its way to one that a crash cannot stop.
//!
//! What is being received lies in `incoming`; its commit record is what makes it a point. How the replica goes from one point to
//! another is in `moving`, what stays of the way in `history`.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use standin_common::id::{Generation, PointNumber};

use super::apply::ApplyError;
use super::aside::Aside;
use super::history;
use super::state::{IllegalTransition, Phase, Retention, State};
use super::values::Values;
use crate::journal::{Journal, JournalError, Point};
use crate::store::Store;
use crate::volume::{Place, Volume};

/// The journal that is being received.
pub(super) const INCOMING: &str = "incoming";
const STATE: &str = "state";
const VALUES: &str = "values";

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
    values: Values,
    keep_points: AtomicUsize,
    history_limit: AtomicU64,
    state: Mutex<State>,
    receiving: Mutex<bool>,
    /// What a tree that was a source's keeps aside.
    pub(super) aside: Mutex<Option<Arc<Aside<V>>>>,
    /// Whether it was looked for what a crash interrupted, and that was finished.
    pub(super) settled: AtomicBool,
    /// Whether the journal that is being received is to be dropped instead of gone on with.
    pub(super) anew: AtomicBool,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
        let values = Values::new(store.shelf(VALUES));
        let replica = Self {
            volumes,
            store,
            values,
            keep_points: AtomicUsize::new(keep_points),
            history_limit: AtomicU64::new(u64::MAX),
            state: Mutex::new(state),
            receiving: Mutex::new(false),
            aside: Mutex::new(None),
            settled,
            anew: AtomicBool::new(false),
        };
        if begins {
            replica.change(|_| Ok(()))?;
        }
        Ok(replica)
    }

    /// Keeps so many points beside the newest, from the next point on.
    pub fn set_keep_points(&self, keep_points: usize) {
        self.keep_points.store(keep_points, Ordering::Relaxed);
    }

    /// Bounds the room that the way back to older points may take, in bytes.
    pub(super) fn bound_history(&self, bytes: u64) {
        self.history_limit.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn retention(&self) -> Retention {
        Retention { points: self.keep_points.load(Ordering::Relaxed), bytes: self.history_limit.load(Ordering::Relaxed) }
    }

    pub(super) fn store(&self) -> &S {
        &self.store
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire) && !self.state().phase.is_moving()
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
            Some(text) => {
                let mut state: State = serde_json::from_slice(&text).map_err(ReplicaError::State)?;
                state.complete_steps();
                Ok(Some(state))
            }
            None if store.names()?.iter().any(|name| name == INCOMING || history::is_journal(name)) => Err(ReplicaError::NoState),
            None => Ok(None),
        }
    }

    /// Makes a tree that is there a replica at a point: what was kept of another in this store must be gone.
    pub fn found(store: &S, point: Point, generation: Generation) -> Result<(), ReplicaError> {
        let state = State { generation, phase: Phase::Settled { at: point.number }, points: vec![point], steps: Vec::new() };
        let text = serde_json::to_vec_pretty(&state).map_err(|error| ReplicaError::Store(error.into()))?;
        Ok(store.replace(STATE, &text)?)
    }

    /// A copy of the state.
    pub fn state(&self) -> State {
        lock(&self.state).clone()
    }

    /// The roots' volumes.
    pub fn volumes(&self) -> &[V] {
        &self.volumes
    }

    /// Keeps the values of groups of files from this size on, in place of what is sensible.
    #[must_use]
    pub fn keeping_values_from(self, least: u64) -> Self {
        Self { values: self.values.from_size(least), ..self }
    }

    /// What is kept of the groups of its large files.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// An orderly end: what spares work may be trusted at the next start. Nothing of the replica is used after this.
    pub fn rest(&self) {
        self.values.rest();
        for volume in &self.volumes {
            // Left behind, it is used again by the next one.
            let _ = volume.close_side();
        }
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

    /// Changes the state in a way that is found again after a crash, from what else is durable.
    pub(super) fn change_in_memory(
        &self,
        change: impl FnOnce(&mut State) -> Result<(), IllegalTransition>,
    ) -> Result<(), ReplicaError> {
        let mut state = lock(&self.state);
        let mut next = state.clone();
        change(&mut next)?;
        *state = next;
        Ok(())
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
        self.settled.store(false, Ordering::Release);
        self.settle()
    }

    pub(super) fn journal(&self, name: &str) -> Result<Journal<S::Log>, ReplicaError> {
        Ok(Journal::new(self.store.open_log(name)?))
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
            (_, None) => state.newest().ok_or(ReplicaError::NoPoint)?,
            (_, Some(point)) => point,
        };
        let kept = state.point(goal).cloned().ok_or(ReplicaError::UnknownPoint(goal))?;
        if matches!(state.phase, Phase::Promoted { .. }) {
            return Ok(kept);
        }
        if let Err(error) = self.finish() {
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
        self.go_to(goal)?;
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
