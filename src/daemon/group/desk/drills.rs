//! Drills, as the desk is asked for them.

use std::sync::Arc;

use standin_common::id::RunId;
use standin_failover::group::decide;

use super::super::asked::{Ask, Refused, Told};
use super::super::drill::{self, DrillWish, Ground};
use super::Desk;
use crate::control::FailedKind;

impl Desk {
    pub(super) fn drill(self: &Arc<Self>, wish: &DrillWish) -> Result<Told, Refused> {
        let facts = self.witnessed(self.facts());
        let node = decide::runner(self.local.group(), &facts, &drill::as_failover(wish))?;
        if node != *self.local.node() {
            let on = Some(node.clone());
            return self.forward(&node, &Ask::Drill(DrillWish { on, ..wish.clone() }));
        }
        let ground = Ground { local: self.local.clone(), facts, checked: self.check() };
        let run = self.drills.begin(wish, self.run_called(&"drill")?, ground)?;
        Ok(Told::Begun { run, node })
    }

    pub(super) fn drilled(&self, run: Option<&RunId>) -> Result<Told, Refused> {
        let none = || Refused::new(FailedKind::Refused, format!("there was no such drill of group {} on this node", self.name));
        self.drills.report(run).map(|report| Told::Drilled(Box::new(report))).ok_or_else(none)
    }
}
