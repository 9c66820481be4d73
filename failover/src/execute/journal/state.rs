//! What is known of each step, and which records may follow which: read back by the same code that a run goes by.

use std::collections::HashMap;

use super::record::{Outcome, Record, StepId, Trouble, Way};
use crate::directory::Dn;

/// What is known of a step. A crash leaves each as it is: the next run begins with what the journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Never sent.
    Planned,
    /// It may have been sent: only the object tells whether it was written.
    Intended,
    /// This run wrote it, at this controller.
    Written {
        /// Host name; empty if it was not noted.
        at: String,
    },
    /// It was as it should be before this run came to it; an undo leaves it.
    Already,
    /// Sent and not written, or not sent for a reason.
    Failed(Trouble, String),
    /// Its undoing may have been sent.
    UndoIntended {
        /// Where it was written.
        at: String,
    },
    /// It is what it was before the run.
    Undone,
    /// Its undoing was not done.
    UndoFailed(Trouble, String, /** Where it was written. */ String),
}

/// A record that may not come here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record that may not follow: {0}")]
pub struct Illegal(pub String);

/// The states of all steps, and who writes what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Steps that are not here are [`State::Planned`].
    states: HashMap<StepId, State>,
    /// The writer of each naming context, by its key.
    writers: HashMap<String, String>,
    /// Whether an undo was begun.
    undo_begun: bool,
}

impl Steps {
    /// What is known of a step.
    pub fn of(&self, step: StepId) -> &State {
        self.states.get(&step).unwrap_or(&State::Planned)
    }

    /// The controller that writes a context, as far as the journal says.
    pub fn writer(&self, context: &Dn) -> Option<&str> {
        self.writers.get(context.key()).map(String::as_str)
    }

    /// Whether the way back was begun.
    pub fn undo_begun(&self) -> bool {
        self.undo_begun
    }

    /// Takes note of a record that was or will be written.
    ///
    /// # Errors
    /// [`Illegal`] for a record that may not follow those before; nothing is noted then.
    pub fn note(&mut self, record: &Record) -> Result<(), Illegal> {
        match record {
            Record::Plan { .. } => return Err(Illegal("a second plan".to_owned())),
            Record::Writer { context, controller } => {
                self.writers.insert(context.key().to_owned(), controller.clone());
            }
            Record::Intent { way, steps } => {
                if *way == Way::Forward && self.undo_begun {
                    return Err(Illegal("forward after an undo began".to_owned()));
                }
                let next: Vec<State> =
                    steps.iter().map(|step| intended(self.of(*step), *way, *step)).collect::<Result<_, _>>()?;
                self.undo_begun |= *way == Way::Back;
                self.states.extend(steps.iter().copied().zip(next));
            }
            Record::Result { way, step, outcome } => {
                let next = concluded(self.of(*step), *way, outcome, *step)?;
                self.states.insert(*step, next);
            }
            Record::Ended { .. } => {}
        }
        Ok(())
    }
}

/// The legal transitions of an intention.
fn intended(state: &State, way: Way, step: StepId) -> Result<State, Illegal> {
    match (way, state) {
        (Way::Forward, State::Planned | State::Intended | State::Failed(..)) => Ok(State::Intended),
        (Way::Back, State::Written { at } | State::UndoIntended { at } | State::UndoFailed(_, _, at)) => {
            Ok(State::UndoIntended { at: at.clone() })
        }
        // In doubt: whether there is anything to undo, the object tells.
        (Way::Back, State::Intended) => Ok(State::UndoIntended { at: String::new() }),
        _ => Err(Illegal(format!("{way:?} is intended of {step:?}, which is {state:?}"))),
    }
}

/// The legal transitions of a result.
fn concluded(state: &State, way: Way, outcome: &Outcome, step: StepId) -> Result<State, Illegal> {
    match (way, state, outcome) {
        (Way::Forward, State::Intended, Outcome::Written { at }) => Ok(State::Written { at: at.clone() }),
        (Way::Forward, State::Intended, Outcome::Already) => Ok(State::Already),
        (Way::Forward, State::Planned | State::Intended | State::Failed(..), Outcome::Failed { trouble, why }) => {
            Ok(State::Failed(*trouble, why.clone()))
        }
        (Way::Back, State::UndoIntended { .. }, Outcome::Written { .. } | Outcome::Already) => Ok(State::Undone),
        (
            Way::Back,
            State::UndoIntended { at } | State::Written { at } | State::UndoFailed(_, _, at),
            Outcome::Failed { trouble, why },
        ) => Ok(State::UndoFailed(*trouble, why.clone(), at.clone())),
        _ => Err(Illegal(format!("{way:?} ends with {outcome:?} for {step:?}, which is {state:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: StepId = StepId::Change(0);

    fn intent(way: Way) -> Record {
        Record::Intent { way, steps: vec![STEP] }
    }

    fn result(way: Way, outcome: Outcome) -> Record {
        Record::Result { way, step: STEP, outcome }
    }

    fn failed() -> Outcome {
        Outcome::Failed { trouble: Trouble::Busy, why: String::new() }
    }

    fn after(records: &[Record]) -> Result<Steps, Illegal> {
        let mut steps = Steps::default();
        records.iter().try_for_each(|record| steps.note(record)).map(|()| steps)
    }

    #[test]
    fn legal_ways_and_no_others() {
        use Way::{Back, Forward};
        let done = || Outcome::Written { at: "dc1".into() };
        let writer = Record::Writer { context: "dc=A".parse().unwrap(), controller: "dc1".into() };
        let written = [writer, intent(Forward), result(Forward, done())];
        assert_eq!(after(&written).unwrap().of(STEP), &State::Written { at: "dc1".into() });
        assert_eq!(after(&written).unwrap().writer(&"DC=a".parse().unwrap()), Some("dc1"));
        let with = |more: &[Record]| after(&[&written[..], more].concat());
        assert_eq!(with(&[intent(Back), result(Back, done())]).unwrap().of(STEP), &State::Undone);
        let undo_failed = with(&[intent(Back), result(Back, failed())]).unwrap();
        assert!(matches!(undo_failed.of(STEP), State::UndoFailed(Trouble::Busy, _, at) if at == "dc1"));
        assert!(undo_failed.undo_begun());
        assert!(with(&[intent(Forward)]).is_err(), "what is written is not written again");
        assert!(with(&[intent(Back), intent(Forward)]).is_err(), "no way forward after an undo began");
        assert!(after(&[result(Forward, done())]).is_err(), "nothing is written without intent");
        assert!(after(&[intent(Forward), result(Forward, Outcome::Already), intent(Back)]).is_err(), "not ours to undo");
        assert!(after(&[intent(Forward), result(Forward, failed()), intent(Back)]).is_err(), "nothing to undo");
        let again = [intent(Forward), result(Forward, failed()), intent(Forward), result(Forward, done())];
        assert!(after(&again).is_ok(), "what failed is tried again");
        assert!(after(&[intent(Forward), intent(Forward), intent(Back), intent(Back)]).is_ok(), "crashes in between");
    }
}
