//! From settings as written to settings as meant. Every fault is reported; a faulty part is left out and the rest is still checked.

mod directory;
mod following;
mod groups;
mod moves;
mod resources;
mod sense;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::str::FromStr;

use standin_common::id::{NameError, NodeName, SetName};

use crate::address::{self, Address, DEFAULT_PORT};
use crate::model::{
    Acknowledge, Capture, Compression, Effect, MaxOrphans, Node, OnDisconnect, Orphans, Peer, Reconnect, Root, Rule, Set,
    Settings, WordError,
};
use crate::overlap::{self, Claim, Use};
use crate::pattern;
use crate::place::{Place, PlaceError};
use crate::problem::{Problems, nearest, quote};
use crate::raw::{RawNode, RawPeer, RawRoot, RawRule, RawSet, RawSettings, SET};
use crate::read::{Placed, Scalar};
use crate::resolve::groups::Around;
use crate::units::{UnitError, parse_rate, parse_size, print_rate, print_size};

const DEFAULT_HISTORY_POINTS: u16 = 3;
const DEFAULT_JOURNAL_LIMIT_BYTES: u64 = 16 << 30;
const DEFAULT_LANES: u8 = 4;
const DEFAULT_PASSES: u8 = 3;
const DEFAULT_MAX_ORPHANS: MaxOrphans = MaxOrphans::Share(25);

/// A journal must at least hold a few of the largest frames.
const MIN_JOURNAL_LIMIT_BYTES: u64 = 1 << 20;
const DEFAULT_QUEUE_LIMIT_BYTES: u64 = 256 << 20;
/// Of a set with capture `ordered`, whose queue holds data, nearly all of it on disk.
const DEFAULT_ORDERED_QUEUE_LIMIT_BYTES: u64 = 1 << 30;
/// Less would only ever remember places.
const MIN_QUEUE_LIMIT_BYTES: u64 = 1 << 20;
/// Slower than this, not even keep-alives and listings would get through.
const MIN_LIMIT_BYTES_PER_SECOND: u64 = 1000;
/// Most roots of a set; each has directories open on both nodes.
const MAX_ROOTS: usize = 1024;

/// Which machine's paths are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paths {
    /// Paths on this node must be absolute on the platform this runs on.
    OfThisPlatform,
    /// Paths may be of either platform.
    OfAnyPlatform,
}

/// Makes settings of `raw`; `None` if there is nothing to make them of.
pub(crate) fn resolve(problems: &Problems<'_>, raw: RawSettings, paths: Paths) -> Option<Settings> {
    let mut resolver = Resolver { problems, paths, here: None, peers: None, claims: Vec::new() };
    let node = resolver.node(&raw.node);
    let peers = resolver.all_peers(raw.peers.as_deref());
    let sets: BTreeMap<_, _> = raw.sets.iter().filter_map(|set| resolver.set(set)).map(|set| (set.name.clone(), set)).collect();
    let directory = raw.directory.as_ref().map(|directory| resolver.directory(directory));
    let set_names = raw.sets.iter().map(|set| set.name.value.clone()).collect();
    let hosts = sense::hosts(node.as_ref(), &peers);
    let around = Around { sets: &sets, set_names, has_directory: directory.is_some(), hosts };
    let groups = resolver.groups(&raw.groups, &around);
    overlap::check(problems, resolver.claims);
    Some(Settings { node: node?, peers, sets, directory, groups })
}

struct Resolver<'a> {
    problems: &'a Problems<'a>,
    paths: Paths,
    /// This node's name, once read.
    here: Option<NodeName>,
    /// All peers named, even those with faults; `None` if there is no telling.
    peers: Option<BTreeSet<NodeName>>,
    /// Places in use, for [`overlap::check`].
    claims: Vec<Claim>,
}

impl Resolver<'_> {
    fn node(&mut self, raw: &RawNode) -> Option<Node> {
        self.here = raw.name.as_ref().and_then(|name| self.name(name));
        let listen = match &raw.listen {
            Some(list) => self.addresses(&list.value, "listen"),
            None => format!("0.0.0.0:{DEFAULT_PORT}").parse().into_iter().collect(),
        };
        let state_dir = raw.state_dir.as_ref().and_then(|written| Some((written, self.place(written, true)?)));
        if let (Some((written, place)), Some(here)) = (&state_dir, &self.here) {
            let claim =
                Claim { node: here.clone(), place: place.clone(), used: Use::StateDir, key: written.key.clone(), at: written.at };
            self.claims.push(claim);
        }
        Some(Node { name: self.here.clone()?, listen, state_dir: state_dir?.1.to_path() })
    }

    fn all_peers(&mut self, raw: Option<&[RawPeer]>) -> BTreeMap<NodeName, Peer> {
        let mut peers = BTreeMap::new();
        let mut owners = BTreeMap::new();
        let Some(raw) = raw else { return peers };
        for peer in raw {
            let addresses = peer.addresses.as_ref().map(|list| self.peer_addresses(list, &mut owners)).unwrap_or_default();
            let Some(name) = self.name::<NodeName>(&peer.name) else { continue };
            if Some(&name) == self.here.as_ref() {
                let instead = "remove it, or give [node] the name of this machine";
                self.problems.add(peer.name.at, &peer.name.key, format!("{name} is this node itself"), instead);
            }
            peers.insert(name, Peer { addresses });
        }
        self.peers = Some(peers.keys().cloned().collect());
        peers
    }

    /// `owners` tells the key where an address was met first.
    fn peer_addresses(&self, list: &Placed<Vec<Placed<String>>>, owners: &mut BTreeMap<Address, String>) -> Vec<Address> {
        if list.value.is_empty() {
            let instead = format!("write where the peer listens: addresses = [\"10.0.0.2:{DEFAULT_PORT}\"]");
            self.problems.add(list.at, &list.key, "the list is empty", instead);
        }
        let addresses = self.addresses(&list.value, "addresses");
        for (written, address) in list.value.iter().filter_map(|written| Some((written, written.value.parse().ok()?))) {
            let address: Address = address;
            if address.port() == 0 {
                let instead = format!("write the port on which the peer listens, usually {DEFAULT_PORT}");
                self.problems.add(written.at, &written.key, format!("{address} has port 0"), instead);
            }
            let owner = owners.entry(address.clone()).or_insert_with(|| list.key.clone());
            if *owner != list.key {
                let wrong = format!("{address} is in {owner}, too, and one address leads to one node");
                self.problems.add(written.at, &written.key, wrong, "remove it from one of them");
            }
        }
        addresses
    }

    fn addresses(&self, list: &[Placed<String>], key: &str) -> Vec<Address> {
        let mut addresses = Vec::new();
        for written in list {
            match written.value.parse::<Address>() {
                Ok(address) if addresses.contains(&address) => {
                    let wrong = format!("{address} is in {key} twice");
                    self.problems.add(written.at, &written.key, wrong, "keep one of the two");
                }
                Ok(address) => addresses.push(address),
                Err(error) => {
                    let instead = address::advice(&written.value, &error);
                    self.problems.add(written.at, &written.key, error.to_string(), instead);
                }
            }
        }
        addresses
    }

    fn set(&mut self, raw: &RawSet) -> Option<Set> {
        let name = self.name::<SetName>(&raw.name);
        let source = raw.source.as_ref().and_then(|written| self.name::<NodeName>(written));
        let standby = raw.standby.as_ref().and_then(|written| self.name::<NodeName>(written));
        self.check_ends(raw, source.as_ref(), standby.as_ref());
        let roots = self.roots(raw, source.as_ref(), standby.as_ref());
        let limit = raw.limit.as_ref().filter(|written| written.value != "unlimited");
        let limit = limit.and_then(|written| self.amount(written, "limit", parse_rate, MIN_LIMIT_BYTES_PER_SECOND, print_rate));
        let journal =
            self.size(raw.journal_limit.as_ref(), "journal_limit", MIN_JOURNAL_LIMIT_BYTES, DEFAULT_JOURNAL_LIMIT_BYTES);
        let capture = self.word(raw.capture.as_ref(), "capture", Capture::WORDS, Capture::Scan);
        let default = if capture == Capture::Ordered { DEFAULT_ORDERED_QUEUE_LIMIT_BYTES } else { DEFAULT_QUEUE_LIMIT_BYTES };
        let queue = self.size(raw.queue_limit.as_ref(), "queue_limit", MIN_QUEUE_LIMIT_BYTES, default);
        let (limits, points) = (self.limits(&raw.limits), self.points(&raw.points));
        let set = Set {
            name: name?,
            source: source?,
            standby: standby?,
            capture,
            acknowledge: self.word(raw.acknowledge.as_ref(), "acknowledge", Acknowledge::WORDS, Acknowledge::Local),
            on_disconnect: self.word(raw.on_disconnect.as_ref(), "on_disconnect", OnDisconnect::WORDS, OnDisconnect::Continue),
            reconnect: self.word(raw.reconnect.as_ref(), "reconnect", Reconnect::WORDS, Reconnect::Automatic),
            points,
            rescan_ms: self.rescan(raw.rescan.as_ref()),
            scrub_ms: self.scrub(raw.scrub.as_ref()),
            queue_limit_bytes: queue,
            orphans: self.word(raw.orphans.as_ref(), "orphans", Orphans::WORDS, Orphans::Remove),
            max_orphans: self.max_orphans(raw.max_orphans.as_ref()),
            history_points: self.whole(raw.history_points.as_ref(), "history_points", 0..=1000, DEFAULT_HISTORY_POINTS),
            journal_limit_bytes: journal,
            limit_bytes_per_second: limit,
            limits,
            compression: self.word(raw.compression.as_ref(), "compression", Compression::WORDS, Compression::Auto),
            lanes: self.whole(raw.lanes.as_ref(), "lanes", 1..=16, DEFAULT_LANES),
            passes: self.whole(raw.passes.as_ref(), "passes", 1..=10, DEFAULT_PASSES),
            passthrough: self.passthrough(raw.passthrough.as_ref(), capture),
            roots,
        };
        Some(set)
    }

    fn passthrough(&self, written: Option<&Placed<Vec<Placed<String>>>>, capture: Capture) -> Vec<String> {
        let Some(list) = written else { return Vec::new() };
        if capture != Capture::Ordered && !list.value.is_empty() {
            let wrong = format!("there is no layer to read past with capture = {:?}", capture.as_str());
            self.problems.add(list.at, &list.key, wrong, "write capture = \"ordered\", or remove it");
        }
        for pattern in &list.value {
            if let Err((wrong, instead)) = pattern::check(&pattern.value) {
                self.problems.add(pattern.at, &pattern.key, wrong, instead);
            }
        }
        list.value.iter().map(|pattern| pattern.value.clone()).collect()
    }

    /// Source and standby differ, and whichever is not this node is a known peer.
    fn check_ends(&self, raw: &RawSet, source: Option<&NodeName>, standby: Option<&NodeName>) {
        if let (Some(source), Some(standby), Some(written)) = (source, standby, &raw.standby)
            && source == standby
        {
            let wrong = format!("{standby} is the source, too");
            self.problems.add(written.at, &written.key, wrong, "write the name of another node");
            return;
        }
        let here = self.here.as_ref();
        let (Some(here), Some(peers)) = (here, &self.peers) else { return };
        let ends = [source.zip(raw.source.as_ref()), standby.zip(raw.standby.as_ref())];
        for (other, written) in ends.into_iter().flatten() {
            if other == here || peers.contains(other) {
                continue;
            }
            let instead = match nearest(other.as_str(), peers.iter().chain([here]).map(NodeName::as_str)) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("add [peers.{other}] with addresses = [\"10.0.0.2:{DEFAULT_PORT}\"]"),
            };
            self.problems.add(
                written.at,
                &written.key,
                format!("{other} is neither this node, {here}, nor a peer in this file"),
                instead,
            );
        }
    }

    fn roots(&mut self, raw: &RawSet, source: Option<&NodeName>, standby: Option<&NodeName>) -> Vec<Root> {
        let Some(list) = &raw.roots else { return Vec::new() };
        let add = format!("add a table [[{}]] with path and target", list.key);
        match list.value.len() {
            0 => self.problems.add(list.at, &list.key, "there are no roots, so nothing would be replicated", add),
            1..=MAX_ROOTS => {}
            more => {
                let wrong = format!("there are {more} roots, more than {MAX_ROOTS}");
                self.problems.add(list.at, &list.key, wrong, "name directories further up, or make several sets");
            }
        }
        // With one node at both ends, which is reported already, every root would collide with itself.
        let (source, standby) = if source == standby { (None, None) } else { (source, standby) };
        let is_ordered = raw.capture.as_ref().is_some_and(|written| written.value == Capture::Ordered.as_str());
        let used = if is_ordered { Use::Ordered } else { Use::Source(raw.name.key.clone()) };
        let root = |root: &RawRoot| self.root(root, &used, source, standby);
        list.value.iter().filter_map(root).collect()
    }

    fn root(&mut self, raw: &RawRoot, used: &Use, source: Option<&NodeName>, standby: Option<&NodeName>) -> Option<Root> {
        let path = self.end(raw.path.as_ref(), source, used.clone());
        let target = self.end(raw.target.as_ref(), standby, Use::Target);
        if let (Some(target), Some(written)) = (&target, &raw.target)
            && target.is_whole_machine()
        {
            let wrong = "\"/\" is the whole standby, which the replica would replace";
            self.problems.add(written.at, &written.key, wrong, "write a directory such as \"/srv/standby\"");
        }
        let rules = self.rules(&raw.rules);
        Some(Root { path: path?.to_path(), target: target?.to_path(), rules })
    }

    /// One end of a root, which is on `node`.
    fn end(&mut self, written: Option<&Placed<String>>, node: Option<&NodeName>, used: Use) -> Option<Place> {
        let written = written?;
        let is_here = node.is_some() && node == self.here.as_ref();
        let place = self.place(written, is_here)?;
        // A target "/" is reported as such; everything else would collide with it.
        if let (Some(node), false) = (node, used == Use::Target && place.is_whole_machine()) {
            let (node, key, at) = (node.clone(), written.key.clone(), written.at);
            self.claims.push(Claim { node, place: place.clone(), used, key, at });
        }
        Some(place)
    }

    fn rules(&self, raw: &[RawRule]) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        for written in raw {
            let Some((rule, place)) = self.rule(written) else { continue };
            let same = |known: &Rule| known.pattern == rule.pattern && known.recurse == rule.recurse;
            if rules.iter().any(same) {
                let wrong = format!("there is a rule for {} already", quote(&rule.pattern));
                self.problems.add(place.at, &place.key, wrong, "keep one of the two");
            }
            rules.push(rule);
        }
        rules
    }

    /// The rule, and where its pattern stands.
    fn rule<'r>(&self, raw: &'r RawRule) -> Option<(Rule, &'r Placed<String>)> {
        let (effect, written) = match (&raw.include, &raw.exclude) {
            (Some(_), Some(_)) => {
                let wrong = "a rule has either include or exclude, this one has both";
                self.problems.add(raw.place.at, &raw.place.key, wrong, "make two rules of it");
                return None;
            }
            (None, None) => {
                if !raw.has_pattern {
                    let instead = "write { exclude = \"*.tmp\" } or { include = \"*.eml\" }";
                    self.problems.add(raw.place.at, &raw.place.key, "the rule has neither include nor exclude", instead);
                }
                return None;
            }
            (Some(include), None) => (Effect::Include, include),
            (None, Some(exclude)) => (Effect::Exclude, exclude),
        };
        if let Err((wrong, instead)) = pattern::check(&written.value) {
            self.problems.add(written.at, &written.key, wrong, instead);
            return None;
        }
        Some((Rule { effect, pattern: written.value.clone(), recurse: raw.recurse }, written))
    }

    fn place(&self, written: &Placed<String>, is_here: bool) -> Option<Place> {
        let text = &written.value;
        let (wrong, instead) = match Place::new(text) {
            Ok(place) if is_here && self.paths == Paths::OfThisPlatform && !place.to_path().is_absolute() => {
                let wrong = format!("{} is not a path of this machine's platform", quote(text));
                (wrong, format!("write a path as {} has them, from the root on", std::env::consts::OS))
            }
            Ok(place) => return Some(place),
            Err(error @ PlaceError::Relative) => {
                let slashed = format!("/{}", text.trim_start_matches("./"));
                let likely = Place::new(&slashed).ok().filter(|place| !place.is_whole_machine() && !text.starts_with('~'));
                let example = likely.map_or("/srv/mail".to_owned(), |place| place.text().to_owned());
                (format!("{} {error}", quote(text)), format!("write it from the root on, such as {}", quote(&example)))
            }
            Err(error) => (format!("{} {error}", quote(text)), "write the path without it".to_owned()),
        };
        self.problems.add(written.at, &written.key, wrong, instead);
        None
    }

    fn name<T: FromStr<Err = NameError>>(&self, written: &Placed<String>) -> Option<T> {
        let parsed = written.value.parse();
        let report = |error: NameError| {
            let wrong = match error {
                NameError::Empty => "the name is empty".to_owned(),
                other => format!("{} is not a name: {other}", quote(&written.value)),
            };
            self.problems.add(written.at, &written.key, wrong, "write a name such as \"alpha\" or \"mail-1\"");
        };
        parsed.map_err(report).ok()
    }

    fn word<T: FromStr<Err = WordError>>(
        &self,
        written: Option<&Placed<String>>,
        key: &str,
        words: &[&'static str],
        usual: T,
    ) -> T {
        self.word_of(&SET, written, key, words, usual)
    }

    fn whole<T: TryFrom<i64>>(&self, written: Option<&Placed<i64>>, key: &str, range: RangeInclusive<i64>, usual: T) -> T {
        let Some(written) = written else { return usual };
        let (least, most) = (*range.start(), *range.end());
        if !range.contains(&written.value) {
            let wrong = format!("{} is not from {least} to {most}", written.value);
            let instead = format!("write {key} = {}", written.value.clamp(least, most));
            self.problems.add(written.at, &written.key, wrong, instead);
        }
        T::try_from(written.value).unwrap_or(usual)
    }

    fn amount(
        &self,
        written: &Placed<String>,
        key: &str,
        parse: fn(&str) -> Result<u64, UnitError>,
        least: u64,
        print: fn(u64) -> String,
    ) -> Option<u64> {
        let (wrong, instead) = match parse(&written.value) {
            Ok(amount) if amount >= least => return Some(amount),
            Ok(_) => {
                let least = print(least);
                (format!("{} is less than {least}", quote(&written.value)), format!("write {key} = \"{least}\" or more"))
            }
            Err(error) => {
                let meant: Vec<_> = error.instead().iter().map(|meant| format!("{key} = {meant:?}")).collect();
                let instead = if meant.is_empty() { SET.example(key).to_owned() } else { meant.join(" or ") };
                (error.wrong(), format!("write {instead}"))
            }
        };
        self.problems.add(written.at, &written.key, wrong, instead);
        None
    }

    fn size(&self, written: Option<&Placed<String>>, key: &str, least: u64, usual: u64) -> u64 {
        written.and_then(|written| self.amount(written, key, parse_size, least, print_size)).unwrap_or(usual)
    }

    fn max_orphans(&self, written: Option<&Placed<Scalar>>) -> MaxOrphans {
        let Some(written) = written else { return DEFAULT_MAX_ORPHANS };
        let wrong = match &written.value {
            Scalar::Number(number) => match u64::try_from(*number) {
                Ok(count) => return MaxOrphans::Count(count),
                Err(_) => format!("{number} is less than 0"),
            },
            Scalar::Text(text) => match text.parse() {
                Ok(max) => return max,
                Err(_) => format!("{} is neither a whole percentage from 0% to 100% nor a number", quote(text)),
            },
        };
        self.problems.add(written.at, &written.key, wrong, format!("write {}", SET.example("max_orphans")));
        DEFAULT_MAX_ORPHANS
    }
}
