//! What is kept of a stream beside its log: at which point the replica has it up to where, and who is who there.
//!
//! Before a fold's point is committed, what will be true then is made durable under another name; whether it is, the replica's newest point tells.
//! So the two are never of different moments, and the log is given up only after both.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use standin_common::id::{Generation, MirrorId, PointNumber};

use super::node::{Held, Told};
use super::session::StreamError;
use crate::standby::state::State;
use crate::store::Store;

const NOW: &str = "stream";
const NEXT: &str = "stream.next";
/// Of the format.
const VERSION: u8 = 1;

/// Where a stream is, in the replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub stream: MirrorId,
    pub generation: Generation,
    /// The replica's point that has everything up to `position`.
    pub point: PointNumber,
    pub position: u64,
    /// Whether the replica lacks something that a round has to bring.
    pub lacks: bool,
    pub told: Told,
}

impl Checkpoint {
    /// What is kept, if it is of the point that the replica is at.
    pub(super) fn load<S: Store>(store: &S, state: &State) -> Result<Option<Self>, StreamError> {
        let made =
            |kept: &Self| state.points.last().is_some_and(|newest| (newest.number, newest.mirror) == (kept.point, kept.stream));
        if let Some(next) = Self::read(store, NEXT)? {
            match made(&next) {
                true => store.rename(NEXT, NOW)?,
                false => store.remove(NEXT)?,
            }
        }
        let now = Self::read(store, NOW)?;
        Ok(now.filter(|now| state.newest() == Some(now.point)))
    }

    fn read<S: Store>(store: &S, name: &str) -> Result<Option<Self>, StreamError> {
        let Some(bytes) = store.read(name)? else { return Ok(None) };
        let (version, rest) = bytes.split_first().unwrap_or((&0, &[]));
        // One that is damaged, or of another version, counts as none: a resync follows.
        Ok((*version == VERSION).then(|| postcard::from_bytes(rest).ok()).flatten())
    }

    fn write<S: Store>(&self, store: &S, name: &str) -> Result<(), StreamError> {
        let bytes = postcard::to_extend(self, vec![VERSION]).map_err(std::io::Error::other)?;
        Ok(store.replace(name, &bytes)?)
    }

    /// Durable when this returns.
    pub(super) fn keep<S: Store>(&self, store: &S) -> Result<(), StreamError> {
        self.write(store, NOW)
    }

    /// Durable when this returns, but it counts only once its point is reached.
    pub(super) fn announce<S: Store>(&self, store: &S) -> Result<(), StreamError> {
        self.write(store, NEXT)
    }

    /// There is no stream any more.
    pub(super) fn drop<S: Store>(store: &S) -> Result<(), StreamError> {
        store.remove(NOW)?;
        Ok(store.remove(NEXT)?)
    }

    /// The segments of the log in which data of files without a name is.
    pub(super) fn needed(&self) -> BTreeSet<u64> {
        let nameless = self.told.values().filter_map(|held| if let Held::Nameless(file) = held { Some(file) } else { None });
        let pieces = nameless.flat_map(|file| file.data.pieces.values());
        pieces.filter_map(|piece| piece.source.map(|(segment, ..)| segment)).collect()
    }
}
