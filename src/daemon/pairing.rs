//! Waiting for a node that pairs, on behalf of a client of the control socket.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use standin_common::id::NodeName;
use standin_common::identity::Fingerprint;
use standin_common::link::CloseCode;
use standin_common::link::quic::Connection;
use standin_common::pairing::{PairError, pair_accept};

use super::peer::Context;
use crate::control::{Answer, Failed, FailedKind};

/// How often it is looked whether the client is still there.
const LOOK: Duration = Duration::from_millis(200);

/// Where connections of strangers arrive.
#[derive(Debug, Default)]
pub(super) struct PairingDesk(Mutex<Option<Sender<Connection>>>);

impl PairingDesk {
    /// Hands on the connection of a stranger; it is closed if nobody waits for one.
    pub(super) fn arrived(&self, connection: Connection) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = waiting.as_ref().is_some_and(|waiting| waiting.send(connection.clone()).is_ok());
        if !taken {
            connection.close(CloseCode::REFUSED, "this node does not wait for pairing");
        }
    }

    fn wait(&self) -> Option<Receiver<Connection>> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_some() {
            return None;
        }
        let (send, receive) = channel();
        *waiting = Some(send);
        Some(receive)
    }

    /// Waits for a node, asks about it, and stores it. `is_gone` ends the waiting.
    pub(super) fn accept(
        &self,
        context: &Context,
        limit: Duration,
        is_gone: &mut dyn FnMut() -> bool,
        confirm: &mut dyn FnMut(&NodeName, &Fingerprint) -> bool,
    ) -> Result<Answer, Failed> {
        let failed = |kind, text: String| Failed { kind, text };
        let arrivals =
            self.wait().ok_or_else(|| failed(FailedKind::Refused, "another pairing is waited for already".to_owned()))?;
        context.gate.open(limit);
        let paired = first_paired(&arrivals, context, Instant::now() + limit, is_gone, confirm);
        context.gate.close();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let (connection, paired) = paired.ok_or_else(|| {
            failed(FailedKind::Unreachable, format!("no node came to be paired with within {} s", limit.as_secs()))
        })?;
        let (node, key) = paired.map_err(|error| failed(FailedKind::Refused, error.to_string()))?;
        let address = connection.path().remote.to_string();
        context.trust.add(&node, key, &address).map_err(|error| failed(FailedKind::Failed, error.to_string()))?;
        Ok(Answer::Paired { node, fingerprint: key.to_string() })
    }
}

type Paired = Result<(NodeName, Fingerprint), PairError>;

/// The first node that says who it is; somebody who only knocked does not end the waiting.
fn first_paired(
    arrivals: &Receiver<Connection>,
    context: &Context,
    deadline: Instant,
    is_gone: &mut dyn FnMut() -> bool,
    confirm: &mut dyn FnMut(&NodeName, &Fingerprint) -> bool,
) -> Option<(Connection, Paired)> {
    while Instant::now() < deadline && !is_gone() {
        let Ok(connection) = arrivals.recv_timeout(LOOK) else { continue };
        match pair_accept(&connection, &context.settings().node.name, confirm) {
            Err(error @ (PairError::Link(_) | PairError::Protocol)) => tracing::warn!(%error, "a node came, but did not pair"),
            paired => return Some((connection, paired)),
        }
    }
    None
}
