//! A replica that becomes a plain tree: whatever is being received is cut off first, and what was acknowledged is brought to a point.

use std::sync::PoisonError;
use std::time::Instant;

use standin_common::id::PointNumber;
use standin_common::link::CloseCode;
use standin_replicator::journal::Point;

use super::{END, StandbyError, StandbySet};

impl StandbySet {
    /// Makes the replica a plain, writable tree.
    pub(in crate::daemon) fn promote(&self, point: Option<PointNumber>) -> Result<Point, StandbyError> {
        let (streams, closed) = {
            let mut state = self.lock();
            // No stream begins meanwhile: what it brought would be acknowledged, and not in what is promoted.
            (state.streams, std::mem::replace(&mut state.closed, true))
        };
        if streams {
            // It never ends by itself, and nothing is acknowledged once it was cut off.
            self.cut_off();
        }
        let promoted = self.promote_with_stream(point);
        self.lock().closed = closed;
        let point = promoted?;
        // The source dials again, and is told.
        if let Some(connection) = self.lock().connection.take() {
            connection.close(CloseCode::DONE, "the replica was promoted");
        }
        Ok(point)
    }

    /// Promotes with everything that a stream brought. An older point may be promoted although that cannot be brought to one.
    fn promote_with_stream(&self, point: Option<PointNumber>) -> Result<Point, StandbyError> {
        let replica = self.replica(None)?;
        match (self.recover_stream(&replica), point) {
            (Ok(()), _) => {}
            (Err(error), Some(_)) => {
                tracing::warn!(%error, "what a stream brought since the newest point is not in what is promoted")
            }
            (Err(error), None) => return Err(error.into()),
        }
        Ok(replica.promote(point)?)
    }

    /// Makes the replica a plain, writable tree, for this node to be the source. Whatever is being received is cut off first.
    pub(in crate::daemon) fn take_over(&self, point: Option<PointNumber>) -> Result<Point, StandbyError> {
        self.cut_off();
        let promoted = self.promote(point);
        self.lock().closed = promoted.is_ok();
        promoted
    }

    /// Receives nothing any more.
    fn cut_off(&self) {
        let mut state = self.lock();
        state.closed = true;
        let deadline = Instant::now() + END;
        while let Some(receiving) = state.receiving.clone() {
            receiving.close(CloseCode::DONE, "the standby takes over");
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
