//! Commands of the user's: run with a time limit, their output told line by line, and nothing of them left when time is up.

#[cfg_attr(target_os = "linux", path = "command/linux.rs")]
mod platform;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use standin_common::id::ResourceName;

use super::{Condition, Step, Trouble};
use crate::preflight::Finding;

/// Longest line that is told, in characters.
const MAX_LINE: usize = 500;
/// Most lines of one command that are told.
const MAX_LINES: usize = 1000;
/// How long a command that only looks may take.
pub(super) const LOOK_TIME: Duration = Duration::from_secs(30);
/// From the request to end to the end by force.
const GRACE: Duration = Duration::from_secs(3);
/// Exit code of a state command for what does not run, as init scripts of the LSB have it.
const NOT_RUNNING: i32 = 3;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself, with an exit code.
    Code(i32),
    /// By a signal that was not ours.
    Signal(i32),
    /// It was ended, with all its processes, since time was up.
    TimedOut,
    /// It was ended, with all its processes, since somebody wanted the run to end.
    Cancelled,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "it ended with {code}"),
            Self::Signal(signal) => write!(f, "it was ended by signal {signal}"),
            Self::TimedOut => f.write_str("it did not end in time and was killed with all its processes"),
            Self::Cancelled => f.write_str("it was killed with all its processes, as the run was cancelled"),
        }
    }
}

/// A command and its limits.
pub(super) struct Limited<'a> {
    /// The program and its arguments.
    pub(super) words: &'a [String],
    /// Added to the environment.
    pub(super) variables: &'a [(String, String)],
    /// When it is ended.
    pub(super) deadline: Instant,
    /// Asked all the while.
    pub(super) is_cancelled: &'a dyn Fn() -> bool,
}

impl Limited<'_> {
    /// Runs it to its end, with its lines told to `line`. What it leaves running in the background when it ends by itself goes on, and
    /// must have an output of its own: nobody reads this one any more.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub(super) fn run(&self, line: &mut dyn FnMut(&str)) -> io::Result<Ended> {
        self.run_with(GRACE, line)
    }

    /// As [`run`](Self::run), killed so long after it was asked to end.
    fn run_with(&self, grace: Duration, line: &mut dyn FnMut(&str)) -> io::Result<Ended> {
        let mut lines = Lines::default();
        let ended = platform::run(self, grace, &mut |bytes| lines.push(bytes, line));
        lines.finish(line);
        ended
    }
}

/// Runs a command of a step, which must end with 0. `what` says what it is for, with the object's name.
pub(super) fn must(words: &[String], variables: &[(String, String)], what: &str, step: &dyn Step) -> Result<(), Trouble> {
    must_by(step.deadline(), words, variables, what, step)
}

/// As [`must`], with a time of its own.
pub(super) fn must_by(
    deadline: Instant,
    words: &[String],
    variables: &[(String, String)],
    what: &str,
    step: &dyn Step,
) -> Result<(), Trouble> {
    let is_cancelled = || step.is_cancelled();
    let limited = Limited { words, variables, deadline, is_cancelled: &is_cancelled };
    let mut last = String::new();
    let ended = limited.run_with(step.haste().unwrap_or(GRACE), &mut |line| {
        last = line.to_owned();
        step.tell(format_args!("{what}: {line}"));
    });
    judge(ended, words, what, &last)
}

/// Runs a command that says how something stands: 0 for online, 3 for offline.
pub(super) fn state(words: &[String], variables: &[(String, String)], what: &str) -> Result<Condition, Trouble> {
    state_by(Instant::now() + LOOK_TIME, GRACE, words, variables, what)
}

/// As [`state`], as part of a step: in haste its answer is waited for no longer than the step may take.
pub(super) fn state_of(
    words: &[String],
    variables: &[(String, String)],
    what: &str,
    step: &dyn Step,
) -> Result<Condition, Trouble> {
    match step.haste() {
        Some(grace) => state_by(step.deadline(), grace, words, variables, what),
        None => state(words, variables, what),
    }
}

fn state_by(
    deadline: Instant,
    grace: Duration,
    words: &[String],
    variables: &[(String, String)],
    what: &str,
) -> Result<Condition, Trouble> {
    let limited = Limited { words, variables, deadline, is_cancelled: &|| false };
    let mut last = String::new();
    match limited.run_with(grace, &mut |line| last = line.to_owned()) {
        Ok(Ended::Code(0)) => Ok(Condition::Online),
        Ok(Ended::Code(NOT_RUNNING)) => Ok(Condition::Offline),
        Ok(Ended::Code(code)) if !matches!(code, 126 | 127) => Ok(Condition::Partly(format!("{what}: {}", said(code, &last)))),
        ended => Err(judge(ended, words, what, &last).err().unwrap_or_else(|| Trouble::new(what, "it said nothing", ""))),
    }
}

fn said(code: i32, last: &str) -> String {
    let words = if last.is_empty() { String::new() } else { format!(" ({last})") };
    format!("its state command ended with {code}{words}; 0 says that it runs, {NOT_RUNNING} that it does not")
}

fn judge(ended: io::Result<Ended>, words: &[String], what: &str, last: &str) -> Result<(), Trouble> {
    let program = words.first().map_or("", String::as_str);
    let (why, mend) = match ended {
        Ok(Ended::Code(0)) => return Ok(()),
        Ok(ended) if last.is_empty() => (format!("{program}: {ended}"), "run it by hand to see why".to_owned()),
        Ok(ended) => (format!("{program}: {ended}; its last words: {last}"), "run it by hand to see why".to_owned()),
        Err(error) => {
            let mend = match error.kind() {
                io::ErrorKind::NotFound => "write its whole path, and look that it is on this node".to_owned(),
                io::ErrorKind::PermissionDenied => format!("make it executable: chmod +x {program}"),
                _ => String::new(),
            };
            (format!("{program} cannot be started: {error}"), mend)
        }
    };
    Err(Trouble { what: what.to_owned(), why, mend })
}

/// Why a command's program cannot be run on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What was seen.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

impl Missing {
    /// As a finding of what needs the command.
    pub(super) fn of(self, check: &'static str, name: &ResourceName) -> Finding {
        Finding::fail(check, format!("{name}: {}", self.what), self.mend)
    }
}

/// Why a command's program could not be run on this node: it is not there, or not executable. `None` if it could.
pub fn missing(words: &[String]) -> Option<Missing> {
    let program = words.first()?;
    let is_path = program.contains('/') || program.contains('\\');
    let places: Vec<PathBuf> = match is_path {
        true => vec![PathBuf::from(program)],
        false => std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).map(|dir| dir.join(program)).collect(),
    };
    if places.iter().any(|path| path.is_file() && platform::is_executable(path)) {
        return None;
    }
    let (what, mend) = match places.iter().find(|path| path.is_file()) {
        Some(there) => {
            let there = there.display();
            (format!("the program {there} is not executable"), format!("make it so: chmod +x {there}"))
        }
        None => (format!("there is no program {program} on this node"), "put it there, or write its whole path".to_owned()),
    };
    Some(Missing { what, mend })
}

/// Makes lines of bytes: bounded, printable, and not more than a log can bear.
#[derive(Default)]
struct Lines {
    open: Vec<u8>,
    is_cut: bool,
    told: usize,
    untold: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], line: &mut dyn FnMut(&str)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            // A character has up to four bytes.
            let room = (MAX_LINE * 4).saturating_sub(self.open.len());
            self.open.extend_from_slice(&text[..text.len().min(room)]);
            self.is_cut |= text.len() > room;
            if ends {
                self.end_line(line);
            }
        }
    }

    fn end_line(&mut self, line: &mut dyn FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.open).trim_end().replace(|char: char| char.is_control() && char != '\t', "?");
        let (cut, is_long) = match text.char_indices().nth(MAX_LINE) {
            Some((end, _)) => (&text[..end], true),
            None => (text.as_str(), self.is_cut),
        };
        if self.told >= MAX_LINES {
            self.untold += 1;
        } else if !cut.is_empty() {
            self.told += 1;
            if is_long { line(&format!("{cut}…")) } else { line(cut) }
        }
        self.open.clear();
        self.is_cut = false;
    }

    fn finish(&mut self, line: &mut dyn FnMut(&str)) {
        if !self.open.is_empty() {
            self.end_line(line);
        }
        if self.untold > 0 {
            line(&format!("(and {} more lines)", self.untold));
        }
    }
}

#[cfg(test)]
mod tests;
