//! Long lines that lose packets, and lines that are shared: how much of them each side gets, and what it loses by itself.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::copier::{Copier, Work, assert_equal};
use crate::line::{ADDRESSES, Counts, Line};
use crate::options::Options;
use crate::report::save_table;
use crate::rsync::Rsync;
use crate::standin::{Hosts, Standin};
use crate::support::{free_udp_port, wait_until};
use crate::tree::bytes_in;

/// Rate in Mbit/s and one-way delay.
const LINES: &[(u64, u64)] = &[(100, 40), (300, 15)];
/// Share of packets lost at random, and the least share of the line that is to be reached, in %.
const LOSSES: &[(&str, f64)] = &[("0%", 92.0), ("0.1%", 90.0), ("1%", 87.0)];
/// Congestion controls of TCP that rsync is run over.
const CONTROLS: [&str; 2] = ["cubic", "bbr"];
/// The most that a sender is to lose by filling the queue, in %.
const MOST_CAUSED: f64 = 1.0;
/// What each side of a shared line is to get, in %.
const LEAST_SHARE: f64 = 25.0;
/// A peer that has not ended after this is cut off, and judged by what it got through.
const LIMIT: Duration = Duration::from_secs(45);
const POLL: Duration = Duration::from_millis(10);
/// When the peer has this part of the tree, it runs.
const RUNS: u64 = 8;

const LOSSY_HEAD: &str = "| line | random loss | who | time, s | share of the line, % | standin is faster: ratio | loss caused, % | taken by the host, % | goal |\n\
                          | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
const SHARE_HEAD: &str = "| line | standin, % | rsync over TCP CUBIC, % | time shared, s | loss caused by both, % | goal |\n\
                          | --- | --- | --- | --- | --- | --- |\n";

/// What came of one transfer.
struct Got {
    secs: f64,
    share: f64,
    caused: f64,
    /// Of the processors' time, what others on the same hardware had of it, in %: a line that waits for a processor is not full.
    taken: f64,
    cut_off: bool,
}

/// When a transfer begins.
struct Before {
    counts: Counts,
    taken: Duration,
    at: Instant,
}

/// The tree over each line with each loss, by Standin, and by rsync over CUBIC and over BBR, in turn; of several rounds the medians.
pub(crate) fn lossy(work: &Path, source: &Path, options: &Options) {
    let mut lines = Vec::new();
    for (mbit, delay_ms) in LINES {
        for (loss, goal) in LOSSES {
            let line = Line::up(&format!("{mbit}mbit"), &format!("{delay_ms}ms"), loss);
            let title = format!("| {mbit} Mbit/s, {} ms | {loss}", 2 * delay_ms);
            let mut ours = Vec::new();
            let mut peers = CONTROLS.map(|control| (control, Vec::new(), None));
            for _ in 0..options.rounds {
                if !options.peer_only {
                    ours.push(standin(&line, work, source, *mbit));
                }
                for (control, theirs, trouble) in &mut peers {
                    // What was cut off once would be so again.
                    if !theirs.iter().any(|got: &Got| got.cut_off) {
                        match line.set_tcp(control) {
                            Ok(()) => theirs.push(rsync(&line, work, source, *mbit)),
                            Err(why) => *trouble = Some(why),
                        }
                    }
                }
            }
            let ours = median(ours);
            for (control, theirs, trouble) in peers {
                let who = format!("rsync daemon over TCP {}", control.to_uppercase());
                lines.push(match (median(theirs), trouble) {
                    (Some(got), _) => {
                        let ratio = ours.as_ref().map_or("-".to_owned(), |ours| format!("**{:.2}**", ours.share / got.share));
                        format!(
                            "{title} | {who} | {} | {:.1} | {ratio} | {:.2} | {:.1} | - |",
                            got.time(),
                            got.share,
                            got.caused,
                            got.taken
                        )
                    }
                    (None, trouble) => {
                        format!("{title} | {who} | not measured: {} | - | - | - | - | - |", trouble.unwrap_or_default())
                    }
                });
                eprintln!("{}", lines[lines.len() - 1]);
            }
            if let Some(got) = ours {
                let said = |reached: bool| if reached { "reached" } else { "**missed**" };
                let (share, caused) = (said(got.share >= *goal), said(got.caused < MOST_CAUSED));
                let goals = format!("share >= {goal}: {share}; caused < {MOST_CAUSED}: {caused}");
                let got = format!("{} | {:.1} | - | {:.2} | {:.1}", got.time(), got.share, got.caused, got.taken);
                lines.push(format!("{title} | standin | {got} | {goals} |"));
                eprintln!("{}", lines[lines.len() - 1]);
            }
            save_table(options, "lossy", LOSSY_HEAD, &lines);
        }
    }
}

/// The run whose time is the median.
fn median(mut runs: Vec<Got>) -> Option<Got> {
    runs.sort_by(|a, b| a.secs.total_cmp(&b.secs));
    (!runs.is_empty()).then(|| runs.swap_remove(runs.len() / 2))
}

/// The tree over lines on which a rsync over CUBIC runs already and goes on.
pub(crate) fn share(work: &Path, source: &Path, options: &Options) {
    let mut lines = Vec::new();
    for (mbit, delay_ms) in LINES {
        let line = Line::up(&format!("{mbit}mbit"), &format!("{delay_ms}ms"), "0%");
        line.set_tcp("cubic").unwrap();
        let (a, b) = (line.prefix(0), line.prefix(1));
        // Again and again, so that it outlasts the other.
        let endless = work.join("endless");
        fs::create_dir_all(&endless).unwrap();
        for number in 0..8 {
            fs::copy(source.join("0.bin"), endless.join(format!("{number}.bin"))).unwrap();
            fs::copy(source.join("1.bin"), endless.join(format!("{number}-more.bin"))).unwrap();
        }
        let peer = Rsync::daemon_at(work, &endless, &["-a", "--whole-file", "--inplace"], ADDRESSES[1], [&a, &b]);
        let addresses = ADDRESSES.map(|address| SocketAddr::new(address, free_udp_port()));
        let mut standin = Standin::new(work, source, Hosts { prefixes: [&a, &b], addresses }, "");
        let mut running = quiet(peer.push(Work::Full));
        let all = bytes_in(source);
        wait_until("rsync runs", LIMIT, || bytes_in(peer.copy()) > all / RUNS);
        let (before, offered, start) = (bytes_in(peer.copy()), line.counts(), Instant::now());
        standin.mirror(Work::Full);
        let (after, counts, secs) = (bytes_in(peer.copy()), line.counts(), start.elapsed().as_secs_f64());
        assert!(running.try_wait().unwrap().is_none(), "rsync ended before Standin: more data is needed");
        running.kill().unwrap();
        running.wait().unwrap();
        assert_equal(source, standin.copy());
        let percent = |bytes: u64| bytes as f64 * 8.0 / (*mbit as f64 * 1e6 * secs) * 100.0;
        let (ours, theirs) = (percent(all), percent(after - before));
        let caused = (counts.overflowed - offered.overflowed) as f64 / (counts.offered - offered.offered) as f64 * 100.0;
        let reached = if ours.min(theirs) >= LEAST_SHARE { "reached" } else { "**missed**" };
        lines.push(format!(
            "| {mbit} Mbit/s, {} ms | {ours:.1} | {theirs:.1} | {secs:.1} | {caused:.2} | each >= {LEAST_SHARE}: {reached} |",
            2 * delay_ms
        ));
        eprintln!("{}", lines[lines.len() - 1]);
        drop((peer, standin));
        fs::remove_dir_all(work.join("rsync-copy")).unwrap();
        fs::remove_dir_all(endless).unwrap();
        save_table(options, "share", SHARE_HEAD, &lines);
    }
}

fn standin(line: &Line, work: &Path, source: &Path, mbit: u64) -> Got {
    let (a, b) = (line.prefix(0), line.prefix(1));
    let addresses = ADDRESSES.map(|address| SocketAddr::new(address, free_udp_port()));
    let mut standin = Standin::new(work, source, Hosts { prefixes: [&a, &b], addresses }, "");
    let before = Before::now(line);
    let run = standin.mirror(Work::Full);
    let got = before.got(line, run.time, bytes_in(source), mbit, false);
    assert_equal(source, standin.copy());
    got
}

fn rsync(line: &Line, work: &Path, source: &Path, mbit: u64) -> Got {
    let (a, b) = (line.prefix(0), line.prefix(1));
    let mut peer = Rsync::daemon_at(work, source, &["-a", "--whole-file", "--inplace"], ADDRESSES[1], [&a, &b]);
    peer.forget();
    let before = Before::now(line);
    let start = before.at;
    let mut running = quiet(peer.push(Work::Full));
    let ended = loop {
        match running.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if start.elapsed() > LIMIT => break None,
            None => thread::park_timeout(POLL),
        }
    };
    let time = start.elapsed();
    let got = before.got(line, time, bytes_in(peer.copy()), mbit, ended.is_none());
    match ended {
        Some(status) => assert!(status.success(), "rsync: {status}"),
        None => {
            running.kill().unwrap();
            running.wait().unwrap();
        }
    }
    got
}

fn quiet(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

impl Before {
    fn now(line: &Line) -> Self {
        Self { counts: line.counts(), taken: taken(), at: Instant::now() }
    }

    /// What came of a transfer that took so long, and has just ended.
    fn got(&self, line: &Line, time: Duration, bytes: u64, mbit: u64, cut_off: bool) -> Got {
        let (counts, taken, passed) = (line.counts(), taken() - self.taken, self.at.elapsed());
        let processors = thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
        let secs = time.as_secs_f64();
        let (offered, overflowed) = (counts.offered - self.counts.offered, counts.overflowed - self.counts.overflowed);
        Got {
            secs,
            share: bytes as f64 * 8.0 / (mbit as f64 * 1e6 * secs) * 100.0,
            caused: overflowed as f64 / offered.max(1) as f64 * 100.0,
            taken: taken.as_secs_f64() / (passed.as_secs_f64() * processors) * 100.0,
            cut_off,
        }
    }
}

/// The processors' time that the host gave to others since the machine began (`steal` in proc_stat(5), in hundredths of a second).
fn taken() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.split_whitespace().nth(8).and_then(|steal| steal.parse().ok());
    Duration::from_millis(10 * ticks.unwrap_or(0))
}

impl Got {
    fn time(&self) -> String {
        if self.cut_off { format!("cut off after {:.0}", self.secs) } else { format!("{:.2}", self.secs) }
    }
}
