//! From settings to resources of this node.

use std::sync::Arc;

use standin_common::id::{GroupName, NodeName};
use standin_config::group::{DnsAuthority, Kind, Resource as Settings};

use super::check::CheckResource;
use super::script::ScriptResource;
use super::share::ShareResource;
use super::{Resource, address, dns, service};
use crate::directory::Directory;

/// Why a resource cannot be built from its settings alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Sets, and the directory, are the program's.
    #[error("a resource of kind {0} is built by the program")]
    Others(&'static str),
    /// The settings have been checked, so this is another node's group.
    #[error("resource {resource} says nothing for node {node}")]
    NotHere {
        /// The resource.
        resource: String,
        /// The node.
        node: NodeName,
    },
}

/// The resource that these settings of `group` mean on `node`.
///
/// # Errors
/// For kinds that need more than their settings (`volume`, `directory`, and `dns` in the directory), and for a node that is not the
/// group's.
pub fn build(settings: &Settings, group: &GroupName, node: &NodeName) -> Result<Box<dyn Resource>, BuildError> {
    let name = settings.name.clone();
    let not_here = || BuildError::NotHere { resource: settings.name.to_string(), node: node.clone() };
    Ok(match &settings.kind {
        Kind::Volume(_) | Kind::Directory(_) => return Err(BuildError::Others(settings.kind.as_str())),
        Kind::Dns(names) if names.authority == DnsAuthority::Directory => return Err(BuildError::Others("dns in the directory")),
        Kind::Dns(names) => dns::build(names, node).ok_or_else(not_here)?,
        Kind::Address(moving) => {
            let interface = moving.interface.on(node).ok_or_else(not_here)?;
            address::build(moving.address, moving.prefix, interface)
        }
        Kind::Service(service) => service::build(name, service.clone(), group, node),
        Kind::Share(share) => Box::new(ShareResource::new(name, share.clone())),
        Kind::Script(script) => Box::new(ScriptResource::new(name, script.clone())),
        Kind::Check(check) => Box::new(CheckResource::new(name, check.clone())),
    })
}

/// The resource that settings of kind `dns` mean on `node`, whose zone is in `directory`.
///
/// # Errors
/// For other kinds, and for a node that is not the group's.
pub fn build_in_directory(
    settings: &Settings,
    node: &NodeName,
    directory: Arc<dyn Directory>,
) -> Result<Box<dyn Resource>, BuildError> {
    let Kind::Dns(names) = &settings.kind else { return Err(BuildError::Others(settings.kind.as_str())) };
    let not_here = || BuildError::NotHere { resource: settings.name.to_string(), node: node.clone() };
    dns::build_in_directory(names, node, directory).ok_or_else(not_here)
}
