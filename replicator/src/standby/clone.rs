//! A clone of a tree, beside it: for whoever looks at a replica closely without touching it.
//!
//! [`Cloner::bring`] makes the clone what the tree is. The tree may change meanwhile; then the clone is nearly that, and each further call brings
//! what changed since the one before began. If nothing changes during a call, the clone is exact after it. Data is shared where the file
//! system can.
//!
//! What tells a change is the object's change time, and that a directory is another one than before. Of a directory that goes away and comes back
//! within one call nothing tells; in a replica none is ever moved.

mod single;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::time::Duration;

use standin_common::message::RootKind;
use standin_common::path::RelPath;

use super::aside::copy_data;
use crate::volume::{Directory, Object, ObjectKind, Place, SideId, Volume, VolumeFile};

/// What tells one object from others on the same machine.
type Identity = (u64, u64);

/// From a tree to its clone.
pub struct Cloner<'a, V> {
    from: &'a V,
    to: &'a V,
    /// When the call before this one began.
    since: Option<Duration>,
    /// Which directory was at a place in the call before: another one that was moved there may hold what looks like the old.
    directories: BTreeMap<RelPath, Identity>,
    /// Files with several names that this call met, and the first of them.
    names: BTreeMap<Identity, RelPath>,
    /// Where a root that is one file may have changed since the call before.
    parts: Vec<Range<u64>>,
    copied: Copied,
}

/// What a call copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files.
    pub files: u64,
    /// Their bytes, shared ones among them.
    pub bytes: u64,
}

fn identity(object: &Object) -> Identity {
    (object.stamp.device, object.stamp.inode)
}

/// What is gone meanwhile is as if it had not been there.
fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl<'a, V: Volume> Cloner<'a, V> {
    /// `to` is empty.
    pub fn new(from: &'a V, to: &'a V) -> Self {
        let (directories, names) = (BTreeMap::new(), BTreeMap::new());
        Self { from, to, since: None, directories, names, parts: vec![single::ALL], copied: Copied::default() }
    }

    /// Of a root that is one file, the next call looks at these parts only: what may have changed since the last one that succeeded began. Without,
    /// or if that is not known, it looks at everything.
    pub fn expect(&mut self, parts: Option<Vec<Range<u64>>>) {
        self.parts = parts.unwrap_or_else(|| vec![single::ALL]);
    }

    /// Brings what is new. `now` is the time since 1970; `is_over` is asked all the while, and ends it.
    ///
    /// # Errors
    /// Those of the file systems; `TimedOut` if it was ended. It may be called again after any.
    pub fn bring(&mut self, now: Duration, is_over: &dyn Fn() -> bool) -> io::Result<Copied> {
        self.copied = Copied::default();
        self.names.clear();
        let root = RelPath::root();
        match self.from.kind() {
            RootKind::Directory => self.directory(&root, false, is_over)?,
            RootKind::File | RootKind::Device => self.single(&Place::Tree(&root), is_over)?,
        }
        self.since = Some(now);
        Ok(self.copied)
    }

    /// Brings the objects of the side area that journals up to `newest` have there. They never change, and only go.
    ///
    /// # Errors
    /// As [`bring`](Self::bring).
    pub fn bring_side(&mut self, newest: u64, is_over: &dyn Fn() -> bool) -> io::Result<()> {
        let wanted: Vec<SideId> = self.from.side_objects()?.into_iter().filter(|side| side.point <= newest).collect();
        let there = self.to.side_objects()?;
        for gone in there.iter().filter(|side| !wanted.contains(side)) {
            self.to.remove(&Place::Side(*gone))?;
        }
        for side in wanted.iter().filter(|side| !there.contains(side)) {
            check(is_over)?;
            let place = Place::Side(*side);
            if let Some(object) = self.from.object(&place)? {
                self.copy(&place, &object)?;
            }
        }
        Ok(())
    }

    fn single(&mut self, place: &Place<'_>, is_over: &dyn Fn() -> bool) -> io::Result<()> {
        // After an error, the next call has to look at everything unless it is told otherwise.
        let parts = std::mem::replace(&mut self.parts, vec![single::ALL]);
        let Some(object) = self.from.object(place)? else { return Ok(()) };
        let (from, to) = (self.from.open(place, false)?, self.to.open(place, true)?);
        single::bring(&from, &to, &parts, is_over)?;
        self.count(&object);
        to.set_attrs(&object.attrs)
    }

    fn count(&mut self, object: &Object) {
        self.copied.files += 1;
        self.copied.bytes += object.size;
    }

    fn directory(&mut self, path: &RelPath, doubted: bool, is_over: &dyn Fn() -> bool) -> io::Result<()> {
        let place = Place::Tree(path);
        let Some(here) = self.from.object(&place)? else { return Ok(()) };
        let Some(opened) = if_there(self.from.open_directory(path))? else { return Ok(()) };
        let doubted = doubted || self.directories.get(path) != Some(&identity(&here));
        let names = opened.names()?;
        for name in self.to.open_directory(path)?.names()?.iter() {
            if names.search(name).is_err() {
                self.remove(&child(path, name)?)?;
            }
        }
        for name in names.iter() {
            check(is_over)?;
            if let Some(object) = if_there(opened.object(name))?.flatten() {
                self.object(&child(path, name)?, &object, doubted, is_over)?;
            }
        }
        self.directories.insert(path.clone(), identity(&here));
        // Last, since what was made in it changed its time.
        match self.to.object(&place)? {
            Some(there) if there.attrs == here.attrs => Ok(()),
            _ => self.to.set_attrs(&place, &here.attrs),
        }
    }

    fn object(&mut self, path: &RelPath, object: &Object, doubted: bool, is_over: &dyn Fn() -> bool) -> io::Result<()> {
        let place = Place::Tree(path);
        let there = self.to.object(&place)?;
        if object.kind == ObjectKind::Directory {
            if there.as_ref().is_none_or(|there| there.kind != ObjectKind::Directory) {
                self.remove(path)?;
                self.to.make_directory(path)?;
            }
            return self.directory(path, doubted, is_over);
        }
        if object.kind == ObjectKind::File && object.names > 1 {
            if let Some(first) = self.names.get(&identity(object)).cloned() {
                return self.name(&first, path, there.as_ref());
            }
            self.names.insert(identity(object), path.clone());
        }
        let changed = doubted || self.since.is_none_or(|since| object.stamp.proves_from() >= since);
        let alike = |there: &Object| there.kind == object.kind && there.size == object.size && there.attrs == object.attrs;
        if !changed && there.as_ref().is_some_and(alike) {
            return Ok(());
        }
        self.remove(path)?;
        self.copy(&place, object)
    }

    /// Gives the clone's file one more name.
    fn name(&self, first: &RelPath, path: &RelPath, there: Option<&Object>) -> io::Result<()> {
        // It may have gone while it was copied.
        let Some(copied) = self.to.object(&Place::Tree(first))? else { return Ok(()) };
        if there.is_some_and(|there| identity(there) == identity(&copied)) {
            return Ok(());
        }
        self.remove(path)?;
        self.to.link(&Place::Tree(first), &Place::Tree(path))
    }

    fn copy(&mut self, place: &Place<'_>, object: &Object) -> io::Result<()> {
        match &object.kind {
            ObjectKind::File => {
                let Some(from) = if_there(self.from.open(place, false))? else { return Ok(()) };
                let to = self.to.create(place)?;
                copy_data(&from, &to, object.size)?;
                self.count(object);
                return to.set_attrs(&object.attrs);
            }
            ObjectKind::Symlink(target) => self.to.make_symlink(place, target)?,
            ObjectKind::Fifo => self.to.make_fifo(place)?,
            ObjectKind::Directory | ObjectKind::Special(_) => return Ok(()),
        }
        self.to.set_attrs(place, &object.attrs)
    }

    /// Removes what is at a place of the clone, with all beneath it.
    fn remove(&self, path: &RelPath) -> io::Result<()> {
        match self.to.object(&Place::Tree(path))? {
            None => Ok(()),
            Some(there) if there.kind == ObjectKind::Directory => {
                for name in self.to.open_directory(path)?.names()?.iter() {
                    self.remove(&child(path, name)?)?;
                }
                self.to.remove_directory(path)
            }
            Some(_) => self.to.remove(&Place::Tree(path)),
        }
    }
}

fn check(is_over: &dyn Fn() -> bool) -> io::Result<()> {
    if is_over() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
}

fn child(path: &RelPath, name: &[u8]) -> io::Result<RelPath> {
    path.join(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// How many bytes of data a tree holds: what a copy needs where nothing can be shared. Holes and further names of a file take none. A block
/// device has no holes and is read for this, since zeros of it take none, either.
///
/// # Errors
/// Those of the file system.
pub fn weight<V: Volume>(volume: &V) -> io::Result<u64> {
    let root = RelPath::root();
    match volume.kind() {
        RootKind::Directory => {}
        RootKind::File => return weight_of(volume, &root, volume.object(&Place::Tree(&root))?.map_or(0, |object| object.size)),
        RootKind::Device => return single::weight(&volume.open(&Place::Tree(&root), false)?),
    }
    let (mut bytes, mut open, mut seen) = (0, vec![root], BTreeMap::new());
    while let Some(path) = open.pop() {
        let Some(directory) = if_there(volume.open_directory(&path))? else { continue };
        for name in directory.names()?.iter() {
            let Some(object) = if_there(directory.glance(name))?.flatten() else { continue };
            let path = child(&path, name)?;
            match object.kind {
                ObjectKind::Directory => open.push(path),
                ObjectKind::File if object.names > 1 && seen.insert(identity(&object), ()).is_some() => {}
                ObjectKind::File => bytes += weight_of(volume, &path, object.size)?,
                ObjectKind::Symlink(_) | ObjectKind::Fifo | ObjectKind::Special(_) => {}
            }
        }
    }
    Ok(bytes)
}

/// Below this size a file is taken as it is: holes in it do not matter.
const SMALL: u64 = 1024 * 1024;

fn weight_of<V: Volume>(volume: &V, path: &RelPath, size: u64) -> io::Result<u64> {
    if size < SMALL {
        return Ok(size);
    }
    let Some(file) = if_there(volume.open(&Place::Tree(path), false))? else { return Ok(0) };
    let (mut bytes, mut at) = (0, 0);
    while at < size {
        let stretch = file.stretch(at)?;
        bytes += if stretch.hole { 0 } else { stretch.end.min(size) - at };
        at = stretch.end.max(at + 1);
    }
    Ok(bytes)
}
