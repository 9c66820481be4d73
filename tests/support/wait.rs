//! Waiting for a condition, with a deadline: tests never wait for a time.

use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Asks until there is an answer; panics after `patience`.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain until {what}");
        std::thread::sleep(pause); // poll
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks until the answer is yes; panics after `patience`.
#[track_caller]
pub(crate) fn wait_until(what: &str, patience: Duration, mut ask: impl FnMut() -> bool) {
    wait_for(what, patience, || ask().then_some(()));
}
