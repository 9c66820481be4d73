//! The command line of the bench.

use std::path::PathBuf;

use crate::row::Row;

const HELP: &str = "benches/run [--rows LIST] [--on LIST] [--rounds N] [--scale F] [--peer-only] [--dry]

  --rows LIST    of full,ssh,difference,checksum,attributes,orphans,million,line,lossy,share
                 (default: all)
  --on LIST      of tmpfs,disk (default: both); `million` and the lines are always on disk
  --rounds N     rounds of each side, in turn; the median counts (default 3)
  --scale F      size of the tree, 1 being 5 GB (default 1); results of other scales are printed, not kept
  --peer-only    without Standin, for the peer's own figures; printed, not kept
  --dry          print, do not write RESULTS.md";

/// Where the trees are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In memory.
    Tmpfs,
    /// On the disk that has the repository.
    Disk,
}

impl Place {
    /// Its name on the command line and in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tmpfs => "tmpfs",
            Self::Disk => "disk",
        }
    }

    /// A directory there for this run's work.
    pub(crate) fn directory(self) -> PathBuf {
        match self {
            Self::Tmpfs => PathBuf::from("/dev/shm"),
            Self::Disk => PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        }
    }
}

/// What to do.
#[derive(Clone)]
pub(crate) struct Options {
    /// Which rows.
    pub(crate) rows: Vec<Row>,
    /// Where.
    pub(crate) places: Vec<Place>,
    /// How often.
    pub(crate) rounds: usize,
    /// How large, 1 being the tree of the goals.
    pub(crate) scale: f64,
    /// Without Standin.
    pub(crate) peer_only: bool,
    /// Whether the results are written to RESULTS.md.
    pub(crate) keep: bool,
}

impl Options {
    /// As asked for; `None` if only help was.
    pub(crate) fn from_arguments() -> Option<Self> {
        let mut options = Self {
            rows: Row::ALL.to_vec(),
            places: vec![Place::Tmpfs, Place::Disk],
            rounds: 3,
            scale: 1.0,
            peer_only: false,
            keep: true,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| usage(&format!("{argument} needs a value")));
            match argument.as_str() {
                "--rows" => options.rows = list(&value(), |name| Row::ALL.iter().copied().find(|row| row.name() == name)),
                "--on" => {
                    options.places =
                        list(&value(), |name| [Place::Tmpfs, Place::Disk].into_iter().find(|place| place.name() == name))
                }
                "--rounds" => options.rounds = value().parse().unwrap_or_else(|error| usage(&format!("--rounds: {error}"))),
                "--scale" => options.scale = value().parse().unwrap_or_else(|error| usage(&format!("--scale: {error}"))),
                "--peer-only" => options.peer_only = true,
                "--dry" => options.keep = false,
                // What `cargo bench` adds by itself.
                "--bench" => {}
                "--help" | "-h" => {
                    println!("{HELP}");
                    return None;
                }
                other => usage(&format!("unknown argument {other}")),
            }
        }
        options.keep &= !options.peer_only && options.scale == 1.0;
        Some(options)
    }

    /// A count or a size of the full tree, at this scale.
    pub(crate) fn scaled(&self, full: u64) -> u64 {
        ((full as f64 * self.scale) as u64).max(1)
    }
}

fn list<T>(text: &str, known: impl Fn(&str) -> Option<T>) -> Vec<T> {
    text.split(',').map(|name| known(name).unwrap_or_else(|| usage(&format!("unknown name {name:?}")))).collect()
}

fn usage(problem: &str) -> ! {
    eprintln!("{problem}\n\n{HELP}");
    std::process::exit(2)
}
