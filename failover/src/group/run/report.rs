//! What a run did, for people and programs.

use serde::{Deserialize, Serialize};
use standin_common::id::{Generation, GroupName, NodeName, PointNumber, RunId, SetName};

use super::super::decide::words;
use super::super::plan::{Action, Kind, Plan, StepId, Undo};
use super::journal::{End, Outcome, Record, Told, Way};

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The group.
    pub group: GroupName,
    /// The run.
    pub run: RunId,
    /// What for.
    pub kind: Kind,
    /// Of what it makes.
    pub generation: Generation,
    /// Where the group was.
    pub from: Option<NodeName>,
    /// Where it is, if the run is finished.
    pub to: Option<NodeName>,
    /// How it ended; `None`: it did not, some steps failed or it is under way.
    pub end: Option<End>,
    /// Whether it can only go forward.
    pub only_forward: bool,
    /// When it began, milliseconds since 1970.
    pub begun_unix_ms: u64,
    /// How long it took until now, in milliseconds.
    pub took_ms: u64,
    /// The recovery point of each set that was taken over.
    pub points: Vec<(SetName, PointNumber)>,
    /// Changes of how long before the loss of the source may be missing, in milliseconds: 0 for a handoff; `None` if nobody knows.
    pub loss_ms: Option<u64>,
    /// From the first stop, or since the source was lost as far as that is known, or the order to fail over, until everything that the group
    /// needs was online, in milliseconds; `None`: nothing was down, or it is so still.
    pub outage_ms: Option<u64>,
    /// Each step, as often as it was taken, in the order of their beginnings.
    pub steps: Vec<Taken>,
    /// What a person should look at.
    pub by_hand: Vec<String>,
}

/// A step that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Which.
    pub step: StepId,
    /// Who.
    pub node: NodeName,
    /// What, in words.
    pub what: String,
    /// Which way.
    pub way: Way,
    /// When it began, milliseconds after the run's beginning.
    pub at_ms: u64,
    /// How long it took, in milliseconds; `None`: it did not end.
    pub took_ms: Option<u64>,
    /// Why it failed, if it did.
    pub failed: Option<String>,
    /// What there was to tell.
    pub told: Vec<String>,
    /// What a person should look at, though it is done.
    #[serde(default)]
    pub by_hand: Vec<String>,
}

/// The report of a run, from its journal.
pub fn report(told: &Told) -> Report {
    let Told { begun_unix_ms, plan, records, progress } = told;
    let steps = taken(plan, records, *begun_unix_ms);
    let last = records.iter().map(unix_ms).max().unwrap_or(*begun_unix_ms);
    Report {
        group: plan.group.clone(),
        run: plan.run().clone(),
        kind: plan.kind,
        generation: plan.generation(),
        from: plan.from.clone(),
        to: plan.to().cloned(),
        end: progress.closed(),
        only_forward: progress.is_crossed(plan),
        begun_unix_ms: *begun_unix_ms,
        took_ms: last.saturating_sub(*begun_unix_ms),
        points: points(plan, records),
        loss_ms: match &plan.loss {
            Some(loss) => loss.behind_ms,
            None => Some(0),
        },
        outage_ms: progress.closed().and_then(|_| outage(plan, &steps)),
        by_hand: by_hand(plan, progress.closed(), &steps),
        steps,
    }
}

fn unix_ms(record: &Record) -> u64 {
    match record {
        Record::Plan { begun_unix_ms, .. } => *begun_unix_ms,
        Record::Begun { unix_ms, .. } | Record::Ended { unix_ms, .. } => *unix_ms,
        Record::Turned { unix_ms, .. } | Record::Closed { unix_ms, .. } => *unix_ms,
    }
}

fn taken(plan: &Plan, records: &[Record], begun_unix_ms: u64) -> Vec<Taken> {
    let mut steps: Vec<Taken> = Vec::new();
    for record in records {
        match record {
            Record::Begun { way, step: id, unix_ms } => {
                let Some(step) = plan.step(*id) else { continue };
                let what = match (&step.undo, way) {
                    (Undo::By(action), Way::Back) => action.to_string(),
                    _ => step.action.to_string(),
                };
                let at_ms = unix_ms.saturating_sub(begun_unix_ms);
                let node = step.node.clone();
                let (told, by_hand) = (Vec::new(), Vec::new());
                steps.push(Taken { step: *id, node, what, way: *way, at_ms, took_ms: None, failed: None, told, by_hand });
            }
            Record::Ended { way, step: id, unix_ms, outcome } => {
                let Some(step) = steps.iter_mut().rev().find(|taken| taken.step == *id && taken.way == *way) else { continue };
                step.took_ms = Some(unix_ms.saturating_sub(begun_unix_ms).saturating_sub(step.at_ms));
                match outcome {
                    Outcome::Done { told, by_hand, .. } => (step.told, step.by_hand) = (told.clone(), by_hand.clone()),
                    Outcome::Failed { why, .. } => step.failed = Some(why.clone()),
                }
            }
            _ => {}
        }
    }
    steps
}

fn points(plan: &Plan, records: &[Record]) -> Vec<(SetName, PointNumber)> {
    let of = |record: &Record| match record {
        Record::Ended { way: Way::Forward, step, outcome: Outcome::Done { point: Some(point), .. }, .. } => {
            match &plan.step(*step)?.action {
                Action::TakeOver(set, _) => Some((set.clone(), *point)),
                _ => None,
            }
        }
        _ => None,
    };
    records.iter().filter_map(of).collect()
}

/// From the first stop to the last start that counts. A failover has no stop where the source is lost: it counts from that loss.
fn outage(plan: &Plan, steps: &[Taken]) -> Option<u64> {
    let action = |taken: &Taken| plan.step(taken.step).map(|step| &step.action);
    let stops = steps.iter().filter(|taken| taken.way == Way::Forward && matches!(action(taken), Some(Action::Stop(_))));
    let down = stops.map(|taken| taken.at_ms).min();
    let down = down.or((plan.kind == Kind::Failover).then_some(0))?;
    let counts = |taken: &&Taken| {
        let step = plan.step(taken.step);
        let starts = matches!(
            (taken.way, step.map(|step| &step.action)),
            (Way::Forward, Some(Action::Start(_) | Action::TakeOver(..))) | (Way::Back, Some(Action::Stop(_)))
        );
        starts && taken.failed.is_none() && step.is_some_and(|step| !step.lenient)
    };
    let up = steps.iter().filter(counts).filter_map(|taken| Some(taken.at_ms + taken.took_ms?)).max()?;
    let before = if plan.kind == Kind::Failover { plan.loss.as_ref().and_then(|loss| loss.heard_ms) } else { None };
    Some(up.saturating_sub(down).saturating_add(before.unwrap_or(0)))
}

fn by_hand(plan: &Plan, end: Option<End>, steps: &[Taken]) -> Vec<String> {
    let mut hints = Vec::new();
    if end.is_none() {
        hints.push(format!("some steps are not done: mend what they name, then `standin group resume {}` goes on", plan.group));
    }
    if matches!(plan.kind, Kind::Failover | Kind::Online) {
        let told = |(node, why): &(NodeName, String)| {
            format!(
                "{node} did not answer ({why}): it must be off, or cut off from its clients, until its daemon has heard of this run"
            )
        };
        hints.extend(plan.away.iter().map(told));
    }
    if let Some(loss) = &plan.loss {
        hints.push(match loss.behind_ms {
            None => "nobody knows how much is lost: compare the newest messages with what senders have".to_owned(),
            Some(0) => "nothing is known to be lost".to_owned(),
            Some(behind_ms) => match loss.heard_ms {
                Some(heard_ms) => format!(
                    "of what the source took in the last {} before it was lost, {} before this run, some may be missing; if it was only cut off, \
                     what it took after that is kept aside when it comes back",
                    words(behind_ms),
                    words(heard_ms)
                ),
                None => format!("up to {} before the loss of the source may be missing", words(behind_ms)),
            },
        });
        if let Some((_, Some(point))) = loss.points.iter().find(|(_, point)| point.is_some()) {
            hints.push(format!("point {point} was asked for: everything after it is lost as well"));
        }
    }
    hints.extend(steps.iter().flat_map(|taken| &taken.by_hand).cloned());
    let failed = steps.iter().filter_map(|taken| Some((taken, taken.failed.as_ref()?)));
    for (taken, why) in failed {
        let again = steps.iter().any(|other| {
            other.step == taken.step
                && other.way == taken.way
                && other.at_ms >= taken.at_ms
                && other.failed.is_none()
                && other.took_ms.is_some()
        });
        if !again {
            hints.push(format!("{}: {}: {why}", taken.node, taken.what));
        }
    }
    hints
}
