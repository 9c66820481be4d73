//! Operations performed in memory, on what the replica was at its last point.
//!
//! What is not spoken of is not looked at: memory grows with the objects that operations name, the pieces of data that they write, and what
//! is beneath directories that they move. An operation that contradicts what is there is refused, and changes nothing.

use std::collections::HashMap;
use std::io;

use standin_common::entry::{Attrs, Time};
use standin_common::id::RootIndex;
use standin_common::path::RelPath;

use super::base::Base;
use super::node::{Held, Kind, No, Node, Origin, Told};
use crate::capture::ordered::{Encoded, Kind as Making, Made, ObjectId, Operation, Place};
use crate::rules::Rules;
use crate::volume::{ObjectKind, is_reserved};

/// A file has no byte from here on, as everywhere on Linux.
const END: u64 = i64::MAX as u64;

/// Why an operation could not be performed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It contradicts what was told before.
    #[error("it told of an operation that cannot be: {0}")]
    Contradiction(&'static str),
    /// The replica could not be read.
    #[error("reading {path:?} of root {} in the replica failed: {source}", root.0)]
    Base {
        /// The root.
        root: RootIndex,
        /// Where.
        path: RelPath,
        /// What the system said.
        source: io::Error,
    },
}

type Done<T = ()> = Result<T, Fault>;

/// A tree, and who is who in it.
pub(super) struct Tree<'a, B: ?Sized> {
    pub base: &'a B,
    pub rules: &'a [Rules],
    pub nodes: Vec<Node>,
    /// What the replica has at a path, of those that were looked at.
    pub by_path: HashMap<(RootIndex, RelPath), Option<No>>,
    by_inode: HashMap<(RootIndex, u64), No>,
    /// Objects that operations named.
    pub named: HashMap<(RootIndex, ObjectId), No>,
    pub told: Told,
}

fn no<T>(what: &'static str) -> Done<T> {
    Err(Fault::Contradiction(what))
}

impl<'a, B: Base + ?Sized> Tree<'a, B> {
    /// What the replica is, and what was told before.
    pub(super) fn new(base: &'a B, rules: &'a [Rules], told: Told) -> Self {
        Self { base, rules, nodes: Vec::new(), by_path: HashMap::new(), by_inode: HashMap::new(), named: HashMap::new(), told }
    }

    pub(super) fn node(&self, no: No) -> &Node {
        &self.nodes[no.0]
    }

    fn node_mut(&mut self, no: No) -> &mut Node {
        &mut self.nodes[no.0]
    }

    fn add(&mut self, node: Node) -> No {
        self.nodes.push(node);
        No(self.nodes.len() - 1)
    }

    /// Whether the rules have a place in the replica.
    pub(super) fn keeps(&self, root: RootIndex, path: &RelPath, is_directory: bool) -> bool {
        !is_reserved(path) && self.rules.get(usize::from(root.0)).is_none_or(|rules| rules.keeps(path, is_directory))
    }

    /// What the replica has at a path.
    pub(super) fn of_base(&mut self, root: RootIndex, path: &RelPath) -> Done<Option<No>> {
        // From the top, so that the directories above are there; a path may be deep.
        let mut known = None;
        let mut above = Some(path.clone());
        let mut missing = Vec::new();
        while let Some(path) = above {
            if let Some(found) = self.by_path.get(&(root, path.clone())) {
                known = *found;
                break;
            }
            above = path.parent();
            missing.push(path);
        }
        for path in missing.into_iter().rev() {
            let parent = known;
            known = match (path.is_root(), parent) {
                (false, None) => None,
                (false, Some(parent)) if !self.node(parent).is_directory() => None,
                _ => self.load(root, &path)?,
            };
            self.by_path.insert((root, path.clone()), known);
            if let (Some(parent), Some(node)) = (parent, known)
                && !self.node(parent).entries.contains_key(path.name())
            {
                self.put(parent, path.name(), node);
            }
        }
        Ok(known)
    }

    fn load(&mut self, root: RootIndex, path: &RelPath) -> Done<Option<No>> {
        let failed = |source| Fault::Base { root, path: path.clone(), source };
        let Some(object) = self.base.object(root, path).map_err(failed)? else { return Ok(None) };
        let is_directory = object.kind == ObjectKind::Directory;
        if !self.keeps(root, path, is_directory) {
            return Ok(None);
        }
        let (inode, linked) = ((root, object.stamp.inode), object.names > 1 && !is_directory);
        if let Some(no) = self.by_inode.get(&inode).copied().filter(|_| linked) {
            self.node_mut(no).olds.push(path.clone());
            return Ok(Some(no));
        }
        let Some(node) = Node::of_base(root, path.clone(), object) else { return Ok(None) };
        let no = self.add(node);
        if linked {
            self.by_inode.insert(inode, no);
        }
        Ok(Some(no))
    }

    /// Everything that a directory of the replica holds becomes known.
    pub(super) fn load_children(&mut self, directory: No) -> Done {
        let node = self.node(directory);
        let (root, Some(path)) = (node.root, node.olds.first().cloned()) else { return Ok(()) };
        let children = self.base.children(root, &path).map_err(|source| Fault::Base { root, path, source })?;
        children.iter().try_for_each(|child| self.of_base(root, child).map(drop))
    }

    /// All names that a file of the replica has become known.
    pub(super) fn load_names(&mut self, no: No) -> Done {
        let node = self.node(no);
        let (root, Some(path)) = (node.root, node.olds.first().cloned()) else { return Ok(()) };
        let failed = |source| Fault::Base { root, path: path.clone(), source };
        let Some(object) = self.base.object(root, &path).map_err(failed)? else { return Ok(()) };
        let names = self.base.names_of(root, object.stamp.inode).map_err(failed)?;
        names.iter().try_for_each(|path| self.of_base(root, path).map(drop))
    }

    /// The segments of the log in which data is that files have now.
    pub(super) fn needed_segments(&self) -> impl Iterator<Item = u64> + '_ {
        let pieces = self.nodes.iter().flat_map(|node| node.data.pieces.values());
        pieces.filter_map(|piece| piece.source.map(|(segment, ..)| segment))
    }

    /// What has a name in a directory.
    fn entry(&mut self, directory: No, name: &[u8]) -> Done<Option<No>> {
        let node = self.node(directory);
        if let Some(entry) = node.entries.get(name) {
            return Ok(*entry);
        }
        let (Origin::Base, Some(path)) = (node.origin, node.olds.first()) else { return Ok(None) };
        let Ok(path) = path.join(name) else { return Ok(None) };
        let root = node.root;
        self.of_base(root, &path)
    }

    /// A name leads to an object now, or to none.
    fn put(&mut self, directory: No, name: &[u8], object: impl Into<Option<No>>) {
        let object = object.into();
        let before = self.node_mut(directory).entries.insert(name.to_vec(), object).flatten();
        if let Some(before) = before {
            self.node_mut(before).names -= 1;
        }
        if let Some(object) = object {
            let node = self.node_mut(object);
            node.names += 1;
            node.parent = Some(directory);
        }
    }

    /// The object of an id that was told.
    fn named(&mut self, root: RootIndex, object: ObjectId) -> Done<No> {
        if let Some(no) = self.named.get(&(root, object)) {
            return Ok(*no);
        }
        let Some(held) = self.told.get(&(root, object)) else { return no("it names an object that was never told") };
        let found = match held.clone() {
            Held::At(path) => self.of_base(root, &path)?,
            Held::Absent { excluded } => Some(self.add(Node::absent(root, excluded))),
            Held::Nameless(file) => {
                let node = Node::new(root, Origin::Nameless, Kind::File, file.attrs);
                Some(self.add(Node { size: file.size, data: file.data, changed: true, ..node }))
            }
        };
        let no = found.unwrap_or_else(|| self.add(Node::absent(root, false)));
        self.named.insert((root, object), no);
        Ok(no)
    }

    /// A place in a directory that was told, with what is there.
    fn place(&mut self, root: RootIndex, at: Place<'_>) -> Done<(No, Option<No>)> {
        if RelPath::root().join(at.name).is_err() {
            return no("it has a name that no object can have");
        }
        let parent = self.named(root, at.parent)?;
        let node = self.node(parent);
        if !node.is_directory() && !node.is_absent() {
            return no("it names something in what is no directory");
        }
        Ok((parent, self.entry(parent, at.name)?))
    }

    /// An object that has a name, and its directory.
    fn object_at(&mut self, root: RootIndex, object: ObjectId, at: Place<'_>) -> Done<(No, No)> {
        let ((parent, there), object) = (self.place(root, at)?, self.named(root, object)?);
        let fits = there == Some(object) || self.node(object).is_absent() && there.is_none_or(|there| !self.is_new(there));
        if fits { Ok((parent, object)) } else { no("another object has that name") }
    }

    fn is_new(&self, no: No) -> bool {
        matches!(self.node(no).origin, Origin::New | Origin::Nameless)
    }

    /// Performs one operation.
    pub(super) fn perform(&mut self, Encoded { root, operation }: Encoded<'_>, data: impl Fn(&[u8]) -> u64, log: u64) -> Done {
        match operation {
            Operation::Root { object } => {
                let Some(top) = self.of_base(root, &RelPath::root())? else {
                    return no("it tells of a root that the set does not have");
                };
                self.tell(root, object, top)
            }
            Operation::Known { object, at } => self.known(root, object, at),
            Operation::Forgotten { object } => {
                self.named.remove(&(root, object));
                self.told.remove(&(root, object));
                Ok(())
            }
            Operation::Make { object, at, kind, made, directory } => self.make(root, object, at, (kind, made), directory),
            Operation::Link { object, at, directory } => self.link(root, object, at, directory),
            Operation::Remove { object, at, directory } => {
                let (parent, _) = self.object_at(root, object, at)?;
                self.put(parent, at.name, None);
                self.node_mut(parent).touch(directory);
                Ok(())
            }
            Operation::Rename { object, from, to, replaced, left, entered } => {
                self.rename(root, (object, from), (replaced, to), left, entered)
            }
            Operation::Exchange { object, other, from, to, left, entered } => {
                self.exchange(root, (object, from), (other, to), left, entered)
            }
            Operation::Write { object, offset, data: bytes, modified } => {
                let source = Some((log, data(bytes), 0));
                self.data(root, object, (offset, bytes.len() as u64), modified, |node, len| node.write(offset, len, source))
            }
            Operation::Truncate { object, len, modified } => {
                self.data(root, object, (len, 0), modified, |node, _| node.resize(len))
            }
            Operation::Allocate { object, what, offset, len, modified } => {
                self.data(root, object, (offset, len), modified, |node, len| node.allocate(what, offset, len))
            }
            Operation::Sync { .. } => Ok(()),
            _ => self.attributes(root, operation),
        }
    }

    fn attributes(&mut self, root: RootIndex, operation: Operation<'_>) -> Done {
        let (Operation::SetMode { object, .. }
        | Operation::SetOwner { object, .. }
        | Operation::SetTimes { object, .. }
        | Operation::SetXattr { object, .. }
        | Operation::RemoveXattr { object, .. }) = operation
        else {
            return Ok(());
        };
        let no = self.named(root, object)?;
        let node = self.node_mut(no);
        match operation {
            Operation::SetMode { mode, .. } => node.set_mode(mode),
            Operation::SetOwner { uid, gid, .. } => {
                (node.attrs.uid, node.attrs.gid) = (uid, gid);
                node.changed = true;
            }
            Operation::SetTimes { modified, .. } => modified.into_iter().for_each(|modified| node.touch(modified)),
            Operation::SetXattr { name, value, .. } => node.set_xattr(name, value),
            Operation::RemoveXattr { name, .. } => node.remove_xattr(name),
            _ => {}
        }
        Ok(())
    }

    fn data(
        &mut self,
        root: RootIndex,
        object: ObjectId,
        (offset, len): (u64, u64),
        modified: Time,
        change: impl FnOnce(&mut Node, u64),
    ) -> Done {
        if offset.checked_add(len).is_none_or(|end| end > END) {
            return no("it reaches beyond what any file can have");
        }
        let no_ = self.named(root, object)?;
        let node = self.node_mut(no_);
        match node.kind {
            Kind::File => {
                change(node, len);
                node.touch(modified);
                Ok(())
            }
            Kind::Other => Ok(()),
            _ => no("it changes the data of what is no file"),
        }
    }

    /// An id stands for an object from now on.
    fn tell(&mut self, root: RootIndex, object: ObjectId, node: No) -> Done {
        self.named.insert((root, object), node);
        Ok(())
    }

    fn known(&mut self, root: RootIndex, object: ObjectId, at: Place<'_>) -> Done {
        let (parent, there) = self.place(root, at)?;
        let node = match there {
            Some(there) => there,
            None => {
                let excluded = self.is_excluded_before(parent, at.name);
                let node = self.add(Node::absent(root, excluded));
                self.put(parent, at.name, node);
                node
            }
        };
        self.tell(root, object, node)
    }

    /// Whether the rules left out what had a name in a directory when the replica was at its last point.
    fn is_excluded_before(&self, directory: No, name: &[u8]) -> bool {
        let node = self.node(directory);
        match node.origin {
            Origin::Absent { excluded } => excluded,
            Origin::Base => {
                let path = node.olds.first().and_then(|path| path.join(name).ok());
                // A directory that leads to something would be there.
                path.is_some_and(|path| !self.keeps(node.root, &path, false))
            }
            Origin::New | Origin::Nameless => false,
        }
    }

    fn make(
        &mut self,
        root: RootIndex,
        object: ObjectId,
        at: Option<Place<'_>>,
        (kind, made): (Making<'_>, Made),
        time: Time,
    ) -> Done {
        let place = at.map(|at| self.place(root, at)).transpose()?;
        if place.is_some_and(|(_, there)| there.is_some_and(|there| self.is_new(there))) {
            return no("it makes what is there already");
        }
        let kind = match kind {
            Making::File => Kind::File,
            Making::Directory => Kind::Directory,
            Making::Symlink(target) if target.is_empty() || target.contains(&0) => {
                return no("it makes a link that leads nowhere");
            }
            Making::Symlink(target) => Kind::Symlink(target.to_vec()),
            Making::Fifo => Kind::Fifo,
            Making::Socket | Making::CharacterDevice(_) | Making::BlockDevice(_) => Kind::Other,
        };
        if place.is_none() && kind != Kind::File {
            return no("it makes something without a name that is no file");
        }
        let attrs = Attrs { mode: made.mode, uid: made.uid, gid: made.gid, mtime: made.modified, xattrs: Vec::new() };
        let origin = if place.is_some() { Origin::New } else { Origin::Nameless };
        let node = self.add(Node { changed: true, ..Node::new(root, origin, kind, attrs) });
        if let (Some((parent, _)), Some(at)) = (place, at) {
            self.put(parent, at.name, node);
            self.node_mut(parent).touch(time);
        }
        self.tell(root, object, node)
    }

    fn link(&mut self, root: RootIndex, object: ObjectId, at: Place<'_>, time: Time) -> Done {
        let ((parent, there), node) = (self.place(root, at)?, self.named(root, object)?);
        if self.node(node).is_directory() {
            return no("it gives a directory another name");
        }
        if there.is_some_and(|there| self.is_new(there)) {
            return no("it gives a name that is taken");
        }
        self.check_not_beneath(node, parent)?;
        if self.node(node).origin == Origin::Nameless {
            self.node_mut(node).origin = Origin::New;
        }
        self.put(parent, at.name, node);
        self.node_mut(parent).touch(time);
        Ok(())
    }

    fn rename(
        &mut self,
        root: RootIndex,
        (object, from): (ObjectId, Place<'_>),
        (replaced, to): (Option<ObjectId>, Place<'_>),
        left: Time,
        entered: Time,
    ) -> Done {
        let (old, object) = self.object_at(root, object, from)?;
        let (new, _) = match replaced {
            Some(replaced) => {
                let (parent, replaced) = self.object_at(root, replaced, to)?;
                (parent, Some(replaced))
            }
            None => self.place(root, to)?,
        };
        self.check_not_beneath(object, new)?;
        if (old, from.name) != (new, to.name) {
            self.put(old, from.name, None);
            self.put(new, to.name, object);
        }
        self.node_mut(old).touch(left);
        self.node_mut(new).touch(entered);
        Ok(())
    }

    fn exchange(
        &mut self,
        root: RootIndex,
        (object, from): (ObjectId, Place<'_>),
        (other, to): (ObjectId, Place<'_>),
        left: Time,
        entered: Time,
    ) -> Done {
        let (old, object) = self.object_at(root, object, from)?;
        let (new, other) = self.object_at(root, other, to)?;
        self.check_not_beneath(object, new)?;
        self.check_not_beneath(other, old)?;
        self.put(old, from.name, other);
        self.put(new, to.name, object);
        self.node_mut(old).touch(left);
        self.node_mut(new).touch(entered);
        Ok(())
    }

    /// No directory can be moved beneath itself.
    fn check_not_beneath(&self, object: No, directory: No) -> Done {
        let mut above = Some(directory);
        while let Some(at) = above {
            if at == object {
                return no("it moves a directory beneath itself");
            }
            above = self.node(at).parent;
        }
        Ok(())
    }
}
