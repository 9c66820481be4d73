//! Ctrl-C while something is waited for: what becomes of it is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGINT;

use super::Failure;
use crate::control::{MirrorOrder, Request};

/// Exit code of a command that Ctrl-C ended, as a shell has it.
pub(super) const INTERRUPTED: u8 = 130;

/// Whether somebody pressed it. The second time ends the command at once.
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on it does not end the command.
    pub(super) fn watch() -> Result<Self, Failure> {
        let pressed = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register_conditional_shutdown(SIGINT, INTERRUPTED.into(), pressed.clone())
            .and_then(|_| signal_hook::flag::register(SIGINT, pressed.clone()))
            .map_err(Failure::failed)?;
        Ok(Self(pressed))
    }

    /// Whether it was pressed since.
    pub(super) fn is_pressed(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What becomes of a request that nobody waits for any more, how to look at it, and how to end it.
pub(super) fn left(request: &Request) -> String {
    let rest = match request {
        Request::Turn { set, to, .. } => format!(
            "{set} stays here, unless this node has given up being its source by now: `standin status {set}` shows it. If it says RETIRED, \
             `standin set turn {set} --to {to}` goes on, and `standin set release {set}` takes it back"
        ),
        Request::Mirror(MirrorOrder { dry_run: true, .. }) | Request::Verify { .. } => {
            "the comparison ends, and nothing was changed".to_owned()
        }
        Request::Mirror(MirrorOrder { set, .. }) => format!(
            "the mirror goes on: `standin status {set}` shows how far it is, `standin mirror pause {set}` pauses it, `standin mirror stop {set}` ends it"
        ),
        Request::Point { set, .. } => format!("the recovery point is made all the same: `standin points {set}` shows it"),
        Request::Scrub { set, .. } => format!("the scrub goes on: `standin status {set}` shows what it finds"),
        _ => return "it is not waited for any more".to_owned(),
    };
    format!("it is not waited for any more; {rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_stops_waiting_is_told_what_goes_on() {
        let set = || "mail".parse().unwrap();
        let turn = Request::Turn { set: set(), to: "beta".parse().unwrap(), timeout_seconds: None, force: false };
        assert!(left(&turn).contains("`standin set release mail` takes it back"), "{}", left(&turn));
        let order = |dry_run| {
            Request::Mirror(MirrorOrder {
                set: set(),
                comparison: None,
                orphans: None,
                max_orphans: None,
                limit_bytes_per_second: None,
                dry_run,
                wait: true,
                timeout_seconds: None,
            })
        };
        let goes_on = left(&order(false));
        assert!(goes_on.contains("goes on") && goes_on.contains("`standin mirror stop mail` ends it"), "{goes_on}");
        for compares in [order(true), Request::Verify { set: set(), timeout_seconds: None }] {
            assert!(left(&compares).ends_with("the comparison ends, and nothing was changed"));
        }
    }
}
