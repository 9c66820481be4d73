//! What a run asks of the witness: to name the node that the group goes to, at the run's generation, before anything is promoted there.
//!
//! Each of the two may be repeated, and each reads before it writes. So an answer that was lost is found out at the next look.

use serde::{Deserialize, Serialize};
use standin_common::id::{Generation, NodeName};

use super::{Witness, WitnessError, Word};

/// What the witness is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raise {
    /// Over what.
    pub over: Over,
    /// Whether the run goes on where the witness does not answer.
    pub need: Need,
}

/// Which words a run may replace; never one of its own generation or a higher one that names another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// Exactly that one: whom it names counts as lost, and if it counts up, it is not.
    Exactly(Option<Word>),
    /// That one, however often it was renewed since: whom it names takes part in the run.
    Renewed(Word),
    /// Any of a lower generation: every node of the group takes part in the run.
    Lower,
}

/// Whether the witness has to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Nothing is promoted without it.
    Must,
    /// Every node of the group takes part in the run, so they know enough without it; or a person said so.
    May,
    /// So it is, and it did not answer when the run was decided: users do not wait for it, it is told when everything is started.
    Later,
}

/// How the witness was raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raised {
    /// It names the node.
    Named,
    /// It did not answer, why, and the run goes on.
    Without(String),
}

/// Why it was not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRaised {
    /// Somebody else has it. Nothing was changed.
    #[error("the witness at {place} names {word}: another node was faster, or was told otherwise; nothing is promoted here")]
    Lost {
        /// Where it is.
        place: String,
        /// What it says.
        word: Word,
    },
    /// Who counted as lost counts up. Nothing was changed.
    #[error(
        "{} serves: it counted up in the witness at {place} after this run was decided, though it does not answer here; nothing is promoted", word.holder
    )]
    Alive {
        /// Where it is.
        place: String,
        /// What it says.
        word: Word,
    },
    /// The word was taken away. Nothing was changed.
    #[error("the word in the witness at {0} was taken away after this run was decided: look who did that, and try again")]
    Gone(String),
    /// It did not answer, or will not do it.
    #[error("the witness at {place} does not name this node: {why}")]
    Silent {
        /// Where it is.
        place: String,
        /// Why.
        why: String,
        /// Whether it may be done all the same.
        maybe: bool,
    },
}

impl NotRaised {
    /// Whether it is certain that nothing was changed.
    pub fn is_unchanged(&self) -> bool {
        !matches!(self, Self::Silent { maybe: true, .. })
    }
}

/// How long somebody tries.
pub struct Patience<'a> {
    /// Whether that is over; asked after each attempt.
    pub is_over: &'a dyn Fn() -> bool,
    /// Waits a little between attempts.
    pub pause: &'a dyn Fn(),
}

/// Has the witness name `holder` at `generation`.
///
/// # Errors
/// [`NotRaised`].
pub fn raise(
    witness: &dyn Witness,
    generation: Generation,
    holder: &NodeName,
    asked: &Raise,
    patience: &Patience<'_>,
) -> Result<Raised, NotRaised> {
    let new = Word { generation, holder: holder.clone(), renewals: 0 };
    let mut maybe = false;
    let mut seen = witness.read();
    let why = loop {
        let failed = match seen {
            // Above the run's where another node took it meanwhile, and left it to this one again.
            Ok(Some(now)) if now.generation >= generation && now.holder == *holder => return Ok(Raised::Named),
            Ok(now) => {
                if let Some(lost) = asked.over.refuses(now.as_ref(), generation, &witness.place()) {
                    return Err(lost);
                }
                match witness.swap(now.as_ref(), &new) {
                    Ok(()) => return Ok(Raised::Named),
                    // Somebody was faster: what stands there now decides, however long this took.
                    Err(WitnessError::Changed(now)) if !(patience.is_over)() || is_decided(now.as_ref(), asked, &new) => {
                        seen = Ok(now);
                        continue;
                    }
                    Err(error) => {
                        maybe |= matches!(error, WitnessError::Unreachable(_));
                        error
                    }
                }
            }
            Err(error) => error,
        };
        match failed {
            WitnessError::Refused(why) => break why,
            failed if (patience.is_over)() => break failed.to_string(),
            _ => (patience.pause)(),
        }
        seen = witness.read();
    };
    match asked.need {
        Need::May | Need::Later => Ok(Raised::Without(why)),
        Need::Must => Err(NotRaised::Silent { place: witness.place(), why, maybe }),
    }
}

/// Whether a look at this word ends the matter without another write.
fn is_decided(now: Option<&Word>, asked: &Raise, new: &Word) -> bool {
    let is_own = now.is_some_and(|now| now.generation >= new.generation && now.holder == new.holder);
    is_own || asked.over.refuses(now, new.generation, "").is_some()
}

impl Over {
    /// Why this word may not be replaced, if so.
    fn refuses(&self, now: Option<&Word>, generation: Generation, place: &str) -> Option<NotRaised> {
        let place = || place.to_owned();
        let is_same = |now: &Word, seen: &Word| now.holder == seen.holder && now.generation == seen.generation;
        match (self, now) {
            (_, Some(now)) if now.generation >= generation => Some(NotRaised::Lost { place: place(), word: now.clone() }),
            (Self::Lower, _) | (Self::Exactly(None), None) => None,
            (Self::Renewed(seen), Some(now)) if is_same(now, seen) => None,
            (Self::Exactly(Some(seen)), Some(now)) if now == seen => None,
            (Self::Exactly(Some(seen)), Some(now)) if is_same(now, seen) => {
                Some(NotRaised::Alive { place: place(), word: now.clone() })
            }
            (Self::Exactly(_) | Self::Renewed(_), Some(now)) => Some(NotRaised::Lost { place: place(), word: now.clone() }),
            (Self::Exactly(Some(_)) | Self::Renewed(_), None) => Some(NotRaised::Gone(place())),
        }
    }
}

/// Takes a [`raise`] of `named` back: the witness names `holder`, at the run's generation or the one that it stands at, unless somebody else went
/// on at a higher one. It writes even where nothing was raised, so that an answer to the raise that comes late finds another word.
///
/// # Errors
/// Why it was not done; it may be done all the same.
pub fn give_back(
    witness: &dyn Witness,
    generation: Generation,
    (named, holder): (&NodeName, &NodeName),
    patience: &Patience<'_>,
) -> Result<(), String> {
    loop {
        let tried = witness.read().and_then(|now| match now {
            Some(now) if now.generation > generation && now.holder != *named => Ok(()),
            Some(now) if now.generation == generation && now.holder == *holder => Ok(()),
            now => {
                let generation = now.as_ref().map_or(generation, |now| now.generation.max(generation));
                witness.swap(now.as_ref(), &Word { generation, holder: holder.clone(), renewals: 0 })
            }
        });
        match tried {
            Ok(()) => return Ok(()),
            Err(WitnessError::Refused(why)) => return Err(why),
            Err(error) if (patience.is_over)() => return Err(error.to_string()),
            Err(WitnessError::Changed(_)) => {}
            Err(_) => (patience.pause)(),
        }
    }
}

#[cfg(test)]
#[path = "raise_tests.rs"]
mod tests;
