//! Handing a set over to its other node: the source is drained and retires, the standby takes over, and the roles have changed.
//!
//! Every step is durable before the next, and may be repeated: whoever was interrupted says it again.

use std::time::Instant;

use standin_common::id::{Generation, NodeName, SetName};
use standin_common::message::{Opening, TakeOver, TakeOverAnswer};
use standin_replicator::journal::Point;
use standin_replicator::report::SetReport;

use super::part::Part;
use super::roles::{Retired, Roles};
use super::{Daemon, peer};
use crate::control::{Failed, FailedKind};

fn failed(kind: FailedKind, text: impl Into<String>) -> Failed {
    Failed { kind, text: text.into() }
}

impl Daemon {
    /// The part of this node in a set.
    pub(super) fn part(&self, name: &SetName) -> Result<&Part, Failed> {
        self.parts.get(name).ok_or_else(|| failed(FailedKind::Usage, format!("this node has no part in a set {name}")))
    }

    /// Makes `to` the source of a set, of which this node is it. Returns since which generation it is, and from which point.
    pub(super) fn hand_over(
        &self,
        name: &SetName,
        to: &NodeName,
        deadline: Instant,
        go_on: &mut dyn FnMut(&SetReport) -> bool,
    ) -> Result<(Generation, Option<Point>), Failed> {
        let part = self.part(name)?;
        let roles = part.settled_roles();
        if roles.source == *to && roles.retired.is_none() {
            return Ok((roles.generation, roles.from));
        }
        if *to != *part.peer() {
            let text = match roles.source == *part.peer() {
                true => format!("a set is handed over by its source: say this on {}", part.peer()),
                false => format!("{to} has no part in {name}; its nodes are this one and {}", part.peer()),
            };
            return Err(failed(FailedKind::Usage, text));
        }
        let retired = match roles.retired {
            Some(retired) => retired,
            None => self.drain_and_retire(part, roles.generation.next(), deadline, go_on)?,
        };
        let Some(point) = retired.drained else {
            let text = format!("it was not drained when this node retired: `standin set release {name}`, and hand it over again");
            return Err(failed(FailedKind::Refused, text));
        };
        let unknown = |why: String| {
            let text = format!(
                "whether {to} has taken over is not known ({why}): this node sends nothing any more. `standin set turn {name} --to {to}` asks \
                 again; `standin set release {name}` takes it back, but only if {to} has not taken over"
            );
            failed(FailedKind::Unreachable, text)
        };
        let opening = Opening::TakeOver(TakeOver { set: name.clone(), point, generation: retired.generation });
        let asked = self.context.dial(to).map_err(|error| error.to_string());
        let answer =
            asked.and_then(|connection| peer::ask_to_take_over(&connection, &opening).map_err(|error| error.to_string()));
        match answer.map_err(unknown)? {
            TakeOverAnswer::Refused(why) => {
                part.release()?;
                let text = format!("{to} does not take over: {why}; this node is the source as before");
                Err(failed(FailedKind::Refused, text))
            }
            TakeOverAnswer::Taken(roles) => {
                let roles: Roles = serde_json::from_str(&roles).map_err(|error| unknown(error.to_string()))?;
                part.hear(&roles)?;
                Ok((roles.generation, roles.from))
            }
        }
    }

    fn drain_and_retire(
        &self,
        part: &Part,
        generation: Generation,
        deadline: Instant,
        go_on: &mut dyn FnMut(&SetReport) -> bool,
    ) -> Result<Retired, Failed> {
        let name = part.set().name;
        let source = part.source().ok_or_else(|| {
            let text = format!("this node is not the source of {name}: say this on {}", part.peer());
            failed(FailedKind::Usage, text)
        })?;
        let point = source.drain(deadline, go_on)?;
        part.was_drained(point.number);
        part.retire(generation)?;
        Ok(Retired { generation, drained: Some(point.number) })
    }
}
