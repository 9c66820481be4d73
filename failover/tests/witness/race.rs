//! Two that race for a group at a witness: each round has exactly one winner, also if answers are lost.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use standin_common::id::Generation;
use standin_failover::witness::{Witness, WitnessError, Word};

/// How long a witness may be silent, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn word(generation: u64, holder: &str, renewals: u64) -> Word {
    Word { generation: Generation(generation), holder: holder.parse().unwrap(), renewals }
}

/// Asks until it is heard.
pub(crate) fn heard<T>(mut ask: impl FnMut() -> Result<T, WitnessError>) -> Result<T, WitnessError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Err(WitnessError::Unreachable(why)) if Instant::now() < until => println!("asked again: {why}"),
            answer => return answer,
        }
        thread::sleep(Duration::from_millis(20)); // poll
    }
}

/// Has alpha and beta race; each opens the witness on a thread of its own.
pub(crate) fn race(rounds: u64, open: impl Fn() -> Box<dyn Witness> + Sync) {
    let barrier = Barrier::new(2);
    let run = |holder: &str| {
        let witness = open();
        let (mut won, mut lost_answers) = (Vec::new(), 0);
        for round in 1..=rounds {
            let seen = heard(|| witness.read()).unwrap();
            barrier.wait();
            let mine = word(round, holder, 0);
            let answer = witness.swap(seen.as_ref(), &mine);
            barrier.wait();
            let is_mine = match answer {
                Ok(()) => true,
                Err(WitnessError::Changed(now)) => {
                    let now = now.unwrap();
                    assert!(now.generation.0 == round && now.holder != mine.holder, "{now:?} beat {mine:?}");
                    false
                }
                // Whose answer was lost reads again, as every caller does.
                Err(WitnessError::Unreachable(_)) => {
                    lost_answers += 1;
                    heard(|| witness.read()).unwrap() == Some(mine)
                }
                Err(error) => panic!("{holder}: {error}"),
            };
            won.extend(is_mine.then_some(round));
            barrier.wait();
        }
        println!("{holder} won {} of {rounds}, {lost_answers} answers were lost", won.len());
        won
    };
    let (alpha, beta) = thread::scope(|scope| {
        let (alpha, beta) = (scope.spawn(|| run("alpha")), scope.spawn(|| run("beta")));
        (alpha.join().unwrap(), beta.join().unwrap())
    });
    let mut all = [alpha, beta].concat();
    all.sort_unstable();
    assert_eq!(all, (1..=rounds).collect::<Vec<_>>(), "one winner each, the first one's the making of the word");
    assert_eq!(heard(|| open().read()).unwrap().unwrap().generation.0, rounds);
}
