//! What was changed beneath a root and is not durable yet.

use std::collections::BTreeSet;

use standin_common::path::RelPath;

use super::SideId;

/// From so many objects on, making everything durable at once is cheaper than one object after the other.
const MOST: usize = 32;

/// The objects of a volume that were changed since they were made durable, or all of them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Touched {
    paths: BTreeSet<RelPath>,
    sides: BTreeSet<SideId>,
    side_names: bool,
    all: bool,
}

impl Touched {
    /// Everything.
    pub fn everything() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Data or attributes of an object in the tree.
    pub fn object(&mut self, path: &RelPath) {
        if !self.all && !self.paths.contains(path) {
            self.paths.insert(path.clone());
            self.bound();
        }
    }

    /// A name in the tree: that it is there or not.
    pub fn name(&mut self, path: &RelPath) {
        if let Some(parent) = path.parent() {
            self.object(&parent);
        }
    }

    /// An object of the side area, and that it is there.
    pub fn side(&mut self, side: SideId) {
        if !self.all {
            self.sides.insert(side);
            self.side_names = true;
            self.bound();
        }
    }

    /// Names in the side area.
    pub fn side_names(&mut self) {
        self.side_names = true;
    }

    fn bound(&mut self) {
        if self.paths.len() + self.sides.len() > MOST {
            *self = Self::everything();
        }
    }

    /// Whether nothing was touched.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Objects of the tree and of the side area, and whether names in the side area changed; `None` if everything was touched.
    pub fn objects(&self) -> Option<(&BTreeSet<RelPath>, &BTreeSet<SideId>, bool)> {
        (!self.all).then_some((&self.paths, &self.sides, self.side_names))
    }
}
