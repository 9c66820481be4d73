//! A list of the values of one file's groups: the values, what they are bound to, and the end that says so.

use std::io;

use serde::{Deserialize, Serialize};
use standin_common::message::Position;
use standin_common::tree::{Fold, GROUP_LEN, Root, Value, group_count};

use crate::store::LogFile;
use crate::volume::Stamp;

/// Bytes of a value.
pub(super) const VALUE_LEN: usize = 32;
/// Values written or read at once.
pub(super) const BATCH: usize = 256;
/// The last bytes of a list, which name its layout.
const MAGIC: &[u8; 8] = b"values02";
/// How the name of a list that is bound ends.
pub(super) const ENDING: &str = ".values";
/// The check of what a list is bound to, the length of that, and the magic.
const TAIL_LEN: usize = 32 + 4 + MAGIC.len();
/// What a list is bound to takes less.
const MOST_BOUND_LEN: u64 = 64 * 1024;

/// What a list of values is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bound {
    pub(super) at: Position,
    pub(super) stamp: Stamp,
    /// The root that the values lead to, which tells a damaged list from a damaged file.
    pub(super) root: Root,
}

/// A list that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name, by which lists are in order.
    pub name: String,
    /// The file that it is of.
    pub at: Position,
    /// The file's size in bytes.
    pub size: u64,
}

/// The list of one file of the replica.
pub(in crate::standby) struct Kept {
    list: Box<dyn LogFile>,
    pub(super) stamp: Stamp,
    pub(super) epoch: u64,
    root: Root,
}

impl Kept {
    /// A list, if it is bound to a file that has this stamp now.
    pub(super) fn of(list: Box<dyn LogFile>, at: &Position, stamp: &Stamp, epoch: u64) -> Option<Self> {
        let bound = bound_of(&*list).ok().flatten()?;
        (bound.at == *at && bound.stamp == local(stamp)).then_some(Self { list, stamp: *stamp, epoch, root: bound.root })
    }

    /// Whether these are the values that were collected, which is read and worked out.
    pub(in crate::standby) fn is_whole(&self) -> bool {
        let size = self.stamp.size;
        let (mut fold, mut first, groups) = (Fold::new(), 0, group_count(size));
        while first < groups {
            let count = (groups - first).min(BATCH as u64) as usize;
            self.values(size, first, count).into_iter().flatten().for_each(|value| fold.push(value));
            first += count as u64;
        }
        fold.count() == groups && fold.into_root() == Some(self.root)
    }

    /// The stamp of the file.
    pub(in crate::standby) fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// The values that `count` groups from `first` on have in a file of `size` bytes that begins as the replica's, as far as they are
    /// known. The last group's depends on its length.
    pub(in crate::standby) fn values(&self, size: u64, first: u64, count: usize) -> Vec<Option<Value>> {
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

/// The name of a file's list.
pub(super) fn name(at: &Position) -> String {
    let digest = blake3::Hasher::new().update(&at.root.0.to_le_bytes()).update(at.path.as_bytes()).finalize();
    format!("{}{ENDING}", &digest.to_hex()[..32])
}

/// The name of a list that is not bound yet.
pub(super) fn collected(at: &Position) -> String {
    format!("{}.new", name(at))
}

/// A stamp for comparison over restarts, which may give a file system another number; its objects keep theirs, and their times.
pub(super) fn local(stamp: &Stamp) -> Stamp {
    Stamp { device: 0, ..*stamp }
}

/// Ends a list with what it is bound to.
pub(super) fn bind_list(list: &mut dyn LogFile, bound: &Bound) -> io::Result<()> {
    let bytes = postcard::to_stdvec(bound).map_err(io::Error::other)?;
    let check = blake3::hash(&bytes);
    list.append(&[&bytes, check.as_bytes(), &(bytes.len() as u32).to_le_bytes(), MAGIC])
}

/// What a list is bound to; `None` if it is not bound, or damaged.
pub(super) fn bound_of(list: &dyn LogFile) -> io::Result<Option<Bound>> {
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
