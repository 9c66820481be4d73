//! A tree in memory on which operations are performed one by one, in the plainest way.

use std::collections::BTreeMap;

use standin_common::entry::{Attrs, Time};
use standin_common::path::RelPath;
use standin_replicator::sim::SimVolume;
use standin_replicator::volume::{ObjectKind, Place, Volume, VolumeFile};

/// Path, kind, attributes, data, and the first name of the same object.
pub(crate) type Contents = Vec<(RelPath, ObjectKind, Attrs, Vec<u8>, RelPath)>;

pub(crate) const ROOT: u64 = 1;

#[derive(Debug, Clone)]
pub(crate) struct Thing {
    pub kind: ObjectKind,
    pub attrs: Attrs,
    pub data: Vec<u8>,
    pub entries: BTreeMap<Vec<u8>, u64>,
    pub names: u32,
    /// Made without a name, and has none yet.
    pub nameless: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub things: BTreeMap<u64, Thing>,
    pub next: u64,
    pub clock: i64,
}

impl Model {
    pub(crate) fn new() -> Self {
        let mut model = Self { things: BTreeMap::new(), next: ROOT, clock: 1_000_000 };
        model.add(ObjectKind::Directory);
        model.things.get_mut(&ROOT).unwrap().names = 1;
        model
    }

    pub(crate) fn now(&mut self) -> Time {
        self.clock += 1;
        Time { secs: self.clock, nanos: 7 }
    }

    pub(crate) fn add(&mut self, kind: ObjectKind) -> u64 {
        let mtime = self.now();
        let attrs = Attrs { mode: 0o640, uid: 3, gid: 4, mtime, xattrs: Vec::new() };
        let thing = Thing { kind, attrs, data: Vec::new(), entries: BTreeMap::new(), names: 0, nameless: false };
        let id = self.next;
        self.things.insert(id, thing);
        self.next += 1;
        id
    }

    pub(crate) fn thing(&mut self, id: u64) -> &mut Thing {
        self.things.get_mut(&id).unwrap()
    }

    pub(crate) fn put(&mut self, directory: u64, name: &[u8], id: u64) {
        self.thing(directory).entries.insert(name.to_vec(), id);
        self.thing(id).names += 1;
    }

    pub(crate) fn take(&mut self, directory: u64, name: &[u8]) {
        let id = self.thing(directory).entries.remove(name).unwrap();
        self.thing(id).names -= 1;
    }

    /// All names but the root's: directory, name, object.
    pub(crate) fn names(&self) -> Vec<(u64, Vec<u8>, u64)> {
        let mut all = Vec::new();
        let mut waiting = vec![ROOT];
        while let Some(directory) = waiting.pop() {
            for (name, id) in &self.things[&directory].entries {
                all.push((directory, name.clone(), *id));
                if self.things[id].kind == ObjectKind::Directory {
                    waiting.push(*id);
                }
            }
        }
        all
    }

    pub(crate) fn directories(&self) -> Vec<u64> {
        let below = self.names().into_iter().map(|(_, _, id)| id).filter(|id| self.things[id].kind == ObjectKind::Directory);
        std::iter::once(ROOT).chain(below).collect()
    }

    /// Whether a directory is another, or beneath it.
    pub(crate) fn is_beneath(&self, directory: u64, above: u64) -> bool {
        let children = self.things[&above].entries.values();
        directory == above || children.into_iter().any(|child| self.is_beneath(directory, *child))
    }

    /// What a replica of it has.
    pub(crate) fn contents(&self) -> Contents {
        let mut paths = vec![(RelPath::root(), ROOT)];
        let mut waiting = vec![(RelPath::root(), ROOT)];
        while let Some((path, directory)) = waiting.pop() {
            for (name, id) in &self.things[&directory].entries {
                let path = path.join(name).unwrap();
                paths.push((path.clone(), *id));
                waiting.push((path, *id));
            }
        }
        paths.retain(|(_, id)| !matches!(self.things[id].kind, ObjectKind::Special(_)));
        paths.sort();
        let mut firsts = BTreeMap::new();
        let of = |(path, id): (RelPath, u64)| {
            let thing = &self.things[&id];
            let first = firsts.entry(id).or_insert_with(|| path.clone()).clone();
            (path, thing.kind.clone(), thing.attrs.clone(), thing.data.clone(), first)
        };
        paths.into_iter().map(of).collect()
    }

    /// Makes a volume what this is.
    pub(crate) fn fill(&self, volume: &SimVolume) {
        for (path, kind, _, data, first) in self.contents() {
            let place = Place::Tree(&path);
            if first != path {
                volume.link(&Place::Tree(&first), &place).unwrap();
                continue;
            }
            match kind {
                ObjectKind::Directory if path.is_root() => {}
                ObjectKind::Directory => volume.make_directory(&path).unwrap(),
                ObjectKind::File => volume.create(&place).unwrap().write_at(&data, 0).unwrap(),
                ObjectKind::Symlink(target) => volume.make_symlink(&place, &target).unwrap(),
                ObjectKind::Fifo => volume.make_fifo(&place).unwrap(),
                ObjectKind::Special(_) => {}
            }
        }
        for (path, _, attrs, ..) in self.contents() {
            volume.set_attrs(&Place::Tree(&path), &attrs).unwrap();
        }
    }
}
