//! Files of the replica that are kept open while a journal is read.

use standin_common::id::RootIndex;
use standin_common::path::RelPath;

use super::apply::{ApplyError, volume};
use super::turn::Spot;
use crate::volume::Volume;

/// Files kept open between operations.
const OPEN_FILES: usize = 16;

/// The files written last, kept open: operations on one file mostly follow each other.
pub(super) struct OpenFiles<'a, V: Volume> {
    volumes: &'a [V],
    files: Vec<(RootIndex, Spot, V::File)>,
}

impl<'a, V: Volume> OpenFiles<'a, V> {
    pub(super) fn new(volumes: &'a [V]) -> Self {
        Self { volumes, files: Vec::new() }
    }

    /// The file at `spot`, of which an operation speaks as the one at `path`.
    pub(super) fn open_at(&mut self, root: RootIndex, path: &RelPath, spot: &Spot) -> Result<&V::File, ApplyError> {
        let found = self.files.iter().position(|(r, s, _)| *r == root && s == spot);
        let index = match found {
            Some(index) => index,
            None => {
                let failed = |source| ApplyError::Volume { what: "opening", root, path: path.clone(), source };
                let file = volume(self.volumes, root)?.open(&spot.place(), true).map_err(failed)?;
                if self.files.len() == OPEN_FILES {
                    self.files.remove(0);
                }
                self.files.push((root, spot.clone(), file));
                self.files.len() - 1
            }
        };
        Ok(&self.files[index].2)
    }

    /// Closes them: names are about to change.
    pub(super) fn forget(&mut self) {
        self.files.clear();
    }
}
