//! What a cutover asks of the witness, and when it may not be without it.

use serde::{Deserialize, Serialize};
use standin_common::id::NodeName;

use super::super::facts::Facts;
use super::super::graph::Group;
use super::Refusal;
use crate::witness::raise::{Need, Over, Raise};
use crate::witness::{Testimony, Word};

/// How much the witness has to say before a group goes to another node, or comes online where a node cannot be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Heed {
    /// It has to answer, and to name nobody else who has the group, unless every node of the group answers.
    #[default]
    Usual,
    /// It has to say exactly this still: whoever asks watched it stand still.
    Exactly(Option<Word>),
    /// Whatever it says, and if it says nothing: a person made sure that no other node has the group.
    Without,
}

/// What is asked of the witness, and whom it names if the run is taken back.
pub(super) struct Vouch {
    pub(super) raise: Raise,
    pub(super) back_to: Option<NodeName>,
}

/// What is asked for a group that goes from one node to another, or comes online there. `None`: the group has no witness.
///
/// Where every node of the group answers, all of them take part in the run, and no other can have the group: the witness is told, and the
/// run goes on if it cannot be. Where one does not, only the witness knows whether that one has the group, or gets it at the same time.
pub(super) fn vouch(
    group: &Group,
    facts: &Facts,
    from: Option<&NodeName>,
    to: &NodeName,
    heed: &Heed,
) -> Result<Option<Vouch>, Refusal> {
    let Some(testimony) = &facts.witness else {
        let only = matches!(heed, Heed::Exactly(_));
        return if only { Err(Refusal::NoWitness(group.name.clone())) } else { Ok(None) };
    };
    let away = facts.away().next().map(|(node, _)| node);
    if let Heed::Exactly(watched) = heed
        && *testimony != Testimony::Says(watched.clone())
    {
        return Err(Refusal::WitnessMoved(group.name.clone()));
    }
    let without = *heed == Heed::Without;
    let (over, need) = match (testimony, away) {
        (Testimony::Says(_), None) => (Over::Lower, Need::May),
        (Testimony::Silent(_), None) => (Over::Lower, Need::Later),
        (Testimony::Says(word), Some(_)) if without => (over(facts, word.as_ref()), Need::May),
        (Testimony::Silent(_), Some(_)) if without => (Over::Lower, Need::Later),
        (Testimony::Silent(why), Some(away)) => {
            return Err(Refusal::WitnessSilent { group: group.name.clone(), why: why.clone(), away: away.clone() });
        }
        (Testimony::Says(word), Some(_)) => {
            if let Some(word) = word.as_ref().filter(|word| has_it_elsewhere(facts, word, from, to)) {
                return Err(Refusal::WitnessNames { group: group.name.clone(), word: word.clone() });
            }
            (over(facts, word.as_ref()), Need::Must)
        }
    };
    let before = testimony.word().map(|word| word.holder.clone());
    let back_to = from.cloned().or(before).filter(|node| node != to);
    Ok(Some(Vouch { raise: Raise { over, need }, back_to }))
}

/// Who is named and answers takes part in the run, so it may have counted up; who is named and does not answer must not.
fn over(facts: &Facts, word: Option<&Word>) -> Over {
    match word {
        Some(word) if facts.view(&word.holder).is_some() => Over::Renewed(word.clone()),
        word => Over::Exactly(word.cloned()),
    }
}

/// Whether the witness names a node that got the group after all that the nodes here know of, and is not the one that it is taken from.
fn has_it_elsewhere(facts: &Facts, word: &Word, from: Option<&NodeName>, to: &NodeName) -> bool {
    let is_party = word.holder == *to || from == Some(&word.holder);
    !is_party && word.generation > facts.newest().generation
}
