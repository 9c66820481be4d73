//! What the replica is at its last point, as a fold looks at it.

use std::io;

use standin_common::id::RootIndex;
use standin_common::path::RelPath;

use crate::volume::{Directory, Object, ObjectKind, Place, Volume};

/// What operations are folded upon.
pub(super) trait Base {
    /// The object at a path; `None` if there is none.
    fn object(&self, root: RootIndex, path: &RelPath) -> io::Result<Option<Object>>;
    /// All that a directory holds.
    fn children(&self, root: RootIndex, path: &RelPath) -> io::Result<Vec<RelPath>>;
    /// All names of an object by its inode number; looks through everything.
    fn names_of(&self, root: RootIndex, inode: u64) -> io::Result<Vec<RelPath>>;
}

/// The roots of a replica.
impl<V: Volume> Base for [V] {
    fn object(&self, root: RootIndex, path: &RelPath) -> io::Result<Option<Object>> {
        self.get(usize::from(root.0)).map_or(Ok(None), |volume| volume.object(&Place::Tree(path)))
    }

    fn children(&self, root: RootIndex, path: &RelPath) -> io::Result<Vec<RelPath>> {
        let Some(volume) = self.get(usize::from(root.0)) else { return Ok(Vec::new()) };
        let names = volume.open_directory(path)?.names()?;
        (0..names.len()).filter_map(|index| names.get(index)).map(|name| path.join(name).map_err(io::Error::other)).collect()
    }

    fn names_of(&self, root: RootIndex, inode: u64) -> io::Result<Vec<RelPath>> {
        let mut found = Vec::new();
        let mut waiting = vec![RelPath::root()];
        while let Some(directory) = waiting.pop() {
            for path in self.children(root, &directory)? {
                match self.object(root, &path)? {
                    Some(object) if object.kind == ObjectKind::Directory => waiting.push(path),
                    Some(object) if object.stamp.inode == inode => found.push(path),
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}
