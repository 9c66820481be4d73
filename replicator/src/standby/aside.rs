//! Keeping aside what a node that was the source has, and the new source lacks, before its tree is made equal.
//!
//! The first point of the new source is taken in as any other: its journal says what it will change. Before the inverse of that
//! journal is written, so before anything is changed, a copy is made of whatever it changes or takes out that this node may have
//! changed after the point at which the new source took over. A crash repeats it from its beginning, as the inverse is not whole
//! then. What was not changed since that point, the new source had, and changed or removed itself: it is not kept.
//!
//! That something was changed shows by its change time, which nobody can set. What was moved here from elsewhere with all beneath it has
//! a change time of its own only at its top, so the directories above an object count, too.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use standin_common::entry::Time;
use standin_common::id::{Generation, PointNumber, RootIndex};
use standin_common::message::RootKind;
use standin_common::path::RelPath;

use super::apply::{self, ApplyError};
use super::reading;
use super::replica::{Replica, ReplicaError, lock};
use crate::journal::{Journal, Op};
use crate::store::{LogFile, Store};
use crate::volume::{Object, ObjectKind, Place, Volume, VolumeFile};

/// The most that is copied at once, in bytes.
const PIECE_LEN: usize = 1024 * 1024;

/// What becomes of something that is kept aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Only its attributes are set.
    Attributes,
    /// It is on both sides, and differs.
    Changed,
    /// It is only here.
    Removed,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Attributes => "other attributes",
            Self::Changed => "other contents",
            Self::Removed => "only here",
        })
    }
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The root.
    pub root: RootIndex,
    /// Where beneath it.
    pub path: RelPath,
    /// What becomes of it.
    pub fate: Fate,
    /// What it was.
    pub object: Object,
    /// Whether it was copied. Not of something of which only attributes differ, devices and sockets.
    pub copied: bool,
}

/// Where it is kept.
pub trait Shelter<V>: Send + Sync + fmt::Debug {
    /// An empty folder for what comes, of what this node had at `point`. What an attempt before this one left in it is gone.
    fn begin(&self, point: PointNumber) -> io::Result<()>;
    /// Where the objects of a root go: a directory, or a file if the root is one.
    fn volume(&self, root: RootIndex, of: &V) -> io::Result<V>;
    /// All of it is in the folder, if there is any: makes the list. It and the folder are durable when this returns.
    fn end(&self, kept: &[Kept]) -> io::Result<()>;
}

/// What is kept aside, and where.
#[derive(Debug)]
pub struct Aside<V> {
    /// The generation of the new source.
    pub generation: Generation,
    /// Whether this node gave up being source with everything sent: then what is the same by its attributes is the same.
    pub drained: bool,
    /// What was changed after this is kept; everything if it is not known.
    pub since: Option<Time>,
    /// Where it goes.
    pub shelter: Box<dyn Shelter<V>>,
}

impl<V: Volume, S: Store> Replica<V, S> {
    /// Of a tree that was a source's: sees to it that nothing is lost of it when the first point of the new source is taken in.
    pub fn guard(&self, aside: Aside<V>) {
        *lock(&self.aside) = Some(Arc::new(aside));
    }

    /// Whether what is here was never proven to be a source's, so that it is to be compared by its data.
    pub(super) fn is_unproven(&self) -> bool {
        let newest = self.state().points.last().map(|point| point.generation);
        lock(&self.aside).as_ref().is_some_and(|aside| !aside.drained && newest < Some(aside.generation))
    }

    /// Before a journal from one point to another is inverted: keeps aside what it takes away, if it is the first of a new source.
    pub(super) fn keep_aside(&self, journal: &Journal<S::Log>, from: PointNumber) -> Result<(), ReplicaError> {
        let Some(aside) = lock(&self.aside).clone() else { return Ok(()) };
        if self.state().point(from).is_none_or(|point| point.generation >= aside.generation) {
            return Ok(());
        }
        let mut keeping = Keeping { volumes: self.volumes(), aside: &aside, shelters: BTreeMap::new(), kept: Vec::new() };
        aside.shelter.begin(from)?;
        for ((root, path), fate) in leaving(journal)? {
            keeping.keep(root, path, fate)?;
        }
        for volume in keeping.shelters.values() {
            volume.sync()?;
        }
        Ok(aside.shelter.end(&keeping.kept)?)
    }
}

/// Every place at which a journal changes or takes out what is there.
fn leaving<L: LogFile>(journal: &Journal<L>) -> Result<BTreeMap<(RootIndex, RelPath), Fate>, ApplyError> {
    let mut fates: BTreeMap<(RootIndex, RelPath), Fate> = BTreeMap::new();
    reading::all_operations(journal, |root, path, op| {
        let fate = match op {
            Op::Park(_) | Op::RemoveDirectory | Op::Unlink { .. } => Fate::Removed,
            Op::Write { .. } | Op::Punch { .. } | Op::Resize { .. } => Fate::Changed,
            Op::Attrs(_) => Fate::Attributes,
            // What was taken out is replaced; where nothing was, there is nothing to keep.
            Op::Install(_) | Op::MakeDirectory | Op::Link { .. } => Fate::Changed,
            // Of no place.
            Op::Turn => return,
        };
        let before = fates.entry((root, path)).or_insert(fate);
        *before = match (*before, fate) {
            (Fate::Attributes, fate) | (fate, Fate::Attributes) => fate,
            (before, fate) => before.min(fate),
        };
    })?;
    Ok(fates)
}

struct Keeping<'a, V> {
    volumes: &'a [V],
    aside: &'a Aside<V>,
    shelters: BTreeMap<RootIndex, V>,
    kept: Vec<Kept>,
}

impl<V: Volume> Keeping<'_, V> {
    fn keep(&mut self, root: RootIndex, path: RelPath, fate: Fate) -> Result<(), ApplyError> {
        let volume = apply::volume(self.volumes, root)?;
        let at = path.clone();
        let failed = move |source| ApplyError::Volume { what: "keeping aside what only this node has", root, path: at, source };
        self.keep_of(volume, root, path, fate).map_err(failed)
    }

    fn keep_of(&mut self, volume: &V, root: RootIndex, path: RelPath, fate: Fate) -> io::Result<()> {
        let Some(object) = volume.object(&Place::Tree(&path))? else { return Ok(()) };
        let is_directory = object.kind == ObjectKind::Directory;
        if is_directory && fate == Fate::Attributes || !self.may_be_own(volume, &path, &object)? {
            return Ok(());
        }
        let copies =
            fate != Fate::Attributes && volume.kind() != RootKind::Device && !matches!(object.kind, ObjectKind::Special(_));
        if copies {
            let to = match self.shelters.entry(root) {
                Entry::Occupied(open) => open.into_mut(),
                Entry::Vacant(none) => none.insert(self.aside.shelter.volume(root, volume)?),
            };
            copy(volume, to, &path, &object)?;
        }
        self.kept.push(Kept { root, path, fate, object, copied: copies });
        Ok(())
    }

    /// Whether this node may have changed an object, or put it where it is, since the new source took over.
    fn may_be_own(&self, volume: &V, path: &RelPath, object: &Object) -> io::Result<bool> {
        let Some(since) = self.aside.since else { return Ok(true) };
        let since = Duration::new(u64::try_from(since.secs).unwrap_or(0), since.nanos);
        let mut changed = object.stamp.proves_from() >= since;
        let mut above = path.parent();
        while let Some(directory) = above.filter(|above| !changed && !above.is_root()) {
            changed = volume.object(&Place::Tree(&directory))?.is_none_or(|found| found.stamp.proves_from() >= since);
            above = directory.parent();
        }
        Ok(changed)
    }
}

/// Copies an object, with the directories above it.
fn copy<V: Volume>(from: &V, to: &V, path: &RelPath, object: &Object) -> io::Result<()> {
    let mut above: Vec<_> = std::iter::successors(path.parent(), RelPath::parent).filter(|above| !above.is_root()).collect();
    while let Some(directory) = above.pop() {
        if to.object(&Place::Tree(&directory))?.is_none() {
            to.make_directory(&directory)?;
            if let Some(found) = from.object(&Place::Tree(&directory))? {
                to.set_attrs(&Place::Tree(&directory), &found.attrs)?;
            }
        }
    }
    let place = Place::Tree(path);
    let is_there = to.object(&place)?.is_some();
    match &object.kind {
        ObjectKind::Directory if is_there => {}
        ObjectKind::Directory => to.make_directory(path)?,
        ObjectKind::File => {
            let copied = if is_there { to.open(&place, true)? } else { to.create(&place)? };
            copy_data(&from.open(&place, false)?, &copied, object.size)?;
        }
        ObjectKind::Symlink(target) => to.make_symlink(&place, target)?,
        ObjectKind::Fifo => to.make_fifo(&place)?,
        ObjectKind::Special(_) => return Ok(()),
    }
    to.set_attrs(&place, &object.attrs)
}

/// Copies what a file holds, sharing it where the file system can.
pub(super) fn copy_data<F: VolumeFile>(from: &F, to: &F, size: u64) -> io::Result<()> {
    match to.share(from) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        shared => return shared,
    }
    to.set_len(size)?;
    let mut piece = vec![0; PIECE_LEN];
    let mut at = 0;
    while at < size {
        let stretch = from.stretch(at)?;
        if !stretch.hole {
            while at < stretch.end.min(size) {
                let len = (stretch.end.min(size) - at).min(PIECE_LEN as u64) as usize;
                let read = from.read_at(&mut piece[..len], at)?;
                if read == 0 {
                    // It became shorter.
                    return to.set_len(at);
                }
                to.write_at(&piece[..read], at)?;
                at += read as u64;
            }
        }
        at = at.max(stretch.end);
    }
    Ok(())
}
