//! All names of what changed: a notice tells the one through which it was changed, and the standby must not tear names apart.

use std::collections::HashMap;
use std::time::Instant;

use standin_common::id::RootIndex;
use standin_common::message::Position;
use standin_common::scope::{Depth, Scope};

use super::{Dirty, Links};
use crate::rules::Rules;
use crate::scopes::{Disorder, Scopes};
use crate::volume::{Object, ObjectKind, Volume};
use crate::walk::Walk;

/// What is known of objects with several names, as far as it was needed.
#[derive(Debug, Default)]
pub struct LinkedNames {
    links: Links,
    /// Objects of which further names lie where nobody looks, by device and inode, and how many names they had when that was found. Met with
    /// another number, they are looked for again, as is another object that got the inode: it has one name at first.
    outside: HashMap<(u64, u64), u64>,
}

/// So many objects with names elsewhere are remembered though no name of theirs is known any more.
const MOST_GONE: usize = 10_000;

impl LinkedNames {
    /// The scopes, and every further name of what is met in them. Only if one is not known, the roots are walked.
    pub fn expand<V: Volume>(&mut self, volumes: &[V], rules: &[Rules], scopes: Vec<Scope>) -> Result<Vec<Scope>, Disorder> {
        // An object that was changed through a name that is gone has its others still.
        let mut others: Vec<Position> = scopes.iter().flat_map(|scope| self.links.elsewhere(&scope.at)).collect();
        // What is still there is met again.
        scopes.iter().for_each(|scope| self.links.gone(&scope.at));
        let within = Scopes::by_root(scopes.iter().cloned())?;
        let mut met = Vec::new();
        for (root, scopes) in &within {
            self.look(volumes, rules, *root, Some(scopes), &mut |at, object| met.push((at, key(object))));
        }
        let unknown = |links: &Links, outside: &HashMap<_, _>| {
            let unknown =
                |(at, (id, names)): &&(Position, ((u64, u64), u64))| !links.complete(at) && outside.get(id) != Some(names);
            met.iter().filter(unknown).map(|(_, key)| *key).collect::<Vec<_>>()
        };
        if !unknown(&self.links, &self.outside).is_empty() {
            tracing::debug!("an object with several names changed: looking for them");
            for root in 0..volumes.len() {
                self.look(volumes, rules, RootIndex(root as u16), None, &mut |_, _| {});
            }
            let outside = unknown(&self.links, &self.outside);
            self.outside.extend(outside);
            if self.outside.len() > self.links.len() + MOST_GONE {
                let links = &self.links;
                self.outside.retain(|id, _| links.knows(*id));
            }
        }
        others.extend(met.iter().flat_map(|(at, _)| self.links.others(at)).cloned());
        if others.is_empty() {
            return Ok(scopes);
        }
        let mut all = Dirty::new(rules.to_vec(), usize::MAX);
        let now = Instant::now();
        scopes.into_iter().for_each(|scope| all.note(scope, now));
        others.into_iter().for_each(|at| all.note(Scope { at, depth: Depth::Object }, now));
        Ok(all.take().scopes)
    }

    /// Learns the names in a part of a root; tells of each that is one of several. What cannot be read is for the round to find.
    fn look<V: Volume>(
        &mut self,
        volumes: &[V],
        rules: &[Rules],
        root: RootIndex,
        scopes: Option<&Scopes>,
        several: &mut impl FnMut(Position, &Object),
    ) {
        let index = usize::from(root.0);
        let (Some(volume), Some(rules)) = (volumes.get(index), rules.get(index)) else { return };
        for step in Walk::glancing(volume, rules).within(scopes).flatten() {
            if step.object.kind == ObjectKind::Directory {
                continue;
            }
            let at = Position { root, path: step.path };
            self.links.met(&at, &step.object.stamp, step.object.names);
            let (id, names) = key(&step.object);
            if self.outside.get(&id).is_some_and(|before| *before != names) {
                self.outside.remove(&id);
            }
            if step.object.names > 1 {
                several(at, &step.object);
            }
        }
    }
}

fn key(object: &Object) -> ((u64, u64), u64) {
    ((object.stamp.device, object.stamp.inode), object.names)
}

#[cfg(test)]
mod tests {
    use standin_common::path::RelPath;
    use standin_config::{Effect, Rule};

    use super::*;
    use crate::sim::{Disk, SimVolume};
    use crate::volume::Place;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn scope(text: &str, depth: Depth) -> Scope {
        Scope { at: Position { root: RootIndex(0), path: path(text) }, depth }
    }

    fn expanded(names: &mut LinkedNames, volume: &SimVolume, scopes: &[(&str, Depth)]) -> Vec<String> {
        let scopes = scopes.iter().map(|(path, depth)| scope(path, *depth)).collect();
        let all = names.expand(std::slice::from_ref(volume), &[Rules::everything()], scopes).unwrap();
        all.iter().map(|scope| scope.at.path.to_string()).collect()
    }

    #[test]
    fn a_name_that_comes_after_one_that_nobody_looked_at_is_no_other_object() {
        use Depth::Object;
        let volume = SimVolume::new(Disk::new(0));
        for directory in ["d", "out"] {
            volume.make_directory(&path(directory)).unwrap();
        }
        volume.create(&Place::Tree(&path("d/a"))).unwrap();
        volume.link(&Place::Tree(&path("d/a")), &Place::Tree(&path("out/a"))).unwrap();
        let out = Rule { effect: Effect::Exclude, pattern: "out".to_owned(), recurse: true };
        let rules = [Rules::new(&[out]).unwrap()];
        let mut names = LinkedNames::default();
        let mut expanded = |volume: &SimVolume, at: &str| {
            let all = names.expand(std::slice::from_ref(volume), &rules, vec![scope(at, Object)]).unwrap();
            all.iter().map(|scope| scope.at.path.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(expanded(&volume, "d/a"), ["d/a"]);
        volume.remove(&Place::Tree(&path("out/a"))).unwrap();
        assert_eq!(expanded(&volume, "d/a"), ["d/a"]);
        volume.link(&Place::Tree(&path("d/a")), &Place::Tree(&path("d/b"))).unwrap();
        assert_eq!(expanded(&volume, "d/b"), ["d/a", "d/b"]);
    }

    #[test]
    fn further_names_are_found_wherever_they_are() {
        use Depth::{Object, Subtree};
        let volume = SimVolume::new(Disk::new(0));
        volume.make_directory(&path("d")).unwrap();
        volume.create(&Place::Tree(&path("a"))).unwrap();
        volume.create(&Place::Tree(&path("lone"))).unwrap();
        volume.link(&Place::Tree(&path("a")), &Place::Tree(&path("d/b"))).unwrap();
        let mut names = LinkedNames::default();
        assert_eq!(expanded(&mut names, &volume, &[("lone", Object)]), ["lone"]);
        assert_eq!(expanded(&mut names, &volume, &[("a", Object)]), ["a", "d/b"]);
        assert_eq!(expanded(&mut names, &volume, &[("d", Subtree)]), ["a", "d"]);
        // A new name of a known object, and one of an object that had one.
        volume.link(&Place::Tree(&path("a")), &Place::Tree(&path("c"))).unwrap();
        volume.link(&Place::Tree(&path("lone")), &Place::Tree(&path("e"))).unwrap();
        assert_eq!(expanded(&mut names, &volume, &[("c", Object), ("e", Object)]), ["a", "c", "d/b", "e", "lone"]);
        // One that is gone, by which the object may have been changed.
        volume.remove(&Place::Tree(&path("d/b"))).unwrap();
        assert_eq!(expanded(&mut names, &volume, &[("d/b", Object)]), ["a", "c", "d/b"]);
        assert_eq!(expanded(&mut names, &volume, &[("d/b", Object)]), ["d/b"]);
        assert_eq!(expanded(&mut names, &volume, &[("a", Object)]), ["a", "c"]);
    }
}
