//! A group as cutovers see it: its nodes, its resources, and what needs what.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use standin_common::id::{GroupName, NodeName, ResourceName, SetName};

/// A group, the same on each of its nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// Where it may be online.
    pub nodes: Vec<Member>,
    /// What moves with it, each after what it needs: see [`Group::new`].
    pub resources: Vec<Part>,
    /// Whether there is a command that keeps a lost node from going on.
    #[serde(default)]
    pub fences: bool,
}

/// A node of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which.
    pub node: NodeName,
    /// From 1 to 999; the lowest is the group's home, and the lower one is asked first to take over.
    pub priority: u16,
}

/// A resource of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: ResourceName,
    /// Which set it is, if it is a volume.
    pub set: Option<SetName>,
    /// What has to be online before it starts, and is stopped after it.
    pub needs: Vec<ResourceName>,
    /// How long it may take to start, in milliseconds.
    pub start_limit_ms: u64,
    /// How long it may take to stop, in milliseconds.
    pub stop_limit_ms: u64,
    /// Whether the group counts as online without it.
    pub optional: bool,
}

/// Why resources make no group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two have one name.
    #[error("two resources of group {0} are called {1}: give one another name")]
    Twice(GroupName, ResourceName),
    /// One needs what is not there.
    #[error("resource {resource} of group {group} needs {missing}, which the group does not have")]
    Missing {
        /// The group.
        group: GroupName,
        /// Who needs it.
        resource: ResourceName,
        /// What.
        missing: ResourceName,
    },
    /// Some need each other in a circle.
    #[error("resources of group {group} need each other in a circle: {}", circle.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Circle {
        /// The group.
        group: GroupName,
        /// Those of the circle, or behind it.
        circle: Vec<ResourceName>,
    },
}

impl Group {
    /// A group of resources in any order.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn new(name: GroupName, nodes: Vec<Member>, resources: Vec<Part>) -> Result<Self, GraphError> {
        let mut waiting: BTreeMap<ResourceName, Part> = BTreeMap::new();
        let order: Vec<ResourceName> = resources.iter().map(|part| part.name.clone()).collect();
        for part in resources {
            if let Some(other) = waiting.insert(part.name.clone(), part) {
                return Err(GraphError::Twice(name, other.name));
            }
        }
        for part in waiting.values() {
            if let Some(missing) = part.needs.iter().find(|needed| !waiting.contains_key(*needed)) {
                return Err(GraphError::Missing { group: name, resource: part.name.clone(), missing: missing.clone() });
            }
        }
        let mut sorted: Vec<Part> = Vec::new();
        while !waiting.is_empty() {
            let free = |part: &Part| part.needs.iter().all(|needed| !waiting.contains_key(needed));
            // The first one as written, so that the order is the reader's where nothing else is asked.
            let Some(next) = order.iter().find(|name| waiting.get(*name).is_some_and(free)) else {
                return Err(GraphError::Circle { group: name, circle: waiting.into_keys().collect() });
            };
            sorted.extend(waiting.remove(next));
        }
        Ok(Self { name, nodes, resources: sorted, fences: false })
    }

    /// The same, with a command that keeps a lost node from going on, or without.
    #[must_use]
    pub fn with_fence(self, fences: bool) -> Self {
        Self { fences, ..self }
    }

    /// The resource of this name.
    pub fn part(&self, name: &ResourceName) -> Option<&Part> {
        self.resources.iter().find(|part| part.name == *name)
    }

    /// The sets among its resources.
    pub fn sets(&self) -> impl Iterator<Item = &SetName> {
        self.resources.iter().filter_map(|part| part.set.as_ref())
    }

    /// Whether this node is one of the group's.
    pub fn has_node(&self, node: &NodeName) -> bool {
        self.nodes.iter().any(|member| member.node == *node)
    }

    /// Its nodes, the home first.
    pub fn by_priority(&self) -> Vec<&NodeName> {
        let mut members: Vec<&Member> = self.nodes.iter().collect();
        members.sort_by_key(|member| member.priority);
        members.into_iter().map(|member| &member.node).collect()
    }

    /// Those that need this one, at once.
    pub fn needed_by<'a>(&'a self, name: &'a ResourceName) -> impl Iterator<Item = &'a Part> {
        self.resources.iter().filter(move |part| part.needs.contains(name))
    }

    /// A resource and all that needs it, directly or not.
    pub fn with_dependents(&self, name: &ResourceName) -> BTreeSet<ResourceName> {
        self.closure(name, |part| self.needed_by(part).map(|part| part.name.clone()).collect())
    }

    /// A resource and all that it needs, directly or not.
    pub fn with_needs(&self, name: &ResourceName) -> BTreeSet<ResourceName> {
        self.closure(name, |part| self.part(part).map(|part| part.needs.clone()).unwrap_or_default())
    }

    fn closure(&self, name: &ResourceName, next: impl Fn(&ResourceName) -> Vec<ResourceName>) -> BTreeSet<ResourceName> {
        let (mut found, mut open) = (BTreeSet::new(), vec![name.clone()]);
        while let Some(name) = open.pop() {
            if found.insert(name.clone()) {
                open.extend(next(&name));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, needs: &[&str]) -> Part {
        let needs = needs.iter().map(|name| name.parse().unwrap()).collect();
        let set = None;
        Part { name: name.parse().unwrap(), set, needs, start_limit_ms: 1, stop_limit_ms: 1, optional: false }
    }

    fn group(parts: Vec<Part>) -> Result<Group, GraphError> {
        Group::new("mail".parse().unwrap(), Vec::new(), parts)
    }

    #[test]
    fn what_is_needed_comes_first_and_the_written_order_is_kept() {
        let sorted =
            group(vec![part("imap", &["disk", "ip"]), part("smtp", &["disk"]), part("ip", &[]), part("disk", &[])]).unwrap();
        let names: Vec<_> = sorted.resources.iter().map(|part| part.name.to_string()).collect();
        assert_eq!(names, ["ip", "disk", "imap", "smtp"]);
        let names = |set: BTreeSet<ResourceName>| set.into_iter().map(String::from).collect::<Vec<_>>();
        assert_eq!(names(sorted.with_dependents(&"disk".parse().unwrap())), ["disk", "imap", "smtp"]);
        assert_eq!(names(sorted.with_needs(&"imap".parse().unwrap())), ["disk", "imap", "ip"]);
    }

    #[test]
    fn what_cannot_be_ordered_is_refused() {
        let error = group(vec![part("a", &["b"]), part("b", &["a"]), part("c", &[])]).unwrap_err();
        assert_eq!(error.to_string(), "resources of group mail need each other in a circle: a, b");
        assert!(matches!(group(vec![part("a", &["x"])]), Err(GraphError::Missing { .. })));
        assert!(matches!(group(vec![part("a", &[]), part("a", &[])]), Err(GraphError::Twice(..))));
    }
}
