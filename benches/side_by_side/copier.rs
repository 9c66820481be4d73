//! One side of the comparison: makes a copy equal to a source, and is measured.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::Done;

/// What a mirror is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Copy everything to where nothing is.
    Full,
    /// Send what differs; unchanged files are known by their attributes.
    Difference,
    /// The same, but read all files on both sides.
    Checksum,
    /// The same as [`Work::Difference`], and remove what the source does not have.
    Orphans,
}

/// What one run took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Run {
    /// Wall time.
    pub(crate) time: Duration,
    /// Bytes on the wire, both ways, where the program tells.
    pub(crate) wire_bytes: Option<u64>,
    /// Most memory of a process of the sending and of the receiving side, in KiB.
    pub(crate) peak_rss_kib: [u64; 2],
}

/// A program that mirrors a source to its own copy.
pub(crate) trait Copier {
    /// As the report names it.
    fn name(&self) -> String;
    /// Where its copy is.
    fn copy(&self) -> &Path;
    /// Throws the copy away, and everything known of it. Not measured.
    fn forget(&mut self);
    /// Does the work. Measured.
    fn mirror(&mut self, work: Work) -> Run;
}

/// Runs a command to its end and says how long it took.
pub(crate) fn timed(command: Command) -> (Done, Duration) {
    // What the run before left to be written is not this one's to pay for.
    rustix::fs::sync();
    let start = Instant::now();
    let done = Done::of(command);
    let time = start.elapsed();
    (done.expect(0), time)
}

/// Panics unless the copy equals the source by rsync's own judgement, reading every byte.
pub(crate) fn assert_equal(source: &Path, copy: &Path) {
    let mut command = Command::new("rsync");
    command.args(["-aHAXn", "--checksum", "--delete", "--itemize-changes"]);
    command.arg(slashed(source)).arg(slashed(copy));
    let done = Done::of(command).expect(0);
    // Directory times of the roots themselves apart, nothing may be listed.
    let listed: Vec<&str> = done.stdout.lines().filter(|line| !line.ends_with(" ./")).collect();
    assert!(listed.is_empty(), "{} is not equal to {}:\n{}", copy.display(), source.display(), listed.join("\n"));
}

/// The path with a slash at its end, by which rsync means what is in it.
pub(crate) fn slashed(path: &Path) -> String {
    format!("{}/", path.display())
}
