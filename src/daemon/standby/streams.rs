//! A standby that receives a stream of operations, and makes points of what an earlier one left in its log.

use standin_common::link::LinkError;
use standin_common::link::quic::Connection;
use standin_common::link::talk::Talk;
use standin_common::message::Refusal;
use standin_common::scope::Reason;
use standin_common::stream::{StreamAnswer, StreamOpening, StreamRefusal};
use standin_replicator::definition;
use standin_replicator::standby::stream::{Limits, Session, StreamError, recover};

use super::{OsReplica, StandbySet};

/// So much of the log may wait at most to be made a point of.
const LOG_BYTES: u64 = 1 << 30;

impl StandbySet {
    /// Receives a stream, to its end, on a thread of its own: it is confined, and of no use for anything else afterwards.
    pub(in crate::daemon) fn receive_stream(
        &self,
        connection: &Connection,
        opening: &StreamOpening,
        mut talk: Talk,
    ) -> Result<(), LinkError> {
        let refuse = |mut talk: Talk, refusal: StreamRefusal| {
            tracing::debug!(%refusal, "a stream is refused");
            talk.0.send(&StreamAnswer::Refused(refusal), &[])?;
            talk.0.finish()
        };
        if opening.definition != definition::digest(&self.set()) {
            return refuse(talk, StreamRefusal::Replica(Refusal::OtherDefinition));
        }
        let Some(_receiving) = self.replace_session(connection) else {
            return refuse(talk, StreamRefusal::Replica(Refusal::Busy));
        };
        self.lock().streams = true;
        let replica = match self.replica(None) {
            Ok(replica) => replica,
            Err(error) => return refuse(talk, StreamRefusal::Replica(Refusal::Failed(error.to_string()))),
        };
        self.confine();
        self.lock().stream_is_kept = true;
        let journal = self.set().journal_limit_bytes;
        let limits = Limits { log_bytes: LOG_BYTES.min(journal), history_bytes: journal, ..Limits::default() };
        let (session, answer) = match Session::open(&replica, &self.rules, opening, limits) {
            Ok(Ok(opened)) => opened,
            Ok(Err(refusal)) => return refuse(talk, refusal),
            Err(error) => {
                self.failed(&error);
                return refuse(talk, StreamRefusal::Replica(Refusal::Failed(error.to_string())));
            }
        };
        talk.0.send(&answer, &[])?;
        tracing::info!(stream = %opening.stream, "a stream of operations");
        self.lock().trouble = None;
        match session.serve(talk, &|| Reason::Passing) {
            Ok(()) => tracing::debug!("the stream ended"),
            Err(StreamError::Link(error)) => tracing::warn!(%error, "the stream was cut off"),
            Err(error) => self.failed(&error),
        }
        Ok(())
    }

    /// A stream could not be received, or made a point of.
    pub(super) fn failed(&self, error: &StreamError) {
        tracing::error!(%error, "the stream failed");
        self.lock().trouble = Some(error.to_string());
    }

    /// Makes a point of what is in the log of a stream, if there is one: what was acknowledged is in the newest point then. The stream may go
    /// on after it, unless another point is made first.
    pub(super) fn recover_stream(&self, replica: &OsReplica) -> Result<(), StreamError> {
        if !self.lock().stream_is_kept {
            return Ok(());
        }
        if let Some(point) = recover(replica, &self.rules)?.and_then(|folded| folded.point) {
            tracing::info!(point = %point.number, consistent = point.consistent, "a recovery point of what a stream had brought");
        }
        self.lock().stream_is_kept = false;
        Ok(())
    }
}
