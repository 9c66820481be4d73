//! What bounds the sending rate, behind one wrapper.
//!
//! The wrapper mends a fault of quinn-proto up to 0.11.19 (<https://github.com/quinn-rs/quinn/issues/2785>): a connection that is
//! closed while its congestion window is full never says so, and the peer waits for its time-out. So before closing, the window is
//! opened. To be removed with the release that has the mend.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::RttEstimator;

/// Makes controllers of another factory, wrapped.
pub(super) struct Wrapping<F>(pub(super) Arc<F>);

impl<F: ControllerFactory + Send + Sync + 'static> ControllerFactory for Wrapping<F> {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Wrapped { inner: self.0.clone().build(now, current_mtu), open: Arc::default() })
    }
}

struct Wrapped {
    inner: Box<dyn Controller>,
    /// Shared by all clones, so that it can be set from outside.
    open: Arc<AtomicBool>,
}

/// Lets a connection that is about to be closed say so at once.
pub(super) fn open_window(connection: &quinn::Connection) {
    if let Ok(wrapped) = connection.congestion_state().into_any().downcast::<Wrapped>() {
        wrapped.open.store(true, Ordering::Relaxed);
    }
}

impl Controller for Wrapped {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        // Far above what quinn paces, far below where sums overflow.
        if self.open.load(Ordering::Relaxed) { u64::MAX / 4 } else { self.inner.window() }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { inner: self.inner.clone_box(), open: self.open.clone() })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
