//! `[[groups.NAME.resources]]`: what depends on what, and the keys of every kind.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use standin_common::id::{NodeName, ResourceName, SetName};

use super::Resolver;
use super::groups::Around;
use crate::group::{Check, Interfaces, Kind, MovingAddress, Probe, ProbeKind, Resource, Script, Share, Then, Volume};
use crate::problem::{nearest, quote};
use crate::raw::groups::{RawGroup, Texts};
use crate::raw::resources::{ADDRESS, CHECK, PerNode, RawCheck, RawKind, RawResource, SCRIPT, SHARE};
use crate::read::Placed;

/// Exchange's services take their time; LifeKeeper waits as long.
const DEFAULT_TIMEOUT_MS: u64 = 900_000;
const TIMEOUTS_MS: std::ops::RangeInclusive<u64> = 1000..=24 * 3_600_000;
const DEFAULT_RESTARTS: u16 = 1;
const DEFAULT_WINDOW_MS: u64 = 900_000;
const WINDOWS_MS: std::ops::RangeInclusive<u64> = 1000..=7 * 24 * 3_600_000;
const DEFAULT_INTERVAL_MS: u64 = 10_000;
const DEFAULT_ANSWER_MS: u64 = 5000;
const INTERVALS_MS: std::ops::RangeInclusive<u64> = 100..=24 * 3_600_000;
const DEFAULT_CHECK_MISSES: u16 = 3;
/// Windows allows so many characters in the name of a network interface; Linux only 15 bytes, which it says itself.
const MAX_INTERFACE_LEN: usize = 256;

impl Resolver<'_> {
    pub(super) fn resources(&self, raw: &RawGroup, nodes: &BTreeMap<NodeName, u16>, around: &Around<'_>) -> Vec<Resource> {
        let Some(list) = &raw.resources else { return Vec::new() };
        if list.value.is_empty() {
            let add = format!("add a table [[{}]] with name and kind", list.key);
            self.problems.add(list.at, &list.key, "there are no resources, so nothing would move", add);
        }
        let mut names: BTreeMap<ResourceName, &RawResource> = BTreeMap::new();
        for (written, raw) in list.value.iter().filter_map(|raw| Some((raw.name.as_ref()?, raw))) {
            let Some(name) = self.name::<ResourceName>(written) else { continue };
            if names.insert(name, raw).is_some() {
                let wrong = format!("there is a resource {} in this group already", quote(&written.value));
                self.problems.add(written.at, &written.key, wrong, "give it another name");
            }
        }
        let needs = self.needs(&names);
        let resource = |raw: &RawResource| self.resource(raw, &needs, nodes, around);
        list.value.iter().filter_map(resource).collect()
    }

    /// What each resource needs, with every `before` turned round, and no circle.
    fn needs(&self, names: &BTreeMap<ResourceName, &RawResource>) -> BTreeMap<ResourceName, BTreeSet<ResourceName>> {
        let mut needs: BTreeMap<ResourceName, BTreeSet<ResourceName>> =
            names.keys().map(|name| (name.clone(), BTreeSet::new())).collect();
        for (name, raw) in names {
            for needed in self.named(raw.needs.as_ref(), name, names) {
                needs.entry(name.clone()).or_default().insert(needed);
            }
            for later in self.named(raw.before.as_ref(), name, names) {
                needs.entry(later).or_default().insert(name.clone());
            }
        }
        if let Some(circle) = circle(&needs)
            && let Some(raw) = circle.first().and_then(|name| names.get(name))
        {
            let list: Vec<_> = circle.iter().chain(circle.first()).map(ResourceName::as_str).collect();
            let place = raw.needs.as_ref().or(raw.before.as_ref()).map_or(raw.place.clone(), |list| list.with(()));
            let wrong = format!("a circle: {}, each of which needs the next", list.join(", "));
            self.problems.add(place.at, &place.key, wrong, "leave one of them out, so that there is one to start with");
        }
        needs
    }

    /// The resources that a list names.
    fn named(&self, list: Option<&Texts>, own: &ResourceName, names: &BTreeMap<ResourceName, &RawResource>) -> Vec<ResourceName> {
        let known = |written: &Placed<String>| {
            let found = names.keys().find(|name| name.as_str() == written.value);
            let (wrong, instead) = match found {
                Some(found) if found != own => return Some(found.clone()),
                Some(_) => ("it is this resource itself".to_owned(), "remove it".to_owned()),
                None => {
                    let meant = nearest(&written.value, names.keys().map(ResourceName::as_str));
                    let all: Vec<_> = names.keys().filter(|name| *name != own).map(ResourceName::as_str).collect();
                    let instead =
                        meant.map_or(format!("write one of {}", all.join(", ")), |meant| format!("did you mean {meant:?}?"));
                    (format!("there is no resource {} in this group", quote(&written.value)), instead)
                }
            };
            self.problems.add(written.at, &written.key, wrong, instead);
            None
        };
        list.iter().flat_map(|list| &list.value).filter_map(known).collect()
    }

    fn resource(
        &self,
        raw: &RawResource,
        needs: &BTreeMap<ResourceName, BTreeSet<ResourceName>>,
        nodes: &BTreeMap<NodeName, u16>,
        around: &Around<'_>,
    ) -> Option<Resource> {
        let name: Option<ResourceName> = raw.name.as_ref().and_then(|name| name.value.parse().ok());
        let needs: Vec<ResourceName> = name.as_ref().and_then(|name| needs.get(name)).into_iter().flatten().cloned().collect();
        let span = |written: &Option<Placed<String>>, key, range, usual| {
            written.as_ref().and_then(|written| self.duration(written, &SCRIPT, key, range)).unwrap_or(usual)
        };
        let start_timeout_ms = span(&raw.start_timeout, "start_timeout", TIMEOUTS_MS, DEFAULT_TIMEOUT_MS);
        let stop_timeout_ms = span(&raw.stop_timeout, "stop_timeout", TIMEOUTS_MS, DEFAULT_TIMEOUT_MS);
        let restart_window_ms = span(&raw.restart_window, "restart_window", WINDOWS_MS, DEFAULT_WINDOW_MS);
        let restarts = self.whole(raw.restarts.as_ref(), "restarts", 0..=100, DEFAULT_RESTARTS);
        let kind = self.kind(raw, nodes, around);
        if let (Some(Kind::Check(check)), true) = (&kind, needs.is_empty())
            && check.then == Then::Restart
        {
            let wrong = "a check restarts what it needs, and this one needs nothing";
            self.problems.add(
                raw.place.at,
                &format!("{}.needs", raw.place.key),
                wrong,
                "write needs = [\"…\"], or then = \"fail\"",
            );
        }
        Some(Resource {
            name: name?,
            needs,
            start_timeout_ms,
            stop_timeout_ms,
            restarts,
            restart_window_ms,
            optional: raw.optional,
            kind: kind?,
        })
    }

    fn kind(&self, raw: &RawResource, nodes: &BTreeMap<NodeName, u16>, around: &Around<'_>) -> Option<Kind> {
        match raw.kind.as_ref()? {
            RawKind::Volume { set } => {
                let set = set.as_ref().and_then(|set| self.name::<SetName>(set))?;
                Some(Kind::Volume(Volume { set }))
            }
            RawKind::Address { address, interface } => {
                let address = address
                    .as_ref()
                    .and_then(|written| self.network(written).filter(|network| self.can_float(written, *network, &around.hosts)));
                let interface = interface.as_ref().and_then(|written| self.interfaces(written, nodes));
                let ((address, prefix), interface) = (address?, interface?);
                Some(Kind::Address(MovingAddress { address, prefix, interface }))
            }
            RawKind::Dns(dns) => self.dns(dns, &raw.place, nodes, around).map(Kind::Dns),
            RawKind::Service(service) => self.service(service, &raw.place).map(Kind::Service),
            RawKind::Share { shares, add, remove, state } => {
                let command =
                    |written: &Option<Texts>, key| written.as_ref().and_then(|written| self.command(written, SHARE.example(key)));
                let (add, remove, state) = (command(add, "add"), command(remove, "remove"), command(state, "state"));
                let shares = shares.as_ref().and_then(|list| self.some_names(list, SHARE.example("shares")));
                Some(Kind::Share(Share { shares: shares?, add: add?, remove: remove?, state: state? }))
            }
            RawKind::Directory(directory) => self.directory_move(directory, &raw.place, nodes, around).map(Kind::Directory),
            RawKind::Script { start, stop } => {
                if start.is_none() && stop.is_none() {
                    let wrong = "it has neither start nor stop, so nothing would be run";
                    self.problems.add(raw.place.at, &raw.place.key, wrong, format!("add {}", SCRIPT.example("start")));
                }
                let command = |written: &Option<Texts>, key| {
                    written.as_ref().and_then(|written| self.command(written, SCRIPT.example(key)))
                };
                Some(Kind::Script(Script { start: command(start, "start"), stop: command(stop, "stop") }))
            }
            RawKind::Check(check) => self.check(check, &raw.place).map(Kind::Check),
        }
    }

    /// An address and the bits of its network; a group's address never is one that leads nowhere.
    fn network(&self, written: &Placed<String>) -> Option<(IpAddr, u8)> {
        let parts = written.value.split_once('/');
        let address = parts.map_or(written.value.as_str(), |(address, _)| address).trim().parse::<IpAddr>();
        let prefix = parts.and_then(|(_, prefix)| prefix.trim().parse::<u8>().ok());
        let quoted = quote(&written.value);
        let wrong = match (address, prefix) {
            (Err(_), _) => format!("{quoted} is no IPv4 or IPv6 address"),
            (Ok(_), None) => format!("{quoted} does not say how many bits are its network"),
            (Ok(address), Some(prefix)) => {
                let bits = if address.is_ipv4() { 32 } else { 128 };
                let unfit = address.is_unspecified() || address.is_loopback() || address.is_multicast();
                match (prefix, unfit) {
                    (_, true) => format!("{quoted} is no address of a host on a network"),
                    (0, _) => format!("{quoted} has no network"),
                    (prefix, _) if prefix > bits => format!("a network has at most {bits} bits, not {prefix}"),
                    _ => return Some((address, prefix)),
                }
            }
        };
        self.problems.add(written.at, &written.key, wrong, format!("write {}", ADDRESS.example("address")));
        None
    }

    fn interfaces(&self, written: &Placed<PerNode<String>>, nodes: &BTreeMap<NodeName, u16>) -> Option<Interfaces> {
        let fits = |name: &str, place: &Placed<()>| {
            let bad = |char: char| char.is_control() || char == '/';
            if !name.trim().is_empty() && name.len() <= MAX_INTERFACE_LEN && !name.contains(bad) {
                return true;
            }
            let wrong = format!("{} is no name of a network interface", quote(name));
            self.problems.add(place.at, &place.key, wrong, format!("write {}", ADDRESS.example("interface")));
            false
        };
        match &written.value {
            PerNode::All(name) => fits(name, &written.with(())).then(|| Interfaces::Everywhere(name.clone())),
            PerNode::Each(list) => {
                let list = self.per_node(list, nodes, &written.with(()), ADDRESS.example("interface"))?;
                let all_fit = list.iter().all(|(_, (place, name))| fits(name, place));
                all_fit.then(|| Interfaces::PerNode(list.into_iter().map(|(node, (_, name))| (node, name.clone())).collect()))
            }
        }
    }

    /// A value for each node of the group, and for nobody else.
    pub(super) fn per_node<'v, T>(
        &self,
        list: &'v [(Placed<String>, T)],
        nodes: &BTreeMap<NodeName, u16>,
        place: &Placed<()>,
        example: &str,
    ) -> Option<BTreeMap<NodeName, (Placed<()>, &'v T)>> {
        let mut values = BTreeMap::new();
        for (name, value) in list {
            let node = self.name::<NodeName>(name)?;
            if !nodes.contains_key(&node) && !nodes.is_empty() {
                let meant = nearest(&name.value, nodes.keys().map(NodeName::as_str));
                let instead = meant.map_or("remove it".to_owned(), |meant| format!("did you mean {meant}?"));
                self.problems.add(name.at, &name.key, format!("{node} is no node of this group"), instead);
                return None;
            }
            values.insert(node, (name.with(()), value));
        }
        let missing: Vec<_> = nodes.keys().filter(|node| !values.contains_key(*node)).map(NodeName::as_str).collect();
        if !missing.is_empty() {
            let wrong = format!("nothing is said for {}", missing.join(", "));
            self.problems.add(place.at, &place.key, wrong, format!("write it for every node of the group: {example}"));
            return None;
        }
        Some(values)
    }

    /// A list of names that is not empty and has none twice.
    pub(super) fn some_names(&self, list: &Texts, example: &str) -> Option<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        for written in &list.value {
            let odd = written.value.trim().is_empty() || written.value.contains(['\0', '\n', '\r']);
            let again = names.contains(&written.value);
            if odd || again {
                let wrong = format!("{} is {}", quote(&written.value), if again { "there twice" } else { "no name" });
                self.problems.add(written.at, &written.key, wrong, "remove it");
                return None;
            }
            names.push(written.value.clone());
        }
        if names.is_empty() {
            self.problems.add(list.at, &list.key, "the list is empty", format!("write {example}"));
            return None;
        }
        Some(names)
    }

    fn check(&self, raw: &RawCheck, place: &Placed<()>) -> Option<Check> {
        let span = |written: &Option<Placed<String>>, key, usual| {
            written.as_ref().and_then(|written| self.duration(written, &CHECK, key, INTERVALS_MS)).unwrap_or(usual)
        };
        let (interval_ms, timeout_ms) =
            (span(&raw.interval, "interval", DEFAULT_INTERVAL_MS), span(&raw.timeout, "timeout", DEFAULT_ANSWER_MS));
        let misses = self.whole(raw.misses.as_ref(), "misses", 1..=1000, DEFAULT_CHECK_MISSES);
        let then = self.word_of(&CHECK, raw.then.as_ref(), "then", Then::WORDS, Then::Report);
        let written = raw.probe.as_ref().filter(|written| {
            let known = written.value.parse::<ProbeKind>().is_ok();
            if !known {
                self.word_of(&CHECK, Some(written), "probe", ProbeKind::WORDS, ProbeKind::Tcp);
            }
            known
        })?;
        let kind: ProbeKind = written.value.parse().ok()?;
        let probe = self.probe(kind, raw, place)?;
        Some(Check { probe, interval_ms, timeout_ms, misses, then })
    }

    fn probe(&self, kind: ProbeKind, raw: &RawCheck, place: &Placed<()>) -> Option<Probe> {
        let wanted = if kind == ProbeKind::Command { "command" } else { "target" };
        let superfluous = match kind {
            ProbeKind::Command => raw.target.as_ref().map(|target| target.with(())),
            _ => raw.command.as_ref().map(|command| command.with(())),
        };
        if let Some(superfluous) = superfluous {
            let wrong = format!("a probe {kind} has {wanted} and nothing else to ask");
            self.problems.add(superfluous.at, &superfluous.key, wrong, "remove it");
        }
        if raw.target.is_none() && kind != ProbeKind::Command || raw.command.is_none() && kind == ProbeKind::Command {
            let key = format!("{}.{wanted}", place.key);
            self.problems.add(place.at, &key, "it is missing", format!("add {}", CHECK.example(wanted)));
            return None;
        }
        let target = |port| raw.target.as_ref().and_then(|written| self.target(written, port));
        Some(match kind {
            ProbeKind::Tcp => Probe::Tcp(target(25)?),
            ProbeKind::Smtp => Probe::Smtp(target(25)?),
            ProbeKind::Imap => Probe::Imap(target(143)?),
            ProbeKind::Ldap => Probe::Ldap(target(389)?),
            ProbeKind::Http => Probe::Http(self.url(raw.target.as_ref()?)?),
            ProbeKind::Command => {
                Probe::Command(raw.command.as_ref().and_then(|written| self.command(written, CHECK.example("command")))?)
            }
        })
    }

    fn url(&self, written: &Placed<String>) -> Option<String> {
        let rest = written
            .value
            .strip_prefix("http://")
            .filter(|rest| !rest.contains(|char: char| char.is_whitespace() || char.is_control()));
        if let Some(rest) = rest {
            let host = rest.split('/').next().unwrap_or_default();
            self.target(&written.with(host.to_owned()), 80)?;
            return Some(written.value.clone());
        }
        let wrong = format!("{} is not asked", quote(&written.value));
        let instead = "write target = \"http://10.0.0.50/health\", or a command for https, such as curl";
        self.problems.add(written.at, &written.key, wrong, instead);
        None
    }
}

/// Resources of which each needs the next and the last the first, if there are such.
fn circle(needs: &BTreeMap<ResourceName, BTreeSet<ResourceName>>) -> Option<Vec<ResourceName>> {
    let mut left = needs.clone();
    // What needs nothing that is left can be started; what can never be started is in a circle, or needs one that is.
    loop {
        let ready: Vec<_> = left.iter().filter(|(_, needs)| needs.iter().all(|need| !left.contains_key(need))).collect();
        let ready: Vec<ResourceName> = ready.into_iter().map(|(name, _)| name.clone()).collect();
        if ready.is_empty() {
            break;
        }
        left.retain(|name, _| !ready.contains(name));
    }
    let mut way: Vec<ResourceName> = vec![left.keys().next()?.clone()];
    loop {
        let last = way.last()?;
        let next = left.get(last)?.iter().find(|need| left.contains_key(*need))?.clone();
        if let Some(start) = way.iter().position(|name| *name == next) {
            return Some(way.split_off(start));
        }
        way.push(next);
    }
}
