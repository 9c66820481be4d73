//! The halves of a stream.

use std::io;
use std::sync::Arc;

use quinn::{ReadError, VarInt};
use tokio::io::AsyncReadExt;

use super::runtime::Runtime;
use crate::codec::{CodecError, HEAD_LEN, Head};
use crate::link::{Frame, LinkError, ReceiveHalf, SendHalf};

/// Up to this payload, in bytes, a frame is put together before it is handed over: one call is cheaper than the copy.
const SMALL: usize = 16 * 1024;

/// Sends on a stream of a connection.
#[derive(Debug)]
pub struct QuicSend {
    stream: quinn::SendStream,
    small: Vec<u8>,
    finished: bool,
    runtime: Arc<Runtime>,
}

/// Receives on a stream of a connection.
#[derive(Debug)]
pub struct QuicReceive {
    stream: quinn::RecvStream,
    runtime: Arc<Runtime>,
}

pub(super) fn halves((send, receive): (quinn::SendStream, quinn::RecvStream), runtime: &Arc<Runtime>) -> (QuicSend, QuicReceive) {
    (
        QuicSend { stream: send, small: Vec::new(), finished: false, runtime: runtime.clone() },
        QuicReceive { stream: receive, runtime: runtime.clone() },
    )
}

impl QuicSend {
    /// Streams of a higher priority are sent first; 0 at the beginning.
    pub fn set_priority(&self, priority: i32) -> Result<(), LinkError> {
        self.stream.set_priority(priority).map_err(|_| LinkError::ClosedHere)
    }

    /// Sends what may be no frame.
    #[cfg(test)]
    pub(super) fn write_raw(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let stream = &mut self.stream;
        Ok(self.runtime.wait(stream.write_all(bytes))?)
    }

    /// Finishes, and waits until the peer's machine has everything.
    pub fn finish_and_wait(&mut self) -> Result<(), LinkError> {
        self.finish()?;
        match self.runtime.wait(self.stream.stopped()) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(LinkError::Abandoned),
            Err(quinn::StoppedError::ConnectionLost(why)) => Err(why.into()),
            Err(quinn::StoppedError::ZeroRttRejected) => Err(LinkError::ClosedHere),
        }
    }
}

impl SendHalf for QuicSend {
    fn send(&mut self, header: &[u8], payload: &[u8]) -> Result<(), LinkError> {
        let head = Head::new(header.len(), payload.len())?;
        self.small.clear();
        self.small.extend_from_slice(&head.to_bytes());
        self.small.extend_from_slice(header);
        let rest = if payload.len() <= SMALL {
            self.small.extend_from_slice(payload);
            &[]
        } else {
            payload
        };
        let (stream, small) = (&mut self.stream, &self.small);
        self.runtime.wait(async {
            stream.write_all(small).await?;
            stream.write_all(rest).await
        })?;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), LinkError> {
        if !self.finished {
            self.stream.finish().map_err(|_| LinkError::ClosedHere)?;
            self.finished = true;
        }
        Ok(())
    }
}

impl Drop for QuicSend {
    /// quinn would finish the stream, and the peer would take what is cut off for complete.
    fn drop(&mut self) {
        if !self.finished {
            // An error says that the stream is closed already.
            let _ = self.stream.reset(VarInt::from_u32(0));
        }
    }
}

impl ReceiveHalf for QuicReceive {
    fn receive_into(&mut self, frame: &mut Frame) -> Result<bool, LinkError> {
        let stream = &mut self.stream;
        self.runtime.wait(async {
            let Some(head) = read_head(stream).await? else {
                return Ok(false);
            };
            read_full(stream, &mut frame.header, head.header_len()).await?;
            read_full(stream, &mut frame.payload, head.payload_len()).await?;
            Ok(true)
        })
    }
}

async fn read_head(stream: &mut quinn::RecvStream) -> Result<Option<Head>, LinkError> {
    let mut bytes = [0; HEAD_LEN];
    let mut len = 0;
    while len < HEAD_LEN {
        match stream.read(&mut bytes[len..]).await? {
            Some(read) => len += read,
            None if len == 0 => return Ok(None),
            None => return Err(CodecError::Truncated.into()),
        }
    }
    Ok(Some(Head::parse(bytes)?))
}

/// Reads `len` bytes, which a [`Head`] has bounded, straight into the place where they stay.
async fn read_full(stream: &mut quinn::RecvStream, into: &mut Vec<u8>, len: usize) -> Result<(), LinkError> {
    into.clear();
    into.reserve(len);
    let mut limited = stream.take(len as u64);
    while into.len() < len {
        if limited.read_buf(into).await.map_err(read_error)? == 0 {
            return Err(CodecError::Truncated.into());
        }
    }
    Ok(())
}

/// quinn wraps its errors to fit the general trait.
fn read_error(error: io::Error) -> LinkError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<ReadError>()) {
        Some(inner) => inner.clone().into(),
        None => LinkError::Broken(error.to_string()),
    }
}
