//! What applications wait for that sync their files on an ordered root: that the standby has the operations up to theirs, while a stream runs; else
//! a round, which is for all of them that came before it.

use std::io;
use std::sync::PoisonError;
use std::time::Duration;

use standin_config::Acknowledge;
use standin_replicator::acknowledge::{Policy, Reach, Standby, Verdict};
use standin_replicator::capture::ordered::Position;
use standin_replicator::source::state::Phase;
use standin_replicator::source::stream::Waited;

use super::layers::EIO;
use super::{SourceSet, State};

/// How often whoever waits looks at the settings.
const LOOK: Duration = Duration::from_millis(500);

/// Those who wait.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Syncs {
    /// How many there were.
    pub(super) last: u64,
    /// How many are answered.
    answered: u64,
    /// Whether something could not be read in the last round, so that its point is not whole.
    pub(super) flawed: bool,
    /// Whether the last that could not be answered was let go, and that was said.
    let_go: bool,
}

impl Syncs {
    /// Whether somebody waits.
    pub(super) fn waits(&self) -> bool {
        self.answered < self.last
    }

    /// Somebody goes on without what was promised.
    fn lets_go(&mut self, why: &str) {
        if !std::mem::replace(&mut self.let_go, true) {
            tracing::warn!(why, "applications go on without what `acknowledge` promises");
        }
    }

    /// The standby has what there is: who is let go next is worth a line.
    pub(super) fn are_met(&mut self) {
        self.let_go = false;
    }

    /// A consistent point is durable on the standby that was begun after these came.
    pub(super) fn answer(&mut self, upto: u64) {
        self.answered = self.answered.max(upto);
    }
}

impl SourceSet {
    /// Returns when what was written before is as safe as `acknowledge` asks, or need not be by `on_disconnect`. `position` is that of the sync.
    pub(super) fn acknowledged(&self, position: Position) -> io::Result<()> {
        loop {
            let set = self.set();
            if set.acknowledge == Acknowledge::Local {
                return Ok(());
            }
            let current = {
                let state = self.lock();
                // Nobody asked for a replica.
                if state.kept.following.is_none() {
                    return Ok(());
                }
                state.stream.clone().filter(|current| !current.is_over())
            };
            let Some(current) = current else {
                if self.acknowledged_by_a_round()? {
                    return Ok(());
                }
                continue;
            };
            let here = position.0.saturating_sub(current.offset);
            match current.stream.wait(here, &Policy::of(&set), LOOK) {
                Waited::Safe => return Ok(()),
                Waited::Unmet(why) => {
                    self.lock().syncs.lets_go(&why);
                    return Ok(());
                }
                Waited::NotYet if self.lock().stopping => return Err(io::Error::from_raw_os_error(EIO)),
                Waited::NotYet | Waited::Over => {}
            }
        }
    }

    /// The same by rounds; `false` if there is a stream now.
    fn acknowledged_by_a_round(&self) -> io::Result<bool> {
        let mut state = self.lock();
        state.syncs.last += 1;
        let request = state.syncs.last;
        self.changed.notify_all();
        loop {
            if state.stream.as_ref().is_some_and(|current| !current.is_over()) {
                return Ok(false);
            }
            let answered = Some(state.syncs.answered).filter(|answered| *answered > 0);
            let standby = Standby { received: answered, durable: answered, reach: state.reach_of_rounds() };
            let limit = match Policy::of(&self.set()).verdict(&request, &standby) {
                Verdict::Release => {
                    state.syncs.let_go = false;
                    return Ok(true);
                }
                Verdict::ReleaseUnmet(why) => {
                    // Nobody waits for it any more.
                    state.syncs.answer(request);
                    state.syncs.lets_go(&why);
                    return Ok(true);
                }
                Verdict::Hold(_) if state.stopping => return Err(io::Error::from_raw_os_error(EIO)),
                Verdict::Hold(limit) => limit.unwrap_or(LOOK).min(LOOK),
            };
            state = self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    /// Whether rounds reach the standby: a mirror over everything may take hours, and is no round.
    fn reach_of_rounds(&self) -> Reach {
        match self.source.phase() {
            Phase::Hindered => Reach::Held("the standby does not take what is sent".to_owned()),
            _ if self.syncs.flawed => Reach::Held("something in the roots cannot be read".to_owned()),
            _ if self.kept.job.is_some() => Reach::Held("a mirror over everything is running".to_owned()),
            _ => self.reach(),
        }
    }
}
