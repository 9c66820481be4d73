//! Every fault at every call, and every word that may stand there.

use std::cell::Cell;

use super::super::sim::{Fault, SimWitness};
use super::*;

fn word(generation: u64, holder: &str, renewals: u64) -> Word {
    Word { generation: Generation(generation), holder: holder.parse().unwrap(), renewals }
}

/// Tries so often.
fn patient<T>(attempts: u32, work: impl FnOnce(&Patience<'_>) -> T) -> T {
    let left = Cell::new(attempts);
    let is_over = || {
        left.set(left.get().saturating_sub(1));
        left.get() == 0
    };
    work(&Patience { is_over: &is_over, pause: &|| {} })
}

fn raise_at(witness: &SimWitness, over: Over, need: Need) -> Result<Raised, NotRaised> {
    patient(3, |patience| raise(witness, Generation(5), &"beta".parse().unwrap(), &Raise { over, need }, patience))
}

fn give_back_at(witness: &SimWitness) -> Result<(), String> {
    patient(3, |patience| give_back(witness, Generation(5), (&"beta".parse().unwrap(), &"alpha".parse().unwrap()), patience))
}

fn with(word: Option<Word>, faults: &[Option<Fault>]) -> SimWitness {
    let witness = SimWitness::default();
    witness.lock().word = word;
    witness.lock().faults.extend(faults.iter().cloned());
    witness
}

#[test]
fn only_the_words_that_a_run_was_decided_over_are_replaced() {
    let old = word(4, "alpha", 7);
    let renewed = word(4, "alpha", 8);
    let others = [word(4, "gamma", 0), word(5, "gamma", 0), word(6, "alpha", 0), word(3, "alpha", 7)];
    let overs = [Over::Exactly(Some(old.clone())), Over::Renewed(old.clone()), Over::Lower, Over::Exactly(None)];
    let outcome = |over: &Over, now: Option<&Word>| {
        let witness = with(now.cloned(), &[]);
        let raised = raise_at(&witness, over.clone(), Need::May);
        let stands = witness.lock().word.clone();
        match &raised {
            Ok(_) => assert_eq!(stands, Some(word(5, "beta", 0))),
            Err(error) => assert!(error.is_unchanged() && stands.as_ref() == now, "{over:?} {now:?}"),
        }
        raised.map_err(|error| match error {
            NotRaised::Lost { .. } => "lost",
            NotRaised::Alive { .. } => "alive",
            NotRaised::Gone(_) => "gone",
            NotRaised::Silent { .. } => "silent",
        })
    };
    let named = Ok(Raised::Named);
    assert_eq!(
        overs.each_ref().map(|over| outcome(over, Some(&old))),
        [named.clone(), named.clone(), named.clone(), Err("lost")]
    );
    assert_eq!(
        overs.each_ref().map(|over| outcome(over, Some(&renewed))),
        [Err("alive"), named.clone(), named.clone(), Err("lost")]
    );
    assert_eq!(overs.each_ref().map(|over| outcome(over, None)), [Err("gone"), Err("gone"), named.clone(), named.clone()]);
    for other in &others {
        let lower = if other.generation < Generation(5) { named.clone() } else { Err("lost") };
        assert_eq!(
            overs.each_ref().map(|over| outcome(over, Some(other))),
            [Err("lost"), Err("lost"), lower, Err("lost")],
            "{other:?}"
        );
    }
    for over in &overs {
        let own = word(5, "beta", 12);
        let witness = with(Some(own.clone()), &[]);
        assert_eq!(
            (raise_at(&witness, over.clone(), Need::Must), &witness.lock().word),
            (Ok(Raised::Named), &Some(own)),
            "again"
        );
    }
}

#[test]
fn a_lost_answer_is_found_out() {
    let old = word(4, "alpha", 7);
    let over = || Over::Exactly(Some(old.clone()));
    for lost in [vec![Some(Fault::AnswerLost)], vec![None, Some(Fault::AnswerLost)], vec![None, Some(Fault::Dropped)]] {
        let witness = with(Some(old.clone()), &lost);
        assert_eq!(raise_at(&witness, over(), Need::Must), Ok(Raised::Named), "{lost:?}");
        assert_eq!(witness.lock().word, Some(word(5, "beta", 0)));
    }
    // Done, and never heard of again: nobody may say that nothing was changed.
    let witness = with(Some(old.clone()), &[None, Some(Fault::AnswerLost), Some(Fault::Dropped), Some(Fault::Dropped)]);
    let error = raise_at(&witness, over(), Need::Must).unwrap_err();
    assert!(!error.is_unchanged(), "{error}");
    assert_eq!(give_back_at(&witness), Ok(()));
    assert_eq!(witness.lock().word, Some(word(5, "alpha", 0)));
    let never = with(Some(old.clone()), &[Some(Fault::Dropped), Some(Fault::Dropped), Some(Fault::Dropped)]);
    let error = raise_at(&never, over(), Need::Must).unwrap_err();
    assert!(error.is_unchanged() && error.to_string().contains("no answer on order"), "{error}");
}

#[test]
fn somebody_who_is_faster_wins() {
    let old = word(4, "alpha", 7);
    let faster = Some(word(5, "gamma", 0));
    let witness = with(Some(old.clone()), &[None, Some(Fault::Before(faster.clone()))]);
    let error = raise_at(&witness, Over::Exactly(Some(old.clone())), Need::May).unwrap_err();
    assert!(matches!(&error, NotRaised::Lost { word, .. } if word.holder.as_str() == "gamma"), "{error}");
    assert_eq!(witness.lock().word, faster);
    // A renewal in between keeps nobody back whom the holder lets.
    let witness = with(Some(old.clone()), &[None, Some(Fault::Before(Some(word(4, "alpha", 8))))]);
    assert_eq!(raise_at(&witness, Over::Renewed(old.clone()), Need::Must), Ok(Raised::Named));
    let witness = with(Some(old.clone()), &[None, Some(Fault::Before(Some(word(4, "alpha", 8))))]);
    let error = raise_at(&witness, Over::Exactly(Some(old)), Need::Must).unwrap_err();
    assert!(error.to_string().starts_with("alpha serves: it counted up"), "{error}");
}

#[test]
fn who_may_goes_on_without_an_answer_and_never_against_one() {
    let old = word(4, "alpha", 7);
    for fault in [Fault::Dropped, Fault::Refused] {
        let all = vec![Some(fault); 3];
        assert!(matches!(raise_at(&with(Some(old.clone()), &all), Over::Lower, Need::May), Ok(Raised::Without(_))));
        assert!(raise_at(&with(Some(old.clone()), &all), Over::Lower, Need::Must).is_err());
    }
    assert!(raise_at(&with(Some(word(6, "gamma", 0)), &[]), Over::Lower, Need::May).is_err());
}

#[test]
fn what_is_given_back_leaves_nothing_that_a_late_raise_could_replace() {
    let old = word(4, "alpha", 7);
    let given = Some(word(5, "alpha", 0));
    for stands in [None, Some(old.clone()), Some(word(5, "beta", 3)), given.clone()] {
        let witness = with(stands.clone(), &[Some(Fault::Dropped), None, Some(Fault::AnswerLost)]);
        assert_eq!(give_back_at(&witness), Ok(()), "{stands:?}");
        assert_eq!(witness.lock().word, given);
        witness.lock().faults.clear();
        let late = witness.swap(Some(&old), &word(5, "beta", 0));
        assert!(matches!(late, Err(WitnessError::Changed(_))));
    }
    let higher = Some(word(6, "gamma", 0));
    let witness = with(higher.clone(), &[]);
    assert_eq!((give_back_at(&witness), &witness.lock().word), (Ok(()), &higher));
    let witness = with(Some(old), &[Some(Fault::Dropped), Some(Fault::Dropped), Some(Fault::Dropped)]);
    assert!(give_back_at(&witness).is_err());
}
