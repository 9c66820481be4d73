//! A witness in memory that fails on order.

use std::sync::{Mutex, MutexGuard};

use super::{Witness, WitnessError, Word};

/// What happens at a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not reach the witness.
    Dropped,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is refused, however often it is asked.
    Refused,
    /// Somebody else writes this before.
    Before(Option<Word>),
}

/// The witness; the faults are those of its next calls, one each.
#[derive(Debug, Default)]
pub(crate) struct SimWitness(Mutex<Inner>);

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) word: Option<Word>,
    pub(crate) faults: std::collections::VecDeque<Option<Fault>>,
    /// Whether nobody reaches it.
    pub(crate) away: bool,
}

impl SimWitness {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    fn call<T>(&self, work: impl FnOnce(&mut Inner) -> Result<T, WitnessError>) -> Result<T, WitnessError> {
        let mut inner = self.lock();
        let unreachable = || WitnessError::Unreachable("no answer on order".to_owned());
        let fault = inner.faults.pop_front().flatten();
        match fault {
            _ if inner.away => return Err(unreachable()),
            Some(Fault::Dropped) => return Err(unreachable()),
            Some(Fault::Refused) => return Err(WitnessError::Refused("refused on order".to_owned())),
            Some(Fault::Before(ref word)) => inner.word.clone_from(word),
            _ => {}
        }
        let done = work(&mut inner);
        if fault == Some(Fault::AnswerLost) { Err(unreachable()) } else { done }
    }
}

impl Witness for SimWitness {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn read(&self) -> Result<Option<Word>, WitnessError> {
        self.call(|inner| Ok(inner.word.clone()))
    }

    fn swap(&self, expected: Option<&Word>, new: &Word) -> Result<(), WitnessError> {
        self.call(|inner| {
            if inner.word.as_ref() != expected {
                return Err(WitnessError::Changed(inner.word.clone()));
            }
            inner.word = Some(new.clone());
            Ok(())
        })
    }
}
