//! What two nodes say to each other.
//!
//! Participants: the *source* of a set dials, the *standby* accepts; both know each other's key before the first byte (see
//! [`crate::link`]). Goals: one version for all streams, refused by name when it does not fit; every list bounded by the frame;
//! the standby decides what it needs. Non-goals: negotiation of features, relaying.
//!
//! Every stream that the dialler opens begins with one [`Opening`]. All are `postcard` in the header of a frame; bulk data is the payload.

mod lane;
mod password;
mod set;

use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Time};
use crate::id::{Generation, GroupName, MirrorId, NodeName, PointNumber, RootIndex, SetName};
use crate::path::RelPath;
use crate::scope::{Reason, Scope};

pub use lane::{Differing, Encoding, FileEnd, LaneDown, LaneUp};
pub use password::{Password, PasswordAnswer};
pub use set::{SetAnswer, TakeOver, TakeOverAnswer};

/// The version of everything in this module. A peer with another one is refused, both versions named.
pub const PROTOCOL: u16 = 6;

/// The first frame of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opening {
    /// The first stream of a connection; answered by [`HelloAnswer`].
    Hello(Hello),
    /// Asks for what the peer knows of a set; answered by [`SetAnswer`].
    Set(SetName),
    /// Opens one pass of a mirror; answered by [`MirrorAnswer`], then [`FromSource`] one way and [`FromStandby`] the other.
    Mirror(MirrorOpening),
    /// One of the mirror's data streams: [`LaneDown`] one way, [`LaneUp`] the other.
    Lane {
        /// Which mirror.
        mirror: MirrorId,
    },
    /// Opens a stream of operations, or goes on with one; answered by [`StreamAnswer`](crate::stream::StreamAnswer), see there.
    Stream(crate::stream::StreamOpening),
    /// A changed password of the directory, for the peer's own use; answered by [`PasswordAnswer`].
    Password(Password),
    /// Says who is source of a set since when, and asks the same; answered by [`SetAnswer`].
    Roles {
        /// The set.
        set: SetName,
        /// What the dialler knows, JSON.
        roles: String,
    },
    /// From a source that gave up being one; answered by [`TakeOverAnswer`] when that is durable.
    TakeOver(TakeOver),
    /// Between the nodes of a group; answered by [`GroupAnswer`], for a step only at its end.
    Group {
        /// The group.
        group: GroupName,
        /// What is asked, JSON.
        ask: String,
    },
    /// Heartbeats: a [`Heartbeat`] from time to time one way, each answered by one of the same number, until either side ends it.
    Heartbeats,
    /// From a source that follows, again and again; answered by [`CurrentAnswer`].
    Current {
        /// The set.
        set: SetName,
        /// How long ago the oldest change was made that was not acknowledged, in milliseconds; 0 if all was.
        lacking_ms: u64,
    },
}

/// That a node is there, and what it says of the groups that both nodes have; or the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Counts up on its stream.
    pub number: u64,
    /// What is said, JSON.
    pub said: String,
}

/// Who speaks, in which version.
///
/// The version is the first field for ever, so that any version can read any other's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the speaker.
    pub protocol: u16,
    /// Version of the program, for people.
    pub program: String,
    /// The speaker's name.
    pub node: NodeName,
}

/// The answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HelloAnswer {
    /// Go on.
    Welcome(Hello),
    /// The versions differ; this is the answering side's.
    OtherVersion(u16),
    /// The name is not the one that the key was paired under.
    OtherName {
        /// The name that this key has here.
        known_as: NodeName,
    },
}

/// The answer to [`Opening::Current`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CurrentAnswer {
    /// It is known here.
    Noted,
    /// This node is not the standby of the asker's set.
    NotYours,
}

/// The answer to [`Opening::Group`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupAnswer {
    /// The group is not in its settings, or the asker is none of its nodes.
    Unknown,
    /// It is; the answer, JSON.
    Known(String),
}

/// How files that exist on both sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Comparison {
    /// By size, times, owner, mode and extended attributes; block trees only of those that differ.
    Difference,
    /// By the block trees of all files.
    Checksum,
    /// Not at all: everything is sent.
    Full,
}

/// What happens to orphans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrphanPolicy {
    /// Taken out of the replica.
    Remove,
    /// Left and listed.
    Report,
    /// Left.
    Keep,
}

/// How many orphans may be removed without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrphanLimit {
    /// That many.
    Count(u64),
    /// That share of the objects on the standby, in percent.
    Percent(u8),
}

impl OrphanLimit {
    /// Whether `orphans` of `objects` on the standby are too many. A handful never is by share alone.
    pub fn exceeded(self, orphans: u64, objects: u64) -> bool {
        const HANDFUL: u64 = 10;
        match self {
            Self::Count(limit) => orphans > limit,
            Self::Percent(share) => orphans > HANDFUL && orphans * 100 > objects * u64::from(share),
        }
    }
}

/// What a pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// To make the replica equal to the source.
    Mirror,
    /// To see what a mirror would do.
    DryRun,
    /// To re-read both sides and compare.
    Verify,
}

/// What a root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootKind {
    /// A directory with all beneath it.
    Directory,
    /// A single file, such as an image.
    File,
    /// A block device: its data is compared each time, as nothing tells when it changed, and its attributes are its machine's own.
    Device,
}

/// Opens a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorOpening {
    /// The set.
    pub set: SetName,
    /// The generation in which the source is the source.
    pub generation: Generation,
    /// The mirror; the same one again after a cut.
    pub mirror: MirrorId,
    /// Digest of what both sides must agree on: roots and rules.
    pub definition: [u8; 32],
    /// What the roots are on the source.
    pub roots: Vec<RootKind>,
    /// What for.
    pub purpose: Purpose,
    /// How to compare.
    pub comparison: Comparison,
    /// What happens to orphans.
    pub orphans: OrphanPolicy,
    /// How many may go.
    pub orphan_limit: OrphanLimit,
    /// Where only some scopes are looked at: the mirrors one of which must have made the point that the replica is at.
    pub base: Option<Vec<MirrorId>>,
}

/// A place in the walk over all roots of a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The root.
    pub root: RootIndex,
    /// The path in it.
    pub path: RelPath,
}

/// Why the standby will not take a mirror, or stops one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No such set here, or this peer is not its source.
    NotYourSet,
    /// The roots or rules differ.
    OtherDefinition,
    /// The standby has a higher generation.
    OldGeneration {
        /// The standby's.
        here: Generation,
    },
    /// The replica was promoted: it is written by its own applications now.
    Promoted,
    /// Another mirror of the set is running.
    Busy,
    /// The replica is in a bad state, which the text names.
    Bad(String),
    /// The standby could not go on: what failed, where, and what follows.
    Failed(String),
    /// The peer broke the protocol.
    Protocol(String),
    /// The replica is not at the point that this pass builds upon: everything has to be looked at.
    OtherBase,
    /// What came before a cut does not go together with what the source is now: the same pass begins anew.
    Anew,
}

/// The answer to [`MirrorOpening`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MirrorAnswer {
    /// Go on.
    Ready {
        /// Where the walk goes on: everything up to here is durable on the standby.
        after: Option<Position>,
        /// Whether this is the first mirror, in which everything already there is proven by its hash.
        first: bool,
        /// Whether the standby can set owners; otherwise they are not compared.
        owners: bool,
        /// Objects in the replica at its point, 0 if it has none.
        objects: u64,
    },
    /// No.
    Refused(Refusal),
}

/// From the source during a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromSource {
    /// Scopes to look at, in order; all of them come before the first entries, if the opening names a base.
    Scopes(Vec<Scope>),
    /// Entries of one root, in the order of the walk.
    Entries {
        /// The root.
        root: RootIndex,
        /// Its entries.
        entries: Vec<Entry>,
    },
    /// Something could not be read: the listing is not complete, and no orphan may be removed.
    Unreadable(Position),
    /// The walk is over.
    WalkEnd,
    /// Everything asked for was sent: make it a recovery point.
    Commit {
        /// Time at the source, of which the point is the state.
        at: Time,
        /// Whether nothing of the set changed while it was read.
        consistent: bool,
        /// How many objects the set has.
        objects: u64,
        /// How many bytes its files have.
        bytes: u64,
        /// What the point is made for.
        reason: Reason,
    },
}

/// A file that the standby asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The standby's number for it in this pass.
    pub file: u64,
    /// Where.
    pub at: Position,
    /// Its size as listed, in bytes.
    pub size: u64,
    /// Whether to send it whole; else the source sends values and the standby says where they differ.
    pub whole: bool,
}

/// What the standby found in a pass.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinSummary {
    /// Objects on the standby; in a round, those that it met there.
    pub standby_objects: u64,
    /// Bytes of the files among them.
    pub standby_bytes: u64,
    /// Objects that the source does not have.
    pub orphans: u64,
    /// Objects that only the source has, or had in another kind.
    pub new_objects: u64,
    /// Files asked for.
    pub wanted_files: u64,
    /// Bytes of those.
    pub wanted_bytes: u64,
    /// Objects that were made, replaced or given other attributes, besides those.
    pub changed_objects: u64,
}

/// How an object of the replica differs from the source's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// The source has it, the standby does not.
    Missing,
    /// The standby has it, the source does not.
    Orphan,
    /// They are of different kinds, or links to different places.
    OtherKind,
    /// Mode, owner, time or extended attributes differ.
    Attributes,
    /// A file's data differs, or may: its size or time does.
    Data,
}

/// One object that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Where.
    pub at: Position,
    /// How.
    pub difference: Difference,
}

/// From the standby during a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromStandby {
    /// Files to send.
    Wants(Vec<Want>),
    /// What a crash of the standby does not undo.
    Durable {
        /// Everything up to here is.
        position: Option<Position>,
        /// So much is of the data that came in this pass, or since it went on, in bytes before compression.
        data_bytes: u64,
    },
    /// An object that cannot be made like the source's, and why.
    Problem {
        /// Where.
        at: Position,
        /// Why and what to do.
        text: String,
    },
    /// What differs, where that is to be listed: orphans that are reported, and everything in a dry run or verification.
    Findings(Vec<Finding>),
    /// The walk was joined to its end.
    Joined(JoinSummary),
    /// It is a recovery point now, durable.
    Committed {
        /// Its number.
        point: PointNumber,
        /// Orphans that were left, because the policy says so, the limit was exceeded, or the source's listing was not complete.
        orphans_left: u64,
        /// Objects in it.
        objects: u64,
        /// Bytes of its files.
        bytes: u64,
    },
    /// The standby ends the pass.
    Stopped(Refusal),
}
