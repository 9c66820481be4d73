//! How fast a source may send at which time of the week.
//!
//! Times are those on the wall clock of the source, given as day and minute, so a change to or from daylight saving time is nothing
//! special here: an hour that is skipped or comes twice is skipped or comes twice in the timetable, too.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Day;
use crate::units::print_rate;

/// The week, as ISO 8601 orders it.
pub(crate) const DAYS: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
/// Minutes of a day.
pub(crate) const DAY_MINUTES: u16 = 24 * 60;
const WEEK_MINUTES: u32 = 7 * DAY_MINUTES as u32;

/// How fast may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rate {
    /// As fast as it goes.
    Unlimited,
    /// At most so many bytes per second.
    Limit(u64),
    /// Not at all.
    Pause,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.pad("unlimited"),
            Self::Limit(bytes_per_second) => f.pad(&print_rate(*bytes_per_second)),
            Self::Pause => f.pad("pause"),
        }
    }
}

/// `[[sets.NAME.limits]]`: a rate for certain hours of certain days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hours {
    /// The days on which it begins, in the order of the week; never empty.
    pub days: Vec<Day>,
    /// When it begins, in minutes since midnight, 0 to 1439.
    pub from_minute: u16,
    /// When it ends, in minutes since midnight, to 1440; if that is before `from_minute`, on the next day. Never the same.
    pub to_minute: u16,
    /// How fast may be sent meanwhile.
    pub rate: Rate,
}

impl Hours {
    fn holds_at(&self, at: LocalTime) -> bool {
        let today = self.days.contains(&at.day);
        if self.from_minute < self.to_minute {
            return today && (self.from_minute..self.to_minute).contains(&at.minute);
        }
        let since_yesterday = self.days.contains(&at.day_before()) && at.minute < self.to_minute;
        since_yesterday || (today && at.minute >= self.from_minute)
    }
}

impl fmt::Display for Hours {
    /// As it would be written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<_> = self.days.iter().map(|day| format!("{:?}", day.as_str())).collect();
        let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let (from, to, rate) = (time(self.from_minute), time(self.to_minute), self.rate.to_string());
        write!(f, "{{ days = [{}], from = {from:?}, to = {to:?}, rate = {rate:?} }}", days.join(", "))
    }
}

/// A time of the week, as the clock on the wall shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalTime {
    /// The day.
    pub day: Day,
    /// Minutes since midnight, 0 to 1439.
    pub minute: u16,
}

impl LocalTime {
    /// From the day counted from Monday, 0 to 6, and the minute since midnight; what is larger goes on with the next day or week.
    pub fn new(days_from_monday: u32, minute: u32) -> Self {
        let week = (u64::from(days_from_monday) * u64::from(DAY_MINUTES) + u64::from(minute)) % u64::from(WEEK_MINUTES);
        // Both are smaller than a week of minutes.
        let (day, minute) = (week / u64::from(DAY_MINUTES), week % u64::from(DAY_MINUTES));
        Self { day: DAYS[day as usize], minute: minute as u16 }
    }

    fn day_before(self) -> Day {
        DAYS[(self.day as usize + DAYS.len() - 1) % DAYS.len()]
    }

    fn later(self, minutes: u32) -> Self {
        Self::new(self.day as u32, u32::from(self.minute) + minutes)
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:02}:{:02}", self.day, self.minute / 60, self.minute % 60)
    }
}

/// When the rate is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The time on the wall clock, less than a week away or just that.
    pub at: LocalTime,
    /// The minutes until then, 1 to those of a week.
    pub in_minutes: u32,
    /// The rate from then on.
    pub rate: Rate,
}

/// How fast may be sent at which time of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timetable {
    usual: Rate,
    hours: Vec<Hours>,
}

impl Timetable {
    /// The last of `hours` that holds counts; where none does, `limit_bytes_per_second` does, and `None` is for no limit.
    pub fn new(limit_bytes_per_second: Option<u64>, hours: Vec<Hours>) -> Self {
        Self { usual: limit_bytes_per_second.map_or(Rate::Unlimited, Rate::Limit), hours }
    }

    /// How fast may be sent at a time.
    pub fn rate_at(&self, at: LocalTime) -> Rate {
        self.hours.iter().rev().find(|hours| hours.holds_at(at)).map_or(self.usual, |hours| hours.rate)
    }

    /// When the rate is another one than at `at`; `None` if it never is.
    pub fn next_change(&self, at: LocalTime) -> Option<Change> {
        let now = self.rate_at(at);
        let here = at.day as u32 * u32::from(DAY_MINUTES) + u32::from(at.minute);
        // It can only change where an entry begins or ends.
        let edges = self.hours.iter().flat_map(|hours| [hours.from_minute, hours.to_minute]);
        let edges = edges.flat_map(|minute| (0..7).map(move |day| day * u32::from(DAY_MINUTES) + u32::from(minute)));
        let mut waits: Vec<u32> = edges.map(|edge| (edge + WEEK_MINUTES - here - 1) % WEEK_MINUTES + 1).collect();
        waits.sort_unstable();
        let change = |in_minutes: u32| {
            let at = at.later(in_minutes);
            Change { at, in_minutes, rate: self.rate_at(at) }
        };
        waits.into_iter().map(change).find(|change| change.rate != now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(day: Day, hour: u16, minute: u16) -> LocalTime {
        LocalTime { day, minute: hour * 60 + minute }
    }

    fn hours(days: &[Day], from: u16, to: u16, rate: Rate) -> Hours {
        Hours { days: days.to_vec(), from_minute: from * 60, to_minute: to * 60, rate }
    }

    #[test]
    fn office_hours_are_slow_and_one_night_is_silent() {
        use Day::*;
        let office = hours(&[Mon, Tue, Wed, Thu, Fri], 8, 18, Rate::Limit(2_000_000));
        let night = hours(&[Sat], 22, 4, Rate::Pause);
        let table = Timetable::new(Some(10_000_000), vec![office, night]);
        let usual = Rate::Limit(10_000_000);
        for (at, rate) in [
            (at(Mon, 7, 59), usual),
            (at(Mon, 8, 0), Rate::Limit(2_000_000)),
            (at(Fri, 17, 59), Rate::Limit(2_000_000)),
            (at(Fri, 18, 0), usual),
            (at(Sat, 12, 0), usual),
            (at(Sat, 3, 0), usual),
            (at(Sat, 22, 0), Rate::Pause),
            (at(Sun, 3, 59), Rate::Pause),
            (at(Sun, 4, 0), usual),
            (at(Sun, 22, 0), usual),
        ] {
            assert_eq!(table.rate_at(at), rate, "{at}");
        }
        let change = table.next_change(at(Fri, 17, 0)).unwrap();
        assert_eq!(change, Change { at: at(Fri, 18, 0), in_minutes: 60, rate: usual });
        assert_eq!(table.next_change(at(Sun, 0, 0)).unwrap().at, at(Sun, 4, 0));
        assert_eq!(table.next_change(at(Sun, 4, 0)).unwrap().in_minutes, 28 * 60);
    }

    #[test]
    fn the_last_entry_that_holds_counts_and_edges_within_it_are_no_change() {
        let all = hours(&DAYS, 0, 24, Rate::Limit(1000));
        let noon = hours(&DAYS, 12, 13, Rate::Pause);
        let over = Timetable::new(None, vec![noon.clone(), all.clone()]);
        assert_eq!((over.rate_at(at(Day::Wed, 12, 30)), over.next_change(at(Day::Wed, 11, 0))), (Rate::Limit(1000), None));
        let under = Timetable::new(None, vec![all, noon]);
        assert_eq!(under.rate_at(at(Day::Wed, 12, 30)), Rate::Pause);
        assert_eq!(Timetable::new(None, Vec::new()).next_change(at(Day::Mon, 0, 0)), None);
    }

    #[test]
    fn a_whole_week_may_pass_before_it_changes_again() {
        let table = Timetable::new(None, vec![hours(&[Day::Mon], 0, 24, Rate::Pause)]);
        assert_eq!(table.next_change(at(Day::Tue, 0, 0)).unwrap().in_minutes, 6 * 24 * 60);
        assert_eq!(table.next_change(at(Day::Mon, 0, 0)).unwrap().in_minutes, 24 * 60);
    }

    fn any_time() -> impl Strategy<Value = LocalTime> {
        (0..WEEK_MINUTES).prop_map(|minute| LocalTime::new(0, minute))
    }

    fn any_hours() -> impl Strategy<Value = Hours> {
        let rate = prop_oneof![Just(Rate::Pause), Just(Rate::Unlimited), (0..3_u64).prop_map(Rate::Limit)];
        let days = proptest::sample::subsequence(DAYS.to_vec(), 1..=7);
        (days, 0..DAY_MINUTES, 1..=DAY_MINUTES, rate)
            .prop_filter("never the same", |(_, from, to, _)| from != to)
            .prop_map(|(days, from_minute, to_minute, rate)| Hours { days, from_minute, to_minute, rate })
    }

    /// Marks every minute of the week, entry after entry.
    fn painted(usual: Rate, all: &[Hours]) -> Vec<Rate> {
        let mut week = vec![usual; WEEK_MINUTES as usize];
        for hours in all {
            let length = (hours.to_minute + DAY_MINUTES - hours.from_minute - 1) % DAY_MINUTES + 1;
            for day in &hours.days {
                let begin = *day as usize * usize::from(DAY_MINUTES) + usize::from(hours.from_minute);
                (begin..begin + usize::from(length)).for_each(|minute| week[minute % WEEK_MINUTES as usize] = hours.rate);
            }
        }
        week
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_is_what_painting_the_week_gives(all in proptest::collection::vec(any_hours(), 0..6), limit in proptest::option::of(0..3_u64)) {
            let table = Timetable::new(limit, all.clone());
            let week = painted(limit.map_or(Rate::Unlimited, Rate::Limit), &all);
            for (minute, rate) in week.iter().enumerate() {
                prop_assert_eq!(table.rate_at(LocalTime::new(0, minute as u32)), *rate, "minute {} of {:?}", minute, all);
            }
        }

        #[test]
        fn the_next_change_is_the_first_one(all in proptest::collection::vec(any_hours(), 0..6), now in any_time()) {
            let table = Timetable::new(None, all);
            let later = (1..=WEEK_MINUTES).map(|minutes| (minutes, now.later(minutes)));
            let first = later.map(|(m, at)| (m, at, table.rate_at(at))).find(|(_, _, rate)| *rate != table.rate_at(now));
            let expected = first.map(|(in_minutes, at, rate)| Change { at, in_minutes, rate });
            prop_assert_eq!(table.next_change(now), expected);
        }
    }
}
