//! What the standby says of its replica, and what follows from it for the source.

use std::time::{Duration, Instant};

use standin_common::id::MirrorId;
use standin_common::link::quic::Connection;
use standin_common::message::SetAnswer;
use standin_config::Role;
use standin_replicator::source::standing::{Standing, is_behind};
use standin_replicator::source::state::{Event, Hold};

use super::kept::OrderedBy;
use super::{SourceSet, failed};
use crate::control::FailedKind;
use crate::daemon::PeerStatus;
use crate::daemon::peer::{self, Errand};

/// How often a standby that is in trouble is asked whether it still is.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What was said, and when.
#[derive(Debug, Default)]
pub(super) struct Told {
    at: Option<Instant>,
    /// Whether it is to be asked again at once.
    pub(super) again: bool,
    /// What is wrong there.
    pub(super) trouble: Option<String>,
    /// The mirror that made the newest point there, until somebody has looked whether it is the one that is known here.
    pub(super) newest: Option<MirrorId>,
}

impl Told {
    /// A point was made since: it is the newest there now, and what was wrong may be mended.
    pub(super) fn outdate(&mut self) {
        self.newest = None;
        self.again |= self.trouble.is_some();
    }
}

impl SourceSet {
    /// Asks the standby how its replica stands, and does what follows.
    pub(super) fn look_at_standby(&self, connection: &Connection) -> Result<(), String> {
        let (name, standby) = (self.set().name.clone(), self.set().standby.clone());
        let roles = self.roles.now();
        let standing = match peer::tell_roles(connection, &name, &roles).map_err(|error| error.to_string())? {
            SetAnswer::Unknown => Standing::Hindered(format!(
                "{standby} has no set {name} with this node in its settings: write the same lines on both nodes"
            )),
            SetAnswer::Known { status, .. } => match serde_json::from_str::<PeerStatus>(&status) {
                Ok(status) => {
                    // It may know that it is the standby and not be ready for it.
                    let ready = status.report.role == Role::Standby;
                    if let Err(why) = roles.lets_send(&status.roles, &standby, ready) {
                        let (set, peer) = (name, standby);
                        self.context.run_errand(Errand::Hear { set, peer, roles: Box::new(status.roles) });
                        return Err(why);
                    }
                    let mut state = self.lock();
                    if is_behind(&status.report, state.kept.point.as_ref()) {
                        state.kept.since = None;
                    }
                    Standing::of(&status.report, state.kept.point.as_ref())
                }
                Err(error) => Standing::Hindered(format!(
                    "what {standby} says of the set cannot be read ({error}): is it of another release?"
                )),
            },
        };
        tracing::debug!(?standing, "the standby was asked");
        let mut told = Told { at: Some(Instant::now()), ..Told::default() };
        match &standing {
            Standing::Fine(newest) => told.newest = *newest,
            Standing::Hindered(why) => told.trouble = Some(format!("on {standby}: {why}")),
            Standing::Promoted | Standing::Lost(_) => {}
        }
        let event = match (&standing, &told.trouble) {
            (_, Some(why)) => Some(Event::Hindered(why.clone())),
            (Standing::Fine(_), None) if self.lock().told.trouble.is_some() => Some(Event::Advanced),
            _ => None,
        };
        self.lock().told = told;
        match standing {
            Standing::Promoted => self.hold_unless_ordered(Hold::Promoted),
            Standing::Lost(point) => self.hold_unless_ordered(Hold::Lost(point)),
            Standing::Fine(_) | Standing::Hindered(_) => event.into_iter().for_each(|event| self.on(event)),
        }
        Ok(())
    }

    /// Asks once more if a person let it go on, and from time to time if something was wrong there.
    pub(super) fn look_again(&self, connection: &Connection) {
        let due = {
            let state = self.lock();
            let late = || state.told.at.is_none_or(|at| at.elapsed() >= ASK_AGAIN);
            state.told.again || state.told.trouble.is_some() && late()
        };
        if due && let Err(error) = self.look_at_standby(connection) {
            tracing::debug!(error, "the standby does not say how it stands");
        }
    }

    /// Holds it, unless a person ordered what is to be done: that is tried, and told what comes of it.
    fn hold_unless_ordered(&self, hold: Hold) {
        let job = {
            let state = self.lock();
            if state.compare.is_some() || state.kept.job.as_ref().is_some_and(|job| job.ordered_by != OrderedBy::Following) {
                return;
            }
            state.kept.job.clone()
        };
        let lost = matches!(hold, Hold::Lost(_));
        let kept = self.keep(|kept| {
            kept.job = None;
            // Whoever orders a new replica has seen that this one is gone.
            kept.point = kept.point.take().filter(|_| !lost);
            kept.since = None;
        });
        if let Err(error) = kept {
            // It is found out again at the next start.
            tracing::error!("{}", error.text);
        }
        if let Some(job) = job {
            self.on(Event::Ended);
            self.end(job.mirror, Err(failed(FailedKind::Refused, "the standby has no replica to go on with")));
        }
        self.hold(hold);
    }
}
