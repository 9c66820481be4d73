//! What belongs to continuous replication: when points are made, how often everything is looked at on either side, and how fast may be
//! sent when.

use crate::model::{Day, Points};
use crate::problem::{nearest, quote};
use crate::raw::{LIMIT, POINTS, RawLimit, RawPoints, SET};
use crate::read::{Placed, Shape};
use crate::timetable::{DAY_MINUTES, DAYS, Hours, Rate};
use crate::units::{parse_rate, parse_span, print_rate, print_span};

use super::{MIN_LIMIT_BYTES_PER_SECOND, Resolver};

const OFF: &str = "off";

const DEFAULT_INTERVAL_MS: u64 = 15 * 60 * 1000;
const DEFAULT_QUIET_MS: u64 = 5000;
const DEFAULT_RESCAN_MS: u64 = 6 * 3600 * 1000;
const DEFAULT_SCRUB_MS: u64 = 7 * 24 * 3600 * 1000;
/// Points that follow each other faster would take the link from what they are made of.
const MIN_INTERVAL_MS: u64 = 1000;
const MIN_QUIET_MS: u64 = 100;
/// A look at everything takes minutes where there is much.
const MIN_RESCAN_MS: u64 = 60_000;
/// Read without a pause, a disk has little time for anything else.
const MIN_SCRUB_MS: u64 = 3600 * 1000;
/// Longer than this is never; and no clock overflows.
const MAX_SPAN_MS: u64 = 366 * 24 * 3600 * 1000;
/// Most entries of a timetable.
const MAX_LIMITS: usize = 100;

impl Resolver<'_> {
    pub(super) fn points(&self, raw: &RawPoints) -> Points {
        let span = |written: &Option<Placed<String>>, key, least, usual| {
            written.as_ref().map_or(Some(usual), |written| self.span(written, &POINTS, key, least))
        };
        Points {
            interval_ms: span(&raw.interval, "interval", MIN_INTERVAL_MS, DEFAULT_INTERVAL_MS),
            quiet_ms: span(&raw.quiet, "quiet", MIN_QUIET_MS, DEFAULT_QUIET_MS),
        }
    }

    pub(super) fn rescan(&self, written: Option<&Placed<String>>) -> Option<u64> {
        written.map_or(Some(DEFAULT_RESCAN_MS), |written| self.span(written, &SET, "rescan", MIN_RESCAN_MS))
    }

    pub(super) fn scrub(&self, written: Option<&Placed<String>>) -> Option<u64> {
        written.map_or(Some(DEFAULT_SCRUB_MS), |written| self.span(written, &SET, "scrub", MIN_SCRUB_MS))
    }

    /// A span of time of at least `least` milliseconds; `None` for `off`, and for what is wrong, which is reported.
    fn span(&self, written: &Placed<String>, shape: &Shape, key: &str, least: u64) -> Option<u64> {
        if written.value == OFF {
            return None;
        }
        let (wrong, instead) = match parse_span(&written.value) {
            Ok(ms) if (least..=MAX_SPAN_MS).contains(&ms) => return Some(ms),
            Ok(ms) if ms < least => {
                let least = print_span(least);
                (format!("{} is less than {least}", quote(&written.value)), format!("{key} = \"{least}\" or more"))
            }
            Ok(_) => {
                let most = print_span(MAX_SPAN_MS);
                (format!("{} is more than {most}", quote(&written.value)), format!("{key} = \"off\" for never"))
            }
            Err(error) => {
                let meant: Vec<_> = error.instead().iter().map(|meant| format!("{key} = {meant:?}")).collect();
                (error.wrong(), if meant.is_empty() { shape.example(key).to_owned() } else { meant.join(" or ") })
            }
        };
        self.problems.add(written.at, &written.key, wrong, format!("write {instead}"));
        None
    }

    pub(super) fn limits(&self, raw: &[RawLimit]) -> Vec<Hours> {
        if let Some(first) = raw.get(MAX_LIMITS) {
            let wrong = format!("there are {} entries, more than {MAX_LIMITS}", raw.len());
            self.problems.add(first.place.at, &first.place.key, wrong, "join those of the same rate: days is a list");
        }
        raw.iter().filter_map(|raw| self.hours(raw)).collect()
    }

    fn hours(&self, raw: &RawLimit) -> Option<Hours> {
        let days = raw.days.as_ref().map_or(Some(DAYS.to_vec()), |days| self.days(days));
        let from = raw.from.as_ref().map_or(Some(0), |written| self.minute(written, "from", DAY_MINUTES - 1));
        let to = raw.to.as_ref().map_or(Some(DAY_MINUTES), |written| self.minute(written, "to", DAY_MINUTES));
        let rate = raw.rate.as_ref().and_then(|written| self.rate(written));
        let (from_minute, to_minute) = (from?, to?);
        if from_minute == to_minute {
            let instead = "write another time, or leave both out for the whole day";
            self.problems.add(raw.place.at, &raw.place.key, "from and to are the same time, so it would never hold", instead);
            return None;
        }
        Some(Hours { days: days?, from_minute, to_minute, rate: rate? })
    }

    /// The days named, in the order of the week.
    fn days(&self, list: &Placed<Vec<Placed<String>>>) -> Option<Vec<Day>> {
        if list.value.is_empty() {
            self.problems.add(list.at, &list.key, "the list is empty, so it would never hold", "leave days out for every day");
            return None;
        }
        let named: Option<Vec<_>> = list.value.iter().map(|written| self.days_of(written)).collect();
        let named = named?.concat();
        Some(DAYS.into_iter().filter(|day| named.contains(day)).collect())
    }

    /// One day, or a range of days, which may go over the end of the week.
    fn days_of(&self, written: &Placed<String>) -> Option<Vec<Day>> {
        let (first, last) = written.value.split_once('-').unwrap_or((&written.value, &written.value));
        let (first, last) = (first.trim(), last.trim());
        match (first.parse::<Day>(), last.parse::<Day>()) {
            (Ok(first), Ok(last)) => {
                let from_first = DAYS.into_iter().cycle().skip_while(move |day| *day != first);
                let until = from_first.clone().take(DAYS.len()).position(|day| day == last).unwrap_or(0);
                Some(from_first.take(until + 1).collect())
            }
            (Err(error), _) | (_, Err(error)) => {
                let slips = [first, last].map(|name| nearest(name.get(..3).unwrap_or(name), Day::WORDS.iter().copied()));
                let instead = match slips {
                    [Some(day), Some(_)] if first == last => format!("write days = {day:?}"),
                    [Some(first), Some(last)] => format!("write days = \"{first}-{last}\""),
                    _ => format!("write {}", LIMIT.example("days")),
                };
                self.problems.add(written.at, &written.key, error.to_string(), instead);
                None
            }
        }
    }

    /// Minutes since midnight of `08:00`, at most `most`.
    fn minute(&self, written: &Placed<String>, key: &str, most: u16) -> Option<u16> {
        let text = written.value.trim();
        let two_digits = |text: &str| match text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()) {
            true => text.parse::<u16>().ok(),
            false => None,
        };
        let parts = text.split_once(':').and_then(|(hour, minute)| Some((two_digits(hour)?, two_digits(minute)?)));
        let found = parts.filter(|(_, minute)| *minute < 60).map(|(hour, minute)| hour * 60 + minute);
        if found.is_none_or(|found| found > most) {
            let wrong = format!("{} is not a time from 00:00 to {:02}:{:02}", quote(text), most / 60, most % 60);
            self.problems.add(written.at, &written.key, wrong, format!("write {}", LIMIT.example(key)));
            return None;
        }
        found
    }

    fn rate(&self, written: &Placed<String>) -> Option<Rate> {
        match written.value.as_str() {
            "pause" => return Some(Rate::Pause),
            "unlimited" => return Some(Rate::Unlimited),
            // Of a limit, some would read it as the opposite of others.
            "off" | "none" | "0" => {
                let wrong = format!("{} can mean that there is no limit, or that nothing is sent", quote(&written.value));
                self.problems.add(written.at, &written.key, wrong, "write rate = \"unlimited\" or rate = \"pause\"");
                return None;
            }
            _ => {}
        }
        let (wrong, instead) = match parse_rate(&written.value) {
            Ok(rate) if rate >= MIN_LIMIT_BYTES_PER_SECOND => return Some(Rate::Limit(rate)),
            Ok(_) => {
                let least = print_rate(MIN_LIMIT_BYTES_PER_SECOND);
                let wrong = format!("{} is less than {least}", quote(&written.value));
                (wrong, format!("rate = \"{least}\" or more, or rate = \"pause\""))
            }
            Err(error) => {
                let meant: Vec<_> = error.instead().iter().map(|meant| format!("rate = {meant:?}")).collect();
                (error.wrong(), if meant.is_empty() { LIMIT.example("rate").to_owned() } else { meant.join(" or ") })
            }
        };
        self.problems.add(written.at, &written.key, wrong, format!("write {instead}"));
        None
    }
}
