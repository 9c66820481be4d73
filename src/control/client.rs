//! The command line's end of the control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use standin_common::id::NodeName;
use standin_replicator::report::SetReport;

use super::{Answer, Failed, Reply, Request, platform};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody listens.
    #[error("the daemon of this node is not running: start it with `standin run`, or as a service")]
    NotRunning,
    /// The socket cannot be used.
    #[error("cannot talk to the daemon: {0}")]
    Io(#[from] io::Error),
    /// The daemon went away.
    #[error("the daemon ended before it answered; what it was told to do goes on when it runs again")]
    Ended,
    /// What came is no reply.
    #[error("the daemon's answer cannot be read ({0}): is it of another release?")]
    Unreadable(#[from] serde_json::Error),
    /// The daemon says no.
    #[error("{}", .0.text)]
    Failed(Failed),
}

/// Whom an asking client listens to while it waits.
pub(crate) struct Waiting<'a> {
    /// Is told how far it is.
    pub(crate) progress: &'a mut dyn FnMut(&SetReport),
    /// Is asked whether this is the right node.
    pub(crate) confirm: &'a mut dyn FnMut(&NodeName, &str) -> bool,
}

/// Asks the daemon of a state directory, and waits for its answer.
pub(crate) fn ask(state_dir: &Path, request: &Request, waiting: Waiting<'_>) -> Result<Answer, AskError> {
    let mut stream = platform::connect(state_dir).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning,
        _ => AskError::Io(error),
    })?;
    stream.write_all(&super::line(request)?)?;
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Err(AskError::Ended);
        }
        match serde_json::from_str(&line)? {
            Reply::Progress(report) => (waiting.progress)(&report),
            Reply::Confirm { node, fingerprint } => {
                let yes = (waiting.confirm)(&node, &fingerprint);
                stream.write_all(&super::line(&yes)?)?;
            }
            Reply::Done(answer) => return Ok(*answer),
            Reply::Failed(failed) => return Err(AskError::Failed(failed)),
        }
    }
}

/// Asks for what is answered at once.
pub(crate) fn ask_at_once(state_dir: &Path, request: &Request) -> Result<Answer, AskError> {
    ask(state_dir, request, Waiting { progress: &mut |_| {}, confirm: &mut |_, _| false })
}
