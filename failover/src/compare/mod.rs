//! Two servers beside each other: what differs in groups, stores, files and paths, and the renames that make the target's names equal.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

use crate::directory::{Dn, Rdn};
use crate::exchange::{MailStore, Server, Snapshot, StorageGroup};
use crate::pairing::base_name;
use crate::plan::{Action, Asked, Kind, Plan, PlannedRename};

/// What a difference is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Versions of the servers.
    Version,
    /// A storage group or a store that one of them lacks.
    Presence,
    /// A name, which a rename of the target's object makes equal.
    Name,
    /// A file or a path.
    Place,
    /// The target has no public store.
    PublicStore,
}

/// One thing in which the target is not as the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The source's object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Dn>,
    /// The target's object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Dn>,
    /// What differs, and what to do.
    pub what: String,
    /// What it is about.
    pub aspect: Aspect,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// What a comparison found.
pub struct Comparison {
    /// All differences; none means that every store has its counterpart under the same name.
    pub differences: Vec<Difference>,
    renames: Vec<(Dn, Rdn, String)>,
}

/// Compares two servers.
///
/// Groups are the same by name, else by the prefix of their logs, stores by name, else by their file's name. What only has another name then is to be renamed.
pub fn compare(source: &Server, target: &Server) -> Comparison {
    let mut found = Comparison { differences: Vec::new(), renames: Vec::new() };
    if source.version != target.version {
        found.differ(
            Aspect::Version,
            Some(&source.dn),
            Some(&target.dn),
            format!(
                "{} runs {}, {} runs {}: bring them to the same service pack",
                source.name, source.version, target.name, target.version
            ),
        );
    }
    let ours = || source.groups.iter().filter(|group| !group.is_recovery);
    let theirs: Vec<&StorageGroup> = target.groups.iter().filter(|group| !group.is_recovery).collect();
    let matched = match_up(
        &ours().collect::<Vec<_>>(),
        &theirs,
        |a, b| is_same(&a.name, &b.name),
        |a, b| a.log_prefix.is_some() && same(a.log_prefix.as_deref(), b.log_prefix.as_deref()),
    );
    for (group, other) in ours().zip(&matched) {
        match other.map(|at| theirs[at]) {
            Some(other) => found.groups(group, other),
            None => found.differ(
                Aspect::Presence,
                Some(&group.dn),
                None,
                format!("{} has no storage group \"{}\": create it, with the same log prefix", target.name, group.name),
            ),
        }
    }
    for (_, group) in theirs.iter().enumerate().filter(|(at, _)| !matched.contains(&Some(*at))) {
        found.differ(
            Aspect::Presence,
            None,
            Some(&group.dn),
            format!("{} has a storage group more, \"{}\"", target.name, group.name),
        );
    }
    if source.public_store().is_some() && target.public_store().is_none() {
        found.differ(
            Aspect::PublicStore,
            Some(&source.dn),
            Some(&target.dn),
            format!("{} has no public store: create one, or name another server's with --default-public-store", target.name),
        );
    }
    found
}

impl Comparison {
    fn differ(&mut self, aspect: Aspect, source: Option<&Dn>, target: Option<&Dn>, what: String) {
        self.differences.push(Difference { source: source.cloned(), target: target.cloned(), what, aspect });
    }

    fn name(&mut self, source: &Dn, target: &Dn, kind: &str) {
        let (ours, theirs) = (source.common_name(), target.common_name());
        if is_same(&ours, &theirs) {
            return;
        }
        let what = format!("{kind} \"{ours}\" has the name \"{theirs}\" on the target");
        self.renames.push((target.clone(), Rdn::cn(&ours), what.clone()));
        self.differences.push(Difference {
            source: Some(source.clone()),
            target: Some(target.clone()),
            what,
            aspect: Aspect::Name,
        });
    }

    fn groups(&mut self, ours: &StorageGroup, theirs: &StorageGroup) {
        if !ours.name.is_empty() {
            self.name(&ours.dn, &theirs.dn, "storage group");
        }
        let all = [
            ("log prefix", &ours.log_prefix, &theirs.log_prefix),
            ("log path", &ours.log_path, &theirs.log_path),
            ("system path", &ours.system_path, &theirs.system_path),
        ];
        for (what, one, other) in all.into_iter().filter(|(_, one, other)| !same(one.as_deref(), other.as_deref())) {
            self.differ(
                Aspect::Place,
                Some(&ours.dn),
                Some(&theirs.dn),
                format!("{what} of storage group \"{}\" is {}, on the target {}", ours.name, shown(one), shown(other)),
            );
        }
        let matched = match_up(
            &ours.stores.iter().collect::<Vec<_>>(),
            &theirs.stores.iter().collect::<Vec<_>>(),
            |a, b| a.kind == b.kind && is_same(&a.name, &b.name),
            |a, b| a.kind == b.kind && a.file.is_some() && same(file(a), file(b)),
        );
        for (store, other) in ours.stores.iter().zip(&matched) {
            match other.map(|at| &theirs.stores[at]) {
                Some(other) => self.stores(store, other),
                None => self.differ(
                    Aspect::Presence,
                    Some(&store.dn),
                    Some(&theirs.dn),
                    format!(
                        "the target has no store \"{}, {}\" of this kind: create it, with the file {}",
                        ours.name,
                        store.name,
                        shown(&store.file)
                    ),
                ),
            }
        }
        for (_, store) in theirs.stores.iter().enumerate().filter(|(at, _)| !matched.contains(&Some(*at))) {
            self.differ(
                Aspect::Presence,
                None,
                Some(&store.dn),
                format!("the target has a store more, \"{}, {}\"", theirs.name, store.name),
            );
        }
    }

    fn stores(&mut self, ours: &MailStore, theirs: &MailStore) {
        self.name(&ours.dn, &theirs.dn, "store");
        if !same(file(ours), file(theirs)) {
            let what = format!(
                "the file of store \"{}\" is {}, on the target {}: give it the same name there, or no pair is made",
                ours.name,
                shown(&ours.file),
                shown(&theirs.file)
            );
            self.differ(Aspect::Place, Some(&ours.dn), Some(&theirs.dn), what);
        } else if !same(ours.file.as_deref(), theirs.file.as_deref()) {
            let what = format!(
                "the file of store \"{}\" is {}, on the target {}: replicate it to there",
                ours.name,
                shown(&ours.file),
                shown(&theirs.file)
            );
            self.differ(Aspect::Place, Some(&ours.dn), Some(&theirs.dn), what);
        }
        if !same(ours.stream_file.as_deref(), theirs.stream_file.as_deref()) {
            let what = format!(
                "the streaming file of store \"{}\" is {}, on the target {}",
                ours.name,
                shown(&ours.stream_file),
                shown(&theirs.stream_file)
            );
            self.differ(Aspect::Place, Some(&ours.dn), Some(&theirs.dn), what);
        }
    }

    /// The plan that makes the target's names equal: stores before their groups, each to a name that is free when its turn comes.
    pub fn rename_plan(&self, snapshot: &Snapshot, source: &Server, target: &Server) -> Plan {
        let asked = Asked {
            action: Action::Rename,
            from: source.name.clone(),
            to: target.name.clone(),
            rules: Vec::new(),
            options: Vec::new(),
        };
        let mut plan = Plan::new(asked, snapshot.contexts.clone());
        let mut waiting = self.renames.clone();
        waiting.sort_by_key(|(object, _, _)| std::cmp::Reverse(object.depth()));
        let mut taken: Vec<Dn> =
            snapshot.entries().iter().map(|entry| &entry.dn).filter(|dn| dn.is_beneath(&target.dn)).cloned().collect();
        while let Some(next) = waiting.iter().position(|(object, name, _)| may_go(object, name, &taken, &waiting)) {
            let (object, name, reason) = waiting.remove(next);
            taken.retain(|dn| *dn != object);
            taken.push(object.with_name(&name));
            let guid = snapshot.get(&object).and_then(|entry| entry.value("objectGUID").cloned());
            plan.renames.push(PlannedRename {
                object,
                guid,
                context: snapshot.contexts.configuration.clone(),
                name,
                kind: Kind::Name,
                reason: reason.into(),
            });
        }
        for (object, name, _) in waiting {
            plan.warnings.push(format!("{object} can not become {name}: another object has that name; rename that one first"));
        }
        plan
    }
}

/// Whether the name is free, and no deeper object waits, as its turn would come under another name.
fn may_go(object: &Dn, name: &Rdn, taken: &[Dn], waiting: &[(Dn, Rdn, String)]) -> bool {
    let new = object.with_name(name);
    let is_free = new == *object || !taken.contains(&new);
    is_free && !waiting.iter().any(|(other, _, _)| other.is_beneath(object))
}

/// For each of ours one of theirs, each at most once: the surely same first, then the likely same.
fn match_up<T>(
    ours: &[&T],
    theirs: &[&T],
    surely: impl Fn(&T, &T) -> bool,
    likely: impl Fn(&T, &T) -> bool,
) -> Vec<Option<usize>> {
    let mut matched: Vec<Option<usize>> = vec![None; ours.len()];
    for is_same in [&surely as &dyn Fn(&T, &T) -> bool, &likely] {
        for (at, one) in ours.iter().enumerate() {
            let free = |other: &usize| !matched.contains(&Some(*other)) && is_same(one, theirs[*other]);
            if matched[at].is_none() {
                let found = (0..theirs.len()).find(free);
                matched[at] = found;
            }
        }
    }
    matched
}

fn file(store: &MailStore) -> Option<&str> {
    store.file.as_deref().map(base_name)
}

fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn same(one: Option<&str>, other: Option<&str>) -> bool {
    one.map(str::to_lowercase) == other.map(str::to_lowercase)
}

fn shown(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or("not set")
}
