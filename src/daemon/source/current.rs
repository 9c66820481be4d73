//! What the standby has by now, told to it again and again: so it knows by its own clock how much would be lost with this node.

use std::time::Duration;

use standin_common::message::CurrentAnswer;
use standin_replicator::report::{SetReport, SetState};

use super::SourceSet;
use crate::daemon::peer;

/// Whether the standby has everything if no change is counted in `lag`. A source that is catching up may not have counted all; a stream of
/// operations begins with a point of everything, and misses none.
pub(in crate::daemon) fn counts_all(report: &SetReport) -> bool {
    report.state == SetState::Following || report.layer.as_ref().is_some_and(|layer| layer.stream.is_some())
}

/// How old the oldest change is that the standby lacks; `None` if that is not known.
fn lacking(report: &SetReport) -> Option<Duration> {
    let lag = report.lag.as_ref()?;
    match (report.state, lag.oldest_seconds) {
        (SetState::Following | SetState::CatchingUp, _) if lag.changes == 0 && counts_all(report) => Some(Duration::ZERO),
        (SetState::Following | SetState::CatchingUp, Some(seconds)) => Duration::try_from_secs_f64(seconds).ok(),
        _ => None,
    }
}

impl SourceSet {
    /// Tells the standby how much of what this node has it has, if that is known. The answer is waited for: what is said next was so after it.
    pub(in crate::daemon) fn tell_current(&self) {
        let Some(connection) = self.connection() else { return };
        self.notice();
        let Some(lacking) = lacking(&self.report()) else { return };
        let lacking_ms = u64::try_from(lacking.as_millis()).unwrap_or(u64::MAX);
        match peer::tell_current(&connection, &self.set().name, lacking_ms) {
            Ok(CurrentAnswer::Noted | CurrentAnswer::NotYours) => {}
            Err(error) => tracing::debug!(%error, "the standby was not told that it has everything"),
        }
    }
}

#[cfg(test)]
mod tests {
    use standin_common::id::Generation;
    use standin_config::Role;
    use standin_replicator::report::{Lag, LayerReport, StreamReport};

    use super::*;

    #[test]
    fn nothing_is_said_that_is_not_known() {
        let new = |state| {
            let lag = Some(Lag { changes: 2, oldest_seconds: Some(1.5), ..Lag::default() });
            let report = SetReport::new("mail".parse().unwrap(), Role::Source, Generation(1), state, "beta".parse().unwrap());
            SetReport { lag, ..report }
        };
        assert_eq!(lacking(&new(SetState::Following)), Some(Duration::from_millis(1500)));
        let quiet = SetReport { lag: Some(Lag::default()), ..new(SetState::Following) };
        assert_eq!(lacking(&quiet), Some(Duration::ZERO));
        assert_eq!(lacking(&SetReport { lag: None, ..quiet }), None);
        assert_eq!(lacking(&new(SetState::CatchingUp)), Some(Duration::from_millis(1500)));
        let drained = SetReport { lag: Some(Lag::default()), ..new(SetState::CatchingUp) };
        assert_eq!(lacking(&drained), None);
        let layer = LayerReport { stream: Some(StreamReport::default()), ..LayerReport::default() };
        assert_eq!(lacking(&SetReport { layer: Some(layer), ..drained }), Some(Duration::ZERO));
        assert_eq!(lacking(&new(SetState::Disconnected)), None);
        let unknown = Lag { oldest_seconds: None, changes: 1, ..Lag::default() };
        assert_eq!(lacking(&SetReport { lag: Some(unknown), ..new(SetState::Following) }), None);
    }
}
