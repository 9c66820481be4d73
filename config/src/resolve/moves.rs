//! The larger kinds of resources: names in DNS, services, the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use standin_common::id::NodeName;

use super::Resolver;
use super::groups::Around;
use crate::group::{DirectoryMove, Dns, DnsAuthority, Phase, Service, ServiceControl, StartUp};
use crate::problem::{nearest, quote};
use crate::raw::groups::{Named, Texts};
use crate::raw::resources::{DIRECTORY, DNS, PerNode, RawDirectoryMove, RawDns, RawService, SERVICE};
use crate::read::Placed;

const DEFAULT_TTL_MS: u64 = 60_000;
/// RFC 2181, section 8, would allow 68 years; more than a week defeats the purpose.
const TTLS_MS: std::ops::RangeInclusive<u64> = 1000..=7 * 24 * 3_600_000;
/// Longest name in DNS, written with dots (RFC 1035, section 2.3.4).
const MAX_DNS_NAME_LEN: usize = 253;
const MAX_DNS_LABEL_LEN: usize = 63;
/// Algorithms of TSIG that are still used (RFC 8945, section 6).
const ALGORITHMS: [&str; 3] = ["hmac-sha256", "hmac-sha384", "hmac-sha512"];

impl Resolver<'_> {
    pub(super) fn dns(
        &self,
        raw: &RawDns,
        place: &Placed<()>,
        nodes: &BTreeMap<NodeName, u16>,
        around: &Around<'_>,
    ) -> Option<Dns> {
        let zone = raw.zone.as_ref().and_then(|written| self.dns_name(written));
        let names = raw.names.as_ref().and_then(|list| self.dns_names(list, zone.as_deref()));
        let addresses = raw.addresses.as_ref().and_then(|written| self.node_addresses(written, nodes));
        let ttl = raw.ttl.as_ref().and_then(|written| self.duration(written, &DNS, "ttl", TTLS_MS));
        let reverse = raw.reverse_zones.iter().flat_map(|list| &list.value);
        let reverse_zones: Vec<String> = reverse.filter_map(|written| self.reverse_zone(written)).collect();
        let authority = self.dns_authority(raw, place, around);
        Some(Dns {
            names: names?,
            zone: zone?,
            addresses: addresses?,
            ttl_s: u32::try_from(ttl.unwrap_or(DEFAULT_TTL_MS) / 1000).unwrap_or(u32::MAX),
            reverse_zones,
            authority: authority?,
        })
    }

    fn dns_authority(&self, raw: &RawDns, place: &Placed<()>, around: &Around<'_>) -> Option<DnsAuthority> {
        let in_directory = raw.directory.as_ref().filter(|directory| directory.value);
        let texts = [&raw.server, &raw.key_file, &raw.key, &raw.algorithm];
        if let Some(directory) = in_directory {
            if let Some(other) = texts.into_iter().flatten().next() {
                let wrong = "records of a zone in the directory are changed there, not by an update";
                self.problems.add(other.at, &other.key, wrong, "remove it, or directory = true");
            }
            if !around.has_directory {
                let wrong = "the directory is reached as [directory] says, and there is none";
                self.problems.add(directory.at, &directory.key, wrong, "add [directory] with controllers and account");
            }
            return Some(DnsAuthority::Directory);
        }
        let (Some(server), Some(key_file)) = (&raw.server, &raw.key_file) else {
            let missing = if raw.server.is_none() { "server" } else { "key_file" };
            let wrong = "updates are signed, and sent to the zone's primary server: server or key_file is missing";
            let instead = format!("add {}, or directory = true for a zone in Active Directory", DNS.example(missing));
            self.problems.add(place.at, &place.key, wrong, instead);
            return None;
        };
        let algorithm = raw.algorithm.as_ref().map(|written| written.with(written.value.to_ascii_lowercase()));
        if let Some(written) = algorithm.as_ref().filter(|written| !ALGORITHMS.contains(&written.value.as_str())) {
            let wrong = format!("{} is not one of {}", quote(&written.value), ALGORITHMS.join(", "));
            let meant = nearest(&written.value, ALGORITHMS).unwrap_or(ALGORITHMS[0]);
            self.problems.add(written.at, &written.key, wrong, format!("write algorithm = {meant:?}"));
        }
        let key = raw.key.as_ref().map(|written| self.dns_name(written));
        let (server, key_file) = (self.target(server, 53), self.place(key_file, true));
        Some(DnsAuthority::Server {
            server: server?,
            key_file: key_file?.to_path(),
            key: key.flatten(),
            algorithm: algorithm.map(|written| written.value),
        })
    }

    /// Names within the zone.
    fn dns_names(&self, list: &Texts, zone: Option<&str>) -> Option<Vec<String>> {
        let names: Option<Vec<_>> = list.value.iter().map(|written| Some((written, self.dns_name(written)?))).collect();
        for (written, name) in names.iter().flatten() {
            let within = zone.is_none_or(|zone| *name == zone || name.ends_with(&format!(".{zone}")));
            if !within {
                let wrong = format!("{name} is not in the zone {}", zone.unwrap_or_default());
                let instead = "make another resource for names of another zone";
                self.problems.add(written.at, &written.key, wrong, instead);
            }
        }
        self.some_names(list, DNS.example("names"))?;
        Some(names?.into_iter().map(|(_, name)| name).collect())
    }

    fn reverse_zone(&self, written: &Placed<String>) -> Option<String> {
        let zone = self.dns_name(written)?;
        if [".in-addr.arpa", ".ip6.arpa"].iter().any(|end| zone.ends_with(end)) {
            return Some(zone);
        }
        let wrong = format!("{} is no zone in which addresses lead to names", quote(&written.value));
        self.problems.add(written.at, &written.key, wrong, format!("write {}", DNS.example("reverse_zones")));
        None
    }

    /// A name in DNS in lower case, without the last dot. Underscores are taken, since Windows does.
    fn dns_name(&self, written: &Placed<String>) -> Option<String> {
        let name = written.value.strip_suffix('.').unwrap_or(&written.value).to_ascii_lowercase();
        let label = |label: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !label.is_empty() && label.len() <= MAX_DNS_LABEL_LEN && label.bytes().all(fits)
        };
        if name.len() <= MAX_DNS_NAME_LEN && name.contains('.') && name.split('.').all(label) && name.parse::<IpAddr>().is_err() {
            return Some(name);
        }
        let wrong = format!("{} is no full name in DNS", quote(&written.value));
        self.problems.add(written.at, &written.key, wrong, "write it with its domain, such as \"mail.example.org\"");
        None
    }

    fn node_addresses(&self, written: &Named<Texts>, nodes: &BTreeMap<NodeName, u16>) -> Option<BTreeMap<NodeName, Vec<IpAddr>>> {
        let list = self.per_node(&written.value, nodes, &written.with(()), DNS.example("addresses"))?;
        let one = |(node, (place, texts)): (NodeName, (Placed<()>, &Texts))| {
            let parsed = texts.value.iter().map(|text| {
                let address = text.value.parse::<IpAddr>().ok().filter(|address| !address.is_unspecified());
                if address.is_none() {
                    let wrong = format!("{} is no IPv4 or IPv6 address", quote(&text.value));
                    self.problems.add(text.at, &text.key, wrong, format!("write {}", DNS.example("addresses")));
                }
                address
            });
            let addresses: BTreeSet<IpAddr> = parsed.collect::<Option<_>>()?;
            if addresses.is_empty() {
                self.problems.add(place.at, &place.key, "the list is empty", format!("write {}", DNS.example("addresses")));
                return None;
            }
            Some((node, addresses.into_iter().collect()))
        };
        list.into_iter().map(one).collect()
    }

    pub(super) fn service(&self, raw: &RawService, place: &Placed<()>) -> Option<Service> {
        let commands = [("start", &raw.start), ("stop", &raw.stop), ("state", &raw.state)];
        let written = commands.iter().filter(|(_, written)| written.is_some()).count();
        let control = match (&raw.services, written) {
            (Some(list), 0) => self.system_services(list, raw)?,
            (Some(_), _) => {
                let wrong = "services are started by the system or by commands, not by both";
                self.problems.add(place.at, &place.key, wrong, "keep services, or start, stop and state");
                return None;
            }
            (None, 3) => {
                let [start, stop, state] = commands
                    .map(|(key, written)| written.as_ref().and_then(|written| self.command(written, SERVICE.example(key))));
                ServiceControl::Commands { start: start?, stop: stop?, state: state? }
            }
            (None, 0) => {
                let wrong = "it names no service";
                let instead = format!("add {}, or the commands start, stop and state", SERVICE.example("services"));
                self.problems.add(place.at, &place.key, wrong, instead);
                return None;
            }
            (None, _) => {
                let missing: Vec<_> = commands.iter().filter(|(_, written)| written.is_none()).map(|(key, _)| *key).collect();
                let examples: Vec<_> = missing.iter().map(|key| SERVICE.example(key)).collect();
                let wrong = format!("a service by commands needs start, stop and state; without {}", missing.join(" and "));
                self.problems.add(place.at, &place.key, wrong, format!("add {}", examples.join(" and ")));
                return None;
            }
        };
        Some(Service { control })
    }

    fn system_services(&self, list: &Texts, raw: &RawService) -> Option<ServiceControl> {
        let services = self.some_names(list, SERVICE.example("services"))?;
        // A name that begins with a dash would be an option of whatever is told it.
        if let Some(written) = list.value.iter().find(|written| written.value.starts_with('-') || written.value.contains('/')) {
            let wrong = format!("{} is no name of a service", quote(&written.value));
            self.problems.add(written.at, &written.key, wrong, format!("write {}", SERVICE.example("services")));
            return None;
        }
        let mut optional = Vec::new();
        for written in raw.optional_services.iter().flat_map(|list| &list.value) {
            if services.contains(&written.value) {
                optional.push(written.value.clone());
                continue;
            }
            let meant = nearest(&written.value, services.iter().map(String::as_str));
            let instead = meant.map_or("add it to services, too".to_owned(), |meant| format!("did you mean {meant:?}?"));
            self.problems.add(written.at, &written.key, format!("{} is not one of services", quote(&written.value)), instead);
        }
        let start_up = self.word_of(&SERVICE, raw.start_up.as_ref(), "start_up", StartUp::WORDS, StartUp::Group);
        Some(ServiceControl::System { services, optional, start_up })
    }

    pub(super) fn directory_move(
        &self,
        raw: &RawDirectoryMove,
        place: &Placed<()>,
        nodes: &BTreeMap<NodeName, u16>,
        around: &Around<'_>,
    ) -> Option<DirectoryMove> {
        if !around.has_directory {
            let wrong = "the directory is reached as [directory] says, and there is none";
            self.problems.add(place.at, &place.key, wrong, "add [directory] with controllers and account");
        }
        let written = raw.servers.as_ref()?;
        let PerNode::Each(list) = &written.value else {
            let wrong = "one server is not enough: users move from the server of one node to that of another";
            self.problems.add(written.at, &written.key, wrong, format!("write {}", DIRECTORY.example("servers")));
            return None;
        };
        let servers = self.per_node(list, nodes, &written.with(()), DIRECTORY.example("servers"))?;
        let mut known: BTreeMap<String, &NodeName> = BTreeMap::new();
        for (node, (place, server)) in &servers {
            let fault = match known.insert(server.to_lowercase(), node) {
                Some(other) => Some((format!("it is the server of {other}, too"), "each node has a server of its own")),
                None if server.trim().is_empty() => {
                    Some(("the name is empty".to_owned(), "write the server's name in the directory"))
                }
                None => None,
            };
            if let Some((wrong, instead)) = fault {
                self.problems.add(place.at, &place.key, wrong, instead);
            }
        }
        Some(DirectoryMove {
            servers: servers.into_iter().map(|(node, (_, server))| (node, server.clone())).collect(),
            phase: self.word_of(&DIRECTORY, raw.phase.as_ref(), "phase", Phase::WORDS, Phase::All),
            rules: raw.rules.iter().flat_map(|list| &list.value).map(|rule| rule.value.clone()).collect(),
            recipient_update: raw.recipient_update,
            service_names: raw.service_names,
        })
    }
}
