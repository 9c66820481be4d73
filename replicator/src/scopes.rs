//! Which part of a root a walk meets: everything, or a few places and the directories that lead there.
//!
//! Both sides of a round walk by the same scopes, so that their walks can be merged as those of a whole pass are.

use std::collections::BTreeMap;

use standin_common::id::RootIndex;
use standin_common::message::Position;
use standin_common::path::RelPath;
use standin_common::scope::{Depth, Scope};

use crate::volume::{Names, TooManyNames};

/// Places of one root, in the order of the walk; none lies beneath one that is looked at with all beneath it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<(RelPath, Depth)>);

/// What of a directory is met.
#[derive(Debug, PartialEq, Eq)]
pub enum Beneath {
    /// Everything.
    All,
    /// These names.
    Names(Names),
    /// Nothing.
    Nothing,
}

/// Scopes that do not follow each other in the order of the walk, or of which one lies in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its scopes are out of order, or one lies within another")]
pub struct Disorder;

impl Scopes {
    /// Adds the next place.
    pub fn push(&mut self, path: RelPath, depth: Depth) -> Result<(), Disorder> {
        let fits = self.0.last().is_none_or(|(last, reach)| *last < path && (*reach == Depth::Object || !path.starts_with(last)));
        if !fits {
            return Err(Disorder);
        }
        self.0.push((path, depth));
        Ok(())
    }

    /// All places, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&RelPath, Depth)> {
        self.0.iter().map(|(path, depth)| (path, *depth))
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What of the directory at `path` is met.
    pub fn beneath(&self, path: &RelPath) -> Result<Beneath, TooManyNames> {
        let from = self.0.partition_point(|(place, _)| place < path);
        // A subtree that `path` is in is its own place, or the last one before it.
        let around = self.0[..from].last().into_iter().chain(self.0.get(from));
        if around.into_iter().any(|(place, depth)| *depth == Depth::Subtree && path.starts_with(place)) {
            return Ok(Beneath::All);
        }
        let mut names = Names::new();
        let mut last: Option<&[u8]> = None;
        for (place, _) in self.0[from..].iter().take_while(|(place, _)| place.starts_with(path)) {
            let Some(name) = place.components().nth(path.depth()).filter(|name| last != Some(name)) else { continue };
            names.push(name)?;
            last = Some(name);
        }
        Ok(if names.is_empty() { Beneath::Nothing } else { Beneath::Names(names) })
    }

    /// The scopes of each root, by its index.
    pub fn by_root(scopes: impl IntoIterator<Item = Scope>) -> Result<BTreeMap<RootIndex, Self>, Disorder> {
        let mut roots: BTreeMap<RootIndex, Self> = BTreeMap::new();
        for Scope { at: Position { root, path }, depth } in scopes {
            roots.entry(root).or_default().push(path, depth)?;
        }
        Ok(roots)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn scopes(places: &[(&str, Depth)]) -> Result<Scopes, Disorder> {
        let mut scopes = Scopes::default();
        places.iter().try_for_each(|(place, depth)| scopes.push(path(place), *depth))?;
        Ok(scopes)
    }

    fn names(names: &[&str]) -> Beneath {
        let mut all = Names::new();
        names.iter().for_each(|name| all.push(name.as_bytes()).unwrap());
        Beneath::Names(all)
    }

    #[test]
    fn only_places_and_the_way_there_are_met() {
        let scopes =
            scopes(&[("a", Depth::Object), ("a/b/c", Depth::Object), ("a/d", Depth::Subtree), ("e", Depth::Object)]).unwrap();
        let beneath = |text| scopes.beneath(&path(text)).unwrap();
        assert_eq!(beneath(""), names(&["a", "e"]));
        assert_eq!(beneath("a"), names(&["b", "d"]));
        assert_eq!(beneath("a/b"), names(&["c"]));
        assert_eq!(beneath("a/b/c"), Beneath::Nothing);
        assert_eq!(beneath("a/d"), Beneath::All);
        assert_eq!(beneath("a/d/x/y"), Beneath::All);
        assert_eq!(beneath("e"), Beneath::Nothing);
        assert_eq!(beneath("f"), Beneath::Nothing);
    }

    #[test]
    fn disorder_is_refused() {
        assert_eq!(scopes(&[("b", Depth::Object), ("a", Depth::Object)]), Err(Disorder));
        assert_eq!(scopes(&[("a", Depth::Object), ("a", Depth::Subtree)]), Err(Disorder));
        assert_eq!(scopes(&[("a", Depth::Subtree), ("a/b", Depth::Object)]), Err(Disorder));
        assert!(scopes(&[("a", Depth::Subtree), ("a.b", Depth::Object)]).is_ok());
    }

    proptest! {
        #[test]
        fn it_is_what_a_look_at_all_places_says(
            places in proptest::collection::btree_map("[ab](/[ab]){0,3}", any::<bool>(), 0..8), directory in "([ab](/[ab]){0,3})?"
        ) {
            let mut all: Vec<_> = places.iter().map(|(place, deep)| (path(place), *deep)).collect();
            all.sort();
            let mut scopes = Scopes::default();
            all.retain(|(place, deep)| scopes.push(place.clone(), if *deep { Depth::Subtree } else { Depth::Object }).is_ok());
            let directory = path(&directory);
            let whole = all.iter().any(|(place, deep)| *deep && directory.starts_with(place));
            let mut expected: Vec<_> = all.iter().filter(|(place, _)| place.starts_with(&directory))
                .filter_map(|(place, _)| place.components().nth(directory.depth()).map(<[u8]>::to_vec)).collect();
            expected.dedup();
            match scopes.beneath(&directory).unwrap() {
                Beneath::All => prop_assert!(whole),
                Beneath::Nothing => prop_assert!(!whole && expected.is_empty()),
                Beneath::Names(names) => {
                    prop_assert!(!whole);
                    prop_assert_eq!(names.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), expected);
                }
            }
        }
    }
}
