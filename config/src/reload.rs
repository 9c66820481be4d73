//! What of new settings a running daemon takes over, and what waits for its next start.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standin_common::id::GroupName;

use crate::difference::Difference;
use crate::group::Group;
use crate::model::{Set, Settings};

/// Keys of a set that may change while it runs; of a key with parts, its first part.
const LIVE: [&str; 15] = [
    "acknowledge",
    "on_disconnect",
    "reconnect",
    "points",
    "rescan",
    "scrub",
    "orphans",
    "max_orphans",
    "history_points",
    "journal_limit",
    "limit",
    "limits",
    "compression",
    "lanes",
    "passes",
];

/// What came of new settings. In each [`Difference`], `here` is what was, and `there` is what is written now; keys are whole, such as
/// `sets.mail.limit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// What was taken over.
    pub applied: Vec<Difference>,
    /// What is only taken over by a restart of the daemon.
    pub restart: Vec<Difference>,
}

impl Settings {
    /// The settings that a daemon with these goes on with once `written` is in the file, and what became of each difference.
    pub fn reload(&self, written: &Self) -> (Self, Reload) {
        let mut reload = Reload { applied: Vec::new(), restart: Vec::new() };
        let node = [
            ("name", self.node.name.to_string(), written.node.name.to_string()),
            ("listen", list(&self.node.listen), list(&written.node.listen)),
            ("state_dir", self.node.state_dir.display().to_string(), written.node.state_dir.display().to_string()),
        ];
        let changed = node.into_iter().filter(|(_, here, there)| here != there);
        reload.restart.extend(changed.map(|(key, here, there)| difference(format!("node.{key}"), here, there)));
        let addresses = |settings: &Self, name| settings.peers.get(name).map_or(none(), |peer| list(&peer.addresses));
        let mut names: Vec<_> = self.peers.keys().chain(written.peers.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let (here, there) = (addresses(self, name), addresses(written, name));
            if here != there {
                reload.applied.push(difference(format!("peers.{name}.addresses"), here, there));
            }
        }
        let mut sets = self.sets.clone();
        for (name, set) in &mut sets {
            match written.sets.get(name) {
                Some(written) => reload.set(set, written),
                None => reload.restart.push(difference(format!("sets.{name}"), "there".to_owned(), none())),
            }
        }
        let new = written.sets.keys().filter(|name| !self.sets.contains_key(*name));
        reload.restart.extend(new.map(|name| difference(format!("sets.{name}"), none(), "there".to_owned())));
        let groups = reload.groups(self, written);
        let (peers, directory) = (written.peers.clone(), written.directory.clone());
        (Self { node: self.node.clone(), peers, sets, directory, groups }, reload)
    }
}

impl Reload {
    /// The groups that a daemon goes on with.
    fn groups(&mut self, here: &Settings, written: &Settings) -> BTreeMap<GroupName, Group> {
        let mut groups = here.groups.clone();
        for (name, group) in &mut groups {
            let Some(written) = written.groups.get(name) else {
                self.restart.push(difference(format!("groups.{name}"), "there".to_owned(), none()));
                continue;
            };
            for Difference { key, here, there } in group.differences(written) {
                let list = if Group::is_live(&key) { &mut self.applied } else { &mut self.restart };
                list.push(difference(format!("groups.{name}.{key}"), here, there));
            }
            *group = group.with_live_of(written);
        }
        let new = written.groups.keys().filter(|name| !here.groups.contains_key(*name));
        self.restart.extend(new.map(|name| difference(format!("groups.{name}"), none(), "there".to_owned())));
        groups
    }

    fn set(&mut self, set: &mut Set, written: &Set) {
        for Difference { key, here, there } in set.differences(written) {
            let first = key.split(['.', '[']).next().unwrap_or_default();
            let list = if LIVE.contains(&first) { &mut self.applied } else { &mut self.restart };
            list.push(difference(format!("sets.{}.{key}", set.name), here, there));
        }
        *set = set.with_live_of(written);
    }
}

impl Set {
    /// This set with what may change while it runs taken from `written`.
    fn with_live_of(&self, written: &Self) -> Self {
        let written = written.clone();
        // Field by field, so that a new one cannot be forgotten here; `LIVE` has the same.
        Self {
            name: self.name.clone(),
            source: self.source.clone(),
            standby: self.standby.clone(),
            capture: self.capture,
            acknowledge: written.acknowledge,
            on_disconnect: written.on_disconnect,
            reconnect: written.reconnect,
            points: written.points,
            rescan_ms: written.rescan_ms,
            scrub_ms: written.scrub_ms,
            queue_limit_bytes: self.queue_limit_bytes,
            orphans: written.orphans,
            max_orphans: written.max_orphans,
            history_points: written.history_points,
            journal_limit_bytes: written.journal_limit_bytes,
            limit_bytes_per_second: written.limit_bytes_per_second,
            limits: written.limits,
            compression: written.compression,
            lanes: written.lanes,
            passes: written.passes,
            passthrough: self.passthrough.clone(),
            roots: self.roots.clone(),
        }
    }
}

fn none() -> String {
    "(none)".to_owned()
}

fn difference(key: String, here: String, there: String) -> Difference {
    Difference { key, here, there }
}

fn list(addresses: &[crate::address::Address]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
[node]
name = "alpha"
state_dir = "/var/lib/standin"
[peers.beta]
addresses = ["10.0.0.2:7420"]
[sets.mail]
source = "alpha"
standby = "beta"
limit = "50 MB/s"
[[sets.mail.roots]]
path = "/srv/mail"
target = "/srv/standby/mail"
"#;

    fn settings(changes: &[(&str, &str)]) -> Settings {
        let text = changes.iter().fold(FILE.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        Settings::parse(&text, "standin.toml").unwrap()
    }

    fn keys(differences: &[Difference]) -> Vec<&str> {
        differences.iter().map(|difference| difference.key.as_str()).collect()
    }

    #[test]
    fn what_may_change_live_is_taken_over_and_the_rest_waits() {
        let old = settings(&[]);
        let more = "limit = \"1 MB/s\"\nlanes = 2\ncapture = \"watch\"\nqueue_limit = \"1 GiB\"\npoints = { quiet = \"off\" }\n\
                    limits = [ { rate = \"pause\", to = \"01:00\" } ]";
        let new = settings(&[
            ("limit = \"50 MB/s\"", more),
            ("10.0.0.2:7420", "10.0.0.3:7420"),
            ("/srv/mail", "/srv/post"),
            ("[node]", "[node]\nlisten = []"),
        ]);
        let (now, reload) = old.reload(&new);
        assert_eq!(
            keys(&reload.applied),
            ["peers.beta.addresses", "sets.mail.points.quiet", "sets.mail.limit", "sets.mail.lanes", "sets.mail.limits[0]"]
        );
        assert_eq!(
            keys(&reload.restart),
            ["node.listen", "sets.mail.capture", "sets.mail.queue_limit", "sets.mail.roots[0].path"]
        );
        let set = now.sets.values().next().unwrap();
        assert_eq!((set.limit_bytes_per_second, set.lanes, set.limits.len()), (Some(1_000_000), 2, 1));
        assert_eq!((set.capture, set.roots[0].path.to_str()), (crate::Capture::Scan, Some("/srv/mail")));
        // What waits is said again each time; what was taken over is not.
        let (again, second) = now.reload(&new);
        assert_eq!((again, second.applied, second.restart), (now, Vec::new(), reload.restart));
    }

    #[test]
    fn sets_come_and_go_with_a_restart() {
        let (old, new) = (settings(&[]), settings(&[("mail]", "post]"), ("mail.roots", "post.roots")]));
        let (now, reload) = old.reload(&new);
        assert_eq!((now, keys(&reload.restart)), (old, vec!["sets.mail", "sets.post"]));
        assert!(reload.applied.is_empty());
    }

    #[test]
    fn nothing_is_said_of_what_is_as_it_was() {
        let old = settings(&[]);
        assert_eq!(old.reload(&old), (old.clone(), Reload { applied: Vec::new(), restart: Vec::new() }));
    }
}
