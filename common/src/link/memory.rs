//! Streams within one process, for tests: bounded, so that a sender blocks as on a real link.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{Frame, LinkError, ReceiveHalf, SendHalf};
use crate::codec::Head;

/// Two ends of one stream; each side holds at most `frames` frames that were not yet received.
pub fn pair(frames: usize) -> ((MemorySend, MemoryReceive), (MemorySend, MemoryReceive)) {
    let (there, from_here) = sync_channel(frames);
    let (here, from_there) = sync_channel(frames);
    let end = |channel, source| (MemorySend { channel: Some(channel) }, MemoryReceive { source, ended: false });
    (end(there, from_there), end(here, from_here))
}

/// What goes through the channel; its end without `Finished` says that the stream was abandoned.
#[derive(Debug)]
enum Item {
    Frame(Frame),
    Finished,
}

/// Sends to the other end.
#[derive(Debug)]
pub struct MemorySend {
    channel: Option<SyncSender<Item>>,
}

impl SendHalf for MemorySend {
    fn send(&mut self, header: &[u8], payload: &[u8]) -> Result<(), LinkError> {
        Head::new(header.len(), payload.len())?;
        let channel = self.channel.as_ref().ok_or(LinkError::ClosedHere)?;
        let frame = Frame { header: header.to_vec(), payload: payload.to_vec() };
        channel.send(Item::Frame(frame)).map_err(|_| LinkError::Abandoned)
    }

    fn finish(&mut self) -> Result<(), LinkError> {
        match self.channel.take() {
            Some(channel) => channel.send(Item::Finished).map_err(|_| LinkError::Abandoned),
            None => Ok(()),
        }
    }
}

/// Receives from the other end.
#[derive(Debug)]
pub struct MemoryReceive {
    source: Receiver<Item>,
    ended: bool,
}

impl ReceiveHalf for MemoryReceive {
    fn receive_into(&mut self, frame: &mut Frame) -> Result<bool, LinkError> {
        if self.ended {
            return Ok(false);
        }
        match self.source.recv().map_err(|_| LinkError::Abandoned)? {
            Item::Frame(received) => *frame = received,
            Item::Finished => self.ended = true,
        }
        Ok(!self.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_cross_both_ways_and_end() {
        let ((mut send, mut receive), (mut other_send, mut other_receive)) = pair(2);
        send.send(b"h", b"p").unwrap();
        send.finish().unwrap();
        send.finish().unwrap();
        assert_eq!(other_receive.receive().unwrap(), Some(Frame { header: b"h".to_vec(), payload: b"p".to_vec() }));
        assert_eq!(other_receive.receive().unwrap(), None);
        assert_eq!(other_receive.receive().unwrap(), None);
        other_send.send(b"x", b"").unwrap();
        drop(other_send);
        assert!(receive.receive().unwrap().is_some());
        assert!(matches!(receive.receive(), Err(LinkError::Abandoned)));
        assert!(matches!(send.send(b"", b""), Err(LinkError::ClosedHere)));
    }

    #[test]
    fn a_sender_blocks_until_it_is_read_and_wakes_when_the_reader_goes() {
        let ((mut send, _), (_, receive)) = pair(1);
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || (0..100).try_for_each(|_| send.send(b"h", &[0; 10])));
            drop(receive);
            assert!(matches!(sender.join().unwrap(), Err(LinkError::Abandoned)));
        });
    }
}
