//! The daemon's end of the control socket: a thread for each client.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use standin_common::id::NodeName;
use standin_replicator::report::SetReport;

use super::platform::{Listener, Stream};
use super::{Answer, Failed, FailedKind, Reply, Request};

/// The longest line of a client, in bytes.
const MAX_LINE: u64 = 64 * 1024;
/// Clients at once.
const MAX_CLIENTS: usize = 64;
/// How long a client that does not read is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers requests, each on a thread of its own.
pub(crate) trait Handler: Send + Sync {
    /// Answers one. What takes time looks at the client from time to time.
    fn handle(&self, request: Request, client: &mut Client) -> Result<Answer, Failed>;
}

/// The accepting thread.
pub(crate) struct Server {
    listener: Arc<Listener>,
    stopping: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Starts to accept.
    pub(crate) fn start(listener: Listener, handler: Arc<dyn Handler>) -> io::Result<Self> {
        let listener = Arc::new(listener);
        let stopping = Arc::new(AtomicBool::new(false));
        let (taking, stop) = (listener.clone(), stopping.clone());
        let accepting = thread::Builder::new().name("control".to_owned()).spawn(move || accept_all(&taking, &stop, &handler))?;
        Ok(Self { listener, stopping, accepting })
    }

    /// Accepts no more.
    pub(crate) fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.listener.wake();
        // A panic was reported where it happened.
        let _ = self.accepting.join();
    }
}

fn accept_all(listener: &Listener, stopping: &AtomicBool, handler: &Arc<dyn Handler>) {
    let clients = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = listener.accept();
        if stopping.load(Ordering::Relaxed) {
            return;
        }
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client of the control socket");
                // Out of file descriptors, perhaps: what is open has to end first.
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        if clients.fetch_add(1, Ordering::Relaxed) >= MAX_CLIENTS {
            clients.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (handler, counted) = (handler.clone(), clients.clone());
        let serve = move || {
            if let Err(error) = Client::new(stream).and_then(|mut client| client.serve(&*handler)) {
                tracing::debug!(%error, "a client of the control socket");
            }
            counted.fetch_sub(1, Ordering::Relaxed);
        };
        if let Err(error) = thread::Builder::new().name("client".to_owned()).spawn(serve) {
            tracing::error!(%error, "cannot start a thread for a client");
            clients.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A client that waits for its answer.
pub(crate) struct Client {
    stream: Stream,
    lines: BufReader<Stream>,
}

impl Client {
    fn new(stream: Stream) -> io::Result<Self> {
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { lines: BufReader::new(stream.try_clone()?), stream })
    }

    fn serve(&mut self, handler: &dyn Handler) -> io::Result<()> {
        let line = self.line()?;
        if line.is_empty() {
            return Ok(());
        }
        let end = match serde_json::from_str(&line) {
            Ok(request) => handler.handle(request, self),
            Err(error) => Err(Failed {
                kind: FailedKind::Usage,
                text: format!("the daemon does not understand this request ({error}): is it of another release?"),
            }),
        };
        self.reply(&end.map_or_else(Reply::Failed, |answer| Reply::Done(Box::new(answer))))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        (&mut self.lines).take(MAX_LINE).read_line(&mut line)?;
        Ok(line)
    }

    fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }

    /// Tells how a set stands; `false` if the client is gone.
    pub(crate) fn progress(&mut self, report: &SetReport) -> bool {
        self.reply(&Reply::Progress(Box::new(report.clone()))).is_ok()
    }

    /// Asks whether this is the node that is waited for; a client that is gone says no.
    pub(crate) fn confirm(&mut self, node: &NodeName, fingerprint: &str) -> bool {
        let asked = self.reply(&Reply::Confirm { node: node.clone(), fingerprint: fingerprint.to_owned() });
        asked.is_ok() && self.line().is_ok_and(|line| line.trim() == "true")
    }

    /// Whether the client has hung up.
    pub(crate) fn is_gone(&mut self) -> bool {
        let look = || -> io::Result<bool> {
            self.stream.set_nonblocking(true)?;
            let ended = self.lines.fill_buf().map(<[u8]>::is_empty);
            self.stream.set_nonblocking(false)?;
            ended
        };
        let mut look = look;
        match look() {
            Ok(ended) => ended,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}
