//! Objects of the replica with several names: the first name that leads to one on the source, too, keeps it.

use std::collections::HashMap;

use standin_common::path::RelPath;

use super::receive::{ReceiveError, failed};
use crate::volume::{ObjectKind, Volume};
use crate::walk::{Step, Walk};

/// Objects with several names in the part up to `after`, which was joined before a cut, by their inodes: they may have been kept there, and
/// names after it that lead to them, too, must not keep them once more.
pub(super) fn until<V: Volume>(after: &RelPath, walk: Walk<'_, V>) -> Result<HashMap<u64, RelPath>, ReceiveError> {
    let mut claimed = HashMap::new();
    for step in walk {
        let Step { path, object } = step.map_err(|error| failed("reading the replica", &error.path)(error.source))?;
        if path > *after {
            break;
        }
        if object.names > 1 && object.kind != ObjectKind::Directory {
            claimed.entry(object.stamp.inode).or_insert(path);
        }
    }
    Ok(claimed)
}
