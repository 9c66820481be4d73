//! What a source is doing, and which changes of that are legal.
//!
//! How it is driven: the daemon tells every [`Event`] as it happens, and asks for the [`Phase`]. What makes no sense in a phase is
//! refused as [`Illegal`] and changes nothing. What has to outlive a restart is said at each phase; the daemon keeps it and gives it to
//! [`Source::new`].

use serde::{Deserialize, Serialize};
use standin_config::Reconnect;

use crate::report::SetState;

/// What a source is doing. What a crash does to it is said at each variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing watches the roots, and no mirror is ordered. A crash leaves it so.
    Idle,
    /// An ordered mirror runs. It goes on after a crash.
    Mirroring,
    /// An ordered mirror or comparison waits for the standby, and nothing watches the roots. A mirror does so again after a crash.
    Waiting,
    /// A verification or dry run is running. A crash ends it.
    Comparing,
    /// Everything noticed is at the standby or on its way. After a crash it catches up first.
    Following,
    /// Changes wait to be sent. It goes on after a crash, from what was kept of them.
    CatchingUp,
    /// A person paused it. A crash leaves it so.
    Paused,
    /// The roots are watched, and the standby cannot be reached: changes are remembered. A crash leaves it so.
    Disconnected,
    /// Nothing is sent until a person says so; changes are remembered. A crash leaves it so.
    Held,
    /// Something failed that must not be passed over. After a crash it is found out again.
    Bad,
}

/// Why nothing is sent until a person says so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// The link was lost, and `reconnect` is `manual`.
    LinkLost,
    /// The standby refuses what the source has, for this reason.
    Refused(String),
    /// Somebody has to make room or mend something first, for this reason.
    Stuck(String),
}

/// What happens to a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The roots are watched from now on. What happened before is not known, so it is behind.
    WatchBegan,
    /// Nothing watches the roots any more.
    WatchEnded,
    /// A mirror was ordered by a person, who takes it out of being held, too.
    Ordered,
    /// The ordered mirror ended, well or not, or was stopped.
    Ended,
    /// A verification or dry run was ordered.
    CompareOrdered,
    /// It ended, well or not.
    CompareEnded,
    /// The standby is reached.
    Connected,
    /// The connection is gone.
    LinkLost,
    /// Something was noticed that the standby does not have.
    Noticed,
    /// Everything noticed is at the standby or on its way.
    Drained,
    /// A person paused it.
    Paused,
    /// A person said that it goes on, after mending what is bad.
    Resumed,
    /// Nothing may be sent until a person acts.
    Held(Hold),
    /// Something failed that must not be passed over: what, where, and what to do.
    Failed(String),
    /// The setting was changed.
    Reconnect(Reconnect),
}

/// An event that makes no sense as things are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a source that is {phase:?} cannot take {event:?}")]
pub struct Illegal {
    phase: Phase,
    event: Event,
}

/// A source, as far as its phase goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    reconnect: Reconnect,
    watching: bool,
    ordered: bool,
    comparing: bool,
    connected: bool,
    behind: bool,
    paused: bool,
    hold: Option<Hold>,
    bad: Option<String>,
}

impl Source {
    /// At the start of the daemon, with what was kept: whether a mirror was ordered, whether it was paused, and whether it was held.
    pub fn new(reconnect: Reconnect, ordered: bool, paused: bool, hold: Option<Hold>) -> Self {
        let hold = hold.filter(|hold| !(*hold == Hold::LinkLost && reconnect == Reconnect::Automatic));
        Self { reconnect, watching: false, ordered, comparing: false, connected: false, behind: false, paused, hold, bad: None }
    }

    /// What it is doing.
    pub fn phase(&self) -> Phase {
        match () {
            () if self.bad.is_some() => Phase::Bad,
            () if self.comparing && self.connected => Phase::Comparing,
            () if self.hold.is_some() => Phase::Held,
            () if self.paused => Phase::Paused,
            () if self.ordered && self.connected => Phase::Mirroring,
            () if (self.ordered || self.comparing) && !self.watching => Phase::Waiting,
            () if !self.watching => Phase::Idle,
            () if !self.connected => Phase::Disconnected,
            () if self.behind => Phase::CatchingUp,
            () => Phase::Following,
        }
    }

    /// Why nothing is sent, while it is held; to be kept over a restart.
    pub fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// What failed, while it is bad.
    pub fn bad(&self) -> Option<&str> {
        self.bad.as_deref()
    }

    /// Whether the standby is to be dialled.
    pub fn dials(&self) -> bool {
        self.comparing || !matches!(self.phase(), Phase::Held | Phase::Bad)
    }

    /// Whether changes may be sent as they come.
    pub fn sends(&self) -> bool {
        matches!(self.phase(), Phase::Following | Phase::CatchingUp)
    }

    /// Takes what happened; returns the phase it is in then. What is refused changes nothing.
    pub fn on(&mut self, event: Event) -> Result<Phase, Illegal> {
        let phase = self.phase();
        let mut next = self.clone();
        if !next.take(&event) || !phase.leads_to(next.phase()) {
            return Err(Illegal { phase, event });
        }
        *self = next;
        Ok(self.phase())
    }

    /// `false` if it makes no sense.
    fn take(&mut self, event: &Event) -> bool {
        let wants = self.watching || self.ordered;
        let sense = match event {
            Event::WatchBegan => !self.watching,
            Event::WatchEnded | Event::Noticed => self.watching,
            Event::Ordered => !self.ordered && !self.paused && !self.comparing && self.bad.is_none(),
            Event::Ended => self.ordered,
            Event::CompareOrdered => !self.comparing && (!self.ordered || self.paused) && self.bad.is_none(),
            Event::CompareEnded => self.comparing,
            Event::Connected => !self.connected,
            Event::LinkLost => self.connected,
            Event::Drained => self.watching && self.connected && self.bad.is_none(),
            Event::Paused => wants && self.bad.is_none(),
            Event::Resumed => self.paused || self.hold.is_some() || self.bad.is_some(),
            Event::Held(_) => wants && self.bad.is_none(),
            Event::Failed(_) | Event::Reconnect(_) => true,
        };
        if sense {
            self.change(event, wants);
        }
        sense
    }

    fn change(&mut self, event: &Event, wants: bool) {
        match event {
            Event::WatchBegan => (self.watching, self.behind) = (true, true),
            Event::WatchEnded => (self.watching, self.behind) = (false, false),
            Event::Ordered => (self.ordered, self.hold) = (true, None),
            // A mirror that is stopped while it is paused is not paused any more; a set that is watched stays so.
            Event::Ended => (self.ordered, self.paused) = (false, self.paused && self.watching),
            Event::CompareOrdered => self.comparing = true,
            Event::CompareEnded => self.comparing = false,
            Event::Connected => self.connected = true,
            Event::LinkLost => {
                self.connected = false;
                if wants && self.reconnect == Reconnect::Manual && !self.paused && self.hold.is_none() {
                    self.hold = Some(Hold::LinkLost);
                }
            }
            Event::Noticed => self.behind = true,
            Event::Drained => self.behind = false,
            Event::Paused => (self.paused, self.hold) = (true, None),
            Event::Resumed => (self.paused, self.hold, self.bad) = (false, None, None),
            Event::Held(hold) => self.hold = Some(hold.clone()),
            // Whatever failed, it may have been the noticing.
            Event::Failed(cause) => (self.bad, self.behind) = (Some(cause.clone()), self.watching),
            Event::Reconnect(reconnect) => {
                self.reconnect = *reconnect;
                if *reconnect == Reconnect::Automatic {
                    self.hold.take_if(|hold| *hold == Hold::LinkLost);
                }
            }
        }
    }
}

impl Phase {
    /// Whether this may be followed by `next`. Everything that is not listed is a bug, refused by [`Source::on`].
    fn leads_to(self, next: Phase) -> bool {
        use Phase::*;
        match (self, next) {
            (from, to) if from == to => true,
            // Not `Following`: what happened before the watch began, or while something was bad, is not known.
            (Idle, Mirroring | Waiting | Comparing | CatchingUp | Disconnected | Bad) => true,
            (Bad, Idle | Mirroring | Waiting | Comparing | CatchingUp | Disconnected) => true,
            (Mirroring, Idle | Waiting | Following | CatchingUp | Paused | Disconnected | Held | Bad) => true,
            (Waiting, Idle | Mirroring | Comparing | Paused | Disconnected | Held | Bad) => true,
            (Following | CatchingUp, Idle | Mirroring | Comparing | Paused | Disconnected | Held | Bad) => true,
            (Following, CatchingUp) | (CatchingUp, Following) => true,
            // After these it may be whatever it was before, or came to be meanwhile.
            (Comparing | Paused | Disconnected | Held, _) => true,
            _ => false,
        }
    }
}

impl From<Phase> for SetState {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Idle => Self::Idle,
            Phase::Mirroring => Self::Mirroring,
            Phase::Waiting => Self::Waiting,
            Phase::Comparing => Self::Comparing,
            Phase::Following => Self::Following,
            Phase::CatchingUp => Self::CatchingUp,
            Phase::Paused => Self::Paused,
            Phase::Disconnected => Self::Disconnected,
            Phase::Held => Self::Held,
            Phase::Bad => Self::Bad,
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
