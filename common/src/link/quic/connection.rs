//! A connection to one peer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::Purpose;
use super::congestion::open_window;
use super::gate::Gate;
use super::prompt::{self, LONG};
use super::runtime::Runtime;
use super::socket::Buffers;
use super::stream::{QuicReceive, QuicSend, halves};
use super::tuning::{send_window, window};
use super::window::{Counted, Window};
use crate::identity::Fingerprint;
use crate::link::{CloseCode, LinkError, Priority};

/// How a connection's path does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathReport {
    /// Where the peer is.
    pub remote: SocketAddr,
    /// The round-trip time, as estimated now.
    pub rtt: Duration,
    /// The least round-trip time seen.
    pub min_rtt: Duration,
    /// Bytes sent in UDP datagrams, all included.
    pub sent_bytes: u64,
    /// Bytes received in UDP datagrams, all included.
    pub received_bytes: u64,
    /// Packets taken for lost.
    pub lost_packets: u64,
    /// Bytes that may be under way at once.
    pub congestion_window_bytes: u64,
    /// Bytes of the largest datagram that the path takes.
    pub mtu_bytes: u16,
    /// What the system grants to this side's socket.
    pub buffers: Buffers,
}

/// A connection whose peer is known by its key. Clones are handles to the same one; when the last is dropped, it is closed.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Inner>);

/// See [`Connection::downgrade`].
#[derive(Debug)]
pub(super) struct WeakConnection(Weak<Inner>);

impl WeakConnection {
    pub(super) fn upgrade(&self) -> Option<Connection> {
        self.0.upgrade().map(Connection)
    }
}

/// A handshake that was completed; becomes a [`Connection`] when somebody takes it.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) quinn: quinn::Connection,
    pub(super) peer: Fingerprint,
    pub(super) purpose: Purpose,
    /// Of the socket that it goes over.
    pub(super) buffers: Buffers,
    /// Held, not read: given back with the connection.
    pub(super) _slot: Option<PairingSlot>,
}

#[derive(Debug)]
struct Inner {
    established: Established,
    gate: Arc<Gate>,
    runtime: Arc<Runtime>,
}

impl Connection {
    pub(super) fn new(established: Established, runtime: Arc<Runtime>) -> Self {
        runtime.handle().spawn(keep_up(established.quinn.clone()));
        Self(Arc::new(Inner { established, gate: Arc::default(), runtime }))
    }

    /// A handle that does not keep it open.
    pub(super) fn downgrade(&self) -> WeakConnection {
        WeakConnection(Arc::downgrade(&self.0))
    }

    fn quinn(&self) -> &quinn::Connection {
        &self.0.established.quinn
    }

    /// Opens a stream. The peer gets it with the first frame. Blocks while too many are open.
    pub fn open(&self) -> Result<(QuicSend, QuicReceive), LinkError> {
        self.open_with(Priority::Usual)
    }

    /// Like [`Connection::open`], for what goes before or after the other streams: as long as one of a higher priority has
    /// something to send, those of a lower one send nothing.
    pub fn open_with(&self, priority: Priority) -> Result<(QuicSend, QuicReceive), LinkError> {
        let (mut send, receive) = halves(self.0.runtime.wait(self.quinn().open_bi())?, &self.0.gate, &self.0.runtime);
        send.set_priority(priority)?;
        Ok((send, receive))
    }

    /// Waits for a stream that the peer opens.
    pub fn accept(&self) -> Result<(QuicSend, QuicReceive), LinkError> {
        Ok(halves(self.0.runtime.wait(self.quinn().accept_bi())?, &self.0.gate, &self.0.runtime))
    }

    /// Whether both are handles to the same connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Who the peer is.
    pub fn peer(&self) -> Fingerprint {
        self.0.established.peer
    }

    /// What the connection is for.
    pub fn purpose(&self) -> Purpose {
        self.0.established.purpose
    }

    /// How the path does.
    pub fn path(&self) -> PathReport {
        let stats = self.quinn().stats();
        PathReport {
            remote: self.quinn().remote_address(),
            rtt: stats.path.rtt,
            min_rtt: stats.path.min_rtt,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            lost_packets: stats.path.lost_packets,
            congestion_window_bytes: stats.path.cwnd,
            mtu_bytes: stats.path.current_mtu,
            buffers: self.0.established.buffers,
        }
    }

    /// Closes the connection: whoever waits on it on either side gets an error, and what was sent and not yet received is lost.
    pub fn close(&self, code: CloseCode, reason: &str) {
        close(self.quinn(), code, reason);
    }

    /// Waits until the connection is closed, at most `limit`. Says why it was, `None` if it is not.
    pub fn closed(&self, limit: Duration) -> Option<LinkError> {
        self.0.runtime.wait(async { timeout(limit, self.quinn().closed()).await }).ok().map(LinkError::from)
    }

    /// Closes the connection after `limit`, unless what is returned was dropped before.
    pub fn close_after(&self, limit: Duration, code: CloseCode, reason: &'static str) -> Deadline {
        let quinn = self.quinn().clone();
        let task = self.0.runtime.handle().spawn(async move {
            tokio::time::sleep(limit).await;
            close(&quinn, code, reason);
        });
        Deadline(task)
    }

    /// Why the connection is closed, `None` while it is not.
    pub fn close_reason(&self) -> Option<LinkError> {
        self.quinn().close_reason().map(LinkError::from)
    }

    /// Whether the connection is closed, from whichever side.
    pub fn is_closed(&self) -> bool {
        self.quinn().close_reason().is_some()
    }
}

/// A connection will be closed; dropped, it will not. See [`Connection::close_after`].
#[derive(Debug)]
#[must_use = "dropped at once, it does nothing"]
pub struct Deadline(tokio::task::JoinHandle<()>);

impl Drop for Deadline {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Streams would keep it open, with nobody to close it.
        close(&self.established.quinn, CloseCode::DONE, "done");
    }
}

/// Closing once more would make others forget why it was closed first.
fn close(connection: &quinn::Connection, code: CloseCode, reason: &str) {
    if connection.close_reason().is_none() {
        open_window(connection);
        connection.close(code.0.into(), reason.as_bytes());
    }
}

/// Adapts the windows, and how soon the link's thread runs, as long as the connection lives.
async fn keep_up(connection: quinn::Connection) {
    let count = |connection: &quinn::Connection| {
        let stats = connection.stats();
        Counted {
            at: Instant::now(),
            received_bytes: stats.udp_rx.bytes,
            full: stats.frame_rx.data_blocked,
            min_rtt: stats.path.min_rtt,
        }
    };
    let mut state = Window::new(count(&connection));
    let mut sending = send_window(0);
    let mut is_long = false;
    loop {
        tokio::select! {
            _ = connection.closed() => return,
            () = sleep(state.next_tick()) => {}
        }
        let wanted = send_window(connection.stats().path.cwnd);
        if wanted != sending {
            sending = wanted;
            connection.set_send_window(wanted);
        }
        let counted = count(&connection);
        if !is_long && counted.min_rtt >= LONG {
            is_long = true;
            prompt::raise();
        }
        if let Some(bytes) = state.tick(counted) {
            tracing::debug!(bytes, peer = %connection.remote_address(), "receive window");
            connection.set_receive_window(window(bytes));
        }
    }
}

/// The right to be the one stranger that is being paired with.
#[derive(Debug)]
pub(super) struct PairingSlot(Weak<AtomicBool>);

impl PairingSlot {
    /// Takes the slot, `None` if somebody has it.
    pub(super) fn take(taken: &Arc<AtomicBool>) -> Option<Self> {
        (!taken.swap(true, Ordering::AcqRel)).then(|| Self(Arc::downgrade(taken)))
    }
}

impl Drop for PairingSlot {
    fn drop(&mut self) {
        if let Some(taken) = self.0.upgrade() {
            taken.store(false, Ordering::Release);
        }
    }
}
