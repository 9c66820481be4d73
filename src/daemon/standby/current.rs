//! Until when this standby has everything, by its own clock.
//!
//! The source tells it again and again, and waits for each answer. What it says was so when it said it, so after it had the answer before, so
//! after what it said before arrived here. That moment is taken: neither the way of a message nor the source's clock makes it later.

use standin_common::link::quic::Connection;
use standin_common::uptime;

use super::StandbySet;

/// What the source said.
#[derive(Default)]
pub(super) struct Current {
    /// Over which connection it spoke last, and when that arrived: milliseconds of uptime.
    last: Option<(Connection, u64)>,
    /// Until then it is all here.
    until_ms: Option<u64>,
}

/// Until when everything is here: from when the words before these arrived, how old what is lacking was, and what was known.
fn until(before_ms: u64, lacking_ms: u64, known_ms: Option<u64>) -> Option<u64> {
    Some(before_ms.saturating_sub(lacking_ms)).max(known_ms)
}

impl StandbySet {
    /// The source says that all is here that it has had for longer than this.
    pub(in crate::daemon) fn is_current(&self, connection: &Connection, lacking_ms: u64) {
        let now = uptime::now_ms();
        let current = &mut self.lock().current;
        let before = current.last.replace((connection.clone(), now)).filter(|(before, _)| before.is_same(connection));
        if let Some((_, before_ms)) = before {
            current.until_ms = until(before_ms, lacking_ms, current.until_ms);
        }
    }
}

impl Current {
    /// How long ago it was last known that everything was here, in seconds.
    pub(super) fn seconds(&self) -> Option<f64> {
        let until_ms = self.until_ms?;
        Some(uptime::now_ms().saturating_sub(until_ms) as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back_and_is_never_too_late() {
        assert_eq!(until(5_000, 0, None), Some(5_000));
        assert_eq!(until(6_000, 2_000, Some(5_000)), Some(5_000));
        assert_eq!(until(9_000, 2_000, Some(5_000)), Some(7_000));
        assert_eq!(until(1_000, 2_000, None), Some(0));
    }
}
