//! How two nodes that do not know each other yet come to trust each other.
//!
//! Participants: the node that dials, the node that waits ([`Gate::open`]), and a person at each, who compares the fingerprint shown
//! here with the one that the other node says is its own (`standin pair --show`). Goals: nothing is returned, hence nothing stored,
//! on either side unless both persons said yes to the very keys of this connection. Non-goals: secrecy of names, pairing without
//! a person or a fingerprint given beforehand.
//!
//! On one stream: `Hello` both ways; each asks its person; the dialler's `Verdict`, then the acceptor's; the dialler's `Done`. A cut
//! before the last word leaves at most the dialler paired; pairing again mends it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, decode_header, encode_header};
use crate::id::NodeName;
use crate::identity::{Fingerprint, Trust};
use crate::link::quic::{Connection, Purpose, TrustCheck};
use crate::link::{CloseCode, LinkError, ReceiveHalf, SendHalf};

/// The version of this exchange.
const VERSION: u16 = 1;
/// How long the other node may take to say who it is.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// How long the persons may take.
const PERSON_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Why two nodes are not paired.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The connection ended, or what came cannot be read.
    #[error("pairing was interrupted, nothing is stored: {0}")]
    Link(#[from] LinkError),
    /// The connection was made for work.
    #[error("this connection is not one for pairing")]
    NotForPairing,
    /// The two programs pair in different ways.
    #[error("this node pairs in version {here}, the other one in version {there}: bring both to the same release")]
    OtherVersion {
        /// Ours.
        here: u16,
        /// Theirs.
        there: u16,
    },
    /// Both have the same name.
    #[error("the other node is also named {0}: give one of them another name, or check the address")]
    SameName(NodeName),
    /// The person here said no.
    #[error("not confirmed here, nothing is stored")]
    RefusedHere,
    /// The person there said no.
    #[error("not confirmed on {0}, nothing is stored")]
    RefusedThere(NodeName),
    /// The other node did not keep to the exchange.
    #[error("the other node broke the rules of pairing, nothing is stored")]
    Protocol,
}

impl From<CodecError> for PairError {
    fn from(error: CodecError) -> Self {
        Self::Link(error.into())
    }
}

#[derive(Debug, Serialize, Deserialize)]
enum Say {
    Hello { version: u16, node: NodeName },
    Verdict(bool),
    Done,
}

/// Asks a person whether this name and fingerprint are whom they expect.
pub type Confirm<'a> = &'a mut dyn FnMut(&NodeName, &Fingerprint) -> bool;

/// Pairs as the node that dialled; blocks until both persons have answered. What is returned is to be stored.
pub fn pair_dial(
    connection: &Connection,
    my_name: &NodeName,
    confirm: Confirm<'_>,
) -> Result<(NodeName, Fingerprint), PairError> {
    pair(connection, my_name, confirm, Side::Dialler)
}

/// Pairs as the node that was dialled; blocks until both persons have answered. What is returned is to be stored.
pub fn pair_accept(
    connection: &Connection,
    my_name: &NodeName,
    confirm: Confirm<'_>,
) -> Result<(NodeName, Fingerprint), PairError> {
    pair(connection, my_name, confirm, Side::Acceptor)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Dialler,
    Acceptor,
}

fn pair(
    connection: &Connection,
    my_name: &NodeName,
    confirm: Confirm<'_>,
    side: Side,
) -> Result<(NodeName, Fingerprint), PairError> {
    if connection.purpose() != Purpose::Pairing {
        return Err(PairError::NotForPairing);
    }
    let key = connection.peer();
    let hurry = connection.close_after(HELLO_LIMIT, CloseCode::REFUSED, "the other node took too long to say who it is");
    let (mut send, mut receive) = match side {
        Side::Dialler => connection.open()?,
        Side::Acceptor => connection.accept()?,
    };
    let mut talk = Talk { send: &mut send, receive: &mut receive };
    let there = talk.meet(my_name, side)?;
    drop(hurry);
    let _limit = connection.close_after(PERSON_LIMIT, CloseCode::REFUSED, "nobody answered in time");
    let agreed = talk.agree(&there, side, &mut |name| confirm(name, &key));
    // The last word has to arrive before the caller closes the connection. Where it does not, the other side stores nothing.
    let delivered = send.finish_and_wait();
    agreed?;
    if side == Side::Dialler {
        delivered?;
    }
    Ok((there, key))
}

struct Talk<'a> {
    send: &'a mut dyn SendHalf,
    receive: &'a mut dyn ReceiveHalf,
}

impl Talk<'_> {
    fn say(&mut self, say: &Say) -> Result<(), PairError> {
        Ok(self.send.send(&encode_header(say)?, &[])?)
    }

    fn hear(&mut self) -> Result<Say, PairError> {
        let frame = self.receive.receive()?.ok_or(PairError::Protocol)?;
        Ok(decode_header(&frame.header)?)
    }

    /// Who is there.
    fn meet(&mut self, my_name: &NodeName, side: Side) -> Result<NodeName, PairError> {
        let hello = Say::Hello { version: VERSION, node: my_name.clone() };
        if side == Side::Dialler {
            self.say(&hello)?;
        }
        let Say::Hello { version, node } = self.hear()? else {
            return Err(PairError::Protocol);
        };
        if side == Side::Acceptor {
            // Said before anything is checked, so that the dialler comes to the same conclusion.
            self.say(&hello)?;
        }
        if version != VERSION {
            return Err(PairError::OtherVersion { here: VERSION, there: version });
        }
        if node == *my_name {
            return Err(PairError::SameName(node));
        }
        Ok(node)
    }

    /// Both persons' yes, or an error on both sides.
    fn agree(&mut self, there: &NodeName, side: Side, confirm: &mut dyn FnMut(&NodeName) -> bool) -> Result<(), PairError> {
        if !confirm(there) {
            // If they are gone, they have nothing either.
            let _ = self.say(&Say::Verdict(false));
            return Err(PairError::RefusedHere);
        }
        let said = if side == Side::Dialler { self.say(&Say::Verdict(true)) } else { Ok(()) };
        // Heard before `said` is looked at: somebody who said no and went is a no, not a lost connection.
        match self.hear()? {
            Say::Verdict(true) => said?,
            Say::Verdict(false) => return Err(PairError::RefusedThere(there.clone())),
            _ => return Err(PairError::Protocol),
        }
        match side {
            Side::Dialler => {
                self.say(&Say::Done)?;
                Ok(self.send.finish()?)
            }
            Side::Acceptor => {
                self.say(&Say::Verdict(true))?;
                let Say::Done = self.hear()? else {
                    return Err(PairError::Protocol);
                };
                // To its end: a stream that is dropped before looks refused to the dialler.
                self.receive.receive()?.map_or(Ok(()), |_| Err(PairError::Protocol))
            }
        }
    }
}

/// Lets paired peers in, and strangers while somebody waits for one.
#[derive(Debug)]
pub struct Gate {
    trust: Trust,
    open_until: Mutex<Option<Instant>>,
}

impl Gate {
    /// A gate that is open to the peers in this list.
    pub fn new(trust: Trust) -> Self {
        Self { trust, open_until: Mutex::new(None) }
    }

    /// Waits for a stranger from now on, that long.
    pub fn open(&self, limit: Duration) {
        *self.open_until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now().checked_add(limit);
    }

    /// Waits for strangers no longer.
    pub fn close(&self) {
        *self.open_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl TrustCheck for Gate {
    fn trusted(&self, fingerprint: &Fingerprint) -> bool {
        match self.trust.by_fingerprint(fingerprint) {
            Ok(peer) => peer.is_some(),
            Err(why) => {
                tracing::error!(%why, "refused a peer, for the list of peers cannot be read");
                false
            }
        }
    }

    fn pairing_open(&self) -> bool {
        self.open_until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::identity::Identity;
    use crate::link::memory;
    use crate::link::quic::{Endpoint, Expect};

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    fn talk(
        side: Side,
        my_name: &str,
        yes: bool,
        halves: (memory::MemorySend, memory::MemoryReceive),
    ) -> Result<NodeName, PairError> {
        let (mut send, mut receive) = halves;
        let mut talk = Talk { send: &mut send, receive: &mut receive };
        let there = talk.meet(&name(my_name), side)?;
        talk.agree(&there, side, &mut |_| yes)?;
        Ok(there)
    }

    fn both(dialler: (&'static str, bool), acceptor: (&'static str, bool)) -> [Result<NodeName, PairError>; 2] {
        let (here, there) = memory::pair(4);
        let accepting = thread::spawn(move || talk(Side::Acceptor, acceptor.0, acceptor.1, there));
        [talk(Side::Dialler, dialler.0, dialler.1, here), accepting.join().unwrap()]
    }

    #[test]
    fn both_persons_yes_pairs_and_any_no_pairs_nobody() {
        let [dialler, acceptor] = both(("alpha", true), ("beta", true));
        assert_eq!((dialler.unwrap(), acceptor.unwrap()), (name("beta"), name("alpha")));
        let [dialler, acceptor] = both(("alpha", false), ("beta", true));
        assert!(matches!((dialler, acceptor), (Err(PairError::RefusedHere), Err(PairError::RefusedThere(_)))));
        let [dialler, acceptor] = both(("alpha", true), ("beta", false));
        assert!(matches!((dialler, acceptor), (Err(PairError::RefusedThere(_)), Err(PairError::RefusedHere))));
        let [dialler, acceptor] = both(("alpha", false), ("beta", false));
        assert!(matches!((dialler, acceptor), (Err(PairError::RefusedHere), Err(PairError::RefusedHere))));
    }

    #[test]
    fn two_nodes_of_one_name_are_not_paired() {
        let [dialler, acceptor] = both(("alpha", true), ("alpha", true));
        assert!(matches!((dialler, acceptor), (Err(PairError::SameName(_)), Err(PairError::SameName(_)))));
    }

    #[test]
    fn a_bad_name_another_version_or_a_word_out_of_turn_ends_it() {
        for (header, protocol) in [
            (encode_header(&Say::Done).unwrap(), true),
            (encode_header(&Say::Hello { version: 9, node: name("beta") }).unwrap(), false),
            (vec![0, 1, 3, b'.', b'.', b'/'], false),
        ] {
            let ((mut send, _receive), there) = memory::pair(4);
            send.send(&header, &[]).unwrap();
            let ended = talk(Side::Acceptor, "alpha", true, there);
            assert_eq!(matches!(ended, Err(PairError::Protocol)), protocol, "{ended:?}");
            assert!(ended.is_err());
        }
    }

    #[test]
    fn the_gate_is_open_to_strangers_only_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let gate = Gate::new(Trust::new(dir.path()));
        assert!(!gate.pairing_open());
        gate.open(Duration::from_secs(60));
        assert!(gate.pairing_open());
        gate.open(Duration::ZERO);
        assert!(!gate.pairing_open());
        gate.open(Duration::MAX);
        gate.close();
        assert!(!gate.pairing_open());
    }

    struct Node {
        endpoint: Endpoint,
        trust: Trust,
        gate: Arc<Gate>,
        key: Fingerprint,
        name: NodeName,
        address: SocketAddr,
        _dir: tempfile::TempDir,
    }

    fn node(text: &str) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let identity = Arc::new(Identity::load_or_create(dir.path(), &name(text)).unwrap());
        let trust = Trust::new(dir.path());
        let gate = Arc::new(Gate::new(trust.clone()));
        let key = identity.fingerprint();
        let endpoint = Endpoint::bind(&["127.0.0.1:0".parse().unwrap()], identity, gate.clone()).unwrap();
        let address = endpoint.local_addrs().unwrap()[0];
        Node { endpoint, trust, gate, key, name: name(text), address, _dir: dir }
    }

    /// The whole way over real sockets, storing what is returned.
    fn over_quic(a: &Node, b: &Node, a_says: bool, b_says: bool) {
        b.gate.open(Duration::from_secs(60));
        let dialled = a.endpoint.dial(&[b.address], Expect::AnyForPairing).unwrap();
        let accepted = b.endpoint.accept().unwrap();
        let expected = a_says && b_says;
        let store = |node: &Node, paired: Result<(NodeName, Fingerprint), PairError>| {
            assert_eq!(paired.is_ok(), expected, "{paired:?}");
            if let Ok((peer, key)) = paired {
                node.trust.add(&peer, key, "somewhere").unwrap();
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| store(b, pair_accept(&accepted, &b.name, &mut |_, key| b_says && *key == a.key)));
            store(a, pair_dial(&dialled, &a.name, &mut |_, key| a_says && *key == b.key));
        });
        b.gate.close();
    }

    #[test]
    fn paired_nodes_can_work_both_ways_and_unpaired_ones_cannot() {
        let (a, b) = (node("alpha"), node("beta"));
        for (a_says, b_says) in [(true, false), (false, true)] {
            over_quic(&a, &b, a_says, b_says);
            assert!(a.trust.list().unwrap().is_empty() && b.trust.list().unwrap().is_empty());
            assert!(a.endpoint.dial(&[b.address], Expect::Pinned(b.key)).unwrap_err().is_refusal());
        }
        over_quic(&a, &b, true, true);
        for (from, to) in [(&a, &b), (&b, &a)] {
            assert_eq!(from.trust.by_fingerprint(&to.key).unwrap().unwrap().name, to.name);
            let connection = from.endpoint.dial(&[to.address], Expect::Pinned(to.key)).unwrap();
            assert_eq!((connection.purpose(), to.endpoint.accept().unwrap().peer()), (Purpose::Work, from.key));
            let refused = pair_dial(&connection, &from.name, &mut |_, _| true);
            assert!(matches!(refused, Err(PairError::NotForPairing)));
        }
        // Once more is harmless.
        over_quic(&a, &b, true, true);
        assert_eq!((a.trust.list().unwrap().len(), b.trust.list().unwrap().len()), (1, 1));
        // And what is removed is refused from then on.
        b.trust.remove(&a.name).unwrap();
        assert!(a.endpoint.dial(&[b.address], Expect::Pinned(b.key)).unwrap_err().is_refusal());
    }
}
