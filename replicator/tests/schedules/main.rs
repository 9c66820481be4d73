//! Schedules from a seed: a source that changes, mirrors and rounds to a standby, cuts, crashes, full disks and errors, and after each step the
//! question that matters: is the replica, promoted at any point that is kept, exactly what the source was at that point?
//!
//! `STANDIN_SCHEDULES=n` runs that many, `STANDIN_SEED=n` those from n on, `STANDIN_SCHEDULE='...'` one that was printed. A failure
//! names its seed and the smallest schedule found that fails, too. `cargo run --example sim` does the same at any length.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(unreachable_pub)]
mod sim;

use sim::{Schedule, Vice, run, search};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, and no number")))
}

#[test]
fn every_kept_point_is_one_state_of_the_source_whatever_happens() {
    if let Ok(text) = std::env::var("STANDIN_SCHEDULE") {
        run(&text.parse().unwrap(), None).unwrap();
        return;
    }
    let from = number("STANDIN_SEED").unwrap_or(0);
    let count = number("STANDIN_SCHEDULES").unwrap_or(1000);
    if let Some(failure) = search(from..from + count, None) {
        panic!("{}", failure.text());
    }
}

/// What is done wrong on purpose is found, so the schedules are not blind.
#[test]
fn what_is_done_wrong_is_found() {
    let vices = [
        (Vice::LogSync, 100),
        (Vice::VolumeSync, 100),
        (Vice::BlindGrade, 100),
        (Vice::Forgetful, 400),
        (Vice::Deaf, 400),
        (Vice::LostBase, 400),
        (Vice::Trusting, 400),
    ];
    for (vice, within) in vices {
        let failure = search(0..within, Some(vice));
        let failure = failure.unwrap_or_else(|| panic!("{within} schedules do not find {vice:?}"));
        println!("{vice:?}: {}", failure.text());
        assert!(failure.shrunk.steps.len() <= Schedule::new(failure.seed).steps.len());
        assert!(run(&failure.shrunk, None).is_ok(), "{} fails without {vice:?}, too", failure.shrunk);
    }
}

#[test]
fn a_schedule_is_read_as_it_was_written() {
    for seed in 0..100 {
        let schedule = Schedule::new(seed);
        assert_eq!(schedule.to_string().parse(), Ok(schedule));
    }
    for wrong in ["", "1 change 5 @1", "1: change 5", "1: chance 5 @1", "1: mirror 0 cut @1", "1: change x @1"] {
        assert!(wrong.parse::<Schedule>().is_err(), "{wrong}");
    }
}
