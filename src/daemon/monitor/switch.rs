//! Automatic failover off and on while the daemons run.
//!
//! There are two switches on each node, and one rule between them: *while any node takes over by itself, every node that serves stops by
//! itself*. So off goes: first nobody takes over any more, then, if all have answered, nobody stops by itself either, and a node that is cut
//! off for maintenance goes on serving. On goes the other way round, and needs all nodes. Both are durable on each node.

use std::sync::Arc;

use standin_common::id::NodeName;

use super::status::{Switch, Switched};
use super::watch::Watch;
use crate::control::FailedKind;
use crate::daemon::group::{Answered, Ask, MonitorAsk, Refused, Told};

impl Watch {
    /// Switches on this node, durably.
    pub(in crate::daemon) fn switch(&self, switch: Switch) -> Result<(), Refused> {
        let mut kept = self.kept();
        let mut next = kept.clone();
        next.takes_over = switch.takes_over.unwrap_or(next.takes_over);
        next.stands_down = switch.stands_down.unwrap_or(next.stands_down);
        self.files.write(&next).map_err(|why| Refused::new(FailedKind::Failed, why))?;
        tracing::warn!(group = %self.written.name, takes_over = next.takes_over, stands_down = next.stands_down, "switched");
        *kept = next;
        drop(kept);
        // Told to the others with the next heartbeat, so known here at once.
        let mut inner = self.lock();
        inner.monitor.switched_to(switch.takes_over, switch.stands_down);
        self.gate.set(inner.monitor.gate());
        Ok(())
    }

    /// Whether it was switched off that this node takes over by itself.
    pub(in crate::daemon) fn is_switched_off(&self) -> bool {
        self.is_automatic() && !self.kept().takes_over
    }

    /// Switches on every node. `force`: off, although not all nodes answer; a person is sure that none of those serves.
    pub(in crate::daemon) fn automatic(self: &Arc<Self>, on: bool, force: bool) -> Result<Switched, Refused> {
        if !self.is_automatic() {
            let text = format!(
                "group {} has `failover = \"manual\"` in the settings that the daemon of {} runs with, so there is nothing to switch: a person \
                 says `standin failover`. For automatic failover, write `failover = \"automatic\"` and a witness into the settings of all its \
                 nodes, and restart the daemons",
                self.written.name, self.here
            );
            return Err(Refused::new(FailedKind::Refused, text));
        }
        let (first, second) = match on {
            true => (Switch { stands_down: Some(true), takes_over: None }, Switch { takes_over: Some(true), stands_down: None }),
            false => {
                (Switch { takes_over: Some(false), stands_down: None }, Switch { stands_down: Some(false), takes_over: None })
            }
        };
        let away = self.switch_all(first)?;
        if let Some((node, why)) = away.first().filter(|_| on) {
            let text = format!(
                "{node} does not answer ({why}), and while it does not know of it, nobody may take over by itself: switch it on when all nodes of the group are there"
            );
            return Err(Refused::new(FailedKind::Refused, text));
        }
        if !away.is_empty() && !force {
            return Ok(Switched { away, stands_down: true });
        }
        let mut missed = self.switch_all(second)?;
        missed.retain(|one| !away.contains(one));
        Ok(Switched { away: [away, missed].concat(), stands_down: on })
    }

    fn switch_all(self: &Arc<Self>, switch: Switch) -> Result<Vec<(NodeName, String)>, Refused> {
        self.switch(switch)?;
        let others = self.written.by_priority().into_iter().filter(|node| **node != self.here);
        let asked = others.map(|node| (node, self.desk.ask(Some(node.clone()), Ask::Monitor(MonitorAsk::Switch(switch)))));
        Ok(asked.filter_map(|(node, told)| Some((node.clone(), told.err()?.text))).collect())
    }

    /// Answers the alerts here, or on every node. One that is not heard is not waited for.
    pub(in crate::daemon) fn acknowledge(self: &Arc<Self>, everywhere: bool) -> Answered {
        let mut answered = Answered { count: self.answer_all(), away: Vec::new() };
        self.desk.forgive();
        for node in self.written.by_priority().into_iter().filter(|node| everywhere && **node != self.here) {
            let asked = match self.is_silent(node) {
                true => Err("it is not heard".to_owned()),
                false => {
                    let told = self.desk.ask(Some(node.clone()), Ask::Monitor(MonitorAsk::AcknowledgeHere));
                    told.map_err(|refused| refused.text)
                }
            };
            match asked {
                Ok(Told::Acknowledged(there)) => answered.count += there.count,
                Ok(_) => answered.away.push((node.clone(), "it answers something else than was asked".to_owned())),
                Err(why) => answered.away.push((node.clone(), why)),
            }
        }
        answered
    }
}
