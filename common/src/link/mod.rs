//! How two nodes are joined: streams of frames, as blocking traits with one real implementation ([`quic`]) and one for tests ([`memory`]).
//!
//! A stream has two halves, each used by one thread at a time. Sending blocks while the peer does not read. A send half that is dropped
//! without [`SendHalf::finish`] tells the peer that the stream was abandoned, never that it ended.

pub mod backoff;
pub mod memory;
pub mod quic;
pub mod talk;

use std::net::SocketAddr;

use crate::codec::CodecError;

/// Which stream goes first when several have something to send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// What fills the line for long, such as the lanes of a mirror.
    Bulk,
    /// Everything else.
    #[default]
    Usual,
    /// Small changes that must not wait for anything.
    Urgent,
}

/// One frame of a stream, see [`crate::codec`]. Kept and received into again and again, its memory is used again too.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The header's bytes: one `postcard` value, see [`crate::codec::decode_header`].
    pub header: Vec<u8>,
    /// Bulk data.
    pub payload: Vec<u8>,
}

/// The half of a stream that sends.
pub trait SendHalf: Send {
    /// Sends one frame. Blocks while the peer does not read; `Ok` says that it was handed over, not that it arrived.
    fn send(&mut self, header: &[u8], payload: &[u8]) -> Result<(), LinkError>;

    /// Like [`SendHalf::send`], but the frame may wait for others until [`SendHalf::flush`] or the next that does not wait.
    fn send_later(&mut self, header: &[u8], payload: &[u8]) -> Result<(), LinkError> {
        self.send(header, payload)
    }

    /// Hands over what waits.
    fn flush(&mut self) -> Result<(), LinkError> {
        Ok(())
    }

    /// Ends the stream after what was sent; more than once is harmless. Closing the connection at once may still lose what was sent.
    fn finish(&mut self) -> Result<(), LinkError>;
}

/// The half of a stream that receives.
pub trait ReceiveHalf: Send {
    /// Receives the next frame into `frame`, whose memory is used again. Blocks; `false` if the peer finished the stream.
    /// After an error or `false`, what `frame` holds means nothing.
    fn receive_into(&mut self, frame: &mut Frame) -> Result<bool, LinkError>;

    /// Whether more has come already than was received, so that it is too early to wait.
    fn has_more(&self) -> bool {
        false
    }

    /// From now on large frames may come a few milliseconds later than they could, for less work.
    fn take_time(&mut self) {}

    /// Receives the next frame; `None` if the peer finished the stream.
    fn receive(&mut self) -> Result<Option<Frame>, LinkError> {
        let mut frame = Frame::default();
        Ok(self.receive_into(&mut frame)?.then_some(frame))
    }
}

/// Why the link could not do what it was asked for. After any of these the stream is of no more use.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// The peer closed the connection.
    #[error("the peer closed the connection: {reason} (code {code})")]
    Closed {
        /// What it said in numbers, see [`CloseCode`].
        code: u32,
        /// What it said in words.
        reason: String,
    },
    /// This side closed the connection.
    #[error("the connection was closed on this side")]
    ClosedHere,
    /// Nothing ever came back from this address.
    #[error("no answer: the node does not run, or a firewall lets no UDP through")]
    NoAnswer,
    /// Nothing was heard from the peer for too long, or it restarted.
    #[error("the connection was lost: {0}")]
    Lost(&'static str),
    /// One of the two sides does not want the other.
    #[error("refused: {0}")]
    Refused(String),
    /// The peer abandoned this stream, or does not read it any more.
    #[error("the peer abandoned the stream")]
    Abandoned,
    /// What came is not a frame, or what was to be sent cannot be one.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The peer, or what is on the way, broke the rules of QUIC.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// No address of the peer led anywhere.
    #[error("{}", unreachable(.0))]
    Unreachable(Vec<(SocketAddr, LinkError)>),
    /// Something on this machine.
    #[error("cannot {attempt}: {why}")]
    Local {
        /// What was attempted, as in "cannot …".
        attempt: String,
        /// How it failed.
        why: String,
    },
}

impl LinkError {
    /// Whether a peer was reached and the two do not trust each other: trying again does not help, pairing does.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Unreachable(tried) => tried.iter().any(|(_, why)| why.is_refusal()),
            _ => false,
        }
    }
}

fn unreachable(tried: &[(SocketAddr, LinkError)]) -> String {
    if tried.is_empty() {
        return "no address to dial".to_owned();
    }
    tried.iter().map(|(address, why)| format!("{address}: {why}")).collect::<Vec<_>>().join("; ")
}

/// Why a connection is closed, as a number on the wire. Others than these may be used by what runs over the link, from 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(pub u32);

impl CloseCode {
    /// Nothing is wrong.
    pub const DONE: Self = Self(0);
    /// The peer is not trusted for what it wants, or came at the wrong time.
    pub const REFUSED: Self = Self(1);
    /// The node stops.
    pub const STOPPING: Self = Self(2);
    /// More connections than can be taken.
    pub const BUSY: Self = Self(3);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(4);
}
