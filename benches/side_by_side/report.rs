//! The table of results, and its place in RESULTS.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::copier::Run;
use crate::options::{Options, Place};
use crate::support::Done;

const HEAD: &str = "| work | peer | peer, s | standin, s | speed: ratio | goal | wire, MB: peer / standin | memory, MiB: peer / standin |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- |\n";

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    /// At least this times the peer's speed; 0 for none.
    pub(crate) speed: f64,
    /// At most this share of the peer's bytes on the wire.
    pub(crate) wire: Option<f64>,
}

/// Results of one place.
pub(crate) struct Report {
    place: Place,
    lines: Vec<String>,
}

impl Report {
    /// Nothing yet.
    pub(crate) fn new(place: &Place) -> Self {
        Self { place: *place, lines: Vec::new() }
    }

    /// Takes the medians of the runs of peer and Standin.
    pub(crate) fn add(&mut self, work: &str, peer: &str, runs: &[Vec<Run>; 2], goal: Goal) {
        let [peers, ours] = runs.each_ref().map(|runs| (!runs.is_empty()).then(|| Summary::of(runs)));
        let show = |summary: Option<&Summary>, text: fn(&Summary) -> String| summary.map_or("-".to_owned(), text);
        let ratio = peers.as_ref().zip(ours.as_ref()).map(|(peer, ours)| peer.secs / ours.secs);
        let wire_share = peers.as_ref().zip(ours.as_ref()).and_then(|(peer, ours)| Some(ours.wire_mb? / peer.wire_mb?));
        let line = format!(
            "| {work} | {peer} | {} | {} | {} | {} | {} / {} | {} / {} |",
            show(peers.as_ref(), |summary| summary.times.clone()),
            show(ours.as_ref(), |summary| summary.times.clone()),
            ratio.map_or("-".to_owned(), |ratio| format!("**{ratio:.2}**")),
            verdict(goal, ratio, wire_share),
            show(peers.as_ref(), Summary::wire),
            show(ours.as_ref(), Summary::wire),
            show(peers.as_ref(), Summary::memory),
            show(ours.as_ref(), Summary::memory),
        );
        println!("{line}");
        self.lines.push(line);
    }

    /// Puts the lines into RESULTS.md: those of the same work and peer are replaced, others kept.
    pub(crate) fn save(&self, options: &Options) {
        if !options.keep || self.lines.is_empty() {
            return;
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/RESULTS.md");
        let old = fs::read_to_string(&path).unwrap_or_default();
        let name = self.place.name();
        let table = self.table(section(&old, name).unwrap_or_default());
        let new = replace(&replace(&old, name, &table), "machine", &machine(self.place));
        let aside = PathBuf::from(format!("{}.new", path.display()));
        fs::write(&aside, new).unwrap();
        fs::rename(aside, path).unwrap();
    }

    fn table(&self, old: &str) -> String {
        let mut lines: Vec<String> =
            old.lines().skip_while(|line| !line.starts_with("| ---")).skip(1).map(str::to_owned).collect();
        lines.retain(|line| line.starts_with('|'));
        for line in &self.lines {
            match lines.iter_mut().find(|old| key(old) == key(line)) {
                Some(old) => old.clone_from(line),
                None => lines.push(line.clone()),
            }
        }
        format!("{HEAD}{}\n", lines.join("\n"))
    }
}

/// Puts a table of another form into RESULTS.md, in place of the one of that name.
pub(crate) fn save_table(options: &Options, name: &str, head: &str, lines: &[String]) {
    if !options.keep {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/RESULTS.md");
    let old = fs::read_to_string(&path).unwrap_or_default();
    let new = replace(&old, name, &format!("{head}{}\n", lines.join("\n")));
    let aside = PathBuf::from(format!("{}.new", path.display()));
    fs::write(&aside, new).unwrap();
    fs::rename(aside, path).unwrap();
}

/// What a line is about: work and peer.
fn key(line: &str) -> Vec<&str> {
    line.split('|').skip(1).take(2).collect()
}

/// Medians of some runs.
struct Summary {
    secs: f64,
    times: String,
    wire_mb: Option<f64>,
    memory_mib: [u64; 2],
}

impl Summary {
    fn of(runs: &[Run]) -> Self {
        let mut secs: Vec<f64> = runs.iter().map(|run| run.time.as_secs_f64()).collect();
        secs.sort_by(f64::total_cmp);
        let median = secs[secs.len() / 2];
        let spread = if secs.len() > 1 { format!(" ({:.2}-{:.2})", secs[0], secs[secs.len() - 1]) } else { String::new() };
        let mut wire: Vec<u64> = runs.iter().filter_map(|run| run.wire_bytes).collect();
        wire.sort_unstable();
        Self {
            secs: median,
            times: format!("{median:.2}{spread}"),
            wire_mb: wire.get(wire.len() / 2).map(|bytes| *bytes as f64 / 1e6),
            memory_mib: [0, 1].map(|side| runs.iter().map(|run| run.peak_rss_kib[side]).max().unwrap_or(0).div_ceil(1024)),
        }
    }

    fn wire(&self) -> String {
        self.wire_mb.map_or("-".to_owned(), |mb| format!("{mb:.1}"))
    }

    fn memory(&self) -> String {
        format!("{}+{}", self.memory_mib[0], self.memory_mib[1])
    }
}

fn verdict(goal: Goal, ratio: Option<f64>, wire_share: Option<f64>) -> String {
    if goal.speed == 0.0 {
        return "-".to_owned();
    }
    let said = |reached: Option<bool>| match reached {
        Some(true) => "reached",
        Some(false) => "**missed**",
        None => "not measured",
    };
    let speed = format!(">= {} x: {}", goal.speed, said(ratio.map(|ratio| ratio >= goal.speed)));
    match goal.wire {
        Some(most) => format!("{speed}; bytes <= {most} x: {}", said(wire_share.map(|share| share <= most))),
        None => speed,
    }
}

fn marks(name: &str) -> (String, String) {
    (format!("<!-- begin {name}: written by benches/run -->\n"), format!("<!-- end {name} -->\n"))
}

fn section<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (begin, end) = marks(name);
    Some(text.split_once(&begin)?.1.split_once(&end)?.0)
}

fn replace(text: &str, name: &str, contents: &str) -> String {
    let (begin, end) = marks(name);
    match section(text, name) {
        Some(old) => text.replacen(&format!("{begin}{old}{end}"), &format!("{begin}{contents}{end}"), 1),
        None => format!("{text}\n## {}\n\n{begin}{contents}{end}", heading(name)),
    }
}

fn heading(name: &str) -> &str {
    match name {
        "tmpfs" => "Trees in memory (tmpfs)",
        "disk" => "Trees on the disk",
        "lossy" => "Long lines that lose packets",
        "share" => "A line shared with TCP CUBIC",
        _ => "Where and when",
    }
}

/// Facts of the machine and the programs, without which figures mean nothing.
fn machine(place: Place) -> String {
    let first_line = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
        Done::of(command).stdout.lines().next().unwrap_or_default().trim().to_owned()
    };
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    let directory = Place::Disk.directory();
    let command: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    format!(
        "- last run: `benches/run {}` ({}), at commit {}, on {}\n- {} cores, {}; {} of memory; Linux {}; the disk is {}\n- peer: {}\n",
        command.join(" "),
        place.name(),
        first_line("git", &["rev-parse", "--short", "HEAD"]),
        first_line("date", &["--utc", "+%Y-%m-%d"]),
        std::thread::available_parallelism().map_or(0, usize::from),
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        first_line("uname", &["-r"]),
        first_line("stat", &["--file-system", "--format=%T", directory.to_str().unwrap()]),
        first_line("rsync", &["--version"]),
    )
}
