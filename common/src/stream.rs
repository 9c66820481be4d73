//! What is said on a stream of capture `ordered`: the source sends every operation in the order in which it took effect, the standby tells how
//! far it has them.
//!
//! Source: [`StreamOpening`], in an [`Opening`](crate::message::Opening); standby: [`StreamAnswer`]; then the source sends [`Batch`]es, each with its operations as payload, and the
//! standby a [`StreamNews`] whenever there is one. A position is the number of operations up to it.

use serde::{Deserialize, Serialize};

use crate::entry::Time;
use crate::id::{Generation, MirrorId, PointNumber, SetName};
use crate::message::Refusal;
use crate::scope::{Reason, Scope};

/// The most operations of a batch.
pub const MOST_OPERATIONS: u32 = 1 << 20;
/// The longest operation as it is sent, in bytes.
pub const MAX_OPERATION_LEN: usize = 2 * 1024 * 1024;

/// The source wants to send a stream, or to go on with one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOpening {
    /// The set.
    pub set: SetName,
    /// The source's generation.
    pub generation: Generation,
    /// Digest of the set's definition, as in [`MirrorOpening`](crate::message::MirrorOpening).
    pub definition: [u8; 32],
    /// The stream, from its beginning to its end; random. The points that are made of it bear it as their mirror.
    pub stream: MirrorId,
    /// The mirror or round that made the point upon which it begins.
    pub base: MirrorId,
    /// Everything after this position can still be sent.
    pub kept: u64,
    /// The position of the last operation so far.
    pub newest: u64,
}

/// The answer to a [`StreamOpening`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamAnswer {
    /// Send what comes after this position; up to it, all is on the standby's disk.
    Ready {
        /// The position.
        after: u64,
    },
    /// This stream cannot go on: it is over.
    Refused(StreamRefusal),
}

/// Why a stream cannot be received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum StreamRefusal {
    /// As of any mirror.
    #[error("the standby refuses: {0:?}")]
    Replica(Refusal),
    /// The replica is at a point of another mirror or round than the stream begins upon.
    #[error("the stream begins upon a point of mirror {wanted}, but the replica is at {}", at(.here))]
    OtherPoint {
        /// The mirror or round that the source means.
        wanted: MirrorId,
        /// Where the replica is, if anywhere: the point and what made it.
        here: Option<(PointNumber, MirrorId)>,
    },
    /// The source has not kept what comes next, or has less than what is here.
    #[error("the standby has the stream up to operation {here}, the source can send what comes after {kept}, up to {newest}")]
    Gap {
        /// What is durable here.
        here: u64,
        /// After this the source has all.
        kept: u64,
        /// What it has in all.
        newest: u64,
    },
}

fn at(here: &Option<(PointNumber, MirrorId)>) -> String {
    here.map_or_else(|| "none".to_owned(), |(point, mirror)| format!("point {point} of mirror {mirror}"))
}

/// Operations that follow each other, in the payload: of each the root (little-endian `u16`), its length in bytes (`u32`), and itself in `postcard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Position of the first.
    pub first: u64,
    /// How many.
    pub count: u32,
    /// When the last was done, by the clock of the source.
    pub at: Time,
    /// A recovery point is to be made of everything up to here or further, for this reason, also if nothing changed.
    pub point: Option<Reason>,
}

/// What the standby tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamNews {
    /// How far it is; positions only grow.
    Reached {
        /// In its memory.
        received: u64,
        /// On its disk: what survives a crash, and is in what is promoted.
        durable: u64,
    },
    /// A recovery point was made of the operations up to a position.
    Point {
        /// Its number.
        number: PointNumber,
        /// What it was made for.
        reason: Reason,
        /// Its time, by the clock of the source.
        at: Time,
        /// Whether it is a state that the source had; unless something is lacking, it is.
        consistent: bool,
        /// Objects in it.
        objects: u64,
        /// Bytes of their data.
        bytes: u64,
        /// Objects in it that the source does not have.
        orphans: u64,
        /// The position.
        position: u64,
        /// Places whose contents never came, since the rules excluded them before: a round over them is due. Until then no point is consistent.
        lacking: Vec<Scope>,
    },
    /// The stream is over, for this reason.
    Over(String),
}
