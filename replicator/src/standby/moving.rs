//! Going from one point to another, over journals, in a way that a crash anywhere cannot stop.
//!
//! A step of the way has one journal: `N.forward` leads to N from where the step before ends, `N.back` back there; a step over several
//! numbers has both in its name (`M-N.back`). Going over one writes the other. A new point is gone to over `incoming` itself. That this
//! was begun is not in the state: the commit record in `incoming` says so, until the state says that it is done.

use std::sync::atomic::Ordering;

use standin_common::id::{MirrorId, PointNumber};

use super::apply::{self, ApplyError, Direction, Inverted, Reading};
use super::history::{back, forward};
use super::replica::{INCOMING, Replica, ReplicaError};
use super::state::{Phase, Step};
use super::turn::Turned;
use crate::journal::{Journal, JournalError, Placed, Point, Record};
use crate::store::{LogFile, Store};
use crate::volume::Volume;

/// Which side of its turn the step is on that was moved over last.
const TURNED: &str = "turned";
/// A journal that was applied is left to be written over, unless it takes more room than this.
const LEFT_LEN: u64 = 1024 * 1024;

impl<V: Volume, S: Store> Replica<V, S> {
    /// Takes in a journal that has its commit record, goes on to its point, and makes the way back shorter where it can be.
    ///
    /// This runs after every commit and at every start, and is the only way in which a replica moves forward to a new point.
    pub fn settle(&self) -> Result<(), ReplicaError> {
        self.finish()?;
        self.shorten()
    }

    /// Takes in a journal that has its commit record, and goes on to its point; does nothing if there is none.
    pub(super) fn finish(&self) -> Result<(), ReplicaError> {
        let clean = self.settled.swap(false, Ordering::AcqRel);
        if let Some(point) = self.committed(clean)? {
            self.adopt(point)?;
        }
        if let Phase::Moving { from, to } = self.state().phase {
            self.move_over(from, to)?;
        }
        if !clean {
            self.sweep()?;
        }
        self.settled.store(true, Ordering::Release);
        Ok(())
    }

    /// The point that the incoming journal leads to, if it was committed and is not in the state yet; `known` if that it is durable is.
    fn committed(&self, known: bool) -> Result<Option<Point>, ReplicaError> {
        if !self.is_incoming(self.state().next_point())? {
            return Ok(None);
        }
        let mut journal = self.journal(INCOMING)?;
        // Whether all of it is as it was written is seen before it is applied.
        if known && let Some(point) = commit_of(&journal)? {
            return Ok(Some(point));
        }
        journal.cut_torn_tail()?;
        let point = commit_of(&journal)?;
        if point.is_some() {
            // Whoever wrote it may have been killed, or told that it failed, before it was durable.
            journal.sync()?;
        }
        Ok(point)
    }

    /// Whether the incoming journal leads to a point, rather than to one before.
    pub(super) fn is_incoming(&self, point: PointNumber) -> Result<bool, ReplicaError> {
        Ok(self.incoming()?.is_some_and(|(_, to)| to == point))
    }

    /// The mirror of which something was received that is no point yet.
    pub(super) fn received(&self) -> Result<Option<MirrorId>, ReplicaError> {
        let next = self.state().next_point();
        Ok(self.incoming()?.filter(|(_, to)| *to == next).map(|(mirror, _)| mirror))
    }

    /// The mirror that the incoming journal is of, and the point it leads to.
    fn incoming(&self) -> Result<Option<(MirrorId, PointNumber)>, ReplicaError> {
        if !self.store().exists(INCOMING)? {
            return Ok(None);
        }
        match self.journal(INCOMING)?.read(0) {
            Ok(Some(Placed { record: Record::Begin { mirror, to, .. }, .. })) => Ok(Some((mirror, to))),
            // A torn first record is that of a journal that had no mark yet.
            Ok(_) | Err(JournalError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn adopt(&self, point: Point) -> Result<(), ReplicaError> {
        self.change_in_memory(|state| {
            let (from, to) = (state.phase.point(), point.number);
            state.enter(Phase::Moving { from, to })?;
            state.steps.extend(from.map(|_| Step { to, bytes: 0, plain: false }));
            state.points.push(point);
            Ok(())
        })
    }

    /// Applies the journal of one step.
    fn move_over(&self, from: Option<PointNumber>, to: PointNumber) -> Result<(), ReplicaError> {
        let (name, inverse) = match from {
            Some(from) if to < from => (back(to, from), Some(forward(to, from))),
            Some(from) => (self.forward_or_incoming(from, to)?, Some(back(from, to))),
            // The first mirror leads from nothing to a point: there is no way back.
            None => (INCOMING.to_owned(), None),
        };
        let (journal, direction) = self.whole_journal(name.clone())?;
        let reading = Reading::of(&journal, direction)?;
        let measured = match &inverse {
            Some(inverse) => {
                // Nothing was changed yet if the inverse is not whole.
                if let Some(from) = from.filter(|from| *from < to)
                    && !self.is_whole(inverse)?
                {
                    self.keep_aside(&journal, from)?;
                }
                Some(self.invert(&reading, inverse)?)
            }
            None => None,
        };
        let collected = self.values().moving(to);
        let turned = from.map(|from| self.turned(from, to)).transpose()?;
        apply::perform(&reading, self.volumes(), turned.is_some_and(|turned| turned.is_passed(to)), &mut || {
            turned.map_or(Ok(()), |turned| Ok(self.note_turned(turned.passed(to)).map_err(JournalError::Io)?))
        })?;
        let (retention, ways) = (self.retention(), self.state().ways());
        let early = self.change(|state| {
            state.enter(Phase::Settled { at: to })?;
            let newest = state.newest() == Some(to);
            if let Some((bytes, links)) = measured.filter(|_| newest)
                && let Some(step) = state.steps.last_mut()
            {
                (step.bytes, step.plain) = (bytes, !links);
            }
            Ok(if newest { state.thin(retention) } else { Vec::new() })
        })?;
        self.values().moved(collected.filter(|_| direction == Direction::Forward), self.volumes());
        for point in early {
            tracing::info!(point = %point.number, limit = retention.bytes, "recovery point given up early: history would pass `journal_limit`");
        }
        if name != INCOMING {
            self.store().remove(&name)?;
        } else if journal.len() > LEFT_LEN {
            self.store().forget(INCOMING)?;
        }
        self.remove_dropped(&ways)
    }

    /// Which side of the turn the replica is on, if the journal of this step has one.
    fn turned(&self, from: PointNumber, to: PointNumber) -> Result<Turned, ReplicaError> {
        Ok(Turned::read(self.store().read(TURNED)?.as_deref(), from, to))
    }

    fn note_turned(&self, turned: Turned) -> std::io::Result<()> {
        self.store().replace(TURNED, turned.to_text().as_bytes())
    }

    /// Writes the inverse of a journal, unless that was done before a crash; returns its bytes with those it parks, and whether it has links.
    fn invert(&self, reading: &Reading<'_, S::Log>, name: &str) -> Result<(u64, bool), ReplicaError> {
        let measured = |inverse: &Journal<S::Log>, Inverted { parked, links }| (inverse.len() + parked, links);
        if self.is_whole(name)? {
            let inverse = self.journal(name)?;
            let inverted = apply::measure(&inverse, self.volumes())?;
            return Ok(measured(&inverse, inverted));
        }
        let mut inverse = self.journal(name)?;
        inverse.truncate(0)?;
        let inverted = apply::invert(reading, self.volumes(), &mut inverse)?;
        Ok(measured(&inverse, inverted))
    }

    /// Whether a journal is there, and was written to its end. Then it is durable.
    fn is_whole(&self, name: &str) -> Result<bool, ReplicaError> {
        if !self.store().exists(name)? {
            return Ok(false);
        }
        let journal = self.journal(name)?;
        let whole = journal.is_whole_inverse()? || commit_of(&journal)?.is_some();
        if whole {
            // Whoever wrote it may have been told that this failed.
            journal.sync()?;
        }
        Ok(whole)
    }

    /// The journal that leads to a point from the one before. The newest may have been gone to over `incoming`.
    fn forward_or_incoming(&self, from: PointNumber, to: PointNumber) -> Result<String, ReplicaError> {
        let name = forward(from, to);
        let incoming = !self.store().exists(&name)? && self.is_incoming(to)?;
        Ok(if incoming { INCOMING.to_owned() } else { name })
    }

    /// A journal between two points, which must be there.
    pub(super) fn whole_journal(&self, name: String) -> Result<(Journal<S::Log>, Direction), ReplicaError> {
        if !self.store().exists(&name)? {
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
    pub(super) fn check_way(&self, goal: PointNumber) -> Result<(), ReplicaError> {
        let state = self.state();
        let mut next = state.phase.point();
        while let Some(at) = next
            && let Some(step) = state.step_towards(at, goal)
        {
            let name = if step < at { back(step, at) } else { forward(at, step) };
            let (journal, _) = self.whole_journal(name)?;
            journal.forward().try_for_each(|placed| placed.map(drop))?;
            next = Some(step);
        }
        Ok(())
    }

    /// Goes to a point, one step after the other.
    pub(super) fn go_to(&self, goal: PointNumber) -> Result<(), ReplicaError> {
        while let Some(at) = self.state().phase.point()
            && let Some(step) = self.state().step_towards(at, goal)
        {
            self.change(|state| state.enter(Phase::Moving { from: Some(at), to: step }))?;
            self.move_over(Some(at), step)?;
        }
        Ok(())
    }

    /// Goes to the newest point, from where a promotion was interrupted, say.
    pub(super) fn go_to_newest(&self) -> Result<(), ReplicaError> {
        let state = self.state();
        match (&state.phase, state.newest()) {
            (Phase::Settled { .. }, Some(newest)) => self.go_to(newest),
            _ => Ok(()),
        }
    }

    /// Goes back to the point before the one that could not be gone to; an error if there is none.
    pub(super) fn turn_back(&self) -> Result<(), ReplicaError> {
        let Phase::Moving { from: Some(from), to } = self.state().phase else { return Err(ReplicaError::NoPoint) };
        if from < to && self.forward_or_incoming(from, to)? == INCOMING {
            // That it leads there, only the journal may have said until now.
            self.change(|_| Ok(()))?;
            self.store().rename(INCOMING, &forward(from, to))?;
        }
        if from < to && !self.is_whole(&back(from, to))? {
            // Nothing was touched yet: the inverse comes first.
            return self.change(|state| state.enter(Phase::Settled { at: from }));
        }
        // For who comes from the other end, it would be the other side.
        self.note_turned(self.turned(from, to)?)?;
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
        let settled = self.finish();
        let Err(error) = settled else { return Ok(()) };
        let Phase::Moving { from, to } = self.state().phase else { return Err(error) };
        if self.state().newest() != Some(to) || !matches!(error, ReplicaError::Apply(ApplyError::Volume { .. })) {
            return Err(error);
        }
        if from.is_some() && self.turn_back().is_err() {
            return Err(error);
        }
        self.change(|state| {
            state.points.retain(|point| Some(point.number) <= from);
            state.steps.retain(|step| Some(step.to) <= from);
            if from.is_some() { Ok(()) } else { state.enter(Phase::Empty) }
        })?;
        if let Some(from) = from {
            self.store().remove(&forward(from, to))?;
            // Before another journal may lead to a point of this number.
            self.store().remove(&back(from, to))?;
        }
        self.discard_incoming()
    }
}

/// The point that a journal ends with, if it was committed.
fn commit_of<L: LogFile>(journal: &Journal<L>) -> Result<Option<Point>, ReplicaError> {
    match journal.read_before(journal.len()) {
        Ok(Some(Placed { record: Record::Commit(point), .. })) => Ok(Some(point)),
        Ok(_) | Err(JournalError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
