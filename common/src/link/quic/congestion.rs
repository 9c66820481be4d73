//! What bounds the sending rate: [`bbr::Bbr`] behind quinn's trait.
//!
//! It also mends a fault of quinn-proto up to 0.11.19 (<https://github.com/quinn-rs/quinn/issues/2785>): a connection that is closed
//! while its congestion window is full never says so, and the peer waits for its time-out. So before closing, the window is opened.
//! To be removed with the release that has the mend.

mod bbr;
mod filter;
#[cfg(test)]
mod line_sim;
mod sampler;

use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

use self::bbr::Bbr;

/// Makes a controller for each path.
pub(super) struct Bounds {
    /// What may be under way before anything is known of the path, in bytes.
    pub(super) initial_window: u64,
}

impl ControllerFactory for Bounds {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        // Connections that begin together are not to probe together.
        let seed = RandomState::new().hash_one(current_mtu);
        let bbr = Bbr::new(now, current_mtu.into(), self.initial_window, seed);
        Box::new(Bound { bbr, initial_window: self.initial_window, open: Arc::default() })
    }
}

struct Bound {
    bbr: Bbr,
    initial_window: u64,
    /// Shared by all clones, so that it can be set from outside.
    open: Arc<AtomicBool>,
}

/// Lets a connection that is about to be closed say so at once.
pub(super) fn open_window(connection: &quinn::Connection) {
    if let Ok(bound) = connection.congestion_state().into_any().downcast::<Bound>() {
        bound.open.store(true, Ordering::Relaxed);
    }
}

impl Controller for Bound {
    fn on_sent(&mut self, now: Instant, bytes: u64, _: u64) {
        self.bbr.on_sent(now, bytes);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, _: bool, _: &RttEstimator) {
        self.bbr.on_acked(now, sent, bytes);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, _: Option<u64>) {
        self.bbr.on_batch(now, in_flight, app_limited);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.bbr.on_lost(now, sent, lost_bytes, is_persistent_congestion);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.bbr.set_datagram(new_mtu.into());
    }

    fn window(&self) -> u64 {
        // Far above what quinn paces, far below where sums overflow.
        if self.open.load(Ordering::Relaxed) { u64::MAX / 4 } else { self.bbr.window() }
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { bbr: self.bbr.clone(), initial_window: self.initial_window, open: self.open.clone() })
    }

    fn initial_window(&self) -> u64 {
        self.initial_window
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
