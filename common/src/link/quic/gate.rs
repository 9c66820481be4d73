//! Lets bulk wait while something urgent is handed over.
//!
//! quinn sends streams in the order of their priorities, but all of them share what may wait to be sent, and bulk would take each place
//! that becomes free before the urgent stream gets one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// How long bulk waits at most before it hands over a piece: an urgent stream that its peer does not read stops nobody for good.
const PATIENCE: Duration = Duration::from_millis(100);

/// One for each connection.
#[derive(Debug, Default)]
pub(super) struct Gate {
    urgent: AtomicUsize,
    opened: Notify,
}

/// Something urgent is being handed over, as long as this is kept.
pub(super) struct Urgent<'a>(&'a Gate);

impl Gate {
    pub(super) fn urgent(&self) -> Urgent<'_> {
        self.urgent.fetch_add(1, Ordering::SeqCst);
        Urgent(self)
    }

    /// Waits while something urgent is handed over.
    pub(super) async fn pass(&self) {
        let opened = self.opened.notified();
        if self.urgent.load(Ordering::SeqCst) > 0 {
            // Whoever waited long enough goes on all the same.
            let _ = timeout(PATIENCE, opened).await;
        }
    }
}

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        if self.0.urgent.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.opened.notify_waiters();
        }
    }
}
