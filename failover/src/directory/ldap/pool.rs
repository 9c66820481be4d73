//! Connections to controllers, opened when they are needed and again when they broke.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::runtime::Runtime;
use tokio::sync::Mutex as AsyncMutex;

use super::super::{DirectoryError, Entry, Modify, Rename, Search};
use super::connection::{Connection, Page};
use super::locate;
use super::settings::{Endpoint, Limits};
use crate::credentials::Credentials;

/// All connections of one directory, and the thread that drives them.
pub(super) struct Pool {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    tls: Arc<ClientConfig>,
    credentials: Arc<Credentials>,
    name_servers: Vec<IpAddr>,
    pub(super) limits: Limits,
    controllers: Mutex<HashMap<String, Arc<Controller>>>,
    /// The first refusal of the credentials. They are not tried again: that locks accounts.
    refusal: Mutex<Option<DirectoryError>>,
}

/// How long an address is not asked for again.
const ADDRESSES_HOLD: Duration = Duration::from_secs(60);

/// Connections to one port of one controller.
struct Controller {
    endpoint: Endpoint,
    /// Where it last was, and when that was asked: who answered that is often a controller, too, and may be gone with this one.
    addresses: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
    slots: Vec<AsyncMutex<Option<Connection>>>,
    turn: AtomicUsize,
}

/// A connection in use, and where it belongs.
pub(super) struct Lease {
    controller: Arc<Controller>,
    slot: usize,
    connection: Connection,
}

impl Pool {
    /// No connection yet.
    pub(super) fn new(
        tls: Arc<ClientConfig>,
        credentials: Credentials,
        name_servers: Vec<IpAddr>,
        limits: Limits,
    ) -> std::io::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("directory").enable_all().build()?;
        Ok(Self {
            runtime: Some(runtime),
            tls,
            credentials: Arc::new(credentials),
            name_servers,
            limits,
            controllers: Mutex::default(),
            refusal: Mutex::default(),
        })
    }

    /// The controllers that DNS names for a domain.
    pub(super) fn controllers_of(&self, domain: &str, seed: u64) -> Result<Vec<String>, DirectoryError> {
        let (domain, name_servers) = (domain.to_owned(), self.name_servers.clone());
        let server = domain.clone();
        self.run(&server, async move { locate::controllers(&domain, &name_servers, seed).await })
    }

    /// A connection to a controller: the next in turn, opened if it is not.
    pub(super) fn lease(&self, endpoint: &Endpoint) -> Result<Lease, DirectoryError> {
        if let Some(refusal) = lock(&self.refusal).clone() {
            return Err(refusal);
        }
        let controller = lock(&self.controllers).entry(endpoint.to_string()).or_insert_with(|| self.controller(endpoint)).clone();
        let slot = controller.turn.fetch_add(1, Ordering::Relaxed) % controller.slots.len();
        let (tls, credentials) = (self.tls.clone(), self.credentials.clone());
        let (name_servers, limits) = (self.name_servers.clone(), self.limits.clone());
        let opening = controller.clone();
        let leased = self.run(&endpoint.to_string(), async move {
            let mut place = opening.slots[slot].lock().await;
            if let Some(mut connection) = place.clone()
                && !connection.is_closed()
            {
                return Ok(connection);
            }
            let endpoint = &opening.endpoint;
            let addresses = opening.find(&name_servers, limits.connect).await?;
            let connection = Connection::open(endpoint, &addresses, tls, &credentials, &limits).await?;
            Ok(place.insert(connection).clone())
        });
        if let Err(refused @ DirectoryError::Credentials { .. }) = &leased {
            lock(&self.refusal).get_or_insert_with(|| refused.clone());
        }
        Ok(Lease { connection: leased?, controller, slot })
    }

    fn controller(&self, endpoint: &Endpoint) -> Arc<Controller> {
        let slots = (0..self.limits.connections.max(1)).map(|_| AsyncMutex::new(None)).collect();
        Arc::new(Controller { endpoint: endpoint.clone(), addresses: Mutex::default(), slots, turn: AtomicUsize::new(0) })
    }

    /// One page of a search on a leased connection; pages of one search must come over one connection.
    pub(super) fn page(&self, lease: &Lease, search: &Search, cookie: Vec<u8>) -> Result<Page, DirectoryError> {
        self.on(lease, lease.connection.clone().page(search.clone(), self.limits.page, cookie))
    }

    /// A compare-and-swap write.
    pub(super) fn modify(&self, lease: &Lease, modify: &Modify) -> Result<(), DirectoryError> {
        self.on(lease, lease.connection.clone().modify(modify.clone()))
    }

    /// A new object.
    pub(super) fn add(&self, lease: &Lease, entry: &Entry) -> Result<(), DirectoryError> {
        self.on(lease, lease.connection.clone().add(entry.clone()))
    }

    /// A new name.
    pub(super) fn rename(&self, lease: &Lease, rename: &Rename) -> Result<(), DirectoryError> {
        self.on(lease, lease.connection.clone().rename(rename.clone()))
    }

    fn on<T: Send + 'static>(
        &self,
        lease: &Lease,
        work: impl Future<Output = Result<T, DirectoryError>> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        let done = self.run(&lease.controller.endpoint.to_string(), work);
        if matches!(done, Err(DirectoryError::Unreachable { .. } | DirectoryError::Protocol { .. })) {
            // What else comes over this connection can not be told apart from late answers: the next request opens another.
            let (controller, slot) = (lease.controller.clone(), lease.slot);
            self.run("", async move {
                *controller.slots[slot].lock().await = None;
                Ok(())
            })?;
        }
        done
    }

    /// Waits for work that is done on the driving thread. There, a panic over an answer that no server should give ends only the work.
    fn run<T: Send + 'static>(
        &self,
        server: &str,
        work: impl Future<Output = Result<T, DirectoryError>> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        let gone = |why: &str| DirectoryError::Protocol { server: server.to_owned(), why: why.to_owned() };
        let runtime = self.runtime.as_ref().ok_or_else(|| gone("the directory is closed"))?;
        match runtime.block_on(runtime.spawn(work)) {
            Ok(done) => done,
            Err(_) => Err(gone("its answer can not be understood")),
        }
    }
}

impl Controller {
    async fn find(&self, name_servers: &[IpAddr], limit: Duration) -> Result<Vec<SocketAddr>, DirectoryError> {
        let last = lock(&self.addresses).clone();
        match &last {
            Some((asked, known)) if asked.elapsed() < ADDRESSES_HOLD => return Ok(known.clone()),
            _ => {}
        }
        let slow = |_| DirectoryError::Unreachable {
            server: self.endpoint.to_string(),
            why: format!("DNS does not tell where it is within {limit:?}"),
        };
        let asked = locate::addresses(&self.endpoint.host, self.endpoint.domain_port(), name_servers);
        match (tokio::time::timeout(limit, asked).await.map_err(slow).flatten(), last) {
            (Ok(found), _) => {
                *lock(&self.addresses) = Some((Instant::now(), found.clone()));
                Ok(found)
            }
            (Err(_), Some((_, known))) => Ok(known),
            (Err(error), None) => Err(error),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Lease {
    /// The server, for messages.
    pub(super) fn server(&self) -> String {
        self.controller.endpoint.to_string()
    }
}

/// Whoever panicked while holding it left a whole value: every change of these is a single assignment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
