//! What a hostile peer is made of: an identity that is paired, a connection, and messages that the types cannot hold.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use standin_common::codec::encode_header;
use standin_common::entry::{Attrs, Entry, Kind};
use standin_common::identity::{Identity, Trust};
use standin_common::link::quic::{Connection, Endpoint, Expect};
use standin_common::link::talk::{Open, Talk};
use standin_common::message::{Hello, Opening, PROTOCOL};
use standin_common::pairing::Gate;
use standin_common::path::RelPath;

use crate::support::Node;

/// A node's key in the hands of somebody else.
pub(crate) struct Stolen {
    pub(crate) endpoint: Endpoint,
    trust: Trust,
}

impl Stolen {
    /// The identity in this state directory, listening there.
    pub(crate) fn of(state_dir: &Path, listen: &[SocketAddr]) -> Self {
        let identity = Arc::new(Identity::load(state_dir).unwrap());
        let trust = Trust::new(state_dir);
        let endpoint = Endpoint::bind(listen, identity, Arc::new(Gate::new(trust.clone()))).unwrap();
        Self { endpoint, trust }
    }

    /// Dials a node that it is paired with, and says nothing.
    pub(crate) fn dial(&self, node: &Node) -> Connection {
        let known = self.trust.by_name(&node.name.parse().unwrap()).unwrap().unwrap();
        self.endpoint.dial(&[node.listen], Expect::Pinned(known.fingerprint)).unwrap()
    }
}

/// A good hello.
pub(crate) fn hello(node: &str) -> Hello {
    Hello { protocol: PROTOCOL, program: "hostile".to_owned(), node: node.parse().unwrap() }
}

/// Opens a stream with a message.
pub(crate) fn open(connection: &Connection, opening: &Opening) -> Talk {
    let mut talk = Open::open(connection).unwrap();
    talk.0.send(opening, &[]).unwrap();
    talk
}

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

pub(crate) fn attrs(mode: u32) -> Attrs {
    Attrs { mode, ..Attrs::default() }
}

pub(crate) fn entry(at: &str, kind: Kind) -> Entry {
    let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
    Entry { path: path(at), kind, attrs: attrs(mode), linked: false, doubted: false }
}

/// The bytes of a message in which the path `placeholder` is replaced by one of the same length that no path can be.
pub(crate) fn forged(message: &impl Serialize, placeholder: &str, evil: &[u8]) -> Vec<u8> {
    assert_eq!(placeholder.len(), evil.len());
    let mut bytes = encode_header(message).unwrap();
    let at = bytes.windows(evil.len()).position(|window| window == placeholder.as_bytes()).unwrap();
    bytes[at..at + evil.len()].copy_from_slice(evil);
    bytes
}

/// Paths that would lead out of a root.
pub(crate) const EVIL_PATHS: &[&[u8]] = &[
    b"../canary/secret",
    b"a/../../canary/secret",
    b"/etc/passwd",
    b"//etc/passwd",
    b"a//b",
    b"a/",
    b"/",
    b".",
    b"..",
    b"./a",
    b"a/./b",
    b"a\0b",
    b"..\0",
];

/// A path as long as this one.
pub(crate) fn placeholder(evil: &[u8]) -> String {
    "P".repeat(evil.len())
}

/// Bytes that are sent as they are, in the place of a message.
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        // A tuple of bytes is those bytes, in postcard.
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}
