//! What becomes of groups when the daemon is told to end on the node that has them: `at_shutdown`.

#[cfg_attr(target_os = "linux", path = "shutdown/linux.rs")]
mod platform;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use standin_config::group::AtShutdown;
use standin_failover::group::decide::Wish;

use super::asked::Ask;
use super::desk::Desk;
use super::{Groups, health};

/// How long all groups may take to be handed over. The unit's `TimeoutStopSec` leaves half a minute more, for the layers and the link.
const LIMIT: Duration = Duration::from_secs(90);
/// How often it is looked whether a handoff is over.
const LOOK: Duration = Duration::from_millis(200);

/// What the end of the daemon is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The machine is shut down or restarted, or nobody can be asked whether it is.
    Machine,
    /// Only the daemon ends, or is restarted: the services may go on.
    Daemon,
}

impl Groups {
    /// Hands over what is online here and is to be. A group that cannot be handed over in time stays, with what was begun taken back if it can be.
    /// `is_urged` tells that somebody wants the end at once.
    pub(in crate::daemon) fn at_shutdown(&self, is_urged: &mut dyn FnMut() -> bool) {
        let leaving: Vec<_> = self.all().filter(|desk| is_here(desk)).collect();
        let (handed, staying): (Vec<_>, Vec<_>) =
            leaving.into_iter().partition(|desk| desk.written().at_shutdown == AtShutdown::Handoff && !desk.is_paused());
        for desk in staying {
            tracing::info!(group = %desk.written().name, "it stays here (`at_shutdown`, or it is paused)");
        }
        if handed.is_empty() {
            return;
        }
        if platform::end() == End::Daemon {
            return tracing::info!("the machine is not shut down: groups stay on this node");
        }
        let handed: Vec<_> = handed.into_iter().filter(|desk| begin(desk)).collect();
        let until = Instant::now() + LIMIT;
        while handed.iter().any(|desk| is_moving(desk)) && Instant::now() < until && !is_urged() {
            thread::sleep(LOOK);
        }
        handed.into_iter().for_each(finish);
    }
}

fn is_here(desk: &Desk) -> bool {
    desk.local().state().online.as_ref() == Some(desk.local().node())
}

/// Whether a run has the group, and the group is not gone yet.
fn is_moving(desk: &Desk) -> bool {
    desk.local().state().claim.is_some()
}

/// Whether a handoff was begun.
fn begin(desk: &Arc<Desk>) -> bool {
    let group = &desk.written().name;
    if is_moving(desk) {
        tracing::warn!(%group, "a run has it: it is not handed over");
        return false;
    }
    let Some(to) = health::next_node(desk, &desk.facts()) else {
        tracing::warn!(%group, "no other node answers that could take it: it stays here");
        return false;
    };
    tracing::warn!(%group, "the node is shut down: it is handed to {to}");
    match desk.ask(None, Ask::Begin(Wish::Handoff { to, force: false })) {
        Ok(_) => {
            // The other node asks for the first step as soon as its journal is durable.
            let until = Instant::now() + Duration::from_secs(10);
            while is_here(desk) && !is_moving(desk) && Instant::now() < until {
                thread::sleep(LOOK);
            }
            true
        }
        Err(refused) => {
            tracing::error!(%group, "it stays here: {}", refused.text);
            false
        }
    }
}

fn finish(desk: &Arc<Desk>) {
    let group = &desk.written().name;
    if !is_here(desk) {
        return tracing::info!(%group, "it was handed over");
    }
    tracing::error!(%group, "it was not handed over in time: what was begun is taken back where it can be");
    if let Err(refused) = desk.ask(None, Ask::Undo) {
        return tracing::error!(%group, "not taken back: {}", refused.text);
    }
    let until = Instant::now() + Duration::from_secs(20);
    while is_moving(desk) && Instant::now() < until {
        thread::sleep(LOOK);
    }
}
