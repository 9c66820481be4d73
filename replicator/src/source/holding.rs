//! For how long applications may be kept waiting, so that a round shows one moment. Pure.
//!
//! Under capture `ordered` a round begins with a picture of the places that changed, for which the layers of all roots are held; see
//! `capture/ordered/picture.rs`. The rule:
//!
//! - While more places wait than can be looked at within a hold, rounds without one come first, since each leaves fewer.
//! - A hold lasts [`USUAL`] at most. One that was too long is tried with fewer places by the next round.
//! - If there was no consistent point for [`STARVED`], the next holds may last longer and longer, up to [`LONGEST`], and look at
//!   more places, until one is long enough: so there is one again before long, whatever the load.

use std::time::Duration;

/// How long a hold may last.
pub const USUAL: Duration = Duration::from_millis(250);
/// How long nothing is held for longer than that although there is no consistent point.
pub const STARVED: Duration = Duration::from_secs(10);
/// How long a hold may last then.
pub const LONGEST: Duration = Duration::from_secs(8);
/// Objects that are looked at within a usual hold: some ten microseconds each, and a handle.
pub const MOST: usize = 2000;
/// Fewer make no hold shorter.
const FEWEST: usize = 16;
/// Many as they may be.
const VERY_MOST: usize = 64_000;

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Places that wait to be looked at.
    pub waiting: usize,
    /// For how long there was no consistent point.
    pub without: Duration,
    /// How many holds in a row were too long since the last consistent point.
    pub failed: u32,
}

/// A hold that may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// How long it may last.
    pub limit: Duration,
    /// How many objects may be looked at.
    pub most: usize,
}

/// The hold with which the next round begins; `None` for a round without one.
pub fn next(facts: &Facts) -> Option<Hold> {
    let hold = if facts.without < STARVED {
        Hold { limit: USUAL, most: (MOST >> facts.failed.min(16)).max(FEWEST) }
    } else {
        let more = 1 << facts.failed.clamp(1, 16);
        Hold { limit: (USUAL * more).min(LONGEST), most: (MOST * more as usize).min(VERY_MOST) }
    };
    (facts.waiting <= hold.most).then_some(hold)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(waiting: usize, without_seconds: u64, failed: u32) -> Facts {
        Facts { waiting, without: Duration::from_secs(without_seconds), failed }
    }

    #[test]
    fn few_places_are_held_for_a_short_time() {
        assert_eq!(next(&facts(3, 0, 0)), Some(Hold { limit: USUAL, most: MOST }));
        assert_eq!(next(&facts(MOST + 1, 0, 0)), None, "rounds without a hold leave fewer");
    }

    #[test]
    fn what_was_too_long_is_tried_with_fewer() {
        let most = |failed| next(&facts(1, 5, failed)).unwrap().most;
        assert!(most(1) < MOST && most(2) < most(1) && most(40) == FEWEST);
        assert_eq!(next(&facts(1, 9, 40)).unwrap().limit, USUAL);
    }

    #[test]
    fn who_starves_holds_longer_and_at_most_so_long() {
        // Each attempt ends after its limit, and the next comes at once.
        let (mut time, mut failed) = (STARVED, 0);
        let needs = Duration::from_secs(5);
        loop {
            let hold = next(&Facts { waiting: 30_000, without: time, failed });
            if hold.is_some_and(|hold| hold.limit >= needs) {
                break;
            }
            time += hold.map_or(USUAL, |hold| hold.limit);
            failed += 1;
        }
        assert!(time < STARVED * 2, "{time:?}");
        assert_eq!(next(&facts(1, 1000, u32::MAX)), Some(Hold { limit: LONGEST, most: VERY_MOST }));
    }
}
