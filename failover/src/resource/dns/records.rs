//! Which records there are to be, from those that there are. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use hickory_proto::rr::Name;
use serde::{Deserialize, Serialize};
use standin_common::id::NodeName;
use standin_config::group::Dns;

/// The types of records that are touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Names.
    Ptr,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Ptr => "PTR",
        })
    }
}

/// All records of a name and type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RrSet {
    /// The zone that it is in.
    pub(super) zone: String,
    /// Its name, in lower case, without the last dot.
    pub(super) name: String,
    /// Its type.
    pub(super) kind: Kind,
    /// How long an answer may be remembered, in seconds.
    pub(super) ttl_s: u32,
    /// Addresses, or names in lower case without the last dot; empty where there are no records.
    pub(super) values: BTreeSet<String>,
}

impl RrSet {
    /// Whether it is the same name and type.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        (&self.name, self.kind) == (&other.name, other.kind)
    }

    /// Whether it says the same.
    pub(super) fn same_values(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl fmt::Display for RrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<_> = self.values.iter().map(String::as_str).collect();
        let values = if values.is_empty() { "(none)".to_owned() } else { values.join(", ") };
        write!(f, "{} {} {values}", self.name, self.kind)
    }
}

/// Records as they were read, and as they are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// As they were read.
    pub(super) before: RrSet,
    /// As they are to be.
    pub(super) after: RrSet,
}

impl Change {
    /// Whether there is nothing to do. How long nothing may be remembered is of no account.
    pub(super) fn is_nothing(&self) -> bool {
        self.before.same_values(&self.after) && (self.before.ttl_s == self.after.ttl_s || self.after.values.is_empty())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.before.same_values(&self.after) {
            return write!(f, "{}: remembered for {} s from now on, not {} s", self.after, self.after.ttl_s, self.before.ttl_s);
        }
        let before: Vec<_> = self.before.values.iter().map(String::as_str).collect();
        write!(f, "{}, before: {}", self.after, if before.is_empty() { "(none)".to_owned() } else { before.join(", ") })
    }
}

/// How the names stand, seen from this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// All lead here.
    Ours,
    /// None leads here.
    Others,
    /// Neither; says what.
    Mixed(String),
}

/// The names of a resource and what they lead to on this node.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The names; the first is what addresses lead back to.
    pub(super) names: Vec<String>,
    /// Their zone.
    pub(super) zone: String,
    /// How long an answer may be remembered, in seconds.
    pub(super) ttl_s: u32,
    here: BTreeSet<IpAddr>,
    /// The addresses of all nodes within a reverse zone, with that zone.
    reverse: Vec<(IpAddr, String)>,
}

impl Names {
    /// `None` for a node that is not the group's.
    pub(super) fn new(dns: &Dns, node: &NodeName) -> Option<Self> {
        let here = dns.addresses.get(node)?.iter().copied().collect();
        let all: BTreeSet<IpAddr> = dns.addresses.values().flatten().copied().collect();
        let reverse = all.into_iter().filter_map(|address| Some((address, zone_of(address, &dns.reverse_zones)?)));
        let (names, zone, ttl_s) = (dns.names.clone(), dns.zone.clone(), dns.ttl_s);
        Some(Self { names, zone, ttl_s, here, reverse: reverse.collect() })
    }

    /// Every name and type that is looked at, without values, those of one zone together.
    pub(super) fn sets(&self) -> Vec<RrSet> {
        let set = |zone: &str, name: String, kind| RrSet {
            zone: zone.to_owned(),
            name,
            kind,
            ttl_s: self.ttl_s,
            values: BTreeSet::new(),
        };
        let forward = self.names.iter().flat_map(|name| [Kind::A, Kind::Aaaa].map(|kind| set(&self.zone, name.clone(), kind)));
        let mut reverse: Vec<_> =
            self.reverse.iter().map(|(address, zone)| set(zone, reverse_name(*address), Kind::Ptr)).collect();
        reverse.sort_by(|a, b| a.zone.cmp(&b.zone));
        forward.chain(reverse).collect()
    }

    /// What records are to be here, given what they are.
    pub(super) fn wanted(&self, now: &RrSet) -> RrSet {
        let name = self.names.first().cloned().unwrap_or_default();
        let is_here = || self.here.iter().any(|address| reverse_name(*address) == now.name);
        let values: BTreeSet<String> = match now.kind {
            Kind::A => self.here.iter().filter(|address| address.is_ipv4()).map(ToString::to_string).collect(),
            Kind::Aaaa => self.here.iter().filter(|address| address.is_ipv6()).map(ToString::to_string).collect(),
            Kind::Ptr if is_here() => [name].into(),
            // Another node's address leads to the name no more; what else it leads to is not ours.
            Kind::Ptr => now.values.iter().filter(|value| **value != name).cloned().collect(),
        };
        let is_untouched = now.kind == Kind::Ptr && values == now.values;
        RrSet { values, ttl_s: if is_untouched { now.ttl_s } else { self.ttl_s }, ..now.clone() }
    }

    /// How the names stand. Only addresses count: a reverse zone that nobody may change holds nothing up.
    pub(super) fn standing(&self, now: &[RrSet]) -> Standing {
        let forward: Vec<&RrSet> = now.iter().filter(|set| set.kind != Kind::Ptr).collect();
        if forward.iter().all(|set| self.wanted(set).same_values(set)) {
            return Standing::Ours;
        }
        let here: BTreeSet<String> = self.here.iter().map(ToString::to_string).collect();
        if forward.iter().all(|set| set.values.is_disjoint(&here)) {
            return Standing::Others;
        }
        let other = forward.iter().filter(|set| !self.wanted(set).same_values(set)).map(ToString::to_string);
        Standing::Mixed(format!("not all of it leads here: {}", other.collect::<Vec<_>>().join("; ")))
    }
}

/// The name under which an address is looked up, in lower case, without the last dot. Source: RFC 1035, section 3.5; RFC 3596, section 2.5.
fn reverse_name(address: IpAddr) -> String {
    plain(&Name::from(address))
}

/// A name in lower case, without the last dot.
pub(super) fn plain(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

/// The longest of the zones in which the address is.
fn zone_of(address: IpAddr, zones: &[String]) -> Option<String> {
    let name = reverse_name(address);
    let within = zones.iter().filter(|zone| name == **zone || name.ends_with(&format!(".{zone}")));
    within.max_by_key(|zone| zone.len()).cloned()
}
