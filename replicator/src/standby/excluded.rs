//! What the rules exclude, in a directory of the replica: it is not ours to take out.

use standin_common::path::RelPath;

use super::receive::{ReceiveError, failed};
use crate::rules::Rules;
use crate::volume::{Directory, ObjectKind, Volume};

/// Whether there is an excluded object beneath a directory of `volume`, at any depth.
pub(super) fn is_in<V: Volume>(volume: &V, path: &RelPath, rules: &Rules) -> Result<bool, ReceiveError> {
    let mut directories = vec![path.clone()];
    while let Some(path) = directories.pop() {
        let reading = || failed("reading the replica", &path);
        let directory = volume.open_directory(&path).map_err(reading())?;
        let names = directory.names().map_err(reading())?;
        for index in 0.. {
            let Some(name) = names.get(index) else { break };
            let Ok(child) = path.join(name) else { return Ok(true) };
            if !rules.judge(&child).included {
                return Ok(true);
            }
            let object = directory.object(name).map_err(reading())?;
            if object.is_some_and(|object| object.kind == ObjectKind::Directory) {
                directories.push(child);
            }
        }
    }
    Ok(false)
}
