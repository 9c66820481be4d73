//! What can go wrong while a mirror is received.

use std::io::ErrorKind;

use super::apply::ApplyError;
use super::replica::ReplicaError;
use crate::journal::JournalError;

/// Why a reception cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The replica.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The volume or the journal.
    #[error("{what} failed at {at}, beneath the target: {source}")]
    Io {
        /// What was done.
        what: &'static str,
        /// Where.
        at: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The journal may not grow any more.
    #[error("the journal has reached its limit of {limit} bytes; raise `journal_limit`; the last recovery point is untouched")]
    JournalFull {
        /// The setting.
        limit: u64,
    },
    /// The source broke the protocol.
    #[error("the source broke the protocol: {0}")]
    Protocol(&'static str),
    /// What is in the journal from before a cut does not go together with what the source is now.
    #[error("too much changed on the source while it was cut off: what came of this pass is dropped, and it begins anew")]
    Anew,
    /// Another part of this reception failed before.
    #[error("the mirror has ended")]
    Ended,
}

impl ReceiveError {
    /// What failed, and what to do where that is known.
    pub fn explained(&self) -> String {
        match self.full() {
            Some(place) => format!("{self}; the file system of {place} is full: make room there"),
            None => self.to_string(),
        }
    }

    /// What the file system is for that has no room left, if that is what failed.
    fn full(&self) -> Option<&'static str> {
        use ReplicaError::{Apply, Journal, Store};
        let (place, error) = match self {
            Self::Io { source, .. } | Self::Replica(Apply(ApplyError::Volume { source, .. })) => ("the target", source),
            Self::Replica(
                Store(error) | Journal(JournalError::Io(error)) | Apply(ApplyError::Journal(JournalError::Io(error))),
            ) => ("the state directory", error),
            _ => return None,
        };
        matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded).then_some(place)
    }
}

impl From<JournalError> for ReceiveError {
    fn from(error: JournalError) -> Self {
        Self::Replica(error.into())
    }
}
