//! The simulated volume.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use standin_common::entry::{Attrs, Time};
use standin_common::message::RootKind;
use standin_common::path::RelPath;

use super::disk::{Disk, Lie};
use super::tree::{Change, Key, Node, Tree};
use crate::volume::{
    Abilities, Directory, Names, Object, ObjectKind, Place, SideId, Stamp, Stretch, Touched, Volume, VolumeFile,
};

/// The unit in which written data is kept or lost.
const BLOCK: usize = 512;
const ROOT: u64 = 1;

#[derive(Debug)]
struct Machine {
    live: Tree,
    durable: Tree,
    pending: Vec<Change>,
    next: u64,
    clock: i64,
}

impl Machine {
    fn change(&mut self, change: Change) {
        self.live.apply(&change);
        self.pending.push(change);
    }

    fn number(&self, key: &Key) -> io::Result<u64> {
        self.live.names.get(key).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn node(&self, number: u64) -> io::Result<&Node> {
        self.live.nodes.get(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn now(&mut self, number: u64) -> Time {
        self.clock += 1;
        let clock = self.clock;
        if let Some(node) = self.live.node_mut(number) {
            node.changed = clock;
        }
        Time { secs: clock, nanos: 0 }
    }

    fn touch(&mut self, number: u64) {
        let mtime = self.now(number);
        if let Some(node) = self.live.nodes.get(&number) {
            let attrs = Attrs { mtime, ..node.attrs.clone() };
            self.change(Change::Attrs(number, attrs));
        }
    }

    /// The directory that a place is in, which must be there.
    fn parent(&self, key: &Key) -> io::Result<Option<u64>> {
        let Key::Tree(path) = key else { return Ok(None) };
        let Some(parent) = path.parent() else { return Ok(None) };
        let number = self.number(&Key::Tree(parent))?;
        match self.node(number)?.kind {
            ObjectKind::Directory => Ok(Some(number)),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The time of a directory changes with its names.
    fn touch_parent(&mut self, key: &Key) -> io::Result<()> {
        if let Some(number) = self.parent(key)? {
            self.touch(number);
        }
        Ok(())
    }

    fn make(&mut self, key: Key, kind: ObjectKind) -> io::Result<u64> {
        if self.live.names.contains_key(&key) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.touch_parent(&key)?;
        self.next += 1;
        let number = self.next;
        self.change(Change::Made(number, Node { kind, attrs: Attrs::default(), data: Arc::default(), changed: 0 }));
        self.touch(number);
        self.change(Change::Name(key, Some(number)));
        Ok(number)
    }

    fn object(&self, number: u64) -> io::Result<Object> {
        let node = self.node(number)?;
        let size = node.data.len() as u64;
        let changed = Time { secs: node.changed, nanos: 0 };
        let stamp = Stamp { device: 1, inode: number, changed, size, modified: node.attrs.mtime };
        let names = self.live.names.values().filter(|named| **named == number).count() as u64;
        Ok(Object { kind: node.kind.clone(), size, attrs: node.attrs.clone(), names, stamp })
    }

    /// Makes some objects durable, and names where `named_in` says so; nothing else, even if it was done before.
    fn sync_some(&mut self, mut objects: BTreeSet<u64>, named_in: impl Fn(&Key) -> bool) {
        objects.extend(self.pending.iter().filter_map(|change| match change {
            Change::Name(key, Some(number)) if named_in(key) => Some(*number),
            _ => None,
        }));
        for change in std::mem::take(&mut self.pending) {
            let synced = match &change {
                Change::Made(number, _) | Change::Attrs(number, _) | Change::Len(number, _) => objects.contains(number),
                Change::Name(key, _) => named_in(key),
                Change::Moved(from, to) => named_in(from) || named_in(to),
            };
            match synced {
                true => self.durable.apply(&change),
                false => self.pending.push(change),
            }
        }
        for number in objects {
            if let (Some(durable), Some(live)) = (self.durable.node_mut(number), self.live.nodes.get(&number)) {
                durable.data.clone_from(&live.data);
            }
        }
    }

    /// A directory and everything beneath it.
    fn beneath(&self, path: &RelPath) -> Vec<RelPath> {
        let names = self.live.names.range(Key::Tree(path.clone())..);
        let paths = names.map_while(|(key, _)| match key {
            Key::Tree(next) if next.starts_with(path) => Some(next.clone()),
            _ => None,
        });
        paths.collect()
    }
}

/// One volume of a simulated machine.
#[derive(Debug, Clone)]
pub struct SimVolume {
    disk: Disk,
    clones: bool,
    machine: Arc<Mutex<Machine>>,
}

impl SimVolume {
    /// An empty root on a disk.
    pub fn new(disk: Disk) -> Self {
        let mut tree = Tree::default();
        let root = Node { kind: ObjectKind::Directory, attrs: Attrs::default(), data: Arc::default(), changed: 0 };
        tree.apply(&Change::Made(ROOT, root));
        tree.apply(&Change::Name(Key::Tree(RelPath::root()), Some(ROOT)));
        Self::of(disk, tree, ROOT, 1_000)
    }

    fn of(disk: Disk, tree: Tree, next: u64, clock: i64) -> Self {
        let machine = Machine { live: tree.clone(), durable: tree, pending: Vec::new(), next, clock };
        Self { disk, clones: true, machine: Arc::new(Mutex::new(machine)) }
    }

    /// The same on a file system that cannot clone files.
    #[must_use]
    pub fn without_clones(self) -> Self {
        Self { clones: false, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, takes_room: bool) -> io::Result<MutexGuard<'_, Machine>> {
        self.disk.operation(takes_room)?;
        Ok(self.lock())
    }

    /// What is found after a crash.
    pub fn after_crash(&self) -> Self {
        let machine = self.lock();
        let mut tree = machine.durable.clone();
        let kept = self.disk.random(|random| random.below(machine.pending.len() as u64 + 1)) as usize;
        machine.pending[..kept].iter().for_each(|change| tree.apply(change));
        tree.keep_some(&machine.live, BLOCK, || self.disk.random(|random| random.one_in(2)));
        Self { clones: self.clones, ..Self::of(self.disk.clone(), tree, machine.next, machine.clock) }
    }

    /// A copy that shares nothing, on a disk of its own, as a clone of the volume.
    pub fn snapshot(&self, disk: Disk) -> Self {
        let machine = self.lock();
        Self { clones: self.clones, ..Self::of(disk, machine.live.clone(), machine.next, machine.clock) }
    }

    /// Turns over a byte of a file as a bad disk does: nothing of it shows in the stamp.
    pub fn damage(&self, path: &RelPath, at: usize) {
        let mut machine = self.lock();
        let number = machine.live.names.get(&Key::Tree(path.clone())).copied();
        let node = number.and_then(|number| machine.live.node_mut(number));
        if let Some(byte) = node.and_then(|node| Arc::make_mut(&mut node.data).get_mut(at)) {
            *byte ^= 0xff;
        }
    }

    /// Everything in the tree, for comparison.
    pub fn objects(&self) -> Vec<SimObject> {
        let machine = self.lock();
        let named = machine.live.names.iter().filter_map(|(key, number)| match key {
            Key::Tree(path) => Some((path.clone(), *number, machine.live.nodes.get(number)?.clone())),
            Key::Side(_) => None,
        });
        named.map(|(path, number, Node { kind, attrs, data, .. })| SimObject { path, number, kind, attrs, data }).collect()
    }

    /// Everything in the tree with its data, without what tells names of one object from others.
    pub fn contents(&self) -> Vec<(RelPath, ObjectKind, Attrs, Vec<u8>)> {
        self.objects().into_iter().map(|object| (object.path, object.kind, object.attrs, object.data.to_vec())).collect()
    }

    /// Moves a directory with all beneath it to a free place that is not beneath it.
    pub fn rename_directory(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        let mut machine = self.start(false)?;
        let (old, new) = (Key::Tree(from.clone()), Key::Tree(to.clone()));
        if machine.node(machine.number(&old)?)?.kind != ObjectKind::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if machine.live.names.contains_key(&new) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if from.is_root() || to.starts_with(from) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        machine.parent(&new)?;
        machine.touch_parent(&old)?;
        machine.touch_parent(&new)?;
        for path in machine.beneath(from) {
            let mut moved = to.as_bytes().to_vec();
            moved.extend_from_slice(&path.as_bytes()[from.as_bytes().len()..]);
            let moved = RelPath::new(moved).map_err(io::Error::other)?;
            machine.change(Change::Moved(Key::Tree(path), Key::Tree(moved)));
        }
        Ok(())
    }
}

/// A name in a [`SimVolume`], with what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimObject {
    /// Where.
    pub path: RelPath,
    /// The object's number: two names of the same one lead to one object.
    pub number: u64,
    /// What it is.
    pub kind: ObjectKind,
    /// Its attributes.
    pub attrs: Attrs,
    /// Its data, if it is a file.
    pub data: Arc<Vec<u8>>,
}

/// A directory of a [`SimVolume`].
#[derive(Debug)]
pub struct SimDirectory {
    volume: SimVolume,
    path: RelPath,
}

impl Directory for SimDirectory {
    fn names(&self) -> io::Result<Names> {
        let machine = self.volume.start(false)?;
        let mut names = Names::new();
        for path in machine.beneath(&self.path) {
            if path.depth() == self.path.depth() + 1 {
                names.push(path.name()).map_err(io::Error::other)?;
            }
        }
        names.sort();
        Ok(names)
    }

    fn object(&self, name: &[u8]) -> io::Result<Option<Object>> {
        let path = self.path.join(name).map_err(io::Error::other)?;
        self.volume.object(&Place::Tree(&path))
    }
}

/// A file of a [`SimVolume`].
#[derive(Debug)]
pub struct SimFile {
    volume: SimVolume,
    number: u64,
}

impl VolumeFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let machine = self.volume.start(false)?;
        let data = machine.node(self.number)?.data.get(offset as usize..).unwrap_or_default();
        let len = data.len().min(buffer.len());
        buffer[..len].copy_from_slice(&data[..len]);
        self.volume.disk.note_read(len);
        Ok(len)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut machine = self.volume.start(true)?;
        let end = offset as usize + data.len();
        if machine.node(self.number)?.data.len() < end {
            machine.change(Change::Len(self.number, end));
        }
        machine.touch(self.number);
        if let Some(node) = machine.live.node_mut(self.number) {
            Arc::make_mut(&mut node.data)[offset as usize..end].copy_from_slice(data);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut machine = self.volume.start(false)?;
        machine.change(Change::Len(self.number, len as usize));
        machine.touch(self.number);
        Ok(())
    }

    fn punch(&self, start: u64, end: u64) -> io::Result<()> {
        self.write_at(&vec![0; (end - start) as usize], start)
    }

    fn stretch(&self, offset: u64) -> io::Result<Stretch> {
        Ok(Stretch { start: offset, end: self.object()?.size.max(offset + 1), hole: false })
    }

    fn object(&self) -> io::Result<Object> {
        self.volume.start(false)?.object(self.number)
    }

    fn set_attrs(&self, attrs: &Attrs) -> io::Result<()> {
        let mut machine = self.volume.start(false)?;
        machine.now(self.number);
        machine.change(Change::Attrs(self.number, attrs.clone()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.volume.sync()
    }
}

impl Volume for SimVolume {
    type File = SimFile;
    type Directory = SimDirectory;

    fn kind(&self) -> RootKind {
        RootKind::Directory
    }

    fn abilities(&self) -> Abilities {
        Abilities { owners: true, clones: self.clones }
    }

    fn open_directory(&self, path: &RelPath) -> io::Result<SimDirectory> {
        let machine = self.start(false)?;
        match machine.node(machine.number(&Key::Tree(path.clone()))?)?.kind {
            ObjectKind::Directory => Ok(SimDirectory { volume: self.clone(), path: path.clone() }),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn object(&self, place: &Place<'_>) -> io::Result<Option<Object>> {
        let machine = self.start(false)?;
        machine.live.names.get(&Key::from(place)).map(|number| machine.object(*number)).transpose()
    }

    fn open(&self, place: &Place<'_>, _write: bool) -> io::Result<SimFile> {
        let machine = self.start(false)?;
        let number = machine.number(&Key::from(place))?;
        match machine.node(number)?.kind {
            ObjectKind::File => Ok(SimFile { volume: self.clone(), number }),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn create(&self, place: &Place<'_>) -> io::Result<SimFile> {
        let number = self.start(true)?.make(place.into(), ObjectKind::File)?;
        Ok(SimFile { volume: self.clone(), number })
    }

    fn make_directory(&self, path: &RelPath) -> io::Result<()> {
        self.start(true)?.make(Key::Tree(path.clone()), ObjectKind::Directory).map(drop)
    }

    fn make_symlink(&self, place: &Place<'_>, target: &[u8]) -> io::Result<()> {
        self.start(true)?.make(place.into(), ObjectKind::Symlink(target.to_vec())).map(drop)
    }

    fn make_fifo(&self, place: &Place<'_>) -> io::Result<()> {
        self.start(true)?.make(place.into(), ObjectKind::Fifo).map(drop)
    }

    fn link(&self, from: &Place<'_>, to: &Place<'_>) -> io::Result<()> {
        let mut machine = self.start(true)?;
        let (number, to) = (machine.number(&from.into())?, Key::from(to));
        if machine.live.names.contains_key(&to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        machine.touch_parent(&to)?;
        machine.change(Change::Name(to, Some(number)));
        Ok(())
    }

    fn rename(&self, from: &Place<'_>, to: &Place<'_>) -> io::Result<()> {
        let mut machine = self.start(false)?;
        let (from, to) = (Key::from(from), Key::from(to));
        let number = machine.number(&from)?;
        let taken = machine.live.names.get(&to).map(|number| machine.node(*number)).transpose()?;
        if machine.node(number)?.kind == ObjectKind::Directory || taken.is_some_and(|node| node.kind == ObjectKind::Directory) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        machine.parent(&to)?;
        machine.touch_parent(&from)?;
        machine.touch_parent(&to)?;
        machine.change(Change::Moved(from, to));
        Ok(())
    }

    fn remove(&self, place: &Place<'_>) -> io::Result<()> {
        let mut machine = self.start(false)?;
        let key = Key::from(place);
        let number = machine.number(&key)?;
        if machine.node(number)?.kind == ObjectKind::Directory {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        machine.touch_parent(&key)?;
        machine.change(Change::Name(key, None));
        Ok(())
    }

    fn remove_directory(&self, path: &RelPath) -> io::Result<()> {
        let mut machine = self.start(false)?;
        let key = Key::Tree(path.clone());
        let number = machine.number(&key)?;
        match machine.node(number)?.kind {
            ObjectKind::Directory if machine.beneath(path).len() > 1 => Err(io::ErrorKind::DirectoryNotEmpty.into()),
            ObjectKind::Directory => {
                machine.touch_parent(&key)?;
                machine.change(Change::Name(key, None));
                Ok(())
            }
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn set_attrs(&self, place: &Place<'_>, attrs: &Attrs) -> io::Result<()> {
        let mut machine = self.start(false)?;
        let number = machine.number(&place.into())?;
        machine.now(number);
        machine.change(Change::Attrs(number, attrs.clone()));
        Ok(())
    }

    fn clone_file(&self, from: &Place<'_>, to: &Place<'_>) -> io::Result<()> {
        if !self.clones {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let data = {
            let machine = self.start(false)?;
            machine.node(machine.number(&Key::from(from))?)?.data.clone()
        };
        self.create(to)?.write_at(&data, 0)
    }

    fn side_objects(&self) -> io::Result<Vec<SideId>> {
        let machine = self.start(false)?;
        let sides = machine.live.names.keys().filter_map(|key| match key {
            Key::Side(side) => Some(*side),
            Key::Tree(_) => None,
        });
        Ok(sides.collect())
    }

    fn sync(&self) -> io::Result<()> {
        let mut machine = self.start(false)?;
        if !self.disk.lies(Lie::VolumeSync) {
            machine.durable = machine.live.clone();
            machine.pending.clear();
        }
        Ok(())
    }

    fn sync_touched(&self, touched: &Touched) -> io::Result<()> {
        let Some((paths, sides, side_names)) = touched.objects() else { return self.sync() };
        let mut machine = self.start(false)?;
        let keys = paths.iter().cloned().map(Key::Tree).chain(sides.iter().copied().map(Key::Side));
        let objects = keys.filter_map(|key| machine.live.names.get(&key).copied()).collect();
        let named_in = |key: &Key| match key {
            Key::Tree(path) => path.parent().is_some_and(|parent| paths.contains(&parent)),
            Key::Side(_) => side_names,
        };
        machine.sync_some(objects, named_in);
        Ok(())
    }
}
