//! Reports: how things stand, as plain data. The daemon makes them, the command line prints them, `--json` shows them as they are.

mod scrub;

use serde::{Deserialize, Serialize};
use standin_common::id::{Generation, GroupName, MirrorId, NodeName, PointNumber, RootIndex, SetName};
use standin_common::message::{Comparison, Difference};
use standin_config::{Acknowledge, Capture, Change, OnDisconnect, Rate, Reconnect, Role};

pub use self::scrub::{LastScrub, ScrubFinding, ScrubProgress, ScrubReport};
use crate::acknowledge::Met;
use crate::journal::Point;
use crate::words::{count, size};

/// A set, as one node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetReport {
    /// The set.
    pub set: SetName,
    /// The group that it moves with, if there is one.
    #[serde(default)]
    pub group: Option<GroupName>,
    /// This node's part in it.
    pub role: Role,
    /// The generation.
    pub generation: Generation,
    /// What it is doing.
    pub state: SetState,
    /// Why it is not doing what it should, for people; `None` if nothing is wrong.
    pub trouble: Option<String>,
    /// The newest recovery point that this node knows of.
    pub point: Option<Point>,
    /// What the standby lacks, as far as this node knows; `None` if it cannot know, as nothing watches the roots.
    pub lag: Option<Lag>,
    /// On a standby: how long ago it was last known to have everything that the source had then, in seconds, by its own clock.
    pub current_seconds: Option<f64>,
    /// What following did since the daemon started; only of a source.
    pub followed: Followed,
    /// How changes are to be found; only of a source.
    pub capture: Option<Capture>,
    /// How changes are noticed; `None` if nothing watches the roots.
    pub watch: Option<WatchReport>,
    /// How its layers stand; only of a source with `capture = "ordered"`.
    #[serde(default)]
    pub layer: Option<LayerReport>,
    /// What is waited for before a change counts as safe, and whether that is met; only of a source.
    pub acknowledge: Option<AcknowledgeReport>,
    /// How fast may be sent; only of a source.
    pub limit: Option<LimitReport>,
    /// Whether a person paused it.
    pub paused: bool,
    /// Whether it goes on by itself after a loss of the link; only of a source.
    pub reconnect: Option<Reconnect>,
    /// For how long the standby has not been reached, in seconds; `None` if it is, or nothing needs it.
    pub away_seconds: Option<f64>,
    /// The mirror that runs, or waits to go on.
    pub mirror: Option<Progress>,
    /// How the last mirror that this daemon ran ended.
    pub last_mirror: Option<MirrorReport>,
    /// What scrubs of the replica did and found; only of a standby.
    pub scrub: Option<ScrubReport>,
    /// Lists of what was kept aside here when this node, having been source, became the standby.
    #[serde(default)]
    pub kept_aside: Vec<String>,
    /// The other node.
    pub peer: PeerReport,
}

impl Lag {
    /// How much it is, in words.
    pub fn words(&self) -> String {
        let others = self.changes.saturating_sub(self.directories);
        let bytes = |of: &str| self.bytes.map(|bytes| format!("{of}at most {}", size(bytes))).unwrap_or_default();
        let directories = match self.directories {
            0 if others == 0 => return "none".to_owned(),
            0 => return format!("{}{}", count(others, "change"), bytes(" of ")),
            1 => "1 directory with all beneath it".to_owned(),
            many => format!("{many} directories with all beneath them"),
        };
        match others {
            0 => directories,
            _ => format!("{directories} and {}{}", count(others, "change"), bytes(" of ")),
        }
    }
}

impl SetReport {
    /// Of a set of which nothing more is known.
    pub fn new(set: SetName, role: Role, generation: Generation, state: SetState, peer: NodeName) -> Self {
        Self {
            set,
            group: None,
            role,
            generation,
            state,
            trouble: None,
            point: None,
            lag: None,
            current_seconds: None,
            followed: Followed::default(),
            capture: None,
            watch: None,
            layer: None,
            acknowledge: None,
            limit: None,
            paused: false,
            reconnect: None,
            away_seconds: None,
            mirror: None,
            last_mirror: None,
            scrub: None,
            kept_aside: Vec::new(),
            peer: PeerReport { node: peer, path: None },
        }
    }
}

/// What following did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// Rounds.
    pub rounds: u64,
    /// What the link carried for them.
    pub sent_bytes: u64,
}

/// What the standby lacks of what the source has.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// Places that changed, or may have: files, or directories with all beneath them.
    pub changes: u64,
    /// How many of these are directories with all beneath them, of which nobody knows yet how much it is.
    pub directories: u64,
    /// Bytes of the others, at most: of a large file only what differs is sent. `None` if they are too many to look at.
    pub bytes: Option<u64>,
    /// Age of the oldest of these changes, in seconds.
    pub oldest_seconds: Option<f64>,
}

/// How changes are noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchReport {
    /// What notices them: `fanotify`, `inotify`.
    pub method: String,
    /// Why not in a better way; `None` if there is no better one.
    pub why: Option<String>,
}

/// How the layers over the roots of a set stand.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Whether they are there.
    pub mounted: bool,
    /// Why they are not.
    pub why: Option<String>,
    /// Where.
    pub roots: Vec<String>,
    /// How often changes were kept out for a moment, since the daemon started.
    pub holds: u64,
    /// How often that was given up, as it lasted too long.
    pub broken_holds: u64,
    /// How long the last hold lasted, in milliseconds.
    pub last_hold_ms: f64,
    /// How long the longest lasted, in milliseconds.
    pub longest_hold_ms: f64,
    /// Places in the durable record of what may differ.
    pub active: u64,
    /// How long that record is, in bytes.
    pub record_bytes: u64,
    /// The stream of operations to the standby; `None` where changes go there by rounds.
    pub stream: Option<StreamReport>,
    /// What the record held that a daemon left which did not end in order; `None` if the last one did.
    pub left: Option<LeftReport>,
}

/// How far a stream of operations is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StreamReport {
    /// Operations since it began.
    pub operations: u64,
    /// How many of them the standby has on its disk.
    pub durable: u64,
    /// Bytes that wait for that, in memory and on disk.
    pub queued_bytes: u64,
    /// For how long it has been running.
    pub seconds: f64,
}

/// What was compared by its data after a daemon did not end in order.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftReport {
    /// Places.
    pub places: u64,
    /// Bytes of the files there; `None` if whole directories are among them.
    pub bytes: Option<u64>,
}

/// What is waited for before a change counts as safe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcknowledgeReport {
    /// What is waited for.
    pub acknowledge: Acknowledge,
    /// What becomes of whoever waits while the standby cannot be reached.
    pub on_disconnect: OnDisconnect,
    /// Whether that is met now.
    pub met: Met,
}

/// How fast may be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitReport {
    /// Now.
    pub rate: Rate,
    /// When that changes by the timetable; `None` if it never does.
    pub next: Option<Change>,
}

/// What a set is doing on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetState {
    /// Source: no mirror is running.
    Idle,
    /// Source: a mirror is running.
    Mirroring,
    /// Source: a mirror waits for the standby to be reached.
    Waiting,
    /// Source: a mirror was paused.
    Paused,
    /// Source: a verification or dry run is running.
    Comparing,
    /// Source: everything noticed is at the standby or on its way.
    Following,
    /// Source: changes that were noticed wait to be sent.
    CatchingUp,
    /// Source: the standby is reached and does not take what is sent; it is tried again without a person.
    Hindered,
    /// Source: the standby cannot be reached; changes are remembered.
    Disconnected,
    /// Source: nothing is sent until a person says so; changes are remembered.
    Held,
    /// Source: the standby has no recovery point any more, although it had one.
    Lost,
    /// Source: it gave up being so, for the other node to take over; nothing is sent.
    Retired,
    /// Standby: nothing was received yet.
    Empty,
    /// Standby: the first mirror has not finished; there is nothing to promote.
    FirstMirror,
    /// Standby: at its newest point.
    Ready,
    /// Standby: at its newest point, and receiving the next.
    Receiving,
    /// Standby: between two points, applying a journal; promotable.
    Applying,
    /// Both: the replica was promoted; its files belong to the applications there.
    Promoted,
    /// Something failed that a person must mend.
    Bad,
}

impl SetState {
    /// It in a word or two, for the middle of a sentence.
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Mirroring => "mirroring",
            Self::Waiting => "waiting for the standby",
            Self::Paused => "paused",
            Self::Comparing => "comparing",
            Self::Following => "following",
            Self::CatchingUp => "catching up",
            Self::Hindered => "hindered",
            Self::Disconnected => "disconnected",
            Self::Held => "held",
            Self::Lost => "without its replica",
            Self::Retired => "retired",
            Self::Empty => "empty",
            Self::FirstMirror => "at its first mirror",
            Self::Ready => "ready",
            Self::Receiving => "receiving",
            Self::Applying => "applying a point",
            Self::Promoted => "promoted",
            Self::Bad => "in a bad state",
        }
    }

    /// Whether it does not go on before a person acts.
    pub fn waits_for_a_person(self) -> bool {
        matches!(self, Self::Paused | Self::Held | Self::Lost | Self::Promoted | Self::Retired | Self::Bad)
    }
}

/// The other node of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Its name.
    pub node: NodeName,
    /// The connection to it, if there is one.
    pub path: Option<PathReport>,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathReport {
    /// Where the peer is.
    pub remote: String,
    /// Round-trip time in milliseconds.
    pub rtt_ms: f64,
}

/// Bytes of all UDP datagrams of a connection, headers of QUIC included.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wire {
    /// Sent by the source.
    pub sent_bytes: u64,
    /// Received by the source.
    pub received_bytes: u64,
}

/// What a pass is at.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The standby is being reached.
    #[default]
    Connecting,
    /// Roots are walked and compared; files are sent meanwhile.
    Listing,
    /// The walk is over; files are sent.
    Sending,
    /// Everything is there; the source looks whether something changed.
    Proving,
    /// The standby makes it a recovery point.
    Committing,
}

/// How far a mirror is.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The pass, from 1.
    pub pass: u32,
    /// What it is at.
    pub stage: Stage,
    /// Objects met so far.
    pub objects: u64,
    /// Bytes of the files met so far.
    pub bytes: u64,
    /// Files that the standby asked for so far.
    pub wanted_files: u64,
    /// Bytes of those.
    pub wanted_bytes: u64,
    /// Files proven.
    pub done_files: u64,
    /// Bytes of the wanted files that were sent, or compared and found equal.
    pub done_bytes: u64,
    /// Data sent, in bytes before compression.
    pub data_bytes: u64,
    /// What of that the standby has made durable, in bytes: it is not sent again, whatever becomes of the standby.
    pub durable_bytes: u64,
    /// What the link carried since the mirror began.
    pub wire: Wire,
    /// Present rate of `done_bytes`, in bytes per second.
    pub bytes_per_second: u64,
    /// Seconds to go at that rate; `None` while the walk is not over.
    pub eta_seconds: Option<u64>,
    /// Seconds since the mirror began.
    pub elapsed_seconds: f64,
}

/// How a mirror, dry run or verification ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MirrorReport {
    /// Which.
    pub mirror: MirrorId,
    /// How it compared.
    pub comparison: Comparison,
    /// Why it failed; `None` if it did what was asked.
    pub failed: Option<String>,
    /// The recovery point that it made.
    pub point: Option<PointNumber>,
    /// Whether nothing changed at the source while that was read.
    pub consistent: bool,
    /// Passes over the roots.
    pub passes: u32,
    /// How often it went on after a cut.
    pub resumed: u32,
    /// Objects of the source.
    pub objects: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Objects that only the standby had, in all passes.
    pub orphans: u64,
    /// Orphans that were left in the replica.
    pub orphans_left: u64,
    /// Files asked for, in all passes.
    pub wanted_files: u64,
    /// Bytes of those.
    pub wanted_bytes: u64,
    /// Objects besides those that were made, replaced or given other attributes.
    pub changed_objects: u64,
    /// Data sent, in bytes before compression.
    pub data_bytes: u64,
    /// What the link carried.
    pub wire: Wire,
    /// How long it took.
    pub seconds: f64,
    /// What could not be replicated and why, the first [`MOST_LISTED`].
    pub problems: Vec<Problem>,
    /// How many there were.
    pub problem_count: u64,
    /// How many of them could not be read, compared or made; the others are of kinds that are never replicated: sockets, device nodes.
    pub failed_count: u64,
    /// Whether orphans were to be removed.
    pub removes_orphans: bool,
    /// What differs, in a dry run, a verification or where orphans are reported; the first [`MOST_LISTED`].
    pub findings: Vec<FoundReport>,
    /// How many there were.
    pub finding_count: u64,
    /// Of a verification: lists of the files' hashes, one for each root, for `b3sum --check`.
    pub hashes: Vec<String>,
}

/// The most problems or findings that are kept in a report.
pub const MOST_LISTED: usize = 1000;

/// Something that could not be replicated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The root.
    pub root: RootIndex,
    /// Where beneath it; names that are not UTF-8 are escaped.
    pub path: String,
    /// Why, and what to do.
    pub text: String,
}

/// Something that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundReport {
    /// The root.
    pub root: RootIndex,
    /// Where beneath it; names that are not UTF-8 are escaped.
    pub path: String,
    /// How.
    pub difference: Difference,
    /// Of data that was compared: the ranges that differ, in bytes `[start, end)`, of 4 KiB leaves, neighbours joined.
    pub ranges: Vec<(u64, u64)>,
}
