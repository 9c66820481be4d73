//! `standin demo`: the main job, for real, on this machine.
//!
//! | part | what it is |
//! | --- | --- |
//! | `play` | the steps, in order |
//! | `stage` | the directory and the processes, all gone at the end |
//! | `nodes` | two daemons, as processes of this program |
//! | `table` | what is said, checked and counted |
//! | `trees` | looks at trees on disk |
//! | `material` | a mail server's volume, and what happens to it |
//! | `local` | what tests need, too |

mod local;
pub(crate) mod material;
mod nodes;
#[cfg_attr(target_os = "linux", path = "linux.rs")]
mod platform;
mod play;
mod stage;
mod table;
mod trees;

use std::io;
use std::path::{Path, PathBuf};

use self::material::MaterialError;
use self::stage::Stage;
pub(crate) use self::table::Outcome;
use crate::cli::show;
use crate::control::client::AskError;

/// The smallest volume that shows something, in bytes.
pub(crate) const MIN_SIZE_BYTES: u64 = 32 * 1024 * 1024;
/// Room on disk for a volume of one byte, in bytes: the volume, its replica, staged files, history and some more.
const ROOM: u64 = 3;

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The file system or the system refused.
    #[error("cannot {what} {path:?}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The volume.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// A node did not do what it should.
    #[error("node {node}: {what}; it said last:\n  {last}")]
    Node {
        /// Which.
        node: &'static str,
        /// What.
        what: String,
        /// The end of its log.
        last: String,
    },
    /// A daemon said no.
    #[error("node {node}: {source}")]
    Ask {
        /// Which.
        node: &'static str,
        /// What it said.
        source: AskError,
    },
    /// Something is not as it must be for the demo to go on.
    #[error("{0}")]
    Check(String),
}

/// Says what was tried, and on which file.
fn at<T>(what: &'static str, path: &Path, result: io::Result<T>) -> Result<T, DemoError> {
    result.map_err(|source| DemoError::Io { what, path: path.to_owned(), source })
}

/// How the demo is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// About how large the volume is, in bytes.
    pub(crate) size_bytes: u64,
    /// Whether everything stays on disk at the end.
    pub(crate) keep: bool,
    /// Whether nothing is said before the end.
    pub(crate) quiet: bool,
}

/// Plays it, to its end.
///
/// Errors: what hindered it from going on. A check that failed is no error, but part of the outcome.
pub(crate) fn run(options: Options) -> Result<Outcome, DemoError> {
    let temporary = std::env::temp_dir();
    let free = at("look at", &temporary, platform::free_bytes(&temporary))?;
    let needed = options.size_bytes.saturating_mul(ROOM);
    if free < needed {
        return Err(DemoError::Check(format!(
            "{} has {} free, and the demo needs {}: choose another directory with TMPDIR, or a smaller --size",
            temporary.display(),
            show::size(free),
            show::size(needed)
        )));
    }
    let (stage, _curtain) = Stage::open(options.keep)?;
    play::play(&stage, options)
}
