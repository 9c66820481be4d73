//! Random programs on a model, and what a layer would tell of them.

use std::collections::BTreeSet;

use standin_common::entry::Time;
use standin_common::id::RootIndex;
use standin_replicator::capture::ordered::{Allocation, Kind, Made, ObjectId, Operation, Place, encode};
use standin_replicator::sim::Random;
use standin_replicator::volume::ObjectKind;

use crate::model::{Model, ROOT};

pub(crate) fn id(number: u64) -> ObjectId {
    ObjectId { inode: number, handle: number ^ 0xabc }
}

/// A source: what it is, and what was told of it.
pub(crate) struct Program {
    pub model: Model,
    random: Random,
    root: RootIndex,
    told: BTreeSet<u64>,
    /// Every operation so far, encoded.
    pub operations: Vec<Vec<u8>>,
    /// The clock that all roots have in common.
    links: bool,
}

impl Program {
    pub(crate) fn new(seed: u64, root: RootIndex) -> Self {
        let mut random = Random::new(seed);
        let links = !random.one_in(3);
        Self { model: Model::new(), random, root, told: BTreeSet::new(), operations: Vec::new(), links }
    }

    /// Forgets what was told, as if all of it had been before.
    pub(crate) fn begin(&mut self) {
        self.operations.clear();
        self.told.clear();
        // What has no name and no stream is nothing.
        let named: BTreeSet<u64> = self.model.names().into_iter().map(|(_, _, id)| id).chain([ROOT]).collect();
        self.model.things.retain(|id, _| named.contains(id));
        self.say(Operation::Root { object: id(ROOT) });
        self.told.insert(ROOT);
    }

    fn say(&mut self, operation: Operation<'_>) {
        let mut bytes = Vec::new();
        encode(self.root, &operation, &mut bytes).unwrap();
        self.operations.push(bytes);
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    /// What a layer tells of an object before it speaks of it.
    fn tell(&mut self, directory: u64, name: &[u8], object: u64) {
        self.tell_directory(directory);
        if self.told.insert(object) {
            self.say(Operation::Known { object: id(object), at: Place { parent: id(directory), name } });
        }
    }

    fn tell_directory(&mut self, directory: u64) {
        if !self.told.contains(&directory) {
            let (above, name, _) = self.model.names().into_iter().find(|(_, _, id)| *id == directory).unwrap();
            self.tell(above, &name, directory);
        }
    }

    /// Some object with a name, told.
    fn some(&mut self) -> Option<(u64, Vec<u8>, u64)> {
        let names = self.model.names();
        if names.is_empty() {
            return None;
        }
        let at = self.below(names.len());
        let (directory, name, object) = names[at].clone();
        self.tell(directory, &name, object);
        Some((directory, name, object))
    }

    /// A file that data is written to: mostly one with a name.
    fn some_file(&mut self) -> Option<u64> {
        let nameless = |model: &Model, told: &BTreeSet<u64>| {
            told.iter().copied().find(|id| model.things.get(id).is_some_and(|thing| thing.names == 0))
        };
        if self.random.one_in(6)
            && let Some(open) = nameless(&self.model, &self.told)
        {
            return (self.model.things[&open].kind == ObjectKind::File).then_some(open);
        }
        let (.., object) = self.some()?;
        (self.model.things[&object].kind == ObjectKind::File).then_some(object)
    }

    /// A place, with what is there.
    fn place(&mut self) -> (u64, Vec<u8>, Option<u64>) {
        let directories = self.model.directories();
        let at = self.below(directories.len());
        let directory = directories[at];
        self.tell_directory(directory);
        let name = vec![b'a' + self.random.below(4) as u8];
        let there = self.model.things[&directory].entries.get(&name).copied();
        (directory, name, there)
    }

    /// Does one thing, if it can be done.
    pub(crate) fn step(&mut self) {
        match self.random.below(22) {
            0..4 => self.make(),
            4..6 => self.remove(),
            6..10 => self.rename(),
            10 => self.exchange(),
            11 if self.links => self.link(),
            12 => self.nameless(),
            13 => self.forget(),
            14..19 => self.data(),
            _ => self.attributes(),
        }
    }

    fn touch(&mut self, directory: u64) -> Time {
        let now = self.model.now();
        self.model.thing(directory).attrs.mtime = now;
        now
    }

    fn make(&mut self) {
        let (parent, name, None) = self.place() else { return };
        let target = [b'x', b'0' + self.random.below(10) as u8];
        let (of, kind) = match self.random.below(10) {
            0..4 => (ObjectKind::Directory, Kind::Directory),
            4 => (ObjectKind::Symlink(target.to_vec()), Kind::Symlink(&target)),
            5 => (ObjectKind::Fifo, Kind::Fifo),
            6 => (ObjectKind::Special("socket"), Kind::Socket),
            _ => (ObjectKind::File, Kind::File),
        };
        let object = self.model.add(of);
        self.model.put(parent, &name, object);
        let made = self.made(object);
        let directory = self.touch(parent);
        self.told.insert(object);
        let at = Some(Place { parent: id(parent), name: &name });
        self.say(Operation::Make { object: id(object), at, kind, made, directory });
    }

    fn made(&mut self, object: u64) -> Made {
        let attrs = &self.model.thing(object).attrs;
        Made { mode: attrs.mode, uid: attrs.uid, gid: attrs.gid, modified: attrs.mtime }
    }

    fn remove(&mut self) {
        let Some((parent, name, object)) = self.some() else { return };
        if self.model.things[&object].entries.is_empty() {
            self.model.take(parent, &name);
            let directory = self.touch(parent);
            self.say(Operation::Remove { object: id(object), at: Place { parent: id(parent), name: &name }, directory });
        }
    }

    fn rename(&mut self) {
        let Some((parent, name, object)) = self.some() else { return };
        let (into, new, there) = self.place();
        let is_directory = |id: u64| self.model.things[&id].kind == ObjectKind::Directory;
        let fits = match there {
            Some(there) => {
                there != object && is_directory(there) == is_directory(object) && self.model.things[&there].entries.is_empty()
            }
            None => true,
        };
        if !fits || self.model.is_beneath(into, object) {
            return;
        }
        if let Some(there) = there {
            self.tell(into, &new, there);
            self.model.take(into, &new);
        }
        self.model.take(parent, &name);
        self.model.put(into, &new, object);
        let (left, entered) = (self.touch(parent), self.touch(into));
        let left = if parent == into { entered } else { left };
        let (from, to) = (Place { parent: id(parent), name: &name }, Place { parent: id(into), name: &new });
        self.say(Operation::Rename { object: id(object), from, to, replaced: there.map(id), left, entered });
    }

    fn exchange(&mut self) {
        let (Some((p, n, object)), Some((q, m, other))) = (self.some(), self.some()) else { return };
        if object == other || self.model.is_beneath(q, object) || self.model.is_beneath(p, other) {
            return;
        }
        self.model.take(p, &n);
        self.model.take(q, &m);
        self.model.put(p, &n, other);
        self.model.put(q, &m, object);
        let (left, entered) = (self.touch(p), self.touch(q));
        let left = if p == q { entered } else { left };
        let (from, to) = (Place { parent: id(p), name: &n }, Place { parent: id(q), name: &m });
        self.say(Operation::Exchange { object: id(object), other: id(other), from, to, left, entered });
    }

    fn link(&mut self) {
        let Some((.., object)) = self.some() else { return };
        self.link_to(object);
    }

    fn link_to(&mut self, object: u64) {
        let (parent, name, None) = self.place() else { return };
        if self.model.things[&object].kind != ObjectKind::Directory {
            self.model.put(parent, &name, object);
            self.model.thing(object).nameless = false;
            let directory = self.touch(parent);
            self.say(Operation::Link { object: id(object), at: Place { parent: id(parent), name: &name }, directory });
        }
    }

    /// A file without a name is made, or gets one.
    fn nameless(&mut self) {
        let waiting = self.model.things.iter().find(|(_, thing)| thing.nameless).map(|(id, _)| *id);
        if let Some(object) = waiting.filter(|object| self.told.contains(object)) {
            return self.link_to(object);
        }
        let object = self.model.add(ObjectKind::File);
        self.model.thing(object).nameless = true;
        self.told.insert(object);
        let (made, directory) = (self.made(object), self.model.now());
        self.say(Operation::Make { object: id(object), at: None, kind: Kind::File, made, directory });
    }

    fn forget(&mut self) {
        let told: Vec<u64> = self.told.iter().copied().filter(|id| *id != ROOT).collect();
        if !told.is_empty() {
            let object = told[self.below(told.len())];
            self.told.remove(&object);
            self.say(Operation::Forgotten { object: id(object) });
            if self.model.things[&object].names == 0 {
                self.model.things.remove(&object);
            }
        }
    }

    fn data(&mut self) {
        let Some(object) = self.some_file() else { return };
        let modified = self.model.now();
        let (offset, len) = (self.random.below(3_000), 1 + self.random.below(2_000));
        let (start, end) = (offset as usize, (offset + len) as usize);
        let what = self.random.below(8);
        let bytes = self.random.bytes(len as usize);
        let object_id = id(object);
        let thing = self.model.thing(object);
        thing.attrs.mtime = modified;
        if what > 0 {
            thing.attrs.xattrs.retain(|(name, _)| name != b"security.capability");
        }
        let data = &mut thing.data;
        let zero = |data: &mut Vec<u8>| {
            let end = end.min(data.len());
            data[start.min(end)..end].fill(0);
        };
        let operation = match what {
            0 => Operation::Allocate { object: object_id, what: Allocation::Reserve, offset, len, modified },
            1 => {
                data.resize(start, 0);
                Operation::Truncate { object: object_id, len: offset, modified }
            }
            2 | 3 => {
                zero(data);
                let what = if what == 2 { Allocation::Punch } else { Allocation::ZeroWithin };
                Operation::Allocate { object: object_id, what, offset, len, modified }
            }
            4 => {
                data.resize(data.len().max(end), 0);
                zero(data);
                Operation::Allocate { object: object_id, what: Allocation::Zero, offset, len, modified }
            }
            5 => {
                data.resize(data.len().max(end), 0);
                Operation::Allocate { object: object_id, what: Allocation::Grow, offset, len, modified }
            }
            _ => {
                data.resize(data.len().max(end), 0);
                data[start..end].copy_from_slice(&bytes);
                Operation::Write { object: object_id, offset, data: &bytes, modified }
            }
        };
        self.say(operation);
    }

    fn attributes(&mut self) {
        let Some((.., object)) = self.some() else { return };
        let number = self.random.below(1000) as u32;
        let modified = self.model.now();
        let name = [b"user.a".as_slice(), b"user.b", b"security.capability"][number as usize % 3];
        let value = [number as u8; 3];
        let attrs = &mut self.model.thing(object).attrs;
        let object = id(object);
        let operation = match number % 5 {
            0 => {
                attrs.mode = number;
                Operation::SetMode { object, mode: number }
            }
            1 => {
                (attrs.uid, attrs.gid) = (number, number + 1);
                Operation::SetOwner { object, uid: number, gid: number + 1 }
            }
            2 => {
                attrs.mtime = modified;
                Operation::SetTimes { object, accessed: None, modified: Some(modified) }
            }
            3 => {
                attrs.xattrs.retain(|(other, _)| other != name);
                attrs.xattrs.push((name.to_vec(), value.to_vec()));
                attrs.xattrs.sort();
                Operation::SetXattr { object, name, value: &value }
            }
            _ => {
                attrs.xattrs.retain(|(other, _)| other != name);
                Operation::RemoveXattr { object, name }
            }
        };
        self.say(operation);
    }
}
