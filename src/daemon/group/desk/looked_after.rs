//! What those who look after a group ask of its desk.

use standin_config::group::Group as Written;
use standin_failover::group::facts::SetView;

use super::super::asked::{Refused, Told};
use super::Desk;
use crate::control::FailedKind;

impl Desk {
    /// The group as the settings say.
    pub(in crate::daemon::group) fn written(&self) -> &Written {
        &self.written
    }

    /// Whether the daemon ends.
    pub(in crate::daemon::group) fn is_ending(&self) -> bool {
        self.lock().ends
    }

    /// Whether the group is looked after here: it is online here, this node has the right to serve, nobody paused it, and no run has it.
    pub(in crate::daemon::group) fn is_looked_after(&self) -> bool {
        let state = self.local.state();
        let here = self.local.node();
        let is_here =
            state.online.as_ref() == Some(here) && state.claim.is_none() && self.local.may_start() && self.is_written_here();
        let inner = self.lock();
        is_here && !self.is_paused() && inner.running.is_none() && inner.is_settled && !inner.ends
    }

    /// Whether no other node is the source of a set of the group, as far as this one knows.
    fn is_written_here(&self) -> bool {
        let here = self.local.node();
        let is_elsewhere = |set: &SetView| matches!(set, SetView::Known { source, .. } if source != here);
        !self.local.brief().sets.values().any(is_elsewhere)
    }

    /// Whether somebody wants nothing to be done for the group by itself.
    pub(crate) fn is_paused(&self) -> bool {
        self.pause.since_unix_ms().is_some()
    }

    /// Since when, in milliseconds since 1970.
    pub(in crate::daemon) fn paused_unix_ms(&self) -> Option<u64> {
        self.pause.since_unix_ms()
    }

    /// With the end of a pause it is forgotten that the group has failed here: somebody was there.
    pub(super) fn set_paused(&self, paused: bool) -> Result<Told, Refused> {
        self.pause.set(paused).map_err(|why| Refused::new(FailedKind::Failed, why))?;
        if !paused {
            self.tell_failure(None);
        }
        Ok(Told::Heard)
    }

    /// A person was there: that the group has failed here is forgotten, and what is ill may be started again as often as before.
    pub(in crate::daemon) fn forgive(&self) {
        let mut inner = self.lock();
        (inner.failed, inner.is_forgiven, inner.is_hurried) = (None, true, true);
        self.changed.notify_all();
    }

    /// Whether somebody forgave since this was asked last.
    pub(in crate::daemon::group) fn take_forgiven(&self) -> bool {
        std::mem::take(&mut self.lock().is_forgiven)
    }

    /// Why the group has failed here, or that it has not.
    pub(in crate::daemon::group) fn tell_failure(&self, failed: Option<String>) {
        self.lock().failed = failed;
    }
}
