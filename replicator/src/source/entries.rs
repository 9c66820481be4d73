//! The source's walk as entries, and the proof that nothing changed meanwhile.
//!
//! A pass walks twice: once as it sends entries, once when every file was read. If both walks see the same stamps, no object
//! changed between its two looks; all these spans share the moment between the walks, so what was read is the state of that
//! moment. A stamp taken in the same clock tick as the change that it shows proves nothing: such a walk counts as disturbed.

use std::collections::HashMap;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use standin_common::entry::{Entry, Kind, Time};
use standin_common::path::RelPath;

use crate::rules::Rules;
use crate::scopes::Scopes;
use crate::volume::{Object, ObjectKind, Stamp, Volume};
use crate::walk::{Walk, WalkError};

/// The largest file: 64 TiB, with holes.
const MOST_BYTES: u64 = 1 << 46;
/// The longest extended attributes of one object, names and values; a message takes a little more.
const MOST_XATTR_BYTES: usize = 512 * 1024;

/// What the walk of one root met.
#[derive(Debug)]
pub enum Met {
    /// An object to replicate.
    Entry(Entry),
    /// A socket or device node, which is reported and not copied.
    Special(RelPath, &'static str),
    /// Something that could not be read.
    Unreadable(RelPath, io::Error),
}

/// Everything of a walk that must be the same in the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    digest: [u8; 32],
    disturbed: bool,
}

impl Evidence {
    /// Of a root that was not walked.
    pub fn missing() -> Self {
        Self { digest: [0; 32], disturbed: true }
    }

    /// Whether both walks met the same.
    pub fn is_of(&self, later: &Self) -> bool {
        self.digest == later.digest
    }

    /// Whether both walks prove that nothing changed between them.
    pub fn proves(&self, later: &Self) -> bool {
        !self.disturbed && self.is_of(later)
    }
}

/// The entries of one root, in order.
pub struct Entries<'a, V: Volume> {
    walk: Walk<'a, V>,
    after: Option<RelPath>,
    first_names: HashMap<(u64, u64), RelPath>,
    hasher: blake3::Hasher,
    disturbed: bool,
    now: fn() -> SystemTime,
    since: Option<Time>,
}

impl<'a, V: Volume> Entries<'a, V> {
    /// All entries, or those after a path: then the directories that this path is in come first, once more, and so does the path itself
    /// if it is a directory, since a directory gets its attributes when the walk leaves it. All others before it are only looked at, for the
    /// sake of those after it that are further names of the same objects.
    pub fn new(volume: &'a V, after: Option<RelPath>, rules: &'a Rules, now: fn() -> SystemTime) -> Self {
        let disturbed = after.is_some();
        Self {
            walk: Walk::new(volume, None, rules),
            after,
            first_names: HashMap::new(),
            hasher: blake3::Hasher::new(),
            disturbed,
            now,
            since: None,
        }
    }

    /// All entries without what a glance does not tell: for their evidence.
    pub fn glancing(volume: &'a V, rules: &'a Rules, now: fn() -> SystemTime) -> Self {
        Self { walk: Walk::glancing(volume, rules), ..Self::new(volume, None, rules, now) }
    }

    /// Only those of these places and the directories that lead there, unless there are none.
    #[must_use]
    pub fn within(self, scopes: Option<&'a Scopes>) -> Self {
        Self { walk: self.walk.within(scopes), ..self }
    }

    /// Doubts what may have changed since then, if that is known: when the pass began whose point the standby has.
    #[must_use]
    pub fn doubting(self, since: Option<Time>) -> Self {
        Self { since, ..self }
    }

    /// What this walk proves, once it is over.
    pub fn evidence(&self) -> Evidence {
        Evidence { digest: *self.hasher.finalize().as_bytes(), disturbed: self.disturbed }
    }

    fn met(&mut self, path: RelPath, object: Object) -> Met {
        self.look_at(&path, &object.stamp);
        if let Some(why) = beyond(&object) {
            self.disturbed = true;
            return Met::Unreadable(path, io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        let kind = match object.kind {
            ObjectKind::Directory => Kind::Directory,
            ObjectKind::File => Kind::File { size: object.size },
            ObjectKind::Symlink(target) => Kind::Symlink { target },
            ObjectKind::Fifo => Kind::Fifo,
            ObjectKind::Special(what) => return Met::Special(path, what),
        };
        let linked = object.names > 1 && kind != Kind::Directory;
        let kind = if linked { self.first_name(&path, &object.stamp).map_or(kind, |to| Kind::Hardlink { to }) } else { kind };
        let doubted = self.since.is_some_and(|since| object.stamp.may_be_of(since));
        Met::Entry(Entry { path, kind, attrs: object.attrs, linked, doubted })
    }

    /// The first name of an object with several; `None` if this is it.
    fn first_name(&mut self, path: &RelPath, stamp: &Stamp) -> Option<RelPath> {
        let key = (stamp.device, stamp.inode);
        let first = self.first_names.get(&key).cloned();
        if first.is_none() {
            self.first_names.insert(key, path.clone());
        }
        first
    }

    fn look_at(&mut self, path: &RelPath, stamp: &Stamp) {
        let now = (self.now)().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.disturbed |= stamp.proves_from() > now;
        self.hasher.update(&(path.as_bytes().len() as u64).to_le_bytes()).update(path.as_bytes());
        for number in [stamp.device, stamp.inode, stamp.size, stamp.changed.secs as u64, u64::from(stamp.changed.nanos)] {
            self.hasher.update(&number.to_le_bytes());
        }
    }
}

/// Why an object is more than can be replicated, if it is. Anybody who may write to a root can make such ones.
fn beyond(object: &Object) -> Option<String> {
    let xattrs: usize = object.attrs.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if object.kind == ObjectKind::File && object.size > MOST_BYTES {
        return Some(format!("its size of {} bytes would take hours to read, exclude it by a rule", object.size));
    }
    (xattrs > MOST_XATTR_BYTES).then(|| format!("its extended attributes of {xattrs} bytes do not fit into a message"))
}

impl<V: Volume> Iterator for Entries<'_, V> {
    type Item = Met;

    fn next(&mut self) -> Option<Met> {
        loop {
            let step = match self.walk.next()? {
                Ok(step) => step,
                Err(WalkError { path, source }) => {
                    self.disturbed = true;
                    return Some(Met::Unreadable(path, source));
                }
            };
            let was_met = self.after.as_ref().is_some_and(|after| {
                let leads_there = step.object.kind == ObjectKind::Directory && after.starts_with(&step.path);
                step.path <= *after && !leads_there
            });
            let met = self.met(step.path, step.object);
            if !was_met {
                return Some(met);
            }
        }
    }
}
