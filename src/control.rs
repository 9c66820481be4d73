//! What the command line and the daemon say to each other: one JSON value a line, over a socket that only the owner may use.
//!
//! A client sends one [`Request`] and reads [`Reply`]s until [`Reply::Done`] or [`Reply::Failed`]. Hanging up before ends what only
//! the client wanted to see; it never ends a mirror.

pub(crate) mod client;
mod line;
#[cfg_attr(target_os = "linux", path = "control/linux.rs")]
mod platform;
pub(crate) mod server;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use standin_common::disk::DiskError;
use standin_common::id::{Generation, GroupName, NodeName, PointNumber, SetName};
use standin_common::message::{Comparison, OrphanPolicy, Password};
use standin_config::{Difference, MaxOrphans, Reload};
use standin_replicator::goal::Goal;
use standin_replicator::journal::Point;
use standin_replicator::report::{MirrorReport, ScrubReport, SetReport};

pub(crate) use platform::listen;

use crate::daemon::group::{Ask, GroupStatus, Told};
use crate::daemon::monitor::MonitorStatus;

/// The socket's name in the state directory.
const SOCKET: &str = "control.sock";
/// The file in the state directory that a daemon holds locked while it runs.
const LOCK: &str = "daemon.lock";

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Another daemon has it.
    #[error("a daemon with the state directory {} is running already", .0.display())]
    Running(PathBuf),
    /// Nobody has it.
    #[error("the daemon of this node is not running: start it with `standin run`, or as a service")]
    NotRunning,
    /// It cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// How the sets stand; answered by [`Answer::Status`].
    Status { set: Option<SetName> },
    /// The recovery points; answered by [`Answer::Points`]. On the source, the standby is asked.
    Points { set: SetName },
    /// Makes the replica a plain, writable tree, and, if it is wanted, this node the source of the set; answered by [`Answer::Promoted`].
    /// The set of a group only by `force`.
    Promote { set: SetName, point: Option<PointNumber>, as_source: bool, force: bool },
    /// On the source: hands the set over to the other node, once everything is there; answered by [`Answer::Turned`]. [`Reply::Progress`] comes
    /// before. The set of a group only by `force`.
    Turn { set: SetName, to: NodeName, timeout_seconds: Option<f64>, force: bool },
    /// Takes back that the source gave up being so, where the other node did not take over; answered by [`Answer::Ok`].
    Release { set: SetName },
    /// Starts a mirror; answered by [`Answer::Started`], or, if it is waited for, by [`Answer::Mirrored`] at its end.
    Mirror(MirrorOrder),
    /// Pauses a mirror; answered by [`Answer::Ok`], as the next two.
    Pause { set: SetName },
    /// Goes on with a paused mirror.
    Resume { set: SetName },
    /// Ends a mirror; the newest point stays. The set of a group that is online only by `force`, as with [`Request::Unmount`].
    Stop { set: SetName, force: bool },
    /// Puts the layers over the roots of a set; answered by [`Answer::Ok`], as the next one.
    Mount { set: SetName },
    /// Takes them away.
    Unmount { set: SetName, force: bool },
    /// Makes a recovery point of what is there now, on a source that watches its roots; answered by [`Answer::Pointed`].
    Point { set: SetName, wait: bool, timeout_seconds: Option<f64> },
    /// Waits until a set is so far; answered by [`Answer::Reached`]. [`Reply::Progress`] comes before.
    Wait { set: SetName, goal: Goal, timeout_seconds: Option<f64> },
    /// Compares both sides, writing nothing; answered by [`Answer::Mirrored`]. [`Reply::Progress`] comes before.
    Verify { set: SetName, timeout_seconds: Option<f64> },
    /// Reads the large files of the replica again; answered by [`Answer::Scrubbed`] if it is waited for, with [`Reply::Progress`] before,
    /// else by [`Answer::Ok`].
    Scrub { set: SetName, wait: bool },
    /// Reads the settings again; answered by [`Answer::Reloaded`].
    Reload,
    /// Compares the set's settings with the peer's; answered by [`Answer::Compared`].
    CheckSet { set: SetName },
    /// Gives every paired node a changed password of the directory; answered by [`Answer::Shared`].
    SharePassword(Password),
    /// Asks something about a group, here or on the node that is named; answered by [`Answer::Group`].
    Group { group: GroupName, at: Option<NodeName>, ask: Box<Ask> },
    /// How groups stand on all their nodes; answered by [`Answer::Groups`].
    GroupStatus { group: Option<GroupName> },
    /// How the monitors of groups stand on this node; answered by [`Answer::Monitors`].
    Monitor { group: Option<GroupName> },
    /// Waits for a node that pairs; [`Reply::Confirm`] asks, the client's next line is `true` or `false`; answered by [`Answer::Paired`].
    AcceptPairing { timeout_seconds: u64 },
}

/// A mirror as asked for; what is `None` is as in the settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MirrorOrder {
    pub(crate) set: SetName,
    /// `None`: by difference.
    pub(crate) comparison: Option<Comparison>,
    pub(crate) orphans: Option<OrphanPolicy>,
    pub(crate) max_orphans: Option<MaxOrphans>,
    pub(crate) limit_bytes_per_second: Option<u64>,
    /// Changes nothing, and lists what would change; always waited for.
    pub(crate) dry_run: bool,
    /// Whether the client waits; then [`Reply::Progress`] comes meanwhile.
    pub(crate) wait: bool,
    /// How long at most.
    pub(crate) timeout_seconds: Option<f64>,
}

/// What the daemon says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The request was read; comes before all others.
    Heard,
    /// How a set stands, a few times a second.
    Progress(Box<SetReport>),
    /// Whether this is the node that is waited for.
    Confirm { node: NodeName, fingerprint: String },
    /// It is done.
    Done(Box<Answer>),
    /// It is not.
    Failed(Failed),
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) kind: FailedKind,
    /// What, where, why and what to do.
    pub(crate) text: String,
}

/// Kinds of failure, one for each exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailedKind {
    /// It was tried and failed.
    Failed,
    /// The request makes no sense here: no such set, this node is not its source.
    Usage,
    /// It would not be safe; nothing was changed.
    Refused,
    /// The peer cannot be reached.
    Unreachable,
    /// What was waited for did not come in time.
    TimedOut,
}

/// What became of a changed password on a paired node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shared {
    pub(crate) node: NodeName,
    pub(crate) result: SharedResult,
    /// Why it is not stored there, and what to do.
    pub(crate) why: Option<String>,
}

/// See [`Shared`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SharedResult {
    /// The node stored it.
    Stored,
    /// The node has no use for it.
    NotKept,
    /// It is not stored there and should be.
    Failed,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Of [`Request::Status`].
    Status { node: NodeName, sets: Vec<SetReport> },
    /// The newest last, and the one that the replica is at.
    Points { points: Vec<Point>, at: Option<PointNumber> },
    /// The point that the replica was promoted at, and the generation if this node is the source since then.
    Promoted { point: Point, generation: Option<Generation> },
    /// Since which generation the other node is source, and the point at which it took over, if this node knows it.
    Turned { generation: Generation, point: Option<Point> },
    /// The mirror runs. `false` if it was running already.
    Started { new: bool },
    /// The point, if it was waited for; else why it is made later, if it is.
    Pointed { point: Option<Point>, later: Option<String> },
    /// What was waited for is reached: how the set stands.
    Reached(Box<SetReport>),
    /// How it ended.
    Mirrored(MirrorReport),
    /// What the scrub did, and what is wrong.
    Scrubbed(ScrubReport),
    /// What was taken over, and what waits for a restart.
    Reloaded(Reload),
    /// The differences, none if the settings of the set are the same.
    Compared { peer: NodeName, differences: Vec<Difference> },
    /// What became of the password on each paired node.
    Shared(Vec<Shared>),
    /// What the node answers.
    Group(Box<Told>),
    /// What each node of each group says.
    Groups(Vec<GroupStatus>),
    /// What is seen of each group on this node.
    Monitors(Vec<MonitorStatus>),
    /// The node that was paired.
    Paired { node: NodeName, fingerprint: String },
    /// Done, or nothing had to be done.
    Ok,
}
