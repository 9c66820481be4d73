//! The daemon's end of the control socket.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use standin_common::id::NodeName;
use standin_replicator::report::SetReport;

use super::line::Lines;
use super::platform::{Listener, Stream};
use super::{Answer, Failed, FailedKind, Reply, Request};

/// Clients served at the same time.
const MOST_CLIENTS: usize = 32;
/// Longest line of a client, in bytes.
const MOST_LINE_BYTES: usize = 64 * 1024;
/// How long a client may take to ask.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How long a person may take to answer [`Reply::Confirm`].
const PERSON_LIMIT: Duration = Duration::from_secs(15 * 60);
/// How long [`Server::stop`] waits for the answers under way.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// How long nobody is let in after an error of the listening socket, such as too many open files.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// What does what clients ask for.
pub(crate) trait Handler: Send + Sync {
    /// Does it, on the client's thread; may take long, and should end when [`Client::is_gone`] if only the client wanted it.
    fn handle(&self, request: Request, client: &mut Client) -> Result<Answer, Failed>;
}

/// Who asked.
#[derive(Debug)]
pub(crate) struct Client {
    lines: Lines,
    clients: Arc<Clients>,
    gone: bool,
}

impl Client {
    /// Shows how a set stands. `false` if nobody looks any more.
    pub(crate) fn progress(&mut self, report: &SetReport) -> bool {
        self.say(&Reply::Progress(Box::new(report.clone())))
    }

    /// Asks whether this is the node that is waited for; no answer is a no.
    pub(crate) fn confirm(&mut self, node: &NodeName, fingerprint: &str) -> bool {
        if !self.say(&Reply::Confirm { node: node.clone(), fingerprint: fingerprint.to_owned() }) {
            return false;
        }
        let (clients, until) = (self.clients.clone(), Instant::now() + PERSON_LIMIT);
        let answer = self.lines.read(&mut || !clients.stopping() && Instant::now() < until);
        self.gone |= !matches!(answer, Ok(Some(_)));
        matches!(answer, Ok(Some(true)))
    }

    /// Whether nobody waits for an answer any more, or the daemon is ending.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone || self.clients.stopping() || self.lines.is_hung_up()
    }

    fn say(&mut self, reply: &Reply) -> bool {
        self.gone = self.gone || self.lines.write(reply).is_err();
        !self.is_gone()
    }
}

/// What all clients' threads know of each other.
#[derive(Debug, Default)]
struct Clients {
    stopping: AtomicBool,
    count: Mutex<usize>,
    fewer: Condvar,
}

impl Clients {
    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// A place among the clients, `None` if there are too many.
    fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        (*count < MOST_CLIENTS).then(|| {
            *count += 1;
            Place(self.clone())
        })
    }
}

/// A place among the clients, free again when it is dropped.
struct Place(Arc<Clients>);

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.fewer.notify_all();
    }
}

/// Serves clients until it is stopped or dropped.
pub(crate) struct Server {
    listener: Arc<Listener>,
    clients: Arc<Clients>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Begins to serve, on threads of its own.
    pub(crate) fn start(listener: Listener, handler: Arc<dyn Handler>) -> io::Result<Self> {
        let (listener, clients) = (Arc::new(listener), Arc::new(Clients::default()));
        let (socket, all) = (listener.clone(), clients.clone());
        let accepting =
            thread::Builder::new().name("control".to_owned()).spawn(move || accept_clients(&socket, &all, &handler))?;
        Ok(Self { listener, clients, accepting: Some(accepting) })
    }

    /// Lets nobody in any more, removes the socket, and waits a moment for the answers under way.
    pub(crate) fn stop(mut self) {
        self.shut();
        let count = self.clients.count.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever takes longer is cut off by the end of the process.
        drop(self.clients.fewer.wait_timeout_while(count, STOP_LIMIT, |count| *count > 0));
    }

    fn shut(&mut self) {
        let Some(accepting) = self.accepting.take() else {
            return;
        };
        self.clients.stopping.store(true, Ordering::SeqCst);
        self.listener.shut();
        if accepting.join().is_err() {
            tracing::error!("the thread of the control socket panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut();
    }
}

fn accept_clients(listener: &Listener, clients: &Arc<Clients>, handler: &Arc<dyn Handler>) {
    while !clients.stopping() {
        match listener.accept() {
            Ok(stream) => begin(stream, clients, handler),
            Err(_) if clients.stopping() => {}
            Err(error) => {
                tracing::warn!(%error, "the control socket lets nobody in for a moment");
                thread::sleep(ERROR_PAUSE);
            }
        }
    }
}

fn begin(stream: Stream, clients: &Arc<Clients>, handler: &Arc<dyn Handler>) {
    let place = clients.enter();
    let mut client = Client { lines: Lines::new(stream, MOST_LINE_BYTES), clients: clients.clone(), gone: false };
    let Some(place) = place else {
        let text = format!("{MOST_CLIENTS} commands are being served already: wait for one to end");
        client.say(&Reply::Failed(Failed { kind: FailedKind::Failed, text }));
        return;
    };
    let handler = handler.clone();
    let serving = thread::Builder::new().name("client".to_owned()).spawn(move || {
        let _place = place;
        serve(&mut client, &*handler);
    });
    if let Err(error) = serving {
        tracing::warn!(%error, "no thread for a client of the control socket");
    }
}

fn serve(client: &mut Client, handler: &dyn Handler) {
    let (clients, until) = (client.clients.clone(), Instant::now() + REQUEST_LIMIT);
    let reply = match client.lines.read(&mut || !clients.stopping() && Instant::now() < until) {
        Ok(Some(request)) => {
            client.say(&Reply::Heard);
            match handler.handle(request, client) {
                Ok(answer) => Reply::Done(Box::new(answer)),
                Err(failed) => Reply::Failed(failed),
            }
        }
        // Gone, or too slow.
        Ok(None) => return,
        Err(error) => {
            let text = format!("the daemon does not understand the request ({error}): it may be of another release, restart it");
            Reply::Failed(Failed { kind: FailedKind::Failed, text })
        }
    };
    client.say(&reply);
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
