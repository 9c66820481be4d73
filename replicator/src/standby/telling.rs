//! What the standby says to the source, in a mirror as in a comparison: answers on the lanes, and why it ends.

use std::sync::Mutex;

use standin_common::link::talk::{Sender, Talk};
use standin_common::message::{FromStandby, LaneDown, LaneUp};

use super::receive::{ReceiveError, lock};
use super::session::{SessionError, refusal};

/// The way to the source, shared by the threads of a session.
pub(super) struct Telling<'s> {
    send: Mutex<Sender>,
    failed: Mutex<Option<SessionError>>,
    stopping: &'s (dyn Fn() + Sync),
}

impl<'s> Telling<'s> {
    /// Over this stream. `stopping` is told when the session fails.
    pub(super) fn new(send: Sender, stopping: &'s (dyn Fn() + Sync)) -> Self {
        Self { send: Mutex::new(send), failed: Mutex::new(None), stopping }
    }

    /// Says something.
    pub(super) fn tell(&self, message: &FromStandby) -> Result<(), SessionError> {
        Ok(lock(&self.send).send(message, &[])?)
    }

    /// Says that this is all.
    pub(super) fn finish(&self) -> Result<(), SessionError> {
        Ok(lock(&self.send).finish()?)
    }

    /// Says why this ends; the first error is the one that counts.
    pub(super) fn fail(&self, error: SessionError) {
        let mut failed = lock(&self.failed);
        if failed.is_some() {
            return;
        }
        if let SessionError::Receive(error) = &error {
            let mut send = lock(&self.send);
            // If it cannot be told, it is gone, too.
            let _ = send.send(&FromStandby::Stopped(refusal(error)), &[]).and_then(|()| send.finish());
            drop(send);
            (self.stopping)();
        }
        *failed = Some(error);
    }

    /// The error that it ended with.
    pub(super) fn into_failure(self) -> Option<SessionError> {
        self.failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Takes what comes on a lane and answers it, to its end. Answers travel together while more has come already.
pub(super) fn serve_lane(
    (send, receive): &mut Talk,
    mut take: impl FnMut(LaneDown, &[u8]) -> Result<Option<LaneUp>, ReceiveError>,
) -> Result<(), SessionError> {
    while let Some((message, payload)) = receive.receive::<LaneDown>()? {
        if let Some(answer) = take(message, payload)? {
            send.send_later(&answer, &[])?;
        }
        if !receive.has_more() {
            send.flush()?;
        }
    }
    Ok(send.finish()?)
}
