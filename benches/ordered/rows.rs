//! The rows of the table: what is done where, and what is to be reached.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::database;
use crate::place::{Place, round_trip};
use crate::support::peak_rss_kib;
use crate::work;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Sequential,
    Sync,
    Durable,
    Writers,
    Sqlite,
    Pgbench,
    Cached,
    Files,
    Age,
}

/// How long the age is looked at.
const LOAD: Duration = Duration::from_secs(20);

impl Row {
    pub(crate) const ALL: &'static [Self] = &[
        Self::Sequential,
        Self::Sync,
        Self::Durable,
        Self::Writers,
        Self::Sqlite,
        Self::Pgbench,
        Self::Cached,
        Self::Files,
        Self::Age,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Sync => "sync",
            Self::Durable => "durable",
            Self::Writers => "writers",
            Self::Sqlite => "sqlite",
            Self::Pgbench => "pgbench",
            Self::Cached => "cached",
            Self::Files => "files",
            Self::Age => "age",
        }
    }

    /// Measures; the lines of the table.
    pub(crate) fn run(self, rounds: usize) -> Vec<String> {
        let plain = || vec![Place::plain(), Place::standin("local")];
        let all = || vec![Place::directory(), Place::plain(), Place::standin("local")];
        match self {
            Self::Sequential => rates("1 MiB blocks written one after the other", &plain(), rounds, 0.8, &work::sequential),
            Self::Sync => sync(rounds),
            Self::Durable => durable(rounds),
            Self::Writers => writers(rounds),
            Self::Sqlite => rates("SQLite, an insert a transaction", &plain(), rounds, 0.8, &database::sqlite),
            Self::Pgbench => rates("pgbench, 8 clients", &plain(), rounds, 0.8, &database::pgbench),
            Self::Cached => cached(&all(), rounds),
            Self::Files => rates("20,000 files created, renamed, removed", &plain(), rounds, 0.7, &work::files),
            Self::Age => age(),
        }
    }
}

fn line([work, what, beside]: [&str; 3], [its, ours]: [String; 2], ratio: f64, goal: &str, reached: bool) -> String {
    let verdict = match (goal, reached) {
        ("-", _) => "",
        (_, true) => ": reached",
        (_, false) => ": **missed**",
    };
    format!("| {work} | {what} | {beside} | {its} | {ours} | **{ratio:.2}** | {goal}{verdict} |")
}

/// What is measured in each place, in turn so many times; the medians.
fn medians(places: &[Place], rounds: usize, measure: &dyn Fn(&Path) -> f64) -> Vec<f64> {
    let mut measured = vec![Vec::new(); places.len()];
    for _ in 0..rounds {
        for (place, measured) in places.iter().zip(&mut measured) {
            place.rest();
            measured.push(measure(&place.path()));
            eprintln!("{}: {:.1}", place.name(), measured.last().unwrap());
        }
    }
    measured.into_iter().map(median).collect()
}

fn median(mut measured: Vec<f64>) -> f64 {
    measured.sort_by(f64::total_cmp);
    measured[measured.len() / 2]
}

/// A rate in the last place, Standin's, beside the others'.
fn rates(work: &str, places: &[Place], rounds: usize, goal: f64, measure: &dyn Fn(&Path) -> f64) -> Vec<String> {
    let rates = medians(places, rounds, measure);
    let (ours, others) = rates.split_last().unwrap();
    let told = |rate: f64| if rate > 1e6 { format!("{:.0} MB/s", rate / 1e6) } else { format!("{rate:.0} a second") };
    let line = |(place, its): (&Place, &f64)| {
        let ratio = ours / its;
        line([work, "speed", place.name()], [told(*its), told(*ours)], ratio, &format!(">= {goal} x"), ratio >= goal)
    };
    places.iter().zip(others).map(line).collect()
}

fn cached(places: &[Place], rounds: usize) -> Vec<String> {
    places.iter().for_each(|place| work::prepare_cached(&place.path()));
    let sizes = [("4 KiB", 4096), ("1 MiB", 1 << 20)];
    let read = |places: &[Place], of: &str| -> Vec<String> {
        let row = |(size, len): &(&str, usize)| {
            rates(&format!("cached reads, {size}{of}"), places, rounds, 0.9, &|at| work::cached(at, *len))
        };
        sizes.iter().flat_map(row).collect()
    };
    let mut lines = read(places, "");
    let past = [Place::directory(), Place::standin_with("local", "\npassthrough = [\"cached\"]")];
    past.iter().for_each(|place| work::prepare_cached(&place.path()));
    lines.extend(read(&past, ", of files that `passthrough` names"));
    lines
}

/// Medians of the median and of the 99th of 100, in microseconds.
fn latencies(places: &[Place], rounds: usize) -> Vec<[f64; 2]> {
    places.iter().for_each(|place| work::prepare_synced(&place.path()));
    let mut late = vec![Vec::new(); places.len()];
    let next = std::cell::Cell::new(0);
    let late_of = std::cell::RefCell::new(&mut late);
    let medians = medians(places, rounds, &|at| {
        let taken = work::synced(at);
        late_of.borrow_mut()[next.get() % places.len()].push(taken[taken.len() * 99 / 100].as_secs_f64() * 1e6);
        next.set(next.get() + 1);
        taken[taken.len() / 2].as_secs_f64() * 1e6
    });
    medians.into_iter().zip(late).map(|(middle, late)| [middle, median(late)]).collect()
}

fn micros(time: f64) -> String {
    format!("{time:.0} us")
}

const SYNC: &str = "4 KiB written anywhere, and `fdatasync`, one writer";

fn sync(rounds: usize) -> Vec<String> {
    let places = [Place::directory(), Place::plain(), Place::standin("local")];
    let [itself, plain, ours] = latencies(&places, rounds)[..] else { unreachable!("three places") };
    let times = |its: [f64; 2]| ours[0] / its[0];
    vec![
        line([SYNC, "median", places[0].name()], [micros(itself[0]), micros(ours[0])], times(itself), "-", true),
        line(
            [SYNC, "median", places[1].name()],
            [micros(plain[0]), micros(ours[0])],
            times(plain),
            "<= 1.3 x",
            times(plain) <= 1.3,
        ),
    ]
}

fn durable(rounds: usize) -> Vec<String> {
    let places = [Place::directory(), Place::plain(), Place::standin("durable")];
    let [itself, plain, ours] = latencies(&places, rounds)[..] else { unreachable!("three places") };
    let sum = plain[0] + round_trip().as_secs_f64() * 1e6 + itself[0];
    let (times, spread) = (ours[0] / sum, ours[1] / ours[0]);
    let work = "the same, `durable`";
    let beside = "plain + a round trip + a write and `fdatasync`";
    vec![
        line([work, "median", beside], [micros(sum), micros(ours[0])], times, "<= 1.2 x", times <= 1.2),
        line([work, "99 of 100", "its own median"], [micros(ours[0]), micros(ours[1])], spread, "<= 3 x", spread <= 3.0),
    ]
}

fn writers(rounds: usize) -> Vec<String> {
    let place = [Place::standin("durable")];
    let [one] = medians(&place, rounds, &|at| work::writers(at, 1))[..] else { unreachable!("one place") };
    let [many] = medians(&place, rounds, &|at| work::writers(at, 16))[..] else { unreachable!("one place") };
    let told = |rate: f64| format!("{rate:.0} a second");
    let work = "16 writers append 4 KiB and sync, `durable`";
    vec![line([work, "rate", "one writer"], [told(one), told(many)], many / one, ">= 5 x", many / one >= 5.0)]
}

fn age() -> Vec<String> {
    let place = Place::standin("local");
    let Place::Standin(standin) = &place else { unreachable!("it is ours") };
    let (ended, mut ages, began) = (AtomicBool::new(false), Vec::new(), Instant::now());
    thread::scope(|scope| {
        scope.spawn(|| work::load(&place.path(), &ended));
        while began.elapsed() < LOAD {
            ages.push(standin.status()["lag"]["oldest_seconds"].as_f64().unwrap_or(0.0) * 1e3);
            thread::park_timeout(Duration::from_millis(10));
        }
        ended.store(true, Relaxed);
    });
    ages.sort_by(f64::total_cmp);
    let [middle, late] = [50, 99].map(|percent| ages[ages.len() * percent / 100]);
    let peak = [&standin.alpha, &standin.beta].map(|node| peak_rss_kib(node.pid()).unwrap_or(0).div_ceil(1024));
    let work = "writes as fast as they go, 4 KiB anywhere in 64 MiB";
    let told = |age: f64| format!("{age:.0} ms");
    vec![
        line(
            [work, "age of the oldest change, 99 of 100", "its median"],
            [told(middle), told(late)],
            late / middle.max(0.001),
            "<= 100 ms",
            late <= 100.0,
        ),
        line(
            [work, "memory at most, source and standby", "-"],
            ["-".to_owned(), format!("{} and {} MiB", peak[0], peak[1])],
            1.0,
            "bounded, 150 MiB each",
            peak.iter().all(|peak| *peak <= 150),
        ),
    ]
}
