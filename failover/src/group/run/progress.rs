//! How far a run is: which records may follow which, and which steps may be taken next. Pure.

use super::super::plan::{Plan, Step, StepId, Undo};
use super::journal::{End, Outcome, Record, Way};

/// What is known of a step. A crash leaves each as it is: what was begun is asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Never asked for.
    Waiting,
    /// It may have been done, or half of it.
    Begun,
    /// It is done.
    Done,
    /// It failed.
    Failed {
        /// Whether it is certain that nothing was changed.
        unchanged: bool,
    },
    /// It may have been taken back.
    BackBegun,
    /// It was taken back.
    Back,
    /// It could not be taken back.
    BackFailed,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    states: Vec<State>,
    turned: bool,
    closed: Option<End>,
}

impl Progress {
    /// Nothing is begun.
    pub fn new(plan: &Plan) -> Self {
        Self { states: vec![State::Waiting; plan.steps.len()], turned: false, closed: None }
    }

    /// What is known of a step.
    pub fn of(&self, step: StepId) -> &State {
        self.states.get(step.0).unwrap_or(&State::Waiting)
    }

    /// Whether it goes back.
    pub fn is_turned(&self) -> bool {
        self.turned
    }

    /// How it ended, if it did.
    pub fn closed(&self) -> Option<End> {
        self.closed
    }

    /// Whether it can only go forward: a step that cannot be taken back was begun, and may have been done.
    pub fn is_crossed(&self, plan: &Plan) -> bool {
        let began = |state: &State| !matches!(state, State::Waiting | State::Failed { unchanged: true });
        plan.numbered().any(|(id, step)| step.undo == Undo::Never && began(self.of(id)))
    }

    /// Takes note of a record.
    ///
    /// # Errors
    /// Why it may not come here; nothing is noted then.
    pub fn note(&mut self, plan: &Plan, record: &Record) -> Result<(), String> {
        if self.closed.is_some() {
            return Err("a record after the end of the run".to_owned());
        }
        match record {
            Record::Plan { .. } => return Err("a second plan".to_owned()),
            Record::Begun { way, step, .. } => {
                let state = plan.step(*step).ok_or("a step that is not in the plan").map(|_| self.of(*step))?;
                let next = match (way, self.turned, state) {
                    (Way::Forward, false, State::Waiting | State::Begun | State::Failed { .. }) => State::Begun,
                    (Way::Back, true, State::Waiting | State::Back) => return Err(illegal("begun", *way, *step, state)),
                    (Way::Back, true, _) => State::BackBegun,
                    _ => return Err(illegal("begun", *way, *step, state)),
                };
                self.set(*step, next);
            }
            Record::Ended { way, step, outcome, .. } => {
                let next = match (way, self.of(*step), outcome) {
                    (Way::Forward, State::Begun, Outcome::Done { .. }) => State::Done,
                    (Way::Forward, State::Begun, Outcome::Failed { unchanged, .. }) => State::Failed { unchanged: *unchanged },
                    (Way::Back, State::BackBegun, Outcome::Done { .. }) => State::Back,
                    (Way::Back, State::BackBegun, Outcome::Failed { .. }) => State::BackFailed,
                    (way, state, _) => return Err(illegal("ended", *way, *step, state)),
                };
                self.set(*step, next);
            }
            Record::Turned { .. } if self.is_crossed(plan) => return Err("it turns where it can only go forward".to_owned()),
            Record::Turned { .. } => self.turned = true,
            Record::Closed { end, .. } => self.closed = Some(*end),
        }
        Ok(())
    }

    fn set(&mut self, step: StepId, state: State) {
        if let Some(place) = self.states.get_mut(step.0) {
            *place = state;
        }
    }

    /// The steps that may be taken next, in the way that the run goes; those that failed or were begun before are among them.
    pub fn ready(&self, plan: &Plan) -> Vec<StepId> {
        let steps = plan.numbered();
        if self.turned {
            return steps.filter(|(id, step)| self.may_go_back(plan, *id, step)).map(|(id, _)| id).collect();
        }
        let may =
            |(id, step): &(StepId, &Step)| !self.is_done(*id) && step.after.iter().all(|after| self.is_passed(plan, *after));
        steps.filter(may).map(|(id, _)| id).collect()
    }

    fn is_done(&self, id: StepId) -> bool {
        *self.of(id) == State::Done
    }

    /// Whether what comes after a step may begin.
    fn is_passed(&self, plan: &Plan, id: StepId) -> bool {
        let lenient = || plan.step(id).is_some_and(|step| step.lenient);
        self.is_done(id) || (matches!(self.of(id), State::Failed { .. }) && lenient())
    }

    /// Whether nothing of a step is left to be taken back.
    fn is_clear(&self, id: StepId, step: &Step) -> bool {
        matches!(self.of(id), State::Waiting | State::Back | State::Failed { unchanged: true }) || step.undo == Undo::Nothing
    }

    fn may_go_back(&self, plan: &Plan, id: StepId, step: &Step) -> bool {
        let later_clear = || {
            plan.numbered()
                .filter(|(_, later)| later.after.contains(&id))
                .all(|(id, later)| self.is_clear_through(plan, id, later))
        };
        !self.is_clear(id, step) && later_clear()
    }

    /// Whether a step and all that comes after it are clear: one that changes nothing is no barrier, but what comes after it is.
    fn is_clear_through(&self, plan: &Plan, id: StepId, step: &Step) -> bool {
        let later = || plan.numbered().filter(|(_, later)| later.after.contains(&id));
        self.is_clear(id, step)
            && (step.undo != Undo::Nothing || later().all(|(id, later)| self.is_clear_through(plan, id, later)))
    }

    /// The end that this is, if nothing is left to do.
    pub fn end(&self, plan: &Plan) -> Option<End> {
        if self.closed.is_some() {
            return self.closed;
        }
        let (end, all) = match self.turned {
            true => (End::TakenBack, plan.numbered().all(|(id, step)| self.is_clear(id, step))),
            false => (End::Finished, plan.numbered().all(|(id, _)| self.is_passed(plan, id))),
        };
        all.then_some(end)
    }
}

fn illegal(what: &str, way: Way, step: StepId, state: &State) -> String {
    format!("step {} {what} {way:?}, and is {state:?}", step.0)
}
