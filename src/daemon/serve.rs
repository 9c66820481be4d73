//! Serving the peers that dial this node: one thread for each connection, one for each stream.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use standin_common::id::{MirrorId, NodeName, SetName};
use standin_common::link::quic::{Connection, Purpose};
use standin_common::link::talk::{Receiver, Sender, Talk};
use standin_common::link::{CloseCode, LinkError};
use standin_common::message::{
    CurrentAnswer, Heartbeat, Hello, HelloAnswer, MirrorAnswer, MirrorOpening, Opening, PROTOCOL, Refusal, SetAnswer, TakeOver,
    TakeOverAnswer,
};
use standin_common::stream::{StreamAnswer, StreamRefusal};
use standin_replicator::standby::session::Arrivals;

use super::Daemon;
use super::peer::Errand;

/// Takes connections until the endpoint is closed.
pub(super) fn accept_all(daemon: &Arc<Daemon>) {
    while let Some(connection) = daemon.context.endpoint.accept() {
        match connection.purpose() {
            Purpose::Pairing => daemon.pairing.arrived(connection),
            Purpose::Work => {
                let daemon = daemon.clone();
                start("peer", move || serve(daemon, connection));
            }
        }
    }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(run) {
        tracing::error!(%error, "cannot start a thread for a {name}");
    }
}

fn serve(daemon: Arc<Daemon>, connection: Connection) {
    let Ok(Some(peer)) = daemon.context.trust.by_fingerprint(&connection.peer()) else {
        // Removed since the handshake.
        return connection.close(CloseCode::REFUSED, "this node does not trust your key any more");
    };
    tracing::debug!(peer = %peer.name, remote = %connection.path().remote, "connected");
    let served = Served { daemon, peer: peer.name, connection, greeted: AtomicBool::new(false), mirrors: Mutex::default() };
    let served = Arc::new(served);
    loop {
        match served.connection.accept() {
            Ok((send, receive)) => {
                let served = served.clone();
                start("stream", move || served.stream((Sender::new(send), Receiver::new(receive))));
            }
            Err(why) => return tracing::debug!(peer = %served.peer, %why, "connection ended"),
        }
    }
}

/// One connection of a peer that dialled.
struct Served {
    daemon: Arc<Daemon>,
    peer: NodeName,
    connection: Connection,
    greeted: AtomicBool,
    /// The mirrors that run over it, waiting for their lanes.
    mirrors: Mutex<HashMap<MirrorId, Arc<Arrivals>>>,
}

impl Served {
    fn mirrors(&self) -> MutexGuard<'_, HashMap<MirrorId, Arc<Arrivals>>> {
        self.mirrors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stream(&self, talk: Talk) {
        if let Err(why) = self.answer(talk) {
            tracing::debug!(peer = %self.peer, %why, "a stream ended");
            if let LinkError::Codec(_) = why {
                self.connection.close(CloseCode::PROTOCOL, "a message cannot be read");
            }
        }
    }

    fn answer(&self, (mut send, mut receive): Talk) -> Result<(), LinkError> {
        match receive.answer()? {
            Opening::Hello(hello) => {
                send.send(&self.greet(&hello), &[])?;
                send.finish()
            }
            _ if !self.greeted.load(Ordering::Relaxed) => {
                self.connection.close(CloseCode::PROTOCOL, "the first stream must say hello");
                Ok(())
            }
            Opening::Set(set) => {
                send.send(&self.of_set(&set), &[])?;
                send.finish()
            }
            Opening::Password(sent) => {
                let answer = crate::directory::take_password(&self.daemon.context.settings(), &sent);
                tracing::info!(peer = %self.peer, ?answer, "a changed password of the directory");
                send.send(&answer, &[])?;
                send.finish()
            }
            Opening::Roles { set, roles } => {
                self.hear(set.clone(), &roles);
                send.send(&self.of_set(&set), &[])?;
                send.finish()
            }
            Opening::TakeOver(ask) => {
                send.send(&self.take_over(&ask), &[])?;
                send.finish()
            }
            Opening::Group { group, ask } => {
                send.send(&self.daemon.groups.answer(&self.peer, &group, &ask), &[])?;
                send.finish()
            }
            Opening::Heartbeats => {
                while let Some((Heartbeat { number, said }, _)) = receive.receive::<Heartbeat>()? {
                    let said = self.daemon.monitors.heard(&self.peer, &said);
                    send.send(&Heartbeat { number, said }, &[])?;
                }
                send.finish()
            }
            Opening::Current { set, lacking_ms } => {
                send.send(&self.note_current(&set, lacking_ms), &[])?;
                send.finish()
            }
            Opening::Stream(opening) => {
                let standby = self.daemon.standby(&opening.set).filter(|standby| standby.set().source == self.peer);
                let Some(standby) = standby else {
                    send.send(&StreamAnswer::Refused(StreamRefusal::Replica(Refusal::NotYourSet)), &[])?;
                    return send.finish();
                };
                let span = tracing::info_span!("set", set = %opening.set, peer = %self.peer, generation = %opening.generation);
                let _entered = span.enter();
                standby.receive_stream(&self.connection, &opening, (send, receive))
            }
            Opening::Mirror(opening) => self.mirror(opening, (send, receive)),
            Opening::Lane { mirror } => {
                let Some(arrivals) = self.mirrors().get(&mirror).cloned() else {
                    tracing::debug!(peer = %self.peer, "a lane of no mirror");
                    return send.finish();
                };
                if !arrivals.push((send, receive)) {
                    tracing::debug!(peer = %self.peer, "a lane that its mirror has no use for");
                }
                Ok(())
            }
        }
    }

    fn greet(&self, hello: &Hello) -> HelloAnswer {
        if hello.protocol != PROTOCOL {
            let (there, here) = (hello.protocol, PROTOCOL);
            tracing::warn!(peer = %self.peer, there, here, "refused another version of the protocol");
            return HelloAnswer::OtherVersion(PROTOCOL);
        }
        if hello.node != self.peer {
            return HelloAnswer::OtherName { known_as: self.peer.clone() };
        }
        self.greeted.store(true, Ordering::Relaxed);
        self.daemon.heard_of(&self.peer);
        HelloAnswer::Welcome(self.daemon.context.hello())
    }

    /// What the peer may know of a set: everything, if it has a part in it.
    fn of_set(&self, name: &SetName) -> SetAnswer {
        let settings = self.daemon.context.settings();
        let Some(set) = settings.sets.get(name).filter(|set| set.role(&self.peer).is_some()) else {
            return SetAnswer::Unknown;
        };
        if let Some(standby) = self.daemon.standby(name) {
            standby.heard_from(&self.connection);
            standby.try_again();
        }
        let status = self.daemon.peer_status(name);
        match (serde_json::to_string(set), serde_json::to_string(&status)) {
            (Ok(definition), Ok(status)) => SetAnswer::Known { definition, status },
            _ => SetAnswer::Unknown,
        }
    }

    /// What the peer says of who is source is gone by, if it is right.
    fn hear(&self, set: SetName, roles: &str) {
        match serde_json::from_str(roles) {
            Ok(roles) => self.daemon.context.run_errand(Errand::Hear { set, peer: self.peer.clone(), roles }),
            Err(error) => tracing::warn!(peer = %self.peer, %set, %error, "what it says of who is source cannot be read"),
        }
    }

    /// The peer says what of its set is here.
    fn note_current(&self, set: &SetName, lacking_ms: u64) -> CurrentAnswer {
        let standby = self.daemon.standby(set).filter(|standby| standby.set().source == self.peer);
        standby.map_or(CurrentAnswer::NotYours, |standby| {
            standby.is_current(&self.connection, lacking_ms);
            CurrentAnswer::Noted
        })
    }

    /// The peer gave up being source.
    fn take_over(&self, TakeOver { set, point, generation }: &TakeOver) -> TakeOverAnswer {
        let Some(part) = self.daemon.parts.get(set).filter(|part| *part.peer() == self.peer) else {
            return TakeOverAnswer::Refused(format!("there is no set {set} here with {}", self.peer));
        };
        tracing::info!(%set, %point, %generation, peer = %self.peer, "it asks this node to take over");
        let taken = part.take_over(Some(*point), Some(*generation)).map_err(|error| error.to_string());
        let told = taken.and_then(|_| serde_json::to_string(&part.roles()).map_err(|error| error.to_string()));
        told.map_or_else(TakeOverAnswer::Refused, TakeOverAnswer::Taken)
    }

    fn mirror(&self, opening: MirrorOpening, mut talk: Talk) -> Result<(), LinkError> {
        let standby = self.daemon.standby(&opening.set).filter(|standby| standby.set().source == self.peer);
        let Some(standby) = standby else {
            talk.0.send(&MirrorAnswer::Refused(Refusal::NotYourSet), &[])?;
            return talk.0.finish();
        };
        let span = tracing::info_span!("set", set = %opening.set, peer = %self.peer, generation = %opening.generation);
        let _entered = span.enter();
        let mirror = opening.mirror;
        let arrivals = Arc::new(Arrivals::default());
        self.mirrors().insert(mirror, arrivals.clone());
        let ended = standby.receive(&self.connection, opening, talk, &arrivals);
        self.mirrors().remove(&mirror);
        ended
    }
}
