//! Services over the layers of capture `ordered`: they do not outlive the daemon.
//!
//! A layer ends with its daemon, and what had files open there gets errors from then on, also when the next daemon has put another layer there. So
//! before the daemon ends, what needs such a volume is stopped, in order; and what still runs when it begins is stopped, too: it is
//! on a layer that is dead, or writes beneath the new one, unseen. What should be online is started afterwards, as after any start.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use standin_common::id::ResourceName;
use standin_config::Capture;
use standin_failover::resource::Condition;

use super::desk::Desk;
use crate::daemon::Daemon;
use crate::daemon::source::SourceSet;

/// Between attempts to put the layers there.
const AGAIN: Duration = Duration::from_secs(1);
/// So many, where a run is to be gone on with: it may be what makes them possible.
const ATTEMPTS: u32 = 5;

/// The ordered sets of a group of which this node is the source, and what needs them, in the order of the starts.
fn upon(daemon: &Daemon, desk: &Desk) -> (Vec<Arc<SourceSet>>, Vec<ResourceName>) {
    let (group, mut sets, mut needing) = (desk.local().group(), Vec::new(), Vec::new());
    for part in &group.resources {
        let source = part.set.as_ref().and_then(|set| daemon.source(set));
        if let Some(source) = source.filter(|source| source.set().capture == Capture::Ordered) {
            sets.push(source);
            needing.push(group.with_dependents(&part.name));
        }
    }
    let is_upon =
        |name: &&ResourceName| needing.iter().any(|with| with.contains(*name)) && desk.local().resources().contains_key(*name);
    (sets, group.resources.iter().map(|part| &part.name).filter(is_upon).cloned().collect())
}

fn is_here(desk: &Desk) -> bool {
    desk.local().state().online.as_ref() == Some(desk.local().node())
}

/// Whether a run has the group.
fn is_claimed(desk: &Desk) -> bool {
    desk.local().state().claim.is_some()
}

/// Before the daemon ends.
pub(super) fn end(daemon: &Daemon, desk: &Desk) {
    // A run that goes on without the daemon finds what runs stopped when that is back.
    if !is_claimed(desk) {
        let (_, names) = upon(daemon, desk);
        stop(desk, &names, "the layers end with the daemon");
    }
}

/// When it begins; returns when nothing is left of before. Also where a run is to be gone on with: it would take what runs on a dead layer for
/// started.
pub(super) fn begin(daemon: &Daemon, desk: &Desk) {
    let (sets, names) = upon(daemon, desk);
    let mut attempts = 0;
    while is_here(desk) && !desk.is_ending() && !(is_claimed(desk) && attempts == ATTEMPTS) {
        attempts += 1;
        // Only with the layers there can it be seen what runs, and what stops it work.
        match sets.iter().try_for_each(|set| set.mount()) {
            Ok(()) => return stop(desk, &names, "it ran before the layers were there"),
            Err(failed) => tracing::warn!(group = %desk.written().name, why = %failed.text, "the layers are not there yet"),
        }
        thread::sleep(AGAIN); // poll
    }
}

fn stop(desk: &Desk, names: &[ResourceName], why: &str) {
    let runs = |name: &&ResourceName| {
        let condition = desk.local().resources().get(*name).map(|resource| resource.condition());
        !matches!(condition, Some(Ok(Condition::Offline)) | None)
    };
    if !is_here(desk) || !names.iter().any(|name| runs(&name)) {
        return;
    }
    let group = &desk.written().name;
    tracing::warn!(%group, "stopped on this node, and to be started again: what needs an ordered volume; {why}");
    if let Err(failed) = desk.local().rest(names, &|| false) {
        tracing::error!(%group, "not all of it was stopped: {}", failed.why);
    }
}
