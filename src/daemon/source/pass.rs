//! One pass of a source: its roots, its counters and brakes, what it opens with.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use standin_common::entry::Time;
use standin_common::id::{MirrorId, RootIndex};
use standin_common::link::quic::Connection;
use standin_common::message::{Comparison, MirrorOpening, OrphanLimit, OrphanPolicy, Purpose};
use standin_common::scope::Reason;
use standin_replicator::definition;
use standin_replicator::os::OsVolume;
use standin_replicator::report::Wire;
use standin_replicator::scopes::Scopes;
use standin_replicator::source::hashes::HashLists;
use standin_replicator::source::meter::Meter;
use standin_replicator::source::pace::Pace;
use standin_replicator::source::pass::{Pass, PassError, Passed};
use standin_replicator::source::safety::{self, Remembered, UnsafeRoot};
use standin_replicator::volume::Volume;

use super::layers::Inside;
use super::{Running, SourceSet, carried};
use crate::daemon::clock;

/// So many places of a round are worth one more lane.
const PLACES_FOR_A_LANE: usize = 32;

/// What a pass is about.
pub(super) struct What<'a> {
    pub(super) opening: MirrorOpening,
    /// Whether it was never begun before.
    pub(super) is_new: bool,
    /// In a round: where.
    pub(super) scopes: Option<BTreeMap<RootIndex, Scopes>>,
    /// Whether nothing was noticed since it began.
    pub(super) still: &'a (dyn Fn() -> bool + Sync),
    /// Whether all that was read is of one moment.
    pub(super) of_one_moment: &'a (dyn Fn() -> bool + Sync),
    pub(super) reason: &'a (dyn Fn(bool) -> Reason + Sync),
    pub(super) hashes: Option<&'a HashLists>,
    /// When the pass began whose point the standby has.
    pub(super) since: Option<Time>,
}

impl What<'_> {
    /// A pass over everything of roots that nobody watches, which may have begun before.
    pub(super) fn whole(opening: MirrorOpening, since: Option<Time>) -> Self {
        let (still, of_one_moment, reason) = (&|| true, &|| false, &|_| Reason::Mirror);
        Self { opening, is_new: false, scopes: None, still, of_one_moment, reason, hashes: None, since }
    }
}

impl SourceSet {
    /// A root past its layer; `None` where none is over it.
    pub(super) fn beneath(&self, index: usize) -> io::Result<Option<Inside>> {
        self.layers.as_ref().map_or(Ok(None), |layers| layers.beneath(index))
    }

    /// Opens the roots, after a look at whether they are what they were.
    pub(super) fn open_roots(&self, emptied_is_meant: bool) -> Result<(Vec<OsVolume>, Vec<Remembered>), UnsafeRoot> {
        let before = self.lock().kept.roots.clone();
        let mut volumes = Vec::new();
        let mut remembered = Vec::new();
        for (index, (root, rules)) in self.set().roots.iter().zip(&self.rules).enumerate() {
            let before = before.get(index);
            let unreadable = |source| UnsafeRoot::Unreadable { path: root.path.clone(), source };
            let inside = self.beneath(index).map_err(unreadable)?;
            let (path, seen) = match &inside {
                Some(inside) => {
                    let path = inside.path();
                    let seen = safety::look_beneath(&root.path, (&path, &inside.mount), before, emptied_is_meant)?;
                    (path, seen)
                }
                None => (root.path.clone(), safety::look_at(&root.path, rules, before, emptied_is_meant)?),
            };
            remembered.push(seen);
            volumes.push(OsVolume::open_source(&path).map_err(unreadable)?);
        }
        Ok((volumes, remembered))
    }

    /// The counters and brakes of a mirror: those it has, if it goes on.
    pub(super) fn running(&self, mirror: MirrorId, limit: Option<u64>, connection: &Connection) -> Running {
        let mut state = self.lock();
        let before = state.running.take().filter(|running| running.mirror == mirror);
        let running = Running {
            mirror,
            meter: before.as_ref().map_or_else(|| Arc::new(Meter::default()), |before| before.meter.clone()),
            pace: Arc::new(Pace::new(self.rate(limit, clock::local_time()), self.set().compression)),
            wire_before: before.map_or_else(Wire::default, |before| before.wire_before),
            wire_start: carried(connection),
            limit_bytes_per_second: limit,
            active: true,
        };
        state.running = Some(running.clone());
        // What was to be cut off has ended.
        state.cut_off = None;
        // Stopped or paused between the order and now.
        let ordered = state.kept.job.as_ref().is_some_and(|job| job.mirror == mirror && !job.paused)
            || state.compare.as_ref().is_some_and(|compare| compare.mirror == mirror)
            || state.kept.job.is_none() && state.kept.following.is_some_and(|following| !following.paused);
        if state.stopping || !ordered {
            running.pace.stop();
        }
        running
    }

    pub(super) fn opening<V: Volume>(&self, mirror: MirrorId, volumes: &[V]) -> MirrorOpening {
        MirrorOpening {
            set: self.set().name.clone(),
            generation: self.lock().kept.generation,
            mirror,
            definition: definition::digest(&self.set()),
            roots: volumes.iter().map(Volume::kind).collect(),
            purpose: Purpose::Mirror,
            comparison: Comparison::Difference,
            orphans: OrphanPolicy::Keep,
            orphan_limit: OrphanLimit::Count(0),
            base: None,
        }
    }

    /// Runs a pass. A standby that does not let go of one that failed or was stopped is cut off.
    pub(super) fn pass<V: Volume>(
        &self,
        connection: &Connection,
        running: &Running,
        volumes: &[V],
        what: What<'_>,
    ) -> Result<Passed, PassError> {
        let (pace, meter) = (&running.pace, &running.meter);
        let stopping = || self.cut_off();
        let What { opening, is_new, scopes, still, of_one_moment, reason, hashes, since } = what;
        // A round of a few places is over before further lanes are open.
        let places: Option<usize> = scopes.as_ref().map(|scopes| scopes.values().map(Scopes::len).sum());
        let lanes = usize::from(self.set().lanes).min(places.map_or(usize::MAX, |places| 1 + places / PLACES_FOR_A_LANE));
        let rules = &self.rules;
        let stopping = &stopping;
        let pass = Pass {
            volumes,
            rules,
            opening,
            is_new,
            lanes,
            pace,
            meter,
            scopes,
            since,
            still,
            of_one_moment,
            reason,
            hashes,
            stopping,
        };
        let passed = pass.run(connection);
        self.lock().cut_off = None;
        match passed {
            // Whatever failed after it was stopped failed because of that.
            Err(_) if pace.is_stopped() => Err(PassError::Stopped),
            passed => passed,
        }
    }
}
