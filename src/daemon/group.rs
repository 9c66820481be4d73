//! The groups of this node: cutovers that it carries out, steps that it does for those of others, and what it does by itself.

mod asked;
mod build;
mod desk;
mod directory;
mod drill;
mod foresight;
mod health;
mod layers;
mod nodes;
mod pause;
mod sets;
mod shutdown;
mod witness;
mod zone;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use standin_common::id::{GroupName, NodeName};
use standin_common::message::GroupAnswer;

pub(crate) use asked::{Answered, Ask, Foreseen, GroupStatus, LastRun, MonitorAsk, Refused, Told};
pub(crate) use build::resources;
pub(crate) use desk::Desk;
pub(crate) use drill::{Cloned, DrillEnd, DrillReport, DrillWish, Looked};
pub(crate) use foresight::missing_hooks;

use super::Daemon;
use crate::control::FailedKind;

/// The groups of a daemon; they are there once it runs, as they work with its sets.
#[derive(Default)]
pub(super) struct Groups(OnceLock<BTreeMap<GroupName, Result<Arc<Desk>, String>>>);

impl Groups {
    /// Opens them. One that cannot be used does not hinder the others, nor replication: whoever asks for it is told why.
    pub(super) fn open(&self, daemon: &Arc<Daemon>) {
        let mut desks = BTreeMap::new();
        let settings = daemon.context.settings();
        for (name, group) in &settings.groups {
            if group.nodes.contains_key(&settings.node.name) {
                let opened = build::desk(daemon, &settings, group).inspect_err(|why| tracing::error!("{why}"));
                desks.insert(name.clone(), opened.map(Arc::new));
            }
        }
        // It is called once.
        let _ = self.0.set(desks);
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Desk>> {
        self.0.get().into_iter().flat_map(BTreeMap::values).flatten()
    }

    /// The group of this name, or why it cannot be used; `None` if there is none.
    pub(super) fn desk(&self, name: &GroupName) -> Option<Result<&Arc<Desk>, &str>> {
        Some(self.0.get()?.get(name)?.as_ref().map_err(String::as_str))
    }

    /// The names of all.
    pub(super) fn names(&self) -> Vec<GroupName> {
        self.0.get().into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// Lets each look after itself, on a thread of its own.
    pub(super) fn start(&self, daemon: &Arc<Daemon>) -> Result<Vec<JoinHandle<()>>, String> {
        let start = |desk: &Arc<Desk>, run: fn(&Daemon, &Arc<Desk>)| {
            let (desk, daemon) = (desk.clone(), daemon.clone());
            thread::Builder::new().name("group".to_owned()).spawn(move || run(&daemon, &desk))
        };
        let watch = |daemon: &Daemon, desk: &Arc<Desk>| {
            layers::begin(daemon, desk);
            desk.watch();
        };
        let both = self.all().flat_map(|desk| [start(desk, watch), start(desk, |_, desk| health::run(desk))]);
        both.collect::<Result<_, _>>().map_err(|error| format!("cannot start a thread: {error}"))
    }

    /// Stops what cannot go on without the daemon.
    pub(super) fn rest(&self, daemon: &Daemon) {
        self.all().for_each(|desk| layers::end(daemon, desk));
    }

    /// Ends that.
    pub(super) fn end(&self) {
        self.all().for_each(|desk| desk.end());
    }

    /// Answers a peer, if it is one of the group's nodes.
    pub(super) fn answer(&self, peer: &NodeName, group: &GroupName, ask: &str) -> GroupAnswer {
        let refused = |text: String| Told::Refused(Refused::new(FailedKind::Failed, text));
        let told = match (self.desk(group), serde_json::from_str(ask)) {
            (None, _) => return GroupAnswer::Unknown,
            (Some(Ok(desk)), _) if !desk.has_node(peer) => return GroupAnswer::Unknown,
            (Some(Err(why)), _) => refused(why.to_owned()),
            (Some(Ok(desk)), Ok(ask)) => desk.answer(ask),
            (_, Err(error)) => refused(format!("what was asked cannot be read ({error}): bring all nodes to the same release")),
        };
        serde_json::to_string(&told).map_or(GroupAnswer::Unknown, GroupAnswer::Known)
    }
}
