//! From settings to a group on this node.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use standin_common::id::{NodeName, ResourceName};
use standin_config::Settings;
use standin_config::group::{DirectoryMove, Dns, DnsAuthority, Group as Written, Kind};
use standin_failover::group::graph::{GraphError, Group, Member, Part};
use standin_failover::group::perform::Local;
use standin_failover::resource::{self, Resource};

use super::desk::{Desk, Parts};
use super::directory::{DirectoryResource, Mark, Office};
use super::drill::Drills;
use super::pause::Pause;
use super::zone::Zone;
use crate::daemon::Daemon;
use crate::daemon::peer::Context;
use crate::daemon::volumes::DaemonVolumes;

/// A group of the settings as cutovers see it.
///
/// # Errors
/// [`GraphError`].
fn graph(written: &Written) -> Result<Group, GraphError> {
    let nodes = written.nodes.iter().map(|(node, priority)| Member { node: node.clone(), priority: *priority }).collect();
    let part = |resource: &standin_config::group::Resource| Part {
        name: resource.name.clone(),
        set: match &resource.kind {
            Kind::Volume(volume) => Some(volume.set.clone()),
            _ => None,
        },
        needs: resource.needs.clone(),
        start_limit_ms: resource.start_timeout_ms,
        stop_limit_ms: resource.stop_timeout_ms,
        optional: resource.optional,
    };
    let group = Group::new(written.name.clone(), nodes, written.resources.iter().map(part).collect())?;
    Ok(group.with_fence(written.fence.is_some()))
}

/// A group on this node, with what it kept.
pub(super) fn desk(daemon: &Arc<Daemon>, settings: &Settings, written: &Written) -> Result<Desk, String> {
    let name = &written.name;
    let of_group = |error: &dyn std::fmt::Display| format!("group {name}: {error}");
    let group = graph(written).map_err(|error| of_group(&error))?;
    let node = &settings.node.name;
    let directory = settings.node.state_dir.join("groups").join(name.as_str());
    let office = office(daemon, written, node);
    let within = Within { context: &daemon.context, office: office.as_ref() };
    let resources = resources(written, node, Some(&within), &directory).map_err(|error| of_group(&error))?;
    let runs = directory.join("runs");
    let drills = Arc::new(Drills {
        daemon: daemon.clone(),
        group: name.clone(),
        node: node.clone(),
        command: written.drill.clone(),
        directory: directory.join("drills"),
        running: Mutex::default(),
    });
    let volumes = Arc::new(DaemonVolumes(daemon.clone()));
    let witness = super::witness::open(&daemon.context, written).map_err(|error| of_group(&error))?;
    let pause = Pause::open(&directory).map_err(|error| of_group(&error))?;
    let local = Local::open(node.clone(), group, resources, volumes, directory).map_err(|error| of_group(&error))?;
    let local = local.with_witness(witness).with_fence(written.fence.clone());
    let parts = Parts { context: daemon.context.clone(), local, runs, office, drills, pause };
    Desk::new(written.clone(), parts).map_err(|error| of_group(&error))
}

/// Where records of the directory are had from other nodes, if the group moves something there.
fn office(daemon: &Arc<Daemon>, written: &Written, node: &NodeName) -> Option<Arc<Office>> {
    let moves = written.resources.iter().filter_map(|resource| match &resource.kind {
        Kind::Directory(moves) => Some(moves),
        _ => None,
    });
    let servers: BTreeSet<String> = moves.flat_map(|moves| moves.servers.values().cloned()).collect();
    let others = written.nodes.keys().filter(|other| *other != node).cloned().collect();
    let (context, group, node) = (daemon.context.clone(), written.name.clone(), node.clone());
    let servers: Vec<String> = servers.into_iter().collect();
    (!servers.is_empty()).then(|| Arc::new(Office { context, group, node, others, servers }))
}

/// The daemon that resources are in.
pub(crate) struct Within<'a> {
    context: &'a Arc<Context>,
    office: Option<&'a Arc<Office>>,
}

/// What of a group is brought online on this node. Outside a daemon, what is changed in the directory is left out: to stop there changes
/// nothing.
pub(crate) fn resources(
    written: &Written,
    node: &NodeName,
    within: Option<&Within<'_>>,
    directory: &Path,
) -> Result<BTreeMap<ResourceName, Arc<dyn Resource>>, String> {
    let mut built: BTreeMap<ResourceName, Arc<dyn Resource>> = BTreeMap::new();
    for resource in &written.resources {
        let name = &resource.name;
        let is_in_directory = |names: &Dns| names.authority == DnsAuthority::Directory;
        let one: Arc<dyn Resource> = match (&resource.kind, within) {
            (Kind::Volume(_), _) | (Kind::Directory(_), None) => continue,
            (Kind::Dns(names), None) if is_in_directory(names) => continue,
            (Kind::Dns(names), Some(within)) if is_in_directory(names) => {
                let zone = Arc::new(Zone::new(within.context.clone()));
                let built = resource::build_in_directory(resource, node, zone);
                built.map_err(|error| format!("resource {name}: {error}"))?.into()
            }
            (Kind::Directory(moves), Some(Within { office: Some(office), .. })) => Arc::new(
                directory_resource(written, name, moves, office, directory).map_err(|why| format!("resource {name}: {why}"))?,
            ),
            _ => resource::build(resource, &written.name, node).map_err(|error| format!("resource {name}: {error}"))?.into(),
        };
        built.insert(name.clone(), one);
    }
    Ok(built)
}

fn directory_resource(
    written: &Written,
    name: &ResourceName,
    moves: &DirectoryMove,
    office: &Arc<Office>,
    directory: &Path,
) -> Result<DirectoryResource, String> {
    let rules = moves.rules.iter().map(|rule| rule.parse().map_err(|error| format!("rules: {rule:?}: {error}")));
    Ok(DirectoryResource {
        name: name.clone(),
        context: office.context.clone(),
        office: office.clone(),
        home: written.home().ok_or("the group has no nodes")?.clone(),
        settings: moves.clone(),
        rules: rules.collect::<Result<_, _>>()?,
        mark: Mark(directory.join(format!("{name}.online.json"))),
    })
}
