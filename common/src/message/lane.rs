//! What goes over the data streams of a mirror.

use serde::{Deserialize, Serialize};

use crate::entry::Attrs;
use crate::tree::{Root, ShortValue};

/// How a payload is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// As it is.
    Plain,
    /// One zstd frame (RFC 8878).
    Zstd,
}

/// From the source on a lane. Payloads are the data named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LaneDown {
    /// A whole small file; payload: all of its `size` bytes.
    Small {
        /// [`super::Want::file`].
        file: u64,
        /// Bytes before encoding.
        size: u32,
        /// How the payload is encoded.
        encoding: Encoding,
        /// How the file ends.
        end: FileEnd,
    },
    /// A small file that is likely to be the same: answered by [`LaneUp::Done`] if it is, else by [`LaneUp::Again`].
    Check {
        /// [`super::Want::file`].
        file: u64,
        /// What it is on the source.
        end: FileEnd,
    },
    /// A file begins, or begins again because it changed while it was read.
    Begin {
        /// [`super::Want::file`].
        file: u64,
        /// Its size as the reading began, in bytes.
        size: u64,
    },
    /// A piece of a whole file; payload: its bytes. Pieces follow each other without a gap.
    Data {
        /// [`super::Want::file`].
        file: u64,
        /// Bytes before encoding.
        len: u32,
        /// How the payload is encoded.
        encoding: Encoding,
    },
    /// A hole of a whole file, in the place of pieces.
    Hole {
        /// [`super::Want::file`].
        file: u64,
        /// Bytes.
        len: u64,
    },
    /// Values of the next groups of a compared file.
    Groups {
        /// [`super::Want::file`].
        file: u64,
        /// Their values.
        values: Vec<ShortValue>,
    },
    /// What differs in one group of a compared file; payload: the leaves of the mask, one after the other, none if they are a hole.
    Leaves {
        /// [`super::Want::file`].
        file: u64,
        /// The group.
        group: u64,
        /// Bit n for leaf n.
        mask: u16,
        /// Whether these leaves are a hole of the source.
        hole: bool,
        /// Bytes before encoding.
        len: u32,
        /// How the payload is encoded.
        encoding: Encoding,
    },
    /// A file ends.
    End {
        /// [`super::Want::file`].
        file: u64,
        /// How.
        end: FileEnd,
    },
    /// The file is gone or cannot be read; nothing more comes of it.
    Gone {
        /// [`super::Want::file`].
        file: u64,
        /// Why, `None` if it was removed.
        why: Option<String>,
    },
}

/// What a file was when its reading ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEnd {
    /// Its size in bytes.
    pub size: u64,
    /// The root of what was read.
    pub root: Root,
    /// Its attributes.
    pub attrs: Attrs,
}

/// One group that differs, with what the standby has of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differing {
    /// The group.
    pub group: u64,
    /// Values of its leaves on the standby; fewer or none where the standby's file is shorter.
    pub leaves: Vec<ShortValue>,
}

/// From the standby on a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LaneUp {
    /// The answer to one [`LaneDown::Groups`].
    Compared {
        /// [`super::Want::file`].
        file: u64,
        /// How many groups this answers.
        groups: u32,
        /// Those of them that differ.
        differing: Vec<Differing>,
    },
    /// The file is written and proven.
    Done {
        /// [`super::Want::file`].
        file: u64,
    },
    /// What was written does not have the root that the source said: send it again, by compare.
    Again {
        /// [`super::Want::file`].
        file: u64,
    },
    /// The answer to [`LaneDown::Begin`] of a file that is only compared, in a verification or dry run.
    Here {
        /// [`super::Want::file`].
        file: u64,
        /// Its size on the standby, in bytes.
        size: u64,
    },
}
