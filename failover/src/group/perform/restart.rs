//! Starting something again where it is, while no run has the group.

use std::fmt;
use std::io;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use standin_common::id::ResourceName;

use super::{Failed, Local, changed, unchanged};
use crate::group::plan::Action;
use crate::group::state::GroupState;
use crate::resource::script::{Circumstances, Event};
use crate::resource::{Memo, Step};

impl Local {
    /// Stops these, the last first, and starts them again in this order, each within its own limits.
    ///
    /// It gives way to runs: before each of them, with the lock that orders about it are done under, it looks whether the group's state is still the
    /// one that it began with. A run claims the group before it stops anything, so what a run stopped is never started by this. Nor is anything
    /// that this node has no right to start (the gate): what was stopped for that stays so.
    ///
    /// # Errors
    /// [`Failed`], unchanged where the group is not online here, or a run has it.
    pub fn restart(&self, what: &[ResourceName], is_cancelled: &dyn Fn() -> bool) -> Result<(), Failed> {
        let began = self.own()?;
        if !self.may_start() {
            return Err(unchanged("this node has no right to serve now"));
        }
        let mut what: Vec<&ResourceName> = what.iter().filter(|name| !began.down.contains(*name)).collect();
        what.reverse();
        what.iter().try_for_each(|name| self.tend(name, false, &began, is_cancelled))?;
        what.reverse();
        what.iter().try_for_each(|name| self.tend(name, true, &began, is_cancelled))
    }

    /// Only stops these, the last first, and those before one that cannot be stopped all the same, also if a run has the group that is to be gone
    /// on with.
    ///
    /// # Errors
    /// As [`restart`](Self::restart); the first of several.
    pub fn rest(&self, what: &[ResourceName], is_cancelled: &dyn Fn() -> bool) -> Result<(), Failed> {
        let began = self.state();
        let mut first = Ok(());
        for name in what.iter().rev() {
            first = first.and(self.tend(name, false, &began, is_cancelled));
        }
        first
    }

    /// The group's state, if it is online here and no run has it.
    fn own(&self) -> Result<GroupState, Failed> {
        let state = self.state();
        if state.claim.is_some() || state.online.as_ref() != Some(&self.node) {
            return Err(unchanged("a run has the group, or it is not online here"));
        }
        Ok(state)
    }

    fn tend(&self, name: &ResourceName, start: bool, began: &GroupState, is_cancelled: &dyn Fn() -> bool) -> Result<(), Failed> {
        let (Some(part), resource) = (self.group.part(name), self.resource(name)?) else { return Ok(()) };
        let lane = self.lane(&Action::Start(name.clone()));
        let _held = lane.lock().unwrap_or_else(PoisonError::into_inner);
        // What this node has no right to start is not started by this either.
        let may = || !start || self.may_start();
        let gives_way = || is_cancelled() || self.state() != *began || !may();
        let deadline = Instant::now() + Duration::from_millis(if start { part.start_limit_ms } else { part.stop_limit_ms });
        let passing = self.gate.get().filter(|_| start).map(|gate| gate.pass(deadline, &|| true));
        let _passing = passing.transpose().map_err(changed)?;
        if gives_way() {
            return Err(changed("a run has the group now, or the daemon ends: what follows is that one's to do"));
        }
        let step = Tending { local: self, name, start, deadline, gives_way: &gives_way };
        if start {
            self.clear_away(name, &step)?;
        }
        let done = if start { resource.start(&step) } else { resource.stop(&step).inspect(|()| self.trust(name)) };
        // The group goes on without it, and what needs it is started all the same.
        match done {
            Err(trouble) if part.optional => {
                step.tell(format_args!("{trouble}"));
                Ok(())
            }
            done => done.map_err(changed),
        }
    }
}

/// A step of no run.
struct Tending<'a> {
    local: &'a Local,
    name: &'a ResourceName,
    start: bool,
    deadline: Instant,
    gives_way: &'a dyn Fn() -> bool,
}

impl Step for Tending<'_> {
    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn is_cancelled(&self) -> bool {
        (self.gives_way)()
    }

    fn tell(&self, line: fmt::Arguments<'_>) {
        tracing::info!(group = %self.local.group.name, resource = %self.name, "{line}");
    }

    /// Nothing is kept: what was before the group came here was kept by the run that brought it, and this is not taken back.
    fn keep(&self, _: Memo) -> io::Result<()> {
        Ok(())
    }

    fn memo(&self) -> Option<Memo> {
        None
    }

    fn variables(&self) -> Vec<(String, String)> {
        let circumstances = Circumstances {
            group: &self.local.group.name,
            node: &self.local.node,
            from: Some(&self.local.node),
            event: Event::Start,
            is_disk_well: true,
            by_priority: &self.local.group.by_priority(),
        };
        let mut variables = circumstances.variables();
        variables.push(("STANDIN_KIND".to_owned(), "restart".to_owned()));
        variables.extend(self.start.then(|| self.local.mark.variable(self.name)));
        variables
    }
}

#[cfg(test)]
#[path = "restart_tests.rs"]
mod tests;
