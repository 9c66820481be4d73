//! What a source is doing, and which changes of that are legal.
//!
//! How it is driven: the daemon tells every [`Event`] as it happens, and asks for the [`Phase`]. What makes no sense in a phase is
//! refused as [`Illegal`] and changes nothing. What has to outlive a restart is said at each phase; the daemon keeps it and gives it to
//! [`Source::new`].

use serde::{Deserialize, Serialize};
use standin_common::id::PointNumber;
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
    /// The standby is reached and does not take what is sent; it is tried again. After a crash that is found out again.
    Hindered,
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
    /// Somebody has to make room or mend something first, for this reason.
    Stuck(String),
    /// The replica was promoted: it takes nothing any more.
    Promoted,
    /// The standby has nothing of the set any more, although it had this point.
    Lost(PointNumber),
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
    /// The standby does not take what is sent, for this reason. It is tried again without a person.
    Hindered(String),
    /// The standby takes what is sent: what hindered it does so no more.
    Advanced,
    /// A person ended what there was.
    Stopped,
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
    hindered: Option<String>,
    bad: Option<String>,
}

impl Source {
    /// At the start of the daemon, with what was kept: whether a mirror was ordered, whether it was paused, and whether it was held.
    pub fn new(reconnect: Reconnect, ordered: bool, paused: bool, hold: Option<Hold>) -> Self {
        let hold = hold.filter(|hold| !(*hold == Hold::LinkLost && reconnect == Reconnect::Automatic));
        let (watching, comparing, connected, behind) = (false, false, false, false);
        Self { reconnect, watching, ordered, comparing, connected, behind, paused, hold, hindered: None, bad: None }
    }

    /// What it is doing.
    pub fn phase(&self) -> Phase {
        match () {
            () if self.bad.is_some() => Phase::Bad,
            () if self.comparing && self.connected => Phase::Comparing,
            () if self.hold.is_some() => Phase::Held,
            () if self.paused => Phase::Paused,
            () if self.hindered.is_some() && self.connected && (self.ordered || self.watching) => Phase::Hindered,
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

    /// What a person or the standby has to mend before it goes on; `None` where the phase says all there is to say.
    pub fn reason(&self) -> Option<&str> {
        match (self.phase(), &self.hold) {
            (Phase::Bad, _) => self.bad.as_deref(),
            (Phase::Held, Some(Hold::Stuck(why))) => Some(why),
            (Phase::Hindered, _) => self.hindered.as_deref(),
            _ => None,
        }
    }

    /// What it is doing, as it is reported.
    pub fn state(&self) -> SetState {
        match self.phase() {
            Phase::Idle => SetState::Idle,
            Phase::Mirroring => SetState::Mirroring,
            Phase::Waiting => SetState::Waiting,
            Phase::Comparing => SetState::Comparing,
            Phase::Following => SetState::Following,
            Phase::CatchingUp => SetState::CatchingUp,
            Phase::Hindered => SetState::Hindered,
            Phase::Paused => SetState::Paused,
            Phase::Disconnected => SetState::Disconnected,
            Phase::Held => match self.hold {
                Some(Hold::Promoted) => SetState::Promoted,
                Some(Hold::Lost(_)) => SetState::Lost,
                _ => SetState::Held,
            },
            Phase::Bad => SetState::Bad,
        }
    }

    /// Whether the standby is to be dialled.
    pub fn dials(&self) -> bool {
        self.comparing || !matches!(self.phase(), Phase::Held | Phase::Bad)
    }

    /// Whether changes may be sent as they come.
    pub fn sends(&self) -> bool {
        matches!(self.phase(), Phase::Following | Phase::CatchingUp | Phase::Hindered)
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
            Event::Held(_) => self.bad.is_none(),
            Event::Hindered(_) => self.connected && wants,
            Event::Advanced | Event::Stopped | Event::Failed(_) | Event::Reconnect(_) => true,
        };
        if sense {
            self.change(event, wants);
        }
        sense
    }

    fn change(&mut self, event: &Event, wants: bool) {
        match event {
            Event::WatchBegan => (self.watching, self.behind) = (true, true),
            Event::WatchEnded => (self.watching, self.behind, self.hindered) = (false, false, None),
            Event::Ordered => (self.ordered, self.hold, self.hindered) = (true, None, None),
            Event::Ended => (self.ordered, self.paused, self.hindered) = (false, self.paused && self.watching, None),
            Event::Stopped => (self.ordered, self.paused, self.hold, self.hindered) = (false, false, None, None),
            Event::CompareOrdered => self.comparing = true,
            Event::CompareEnded => self.comparing = false,
            Event::Connected => self.connected = true,
            Event::LinkLost => {
                (self.connected, self.hindered) = (false, None);
                if wants && self.reconnect == Reconnect::Manual && !self.paused && self.hold.is_none() {
                    self.hold = Some(Hold::LinkLost);
                }
            }
            Event::Noticed => self.behind = true,
            Event::Drained => self.behind = false,
            Event::Hindered(why) => self.hindered = Some(why.clone()),
            Event::Advanced => self.hindered = None,
            Event::Paused => (self.paused, self.hold, self.hindered) = (true, None, None),
            Event::Resumed => (self.paused, self.hold, self.hindered, self.bad) = (false, None, None, None),
            Event::Held(hold) => (self.hold, self.hindered) = (Some(hold.clone()), None),
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
            (Idle, Mirroring | Waiting | Comparing | CatchingUp | Disconnected | Held | Bad) => true,
            (Bad, Idle | Mirroring | Waiting | Comparing | CatchingUp | Disconnected) => true,
            (Mirroring, Idle | Waiting | Following | CatchingUp | Hindered | Paused | Disconnected | Held | Bad) => true,
            (Hindered, Idle | Mirroring | Waiting | Comparing | Following | CatchingUp | Paused | Disconnected | Held | Bad) => {
                true
            }
            (Waiting, Idle | Mirroring | Comparing | Paused | Disconnected | Held | Bad) => true,
            (Following | CatchingUp, Idle | Mirroring | Comparing | Paused | Disconnected | Held | Bad) => true,
            (Following, CatchingUp | Hindered) | (CatchingUp, Following | Hindered) => true,
            // After these it may be whatever it was before, or came to be meanwhile.
            (Comparing | Held, _) => true,
            // What hinders is known only when the standby was asked again.
            (Paused | Disconnected, to) => to != Hindered,
            _ => false,
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
