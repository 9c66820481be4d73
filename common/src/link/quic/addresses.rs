//! In which order the addresses of a peer are tried: one that just failed comes last.
//!
//! Without I/O and clock.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a failure counts.
const REMEMBERED: Duration = Duration::from_secs(120);
/// How many failures are remembered.
const MOST: usize = 64;

/// Addresses that failed not long ago.
#[derive(Debug, Default)]
pub(super) struct Failures(Vec<(SocketAddr, Instant)>);

impl Failures {
    /// Nothing came back from there, or nothing any more.
    pub(super) fn note(&mut self, now: Instant, address: SocketAddr) {
        self.forget(address);
        self.0.retain(|(_, at)| now.saturating_duration_since(*at) < REMEMBERED);
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push((address, now));
    }

    /// It answered.
    pub(super) fn forget(&mut self, address: SocketAddr) {
        self.0.retain(|(failed, _)| *failed != address);
    }

    /// The addresses in the order in which to try them: as given, then those that failed, the longest ago first. None twice.
    pub(super) fn order(&self, now: Instant, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let failed = |address: &SocketAddr| {
            let found = self.0.iter().find(|(failed, _)| failed == address)?;
            (now.saturating_duration_since(found.1) < REMEMBERED).then_some(found.1)
        };
        let mut ordered: Vec<SocketAddr> = Vec::new();
        for address in addresses {
            if !ordered.contains(address) {
                ordered.push(*address);
            }
        }
        ordered.sort_by_key(failed);
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_comes_last_for_a_while() {
        let [a, b, c] = [1, 2, 3].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut failures = Failures::default();
        assert_eq!(failures.order(start, &[a, b, a, c]), [a, b, c]);
        failures.note(start, a);
        failures.note(start + second, b);
        assert_eq!(failures.order(start + second, &[a, b, c]), [c, a, b]);
        failures.forget(b);
        assert_eq!(failures.order(start + second, &[a, b, c]), [b, c, a]);
        assert_eq!(failures.order(start + REMEMBERED, &[a, b, c]), [a, b, c]);
        for port in 0..1000 {
            failures.note(start, SocketAddr::from(([192, 0, 2, 2], port)));
        }
        assert_eq!(failures.0.len(), MOST);
    }
}
