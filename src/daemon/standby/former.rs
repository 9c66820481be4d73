//! A standby that was the source: its tree becomes a replica, as it is, at a point of its own. So the first point of the new source is the
//! difference only, and until that is complete this node can still be promoted at what it had.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use standin_common::id::{Generation, MirrorId};
use standin_common::scope::Reason;
use standin_replicator::journal::Point;
use standin_replicator::os::OsVolume;
use standin_replicator::source::safety;
use standin_replicator::standby::aside::Aside;
use standin_replicator::store::DirectoryStore;
use standin_replicator::volume::{Place, Volume};

use super::shelter::Folder;
use super::{OsReplica, REPLICA, StandbyError, StandbySet, now, targets};
use crate::daemon::roles::Returning;
use crate::daemon::source;

/// Files of a standby in the set's state directory, besides the replica's.
const FILES: [&str; 2] = [targets::FILE, super::scrubs::FILE];

/// Removes what a standby keeps: history, journals, what is staged. The trees themselves stay.
pub(in crate::daemon) fn clear_away(directory: &Path, roots: &[PathBuf]) -> io::Result<()> {
    let replica = directory.join(REPLICA);
    if !replica.try_exists()? && FILES.iter().all(|file| !directory.join(file).exists()) {
        return Ok(());
    }
    // What is parked comes first: without the journals nobody would know what it is.
    for (index, root) in roots.iter().enumerate() {
        let kind = OsVolume::open_source(root)?.kind();
        let volume = OsVolume::open_target(root, &side_of(directory, index), kind)?;
        for side in volume.side_objects()? {
            volume.remove(&Place::Side(side))?;
        }
        volume.close_side()?;
    }
    match fs::remove_dir_all(&replica) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for file in FILES {
        standin_common::disk::remove(&directory.join(file)).map_err(io::Error::from)?;
    }
    Ok(())
}

/// The side area of a root.
pub(super) fn side_of(directory: &Path, index: usize) -> PathBuf {
    directory.join("side").join(index.to_string())
}

impl StandbySet {
    /// Makes the tree of a former source a replica, unless that was done. Until it is, nothing is received; so it may be done again.
    pub(super) fn found_if_due(&self) -> Result<(), StandbyError> {
        let roles = self.roles.now();
        let Some(returning) = roles.returning.filter(|returning| !returning.founded) else { return Ok(()) };
        let set = self.set();
        let store = DirectoryStore::open(&self.directory.join(REPLICA)).map_err(StandbyError::Store)?;
        // Of this generation only what was founded, or received since then, can be. What cannot be read is from before.
        let is_founded = OsReplica::kept(&store).ok().flatten().is_some_and(|kept| kept.generation >= roles.generation);
        if is_founded && targets::read(&self.directory)?.is_some() {
            return self.is_founded(roles.generation, returning);
        }
        let (remembered, known) = source::left(&self.directory, returning.was).map_err(StandbyError::Former)?;
        for (index, (root, rules)) in set.roots.iter().zip(&self.rules).enumerate() {
            // An unmounted root is not what this node had.
            let looked = safety::look_at(&root.target, rules, remembered.get(index), true);
            looked.map_err(|error| StandbyError::Former(error.to_string()))?;
        }
        let roots: Vec<_> = set.roots.iter().map(|root| root.target.clone()).collect();
        clear_away(&self.directory, &roots).map_err(StandbyError::Store)?;
        let newest = known.iter().chain(&roles.from).map(|point| point.number).max().unwrap_or_default();
        let point = Point {
            number: newest.next(),
            generation: returning.was,
            mirror: MirrorId::default(),
            reason: Reason::Mirror,
            at: now(),
            consistent: roles.is_drained(),
            objects: known.as_ref().map_or(0, |known| known.objects),
            bytes: known.as_ref().map_or(0, |known| known.bytes),
            orphans: 0,
        };
        let number = point.number;
        let store = DirectoryStore::open(&self.directory.join(REPLICA)).map_err(StandbyError::Store)?;
        OsReplica::found(&store, point, roles.generation)?;
        targets::write(&self.directory, &set.roots)?;
        self.is_founded(roles.generation, returning)?;
        tracing::info!(set = %set.name, point = %number, "what this node had as the source is a recovery point of its own");
        Ok(())
    }

    fn is_founded(&self, generation: Generation, returning: Returning) -> Result<(), StandbyError> {
        let kept = self.roles.found(generation, Some(Returning { founded: true, ..returning }));
        kept.map_err(|error| StandbyError::Store(error.into()))
    }

    /// Sees to it that nothing is lost of what a former source had.
    pub(super) fn guard(&self, replica: &OsReplica) {
        let roles = self.roles.now();
        let Some(returning) = roles.returning else { return };
        let set = self.set();
        replica.guard(Aside {
            generation: roles.generation,
            drained: roles.is_drained(),
            // Of a point during which something changed it is not known when, nor by a clock that was set back.
            since: roles
                .from
                .as_ref()
                .filter(|from| from.consistent)
                .and_then(|from| source::changed_since(&self.directory, from)),
            shelter: Box::new(Folder::new(&self.directory, &set, returning.was)),
        });
    }

    /// The same, after more was heard of the turn.
    pub(in crate::daemon) fn guard_anew(&self) {
        if let Some(replica) = self.opened() {
            self.guard(&replica);
        }
    }
}
