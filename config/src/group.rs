//! `[groups.NAME]`: what moves together from node to node, and when.

mod change;
mod resource;
mod shared;
mod template;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use standin_common::id::{GroupName, NodeName, ResourceName};

use crate::model::words;
use crate::units::print_span;

pub use resource::{
    Check, Command, DirectoryMove, Dns, DnsAuthority, Interfaces, Kind, MovingAddress, Phase, Probe, ProbeKind, Resource, Script,
    Service, ServiceControl, Share, StartUp, Then, Volume,
};
pub use template::{Template, template};

/// Each renewal in the directory is a change that is replicated to all its controllers.
const DIRECTORY_LEASE_MS: u64 = 60_000;

/// A group: resources that are online together on one of its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name, the same on all its nodes.
    pub name: GroupName,
    /// Its nodes and the priority of each, from 1 (its home) to 999; at least two, no two alike.
    pub nodes: BTreeMap<NodeName, u16>,
    /// What follows when the node that has it is not heard any more.
    pub failover: Failover,
    /// How often each node tells the others that it is there, in milliseconds.
    pub heartbeat_ms: u64,
    /// After so many heartbeats that did not come on any path, a node counts as lost.
    pub misses: u16,
    /// How much an automatic failover may lose, in milliseconds of changes; none: whatever it is.
    pub accept_loss_ms: Option<u64>,
    /// What becomes of the group when the node that has it is shut down.
    pub at_shutdown: AtShutdown,
    /// Whether a standby takes it although another group is online there (N+1 otherwise: one at a time).
    pub beside_others: bool,
    /// Who decides when the nodes do not see each other.
    pub witness: Option<Witness>,
    /// Who is told when a person has to decide.
    pub alert: Alert,
    /// Run on the node that takes over, before anything is promoted, to keep the lost one from going on.
    pub fence: Option<Command>,
    /// Run on a clone of the replica by `standin drill`.
    pub drill: Option<Command>,
    /// What moves; in the order of the file, each after nothing but what it needs.
    pub resources: Vec<Resource>,
}

words! {
    /// What follows when the node that has a group is lost.
    Failover {
        /// Somebody is told, and says `standin failover`.
        Manual = "manual",
        /// The next node takes it, if the witness lets it.
        Automatic = "automatic",
    }
}
words! {
    /// What becomes of a group when the node that has it is shut down.
    AtShutdown {
        /// It stays, and is online again when the node is back.
        Stay = "stay",
        /// It is handed to the next node.
        Handoff = "handoff",
    }
}
words! {
    /// The kinds of witnesses.
    WitnessKind {
        /// An object in Active Directory, at one named domain controller.
        Directory = "directory",
        /// A cluster of etcd.
        Etcd = "etcd",
    }
}

/// `[groups.NAME.witness]`: the third party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Witness {
    /// A serviceConnectionPoint, compared and swapped.
    Directory(DirectoryWitness),
    /// A key in etcd, with a lease.
    Etcd(EtcdWitness),
}

impl Witness {
    /// How long a renewal counts, in milliseconds.
    pub fn lease_ms(&self) -> u64 {
        match self {
            Self::Etcd(etcd) => etcd.lease_ms,
            Self::Directory(_) => DIRECTORY_LEASE_MS,
        }
    }
}

/// The directory as a witness. Account and certificates are those of `[directory]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryWitness {
    /// The one domain controller that is asked: a compare-and-swap holds at one controller only.
    pub controller: String,
    /// The object beneath which the group's serviceConnectionPoint is: a distinguished name.
    pub beneath: String,
}

/// etcd as a witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdWitness {
    /// `https://…` or `http://…`, in the order to be tried; never empty.
    pub endpoints: Vec<String>,
    /// What its keys begin with.
    pub prefix: String,
    /// How long a node that went silent still counts, in milliseconds.
    pub lease_ms: u64,
    /// PEM file of the authorities that sign the cluster's certificates; absolute.
    pub ca: Option<PathBuf>,
    /// PEM file of this node's certificate; absolute. Comes with `key`.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key; absolute.
    pub key: Option<PathBuf>,
    /// User of etcd.
    pub user: Option<String>,
    /// The file with the user's password in its first line; absolute.
    pub password_file: Option<PathBuf>,
}

/// `[groups.NAME.alert]`: who is told when a person has to decide. The log and the status always are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Run with the alert's text in `STANDIN_ALERT`.
    pub command: Option<Command>,
    /// Where it is mailed to.
    pub mail: Option<AlertMail>,
}

/// How an alert is mailed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertMail {
    /// Host and port of a mail server that takes it, better not the one that this group is.
    pub server: String,
    /// Its sender.
    pub from: String,
    /// Who gets it; never empty.
    pub to: Vec<String>,
}

impl Group {
    /// The node with the lowest priority number: where the group is at home.
    pub fn home(&self) -> Option<&NodeName> {
        self.nodes.iter().min_by_key(|(_, priority)| **priority).map(|(node, _)| node)
    }

    /// Its nodes, the first to take it first.
    pub fn by_priority(&self) -> Vec<&NodeName> {
        let mut nodes: Vec<_> = self.nodes.iter().collect();
        nodes.sort_by_key(|(_, priority)| **priority);
        nodes.into_iter().map(|(node, _)| node).collect()
    }

    /// How long a node must have been silent to count as lost, in milliseconds: the time to fail, when nothing was missed yet.
    pub fn time_to_fail_ms(&self) -> u64 {
        self.heartbeat_ms.saturating_mul(u64::from(self.misses))
    }

    /// Where a group that goes by itself would be off for long: who is cut off stops by the lease, and others begin by the time to fail.
    pub(crate) fn note_idle(&self) -> Option<String> {
        let lease_ms = self.witness.as_ref().filter(|_| self.failover == Failover::Automatic)?.lease_ms();
        // By when whoever is cut off has stopped, and others may begin: ARCHITECTURE.md, "Monitor".
        let (stopped_ms, patience_ms) = (lease_ms.saturating_mul(3) / 2, lease_ms.saturating_mul(33) / 20);
        let fails_ms = self.time_to_fail_ms();
        (fails_ms > patience_ms.saturating_mul(2)).then(|| {
            format!(
                "groups.{}: a node that is cut off stops within {}, and nobody takes over before {} (heartbeat times misses), so nobody serves \
                 meanwhile; did you mean fewer misses, or a lease of {}?",
                self.name,
                print_span(stopped_ms),
                print_span(fails_ms),
                print_span(fails_ms.saturating_mul(2) / 3)
            )
        })
    }

    /// The resource of that name.
    pub fn resource(&self, name: &ResourceName) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.name == *name)
    }
}
