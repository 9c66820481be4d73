//! `[groups.NAME]`: its nodes, when it moves, who decides, who is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::str::FromStr;

use standin_common::id::{GroupName, NodeName, SetName};

use super::Resolver;
use super::sense::port_fault;
use crate::address::Address;
use crate::group::{
    Alert, AlertMail, AtShutdown, Command, DirectoryWitness, EtcdWitness, Failover, Group, Kind, Resource, Witness, WitnessKind,
};
use crate::model::{Set, WordError};
use crate::problem::{nearest, quote};
use crate::raw::groups::{GROUP, RawAlert, RawGroup, RawWitness, Texts, WITNESS};
use crate::raw::resources::RawResource;
use crate::read::{Placed, Shape};
use crate::units::{parse_span, print_span};

/// Priorities of nodes, as LifeKeeper has them.
const PRIORITIES: std::ops::RangeInclusive<i64> = 1..=999;
const DEFAULT_HEARTBEAT_MS: u64 = 1000;
const HEARTBEATS_MS: std::ops::RangeInclusive<u64> = 100..=60_000;
const DEFAULT_MISSES: u16 = 10;
const LOSSES_MS: std::ops::RangeInclusive<u64> = 1000..=7 * 24 * 3_600_000;
const DEFAULT_LEASE_MS: u64 = 10_000;
const LEASES_MS: std::ops::RangeInclusive<u64> = 2000..=600_000;

/// What else is in the file that groups speak of.
pub(super) struct Around<'s> {
    pub(super) sets: &'s BTreeMap<SetName, Set>,
    /// Names of all sets that are written, even of those with faults.
    pub(super) set_names: BTreeSet<String>,
    /// Whether there is a table `[directory]`.
    pub(super) has_directory: bool,
    /// Whose own an address is.
    pub(super) hosts: BTreeMap<IpAddr, NodeName>,
}

/// By what only one resource may have: where it was met first.
#[derive(Default)]
struct Owners {
    sets: BTreeMap<SetName, String>,
    addresses: BTreeMap<IpAddr, String>,
}

/// Where a resource is written.
fn place_of<'r>(raw: &'r RawGroup, resource: &Resource) -> Option<&'r Placed<()>> {
    let mut written = raw.resources.iter().flat_map(|list| &list.value);
    let named = |raw: &&RawResource| raw.name.as_ref().is_some_and(|name| name.value == resource.name.as_str());
    written.find(named).map(|raw| &raw.place)
}

impl Resolver<'_> {
    pub(super) fn groups(&self, raw: &[RawGroup], around: &Around<'_>) -> BTreeMap<GroupName, Group> {
        let mut owners = Owners::default();
        let groups = raw.iter().filter_map(|group| self.group(group, around, &mut owners));
        groups.map(|group| (group.name.clone(), group)).collect()
    }

    /// `owners` tells in which group a set or an address was met first.
    fn group(&self, raw: &RawGroup, around: &Around<'_>, owners: &mut Owners) -> Option<Group> {
        let name = self.name::<GroupName>(&raw.name);
        let nodes = self.priorities(raw);
        let failover = self.word_of(&GROUP, raw.failover.as_ref(), "failover", Failover::WORDS, Failover::Manual);
        self.check_witness(raw, failover);
        let heartbeat = raw.heartbeat.as_ref();
        let heartbeat = heartbeat.and_then(|written| self.duration(written, &GROUP, "heartbeat", HEARTBEATS_MS));
        let heartbeat_ms = heartbeat.unwrap_or(DEFAULT_HEARTBEAT_MS);
        let accept_loss = raw.accept_loss.as_ref();
        let accept_loss_ms = accept_loss.and_then(|written| self.duration(written, &GROUP, "accept_loss", LOSSES_MS));
        let witness = raw.witness.as_ref().and_then(|witness| self.witness(witness, around));
        self.check_spans(raw, failover, (heartbeat_ms, accept_loss_ms), witness.as_ref());
        let at_shutdown = raw.at_shutdown.as_ref();
        let resources = self.resources(raw, &nodes, around);
        self.check_addresses(raw, &resources, &mut owners.addresses);
        self.check_sets(raw, &nodes, &resources, around, &mut owners.sets);
        Some(Group {
            name: name?,
            nodes,
            failover,
            heartbeat_ms,
            misses: self.whole(raw.misses.as_ref(), "misses", 2..=1000, DEFAULT_MISSES),
            accept_loss_ms,
            at_shutdown: self.word_of(&GROUP, at_shutdown, "at_shutdown", AtShutdown::WORDS, AtShutdown::Stay),
            beside_others: raw.beside_others,
            witness,
            alert: raw.alert.as_ref().map(|alert| self.alert(alert)).unwrap_or_default(),
            fence: raw.fence.as_ref().and_then(|written| self.command(written, GROUP.example("fence"))),
            drill: raw.drill.as_ref().and_then(|written| self.command(written, GROUP.example("drill"))),
            resources,
        })
    }

    fn priorities(&self, raw: &RawGroup) -> BTreeMap<NodeName, u16> {
        let mut nodes = BTreeMap::new();
        let Some(list) = &raw.nodes else { return nodes };
        let mut taken: BTreeMap<i64, NodeName> = BTreeMap::new();
        for written in &list.value {
            let (written, priority) = written;
            let Some(node) = self.name::<NodeName>(written) else { continue };
            self.check_known(&node, written);
            match u16::try_from(*priority).ok().filter(|_| PRIORITIES.contains(priority)) {
                Some(fits) => drop(nodes.insert(node.clone(), fits)),
                None => {
                    let (wrong, nearest) = (format!("{priority} is not from 1 to 999"), (*priority).clamp(1, 999));
                    self.problems.add(written.at, &written.key, wrong, format!("write {node} = {nearest}"));
                    nodes.insert(node.clone(), 1);
                }
            }
            if let Some(other) = taken.get(priority) {
                let wrong = format!("{other} has priority {priority}, too, so nobody knows which of the two is first");
                self.problems.add(written.at, &written.key, wrong, "give each node a number of its own; the lowest is first");
            }
            taken.insert(*priority, node);
        }
        if list.value.len() < 2 {
            let wrong = "there are fewer than two nodes, so the group could not move";
            self.problems.add(list.at, &list.key, wrong, format!("write {}", GROUP.example("nodes")));
        }
        nodes
    }

    /// A node that somebody named is this one or a peer.
    fn check_known(&self, node: &NodeName, written: &Placed<String>) {
        let (Some(here), Some(peers)) = (&self.here, &self.peers) else { return };
        if node == here || peers.contains(node) {
            return;
        }
        let instead = match nearest(node.as_str(), peers.iter().chain([here]).map(NodeName::as_str)) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("add [peers.{node}] with addresses"),
        };
        let wrong = format!("{node} is neither this node, {here}, nor a peer in this file");
        self.problems.add(written.at, &written.key, wrong, instead);
    }

    fn check_witness(&self, raw: &RawGroup, failover: Failover) {
        let Some(written) = &raw.failover else { return };
        if failover == Failover::Automatic && raw.witness.is_none() {
            let wrong = "without a witness, two nodes that do not see each other would both take the group";
            let instead = format!("add [{}.witness], or write failover = \"manual\"", raw.name.key);
            self.problems.add(written.at, &written.key, wrong, instead);
        }
    }

    /// Clients know one address; a second one is there by intention or by mistake. None is at two places.
    fn check_addresses(&self, raw: &RawGroup, resources: &[Resource], owners: &mut BTreeMap<IpAddr, String>) {
        for resource in resources {
            let (Kind::Address(moving), Some(place)) = (&resource.kind, place_of(raw, resource)) else { continue };
            let owner = owners.entry(moving.address).or_insert_with(|| place.key.clone());
            if *owner != place.key {
                let wrong = format!("address {} is {owner}, too", moving.address);
                let key = format!("{}.address", place.key);
                self.problems.add(place.at, &key, wrong, "an address moves with one group, once; keep one of the two");
            }
        }
        let found = resources.iter().filter(|resource| matches!(resource.kind, Kind::Address(_))).count();
        let wanted = self.whole(raw.addresses.as_ref(), "addresses", 0..=64, 1_usize);
        let Some(list) = raw.resources.as_ref().filter(|_| found != wanted) else { return };
        // One that has a fault is reported already.
        if list.value.len() != resources.len() {
            return;
        }
        let are = if found == 1 { "is 1 resource" } else { &format!("are {found} resources") };
        match &raw.addresses {
            Some(written) => {
                let wrong = format!("there {are} of kind address");
                self.problems.add(written.at, &written.key, wrong, format!("write addresses = {found}, or change them"));
            }
            None => {
                let wrong = format!("there {are} of kind address, and a group has one unless it is told otherwise");
                self.problems.add(list.at, &list.key, wrong, format!("write addresses = {found}, or change them"));
            }
        }
    }

    /// The sets of a group's volumes are there, run between nodes of the group, and are in no other group.
    fn check_sets(
        &self,
        raw: &RawGroup,
        nodes: &BTreeMap<NodeName, u16>,
        resources: &[Resource],
        around: &Around<'_>,
        owners: &mut BTreeMap<SetName, String>,
    ) {
        for resource in resources {
            let Kind::Volume(volume) = &resource.kind else { continue };
            let Some(place) = place_of(raw, resource) else { continue };
            let key = format!("{}.set", place.key);
            let Some(set) = around.sets.get(&volume.set) else {
                if !around.set_names.contains(volume.set.as_str()) {
                    let meant = nearest(volume.set.as_str(), around.set_names.iter().map(String::as_str));
                    let instead = meant.map_or(format!("add [sets.{}]", volume.set), |meant| format!("did you mean {meant:?}?"));
                    self.problems.add(place.at, &key, format!("there is no set {:?}", volume.set.as_str()), instead);
                }
                continue;
            };
            // Fewer than two nodes are a problem already.
            let away = [&set.source, &set.standby].into_iter().find(|end| !nodes.contains_key(*end) && nodes.len() > 1);
            if let Some(end) = away {
                let wrong = format!("set {} is on {end}, too, which is no node of this group", set.name);
                self.problems.add(place.at, &key, wrong, format!("add {end} to nodes, or name another set"));
            }
            let own = place.key.clone();
            let owner = owners.entry(volume.set.clone()).or_insert_with(|| own.clone());
            if *owner != own {
                let wrong = format!("set {} is {owner}, too", volume.set);
                self.problems.add(place.at, &key, wrong, "a set moves with one group, once; keep one of the two");
            }
        }
    }

    fn witness(&self, raw: &RawWitness, around: &Around<'_>) -> Option<Witness> {
        let kind = raw.kind.as_ref()?;
        let WitnessKind::Directory = self.word_of(&WITNESS, Some(kind), "kind", WitnessKind::WORDS, WitnessKind::Etcd) else {
            let known = WitnessKind::WORDS.contains(&kind.value.as_str());
            return if known { self.etcd(raw).map(Witness::Etcd) } else { None };
        };
        self.foreign(raw, "directory", &["endpoints", "prefix", "lease", "ca", "certificate", "key", "user", "password_file"]);
        if !around.has_directory {
            let wrong = "a witness in the directory is reached as [directory] says, and there is none";
            self.problems.add(kind.at, &kind.key, wrong, "add [directory] with controllers and account");
        }
        let controller = self.needed(raw, raw.controller.as_ref(), "controller");
        let beneath = self.needed(raw, raw.beneath.as_ref(), "beneath");
        Some(Witness::Directory(DirectoryWitness { controller: controller?, beneath: beneath? }))
    }

    fn etcd(&self, raw: &RawWitness) -> Option<EtcdWitness> {
        self.foreign(raw, "etcd", &["controller", "beneath"]);
        let path = |written: &Option<Placed<String>>| {
            written.as_ref().and_then(|written| self.place(written, true)).map(|place| place.to_path())
        };
        let endpoints: Vec<String> = raw.endpoints.iter().flat_map(|list| &list.value).map(|one| one.value.clone()).collect();
        for written in raw.endpoints.iter().flat_map(|list| &list.value) {
            if !["http://", "https://"]
                .iter()
                .any(|scheme| written.value.len() > scheme.len() && written.value.starts_with(scheme))
            {
                let wrong = format!("{} does not begin with https:// or http://", quote(&written.value));
                self.problems.add(written.at, &written.key, wrong, format!("write {}", WITNESS.example("endpoints")));
            } else if written.value.split_once("://").is_some_and(|(_, rest)| !is_host_and_port(rest)) {
                // Not quoted: it may have a password in it.
                let wrong = "it is more than a host and a port";
                self.problems.add(written.at, &written.key, wrong, format!("write {}", WITNESS.example("endpoints")));
            } else if let Some(wrong) =
                written.value.split_once("://").and_then(|(_, rest)| port_fault(rest.trim_end_matches('/')))
            {
                self.problems.add(written.at, &written.key, wrong, format!("write {}", WITNESS.example("endpoints")));
            } else if let Some(user) = raw.user.as_ref().filter(|_| written.value.starts_with("http://")) {
                let wrong = format!("the password would be sent in the clear to {}", quote(&written.value));
                self.problems.add(user.at, &user.key, wrong, "write that endpoint with https://, or remove user");
            }
        }
        let present = raw.endpoints.as_ref().map_or(raw.place.clone(), |list| list.with(()));
        if endpoints.is_empty() {
            let key = format!("{}.endpoints", raw.place.key);
            let wrong = "a witness in etcd is asked at its endpoints, and there is none";
            self.problems.add(present.at, &key, wrong, format!("add {}", WITNESS.example("endpoints")));
        }
        if raw.certificate.is_some() != raw.key.is_some() {
            let wrong = "certificate and key only come together";
            self.problems.add(raw.place.at, &raw.place.key, wrong, "write both, or none of them");
        }
        if raw.user.is_some() != raw.password_file.is_some() {
            let wrong = "user and password_file only come together";
            self.problems.add(raw.place.at, &raw.place.key, wrong, "write both, or none of them");
        }
        let lease = raw.lease.as_ref().and_then(|written| self.duration(written, &WITNESS, "lease", LEASES_MS));
        Some(EtcdWitness {
            endpoints,
            prefix: raw.prefix.as_ref().map_or("/standin".to_owned(), |prefix| prefix.value.clone()),
            lease_ms: lease.unwrap_or(DEFAULT_LEASE_MS),
            ca: path(&raw.ca),
            certificate: path(&raw.certificate),
            key: path(&raw.key),
            user: raw.user.as_ref().map(|user| user.value.clone()),
            password_file: path(&raw.password_file),
        })
    }

    fn needed(&self, raw: &RawWitness, written: Option<&Placed<String>>, key: &str) -> Option<String> {
        match written {
            Some(written) if !written.value.trim().is_empty() => Some(written.value.clone()),
            _ => {
                let (at, own) =
                    written.map_or((raw.place.at, format!("{}.{key}", raw.place.key)), |one| (one.at, one.key.clone()));
                self.problems.add(at, &own, "it is missing", format!("add {}", WITNESS.example(key)));
                None
            }
        }
    }

    /// Keys that belong to the other kind of witness.
    fn foreign(&self, raw: &RawWitness, kind: &str, keys: &[&str]) {
        let texts = [
            ("controller", &raw.controller),
            ("beneath", &raw.beneath),
            ("prefix", &raw.prefix),
            ("lease", &raw.lease),
            ("ca", &raw.ca),
            ("certificate", &raw.certificate),
            ("key", &raw.key),
            ("user", &raw.user),
            ("password_file", &raw.password_file),
        ];
        let texts = texts.into_iter().filter_map(|(key, written)| written.as_ref().map(|one| (key, one.with(()))));
        let lists = raw.endpoints.iter().map(|list| ("endpoints", list.with(())));
        for (key, place) in texts.chain(lists).filter(|(key, _)| keys.contains(key)) {
            let wrong = format!("a witness of kind {kind} has no {key}");
            self.problems.add(place.at, &place.key, wrong, "remove it");
        }
    }

    fn alert(&self, raw: &RawAlert) -> Alert {
        let command = raw.command.as_ref().and_then(|written| self.command(written, "command = [\"/usr/local/sbin/page-me\"]"));
        let parts = [raw.mail_server.is_some(), raw.mail_from.is_some(), raw.mail_to.is_some()];
        if parts.contains(&true) && parts.contains(&false) {
            let wrong = "a mail needs mail_server, mail_from and mail_to";
            self.problems.add(raw.place.at, &raw.place.key, wrong, "write all three, or none of them");
        }
        let mail = raw.mail_server.as_ref().zip(raw.mail_from.as_ref()).zip(raw.mail_to.as_ref());
        let mail = mail.and_then(|((server, from), to)| {
            let addresses = to.value.iter().chain([from]);
            let odd = addresses.filter(|one| !one.value.contains('@') || one.value.contains(char::is_whitespace));
            odd.for_each(|one| {
                let wrong = format!("{} is no address of mail", quote(&one.value));
                self.problems.add(one.at, &one.key, wrong, "write it as \"operators@example.org\"");
            });
            let server = self.target(server, 25)?;
            Some(AlertMail { server, from: from.value.clone(), to: to.value.iter().map(|to| to.value.clone()).collect() })
        });
        Alert { command, mail }
    }

    /// A host and a port, the usual one where none is written.
    pub(super) fn target(&self, written: &Placed<String>, usual_port: u16) -> Option<String> {
        let text = &written.value;
        let port = text.rsplit_once(':').filter(|(host, _)| host.ends_with(']') || !host.contains(':'));
        let with_port = match (port, text.parse::<std::net::Ipv6Addr>()) {
            (_, Ok(address)) => format!("[{address}]:{usual_port}"),
            (Some(_), _) => text.clone(),
            (None, _) => format!("{text}:{usual_port}"),
        };
        let with_port = with_port.parse::<Address>().ok().filter(|address| address.port() != 0);
        if with_port.is_none() {
            let wrong = port_fault(text).unwrap_or_else(|| format!("{} is no host and port", quote(text)));
            let instead = format!("write it as \"10.0.0.2:{usual_port}\" or \"mail2.example.org:{usual_port}\"");
            self.problems.add(written.at, &written.key, wrong, instead);
        }
        with_port.map(|address| address.to_string())
    }

    /// A program and its arguments.
    pub(super) fn command(&self, written: &Texts, example: &str) -> Option<Command> {
        let words: Command = written.value.iter().map(|word| word.value.clone()).collect();
        let wrong = match words.first() {
            None => "the list is empty".to_owned(),
            Some(program) if program.trim().is_empty() => "the program has no name".to_owned(),
            Some(program) if program.contains(' ') && words.len() == 1 && !program.contains(['/', '\\']) => {
                format!("{} is a line for a shell, and none is used", quote(program))
            }
            Some(_) if words.iter().any(|word| word.contains('\0')) => "a word holds a NUL".to_owned(),
            Some(_) => return Some(words),
        };
        self.problems.add(written.at, &written.key, wrong, format!("write the program and each argument by itself: {example}"));
        None
    }

    /// A span of time within `range`, in milliseconds; what is not is reported.
    pub(super) fn duration(
        &self,
        written: &Placed<String>,
        shape: &Shape,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        let (least, most) = (print_span(*range.start()), print_span(*range.end()));
        let (wrong, instead) = match parse_span(&written.value) {
            Ok(ms) if range.contains(&ms) => return Some(ms),
            Ok(ms) if ms < *range.start() => {
                (format!("{} is less than {least}", quote(&written.value)), format!("{key} = \"{least}\" or more"))
            }
            Ok(_) => (format!("{} is more than {most}", quote(&written.value)), format!("{key} = \"{most}\" or less")),
            Err(error) => {
                let meant: Vec<_> = error.instead().iter().map(|meant| format!("{key} = {meant:?}")).collect();
                (error.wrong(), if meant.is_empty() { shape.example(key).to_owned() } else { meant.join(" or ") })
            }
        };
        self.problems.add(written.at, &written.key, wrong, format!("write {instead}"));
        None
    }

    /// One of a list of words; `usual` where nothing is written.
    pub(super) fn word_of<T: FromStr<Err = WordError>>(
        &self,
        shape: &Shape,
        written: Option<&Placed<String>>,
        key: &str,
        words: &[&'static str],
        usual: T,
    ) -> T {
        let Some(written) = written else { return usual };
        written.value.parse().unwrap_or_else(|error: WordError| {
            let meant = nearest(&written.value, words.iter().copied());
            let instead = meant.map_or(format!("write {}", shape.example(key)), |meant| format!("write {key} = {meant:?}"));
            self.problems.add(written.at, &written.key, error.to_string(), instead);
            usual
        })
    }
}

/// Whether an endpoint is `HOST:PORT` after its scheme: no account, which would be shown in messages, and no path.
fn is_host_and_port(rest: &str) -> bool {
    let rest = rest.trim_end_matches('/');
    let fits = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | ':' | '[' | ']');
    !rest.is_empty() && rest.chars().all(fits)
}
