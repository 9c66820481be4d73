//! Why a cutover may not be, in words.

use serde::{Deserialize, Serialize};
use standin_common::id::{GroupName, NodeName, PointNumber, ResourceName, RunId, SetName};

use crate::witness::Word;

/// Why a cutover is not begun. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The node is none of the group's.
    #[error("{1} is no node of group {0}: `standin group show {0}` lists them")]
    NoMember(GroupName, NodeName),
    /// The group has no such resource.
    #[error("group {group} has no resource {resource}: `standin group show {group}` lists them")]
    NoResource {
        /// The group.
        group: GroupName,
        /// The resource.
        resource: ResourceName,
    },
    /// Another node has to carry it out.
    #[error("{0} has to carry it out: ask there")]
    OtherRunner(NodeName),
    /// Nobody could take the group.
    #[error("no other node of group {0} answers: start the daemon of one that has a replica")]
    NobodyThere(GroupName),
    /// A node that is needed does not answer.
    #[error("{node} does not answer ({why}), and nothing can be handed over without it; if it is lost, use `standin failover`")]
    Unreachable {
        /// Which.
        node: NodeName,
        /// Why not.
        why: String,
    },
    /// A run was not finished.
    #[error("run {run} on {node} {}", if *running { "is being carried out: wait for its end".to_owned() } else { format!("is not finished: `standin group resume {group}` goes on with it, `standin group undo {group}` takes it back") })]
    Unfinished {
        /// Of which group.
        group: GroupName,
        /// Which.
        run: RunId,
        /// Whose.
        node: NodeName,
        /// Whether it is being carried out.
        running: bool,
    },
    /// A run's runner is lost.
    #[error(
        "run {run} was not finished, and {runner}, which has its journal, does not answer: start that daemon; or, if that machine is off for certain, use `standin failover {group} --to NODE`"
    )]
    Stranded {
        /// Which.
        run: RunId,
        /// Whose.
        runner: NodeName,
        /// Of which group.
        group: GroupName,
    },
    /// The group is nowhere online.
    #[error("group {0} is offline: `standin online {0}` brings it online")]
    Offline(GroupName),
    /// It is there already.
    #[error("group {group} is online on {node} already")]
    There {
        /// The group.
        group: GroupName,
        /// Where.
        node: NodeName,
    },
    /// The node that has the group answers.
    #[error(
        "{node} has group {group} and answers: `standin handoff {group} --to {to}` moves it without loss; --force stops it there, and loses what was not sent yet"
    )]
    Alive {
        /// The group.
        group: GroupName,
        /// Who has it.
        node: NodeName,
        /// Who would get it.
        to: NodeName,
    },
    /// It does not answer, and is not lost.
    #[error(
        "{node} has group {group} and is alive, by its heartbeats or as it counts up at the witness, but it does not answer what it is asked ({why}): \
         it may be serving. Look what is wrong there; if it is certain that it serves nothing, --force takes over"
    )]
    Heard {
        /// The group.
        group: GroupName,
        /// Who has it.
        node: NodeName,
        /// Why it does not answer.
        why: String,
    },
    /// The node has no part in a set that would make it able to take over.
    #[error("{node} is neither source nor standby of set {set} that could be online there")]
    NoStandby {
        /// Which.
        set: SetName,
        /// Where.
        node: NodeName,
    },
    /// There is no recovery point.
    #[error("{node} has no recovery point of set {set}{}{why}: nothing can be started from it", if why.is_empty() { "" } else { ", as " })]
    NoPoint {
        /// Which.
        set: SetName,
        /// Where.
        node: NodeName,
        /// Why, if that is known.
        why: String,
    },
    /// The point that was asked for is later than all.
    #[error("the newest recovery point of set {set} is {newest}: `standin points {set}` lists them")]
    LaterPoint {
        /// Which.
        set: SetName,
        /// The newest.
        newest: PointNumber,
    },
    /// A set cannot be seen.
    #[error("how set {set} stands on {node} cannot be seen: {why}")]
    SetUnknown {
        /// Which.
        set: SetName,
        /// Where.
        node: NodeName,
        /// Why not.
        why: String,
    },
    /// More would be lost than is accepted.
    #[error("{}, and --accept-loss allows {}: a longer --accept-loss, or `any`, goes on", lost(*behind_ms, *heard_ms), words(*most_ms))]
    Loss {
        /// What would be, in milliseconds.
        behind_ms: u64,
        /// What is accepted, in milliseconds.
        most_ms: u64,
        /// How long ago the source was heard last, in milliseconds, if it is known.
        heard_ms: Option<u64>,
    },
    /// Nobody knows what would be lost.
    #[error(
        "nobody knows how much is lost: this node was not told how far the source was ahead of it. `standin points` shows of when the newest point is; --accept-loss any takes it"
    )]
    LossUnknown,
    /// The roles of a set are others than a handoff needs.
    #[error(
        "on {node}, the source of set {set} is {source_node} and its standby {standby}: that is not what the group says; `standin group check` tells more"
    )]
    OtherRoles {
        /// Which.
        set: SetName,
        /// Where.
        node: NodeName,
        /// Its source.
        source_node: NodeName,
        /// Its standby.
        standby: NodeName,
    },
    /// A set is not in order.
    #[error("set {set} is not in order on {node}: {why}")]
    Trouble {
        /// Which.
        set: SetName,
        /// Where.
        node: NodeName,
        /// What is wrong.
        why: String,
    },
    /// The first mirror is not done.
    #[error(
        "the standby has not all of set {0} yet: `standin mirror start {0} --wait` on its source mirrors it, or waits for the mirror that runs"
    )]
    NotYet(SetName),
    /// Too much is yet to be sent.
    #[error(
        "the standby is {} behind in set {set}, and services would be down until that is sent: wait until it has caught up, make a mirror, or say --force",
        words(*behind_ms)
    )]
    Behind {
        /// Which.
        set: SetName,
        /// How far, in milliseconds.
        behind_ms: u64,
    },
    /// A node could not be asked.
    #[error(
        "{node} does not answer ({why}), so group {group} might be online there. Look yourself; if it is not, --force brings it online here"
    )]
    NotAsked {
        /// The group.
        group: GroupName,
        /// Who.
        node: NodeName,
        /// Why not.
        why: String,
    },
    /// The witness does not answer, and a node does not either.
    #[error(
        "the witness does not answer ({why}), and {away} does not either: only the witness knows whether {away} has group {group}. Mend it; or make sure that {away} is off, and say --without-witness. If it is not, both will have the group, each with its own changes"
    )]
    WitnessSilent {
        /// The group.
        group: GroupName,
        /// Why not.
        why: String,
        /// Who does not answer.
        away: NodeName,
    },
    /// The witness names another node than those that it is about.
    #[error(
        "the witness says that {word} has group {group}, and not all nodes answer: start the daemons of those that do not; or make sure that {} does not have it, and say --without-witness", word.holder
    )]
    WitnessNames {
        /// The group.
        group: GroupName,
        /// What it says.
        word: Word,
    },
    /// The witness says something else than whoever asks for this saw.
    #[error(
        "the witness of group {0} says something else than it did while it was watched: whoever it names is there, or another node was faster"
    )]
    WitnessMoved(GroupName),
    /// The group has none.
    #[error("group {0} has no witness, so nothing goes by what one says: write [groups.{0}.witness]")]
    NoWitness(GroupName),
    /// A set is written elsewhere.
    #[error("set {set} is written on {source_node}, not on {node}: use handoff or failover")]
    Elsewhere {
        /// Which.
        set: SetName,
        /// Where.
        source_node: NodeName,
        /// Where not.
        node: NodeName,
    },
}

impl Refusal {
    /// Whether what was asked for makes no sense, rather than being unsafe.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoMember(..) | Self::NoResource { .. } | Self::OtherRunner(_))
    }

    /// Whether it is only that somebody does not answer.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NobodyThere(_))
    }
}

/// What a failover would lose, for people.
fn lost(behind_ms: u64, heard_ms: Option<u64>) -> String {
    let behind = words(behind_ms);
    match heard_ms {
        Some(heard_ms) => format!(
            "of what the source took in the last {behind} before it was lost, {} ago, some may not be here",
            words(heard_ms)
        ),
        None => format!(
            "this node last had everything {behind} ago, and what the source took after that, for as long as it went on, is not here"
        ),
    }
}

/// A span for people.
pub(crate) fn words(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        10_000..600_000 => format!("{} s", ms / 1000),
        600_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}
