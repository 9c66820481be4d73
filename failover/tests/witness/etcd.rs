//! Racing, silence, lost answers, values that others wrote.

use std::time::Duration;

use standin_failover::witness::etcd::LIMIT;
use standin_failover::witness::{Witness, WitnessError};

use crate::ground::{Etcd, LossyLine, timed, wait_for, witness};
use crate::race::{race, word};

#[test]
fn of_two_that_race_exactly_one_wins_each_round() {
    let Some(etcd) = Etcd::start() else { return };
    race(60, || Box::new(etcd.witness()));
}

#[test]
fn silence_is_told_in_time_and_what_was_said_stays() {
    let Some(mut etcd) = Etcd::start() else { return };
    let witness = etcd.witness();
    assert_eq!(witness.read(), Ok(None));
    let (first, second) = (word(1, "alpha", 0), word(2, "beta", 0));
    assert_eq!(witness.swap(Some(&first), &second), Err(WitnessError::Changed(None)));
    witness.swap(None, &first).unwrap();
    assert_eq!(etcd.ctl(&["get", "--print-value-only", "/standin/mail"]).trim(), first.text());

    etcd.pause();
    let (read, took) = timed(|| witness.read());
    assert!(matches!(&read, Err(WitnessError::Unreachable(why)) if why.contains("no answer within")), "{read:?}");
    assert!(took < LIMIT + Duration::from_secs(2), "{took:?}");
    assert!(matches!(witness.swap(Some(&first), &second), Err(WitnessError::Unreachable(_))));
    etcd.go_on();
    assert_eq!(wait_for(&witness), Some(first.clone()));

    etcd.kill();
    let (read, took) = timed(|| witness.read());
    assert!(matches!(&read, Err(WitnessError::Unreachable(why)) if why.contains("refused")), "{read:?}");
    assert!(took < LIMIT, "{took:?}");
    assert!(etcd.run());
    assert_eq!(wait_for(&witness), Some(first.clone()), "durable");
    witness.swap(Some(&first), &second).unwrap();
    witness.swap(Some(&second), &second).unwrap();
    assert_eq!(witness.read(), Ok(Some(second)), "the same word may be written, to try one's rights");
}

#[test]
fn a_lost_answer_leaves_the_matter_open_and_another_endpoint_closes_it() {
    let Some(etcd) = Etcd::start() else { return };
    let direct = etcd.witness();
    wait_for(&direct);
    let line = LossyLine::to(etcd.port);
    let mut settings = etcd.settings();
    settings.endpoints = vec![line.endpoint.clone()];
    let lossy = witness(&settings);
    let (first, second) = (word(1, "alpha", 0), word(2, "beta", 0));
    assert!(matches!(lossy.swap(None, &first), Err(WitnessError::Unreachable(_))));
    assert_eq!(lossy.read(), Ok(Some(first.clone())), "it was done all the same");
    settings.endpoints.push(etcd.endpoint());
    let both = witness(&settings);
    assert_eq!(both.swap(Some(&first), &second), Ok(()), "the second one tells that the first one did it");
    assert_eq!(direct.read(), Ok(Some(second.clone())));
    // Somebody else's word is not taken for the own.
    assert_eq!(both.swap(Some(&first), &word(3, "alpha", 0)), Err(WitnessError::Changed(Some(second))));
    settings.endpoints = vec!["http://127.0.0.1:1".to_owned(), etcd.endpoint()];
    assert!(witness(&settings).read().is_ok(), "one that is gone costs nothing but a moment");
}

#[test]
fn what_others_wrote_is_not_taken_for_a_word() {
    let Some(etcd) = Etcd::start() else { return };
    let witness = etcd.witness();
    wait_for(&witness);
    let first = word(1, "alpha", 5);
    for odd in ["alpha", "{}", r#"{"form":2}"#, r#"{"form":1,"generation":1,"holder":"../a","renewals":5}"#, &"x".repeat(70_000)]
    {
        etcd.ctl(&["put", "/standin/mail", "--", odd]);
        let read = witness.read();
        assert!(matches!(read, Err(WitnessError::Refused(_) | WitnessError::Unreachable(_))), "{read:?}");
        assert!(witness.swap(None, &first).is_err() && witness.swap(Some(&first), &first).is_err());
    }
    etcd.ctl(&["put", "/standin/mail", "--", r#"{ "form": 1, "holder": "alpha", "generation": 1, "renewals": 5 }"#]);
    assert_eq!(witness.read(), Ok(Some(first.clone())), "spelled by hand");
    witness.swap(Some(&first), &word(2, "beta", 0)).unwrap();
    etcd.ctl(&["del", "/standin/mail"]);
    assert_eq!(witness.read(), Ok(None));
}
