//! The link over QUIC (RFC 9000), with `quinn` behind blocking calls.
//!
//! Participants: the node that dials and the node that accepts, each with an [`Identity`]. Goals: nobody who is not trusted gets
//! anything but a refusal ([`TrustCheck`]); whoever waits is woken when the connection ends; a loopback, a LAN and a long fat line
//! are all filled. Non-goals: resuming sessions, migration of streams between connections (whoever dialled dials again).
//!
//! All sockets are driven by one thread; callers block on their own ones. No call of this module may be made within asynchronous code.

mod accept;
mod addresses;
mod congestion;
mod connection;
mod error;
mod gate;
mod prompt;
mod runtime;
mod socket;
mod stream;
mod tls;
mod tuning;
mod window;

#[cfg(test)]
mod tests;

pub use connection::{Connection, Deadline, PathReport};
pub use socket::Buffers;
pub use stream::{QuicReceive, QuicSend};

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use self::accept::{Reception, WELCOME};
use self::addresses::Failures;
use self::connection::{Established, WeakConnection};
use self::error::local;
use self::runtime::Runtime;
use super::{CloseCode, LinkError};
use crate::identity::{Fingerprint, Identity, SERVER_NAME};

/// How long the last address is tried, and how long one after which others are left.
const DIAL: Duration = Duration::from_secs(5);
const DIAL_FIRST: Duration = Duration::from_secs(2);
/// Connections that were accepted and not yet taken.
const MAX_WAITING: usize = 32;

/// Whom this node lets in. Asked on the link's thread at each handshake, so the answers must come quickly.
pub trait TrustCheck: Send + Sync {
    /// Whether the owner of this certificate is a peer.
    fn trusted(&self, fingerprint: &Fingerprint) -> bool;

    /// Whether a stranger may come now, to be paired with and for nothing else. One at a time is let in.
    fn pairing_open(&self) -> bool;
}

/// What a connection is for; both sides agree on it in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Both sides trust each other.
    Work,
    /// To get to know each other: nothing of the peer is proven but that it has the key of its certificate.
    Pairing,
}

/// Whom a dialler expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// This peer, for work.
    Pinned(Fingerprint),
    /// Anyone, to be paired with.
    AnyForPairing,
}

impl Expect {
    fn purpose(self) -> Purpose {
        match self {
            Self::Pinned(_) => Purpose::Work,
            Self::AnyForPairing => Purpose::Pairing,
        }
    }
}

/// A node's end of all its connections.
#[derive(Debug)]
pub struct Endpoint {
    identity: Arc<Identity>,
    listening: Vec<quinn::Endpoint>,
    /// For dialling, one for each kind of address, made when first needed.
    dialling: Mutex<Vec<(quinn::Endpoint, Buffers)>>,
    /// Where peers did not answer, or do not any more.
    failures: Arc<Mutex<Failures>>,
    arrived: Mutex<mpsc::Receiver<Established>>,
    /// To be closed with the endpoint.
    connections: Mutex<Vec<WeakConnection>>,
    runtime: Arc<Runtime>,
}

impl Endpoint {
    /// Listens on these addresses, on none to dial only.
    pub fn bind(listen: &[SocketAddr], identity: Arc<Identity>, trust: Arc<dyn TrustCheck>) -> Result<Self, LinkError> {
        let runtime = Arc::new(Runtime::start()?);
        let (queue, arrived) = mpsc::channel(MAX_WAITING);
        let pairing = Arc::new(AtomicBool::new(false));
        let reception = |buffers| Reception { trust: trust.clone(), queue: queue.clone(), pairing: pairing.clone(), buffers };
        let server = tls::server(&identity, trust.clone()).map_err(|why| local("set up TLS with this node's identity")(&why))?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(server));
        server.transport_config(tuning::transport());
        let mut listening = Vec::new();
        for address in listen {
            let (endpoint, buffers) = quinn_endpoint(&runtime, &identity, *address, Some(server.clone()))?;
            runtime.handle().spawn(accept::receive_all(endpoint.clone(), reception(buffers)));
            listening.push(endpoint);
        }
        Ok(Self {
            identity,
            listening,
            dialling: Mutex::default(),
            failures: Arc::default(),
            arrived: Mutex::new(arrived),
            connections: Mutex::default(),
            runtime,
        })
    }

    /// The addresses that are listened on, with the ports that were given for port 0.
    pub fn local_addrs(&self) -> Result<Vec<SocketAddr>, LinkError> {
        let address = |endpoint: &quinn::Endpoint| endpoint.local_addr().map_err(|why| local("tell the listening address")(&why));
        self.listening.iter().map(address).collect()
    }

    /// Waits for a connection. `None` when the endpoint is closed, or listens on nothing.
    pub fn accept(&self) -> Option<Connection> {
        loop {
            let established = self.arrived.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()?;
            // Who did not wait to be taken is not worth the caller's time.
            if established.quinn.close_reason().is_none() {
                return Some(self.connection(established));
            }
        }
    }

    fn connection(&self, established: Established) -> Connection {
        let connection = Connection::new(established, self.runtime.clone());
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|other| other.upgrade().is_some());
        connections.push(connection.downgrade());
        connection
    }

    /// Dials the addresses of one peer in turn until one answers, those that failed not long ago last. The last is given 5 s, the
    /// others 2 s each. The error tells of all.
    pub fn dial(&self, addresses: &[SocketAddr], expect: Expect) -> Result<Connection, LinkError> {
        self.dial_within(addresses, expect, DIAL)
    }

    /// The same, with no address given longer than `longest`.
    pub fn dial_within(&self, addresses: &[SocketAddr], expect: Expect, longest: Duration) -> Result<Connection, LinkError> {
        let mut tried = Vec::new();
        let addresses = self.failures().order(Instant::now(), addresses);
        for (at, address) in addresses.iter().enumerate() {
            let patience = if at + 1 < addresses.len() { DIAL_FIRST } else { DIAL };
            match self.dial_one(*address, expect, patience.min(longest)) {
                Ok(established) => {
                    self.failures().forget(*address);
                    self.watch(&established.quinn);
                    return Ok(self.connection(established));
                }
                Err(why) => {
                    self.failures().note(Instant::now(), *address);
                    tried.push((*address, why));
                }
            }
        }
        Err(LinkError::Unreachable(tried))
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the address of a connection that falls silent, so that the next dial tries another first.
    fn watch(&self, connection: &quinn::Connection) {
        let (connection, failures) = (connection.clone(), Arc::downgrade(&self.failures));
        self.runtime.handle().spawn(async move {
            if matches!(connection.closed().await, quinn::ConnectionError::TimedOut)
                && let Some(failures) = failures.upgrade()
            {
                failures.lock().unwrap_or_else(PoisonError::into_inner).note(Instant::now(), connection.remote_address());
            }
        });
    }

    fn dial_one(&self, address: SocketAddr, expect: Expect, patience: Duration) -> Result<Established, LinkError> {
        let (config, seen) =
            tls::client(&self.identity, expect).map_err(|why| local("set up TLS with this node's identity")(&why))?;
        let mut config = quinn::ClientConfig::new(Arc::new(config));
        config.transport_config(tuning::transport());
        let (endpoint, buffers) = self.dialling_endpoint(address)?;
        let dialled = self.runtime.wait(async {
            let connecting = endpoint.connect_with(config, address, SERVER_NAME).map_err(|why| local("dial")(&why))?;
            match tokio::time::timeout(patience, welcomed(connecting)).await {
                Ok(welcomed) => welcomed,
                Err(_) => Err(LinkError::NoAnswer),
            }
        });
        let shown = seen.fingerprint();
        match (dialled, expect, shown) {
            (Ok(quinn), _, Some(peer)) => Ok(Established { quinn, peer, purpose: expect.purpose(), buffers, _slot: None }),
            (Err(_), Expect::Pinned(pinned), Some(peer)) if peer != pinned => {
                Err(LinkError::Refused(format!("another node answers there: its fingerprint is {peer}, expected is {pinned}")))
            }
            (Err(why), _, _) => Err(why),
            (Ok(_), _, None) => Err(LinkError::Broken("the peer showed no certificate".to_owned())),
        }
    }

    /// Dialling has sockets of its own: one that listens on a single address reaches only what that address reaches.
    fn dialling_endpoint(&self, towards: SocketAddr) -> Result<(quinn::Endpoint, Buffers), LinkError> {
        let mut endpoints = self.dialling.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |(endpoint, _): &&(quinn::Endpoint, Buffers)| {
            endpoint.local_addr().is_ok_and(|own| own.is_ipv4() == towards.is_ipv4())
        };
        if let Some(made) = endpoints.iter().find(fits) {
            return Ok(made.clone());
        }
        let any = if towards.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let made = quinn_endpoint(&self.runtime, &self.identity, SocketAddr::new(any, 0), None)?;
        endpoints.push(made.clone());
        Ok(made)
    }

    /// Closes all connections and listens no more; whoever waits for one gets `None`.
    pub fn close(&self, code: CloseCode, reason: &str) {
        for connection in self.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if let Some(connection) = connection.upgrade() {
                connection.close(code, reason);
            }
        }
        let dialling = self.dialling.lock().unwrap_or_else(PoisonError::into_inner);
        for endpoint in self.listening.iter().chain(dialling.iter().map(|(endpoint, _)| endpoint)) {
            endpoint.close(code.0.into(), reason.as_bytes());
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        for endpoint in &self.listening {
            // Connections go on, new ones are not taken: nobody could.
            endpoint.set_server_config(None);
        }
    }
}

/// The handshake, and the acceptor's word that it has let us in.
async fn welcomed(connecting: quinn::Connecting) -> Result<quinn::Connection, LinkError> {
    let connection = connecting.await.map_err(|why| match why {
        // There was no connection that could be lost.
        quinn::ConnectionError::TimedOut => LinkError::NoAnswer,
        why => why.into(),
    })?;
    let mut byte = [0];
    let mut stream = connection.accept_uni().await?;
    match stream.read(&mut byte).await? {
        Some(1) if byte == [WELCOME] => Ok(connection),
        _ => Err(LinkError::Broken("the peer did not say that it lets this node in".to_owned())),
    }
}

fn quinn_endpoint(
    runtime: &Runtime,
    identity: &Identity,
    address: SocketAddr,
    server: Option<quinn::ServerConfig>,
) -> Result<(quinn::Endpoint, Buffers), LinkError> {
    let (socket, buffers) = socket::bind(address)?;
    let _within = runtime.handle().enter();
    let endpoint = quinn::Endpoint::new(tuning::endpoint(identity), server, socket, Arc::new(quinn::TokioRuntime))
        .map_err(|why| local(format!("set up UDP {address}"))(&why))?;
    runtime.keep(endpoint.clone());
    Ok((endpoint, buffers))
}
