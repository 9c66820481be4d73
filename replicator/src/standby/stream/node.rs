//! One object of a tree that operations are performed on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standin_common::entry::{Attrs, Time};
use standin_common::id::RootIndex;
use standin_common::path::RelPath;

use super::acl;
use crate::capture::ordered::{Allocation, ObjectId};
use crate::standby::data::{Data, Source};
use crate::volume::{Object, ObjectKind};

/// Where a node is among all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct No(pub usize);

/// The objects that were told, with what is known of each between two folds.
pub(super) type Told = BTreeMap<(RootIndex, ObjectId), Held>;

/// What is known of an object that was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Held {
    /// It is in the replica, here.
    At(RelPath),
    /// It is not in the replica; `excluded` if only since the rules leave it out.
    Absent { excluded: bool },
    /// A file that never had a name, and may still get one.
    Nameless(Box<Nameless>),
}

/// A file without a name. Its data is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Nameless {
    pub attrs: Attrs,
    pub size: u64,
    pub data: Data,
}

/// Where an object comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is in the replica.
    Base,
    /// It was there before, and is not in the replica.
    Absent { excluded: bool },
    /// It was made.
    New,
    /// It was made, and never had a name.
    Nameless,
}

/// What an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Symlink(Vec<u8>),
    Fifo,
    /// A socket or device, or what is absent: not replicated.
    Other,
}

#[derive(Debug)]
pub(super) struct Node {
    pub root: RootIndex,
    pub origin: Origin,
    pub kind: Kind,
    pub attrs: Attrs,
    /// Whether attributes or data were changed.
    pub changed: bool,
    pub size: u64,
    pub size_before: u64,
    pub data: Data,
    /// Its names in the replica, as far as they are known, and how many it has.
    pub olds: Vec<RelPath>,
    pub names_there: u64,
    /// How many names lead to it.
    pub names: u32,
    /// Of a directory, where it is.
    pub parent: Option<No>,
    /// Of a directory: what is known of the names in it.
    pub entries: BTreeMap<Vec<u8>, Option<No>>,
}

impl Node {
    pub(super) fn new(root: RootIndex, origin: Origin, kind: Kind, attrs: Attrs) -> Self {
        Self {
            root,
            origin,
            kind,
            attrs,
            changed: false,
            size: 0,
            size_before: 0,
            data: Data::default(),
            olds: Vec::new(),
            names_there: 0,
            names: 0,
            parent: None,
            entries: BTreeMap::new(),
        }
    }

    /// An object of the replica; `None` for what is never replicated.
    pub(super) fn of_base(root: RootIndex, path: RelPath, object: Object) -> Option<Self> {
        let kind = match object.kind {
            ObjectKind::Directory => Kind::Directory,
            ObjectKind::File => Kind::File,
            ObjectKind::Symlink(target) => Kind::Symlink(target),
            ObjectKind::Fifo => Kind::Fifo,
            ObjectKind::Special(_) => return None,
        };
        let size = if kind == Kind::File { object.size } else { 0 };
        let node = Self::new(root, Origin::Base, kind, object.attrs);
        Some(Self { size, size_before: size, names_there: object.names, olds: vec![path], ..node })
    }

    /// One of which nothing is known but that it is not in the replica.
    pub(super) fn absent(root: RootIndex, excluded: bool) -> Self {
        Self::new(root, Origin::Absent { excluded }, Kind::Other, Attrs::default())
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self.origin, Origin::Absent { .. })
    }

    /// The contents changed at this time.
    pub(super) fn touch(&mut self, modified: Time) {
        self.attrs.mtime = modified;
        self.changed = true;
    }

    pub(super) fn write(&mut self, offset: u64, len: u64, source: Source) {
        self.data.lay(offset, offset + len, source);
        self.grow(offset + len);
        self.lose_capability();
    }

    pub(super) fn resize(&mut self, len: u64) {
        self.data.resize(len);
        self.size = len;
        self.lose_capability();
    }

    pub(super) fn allocate(&mut self, what: Allocation, offset: u64, len: u64) {
        let end = offset + len;
        match what {
            Allocation::Grow => self.grow(end),
            Allocation::Reserve => {}
            Allocation::Punch | Allocation::ZeroWithin => self.data.lay(offset, end.min(self.size), None),
            Allocation::Zero => {
                self.data.lay(offset, end, None);
                self.grow(end);
            }
        }
        if what != Allocation::Reserve {
            self.lose_capability();
        }
    }

    fn grow(&mut self, end: u64) {
        if end > self.size {
            self.size = end;
            self.data.len = Some(end);
        }
    }

    fn lose_capability(&mut self) {
        self.take_xattr(b"security.capability");
    }

    pub(super) fn set_mode(&mut self, mode: u32) {
        self.attrs.mode = mode;
        self.changed = true;
        if let Ok(at) = self.xattr(acl::ACCESS) {
            acl::set_mode(&mut self.attrs.xattrs[at].1, mode);
        }
    }

    pub(super) fn set_xattr(&mut self, name: &[u8], value: &[u8]) {
        if name == acl::ACCESS && acl::is_only_mode(value) {
            return self.remove_xattr(name);
        }
        self.changed = true;
        match self.xattr(name) {
            Ok(at) => self.attrs.xattrs[at].1 = value.to_vec(),
            Err(at) => self.attrs.xattrs.insert(at, (name.to_vec(), value.to_vec())),
        }
    }

    pub(super) fn remove_xattr(&mut self, name: &[u8]) {
        self.changed = true;
        self.take_xattr(name);
    }

    fn take_xattr(&mut self, name: &[u8]) {
        if let Ok(at) = self.xattr(name) {
            self.attrs.xattrs.remove(at);
        }
    }

    fn xattr(&self, name: &[u8]) -> Result<usize, usize> {
        self.attrs.xattrs.binary_search_by(|(other, _)| other.as_slice().cmp(name))
    }
}
