//! The values of the groups of large files of a replica, kept so that comparing need not read what did not change.
//!
//! A list of values is collected while a file is received or compared, and holds once the replica was taken to the point that it
//! was received for: then it is bound to the stamp that the file has there. Only that makes it safe: a damaged value differs from the
//! source's and leads to reading, but an old one may be the source's again. So all of it is dropped whenever the replica moves in any
//! other way, after an end that was not orderly, and on any doubt.

mod list;

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use standin_common::entry::Time;
use standin_common::id::PointNumber;
use standin_common::message::Position;
use standin_common::tree::{Fold, GROUP_LEN, Root, Value, group_count};

pub(super) use self::list::Kept;
pub use self::list::Listed;
use self::list::{BATCH, Bound, ENDING, VALUE_LEN, bind_list, bound_of, collected, local, name};
use crate::shelf::Shelf;
use crate::store::LogFile;
use crate::volume::{Object, ObjectKind, Place, Stamp, Volume};

/// Smaller files are read: that is quicker than to keep a file for each of them.
const LEAST_LEN: u64 = 8 * 1024 * 1024;
/// Lists that may come before those of files that are gone are looked for.
const SWEEP_AFTER: usize = 64;

/// What of the shelf can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Nothing was looked at since the start.
    Unknown,
    /// Every list is of the replica as it is, if its stamp is.
    Whole,
    /// Nothing; it is all to be removed.
    Lost,
    /// The shelf does not work: nothing is kept until the next start.
    Off,
}

#[derive(Debug)]
struct Inner {
    trust: Trust,
    /// Raised by every loss, so that what was taken before is not believed after.
    epoch: u64,
    pending: Option<Pending>,
    /// Lists bound since the last sweep, and those that were left by it.
    bound: usize,
    swept: usize,
}

/// What was received for a point that the replica is not at yet.
#[derive(Debug)]
pub(super) struct Pending {
    point: PointNumber,
    epoch: u64,
    files: Vec<Proven>,
}

/// A file of which all values are known, and that it will have this size and time.
#[derive(Debug)]
struct Proven {
    at: Position,
    size: u64,
    modified: Time,
    root: Root,
}

/// What a look at the values of a file found.
pub(super) enum Look {
    /// These, which hold now.
    Kept(Kept),
    /// Nothing that can be believed of the file as it is.
    Nothing,
    /// The replica is being taken to another point.
    NotNow,
}

/// The lists of one replica.
#[derive(Debug)]
pub struct Values {
    shelf: Box<dyn Shelf>,
    least: u64,
    inner: Mutex<Inner>,
}

impl Values {
    /// Those on a shelf. Nothing of it is touched before they are used, or the replica moves.
    pub fn new(shelf: Box<dyn Shelf>) -> Self {
        let inner = Inner { trust: Trust::Unknown, epoch: 0, pending: None, bound: 0, swept: 0 };
        Self { shelf, least: LEAST_LEN, inner: Mutex::new(inner) }
    }

    /// The same, of files from this size on, which is more than a group.
    #[must_use]
    pub fn from_size(self, least: u64) -> Self {
        Self { least: least.max(GROUP_LEN as u64 + 1), ..self }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what lies on the shelf may be used; after this it may, or there is nothing.
    fn is_usable(&self, inner: &mut Inner) -> bool {
        let trust = match inner.trust {
            Trust::Whole | Trust::Off => Ok(inner.trust),
            Trust::Unknown => match self.shelf.unseal() {
                Ok(true) => Ok(Trust::Whole),
                Ok(false) => self.clear(),
                Err(error) => Err(error),
            },
            Trust::Lost => self.clear(),
        };
        inner.trust = trust.unwrap_or_else(|error| {
            tracing::warn!(%error, "values of groups cannot be kept: what is compared is read until the next start");
            Trust::Off
        });
        inner.trust == Trust::Whole
    }

    fn clear(&self) -> io::Result<Trust> {
        // It may be on yet, if all was doubted before anything was used.
        self.shelf.unseal()?;
        self.shelf.names()?.iter().try_for_each(|name| self.shelf.remove(name))?;
        Ok(Trust::Whole)
    }

    fn lose(inner: &mut Inner) {
        inner.epoch += 1;
        inner.pending = None;
        if inner.trust != Trust::Off {
            inner.trust = Trust::Lost;
        }
    }

    /// A point begins to be received, the `first` or another one: what was collected for an earlier try of it does not count.
    pub(super) fn begin(&self, point: PointNumber, first: bool) {
        let mut inner = self.lock();
        let before = inner.pending.take();
        if first {
            Self::lose(&mut inner);
        }
        inner.pending = Some(Pending { point, epoch: inner.epoch, files: Vec::new() });
        for proven in before.iter().flat_map(|before| &before.files) {
            // What stays is replaced by the next list of that file, or dropped with all others.
            let _ = self.shelf.remove(&collected(&proven.at));
        }
    }

    /// What is kept of a file that has this stamp now.
    pub(super) fn kept(&self, at: &Position, stamp: &Stamp) -> Option<Kept> {
        let mut inner = self.lock();
        if stamp.size < self.least || !self.is_usable(&mut inner) {
            return None;
        }
        let list = self.shelf.open(&name(at)).ok().flatten()?;
        Kept::of(list, at, stamp, inner.epoch)
    }

    /// The lists that can be believed, in the order of their names. Unlike all other uses this only looks, and leaves the seal where
    /// it is.
    pub(super) fn lists(&self) -> io::Result<Vec<Listed>> {
        let inner = self.lock();
        if !self.can_look(&inner)? {
            return Ok(Vec::new());
        }
        let mut names: Vec<_> = self.shelf.names()?.into_iter().filter(|name| name.ends_with(ENDING)).collect();
        drop(inner);
        names.sort_unstable();
        let listed = names.into_iter().map(|name| {
            let bound = self.shelf.open(&name)?.map(|list| bound_of(&*list)).transpose()?.flatten();
            Ok(bound.map(|Bound { at, stamp, .. }| Listed { name, at, size: stamp.size }))
        });
        listed.filter_map(Result::transpose).collect()
    }

    /// Looks at what is kept of a file that has this stamp now, and leaves the seal where it is.
    pub(super) fn look(&self, at: &Position, stamp: &Stamp) -> io::Result<Look> {
        let inner = self.lock();
        if inner.trust == Trust::Lost {
            return Ok(Look::NotNow);
        }
        let list = if self.can_look(&inner)? { self.shelf.open(&name(at))? } else { None };
        Ok(list.and_then(|list| Kept::of(list, at, stamp, inner.epoch)).map_or(Look::Nothing, Look::Kept))
    }

    fn can_look(&self, inner: &Inner) -> io::Result<bool> {
        match inner.trust {
            Trust::Whole => Ok(true),
            Trust::Unknown => self.shelf.is_sealed(),
            Trust::Lost | Trust::Off => Ok(false),
        }
    }

    /// Drops the values of one file. Whoever took some of them for true reads the file again, and so does the next comparison. With what
    /// was judged, the values and the file's stamp after that: `false`, and nothing, if either does not count any more.
    pub(super) fn condemn(&self, at: &Position, judged: Option<(&Kept, Option<Stamp>)>) -> bool {
        let mut inner = self.lock();
        if judged.is_some_and(|(kept, now)| inner.epoch != kept.epoch || now != Some(kept.stamp)) || !self.is_usable(&mut inner) {
            return false;
        }
        inner.epoch += 1;
        let epoch = inner.epoch;
        if let Some(pending) = &mut inner.pending {
            pending.epoch = epoch;
            for proven in pending.files.drain(..) {
                // It may say what was believed. What stays is replaced by the next list of that file, or dropped with all others.
                let _ = self.shelf.remove(&collected(&proven.at));
            }
        }
        if let Err(error) = self.shelf.remove(&name(at)) {
            tracing::warn!(%error, "values of groups cannot be removed: all are dropped");
            Self::lose(&mut inner);
        }
        true
    }

    /// Whether what was taken from a list still counts, the file having this stamp now, if it matters.
    pub(super) fn holds(&self, kept: &Kept, now: Option<&Stamp>) -> bool {
        self.lock().epoch == kept.epoch && now.is_none_or(|now| kept.stamp == *now)
    }

    /// Begins to collect the values of a file of this size, unless it is too small to be worth it.
    pub(super) fn collect(&self, at: &Position, size: u64) -> Option<Collector<'_>> {
        let mut inner = self.lock();
        let wanted = size >= self.least && inner.pending.is_some() && self.is_usable(&mut inner);
        let epoch = inner.epoch;
        wanted.then(|| Collector {
            values: self,
            name: collected(at),
            epoch,
            list: None,
            batch: Vec::new(),
            fold: Fold::new(),
            kept: false,
        })
    }

    /// The replica is about to be taken to a point; returns what was collected for it, if it was received just now.
    pub(super) fn moving(&self, to: PointNumber) -> Option<Pending> {
        let mut inner = self.lock();
        let usable = self.is_usable(&mut inner);
        let pending = inner.pending.take();
        Self::lose(&mut inner);
        pending.filter(|pending| usable && pending.point == to).map(|pending| Pending { epoch: inner.epoch, ..pending })
    }

    /// The replica is at the point: what was collected for it holds from now on, besides all that it did not touch.
    pub(super) fn moved<V: Volume>(&self, pending: Option<Pending>, volumes: &[V]) {
        let mut inner = self.lock();
        let Some(pending) = pending.filter(|pending| pending.epoch == inner.epoch) else { return };
        inner.bound += pending.files.len();
        let bound = pending.files.into_iter().try_for_each(|proven| self.bind(proven, volumes));
        let swept =
            bound.and_then(|()| if inner.bound > inner.swept + SWEEP_AFTER { self.sweep(volumes).map(Some) } else { Ok(None) });
        match swept {
            Ok(swept) => {
                inner.trust = if inner.trust == Trust::Off { Trust::Off } else { Trust::Whole };
                if let Some(swept) = swept {
                    (inner.bound, inner.swept) = (0, swept);
                }
            }
            Err(error) => tracing::warn!(%error, "values of groups cannot be kept: they are dropped"),
        }
    }

    fn bind<V: Volume>(&self, Proven { at, size, modified, root }: Proven, volumes: &[V]) -> io::Result<()> {
        let from = collected(&at);
        // The time is the last that is set of a file: with another one, somebody else has written to it since. It is in the stamp, too, so
        // that whoever writes in the clock tick of this look, which leaves the change time, is found by the next one.
        let is_it = |object: &Object| object.kind == ObjectKind::File && object.size == size && object.attrs.mtime == modified;
        let list = match self.shelf.open(&from)? {
            Some(list) => object(volumes, &at)?.filter(is_it).map(|object| (list, object.stamp)),
            None => None,
        };
        match list {
            Some((mut list, stamp)) => {
                let to = name(&at);
                bind_list(&mut *list, &Bound { at, stamp: local(&stamp), root })?;
                self.shelf.rename(&from, &to)
            }
            None => {
                self.shelf.remove(&from)?;
                self.shelf.remove(&name(&at))
            }
        }
    }

    /// Removes lists of files that are gone or others now; returns how many are left.
    fn sweep<V: Volume>(&self, volumes: &[V]) -> io::Result<usize> {
        let mut left = 0;
        for name in self.shelf.names()? {
            let bound = self.shelf.open(&name)?.map(|list| bound_of(&*list)).transpose()?.flatten();
            let here = bound.as_ref().map(|bound| object(volumes, &bound.at)).transpose()?.flatten();
            if bound.map(|bound| bound.stamp) == here.map(|here| local(&here.stamp)) {
                left += 1;
            } else {
                self.shelf.remove(&name)?;
            }
        }
        Ok(left)
    }

    /// Something speaks against what is kept: none of it is used any more.
    pub(super) fn doubt(&self, at: &Position, what: &'static str) {
        tracing::warn!(root = at.root.0, path = %at.path, "{what}: all kept values of groups are dropped, and files are read again");
        let mut inner = self.lock();
        let point = inner.pending.as_ref().map(|pending| pending.point);
        Self::lose(&mut inner);
        let epoch = inner.epoch;
        // What is read from now on may be kept again.
        inner.pending = point.map(|point| Pending { point, epoch, files: Vec::new() });
        // At once, so that they are not believed after the next start either.
        self.is_usable(&mut inner);
    }

    /// An orderly end: what is kept may be used after the next start, if nothing is used or moved from now on.
    pub fn rest(&self) {
        let mut inner = self.lock();
        for proven in inner.pending.take().iter().flat_map(|pending| &pending.files) {
            // It is not bound to anything, and will not be.
            let _ = self.shelf.remove(&collected(&proven.at));
        }
        if inner.trust != Trust::Whole {
            return;
        }
        inner.trust = Trust::Unknown;
        if let Err(error) = self.shelf.seal() {
            tracing::warn!(%error, "the kept values of groups could not be made durable: they are dropped at the next start");
        }
    }
}

/// Collects the values of one file, in the order of its groups. Without being [proven](Collector::proven) it leaves nothing.
pub(super) struct Collector<'v> {
    values: &'v Values,
    name: String,
    epoch: u64,
    list: Option<Box<dyn LogFile>>,
    batch: Vec<u8>,
    fold: Fold,
    kept: bool,
}

impl Collector<'_> {
    /// Takes the value of the next group; an error means that the list is of no use.
    pub(super) fn push(&mut self, value: &Value) -> io::Result<()> {
        self.batch.extend_from_slice(value);
        self.fold.push(*value);
        if self.batch.len() >= BATCH * VALUE_LEN { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        let list = match &mut self.list {
            Some(list) => list,
            none => none.insert(self.values.shelf.create(&self.name)?),
        };
        list.append(&[&self.batch])?;
        self.batch.clear();
        Ok(())
    }

    /// The file at `at` has these values and will have this size and time at the point that is being received.
    pub(super) fn proven(mut self, at: &Position, size: u64, modified: Time) -> io::Result<()> {
        if self.fold.count() != group_count(size) {
            return Ok(());
        }
        // A file of one group has none that is worked out from values; it is too small anyway.
        let Some(root) = std::mem::take(&mut self.fold).into_root() else { return Ok(()) };
        self.write()?;
        let mut inner = self.values.lock();
        if let Some(pending) = inner.pending.as_mut().filter(|pending| pending.epoch == self.epoch) {
            pending.files.push(Proven { at: at.clone(), size, modified, root });
            self.kept = true;
        }
        Ok(())
    }
}

impl Drop for Collector<'_> {
    fn drop(&mut self) {
        if self.list.is_some() && !self.kept {
            // What stays is replaced by the next list of that file, or dropped with all others.
            let _ = self.values.shelf.remove(&self.name);
        }
    }
}

fn object<V: Volume>(volumes: &[V], at: &Position) -> io::Result<Option<Object>> {
    volumes.get(usize::from(at.root.0)).map_or(Ok(None), |volume| volume.object(&Place::Tree(&at.path)))
}
