//! The way forward: from the plan to the directory, from the beginning or from wherever a run before came to.

use std::collections::HashMap;
use std::sync::Mutex;

use super::journal::{Journal, JournalError, Record, State, StepId, Way};
use super::worker::{Crew, Job};
use super::{ExecuteError, Manner, Only, Report, Tools};
use crate::directory::{AttributeName, Dn};
use crate::plan::{Kind, Plan, Stage};

/// Takes every step of the journal's plan that is not done, stage by stage; a first run and a resumed one are the same.
///
/// # Errors
/// [`ExecuteError`]; what single steps met is in the [`Report`].
pub fn run(journal: &mut Journal, tools: &Tools<'_>, only: &Only) -> Result<Report, ExecuteError> {
    if journal.steps().undo_begun() {
        return Err(ExecuteError::UndoBegun);
    }
    let plan = journal.plan().clone();
    let away = pin_writers(journal, tools, &plan, tools.manner.other_writer)?;
    let unread = plan.missing.iter().map(|missing| (missing.context.clone(), missing.why.clone())).collect();
    let mut report = Report { away, unread, ..Report::default() };
    let steps: Vec<(Stage, StepId)> = Stage::ALL.iter().flat_map(|stage| steps_of(&plan, *stage)).collect();
    let is_done = |step: StepId| matches!(journal.steps().of(step), State::Written { .. } | State::Already);
    report.done_before = steps.iter().filter(|(_, step)| is_done(*step)).count();
    let open: Vec<(Stage, StepId)> = steps.into_iter().filter(|(_, step)| !is_done(*step)).collect();
    let (wanted, left): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, step)| only.takes(&plan, *step));
    report.left_out = left.len();
    let of = wanted.len();
    let mut crew = Crew { tools, journal: Mutex::new(journal), manner: tools.manner.clone(), report, done: 0, of };
    let after = what_comes_after(&plan);
    for stage in Stage::ALL {
        let steps = wanted.iter().filter(|(of, _)| *of == stage).map(|(_, step)| *step);
        take_stage(&mut crew, &plan, steps.collect(), &after)?;
    }
    finish(crew, Way::Forward, tools)
}

fn take_stage(
    crew: &mut Crew<'_>,
    plan: &Plan,
    steps: Vec<StepId>,
    after: &HashMap<StepId, Vec<StepId>>,
) -> Result<(), JournalError> {
    let mut changes = Vec::new();
    let mut renames = Vec::new();
    for step in steps {
        let Some(mut job) = Job::of(plan, step, Way::Forward) else { continue };
        if crew.is_over() || crew.is_away(&job.context) {
            crew.report.not_tried.push(step);
            continue;
        }
        let is_done = |step: StepId| matches!(crew.state(step), State::Written { .. } | State::Already);
        let missing = after.get(&step).into_iter().flatten().find(|before| !is_done(**before));
        if let Some(before) = missing {
            crew.block(step, Way::Forward, still_there(plan, *before))?;
            continue;
        }
        job.intended = matches!(crew.state(step), State::Intended);
        if matches!(step, StepId::Change(_)) { changes.push(job) } else { renames.push(job) }
    }
    let at_once = crew.manner.at_once;
    crew.take(changes, at_once)?;
    for rename in renames {
        take_one(crew, rename)?;
    }
    Ok(())
}

/// Why a step waits for another one.
pub(super) fn still_there(plan: &Plan, step: StepId) -> String {
    let (StepId::Change(number) | StepId::Rename(number)) = step;
    let holder = plan.changes.get(number).map(|change| change.object.to_string()).unwrap_or_default();
    format!("{holder} still has these names: they must be off there before")
}

/// One step that the next ones depend on.
pub(super) fn take_one(crew: &mut Crew<'_>, job: Job) -> Result<(), JournalError> {
    if crew.is_over() {
        crew.report.not_tried.push(job.step);
        return Ok(());
    }
    crew.take(vec![job], 1)
}

/// The end of a run or an undo: durable.
pub(super) fn finish(crew: Crew<'_>, way: Way, tools: &Tools<'_>) -> Result<Report, ExecuteError> {
    let journal = crew.journal.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    journal.append(&Record::Ended { way, unix_ms: tools.clock.unix_ms() })?;
    journal.sync()?;
    Ok(crew.report)
}

/// All steps of a stage, changes before renames.
pub(super) fn steps_of(plan: &Plan, stage: Stage) -> Vec<(Stage, StepId)> {
    let changes = plan.changes.iter().enumerate().filter(move |(_, change)| change.kind.stage() == stage);
    let renames = plan.renames.iter().enumerate().filter(move |(_, rename)| rename.kind.stage() == stage);
    let changes = changes.map(|(number, _)| (stage, StepId::Change(number)));
    changes.chain(renames.map(|(number, _)| (stage, StepId::Rename(number)))).collect()
}

/// For each step that gives a service principal name, those that take the same name off another account.
pub(super) fn what_comes_after(plan: &Plan) -> HashMap<StepId, Vec<StepId>> {
    let attribute = AttributeName::new("servicePrincipalName");
    let mut takers: HashMap<Vec<u8>, Vec<StepId>> = HashMap::new();
    let names = |kind: Kind, old: bool| {
        let changes = plan.changes.iter().enumerate().filter(move |(_, change)| change.kind == kind);
        let attribute = attribute.clone();
        changes.flat_map(move |(number, change)| {
            let edits = change.edits.iter().filter(|edit| edit.attribute == attribute);
            let values = edits.flat_map(|edit| if old { &edit.old } else { &edit.new });
            values.map(|value| (value.as_bytes().to_ascii_lowercase(), StepId::Change(number))).collect::<Vec<_>>()
        })
    };
    for (name, step) in names(Kind::ServiceNamesOff, true) {
        takers.entry(name).or_default().push(step);
    }
    let mut after: HashMap<StepId, Vec<StepId>> = HashMap::new();
    for (name, step) in names(Kind::ServiceNamesOn, false) {
        after.entry(step).or_default().extend(takers.get(&name).into_iter().flatten());
    }
    after
}

/// Fixes the writer of every naming context of the plan: the one that the journal knows, else the directory's choice. The contexts
/// of which none answers, with the reason.
pub(super) fn pin_writers(
    journal: &mut Journal,
    tools: &Tools<'_>,
    plan: &Plan,
    may_switch: bool,
) -> Result<Vec<(Dn, String)>, ExecuteError> {
    let found = tools.directory.contexts()?.configuration;
    if found != plan.contexts.configuration {
        return Err(ExecuteError::OtherForest { planned: plan.contexts.configuration.clone(), found });
    }
    let mut contexts: Vec<&Dn> = plan.changes.iter().map(|change| &change.context).collect();
    contexts.extend(plan.renames.iter().map(|rename| &rename.context));
    contexts.sort_by_key(|context| context.key());
    contexts.dedup();
    let mut away = Vec::new();
    for context in contexts {
        let known = journal.steps().writer(context).map(str::to_owned);
        let kept = known.as_ref().map(|controller| tools.directory.use_writer(context, controller));
        let writer = match kept {
            Some(Err(error)) if !may_switch => Err(error),
            _ => tools.directory.writer(context),
        };
        match writer {
            Ok(writer) if known.as_ref() == Some(&writer) => {}
            Ok(controller) => journal.append(&Record::Writer { context: context.clone(), controller })?,
            Err(error) => away.push((context.clone(), error.to_string())),
        }
    }
    journal.sync()?;
    Ok(away)
}

/// An undo never lets another controller write.
pub(super) fn steadfast(manner: &Manner) -> Manner {
    Manner { other_writer: false, ..manner.clone() }
}
