//! The command line's end of the control socket.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use standin_common::id::NodeName;
use standin_replicator::report::SetReport;

use super::line::Lines;
use super::{Answer, Failed, Reply, Request, SocketError, platform};

/// Longest reply, in bytes: a report with as many findings as it lists.
const MOST_LINE_BYTES: usize = 64 << 20;

/// How long a daemon may take to read what is asked of it.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody listens.
    #[error(transparent)]
    NotRunning(SocketError),
    /// The socket cannot be used.
    #[error("cannot talk to the daemon: {0}")]
    Socket(SocketError),
    /// Somebody listens and says nothing.
    #[error(
        "the daemon does not answer: it may be stopped or overloaded (its process has the file `daemon.lock` open); nothing is known of what was asked for"
    )]
    Silent,
    /// The daemon went away.
    #[error("the daemon ended before it answered; what it was told to do goes on when it runs again")]
    Ended,
    /// Whoever asked does not wait any more.
    #[error("it is not waited for any more")]
    Interrupted,
    /// What came is no reply.
    #[error("the daemon's answer cannot be read ({0}): is it of another release?")]
    Unreadable(io::Error),
    /// The daemon says no.
    #[error("{}", .0.text)]
    Failed(Failed),
}

/// Whom an asking client listens to while it waits.
pub(crate) struct Waiting<'a> {
    /// Is told how far it is.
    pub(crate) progress: &'a mut dyn FnMut(&SetReport),
    /// Says whether nobody waits any more; is asked a few times a second.
    pub(crate) is_interrupted: &'a dyn Fn() -> bool,
    /// Is asked whether this is the right node.
    pub(crate) confirm: &'a mut dyn FnMut(&NodeName, &str) -> bool,
}

/// Asks the daemon of a state directory, and waits for its answer.
pub(crate) fn ask(state_dir: &Path, request: &Request, waiting: Waiting<'_>) -> Result<Answer, AskError> {
    ask_within(FIRST_ANSWER, state_dir, request, waiting)
}

/// The same, with another limit for the first sign of life.
pub(super) fn ask_within(limit: Duration, state_dir: &Path, request: &Request, waiting: Waiting<'_>) -> Result<Answer, AskError> {
    let stream = platform::connect(state_dir).map_err(|error| match error {
        SocketError::NotRunning => AskError::NotRunning(error),
        _ => AskError::Socket(error),
    })?;
    let mut lines = Lines::new(stream, MOST_LINE_BYTES);
    // A daemon that has no place for us answers without reading; that answer is the one to tell.
    let asked = lines.write(request);
    let until = Instant::now() + limit;
    let mut heard = false;
    loop {
        let read = lines.read(&mut || !(waiting.is_interrupted)() && (heard || Instant::now() < until));
        let silent = !heard && Instant::now() >= until;
        heard = true;
        match read {
            Ok(None) if (waiting.is_interrupted)() => return Err(AskError::Interrupted),
            Ok(None) if silent => return Err(AskError::Silent),
            Ok(Some(Reply::Heard)) => {}
            Ok(Some(Reply::Progress(report))) => (waiting.progress)(&report),
            Ok(Some(Reply::Confirm { node, fingerprint })) => {
                let yes = (waiting.confirm)(&node, &fingerprint);
                lines.write(&yes).map_err(|_| AskError::Ended)?;
            }
            Ok(Some(Reply::Done(answer))) => return Ok(*answer),
            Ok(Some(Reply::Failed(failed))) => return Err(AskError::Failed(failed)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData && asked.is_ok() => return Err(AskError::Unreadable(error)),
            Ok(None) | Err(_) => return Err(AskError::Ended),
        }
    }
}

/// Asks for what is answered at once.
pub(crate) fn ask_at_once(state_dir: &Path, request: &Request) -> Result<Answer, AskError> {
    ask(state_dir, request, Waiting { progress: &mut |_| {}, is_interrupted: &|| false, confirm: &mut |_, _| false })
}
