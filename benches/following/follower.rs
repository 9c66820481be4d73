//! A program that follows a source, and what is measured of its processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Ticks a second in which Linux tells programs of processor time, whatever it counts in.
const USER_HZ: u64 = 100;

/// Something that makes a copy follow a source.
pub(crate) trait Follower {
    /// As the table names it.
    fn name(&self) -> String;
    /// Where its copy is.
    fn copy(&self) -> &Path;
    /// Its processes of the source's and the copy's side.
    fn processes(&self) -> Vec<u32>;
    /// The copy's side goes away; what changes from now on has to be caught up.
    fn cut(&mut self);
    /// The copy's side comes back; returns when the copy has what the source had before the call.
    fn catch_up(&mut self);
}

/// A source and its copies, removed when dropped.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    pub(crate) source: PathBuf,
}

impl Place {
    /// On the disk that has the repository.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("standin-following-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        Self { dir, source }
    }

    /// For the copies and the programs' own files.
    pub(crate) fn work(&self) -> &Path {
        self.dir.path()
    }
}

/// Processor time that processes used so far, with that of their children which ended.
pub(crate) fn cpu_time(processes: &[u32]) -> Duration {
    let used = |pid: &u32| -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Fields 14 to 17 of proc(5): utime, stime, cutime, cstime.
        stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(4).map(|field| field.parse::<u64>().ok()).sum()
    };
    let total: u64 = processes.iter().filter_map(used).sum();
    Duration::from_millis(total * 1000 / USER_HZ)
}

/// Memory that processes have now, in MiB.
pub(crate) fn memory_mib(processes: &[u32]) -> u64 {
    let resident = |pid: &u32| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
    };
    processes.iter().filter_map(resident).max().unwrap_or(0).div_ceil(1024)
}
