//! Typed messages over a stream: what both sides use instead of frames.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::quic::Connection;
use super::{Frame, LinkError, Priority, ReceiveHalf, SendHalf};
use crate::codec::{decode_header, encode_header};

/// Sends messages.
pub struct Sender(Box<dyn SendHalf>);

/// Receives messages.
pub struct Receiver {
    half: Box<dyn ReceiveHalf>,
    frame: Frame,
}

/// Both halves of a stream.
pub type Talk = (Sender, Receiver);

/// Opens streams to one peer.
pub trait Open: Send + Sync {
    /// A new stream; the peer notices it with the first message.
    fn open(&self) -> Result<Talk, LinkError> {
        self.open_with(Priority::Usual)
    }

    /// A new stream of this priority on this side; the peer notices it with the first message, and chooses its own for its answers.
    fn open_with(&self, priority: Priority) -> Result<Talk, LinkError>;
}

impl Open for Connection {
    fn open_with(&self, priority: Priority) -> Result<Talk, LinkError> {
        let (send, receive) = Connection::open_with(self, priority)?;
        Ok((Sender::new(send), Receiver::new(receive)))
    }
}

impl Sender {
    /// Over this half.
    pub fn new(half: impl SendHalf + 'static) -> Self {
        Self(Box::new(half))
    }

    /// Sends a message with its payload. Blocks while the peer does not read.
    pub fn send(&mut self, message: &impl Serialize, payload: &[u8]) -> Result<(), LinkError> {
        self.0.send(&encode_header(message)?, payload)
    }

    /// Like [`Sender::send`], but the message may wait for others until [`Sender::flush`]. Whoever waits for an answer flushes before.
    pub fn send_later(&mut self, message: &impl Serialize, payload: &[u8]) -> Result<(), LinkError> {
        self.0.send_later(&encode_header(message)?, payload)
    }

    /// Hands over what waits.
    pub fn flush(&mut self) -> Result<(), LinkError> {
        self.0.flush()
    }

    /// Ends the stream after what was sent.
    pub fn finish(&mut self) -> Result<(), LinkError> {
        self.0.finish()
    }
}

impl Receiver {
    /// Over this half.
    pub fn new(half: impl ReceiveHalf + 'static) -> Self {
        Self { half: Box::new(half), frame: Frame::default() }
    }

    /// Waits for the next message; its payload is valid until the next call. `None` if the peer finished the stream.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<(T, &[u8])>, LinkError> {
        if !self.half.receive_into(&mut self.frame)? {
            return Ok(None);
        }
        Ok(Some((decode_header(&self.frame.header)?, &self.frame.payload)))
    }

    /// Whether more has come already than was received.
    pub fn has_more(&self) -> bool {
        self.half.has_more()
    }

    /// From now on large payloads may come a few milliseconds later than they could, for less work.
    pub fn take_time(&mut self) {
        self.half.take_time();
    }

    /// Waits for the answer to what was sent; a stream that ends instead is an error.
    pub fn answer<T: DeserializeOwned>(&mut self) -> Result<T, LinkError> {
        self.receive()?.map(|(message, _)| message).ok_or(LinkError::Abandoned)
    }
}
