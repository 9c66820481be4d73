//! What there is to say where a standby has no replica to work with.

use std::path::PathBuf;

use standin_common::id::{Generation, NodeName, SetName};
use standin_replicator::standby::replica::ReplicaError;
use standin_replicator::standby::stream::StreamError;

/// Why there is no replica to work with.
#[derive(Debug, thiserror::Error)]
pub(in crate::daemon) enum StandbyError {
    #[error("the target {} is not there, although the set has a replica: mount it, or restore it", .0.display())]
    Missing(PathBuf),
    #[error(
        "the target {} was on the file system mounted at {}, which is not mounted now: mount it",
        path.display(), mount.display()
    )]
    Unmounted { path: PathBuf, mount: PathBuf },
    #[error("the target {} is new in the settings, and nothing was received into it yet: the next mirror does", .0.display())]
    New(PathBuf),
    #[error(
        "the replica was received into {}, but the settings have {} in its place: set `target` back, or, if you moved the replica there, \
         write that into {}, too",
        was.display(), now.as_ref().map_or("nothing".into(), |now| now.to_string_lossy()), file.display()
    )]
    Other { was: PathBuf, now: Option<PathBuf>, file: PathBuf },
    #[error("{} is damaged ({source}): restore it from a backup, or remove {} and mirror again", file.display(), set.display())]
    Targets { file: PathBuf, set: PathBuf, source: serde_json::Error },
    #[error("the set has a replica, but {} is gone: restore it from a backup, or remove {} and mirror again", file.display(), set.display())]
    Lost { file: PathBuf, set: PathBuf },
    #[error("the target {} is {here}, and the source's root is {there}: correct `target`", path.display())]
    OtherKind { path: PathBuf, here: &'static str, there: &'static str },
    #[error("the target {} cannot be opened: {source}", path.display())]
    Target { path: PathBuf, source: std::io::Error },
    #[error("the directory {} is not there, in which the target {} would be made: mount or make it, or correct `target`", parent.display(), path.display())]
    NoParent { path: PathBuf, parent: PathBuf },
    #[error("the state directory of the set: {0}")]
    Store(std::io::Error),
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    #[error("what the stream of operations brought cannot be made a recovery point of: {0}")]
    Stream(#[source] StreamError),
    #[error("the tree that this node had as the source cannot be made a replica yet: {0}")]
    Former(String),
    #[error(
        "the target is newer than what this node remembers of it: it was {here}'s own since generation {live}, and the state directory knows nothing \
         of that. Was it restored from a backup? Nothing was changed. If {here} has the newer data, `standin promote {set} --as-source` here goes on \
         with it; if {peer} has, say that there, and what only {here} has is kept aside"
    )]
    Older { live: Generation, set: SetName, here: NodeName, peer: NodeName },
    #[error("nothing of the set was received yet, so there is no recovery point")]
    Nothing,
}

impl From<StreamError> for StandbyError {
    fn from(error: StreamError) -> Self {
        match error {
            // Whether there is a stream or not.
            StreamError::Replica(error) => Self::Replica(error),
            error => Self::Stream(error),
        }
    }
}
