//! The places that may have changed and were not looked at since: few, sorted, disjoint.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use standin_common::id::RootIndex;
use standin_common::message::Position;
use standin_common::path::RelPath;
use standin_common::scope::{Depth, Scope};

use super::Noticed;
use crate::rules::Rules;
use crate::volume::is_reserved;

/// A directory with this many dirty children is worth to be looked at as a whole before emptier ones are.
const CROWD: usize = 8;

/// What was taken out of a dirty set, for one pass to look at.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The places, sorted; nothing lies beneath a [`Depth::Subtree`] of them, and each place is there once.
    pub scopes: Vec<Scope>,
    /// Why everything may have changed; then `scopes` is each root as a whole.
    pub whole: Option<String>,
    /// When the oldest of the changes was noted; `None` if there are none.
    pub oldest: Option<Instant>,
    /// When the newest was.
    pub newest: Option<Instant>,
    /// How often a change was noted.
    pub changes: u64,
}

impl Taken {
    /// Whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }
}

/// The dirty set of a replication set.
///
/// How it is driven: `hear` what the watcher tells; `take` when a pass begins, and `put_back` when that pass failed. What is noted
/// meanwhile is for the next pass. It never forgets: whatever was noted lies in the scopes of the next `take`.
#[derive(Debug, Clone)]
pub struct Dirty {
    /// Of each root.
    rules: Vec<Rules>,
    /// More places than this are coarsened.
    limit: usize,
    /// Nothing lies beneath a subtree.
    places: BTreeMap<Position, Depth>,
    whole: Option<String>,
    oldest: Option<Instant>,
    newest: Option<Instant>,
    changes: u64,
    seen: u64,
    /// When the last change of all was noted.
    last: Option<Instant>,
}

impl Dirty {
    /// An empty one for the roots that have these rules. More than `limit` places are coarsened: then directories are looked at as a whole.
    pub fn new(rules: Vec<Rules>, limit: usize) -> Self {
        let limit = limit.max(rules.len()).max(1);
        let places = BTreeMap::new();
        Self { rules, limit, places, whole: None, oldest: None, newest: None, changes: 0, seen: 0, last: None }
    }

    /// Notes whatever a watcher told.
    pub fn hear(&mut self, noticed: Noticed, now: Instant) {
        match noticed {
            Noticed::Changed(scope) => self.note(scope, now),
            Noticed::Directory(at) => self.note_directory(at, now),
            Noticed::Lost(why) => self.lose(now, why),
        }
    }

    /// Notes a change. One that the rules exclude is none, but that it may change the time of the directory it is in.
    pub fn note(&mut self, scope: Scope, now: Instant) {
        if self.counts(&scope.at, scope.depth == Depth::Subtree) {
            self.note_counting(scope, now);
        } else if let Some(directory) = parent(&scope.at).filter(|_| !is_reserved(&scope.at.path)) {
            self.note_directory(directory, now);
        }
    }

    /// Notes a change of a directory's attributes. An excluded one counts when it is the way to something included.
    pub fn note_directory(&mut self, at: Position, now: Instant) {
        if self.counts(&at, true) {
            self.note_counting(Scope { at, depth: Depth::Object }, now);
        }
    }

    fn note_counting(&mut self, scope: Scope, now: Instant) {
        self.changed(now);
        self.add(scope);
        self.coarsen();
    }

    /// Notes that anything may have changed, and why.
    pub fn lose(&mut self, now: Instant, why: impl Into<String>) {
        self.changed(now);
        self.places.clear();
        // The first reason is the one that made the scan necessary.
        self.whole.get_or_insert_with(|| why.into());
    }

    /// Takes everything out.
    pub fn take(&mut self) -> Taken {
        let taken = self.contents();
        self.places.clear();
        (self.whole, self.oldest, self.newest, self.changes) = (None, None, None, 0);
        taken
    }

    /// What [`Dirty::take`] would give now.
    pub fn contents(&self) -> Taken {
        let scopes = match self.whole {
            Some(_) => (0..self.rules.len()).map(root_as_a_whole).collect(),
            None => self.places.iter().map(|(at, depth)| Scope { at: at.clone(), depth: *depth }).collect(),
        };
        Taken { scopes, whole: self.whole.clone(), oldest: self.oldest, newest: self.newest, changes: self.changes }
    }

    /// Puts back what a pass took and did not end well. That is no new change: [`Dirty::seen`] stays.
    pub fn put_back(&mut self, taken: Taken) {
        self.oldest = self.oldest.into_iter().chain(taken.oldest).min();
        self.newest = self.newest.into_iter().chain(taken.newest).max();
        self.changes += taken.changes;
        if let Some(why) = taken.whole {
            self.places.clear();
            self.whole = Some(why);
            return;
        }
        taken.scopes.into_iter().for_each(|scope| self.add(scope));
        self.coarsen();
    }

    /// Whether nothing was noted since the last `take`, nor put back.
    pub fn is_empty(&self) -> bool {
        self.whole.is_none() && self.places.is_empty()
    }

    /// How many places there are; everything counts as one for each root.
    pub fn len(&self) -> usize {
        if self.whole.is_some() { self.rules.len() } else { self.places.len() }
    }

    /// Why everything is dirty, if it is.
    pub fn whole(&self) -> Option<&str> {
        self.whole.as_deref()
    }

    /// How often a change was noted that was not taken.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// When the oldest change was noted that was not taken.
    pub fn oldest(&self) -> Option<Instant> {
        self.oldest
    }

    /// When the newest change was noted; also if it was taken.
    pub fn last(&self) -> Option<Instant> {
        self.last
    }

    /// How long ago the oldest change was noted that was not taken; `None` if there is none.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.oldest.map(|at| now.saturating_duration_since(at))
    }

    /// How long nothing was noted; `None` if nothing was since the last `take`.
    pub fn quiet_for(&self, now: Instant) -> Option<Duration> {
        self.newest.map(|at| now.saturating_duration_since(at))
    }

    /// How often a change was noted since this was made; it never falls. The same number as before means that nothing was noted since.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Counts changes that were noted in an earlier life.
    pub(super) fn count_more(&mut self, changes: u64) {
        self.changes += changes;
    }

    /// Whether the rules let what is at a place be replicated, or, where there may be a directory, anything beneath it.
    fn counts(&self, at: &Position, directory: bool) -> bool {
        let Some(rules) = self.rules.get(usize::from(at.root.0)) else { return false };
        !is_reserved(&at.path) && (rules.judge(&at.path).included || directory && rules.may_include_beneath(&at.path))
    }

    fn changed(&mut self, now: Instant) {
        self.oldest.get_or_insert(now);
        self.newest = self.newest.max(Some(now));
        self.last = self.last.max(Some(now));
        self.changes += 1;
        self.seen += 1;
    }

    fn add(&mut self, scope: Scope) {
        if self.whole.is_some() || self.is_covered(&scope) {
            return;
        }
        if scope.depth == Depth::Subtree {
            self.remove_beneath(&scope.at);
        }
        self.places.insert(scope.at, scope.depth);
    }

    /// Whether looking at what is there already looks at this, too.
    fn is_covered(&self, scope: &Scope) -> bool {
        // Nothing lies between a subtree and what is beneath it, so the last place up to this one tells.
        self.places.range(..=&scope.at).next_back().is_some_and(|(at, depth)| match depth {
            Depth::Subtree => at.root == scope.at.root && scope.at.path.starts_with(&at.path),
            Depth::Object => *at == scope.at && scope.depth == Depth::Object,
        })
    }

    fn remove_beneath(&mut self, top: &Position) {
        let beneath = |(at, _): &(&Position, &Depth)| at.root == top.root && at.path.starts_with(&top.path);
        let doomed: Vec<_> = self.places.range(top..).take_while(beneath).map(|(at, _)| at.clone()).collect();
        for at in doomed {
            self.places.remove(&at);
        }
    }

    /// Makes subtrees of directories until there are clearly fewer places than the limit.
    fn coarsen(&mut self) {
        if self.places.len() <= self.limit {
            return;
        }
        // Not just below the limit, or the next note would be here again; but each root may stay a place.
        let goal = (self.limit - self.limit / 4).max(self.rules.len());
        while self.places.len() > goal {
            let mut crowds: BTreeMap<Position, usize> = BTreeMap::new();
            for at in self.places.keys() {
                if let Some(parent) = parent(at) {
                    *crowds.entry(parent).or_default() += 1;
                }
            }
            let mut order: Vec<_> = crowds.into_iter().map(|(at, count)| (count >= CROWD, at.path.depth(), count, at)).collect();
            // Directories in which there is one dirty child each save nothing, but lead up to those that do.
            let single = order.iter().all(|(_, _, count, _)| *count == 1);
            order.retain(|(_, _, count, _)| single || *count > 1);
            order.sort_unstable_by(|a, b| b.cmp(a));
            if order.is_empty() {
                return;
            }
            for (_, _, _, at) in order {
                if self.places.len() <= goal {
                    break;
                }
                self.add(Scope { at, depth: Depth::Subtree });
            }
        }
    }
}

fn root_as_a_whole(root: usize) -> Scope {
    let root = RootIndex(u16::try_from(root).unwrap_or(u16::MAX));
    Scope { at: Position { root, path: RelPath::root() }, depth: Depth::Subtree }
}

fn parent(at: &Position) -> Option<Position> {
    Some(Position { root: at.root, path: at.path.parent()? })
}

#[cfg(test)]
#[path = "dirty_tests.rs"]
mod tests;
