//! The values of the groups of large files of a replica, kept so that comparing need not read what did not change.
//!
//! A list of values is collected while a file is received or compared, and holds once the replica was taken to the point that it
//! was received for: then it is bound to the stamp that the file has there. Only that makes it safe: a damaged value differs from the
//! source's and leads to reading, but an old one may be the source's again. So all of it is dropped whenever the replica moves in any
//! other way, after an end that was not orderly, and on any doubt.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use standin_common::entry::Time;
use standin_common::id::PointNumber;
use standin_common::message::Position;
use standin_common::tree::{GROUP_LEN, Value, group_count};

use crate::shelf::Shelf;
use crate::store::LogFile;
use crate::volume::{Object, ObjectKind, Place, Stamp, Volume};

/// Smaller files are read: that is quicker than to keep a file for each of them.
const LEAST_LEN: u64 = 8 * 1024 * 1024;
/// Bytes of a value.
const VALUE_LEN: usize = 32;
/// Values collected before they are written.
const BATCH: usize = 256;
/// The last bytes of a list, which name its layout.
const MAGIC: &[u8; 8] = b"values01";
/// The check of what a list is bound to, the length of that, and the magic.
const TAIL_LEN: usize = 32 + 4 + MAGIC.len();
/// What a list is bound to takes less.
const MOST_BOUND_LEN: u64 = 64 * 1024;
/// A stamp that needs longer to prove something is of a clock that was wrong.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
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
}

/// What a list of values is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Bound {
    at: Position,
    stamp: Stamp,
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
        let bound = bound_of(&*list).ok().flatten()?;
        (bound == Bound { at: at.clone(), stamp: local(stamp) }).then(|| Kept { list, stamp: *stamp, epoch: inner.epoch })
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
            count: 0,
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

    fn bind<V: Volume>(&self, Proven { at, size, modified }: Proven, volumes: &[V]) -> io::Result<()> {
        let from = collected(&at);
        let here = || settled_object(volumes, &at);
        // The time is the last that is set of a file: with another one, somebody else has written to it since.
        let is_it = |object: &Object| object.kind == ObjectKind::File && object.size == size && object.attrs.mtime == modified;
        let list = match self.shelf.open(&from)? {
            Some(list) => here()?.filter(is_it).map(|object| (list, object.stamp)),
            None => None,
        };
        match list {
            Some((mut list, stamp)) => {
                let to = name(&at);
                bind_list(&mut *list, &Bound { at, stamp: local(&stamp) })?;
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

/// The list of one file of the replica.
pub(super) struct Kept {
    list: Box<dyn LogFile>,
    stamp: Stamp,
    epoch: u64,
}

impl Kept {
    /// The values that `count` groups from `first` on have in a file of `size` bytes that begins as the replica's, as far as they are
    /// known. The last group's depends on its length.
    pub(super) fn values(&self, size: u64, first: u64, count: usize) -> Vec<Option<Value>> {
        let here = self.stamp.size;
        let full = size.min(here) / GROUP_LEN as u64;
        let known = if size == here { group_count(size) } else { full };
        // The value of a file of one group is its root.
        let known = if size > GROUP_LEN as u64 { known.saturating_sub(first).min(count as u64) as usize } else { 0 };
        let mut bytes = vec![0; known * VALUE_LEN];
        let read = self.list.read_at(&mut bytes, first * VALUE_LEN as u64).unwrap_or(0);
        let values = bytes[..read].chunks_exact(VALUE_LEN).map(|value| value.try_into().ok());
        values.chain(std::iter::repeat(None)).take(count).collect()
    }
}

/// Collects the values of one file, in the order of its groups. Without being [proven](Collector::proven) it leaves nothing.
pub(super) struct Collector<'v> {
    values: &'v Values,
    name: String,
    epoch: u64,
    list: Option<Box<dyn LogFile>>,
    batch: Vec<u8>,
    count: u64,
    kept: bool,
}

impl Collector<'_> {
    /// Takes the value of the next group; an error means that the list is of no use.
    pub(super) fn push(&mut self, value: &Value) -> io::Result<()> {
        self.batch.extend_from_slice(value);
        self.count += 1;
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
        if self.count != group_count(size) || size <= GROUP_LEN as u64 {
            return Ok(());
        }
        self.write()?;
        let mut inner = self.values.lock();
        if let Some(pending) = inner.pending.as_mut().filter(|pending| pending.epoch == self.epoch) {
            pending.files.push(Proven { at: at.clone(), size, modified });
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

/// The name of a file's list.
fn name(at: &Position) -> String {
    let digest = blake3::Hasher::new().update(&at.root.0.to_le_bytes()).update(at.path.as_bytes()).finalize();
    format!("{}.values", &digest.to_hex()[..32])
}

/// The name of a list that is not bound yet.
fn collected(at: &Position) -> String {
    format!("{}.new", name(at))
}

/// A stamp for comparison over restarts, which may give a file system another number; its objects keep theirs, and their times.
fn local(stamp: &Stamp) -> Stamp {
    Stamp { device: 0, ..*stamp }
}

/// Ends a list with what it is bound to.
fn bind_list(list: &mut dyn LogFile, bound: &Bound) -> io::Result<()> {
    let bytes = postcard::to_stdvec(bound).map_err(io::Error::other)?;
    let check = blake3::hash(&bytes);
    list.append(&[&bytes, check.as_bytes(), &(bytes.len() as u32).to_le_bytes(), MAGIC])
}

/// What a list is bound to; `None` if it is not bound, or damaged.
fn bound_of(list: &dyn LogFile) -> io::Result<Option<Bound>> {
    let mut tail = [0; TAIL_LEN];
    let Some(tail_at) = list.len().checked_sub(TAIL_LEN as u64) else { return Ok(None) };
    if list.read_at(&mut tail, tail_at)? < TAIL_LEN || !tail.ends_with(MAGIC) {
        return Ok(None);
    }
    let (check, len) = tail[..36].split_at(32);
    let len = u64::from(u32::from_le_bytes(len.try_into().unwrap_or_default()));
    let Some(at) = tail_at.checked_sub(len).filter(|_| len <= MOST_BOUND_LEN) else { return Ok(None) };
    let mut bytes = vec![0; len as usize];
    let read = list.read_at(&mut bytes, at)?;
    if read < bytes.len() || blake3::hash(&bytes).as_bytes() != check {
        return Ok(None);
    }
    let bound: Option<Bound> = postcard::from_bytes(&bytes).ok();
    Ok(bound.filter(|bound| group_count(bound.stamp.size).saturating_mul(VALUE_LEN as u64) == at))
}

fn object<V: Volume>(volumes: &[V], at: &Position) -> io::Result<Option<Object>> {
    volumes.get(usize::from(at.root.0)).map_or(Ok(None), |volume| volume.object(&Place::Tree(&at.path)))
}

/// An object with a stamp that will show every later change: a look that comes too early for that is taken again. `None` if it is gone
/// or keeps changing.
fn settled_object<V: Volume>(volumes: &[V], at: &Position) -> io::Result<Option<Object>> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let early = |object: &Object| object.stamp.proves_from().checked_sub(now()).filter(|early| !early.is_zero());
    let Some(mut here) = object(volumes, at)? else { return Ok(None) };
    if let Some(early) = early(&here).filter(|early| *early <= LONGEST_WAIT) {
        std::thread::sleep(early);
        here = match object(volumes, at)? {
            Some(here) => here,
            None => return Ok(None),
        };
    }
    Ok(early(&here).is_none().then_some(here))
}
