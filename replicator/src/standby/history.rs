//! What stays of the way between kept points: journals that no point needs are removed, and those of a step over points that are not kept
//! become one.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use standin_common::id::PointNumber;

use super::merge::{self, Merged};
use super::replica::{Replica, ReplicaError};
use super::state::{Phase, State, Step};
use crate::store::Store;
use crate::volume::{Place, Volume};

/// An inverse that is not in its place yet.
const UNFINISHED: &str = "inverse.unfinished";

/// The journal of a step forward.
pub(super) fn forward(from: PointNumber, to: PointNumber) -> String {
    named(from, to, "forward")
}

/// The journal of the same step back.
pub(super) fn back(from: PointNumber, to: PointNumber) -> String {
    named(from, to, "back")
}

fn named(from: PointNumber, to: PointNumber, way: &str) -> String {
    if from.next() == to { format!("{to}.{way}") } else { format!("{from}-{to}.{way}") }
}

/// Whether a file is the journal of a step, by its name.
pub(super) fn is_journal(name: &str) -> bool {
    let Some((numbers, way)) = name.split_once('.') else { return false };
    let (from, to) = numbers.split_once('-').unwrap_or(("0", numbers));
    matches!(way, "back" | "forward") && from.parse::<u64>().is_ok() && to.parse::<u64>().is_ok()
}

impl<V: Volume, S: Store> Replica<V, S> {
    /// Looks through all files and removes what a crash left behind.
    pub(super) fn sweep(&self) -> Result<(), ReplicaError> {
        let state = self.state();
        if let Phase::Settled { at } = state.phase {
            self.sweep_journals(&state, at)?;
        }
        let incoming = self.is_incoming(state.next_point())?;
        let newest = state.points.last().map_or(0, |point| point.number.0);
        self.remove_sides(|point| !incoming && point > newest)?;
        self.remove_unneeded_sides()
    }

    fn sweep_journals(&self, state: &State, at: PointNumber) -> Result<(), ReplicaError> {
        let names: BTreeSet<String> = self.store().names()?.into_iter().collect();
        let mut needed = BTreeSet::new();
        for (from, step) in state.ways() {
            let (back, forward) = (back(from, step.to), forward(from, step.to));
            // Of the two journals of a step, the one that leads to where the replica is has been applied.
            let (first, second) = if step.to <= at { (back, forward) } else { (forward, back) };
            needed.insert(if names.contains(&first) { first } else { second });
        }
        for name in names.iter().filter(|name| *name == UNFINISHED || is_journal(name) && !needed.contains(*name)) {
            self.store().forget(name)?;
        }
        Ok(())
    }

    /// Removes the journals of steps that were dropped, by the steps before.
    pub(super) fn remove_dropped(&self, before: &[(PointNumber, Step)]) -> Result<(), ReplicaError> {
        let oldest = self.state().points.first().map(|point| point.number);
        let dropped = || before.iter().filter(|(_, step)| Some(step.to) <= oldest);
        for (from, step) in dropped() {
            self.store().forget(&back(*from, step.to))?;
        }
        if dropped().count() == 0 { Ok(()) } else { self.remove_unneeded_sides() }
    }

    /// Removes parked objects of points from which no way leads to an older one any more.
    fn remove_unneeded_sides(&self) -> Result<(), ReplicaError> {
        let oldest = self.state().points.first().map_or(0, |point| point.number.0);
        self.remove_sides(|point| point <= oldest)
    }

    pub(super) fn remove_sides(&self, of: impl Fn(u64) -> bool) -> Result<(), ReplicaError> {
        for volume in self.volumes() {
            for side in volume.side_objects()? {
                if of(side.point) {
                    volume.remove(&Place::Side(side))?;
                }
            }
        }
        Ok(())
    }

    /// Makes one journal of those of several steps between kept points, where that is due.
    ///
    /// A crash anywhere leaves a way: the new journal counts from the moment when the state says so, and until then the old ones do.
    pub(super) fn shorten(&self) -> Result<(), ReplicaError> {
        loop {
            let state = self.state();
            let at_newest = state.newest().is_some_and(|at| state.phase == Phase::Settled { at });
            let Some(due) = state.merge_due().filter(|_| at_newest) else { return Ok(()) };
            let ways = &state.ways()[due];
            match self.merge(ways) {
                Ok(()) => {}
                Err(error) if is_full(&error) => {
                    tracing::warn!(%error, "no room to make the way back shorter");
                    self.store().remove(UNFINISHED)?;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn merge(&self, ways: &[(PointNumber, Step)]) -> Result<(), ReplicaError> {
        let [(from, _), .., (_, last)] = ways else { return Ok(()) };
        let names: Vec<_> = ways.iter().rev().map(|(from, step)| back(*from, step.to)).collect();
        let inverses = names.iter().map(|name| self.journal(name)).collect::<Result<Vec<_>, _>>()?;
        let mut merged = self.journal(UNFINISHED)?;
        merged.truncate(0)?;
        let Some(Merged { inverted, garbage }) = merge::merge(&inverses, self.volumes(), &mut merged)? else {
            // They stay as they are.
            return self.change(|state| {
                let within = state.steps.iter_mut().filter(|step| *from < step.to && step.to <= last.to);
                within.for_each(|step| step.plain = false);
                Ok(())
            });
        };
        self.store().rename(UNFINISHED, &back(*from, last.to))?;
        self.change(|state| {
            state.steps.retain(|step| step.to <= *from || step.to >= last.to);
            if let Some(step) = state.steps.iter_mut().find(|step| step.to == last.to) {
                step.bytes = merged.len() + inverted.parked;
            }
            Ok(())
        })?;
        for name in &names {
            self.store().forget(name)?;
        }
        for (root, side) in garbage {
            if let Some(volume) = self.volumes().get(usize::from(root.0)) {
                volume.remove(&Place::Side(side))?;
            }
        }
        Ok(())
    }
}

fn is_full(error: &ReplicaError) -> bool {
    use super::apply::ApplyError;
    use crate::journal::JournalError;
    let (ReplicaError::Store(error)
    | ReplicaError::Journal(JournalError::Io(error))
    | ReplicaError::Apply(ApplyError::Journal(JournalError::Io(error)) | ApplyError::Volume { source: error, .. })) = error
    else {
        return false;
    };
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
