//! The halves of a stream.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use quinn::{ReadError, VarInt, WriteError};
use tokio::io::AsyncReadExt;

use super::gate::Gate;
use super::runtime::Runtime;
use crate::codec::{CodecError, HEAD_LEN, Head};
use crate::link::{Frame, LinkError, Priority, ReceiveHalf, SendHalf};

/// Up to this payload, in bytes, a frame is put together before it is handed over: one call is cheaper than the copy.
const SMALL: usize = 16 * 1024;
/// So much may wait for more, in bytes.
const MOST_WAITING: usize = 32 * 1024;
/// Bulk is handed over in pieces of so many bytes, with a look for something urgent before each.
const BULK_PIECE: usize = 256 * 1024;
/// Bytes that are taken from the connection at once: frames are often small, and each call takes the connection's lock.
const READ_AHEAD: usize = 32 * 1024;
/// Who has time and waits for so many bytes of a frame at least, lets them gather, rather than be woken for each datagram and take the
/// connection's lock from the thread that drives it: on a line of 1500-byte datagrams that is a third of the receiver's work and more.
/// quinn wakes even for what comes behind a gap, which nobody can read yet.
const MUCH: usize = 32 * 1024;
/// For how long: a link of 10 Gbit/s fills in this time half of the least window of a connection.
const GATHER: Duration = Duration::from_millis(1);

/// Sends on a stream of a connection.
#[derive(Debug)]
pub struct QuicSend {
    stream: quinn::SendStream,
    /// What waits.
    waiting: Vec<u8>,
    finished: bool,
    priority: Priority,
    gate: Arc<Gate>,
    runtime: Arc<Runtime>,
}

/// Receives on a stream of a connection.
#[derive(Debug)]
pub struct QuicReceive {
    stream: quinn::RecvStream,
    /// What has come: `ahead[taken..]` was not received yet.
    ahead: Vec<u8>,
    taken: usize,
    /// See [`MUCH`].
    has_time: bool,
    runtime: Arc<Runtime>,
}

pub(super) fn halves(
    (send, receive): (quinn::SendStream, quinn::RecvStream),
    gate: &Arc<Gate>,
    runtime: &Arc<Runtime>,
) -> (QuicSend, QuicReceive) {
    let (priority, gate) = (Priority::Usual, gate.clone());
    (
        QuicSend { stream: send, waiting: Vec::new(), finished: false, priority, gate, runtime: runtime.clone() },
        QuicReceive { stream: receive, ahead: Vec::new(), taken: 0, has_time: false, runtime: runtime.clone() },
    )
}

impl QuicSend {
    /// Streams of a higher priority are sent first; [`Priority::Usual`] at the beginning.
    pub fn set_priority(&mut self, priority: Priority) -> Result<(), LinkError> {
        self.priority = priority;
        let number = match priority {
            Priority::Bulk => -1,
            Priority::Usual => 0,
            Priority::Urgent => 1,
        };
        self.stream.set_priority(number).map_err(|_| LinkError::ClosedHere)
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

async fn write(stream: &mut quinn::SendStream, bytes: &[u8], priority: Priority, gate: &Gate) -> Result<(), WriteError> {
    match priority {
        Priority::Bulk => {
            for piece in bytes.chunks(BULK_PIECE) {
                gate.pass().await;
                stream.write_all(piece).await?;
            }
            Ok(())
        }
        Priority::Usual => stream.write_all(bytes).await,
        Priority::Urgent => {
            let _urgent = gate.urgent();
            stream.write_all(bytes).await
        }
    }
}

impl SendHalf for QuicSend {
    fn send(&mut self, header: &[u8], payload: &[u8]) -> Result<(), LinkError> {
        self.send_later(header, payload)?;
        self.flush()
    }

    fn send_later(&mut self, header: &[u8], payload: &[u8]) -> Result<(), LinkError> {
        let head = Head::new(header.len(), payload.len())?;
        self.waiting.extend_from_slice(&head.to_bytes());
        self.waiting.extend_from_slice(header);
        let large = payload.len() > SMALL;
        if !large {
            self.waiting.extend_from_slice(payload);
        }
        if large || self.waiting.len() >= MOST_WAITING {
            self.flush()?;
        }
        if large {
            self.runtime.wait(write(&mut self.stream, payload, self.priority, &self.gate))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        if !self.waiting.is_empty() {
            let written = self.runtime.wait(write(&mut self.stream, &self.waiting, self.priority, &self.gate));
            self.waiting.clear();
            written?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), LinkError> {
        if !self.finished {
            self.flush()?;
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
        let runtime = self.runtime.clone();
        runtime.wait(async {
            let Some(head) = self.head().await? else {
                return Ok(false);
            };
            self.read_full(&mut frame.header, head.header_len()).await?;
            self.read_full(&mut frame.payload, head.payload_len()).await?;
            Ok(true)
        })
    }

    fn has_more(&self) -> bool {
        self.taken < self.ahead.len()
    }

    fn take_time(&mut self) {
        self.has_time = true;
    }
}

impl QuicReceive {
    async fn head(&mut self) -> Result<Option<Head>, LinkError> {
        while self.ahead.len() - self.taken < HEAD_LEN {
            if !self.read_ahead().await? {
                return if self.has_more() { Err(CodecError::Truncated.into()) } else { Ok(None) };
            }
        }
        let mut bytes = [0; HEAD_LEN];
        bytes.copy_from_slice(&self.ahead[self.taken..self.taken + HEAD_LEN]);
        self.taken += HEAD_LEN;
        Ok(Some(Head::parse(bytes)?))
    }

    /// Takes what has come, and waits if that is nothing; `false` at the end of the stream.
    async fn read_ahead(&mut self) -> Result<bool, LinkError> {
        self.ahead.drain(..self.taken);
        self.taken = 0;
        self.ahead.reserve(READ_AHEAD);
        let mut limited = (&mut self.stream).take(READ_AHEAD as u64);
        Ok(limited.read_buf(&mut self.ahead).await.map_err(read_error)? > 0)
    }

    /// Reads `len` bytes, which a [`Head`] has bounded: what has come, and the rest straight into the place where it stays.
    async fn read_full(&mut self, into: &mut Vec<u8>, len: usize) -> Result<(), LinkError> {
        into.clear();
        into.reserve(len);
        let here = len.min(self.ahead.len() - self.taken);
        into.extend_from_slice(&self.ahead[self.taken..self.taken + here]);
        self.taken += here;
        let mut limited = (&mut self.stream).take((len - here) as u64);
        while into.len() < len {
            let gathers = self.has_time && len - into.len() >= MUCH;
            let read = limited.read_buf(into);
            let came = if gathers { gathered(read).await } else { read.await };
            if came.map_err(read_error)? == 0 {
                return Err(CodecError::Truncated.into());
            }
        }
        Ok(())
    }
}

/// Waits as whoever has time: woken, it looks a moment later.
async fn gathered<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut waits = false;
    std::future::poll_fn(|context| {
        if waits {
            std::thread::sleep(GATHER);
        }
        waits = true;
        future.as_mut().poll(context)
    })
    .await
}

/// quinn wraps its errors to fit the general trait.
fn read_error(error: io::Error) -> LinkError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<ReadError>()) {
        Some(inner) => inner.clone().into(),
        None => LinkError::Broken(error.to_string()),
    }
}
