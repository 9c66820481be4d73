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
use standin_failover::group::state::GroupState;
use standin_failover::resource::Condition;

use super::desk::Desk;
use crate::daemon::Daemon;
use crate::daemon::source::SourceSet;

/// Between attempts to put the layers there, and to stop what is not on them.
const AGAIN: Duration = Duration::from_secs(1);
/// So many, where a run has the group: it may be what makes them possible.
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

/// Whether the group is here, or a run that may have taken over brings it here.
fn is_here(desk: &Desk) -> bool {
    let (state, here) = (desk.local().state(), Some(desk.local().node()));
    state.online.as_ref() == here || state.claims().any(|claim| claim.to.as_ref() == here)
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
        if let Err(why) = stop(desk, &names, "the layers end with the daemon") {
            tracing::error!(group = %desk.written().name, "not all of it was stopped: {why}");
        }
    }
}

/// When it begins; returns when nothing is left of before. Also where a run is to be gone on with: it would take what runs on a dead layer for
/// started.
pub(super) fn begin(daemon: &Daemon, desk: &Desk) {
    let (sets, names) = upon(daemon, desk);
    if names.is_empty() {
        return;
    }
    // Whoever starts them, a run that is gone on with or a person, stops them first if this does not.
    desk.local().distrust(&names);
    let (mut attempts, mut told, mut tried_at) = (0, None, None);
    // What a run that came after the first attempt has started is on the layers that are there now.
    let may_try = |attempts: u32, tried_at: &Option<GroupState>| {
        let state = desk.local().state();
        let is_as_before = tried_at.as_ref().is_none_or(|before| *before == state);
        is_here(desk) && !desk.is_ending() && is_as_before && (attempts < ATTEMPTS || state.claim.is_none())
    };
    while may_try(attempts, &tried_at) {
        attempts += 1;
        // Only with the layers there can it be seen what runs, and what stops it work.
        let mounted = sets.iter().try_for_each(|set| set.mount());
        let done = mounted
            .map_err(|failed| format!("the layers of its ordered volumes are not there yet: {}", failed.text))
            .and_then(|()| {
                tried_at.get_or_insert_with(|| desk.local().state());
                let stopped = stop(desk, &names, "it ran before the layers were there");
                stopped
                    .map_err(|why| format!("what runs here cannot use its ordered volume any more, and cannot be stopped: {why}"))
            });
        let Err(why) = done else { break };
        if told.as_ref() != Some(&why) {
            tracing::error!(group = %desk.written().name, "{why}");
            desk.tell_failure(Some(why.clone()));
            told = Some(why);
        }
        thread::sleep(AGAIN); // poll
    }
    if told.is_some() {
        desk.tell_failure(None);
    }
}

/// Stops what runs of these.
///
/// Errors: why not all of it is, in words.
fn stop(desk: &Desk, names: &[ResourceName], why: &str) -> Result<(), String> {
    let runs = |name: &&ResourceName| {
        let condition = desk.local().resources().get(*name).map(|resource| resource.condition());
        !matches!(condition, Some(Ok(Condition::Offline)) | None)
    };
    if !is_here(desk) || !names.iter().any(|name| runs(&name)) {
        return Ok(());
    }
    tracing::warn!(group = %desk.written().name, "stopped on this node, and to be started again: what needs an ordered volume; {why}");
    desk.local().rest(names, &|| false).map_err(|failed| failed.why)
}
