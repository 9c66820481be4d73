//! The names of objects that have several: a notice names the one through which something was changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use standin_common::message::Position;

use crate::volume::Stamp;

/// What tells an object from all others of its machine: device and inode.
type ObjectId = (u64, u64);

/// An object with several names.
#[derive(Debug, Clone, Default)]
struct Known {
    /// The names that were met.
    at: BTreeSet<Position>,
    /// How many it has, as it was last met.
    names: u64,
}

/// All names of objects that have several, as far as they were met.
///
/// How it is driven: `met` with every object that a walk meets, `gone` with every place where there is nothing any more. Memory is that of the
/// names of such objects; those with one name take none.
#[derive(Debug, Clone, Default)]
pub struct Links {
    objects: HashMap<ObjectId, Known>,
    places: BTreeMap<Position, ObjectId>,
}

impl Links {
    /// None known.
    pub fn new() -> Self {
        Self::default()
    }

    /// A walk met an object that has this many names. Directories, which have one name whatever is counted, are not to be told.
    pub fn met(&mut self, at: &Position, stamp: &Stamp, names: u64) {
        let id = (stamp.device, stamp.inode);
        if self.places.get(at).is_some_and(|before| *before != id) {
            self.forget(at);
        }
        if names > 1 {
            let known = self.objects.entry(id).or_default();
            known.names = names;
            known.at.insert(at.clone());
            self.places.insert(at.clone(), id);
        } else if let Some(known) = self.objects.remove(&id) {
            // Whatever else it was called is gone.
            for name in known.at {
                self.places.remove(&name);
            }
        }
    }

    /// There is nothing any more at a place, nor beneath it.
    pub fn gone(&mut self, at: &Position) {
        let beneath = |place: &&Position| place.root == at.root && place.path.starts_with(&at.path);
        let gone: Vec<_> = self.places.range(at..).map(|(place, _)| place).take_while(beneath).cloned().collect();
        gone.iter().for_each(|place| self.forget(place));
    }

    /// The other names of the object at a place, in order.
    pub fn others<'a>(&'a self, at: &'a Position) -> impl Iterator<Item = &'a Position> {
        let known = self.places.get(at).and_then(|id| self.objects.get(id));
        known.into_iter().flat_map(|known| &known.at).filter(move |name| *name != at)
    }

    /// The names elsewhere of all objects that have one at a place, or beneath it.
    pub fn elsewhere(&self, at: &Position) -> Vec<Position> {
        let is_beneath = |place: &Position| place.root == at.root && place.path.starts_with(&at.path);
        let beneath = self.places.range(at..).map(|(place, _)| place).take_while(|place| is_beneath(place));
        let others = beneath.flat_map(|place| self.others(place)).filter(|name| !is_beneath(name));
        others.cloned().collect()
    }

    /// Whether exactly as many names of the object at a place are known as it has; if not, some were not met, lie outside all roots, or
    /// are gone. Of what was not met with several names, one is all.
    pub fn complete(&self, at: &Position) -> bool {
        let known = self.places.get(at).and_then(|id| self.objects.get(id));
        known.is_none_or(|known| known.at.len() as u64 == known.names)
    }

    /// Whether a name is known of this object, if it has several.
    pub fn knows(&self, id: (u64, u64)) -> bool {
        self.objects.contains_key(&id)
    }

    /// How many names of objects with several are known.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no object with several names is known.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Takes one name away from its object. How many names that has is known when it is met again.
    fn forget(&mut self, at: &Position) {
        let Some(id) = self.places.remove(at) else { return };
        let Some(known) = self.objects.get_mut(&id) else { return };
        known.at.remove(at);
        if known.at.is_empty() {
            self.objects.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use standin_common::id::RootIndex;
    use standin_common::path::RelPath;

    use super::*;

    fn at(path: &str) -> Position {
        Position { root: RootIndex(0), path: RelPath::new(path).unwrap() }
    }

    fn stamp(inode: u64) -> Stamp {
        Stamp { device: 1, inode, ..Stamp::default() }
    }

    fn others(links: &Links, path: &str) -> Vec<String> {
        links.others(&at(path)).map(|name| name.path.to_string()).collect()
    }

    #[test]
    fn names_of_one_object_find_each_other() {
        let mut links = Links::new();
        links.met(&at("a"), &stamp(7), 3);
        links.met(&at("d/b"), &stamp(7), 3);
        links.met(&at("lonely"), &stamp(8), 1);
        assert_eq!(others(&links, "a"), ["d/b"]);
        assert!(!links.complete(&at("a")), "the third name lies outside or was not met");
        links.met(&at("c"), &stamp(7), 3);
        assert_eq!(others(&links, "c"), ["a", "d/b"]);
        assert!(links.complete(&at("a")) && links.complete(&at("lonely")) && links.complete(&at("never met")));
        assert_eq!((others(&links, "lonely").len(), links.len()), (0, 3));
        links.gone(&at("d"));
        assert_eq!(others(&links, "a"), ["c"]);
    }

    #[test]
    fn a_name_that_leads_elsewhere_leaves_its_object() {
        let mut links = Links::new();
        links.met(&at("a"), &stamp(7), 2);
        links.met(&at("b"), &stamp(7), 2);
        links.met(&at("b"), &stamp(9), 2);
        assert!(others(&links, "a").is_empty() && others(&links, "b").is_empty());
        links.met(&at("a"), &stamp(7), 1);
        assert_eq!(links.len(), 1);
        links.met(&at("b"), &stamp(10), 1);
        assert!(links.is_empty());
        assert!(links.objects.is_empty());
    }

    proptest! {
        /// After meeting everything of a tree as it is, it knows exactly that tree, whatever it knew before.
        #[test]
        fn after_a_walk_it_is_right(
            before in proptest::collection::vec((0u8..12, 0u64..4, 1u64..4), 0..30),
            tree in proptest::collection::btree_map(0u8..12, 0u64..4, 0..12),
        ) {
            let mut links = Links::new();
            for (name, inode, names) in before {
                links.met(&at(&format!("n{name}")), &stamp(inode), names);
            }
            let count = |inode: u64| tree.values().filter(|other| **other == inode).count() as u64;
            for name in 0..12 {
                let place = at(&format!("n{name}"));
                match tree.get(&name) {
                    Some(inode) => links.met(&place, &stamp(*inode), count(*inode)),
                    None => links.gone(&place),
                }
            }
            for (name, inode) in &tree {
                let same = tree.iter().filter(|(other, i)| *i == inode && *other != name).map(|(other, _)| at(&format!("n{other}")));
                let mut same: Vec<_> = same.collect();
                same.sort();
                let place = at(&format!("n{name}"));
                prop_assert_eq!(links.others(&place).cloned().collect::<Vec<_>>(), same);
                prop_assert!(links.complete(&place));
            }
            prop_assert_eq!(links.places.len(), links.objects.values().map(|known| known.at.len()).sum::<usize>());
        }
    }
}
