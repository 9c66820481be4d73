//! Reports of scrubs.

use serde::{Deserialize, Serialize};
use standin_common::entry::Time;
use standin_common::id::RootIndex;

/// What scrubs of a replica did and found.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScrubReport {
    /// The one that runs.
    pub running: Option<ScrubProgress>,
    /// The last that went to its end.
    pub last: Option<LastScrub>,
    /// What is wrong and not mended, of all scrubs; the first [`MOST_LISTED`](super::MOST_LISTED).
    pub findings: Vec<ScrubFinding>,
    /// How many there are.
    pub finding_count: u64,
}

/// How far a scrub is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubProgress {
    /// Files to be read.
    pub files: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Files read.
    pub done_files: u64,
    /// Bytes read.
    pub done_bytes: u64,
}

/// A scrub that went to its end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LastScrub {
    /// When it ended.
    pub at: Time,
    /// How long it read, in seconds, without interruptions.
    pub seconds: f64,
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Files passed over, as they were changed meanwhile.
    pub changed_files: u64,
    /// Files that were found wrong.
    pub wrong_files: u64,
}

/// A file of a replica that is not as it was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubFinding {
    /// The root.
    pub root: RootIndex,
    /// Where beneath it; names that are not UTF-8 are escaped.
    pub path: String,
    /// When it was found.
    pub at: Time,
    /// The first byte of the first group that differs, or that could not be read.
    pub first_byte: u64,
    /// How many groups of 64 KiB differ.
    pub groups: u64,
    /// Why the rest could not be read, in the system's words; `None` if all was.
    pub unreadable: Option<String>,
}
