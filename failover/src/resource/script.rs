//! Scripts: commands at a start and a stop, with the variables by which scripts of cluster software know what happens.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use standin_common::id::{GroupName, NodeName, ResourceName};
use standin_config::group::Script;

use super::{Condition, Resource, Step, Trouble, command};
use crate::preflight::Finding;

/// Why a group is started or stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is started or stopped on purpose: by a person, or with the machine.
    Start,
    /// It moves, since the node that had it is lost, or is to give it away.
    Failover,
    /// This node is back; the group is elsewhere.
    Recover,
}

/// What a script is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// The group.
    pub group: &'a GroupName,
    /// The node that the script runs on.
    pub node: &'a NodeName,
    /// Where the group was before, where that is known.
    pub from: Option<&'a NodeName>,
    /// Why.
    pub event: Event,
    /// Whether the group's volumes are in order.
    pub is_disk_well: bool,
    /// The group's nodes, the one with the lowest priority number first.
    pub by_priority: &'a [&'a NodeName],
}

impl Circumstances<'_> {
    /// The variables: ours, and those of ExpressCluster's start and stop scripts.
    ///
    /// `CLP_EVENT` is `START`, `FAILOVER` or `RECOVER`; `CLP_DISK` is `SUCCESS` or `FAILURE`; `CLP_SERVER` is `HOME` on the node with the
    /// first priority and `OTHER` elsewhere; `CLP_PRIORITY` is the node's place among the group's nodes, from 1 (the scripts for
    /// Exchange take 1 for a failback), not the number from the settings. Source: the scripts of the ExpressCluster X guide for Exchange.
    pub fn variables(&self) -> Vec<(String, String)> {
        let place = self.by_priority.iter().position(|node| *node == self.node).map(|index| index + 1);
        let event = match self.event {
            Event::Start => "START",
            Event::Failover => "FAILOVER",
            Event::Recover => "RECOVER",
        };
        let variables = [
            ("STANDIN_GROUP", self.group.to_string()),
            ("STANDIN_NODE", self.node.to_string()),
            ("STANDIN_FROM", self.from.map(ToString::to_string).unwrap_or_default()),
            ("STANDIN_EVENT", event.to_ascii_lowercase()),
            ("CLP_EVENT", event.to_owned()),
            ("CLP_DISK", if self.is_disk_well { "SUCCESS" } else { "FAILURE" }.to_owned()),
            ("CLP_SERVER", if place == Some(1) { "HOME" } else { "OTHER" }.to_owned()),
            ("CLP_PRIORITY", place.map_or(String::new(), |place| place.to_string())),
            ("CLP_GROUPNAME", self.group.to_string()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }
}

/// A script on this node.
pub(super) struct ScriptResource {
    name: ResourceName,
    script: Script,
    /// A script leaves nothing that could be looked at; what was run here last counts.
    is_started: AtomicBool,
}

impl ScriptResource {
    pub(super) fn new(name: ResourceName, script: Script) -> Self {
        Self { name, script, is_started: AtomicBool::new(false) }
    }

    fn run(&self, words: Option<&[String]>, action: &str, step: &dyn Step) -> Result<(), Trouble> {
        let Some(words) = words else { return Ok(()) };
        let mut variables = step.variables();
        let directory = words.first().and_then(|program| Path::new(program).parent()).map(|path| path.display().to_string());
        variables.push(("STANDIN_RESOURCE".to_owned(), self.name.to_string()));
        variables.push(("STANDIN_ACTION".to_owned(), action.to_owned()));
        variables.push(("CLP_SCRIPT_PATH".to_owned(), directory.unwrap_or_default()));
        command::must(words, &variables, &format!("script {}, {action}", self.name), step)
    }
}

impl Resource for ScriptResource {
    fn condition(&self) -> Result<Condition, Trouble> {
        Ok(if self.is_started.load(Ordering::Relaxed) { Condition::Online } else { Condition::Offline })
    }

    fn start(&self, step: &dyn Step) -> Result<(), Trouble> {
        self.run(self.script.start.as_deref(), "start", step)?;
        self.is_started.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn stop(&self, step: &dyn Step) -> Result<(), Trouble> {
        self.run(self.script.stop.as_deref(), "stop", step)?;
        self.is_started.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn check(&self) -> Vec<Finding> {
        let commands = [&self.script.start, &self.script.stop].into_iter().flatten();
        commands.filter_map(|words| command::missing(words)).map(|missing| missing.of("script", &self.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_are_those_that_scripts_ask_for() {
        let (group, home, other): (GroupName, NodeName, NodeName) =
            ("mail".parse().unwrap(), "alpha".parse().unwrap(), "beta".parse().unwrap());
        let nodes = [&home, &other];
        let circumstances = Circumstances {
            group: &group,
            node: &other,
            from: Some(&home),
            event: Event::Failover,
            is_disk_well: true,
            by_priority: &nodes,
        };
        let value = |circumstances: &Circumstances<'_>, name: &str| {
            circumstances.variables().into_iter().find(|(known, _)| known == name).unwrap().1
        };
        let clp = ["CLP_EVENT", "CLP_DISK", "CLP_SERVER", "CLP_PRIORITY"];
        assert_eq!(clp.map(|name| value(&circumstances, name)), ["FAILOVER", "SUCCESS", "OTHER", "2"]);
        let back = Circumstances { node: &home, from: None, event: Event::Start, is_disk_well: false, ..circumstances };
        assert_eq!(clp.map(|name| value(&back, name)), ["START", "FAILURE", "HOME", "1"]);
        assert_eq!((value(&back, "STANDIN_FROM"), value(&back, "STANDIN_EVENT")), (String::new(), "start".to_owned()));
    }
}
