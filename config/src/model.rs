//! Settings as meant: checked, with every default filled in.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use standin_common::id::{GroupName, NodeName, SetName};

use crate::address::Address;
use crate::group::{Group, Kind, Resource};
use crate::problem::nearest;
use crate::timetable::{Hours, Timetable};
use crate::units::{UnitError, parse_percentage};

/// Everything a node is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// This machine.
    pub node: Node,
    /// The machines it talks to, and where they are; who they are (their fingerprints) is in the state directory.
    pub peers: BTreeMap<NodeName, Peer>,
    /// What is replicated.
    pub sets: BTreeMap<SetName, Set>,
    /// How Active Directory is reached; nothing is known of it without the table.
    #[serde(default)]
    pub directory: Option<Directory>,
    /// What moves together from node to node.
    #[serde(default)]
    pub groups: BTreeMap<GroupName, Group>,
}

/// `[directory]`: how Active Directory is reached, and by whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Domain controllers in the order to be tried: `dc1.example.com`, `ldaps://…` or `starttls://…`. Empty: DNS knows them.
    pub controllers: Vec<String>,
    /// The domain whose controllers DNS is asked for.
    pub domain: Option<String>,
    /// User principal name or `DOMAIN\user`.
    pub account: Option<String>,
    /// The file with the account's password in its first line; absolute.
    pub password_file: Option<PathBuf>,
    /// PEM file of the authorities that sign the controllers' certificates; absolute.
    pub ca: Option<PathBuf>,
    /// SHA-256 of the one certificate that is believed, as it was written.
    pub pin: Option<String>,
    /// Where journals of runs are; absolute.
    pub state_dir: Option<PathBuf>,
}

/// `[node]`: this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name; peers know it by this.
    pub name: NodeName,
    /// Where it listens for peers; none means it only dials.
    pub listen: Vec<Address>,
    /// Where it keeps its identity, journals and states; absolute.
    pub state_dir: PathBuf,
}

/// `[peers.NAME]`: another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Where it listens, in the order to be tried; never empty.
    pub addresses: Vec<Address>,
}

/// `[sets.NAME]`: what is replicated from one node to another, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// Its name, the same on both nodes.
    pub name: SetName,
    /// The node whose files are replicated at generation 0.
    pub source: NodeName,
    /// The node that holds the replica at generation 0.
    pub standby: NodeName,
    /// How the source learns of changes.
    pub capture: Capture,
    /// What a flush of an application, or whoever waits for a point, waits for.
    pub acknowledge: Acknowledge,
    /// What becomes of whoever waits while the standby cannot be reached.
    pub on_disconnect: OnDisconnect,
    /// Whether the source goes on by itself after a loss of the link.
    pub reconnect: Reconnect,
    /// When recovery points are made by themselves.
    pub points: Points,
    /// How often everything is compared by its attributes although nothing was noticed, in milliseconds; `None` for never.
    pub rescan_ms: Option<u64>,
    /// How long after the end of one scrub of the replica the next begins, in milliseconds; `None` for never.
    pub scrub_ms: Option<u64>,
    /// Memory for the places of changes that the standby lacks, in bytes; beyond it, whole directories are remembered. With capture `ordered`,
    /// room in memory and on disk for the changes themselves.
    pub queue_limit_bytes: u64,
    /// What becomes of orphans.
    pub orphans: Orphans,
    /// If there are more orphans than this, none is removed.
    pub max_orphans: MaxOrphans,
    /// Recovery points kept beside the newest one.
    pub history_points: u16,
    /// Largest journal and history of the set on the standby, in bytes.
    pub journal_limit_bytes: u64,
    /// Largest rate at which the source sends where none of `limits` holds, in bytes per second; `None` for as fast as it goes.
    pub limit_bytes_per_second: Option<u64>,
    /// Other rates at certain times; where several hold, the last does.
    pub limits: Vec<Hours>,
    /// When what is sent is compressed.
    pub compression: Compression,
    /// Files sent at the same time, 1 to 16.
    pub lanes: u8,
    /// How often a mirror goes over the roots again to find a moment in which nothing changed, 1 to 10.
    pub passes: u8,
    /// With capture `ordered`: globs over paths beneath a root (see [`crate::compile_pattern`]) of files that are only read once they are written. They
    /// are read past the layer, and nobody can open one for writing as long as somebody reads it.
    pub passthrough: Vec<String>,
    /// The trees and devices replicated; never empty.
    pub roots: Vec<Root>,
}

/// `[sets.NAME.points]`: when recovery points are made by themselves. Spans are in milliseconds, `None` is for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Points {
    /// One is made at most so long after the one before it, if anything changed.
    pub interval_ms: Option<u64>,
    /// One is made after so long without a change.
    pub quiet_ms: Option<u64>,
}

/// `[[sets.NAME.roots]]`: one tree, device or image file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Where it is on the source; absolute there.
    pub path: PathBuf,
    /// Where it goes on the standby; absolute there.
    pub target: PathBuf,
    /// What is left out or taken in again.
    pub rules: Vec<Rule>,
}

/// One include or exclude.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What happens to what matches.
    pub effect: Effect,
    /// A glob over paths beneath the root; see [`crate::compile_pattern`].
    pub pattern: String,
    /// Whether it also holds for everything beneath what matches.
    pub recurse: bool,
}

/// A text that is none of a fixed list of words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not one of {known}", crate::problem::quote(.written))]
pub struct WordError {
    /// As written.
    pub written: String,
    /// The words, comma-separated.
    pub known: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every word, as written in settings and commands.
            pub const WORDS: &[&str] = &[$($word),*];

            /// The word, as written in settings and commands.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::WordError;
            fn from_str(text: &str) -> Result<Self, $crate::model::WordError> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err($crate::model::WordError { written: text.to_owned(), known: Self::WORDS.join(", ") }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

pub(crate) use words;

words! {
    /// How the source learns of changes.
    Capture {
        /// It looks for them when a mirror is ordered.
        Scan = "scan",
        /// They are noticed, and replicated as they come.
        Watch = "watch",
        /// A layer over each root sees every operation, and points are of one moment.
        Ordered = "ordered",
    }
}
words! {
    /// What is waited for before a change counts as safe.
    Acknowledge {
        /// Nothing: it is safe at the source.
        Local = "local",
        /// The standby has it in memory.
        Received = "received",
        /// The standby has it on disk.
        Durable = "durable",
    }
}
words! {
    /// What becomes of whoever waits while the standby cannot be reached.
    OnDisconnect {
        /// They are let go, and told that it was not met.
        Continue = "continue",
        /// They wait until it is reached again.
        Block = "block",
    }
}
words! {
    /// Whether the source goes on by itself after a loss of the link.
    Reconnect {
        /// It does.
        Automatic = "automatic",
        /// A person says `standin mirror resume`.
        Manual = "manual",
    }
}
words! {
    /// A day of the week.
    Day {
        /// Monday.
        Mon = "mon",
        /// Tuesday.
        Tue = "tue",
        /// Wednesday.
        Wed = "wed",
        /// Thursday.
        Thu = "thu",
        /// Friday.
        Fri = "fri",
        /// Saturday.
        Sat = "sat",
        /// Sunday.
        Sun = "sun",
    }
}
words! {
    /// What becomes of objects that only the standby has.
    Orphans {
        /// They are removed, so that the replica equals the source.
        Remove = "remove",
        /// They are reported and kept.
        Report = "report",
        /// They are kept.
        Keep = "keep",
    }
}
words! {
    /// When what is sent is compressed.
    Compression {
        /// Where a sample shrinks.
        Auto = "auto",
        /// Never.
        Off = "off",
        /// Always.
        Always = "always",
    }
}
words! {
    /// What a rule does with what it matches.
    Effect {
        /// It is replicated.
        Include = "include",
        /// It is left out.
        Exclude = "exclude",
    }
}
words! {
    /// A node's part in a set.
    Role {
        /// Its files are replicated.
        Source = "source",
        /// It holds the replica.
        Standby = "standby",
    }
}

/// How many orphans a mirror may remove without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaxOrphans {
    /// A share of the objects on the standby, in percent, 0 to 100.
    Share(u8),
    /// A number of objects.
    Count(u64),
}

impl MaxOrphans {
    /// How many of `objects` may go; a share is rounded down.
    pub fn allowed(self, objects: u64) -> u64 {
        match self {
            // A share is at most 100 %, so the result fits; a peer's larger one counts as 100 %.
            Self::Share(percent) => (u128::from(objects) * u128::from(percent.min(100)) / 100) as u64,
            Self::Count(count) => count,
        }
    }
}

impl FromStr for MaxOrphans {
    type Err = UnitError;

    /// `25%` or `1000`.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text.trim().parse() {
            Ok(count) => Ok(Self::Count(count)),
            Err(_) => parse_percentage(text).map(Self::Share),
        }
    }
}

impl fmt::Display for MaxOrphans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(percent) => write!(f, "{percent}%"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

impl Set {
    /// The part that `node` has in this set at generation 0, `None` if it has none.
    pub fn role(&self, node: &NodeName) -> Option<Role> {
        match node {
            node if *node == self.source => Some(Role::Source),
            node if *node == self.standby => Some(Role::Standby),
            _ => None,
        }
    }

    /// The other node, seen from `node`; `None` if `node` has no part in this set.
    pub fn peer_of(&self, node: &NodeName) -> Option<&NodeName> {
        self.role(node).map(|role| match role {
            Role::Source => &self.standby,
            Role::Standby => &self.source,
        })
    }

    /// The set with its ends changed over: what was the standby is the source, and what was replicated to is replicated from.
    #[must_use]
    pub fn turned(&self) -> Self {
        let root = |root: &Root| Root { path: root.target.clone(), target: root.path.clone(), rules: root.rules.clone() };
        Self {
            source: self.standby.clone(),
            standby: self.source.clone(),
            roots: self.roots.iter().map(root).collect(),
            ..self.clone()
        }
    }

    /// How fast the source may send, and when.
    pub fn timetable(&self) -> Timetable {
        Timetable::new(self.limit_bytes_per_second, self.limits.clone())
    }

    /// What is allowed but has no effect, for people to read.
    fn notes(&self) -> impl Iterator<Item = String> {
        let waits = self.acknowledge != Acknowledge::Local;
        let scan = (waits && self.capture == Capture::Scan).then(|| {
            let advice = "nothing is acknowledged between mirrors; did you mean capture = \"watch\"?";
            format!("sets.{}.acknowledge is {:?}, but with capture = \"scan\" {advice}", self.name, self.acknowledge.as_str())
        });
        let block = (!waits && self.on_disconnect == OnDisconnect::Block).then(|| {
            let advice = "with acknowledge = \"local\" nothing ever waits; did you mean acknowledge = \"durable\"?";
            format!("sets.{}.on_disconnect is \"block\", but {advice}", self.name)
        });
        scan.into_iter().chain(block)
    }
}

impl Settings {
    /// The group that a set moves with, if there is one.
    pub fn group_of(&self, set: &SetName) -> Option<&Group> {
        let has_it = |resource: &Resource| matches!(&resource.kind, Kind::Volume(volume) if volume.set == *set);
        self.groups.values().find(|group| group.resources.iter().any(has_it))
    }

    /// What is allowed but perhaps not meant, for people to read: sets in which this node has no part, settings without effect.
    pub fn notes(&self) -> Vec<String> {
        let unused = self.sets.values().filter(|set| set.role(&self.node.name).is_none());
        let unused = unused.map(|set| self.note_unused(set));
        let strange = self.groups.values().filter(|group| !group.nodes.contains_key(&self.node.name));
        let strange = strange.map(|group| format!("groups.{} has no priority for this node, {}", group.name, self.node.name));
        let idle = self.groups.values().filter_map(Group::note_idle);
        unused.chain(strange).chain(self.sets.values().flat_map(Set::notes)).chain(idle).collect()
    }

    fn note_unused(&self, set: &Set) -> String {
        let (here, ends) = (&self.node.name, [set.source.as_str(), set.standby.as_str()]);
        let slip = nearest(here.as_str(), ends).map(|end| format!(" (is {end} a slip of {here}?)")).unwrap_or_default();
        format!("sets.{} runs from {} to {}, so this node, {here}, has no part in it{slip}", set.name, set.source, set.standby)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_never_overflows_and_rounds_down() {
        assert_eq!(MaxOrphans::Share(25).allowed(7), 1);
        assert_eq!(MaxOrphans::Share(100).allowed(u64::MAX), u64::MAX);
        assert_eq!(MaxOrphans::Share(255).allowed(10), 10);
        assert_eq!(MaxOrphans::Count(3).allowed(0), 3);
    }

    #[test]
    fn max_orphans_is_read_as_printed() {
        for written in ["25%", "0%", "100%", "0", "1000"] {
            assert_eq!(written.parse::<MaxOrphans>().unwrap().to_string(), written);
        }
        assert!("101%".parse::<MaxOrphans>().is_err());
        assert!("-1".parse::<MaxOrphans>().is_err());
    }

    #[test]
    fn words_are_read_as_printed() {
        for word in Orphans::WORDS {
            assert_eq!(word.parse::<Orphans>().unwrap().as_str(), *word);
        }
        let error = "delete".parse::<Orphans>().unwrap_err();
        assert_eq!(error.to_string(), r#""delete" is not one of remove, report, keep"#);
    }
}
