//! What nodes of a group ask each other, as JSON in one message each way.

use serde::{Deserialize, Serialize};
use standin_common::id::{GroupName, NodeName, ResourceName, RunId};
use standin_failover::group::decide::{Refusal, Wish};
use standin_failover::group::facts::{Facts, View};
use standin_failover::group::plan::{Kind, Plan};
use standin_failover::group::run::report::Report;
use standin_failover::group::run::{Done, Failed, Order};
use standin_failover::preflight::{Finding, Grade};
use standin_failover::resource::hook::Missing;

use super::directory::{Answer, Question};
use super::drill::{DrillReport, DrillWish};
use crate::control::FailedKind;
use crate::daemon::monitor::{MonitorStatus, Switch, Switched};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// How the group stands there; answered by [`Told::View`].
    View,
    /// The same, without a look at each resource.
    Brief,
    /// What a cutover would do; answered by [`Told::Plan`]. Changes nothing.
    Plan(Wish),
    /// To carry out a cutover; answered by [`Told::Begun`] once its journal is durable.
    Begin(Wish),
    /// To go on with the run that is not finished; answered by [`Told::Begun`].
    Resume,
    /// To take back the run that is not finished, or is being carried out; answered by [`Told::Begun`].
    Undo,
    /// The report of a run, or of the last one; answered by [`Told::Report`].
    Report(Option<RunId>),
    /// What should be right there before the group is needed there; answered by [`Told::Checked`].
    Check,
    /// What starting there would change outside that node, if the group comes from this one; answered by [`Told::Foreseen`].
    Foresee { from: Option<NodeName> },
    /// To begin a drill; answered by [`Told::Begun`].
    Drill(DrillWish),
    /// The report of a drill, or of the last one there; answered by [`Told::Drilled`].
    DrillReport(Option<RunId>),
    /// About records of the directory; answered by [`Told::Records`].
    Records(Question),
    /// To do nothing for the group by itself from now on, or to do so again; answered by [`Told::Heard`].
    Pause(bool),
    /// A step; answered by [`Told::Performed`] at its end.
    Perform(Box<Order>),
    /// To end what a run asked for, up to the order of this number, as it is taken back; answered by [`Told::Heard`].
    Hurry(RunId, u64),
    /// Of the group's monitor there.
    Monitor(MonitorAsk),
}

/// What is asked of a group's monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MonitorAsk {
    /// How it stands; answered by [`Told::Monitor`].
    Status,
    /// To switch on that node; answered by [`Told::Heard`].
    Switch(Switch),
    /// To switch automatic failover on all nodes; answered by [`Told::Switched`].
    Automatic {
        /// On, or off.
        on: bool,
        /// Off, although not all nodes answer.
        force: bool,
    },
    /// To answer the alerts on all nodes; answered by [`Told::Acknowledged`].
    Acknowledge,
    /// The same on that node only.
    AcknowledgeHere,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    /// See [`Ask::View`].
    View(Box<View>),
    /// See [`Ask::Plan`].
    Plan(Box<Plan>),
    /// The run, and the node that carries it out.
    Begun { run: RunId, node: NodeName },
    /// The report, and whether the run is being carried out.
    Report { report: Box<Report>, running: bool, node: NodeName },
    /// See [`Ask::Check`].
    Checked(Vec<Checked>),
    /// See [`Ask::Foresee`].
    Foreseen(Vec<Foreseen>),
    /// See [`Ask::DrillReport`].
    Drilled(Box<DrillReport>),
    /// See [`Ask::Records`].
    Records(Answer),
    /// See [`Ask::Perform`].
    Performed(Result<Done, Failed>),
    /// See [`Ask::Hurry`].
    Heard,
    /// See [`MonitorAsk::Status`].
    Monitor(Box<MonitorStatus>),
    /// See [`MonitorAsk::Automatic`].
    Switched(Switched),
    /// See [`MonitorAsk::Acknowledge`].
    Acknowledged(Answered),
    /// It is not done, and nothing was changed.
    Refused(Refused),
}

/// What became of the alerts of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answered {
    /// How many were answered.
    pub(crate) count: usize,
    /// The nodes that were not reached, where they stay, and why.
    pub(crate) away: Vec<(NodeName, String)>,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Refused {
    /// What kind of failure it is.
    pub(crate) kind: FailedKind,
    /// Its words.
    pub(crate) text: String,
}

impl Refused {
    pub(crate) fn new(kind: FailedKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let kind = match &refusal {
            refusal if refusal.is_usage() => FailedKind::Usage,
            refusal if refusal.is_unreachable() => FailedKind::Unreachable,
            _ => FailedKind::Refused,
        };
        Self::new(kind, refusal.to_string())
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checked {
    /// The resource or set.
    pub(crate) of: String,
    /// `ok`, `warn` or `fail`.
    pub(crate) grade: String,
    /// What was seen.
    pub(crate) what: String,
    /// How to mend it; empty for what is right.
    pub(crate) mend: String,
}

impl Checked {
    pub(super) fn of(resource: &ResourceName, finding: &Finding) -> Self {
        let grade = match finding.grade {
            Grade::Ok => "ok",
            Grade::Warn => "warn",
            Grade::Fail => "fail",
        };
        let what = match finding.check == resource.as_str() {
            true => finding.what.clone(),
            false => format!("{}: {}", finding.check, finding.what),
        };
        Self { of: resource.to_string(), grade: grade.to_owned(), what, mend: finding.mend.clone() }
    }

    /// A program that the group runs when it is in trouble, and that is not on this node.
    pub(super) fn program(of: &str, missing: Missing) -> Self {
        Self { of: of.to_owned(), grade: "fail".to_owned(), what: missing.what, mend: missing.mend }
    }

    /// Nobody takes over by itself, though the settings say so.
    pub(super) fn switched_off(group: &GroupName) -> Self {
        let what = "automatic failover is switched off".to_owned();
        let mend = format!("`standin group automatic {group} on`");
        Self { of: "failover".to_owned(), grade: "warn".to_owned(), what, mend }
    }

    /// A person paused it.
    pub(super) fn paused(group: &GroupName) -> Self {
        let what = "it is paused: nothing is done for it by itself".to_owned();
        Self {
            of: "failover".to_owned(),
            grade: "warn".to_owned(),
            what,
            mend: format!("`standin group resume {group}` ends that"),
        }
    }

    /// Settings of the group differ between nodes.
    pub(super) fn settings(why: &str) -> Self {
        let mend = "write the same on all nodes, then `standin reload`, which says what needs a restart".to_owned();
        Self { of: "settings".to_owned(), grade: "fail".to_owned(), what: why.to_owned(), mend }
    }
}

/// What a resource's start would change outside its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Foreseen {
    /// The resource.
    pub(crate) resource: ResourceName,
    /// What, in lines; or why that cannot be said.
    pub(crate) what: Result<String, String>,
}

/// How a group stands, as the command line shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupStatus {
    /// Which.
    pub(crate) group: GroupName,
    /// What each node says.
    pub(crate) facts: Facts,
    /// What this node waits for a person for, if it does.
    pub(crate) waits: Option<String>,
    /// The cutover that was carried out last, on any node that answers.
    pub(crate) last: Option<LastRun>,
    /// How the node that had the group before became a standby after that, if it has to and began.
    pub(crate) rejoin: Option<LastRun>,
}

/// The report of a run, and whether it is being carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LastRun {
    #[serde(flatten)]
    pub(crate) report: Report,
    /// Whether it is.
    pub(crate) running: bool,
}

impl LastRun {
    /// The last cutover of these runs, and the rejoin that follows from it. A rejoin has the generation of what it takes note of; where
    /// nobody who answers knows that cutover, it is the last run itself.
    pub(super) fn last_of(runs: Vec<Self>) -> (Option<Self>, Option<Self>) {
        // Runs are named by their node's clock, which may go wrong; generations do not.
        let place = |one: &Self| (one.report.generation, one.report.run.clone());
        let (rejoins, others): (Vec<_>, Vec<_>) = runs.into_iter().partition(|one| one.report.kind == Kind::Rejoin);
        let (rejoin, last) = (rejoins.into_iter().max_by_key(place), others.into_iter().max_by_key(place));
        match (last, rejoin) {
            (Some(last), Some(rejoin)) if rejoin.report.generation == last.report.generation => (Some(last), Some(rejoin)),
            (Some(last), Some(rejoin)) if rejoin.report.generation < last.report.generation => (Some(last), None),
            (last, rejoin) => (rejoin.or(last), None),
        }
    }
}
