//! Which targets a replica was received into: the file `targets.json` in the set's state directory.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use standin_common::disk::{self, Mode};
use standin_config::Root;
use standin_replicator::os::mount_point;

use super::StandbyError;

pub(super) const FILE: &str = "targets.json";

/// What is remembered of a target, so that another or an unmounted one is noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Target {
    pub(super) path: PathBuf,
    pub(super) mount: PathBuf,
}

/// What was remembered, `None` before the first mirror.
pub(super) fn read(directory: &Path) -> Result<Option<Vec<Target>>, StandbyError> {
    let file = directory.join(FILE);
    let text = disk::read_optional(&file).map_err(|error| StandbyError::Store(error.source))?;
    let parse = |text: Vec<u8>| {
        let parsed = serde_json::from_slice(&text);
        parsed.map_err(|error| StandbyError::Targets { file, set: directory.to_owned(), source: error })
    };
    text.map(parse).transpose()
}

/// Where the file systems of the targets were mounted, as far as that is known.
pub(in crate::daemon) fn mounts(directory: &Path) -> Vec<PathBuf> {
    let targets = read(directory).ok().flatten().unwrap_or_default();
    targets.into_iter().map(|target| target.mount).collect()
}

/// Remembers the targets of these roots.
pub(super) fn write(directory: &Path, roots: &[Root]) -> Result<(), StandbyError> {
    let mut targets = Vec::new();
    for root in roots {
        let failed = |source| StandbyError::Target { path: root.target.clone(), source };
        targets.push(Target { path: root.target.clone(), mount: mount_point(&root.target).map_err(failed)? });
    }
    let text = serde_json::to_vec_pretty(&targets).map_err(|error| StandbyError::Store(error.into()))?;
    disk::replace(&directory.join(FILE), &text, Mode::Private).map_err(|error| StandbyError::Store(error.source))
}

/// Refuses other targets, another order of them, and fewer. More may follow: what is received into them begins with nothing.
pub(super) fn check(remembered: &[Target], roots: &[Root], directory: &Path) -> Result<(), StandbyError> {
    let mut now = roots.iter().map(|root| &root.target);
    for target in remembered {
        let now = now.next();
        if now != Some(&target.path) {
            let now = now.cloned();
            return Err(StandbyError::Other { was: target.path.clone(), now, file: directory.join(FILE) });
        }
    }
    Ok(())
}
