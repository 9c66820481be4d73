//! How a source stands, for people and scripts.

use std::time::Duration;

use standin_config::{LocalTime, Rate, Role, Set};
use standin_replicator::acknowledge::{Policy, Reach, Standby};
use standin_replicator::report::{AcknowledgeReport, LayerReport, LimitReport, PeerReport, SetReport};
use standin_replicator::source::state::Phase;

use super::layers::Layers;
use super::streaming::Current;
use super::{Running, SourceSet, State};
use crate::daemon::{clock, path_report};

impl SourceSet {
    /// Sees to it that reports know of everything that changed before this moment.
    pub(in crate::daemon) fn notice(&self) {
        let watch = self.lock().watch.clone();
        if let Some(watch) = watch {
            // A watch that tells no more is found out, and told, by the thread of its own.
            let _ = watch.catch_up();
        }
    }

    /// How it stands.
    pub(in crate::daemon) fn report(&self) -> SetReport {
        // Before the state is locked, for which those may wait that keep a layer busy.
        let layer = self.layers.as_ref().map(Layers::report);
        let state = self.lock();
        let connection = state.connection.as_ref().filter(|connection| !connection.is_closed());
        let doing = state.source.state();
        let said = || state.trouble.clone().or_else(|| state.told.trouble.clone().filter(|_| connection.is_some()));
        let mirror = state.running.as_ref().map(|running| running.meter.progress(running.wire(connection)));
        let set = self.set();
        SetReport {
            trouble: state.source.reason().map(str::to_owned).or_else(said),
            point: state.kept.point.clone(),
            lag: match &state.stream {
                Some(current) => Some(current.lag()),
                None => state.watch.as_ref().map(|watch| watch.lag()),
            },
            followed: state.followed,
            capture: Some(set.capture),
            watch: state.watch.as_ref().map(|watch| watch.report()),
            layer: layer.map(|layer| LayerReport { stream: state.stream.as_ref().and_then(Current::report), ..layer }),
            acknowledge: Some(state.acknowledged(&set)),
            limit: Some(limit_report(&set, state.running.as_ref(), clock::local_time())),
            paused: state.kept.is_paused(),
            reconnect: Some(set.reconnect),
            away_seconds: connection.is_none().then(|| state.away().as_secs_f64()),
            mirror,
            last_mirror: state.last_mirror.clone(),
            peer: PeerReport { node: set.standby.clone(), path: connection.map(path_report) },
            ..SetReport::new(set.name.clone(), Role::Source, state.kept.generation, doing, set.standby.clone())
        }
    }
}

impl State {
    /// Whether the standby can be reached, as far as whoever waits for it is concerned.
    pub(super) fn reach(&self) -> Reach {
        if self.watch.is_none() {
            return Reach::Held(
                "nothing watches the roots, so what changes is only at the source until a mirror ends".to_owned(),
            );
        }
        if matches!(self.source.phase(), Phase::Paused | Phase::Held | Phase::Bad) {
            return Reach::Held(format!("the set is {}", self.source.state().word()));
        }
        let connected = self.connection.as_ref().is_some_and(|connection| !connection.is_closed());
        if connected { Reach::Reached } else { Reach::Away(self.away()) }
    }

    /// For how long the standby has not been reached.
    fn away(&self) -> Duration {
        self.away_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn acknowledged(&self, set: &Set) -> AcknowledgeReport {
        let reach = match self.source.phase() {
            Phase::Hindered => Reach::Held("the standby does not take what is sent".to_owned()),
            // As for whoever waits.
            _ => self
                .stream
                .as_ref()
                .filter(|current| !current.is_over())
                .map_or_else(|| self.reach(), |current| current.stream.reach()),
        };
        let met = Policy::of(set).met(&Standby::<()> { received: None, durable: None, reach });
        AcknowledgeReport { acknowledge: set.acknowledge, on_disconnect: set.on_disconnect, met }
    }
}

/// How fast may be sent now, and until when.
fn limit_report(set: &Set, running: Option<&Running>, now: LocalTime) -> LimitReport {
    match running.and_then(|running| running.limit_bytes_per_second) {
        Some(ordered) => LimitReport { rate: Rate::Limit(ordered), next: None },
        None => LimitReport { rate: set.timetable().rate_at(now), next: set.timetable().next_change(now) },
    }
}
