//! Reaching a peer, and being reached: the connection and who is at its other end.

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::de::DeserializeOwned;
use standin_common::id::{NodeName, SetName};
use standin_common::identity::{Identity, Trust, TrustError};
use standin_common::link::quic::{Connection, Endpoint, Expect};
use standin_common::link::talk::Open;
use standin_common::link::{CloseCode, LinkError};
use standin_common::message::{
    CurrentAnswer, Hello, HelloAnswer, Opening, PROTOCOL, Password, PasswordAnswer, SetAnswer, TakeOverAnswer,
};
use standin_common::pairing::Gate;
use standin_config::Settings;

use super::roles::Roles;

/// How long a peer may take for what is answered at once.
const ANSWER: Duration = Duration::from_secs(15);
/// How long it may take for what it asks its own directory before.
const DIRECTORY_ANSWER: Duration = Duration::from_secs(60);
/// How long a standby may take to take over.
const TAKING_OVER: Duration = Duration::from_secs(300);

/// What a thread that serves something leaves to be done, since it may take a while, or end the thread itself.
pub(super) enum Errand {
    /// A peer said who is source of a set.
    Hear { set: SetName, peer: NodeName, roles: Box<Roles> },
    /// The daemon ends.
    End,
}

/// What every part of the daemon may need.
pub(super) struct Context {
    settings: RwLock<Arc<Settings>>,
    pub(super) trust: Trust,
    pub(super) gate: Arc<Gate>,
    pub(super) endpoint: Endpoint,
    errands: Sender<Errand>,
}

/// Why a peer cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    #[error("this node is not paired with {0}: run `standin pair ADDRESS` here, and `standin pair --accept` there")]
    NotPaired(NodeName),
    #[error("the settings have no address of {0}: write [peers.{0}] addresses = [\"HOST:PORT\"]")]
    NoAddress(NodeName),
    #[error("{peer} cannot be reached: {source}")]
    Link { peer: NodeName, source: LinkError },
    #[error("{peer} speaks version {there} of the protocol, this node version {PROTOCOL}: bring both to the same release")]
    OtherVersion { peer: NodeName, there: u16 },
    #[error("{peer} knows this node as {known_as}: correct the name in the settings of one of the two, or pair again")]
    OtherName { peer: NodeName, known_as: NodeName },
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl Context {
    pub(super) fn open(settings: Settings) -> Result<(Self, Receiver<Errand>), String> {
        let state_dir = &settings.node.state_dir;
        let identity = Arc::new(Identity::load(state_dir).map_err(|error| error.to_string())?);
        let trust = Trust::new(state_dir);
        let gate = Arc::new(Gate::new(trust.clone()));
        let mut listen = Vec::new();
        for address in &settings.node.listen {
            listen.extend(address.resolve().map_err(|error| format!("cannot look up the listening address {address}: {error}"))?);
        }
        let endpoint = Endpoint::bind(&listen, identity, gate.clone()).map_err(|error| error.to_string())?;
        let (errands, to_do) = mpsc::channel();
        Ok((Self { settings: RwLock::new(Arc::new(settings)), trust, gate, endpoint, errands }, to_do))
    }

    /// Leaves something to be done.
    pub(super) fn run_errand(&self, errand: Errand) {
        // At the end of the daemon nobody does it.
        let _ = self.errands.send(errand);
    }

    /// Tells a peer that this node is there.
    pub(super) fn knock(&self, peer: &NodeName) {
        match self.dial(peer) {
            Ok(connection) => connection.close(CloseCode::DONE, "it was to say that this node is there"),
            Err(why) => tracing::debug!(%peer, %why, "did not tell it that this node is there"),
        }
    }

    /// The settings that the daemon runs with now.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes on with other settings.
    pub(super) fn replace_settings(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    pub(super) fn hello(&self) -> Hello {
        Hello { protocol: PROTOCOL, program: env!("CARGO_PKG_VERSION").to_owned(), node: self.settings().node.name.clone() }
    }

    /// Dials a peer and makes sure that both sides speak the same.
    pub(super) fn dial(&self, peer: &NodeName) -> Result<Connection, PeerError> {
        self.dial_at(peer, &self.addresses(peer))
    }

    /// The same, at these addresses only.
    pub(super) fn dial_at(&self, peer: &NodeName, addresses: &[SocketAddr]) -> Result<Connection, PeerError> {
        self.dial_by(peer, |expect| self.endpoint.dial(addresses, expect), addresses)
    }

    /// The same as `dial`, each address for this long at most.
    pub(super) fn dial_briefly(&self, peer: &NodeName, longest: Duration) -> Result<Connection, PeerError> {
        let addresses = self.addresses(peer);
        self.dial_by(peer, |expect| self.endpoint.dial_within(&addresses, expect, longest), &addresses)
    }

    fn dial_by(
        &self,
        peer: &NodeName,
        dial: impl FnOnce(Expect) -> Result<Connection, LinkError>,
        addresses: &[SocketAddr],
    ) -> Result<Connection, PeerError> {
        let known = self.trust.by_name(peer)?.ok_or_else(|| PeerError::NotPaired(peer.clone()))?;
        if addresses.is_empty() {
            return Err(PeerError::NoAddress(peer.clone()));
        }
        let link = |source| PeerError::Link { peer: peer.clone(), source };
        let connection = dial(Expect::Pinned(known.fingerprint)).map_err(link)?;
        match self.greet(&connection).map_err(link)? {
            HelloAnswer::Welcome(_) => Ok(connection),
            HelloAnswer::OtherVersion(there) => Err(PeerError::OtherVersion { peer: peer.clone(), there }),
            HelloAnswer::OtherName { known_as } => Err(PeerError::OtherName { peer: peer.clone(), known_as }),
        }
    }

    fn greet(&self, connection: &Connection) -> Result<HelloAnswer, LinkError> {
        ask(connection, &Opening::Hello(self.hello()), ANSWER)
    }

    /// Every address that the peer's names lead to now; a name that leads nowhere is logged.
    fn addresses(&self, peer: &NodeName) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        let settings = self.settings();
        for address in settings.peers.get(peer).map_or(&[][..], |peer| &peer.addresses) {
            match address.resolve() {
                Ok(addresses) => found.extend(addresses),
                Err(why) => tracing::warn!(%peer, %address, %why, "cannot look up an address"),
            }
        }
        found
    }
}

/// Asks the peer at the other end what it knows of a set.
pub(super) fn ask_of_set(connection: &Connection, set: &SetName) -> Result<SetAnswer, LinkError> {
    ask(connection, &Opening::Set(set.clone()), ANSWER)
}

/// Gives the peer at the other end a changed password of the directory.
pub(super) fn pass_password(connection: &Connection, password: &Password) -> Result<PasswordAnswer, LinkError> {
    ask(connection, &Opening::Password(password.clone()), DIRECTORY_ANSWER)
}

/// Tells the peer at the other end who is source of a set, and asks what it knows of it.
pub(super) fn tell_roles(connection: &Connection, set: &SetName, roles: &Roles) -> Result<SetAnswer, LinkError> {
    // Plain data always serialises; should it not, the peer says what it knows.
    let roles = serde_json::to_string(roles).unwrap_or_default();
    ask(connection, &Opening::Roles { set: set.clone(), roles }, ANSWER)
}

/// Tells the standby at the other end how old the oldest change is that it lacks.
pub(super) fn tell_current(connection: &Connection, set: &SetName, lacking_ms: u64) -> Result<CurrentAnswer, LinkError> {
    ask(connection, &Opening::Current { set: set.clone(), lacking_ms }, ANSWER)
}

/// Asks the standby at the other end to take over; the opening is a [`Opening::TakeOver`].
pub(super) fn ask_to_take_over(connection: &Connection, opening: &Opening) -> Result<TakeOverAnswer, LinkError> {
    ask(connection, opening, TAKING_OVER)
}

/// Asks what is answered within `limit`; a peer that does not answer is hung up on.
fn ask<T: DeserializeOwned>(connection: &Connection, question: &Opening, limit: Duration) -> Result<T, LinkError> {
    let _deadline = connection.close_after(limit, CloseCode::DONE, "no answer");
    let asked = || {
        let (mut send, mut receive) = Open::open(connection)?;
        send.send(question, &[])?;
        send.finish()?;
        receive.answer()
    };
    asked().map_err(|error| match error {
        LinkError::ClosedHere => LinkError::Lost("it took the connection and did not answer: is it busy, or does it hang?"),
        error => error,
    })
}
