//! The way back: exactly what this run wrote, last stage first. What somebody changed since is reported and left.

use std::sync::Mutex;

use super::journal::{Journal, JournalError, State, StepId, Way};
use super::run::{finish, pin_writers, steadfast, steps_of, still_there, take_one, what_comes_after};
use super::worker::{Crew, Job};
use super::{ExecuteError, Only, Report, Tools};
use crate::plan::{Plan, Stage};

/// Takes back every step that this run wrote, or may have written. May be repeated until nothing is left.
///
/// # Errors
/// [`ExecuteError`]; what single steps met is in the [`Report`].
pub fn undo(journal: &mut Journal, tools: &Tools<'_>, only: &Only) -> Result<Report, ExecuteError> {
    let plan = journal.plan().clone();
    let mut report = Report { away: pin_writers(journal, tools, &plan, false)?, ..Report::default() };
    let steps: Vec<(Stage, StepId)> = Stage::ALL.iter().rev().flat_map(|stage| steps_of(&plan, *stage)).collect();
    report.done_before = steps.iter().filter(|(_, step)| matches!(journal.steps().of(*step), State::Undone)).count();
    let open = steps.into_iter().filter(|(_, step)| may_be_written(journal.steps().of(*step)));
    let (wanted, left): (Vec<_>, Vec<_>) = open.partition(|(_, step)| only.takes(&plan, *step));
    report.left_out = left.len();
    let of = wanted.len();
    let mut crew = Crew { tools, journal: Mutex::new(journal), manner: steadfast(tools.manner), report, done: 0, of };
    for stage in Stage::ALL.iter().rev() {
        let steps: Vec<StepId> = wanted.iter().filter(|(of, _)| of == stage).map(|(_, step)| *step).collect();
        take_stage_back(&mut crew, &plan, &steps)?;
    }
    finish(crew, Way::Back, tools)
}

fn may_be_written(state: &State) -> bool {
    matches!(state, State::Written { .. } | State::Intended | State::UndoIntended { .. } | State::UndoFailed(..))
}

fn take_stage_back(crew: &mut Crew<'_>, plan: &Plan, steps: &[StepId]) -> Result<(), JournalError> {
    let renames: Vec<StepId> = steps.iter().copied().filter(|step| matches!(step, StepId::Rename(_))).collect();
    for step in renames.into_iter().rev() {
        let Some(job) = backward(crew, plan, step) else { continue };
        take_one(crew, job)?;
    }
    let after = what_comes_after(plan);
    let mut jobs = Vec::new();
    for step in steps.iter().copied().filter(|step| matches!(step, StepId::Change(_))) {
        let Some(job) = backward(crew, plan, step) else { continue };
        if crew.is_over() || crew.is_away(&job.context) {
            crew.report.not_tried.push(step);
            continue;
        }
        let giver = after.iter().find(|(giver, takers)| takers.contains(&step) && may_be_written(&crew.state(**giver)));
        match (giver, crew.state(step)) {
            (None, _) => jobs.push(job),
            (Some((giver, _)), State::Written { .. } | State::UndoFailed(..)) => {
                crew.block(step, Way::Back, still_there(plan, *giver))?;
            }
            // In doubt stays in doubt: whoever undoes again comes here again.
            (Some(_), _) => crew.report.in_doubt.push(step),
        }
    }
    let at_once = crew.manner.at_once;
    crew.take(jobs, at_once)
}

fn backward(crew: &Crew<'_>, plan: &Plan, step: StepId) -> Option<Job> {
    let mut job = Job::of(plan, step, Way::Back)?;
    match crew.state(step) {
        State::Written { at } | State::UndoFailed(_, _, at) => job.written_at = at,
        State::UndoIntended { at } => {
            job.written_at = at;
            job.intended = true;
        }
        _ => {}
    }
    Some(job)
}
