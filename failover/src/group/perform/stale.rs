//! What runs on this node and is of no use, as what it needs went away under it and is there anew. It does not count as started before it was
//! stopped.

use std::sync::PoisonError;

use standin_common::id::{ResourceName, SetName};

use super::{Local, changed, unchanged};
use crate::group::facts::Stand;
use crate::group::run::Failed;
use crate::resource::{Condition, Resource, Step, Trouble};

impl Local {
    /// Whatever runs of these now is of no use.
    pub fn distrust(&self, names: &[ResourceName]) {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner).extend(names.iter().cloned());
    }

    /// It was stopped.
    pub(super) fn trust(&self, name: &ResourceName) {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub(super) fn is_stale(&self, name: &ResourceName) -> bool {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Starts a resource. The first step is for stopping what is of no use.
    ///
    /// # Errors
    /// [`Failed`].
    pub(super) fn start(&self, name: &ResourceName, [clears, starts]: [&dyn Step; 2]) -> Result<(), Failed> {
        self.clear_away(name, clears)?;
        self.resource(name)?.start(starts).map_err(changed)
    }

    /// Before a start: stops what is of no use.
    ///
    /// # Errors
    /// [`Failed`] where it cannot be stopped.
    pub(super) fn clear_away(&self, name: &ResourceName, step: &dyn Step) -> Result<(), Failed> {
        if !self.is_stale(name) {
            return Ok(());
        }
        self.stop_what_runs(self.resource(name)?.as_ref(), name, step).map_err(changed)
    }

    fn stop_what_runs(&self, resource: &dyn Resource, name: &ResourceName, step: &dyn Step) -> Result<(), Trouble> {
        if !matches!(resource.condition(), Ok(Condition::Offline)) {
            step.tell(format_args!("its volume is put there anew, so it is stopped first"));
            resource.stop(step)?;
        }
        self.trust(name);
        Ok(())
    }

    /// Before a set is taken over that this node is source of already, by a run that went over another one: what still uses it is stopped, as its
    /// volume is put there anew.
    ///
    /// # Errors
    /// [`Failed`] where something cannot be stopped: the set is as it was.
    pub(super) fn vacate<S: Step>(&self, set: &SetName, step: impl Fn(&ResourceName) -> S) -> Result<(), Failed> {
        let is_source = self.volumes.standing(set).is_ok_and(|standing| standing.source == self.node);
        let volume = self.group.resources.iter().find(|part| part.set.as_ref() == Some(set)).filter(|_| is_source);
        let users = volume.map(|volume| self.group.with_dependents(&volume.name)).unwrap_or_default();
        for part in self.group.resources.iter().rev().filter(|part| users.contains(&part.name)) {
            let Some(resource) = self.resources.get(&part.name) else { continue };
            self.stop_what_runs(resource.as_ref(), &part.name, &step(&part.name)).map_err(unchanged)?;
        }
        Ok(())
    }

    /// How a resource stands that is seen so.
    pub(super) fn stand(is_stale: bool, seen: Stand) -> Stand {
        match seen {
            Stand::Online if is_stale => {
                Stand::Partly("it runs since before its volume was there again, and cannot use it".to_owned())
            }
            seen => seen,
        }
    }
}
