//! Taking in those who dial: handshakes on the link's thread, until each is a connection that somebody may take.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::connection::{Established, PairingSlot};
use super::socket::Buffers;
use super::{Purpose, TrustCheck, tls};
use crate::link::CloseCode;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at once; from half of it, a dialler must first prove its address, beyond it, it is not answered.
const MAX_HANDSHAKES: usize = 64;
/// What the dialler waits for: TLS tells it that it is done before the acceptor has looked at its certificate.
pub(super) const WELCOME: u8 = 1;

/// What all handshakes of an endpoint share.
#[derive(Clone)]
pub(super) struct Reception {
    pub(super) trust: Arc<dyn TrustCheck>,
    pub(super) queue: Sender<Established>,
    pub(super) pairing: Arc<AtomicBool>,
    /// Of the socket that is listened on.
    pub(super) buffers: Buffers,
}

/// Why somebody is sent away, in the close frame.
type No = (CloseCode, &'static [u8]);

/// Runs until the endpoint is closed.
pub(super) async fn receive_all(endpoint: quinn::Endpoint, reception: Reception) {
    let places = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(place) = places.clone().try_acquire_owned() else {
            incoming.ignore();
            continue;
        };
        if places.available_permits() < MAX_HANDSHAKES / 2 && !incoming.remote_address_validated() {
            // An error says that it cannot be asked to, which `remote_address_validated` has excluded.
            let _ = incoming.retry();
            continue;
        }
        tokio::spawn(receive(incoming, reception.clone(), place));
    }
}

async fn receive(incoming: quinn::Incoming, reception: Reception, place: OwnedSemaphorePermit) {
    let remote = incoming.remote_address();
    let connection = match timeout(HANDSHAKE, async { incoming.accept()?.await }).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(why)) => return tracing::debug!(%remote, %why, "handshake failed"),
        Err(_) => return tracing::debug!(%remote, "handshake took too long"),
    };
    drop(place);
    if let Err((code, reason)) = welcome(&connection, &reception).await {
        tracing::warn!(%remote, reason = %String::from_utf8_lossy(reason), "sent a peer away");
        connection.close(code.0.into(), reason);
    }
}

async fn welcome(connection: &quinn::Connection, reception: &Reception) -> Result<(), No> {
    let broken: No = (CloseCode::PROTOCOL, b"no certificate or protocol");
    let peer = tls::peer_fingerprint(connection).ok_or(broken)?;
    let purpose = tls::purpose(connection).ok_or(broken)?;
    let slot = match purpose {
        Purpose::Work if reception.trust.trusted(&peer) => None,
        Purpose::Work => {
            return Err((CloseCode::REFUSED, b"this node does not trust your key: pair the two nodes (`standin pair`)"));
        }
        Purpose::Pairing if !reception.trust.pairing_open() => {
            return Err((CloseCode::REFUSED, b"this node does not wait for pairing: run `standin pair --accept` on it"));
        }
        Purpose::Pairing => {
            let slot = PairingSlot::take(&reception.pairing);
            Some(slot.ok_or::<No>((CloseCode::REFUSED, b"this node is being paired with another one: try again later"))?)
        }
    };
    let gone: No = (CloseCode::DONE, b"gone");
    let mut stream = connection.open_uni().await.map_err(|_| gone)?;
    stream.write_all(&[WELCOME]).await.map_err(|_| gone)?;
    let established = Established { quinn: connection.clone(), peer, purpose, buffers: reception.buffers, _slot: slot };
    reception.queue.try_send(established).map_err(|_| (CloseCode::BUSY, &b"too many connections"[..]))
}
