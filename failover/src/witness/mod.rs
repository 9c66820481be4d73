//! The third party that decides who may have a group when its nodes cannot see each other.
//!
//! It keeps one [`Word`] for a group, and changes it only for whoever says what stands there now (compare and swap). Nothing in it is a
//! time: whoever has the group counts up while all is well, and whoever wants it looks, by a clock of its own, for how long that has stood
//! still. So no two clocks need to agree.

mod build;
pub mod directory;
pub mod etcd;
pub mod raise;
#[cfg(test)]
#[path = "sim_tests.rs"]
pub(crate) mod sim;
mod word;

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

pub use build::{Door, build, fault};
pub use word::{Word, WordError};

/// Why a witness did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// Something else stands there than was expected; nothing was changed.
    #[error("the witness has another word: {}", .0.as_ref().map_or("none".to_owned(), ToString::to_string))]
    Changed(Option<Word>),
    /// It did not answer in time: what was asked may have been done or not.
    #[error("{0}")]
    Unreachable(String),
    /// It will not do it, however often it is asked: rights, a place that does not exist, a word that cannot be read.
    #[error("{0}")]
    Refused(String),
}

/// A witness of one group. Each call ends within a time limit of its own, in seconds.
pub trait Witness: Send + Sync {
    /// Where it is, for messages.
    fn place(&self) -> String;

    /// What stands there; `None` if nobody ever had the group.
    fn read(&self) -> Result<Option<Word>, WitnessError>;

    /// Writes `new` if `expected` stands there, in one step.
    fn swap(&self, expected: Option<&Word>, new: &Word) -> Result<(), WitnessError>;
}

/// What a witness said when it was asked before a cutover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Testimony {
    /// What stands there.
    Says(Option<Word>),
    /// It said nothing, and why.
    Silent(String),
}

impl Testimony {
    /// Asks a witness.
    pub fn of(witness: &dyn Witness) -> Self {
        match witness.read() {
            Ok(word) => Self::Says(word),
            Err(error) => Self::Silent(format!("{}: {error}", witness.place())),
        }
    }

    /// The word that stands there.
    pub fn word(&self) -> Option<&Word> {
        match self {
            Self::Says(word) => word.as_ref(),
            Self::Silent(_) => None,
        }
    }
}

/// A witness in memory, for tests and simulations.
#[derive(Debug, Default)]
pub struct MemoryWitness(Mutex<Option<Word>>);

impl Witness for MemoryWitness {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn read(&self) -> Result<Option<Word>, WitnessError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn swap(&self, expected: Option<&Word>, new: &Word) -> Result<(), WitnessError> {
        let mut word = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if word.as_ref() != expected {
            return Err(WitnessError::Changed(word.clone()));
        }
        *word = Some(new.clone());
        Ok(())
    }
}
