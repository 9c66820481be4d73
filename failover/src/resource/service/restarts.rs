//! How often something is started again on the same node before that counts as a failure of the node.

use std::time::{Duration, Instant};

/// Counts restarts within a window. Ask [`allows`](Self::allows) before each, with the time; a restart that is allowed counts.
#[derive(Clone, Debug)]
pub struct Restarts {
    limit: usize,
    window: Duration,
    at: Vec<Instant>,
}

impl Restarts {
    /// At most `limit` restarts within any `window`.
    pub fn new(limit: u16, window: Duration) -> Self {
        Self { limit: usize::from(limit), window, at: Vec::new() }
    }

    /// Whether it may be started again now. If so, that counts as done.
    pub fn allows(&mut self, now: Instant) -> bool {
        self.at.retain(|at| now.saturating_duration_since(*at) < self.window);
        let may = self.at.len() < self.limit;
        if may {
            self.at.push(now);
        }
        may
    }

    /// Those that were done do not count any more.
    pub fn forget(&mut self) {
        self.at.clear();
    }

    /// How many are left now.
    pub fn left(&self, now: Instant) -> usize {
        let counted = self.at.iter().filter(|at| now.saturating_duration_since(**at) < self.window).count();
        self.limit.saturating_sub(counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_moves_along() {
        let begin = Instant::now();
        let at = |minutes: u64| begin + Duration::from_secs(minutes * 60);
        let mut restarts = Restarts::new(2, Duration::from_secs(900));
        assert!(restarts.allows(at(0)) && restarts.allows(at(10)));
        assert_eq!(restarts.left(at(10)), 0);
        assert!(!restarts.allows(at(14)));
        // Refusals do not count, so the first has left the window by now.
        assert!(restarts.allows(at(15)));
        assert!(!restarts.allows(at(24)) && restarts.allows(at(25)));
        assert!(!Restarts::new(0, Duration::from_secs(900)).allows(at(0)));
    }
}
