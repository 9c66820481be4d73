//! When the next round begins, and what its point is made for. Pure: times come in, the next moment to look goes out.
//!
//! A round waits a little after the newest change, since changes come in groups, but not long after the oldest; and it rests for twice as long
//! as the round before kept the source busy, so that a source under load gives at most a part of a core to it. One that waited for a slow line
//! or standby kept nobody busy.

use std::time::{Duration, Instant};

use standin_common::scope::Reason;

/// How long nothing must change before a round begins.
const CALM: Duration = Duration::from_millis(8);
/// How long the oldest change waits at most for that.
const PATIENCE: Duration = Duration::from_millis(80);
/// How many times as long as the last round worked it rests, so that a source under load gives it a part of a core and no more.
const REST: u32 = 2;
/// How long a round that somebody waits for holds out for a calm moment: until then, it is made again.
const ASKED_PATIENCE: Duration = Duration::from_secs(10);
/// An interval may be overdue by one part in so many before a point that is not consistent is taken for it.
const OVERDUE: u32 = 4;
/// Quiet points come at most so many times in an interval.
const QUIET_SHARE: u32 = 15;

/// As the settings say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// How often a point is made to be kept; `None` for never.
    pub interval: Option<Duration>,
    /// After how long without a change; `None` for never.
    pub quiet: Option<Duration>,
}

/// What is known when it is asked what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The oldest change that no round took.
    pub oldest: Option<Instant>,
    /// The newest change of all.
    pub newest: Option<Instant>,
    /// When the last round ended.
    pub ended: Instant,
    /// How long it worked: its processor time, but no longer than it took.
    pub worked: Duration,
    /// When the last point was made that is kept.
    pub kept: Instant,
    /// Whether the newest point is one that is kept.
    pub is_kept: bool,
    /// Since when somebody waits for a point.
    pub asked: Option<Instant>,
    /// Whether an application waits for what it wrote to be safe.
    pub syncs: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A round.
    Round,
    /// Nothing before this time, or before something changes.
    Wait(Option<Instant>),
}

impl Rhythm {
    /// What to do now.
    pub fn turn(&self, now: Instant, moment: &Moment) -> Turn {
        if moment.syncs {
            return Turn::Round;
        }
        if moment.asked.is_some() {
            // Asked again for a consistent one: not without a rest.
            return begin(now, moment.ended + if moment.worked.is_zero() { Duration::ZERO } else { CALM });
        }
        let Some(oldest) = moment.oldest else {
            return self.due_when_quiet(moment).map_or(Turn::Wait(None), |due| begin(now, due));
        };
        let calm = moment.newest.map_or(now, |newest| newest + CALM).min(oldest + PATIENCE);
        begin(now, calm.max(moment.ended + moment.worked * REST))
    }

    /// What a point is to be made for now, where changes reach the standby without one; `None` for nothing.
    pub fn mark(&self, now: Instant, moment: &Moment) -> Option<Reason> {
        if moment.asked.is_some() {
            return Some(Reason::Asked);
        }
        if moment.is_kept {
            return None;
        }
        let overdue = self.interval.is_some_and(|interval| now >= moment.kept + interval);
        let quiet = || self.due_when_quiet(moment).is_some_and(|due| due <= now);
        if overdue { Some(Reason::Interval) } else { quiet().then_some(Reason::Quiet) }
    }

    /// When the newest point becomes one that is kept, although nothing changed since it.
    fn due_when_quiet(&self, moment: &Moment) -> Option<Instant> {
        if moment.is_kept {
            return None;
        }
        let quiet = self.quiet.map(|quiet| {
            let calm = moment.newest.map_or(moment.ended, |newest| newest + quiet);
            calm.max(self.interval.map_or(calm, |interval| moment.kept + interval / QUIET_SHARE))
        });
        let interval = self.interval.map(|interval| moment.kept + interval);
        quiet.into_iter().chain(interval).min()
    }

    /// What the point of a round is made for that began with this.
    pub fn reason(&self, now: Instant, moment: &Moment, consistent: bool) -> Reason {
        let since = now.saturating_duration_since(moment.kept);
        let due = |interval: Duration| since >= interval && (consistent || since >= interval + interval / OVERDUE);
        if moment.asked.is_some_and(|asked| consistent || now >= asked + ASKED_PATIENCE) {
            Reason::Asked
        } else if self.interval.is_some_and(due) {
            Reason::Interval
        } else if moment.oldest.is_none() && moment.asked.is_none() {
            Reason::Quiet
        } else {
            Reason::Passing
        }
    }
}

fn begin(now: Instant, at: Instant) -> Turn {
    if at <= now { Turn::Round } else { Turn::Wait(Some(at)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RHYTHM: Rhythm = Rhythm { interval: Some(Duration::from_secs(900)), quiet: Some(Duration::from_secs(5)) };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(start: Instant) -> Moment {
        let worked = Duration::from_millis(200);
        Moment { oldest: None, newest: None, ended: start, worked, kept: start, is_kept: true, asked: None, syncs: false }
    }

    #[test]
    fn a_change_is_waited_for_to_be_the_last_of_its_group_but_not_long() {
        let start = Instant::now();
        let now = start + seconds(10);
        let busy = |oldest: u64, newest: u64| {
            let ago = |millis| Some(now - Duration::from_millis(millis));
            RHYTHM.turn(now, &Moment { oldest: ago(oldest), newest: ago(newest), ..at(start) })
        };
        assert_eq!(busy(40, 40), Turn::Round);
        assert_eq!(busy(10, 5), Turn::Wait(Some(now + Duration::from_millis(3))));
        assert_eq!(busy(90, 1), Turn::Round);
    }

    #[test]
    fn an_application_that_waits_is_not_let_wait_for_calm_or_rest() {
        let start = Instant::now();
        let syncs = Moment { oldest: Some(start), newest: Some(start), worked: seconds(3), syncs: true, ..at(start) };
        assert_eq!(RHYTHM.turn(start, &syncs), Turn::Round);
        assert_eq!(RHYTHM.reason(start, &syncs, true), Reason::Passing);
    }

    #[test]
    fn it_rests_longer_than_the_last_round_worked() {
        let start = Instant::now();
        let changed = Moment { oldest: Some(start), newest: Some(start), worked: seconds(3), ..at(start) };
        assert_eq!(RHYTHM.turn(start + seconds(1), &changed), Turn::Wait(Some(start + seconds(6))));
        assert_eq!(RHYTHM.turn(start + seconds(6), &changed), Turn::Round);
    }

    #[test]
    fn a_quiet_moment_makes_the_newest_point_one_that_stays() {
        let start = Instant::now();
        let passed = Moment { newest: Some(start + seconds(100)), is_kept: false, ..at(start) };
        assert_eq!(RHYTHM.turn(start + seconds(101), &passed), Turn::Wait(Some(start + seconds(105))));
        assert_eq!(RHYTHM.turn(start + seconds(105), &passed), Turn::Round);
        assert_eq!(RHYTHM.reason(start + seconds(105), &passed, true), Reason::Quiet);
        assert_eq!(RHYTHM.turn(start + seconds(105), &Moment { is_kept: true, ..passed }), Turn::Wait(None));
        // Not each of many short ones.
        let soon = Moment { newest: Some(start + seconds(10)), ..passed };
        assert_eq!(RHYTHM.turn(start + seconds(20), &soon), Turn::Wait(Some(start + seconds(60))));
        let never = Rhythm { interval: None, quiet: None };
        assert_eq!(never.turn(start + seconds(2000), &passed), Turn::Wait(None));
    }

    #[test]
    fn an_interval_prefers_a_consistent_point() {
        let start = Instant::now();
        let busy = Moment { oldest: Some(start + seconds(899)), ..at(start) };
        let reason = |after, consistent| RHYTHM.reason(start + seconds(after), &busy, consistent);
        assert_eq!(reason(899, true), Reason::Passing);
        assert_eq!(reason(900, false), Reason::Passing);
        assert_eq!(reason(900, true), Reason::Interval);
        assert_eq!(reason(1125, false), Reason::Interval);
    }

    #[test]
    fn whoever_asks_gets_a_consistent_point_if_there_is_one_in_time() {
        let start = Instant::now();
        let asked = Moment { oldest: Some(start), asked: Some(start), ..at(start) };
        assert_eq!(RHYTHM.turn(start + seconds(1), &asked), Turn::Round);
        assert_eq!(RHYTHM.reason(start + seconds(1), &asked, true), Reason::Asked);
        assert_eq!(RHYTHM.reason(start + seconds(1), &asked, false), Reason::Passing);
        assert_eq!(RHYTHM.reason(start + seconds(10), &asked, false), Reason::Asked);
    }
}
