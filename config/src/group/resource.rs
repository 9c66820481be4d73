//! `[[groups.NAME.resources]]`: one of the things that move with a group.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use standin_common::id::{NodeName, ResourceName, SetName};

use crate::model::words;

/// A program and its arguments; never empty, and started without a shell.
pub type Command = Vec<String>;

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its name.
    pub name: ResourceName,
    /// What must be online before it is started, and is stopped after it.
    pub needs: Vec<ResourceName>,
    /// Longest time of a start, in milliseconds.
    pub start_timeout_ms: u64,
    /// Longest time of a stop, in milliseconds.
    pub stop_timeout_ms: u64,
    /// How often it is started again on the same node within the window, before its group is in trouble.
    pub restarts: u16,
    /// The window in which restarts are counted, in milliseconds.
    pub restart_window_ms: u64,
    /// Whether the group goes on without it.
    pub optional: bool,
    /// What it is.
    pub kind: Kind,
}

/// What a resource is, and the keys of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The files of a set.
    Volume(Volume),
    /// A floating address.
    Address(MovingAddress),
    /// Names in DNS.
    Dns(Dns),
    /// Services of the operating system, or commands.
    Service(Service),
    /// Shares of files.
    Share(Share),
    /// Users and roles in Active Directory.
    Directory(DirectoryMove),
    /// Commands at a start and a stop.
    Script(Script),
    /// A probe of health.
    Check(Check),
}

impl Kind {
    /// Every kind, as written in settings.
    pub const WORDS: &[&str] = &["volume", "address", "dns", "service", "share", "directory", "script", "check"];

    /// The kind, as written in settings.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Volume(_) => "volume",
            Self::Address(_) => "address",
            Self::Dns(_) => "dns",
            Self::Service(_) => "service",
            Self::Share(_) => "share",
            Self::Directory(_) => "directory",
            Self::Script(_) => "script",
            Self::Check(_) => "check",
        }
    }
}

/// `kind = "volume"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The set whose files are writable where the group is online.
    pub set: SetName,
}

/// `kind = "address"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovingAddress {
    /// The address.
    pub address: IpAddr,
    /// Bits of its network.
    pub prefix: u8,
    /// Where it is put.
    pub interface: Interfaces,
}

/// The network interface, which may have another name on each node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interfaces {
    /// The same everywhere.
    Everywhere(String),
    /// For each node of the group.
    PerNode(BTreeMap<NodeName, String>),
}

impl Interfaces {
    /// The interface on `node`.
    pub fn on(&self, node: &NodeName) -> Option<&str> {
        match self {
            Self::Everywhere(name) => Some(name),
            Self::PerNode(names) => names.get(node).map(String::as_str),
        }
    }
}

/// `kind = "dns"`: names whose addresses become those of the node that has the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// The names; never empty, each within the zone.
    pub names: Vec<String>,
    /// The zone.
    pub zone: String,
    /// The addresses of each node of the group; never empty.
    pub addresses: BTreeMap<NodeName, Vec<IpAddr>>,
    /// How long resolvers may keep an answer, in seconds.
    pub ttl_s: u32,
    /// Zones in which the addresses lead back to the first name, such as `10.in-addr.arpa`; none: no PTR records are touched.
    pub reverse_zones: Vec<String>,
    /// How the records are changed.
    pub authority: DnsAuthority,
}

/// How records in DNS are changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsAuthority {
    /// Dynamic updates (RFC 2136), signed with a shared key (TSIG, RFC 8945).
    Server {
        /// The zone's primary server: host and perhaps port; 53 where there is none.
        server: String,
        /// The file with the key: as `tsig-keygen` writes it, or only the secret in base64.
        key_file: PathBuf,
        /// The key's name; needed where the file does not tell it.
        key: Option<String>,
        /// Its algorithm, such as `hmac-sha256`; needed where the file does not tell it and it is another.
        algorithm: Option<String>,
    },
    /// The objects of a zone that is in Active Directory.
    Directory,
}

/// `kind = "service"`: services that run where the group is online.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What is started and how.
    pub control: ServiceControl,
}

/// How services are started and stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceControl {
    /// By the system's own manager: units of systemd, services of Windows.
    System {
        /// In the order in which they are started; they are stopped in reverse.
        services: Vec<String>,
        /// Those of them that the group can do without.
        optional: Vec<String>,
        /// What becomes of their start-up with the system.
        start_up: StartUp,
    },
    /// By commands.
    Commands {
        /// Starts it.
        start: Command,
        /// Stops it.
        stop: Command,
        /// Ends with 0 where it runs, 3 where it does not (as init scripts of the LSB do), anything else where it is ill.
        state: Command,
    },
}

words! {
    /// What becomes of the start-up of a group's services.
    StartUp {
        /// They are set not to start with the system: only the group starts them.
        Group = "group",
        /// It is left as it is.
        Leave = "leave",
    }
}

/// `kind = "share"`: shares that exist where the group is online. Each command is run for each share, whose name is in `STANDIN_SHARE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The shares; never empty.
    pub shares: Vec<String>,
    /// Makes one.
    pub add: Command,
    /// Removes one.
    pub remove: Command,
    /// Ends with 0 where it is there, 3 where it is not.
    pub state: Command,
}

/// `kind = "directory"`: users and roles of the home node's server, given to that of the node which has the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryMove {
    /// The name of each node's server in the directory.
    pub servers: BTreeMap<NodeName, String>,
    /// What is changed.
    pub phase: Phase,
    /// Pairing rules, as after `-r`.
    pub rules: Vec<String>,
    /// Whether recipient update services are changed.
    pub recipient_update: bool,
    /// Whether service principal names are changed.
    pub service_names: bool,
}

words! {
    /// Which part of a plan is carried out.
    Phase {
        /// What must be before the stores are started: that a restore may overwrite them.
        Setup = "setup",
        /// Everything.
        All = "all",
    }
}

/// `kind = "script"`: commands at a start, at a stop, or at both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Run where the group comes online.
    pub start: Option<Command>,
    /// Run where it goes offline.
    pub stop: Option<Command>,
}

/// `kind = "check"`: a probe that is repeated as long as the group is online.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is asked.
    pub probe: Probe,
    /// How often, in milliseconds.
    pub interval_ms: u64,
    /// How long an answer may take, in milliseconds.
    pub timeout_ms: u64,
    /// So many in a row that fail, and it counts.
    pub misses: u16,
    /// What follows.
    pub then: Then,
}

/// What a check asks. A target is a host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// That a connection is taken.
    Tcp(String),
    /// For a greeting with 220.
    Smtp(String),
    /// For a greeting with `* OK` or `* PREAUTH`.
    Imap(String),
    /// For a page: `http://host:port/path` that answers with 200 to 399.
    Http(String),
    /// For the root object of a directory.
    Ldap(String),
    /// A command that must end with 0.
    Command(Command),
}

words! {
    /// The kinds of probes.
    ProbeKind {
        /// See [`Probe::Tcp`].
        Tcp = "tcp",
        /// See [`Probe::Smtp`].
        Smtp = "smtp",
        /// See [`Probe::Imap`].
        Imap = "imap",
        /// See [`Probe::Http`].
        Http = "http",
        /// See [`Probe::Ldap`].
        Ldap = "ldap",
        /// See [`Probe::Command`].
        Command = "command",
    }
}
words! {
    /// What follows when a check failed too often.
    Then {
        /// What it needs is started again, within the limit of restarts; then the group fails.
        Restart = "restart",
        /// The group fails on this node.
        Fail = "fail",
        /// It is only told.
        Report = "report",
    }
}
