//! What is done to the source, and what is measured of whoever follows it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::follower::{Follower, Place, cpu_time, memory_mib};
use crate::lsyncd::Lsyncd;
use crate::results::line;
use crate::rsync::Rsync;
use crate::standin::Standin;
use crate::support::{PATIENCE, wait_until};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Fresh,
    Busy,
    CatchUp,
    Idle,
}

const RECORD: usize = 4096;
const FRESH_RECORDS: usize = 2000;
const FRESH_PAUSE: Duration = Duration::from_millis(10);
const BUSY: Duration = Duration::from_secs(60);
const BUSY_PER_SECOND: u32 = 200;
const MANY_FILES: usize = 100_000;
const IDLE: Duration = Duration::from_secs(30);
const CHANGED_FILES: usize = 2048;
const MIB: usize = 1 << 20;

impl Row {
    pub(crate) const ALL: &'static [Self] = &[Self::Fresh, Self::Busy, Self::CatchUp, Self::Idle];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Busy => "busy",
            Self::CatchUp => "catchup",
            Self::Idle => "idle",
        }
    }

    /// Measures both sides, each for itself; the lines of the table.
    pub(crate) fn run(self) -> Vec<String> {
        match self {
            Self::Fresh => fresh(),
            Self::Busy => busy(),
            Self::CatchUp => catch_up(),
            Self::Idle => idle(),
        }
    }
}

/// Delays of the peer: as it comes, and the least that it takes.
const DELAYS: [u32; 2] = [15, 0];

/// What is measured of the peer with each of these delays, and of Standin.
fn all<T>(delays: &[u32], prepare: impl Fn(&Path), measure: impl Fn(&mut dyn Follower, &Path) -> T) -> (Vec<(String, T)>, T) {
    let run = |start: &dyn Fn(&Place) -> Box<dyn Follower>| {
        let place = Place::new();
        prepare(&place.source);
        let mut follower = start(&place);
        eprintln!("{}", follower.name());
        (follower.name(), measure(&mut *follower, &place.source))
    };
    let peers = delays.iter().map(|delay| run(&|place| Box::new(Lsyncd::start(place, *delay)))).collect();
    (peers, run(&|place| Box::new(Standin::start(place))).1)
}

/// Appends records that say when they were written, and looks all the time how many of them the copy has.
fn fresh() -> Vec<String> {
    let (peers, ours) = all(
        &DELAYS,
        |_| {},
        |follower, source| {
            let start = Instant::now();
            let copy = follower.copy().join("log");
            let written: Vec<AtomicTime> = (0..FRESH_RECORDS).map(|_| AtomicTime::default()).collect();
            let mut ages = vec![Duration::ZERO; FRESH_RECORDS];
            let ended = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut log = File::create(source.join("log")).unwrap();
                    for (index, at) in written.iter().enumerate() {
                        let due = start + FRESH_PAUSE * index as u32;
                        thread::park_timeout(due.saturating_duration_since(Instant::now()));
                        at.set(start.elapsed());
                        log.write_all(&[index as u8; RECORD]).unwrap();
                    }
                    ended.store(true, Relaxed);
                });
                let mut reached = 0;
                while reached < FRESH_RECORDS {
                    let len = fs::metadata(&copy).map_or(0, |copy| copy.len() as usize);
                    let now = start.elapsed();
                    while reached < (len / RECORD).min(FRESH_RECORDS) {
                        ages[reached] = now.saturating_sub(written[reached].get());
                        reached += 1;
                    }
                    assert!(now < PATIENCE * 10, "{} has {reached} of {FRESH_RECORDS} records", follower.name());
                    thread::park_timeout(Duration::from_millis(1));
                }
            });
            ages.sort();
            [ages[FRESH_RECORDS / 2], ages[FRESH_RECORDS * 99 / 100]]
        },
    );
    let work = "4 KiB appended to a log every 10 ms";
    let millis = |age: Duration| format!("{:.0} ms", age.as_secs_f64() * 1e3);
    let mut lines = Vec::new();
    for (peer, theirs) in &peers {
        let ratio = |index: usize| theirs[index].as_secs_f64() / ours[index].as_secs_f64();
        let both = |index: usize| [millis(theirs[index]), millis(ours[index])];
        let [median, late] = [ratio(0), ratio(1)];
        lines.push(line([work, "age on the standby, median", peer], both(0), median, "5 x fresher", median >= 5.0));
        let soon = ours[1] <= Duration::from_millis(250);
        lines.push(line([work, "age, 99 of 100", peer], both(1), late, "<= 250 ms, 5 x fresher", soon && late >= 5.0));
    }
    lines
}

#[derive(Default)]
struct AtomicTime(std::sync::atomic::AtomicU64);

impl AtomicTime {
    fn set(&self, time: Duration) {
        self.0.store(time.as_nanos() as u64, Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Relaxed))
    }
}

fn busy() -> Vec<String> {
    let file = |source: &Path, index: usize| source.join(format!("{:02}/{index}", index % 40));
    let prepare = |source: &Path| {
        (0..40).for_each(|directory| fs::create_dir(source.join(format!("{directory:02}"))).unwrap());
        (0..4000).for_each(|index| fs::write(file(source, index), [0; 8192]).unwrap());
    };
    let (peers, ours) = all(&DELAYS, prepare, |follower, source| {
        let before = cpu_time(&follower.processes());
        let start = Instant::now();
        let total = BUSY_PER_SECOND * BUSY.as_secs() as u32;
        for number in 0..total {
            let due = start + Duration::from_secs(1) / BUSY_PER_SECOND * number;
            thread::park_timeout(due.saturating_duration_since(Instant::now()));
            let path = file(source, (number as usize * 7) % 4000);
            OpenOptions::new().write(true).open(path).unwrap().write_all_at(&number.to_le_bytes().repeat(1024), 0).unwrap();
        }
        fs::write(source.join("last"), "").unwrap();
        let last = Instant::now();
        wait_until("the copy has the last change", PATIENCE * 10, || follower.copy().join("last").exists());
        (last.elapsed(), cpu_time(&follower.processes()) - before)
    });
    let work = "200 files changed a second for a minute";
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let mut lines = Vec::new();
    for (peer, theirs) in &peers {
        let (behind, used) = (theirs.0.as_secs_f64() / ours.0.as_secs_f64(), theirs.1.as_secs_f64() / ours.1.as_secs_f64());
        let keeps_up = ours.0 < Duration::from_secs(1);
        lines.push(line([work, "behind at its end", peer], [theirs.0, ours.0].map(seconds), behind, "keeps up (1 s)", keeps_up));
        lines.push(line([work, "processor time, both sides", peer], [theirs.1, ours.1].map(seconds), used, "half", used >= 2.0));
    }
    lines
}

fn catch_up() -> Vec<String> {
    let write = |source: &Path, seed: usize| {
        let mut random = vec![0; MIB];
        for index in 0..CHANGED_FILES {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&(seed * CHANGED_FILES + index).to_le_bytes());
            hasher.finalize_xof().fill(&mut random);
            fs::write(source.join(index.to_string()), &random).unwrap();
        }
    };
    let place = Place::new();
    write(&place.source, 1);
    let mut follower = Standin::start(&place);
    let peers = [Rsync::served(&place), Rsync::local(&place)];
    for peer in &peers {
        peer.run();
    }
    follower.cut();
    write(&place.source, 2);
    rustix::fs::sync();
    let start = Instant::now();
    follower.catch_up();
    let ours = start.elapsed();
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let rows = peers.iter().map(|peer| {
        rustix::fs::sync();
        let theirs = peer.run();
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        let what = ["2 GiB changed while the standby was away", "time to catch up", peer.name];
        line(what, [theirs, ours].map(seconds), ratio, "2 x", ratio >= 2.0)
    });
    rows.collect()
}

fn idle() -> Vec<String> {
    let prepare = |source: &Path| {
        for directory in 0..100 {
            let directory = source.join(directory.to_string());
            fs::create_dir(&directory).unwrap();
            (0..MANY_FILES / 100).for_each(|index| fs::write(directory.join(index.to_string()), "mail").unwrap());
        }
    };
    let (peers, ours) = all(&DELAYS[..1], prepare, |follower, _| {
        let processes = follower.processes();
        let before = cpu_time(&processes);
        let start = Instant::now();
        thread::park_timeout(IDLE);
        ((cpu_time(&processes) - before).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0, memory_mib(&processes))
    });
    let work = "idle, 100,000 files";
    let percent = |share: f64| format!("{share:.2} %");
    let mib = |memory: u64| format!("{memory} MiB");
    let mut lines = Vec::new();
    for (peer, theirs) in &peers {
        let (share, memory) = (theirs.0 / ours.0.max(0.001), theirs.1 as f64 / ours.1 as f64);
        lines.push(line([work, "of a core, both sides", peer], [theirs.0, ours.0].map(percent), share, "< 0.2 %", ours.0 < 0.2));
        lines.push(line(
            [work, "memory of the largest process", peer],
            [theirs.1, ours.1].map(mib),
            memory,
            "< 64 MiB",
            ours.1 < 64,
        ));
    }
    lines
}
