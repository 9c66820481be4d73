//! The two ways of a lane over the link: what is sent and counted, and the answers that are taken.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use standin_common::link::talk::{Receiver, Sender};
use standin_common::message::{LaneDown, LaneUp, Position};
use standin_common::tree::{GROUP_LEN, LEAVES_PER_GROUP, Root};

use super::hashes::HashLists;
use super::lane::{GROUPS_AT_ONCE, LaneError, Packing, Sink};
use super::meter::Meter;
use super::pace::Pace;
use super::pass::PassError;
use super::queue::Queue;

/// Whether an answer is no longer than one to all that is asked at once.
fn fits(answer: &LaneUp) -> bool {
    let LaneUp::Compared { groups, differing, .. } = answer else { return true };
    u64::from(*groups) <= GROUPS_AT_ONCE
        && differing.len() <= *groups as usize
        && differing.iter().all(|differing| differing.leaves.len() <= LEAVES_PER_GROUP)
}

/// Hands the answers of the standby to their lane, until there are no more.
pub(super) fn take_answers(mut receive: Receiver, queue: &Queue<'_>, index: usize) {
    let mut answers = Vec::new();
    loop {
        match receive.receive::<LaneUp>() {
            Ok(Some((answer, _))) if fits(&answer) => {
                answers.push(answer);
                if !receive.has_more() {
                    queue.answer(index, std::mem::take(&mut answers));
                }
            }
            Ok(Some(_)) => return queue.fail(PassError::Protocol("it answered more than was asked")),
            Ok(None) => return,
            Err(error) => return queue.fail(error.into()),
        }
    }
}

/// A lane's way to the standby.
pub(super) struct LinkSink<'a> {
    pub(super) send: Sender,
    pub(super) queue: &'a Queue<'a>,
    /// Of the lane.
    pub(super) index: usize,
    /// Whether the standby says of each file how long its own is.
    pub(super) only_compares: bool,
    pub(super) pace: &'a Pace,
    pub(super) lanes: usize,
    pub(super) meter: &'a Meter,
    pub(super) hashes: Option<&'a HashLists>,
    /// Where the files are that are under way.
    pub(super) places: HashMap<u64, Position>,
    /// What they turned out to be, if that is listed.
    pub(super) roots: HashMap<u64, Root>,
}

impl LinkSink<'_> {
    pub(super) fn flush(&mut self) -> Result<(), LaneError> {
        self.send.flush().map_err(LaneError::Cut)
    }

    pub(super) fn done(&mut self, file: u64) -> Option<Position> {
        self.meter.done_files.fetch_add(1, Relaxed);
        self.queue.done(file);
        let at = self.places.remove(&file);
        if let (Some(at), Some(root), Some(hashes)) = (&at, self.roots.remove(&file), self.hashes) {
            hashes.note(at, &root);
        }
        at
    }

    fn count(&self, message: &LaneDown) {
        let (done, data) = match message {
            LaneDown::Small { size: len, .. } | LaneDown::Data { len, .. } => (u64::from(*len), u64::from(*len)),
            LaneDown::Check { end, .. } => (end.size, 0),
            LaneDown::Hole { len, .. } => (*len, 0),
            LaneDown::Groups { values, .. } => (values.len() as u64 * GROUP_LEN as u64, 0),
            LaneDown::Leaves { len, hole, .. } => (0, if *hole { 0 } else { u64::from(*len) }),
            _ => (0, 0),
        };
        self.meter.done_bytes.fetch_add(done, Relaxed);
        self.meter.data_bytes.fetch_add(data, Relaxed);
    }
}

impl Sink for LinkSink<'_> {
    fn packing(&self) -> Option<Packing> {
        Some(self.pace.packing(self.lanes))
    }

    fn send(&mut self, message: &LaneDown, payload: &[u8]) -> Result<(), LaneError> {
        if !self.pace.admit(payload.len()) {
            return Err(LaneError::Stopped);
        }
        match message {
            LaneDown::Small { .. } | LaneDown::Check { .. } | LaneDown::Groups { .. } | LaneDown::End { .. } => {
                self.queue.ask(self.index)
            }
            LaneDown::Begin { .. } if self.only_compares => self.queue.ask(self.index),
            _ => {}
        }
        if let LaneDown::Small { file, .. } | LaneDown::End { file, .. } = message {
            self.queue.told(*file);
        }
        let began = Instant::now();
        self.send.send_later(message, payload).map_err(LaneError::Cut)?;
        self.pace.sent(payload.len(), began.elapsed());
        self.count(message);
        if let (LaneDown::Check { file, end } | LaneDown::End { file, end }, Some(_)) = (message, self.hashes) {
            self.roots.insert(*file, end.root);
        }
        if let LaneDown::Gone { file, why } = message
            && let (Some(at), Some(why)) = (self.done(*file), why)
        {
            self.meter.problem(&at, format!("it cannot be read: {why}; the replica keeps what it had of it"));
        }
        Ok(())
    }
}
