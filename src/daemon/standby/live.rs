//! Whether the state directory is of the tree that is there.
//!
//! A node whose system disk was restored, and its data was not, remembers a replica where its applications have written since. What it would finish
//! of that replica would be put over what they wrote. So a tree that becomes live is marked itself ([`mark_live`]), before the roles say that this
//! node is the source, with the generation at which it does. A state directory in which that generation does not occur is older than the tree.
//!
//! The mark stays when the node becomes a standby again: then the roles say at which generation it was source. Replicas from before there were
//! marks have none, and go on.

use standin_common::id::{Generation, MirrorId, PointNumber};
use standin_common::scope::Reason;
use standin_config::Root;
use standin_replicator::journal::Point;
use standin_replicator::os::{clear_live, live_since, mark_live};
use standin_replicator::standby::state::{Phase, State};
use standin_replicator::store::DirectoryStore;

use super::{OsReplica, REPLICA, StandbyError, StandbySet, now, targets};
use crate::daemon::roles::{Returning, Roles};

/// What follows from the mark of a tree for what is kept of a replica there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is of this tree.
    Fits,
    /// It is older than the tree, and so is all that is known of who is source.
    Older(Generation),
    /// It is older than the tree; the other node is source since, so this tree is a former source's.
    Former(Returning),
}

/// Of what is kept of a replica; a promoted one is live by what it says itself, and nothing is written to it.
fn judge(live: Option<Generation>, roles: &Roles, phase: &Phase) -> Verdict {
    let Some(live) = live.filter(|_| !matches!(phase, Phase::Promoted { .. })) else { return Verdict::Fits };
    match roles.returning {
        Some(returning) if returning.was >= live => Verdict::Fits,
        _ if roles.generation > live => Verdict::Former(Returning { was: live, drained: None, founded: false }),
        // Nothing could be finished; and a set that begins anew goes by generations of its own.
        _ if *phase == Phase::Empty => Verdict::Fits,
        _ => Verdict::Older(live),
    }
}

/// The newest mark of the roots' trees.
fn newest_mark(roots: &[Root]) -> Result<Option<Generation>, StandbyError> {
    let of = |root: &Root| live_since(&root.target).map_err(|source| StandbyError::Target { path: root.target.clone(), source });
    roots.iter().try_fold(None, |newest, root| Ok(of(root)?.max(newest)))
}

/// Marks the roots of a source that took over before there were marks.
pub(in crate::daemon) fn mark_if_unmarked(roots: &[Root], since: Generation) {
    for root in roots {
        let marked = live_since(&root.path).and_then(|live| live.map_or_else(|| mark_live(&root.path, since), |_| Ok(true)));
        if let Err(error) = marked {
            tracing::debug!(root = %root.path.display(), %error, "it cannot be marked as live");
        }
    }
}

impl StandbySet {
    fn kept_state(&self) -> Option<State> {
        let store = DirectoryStore::open(&self.directory.join(REPLICA)).ok()?;
        OsReplica::kept(&store).ok().flatten()
    }

    /// Since when the tree is live although what is kept here knows nothing of that, if it is so.
    pub(in crate::daemon) fn outlived_by(&self) -> Result<Option<Generation>, StandbyError> {
        match self.verdict()? {
            Verdict::Older(live) => Ok(Some(live)),
            Verdict::Fits | Verdict::Former(_) => Ok(None),
        }
    }

    fn verdict(&self) -> Result<Verdict, StandbyError> {
        // Without targets nothing was received yet.
        let is_kept = targets::read(&self.directory).is_ok_and(|kept| kept.is_some());
        let phase = self.kept_state().filter(|_| is_kept).map_or(Phase::Empty, |state| state.phase);
        Ok(judge(newest_mark(&self.set().roots)?, &self.roles.now(), &phase))
    }

    /// Refuses to touch a tree that is newer than what is kept of it, before anything is finished there. What the other node took over from
    /// is to be made a replica as it is.
    pub(super) fn check_live(&self) -> Result<(), StandbyError> {
        match self.verdict()? {
            Verdict::Fits => Ok(()),
            Verdict::Older(live) => {
                let set = self.set();
                Err(StandbyError::Older { live, set: set.name.clone(), here: set.standby.clone(), peer: set.source.clone() })
            }
            Verdict::Former(returning) => {
                tracing::warn!(
                    set = %self.set().name, live = %returning.was,
                    "the tree was this node's own until {} took over, and the state directory is older: what only this node has is kept aside",
                    self.set().source
                );
                let kept = self.roles.found(self.roles.now().generation, Some(returning));
                kept.map_err(|error| StandbyError::Store(error.into()))
            }
        }
    }

    /// The trees become live, at this generation or, of a replica that is only promoted, at its own.
    pub(in crate::daemon) fn mark_live(&self, since: Option<Generation>) {
        let set = self.set();
        let own = || self.opened().map(|replica| replica.state().generation).max(Some(self.roles.now().generation));
        let since = since.or_else(own).unwrap_or_default();
        for root in &set.roots {
            let target = root.target.display();
            // Whoever takes over for a lost node is not held up by that.
            match mark_live(&root.target, since) {
                Ok(true) => {}
                Ok(false) => tracing::info!(
                    set = %set.name, %target,
                    "it can keep no mark: should an older state directory be put back here, nothing will show that"
                ),
                Err(error) => tracing::warn!(
                    set = %set.name, %target, %error,
                    "it cannot be marked as live: should an older state directory be put back here, nothing will show that"
                ),
            }
        }
    }

    /// The first mirror is received into the trees, whatever they were.
    pub(super) fn unmark(&self) -> Result<(), StandbyError> {
        let unmark =
            |root: &Root| clear_live(&root.target).map_err(|source| StandbyError::Target { path: root.target.clone(), source });
        self.set().roots.iter().try_for_each(unmark)
    }

    /// A point for a tree that is live and of which nothing is known: it is of that generation, by itself.
    pub(in crate::daemon) fn point_of_its_own(&self, generation: Generation) -> Point {
        let newest = self.kept_state().and_then(|state| state.newest()).unwrap_or(PointNumber(0));
        Point {
            number: newest.next(),
            generation,
            mirror: MirrorId::default(),
            reason: Reason::Mirror,
            at: now(),
            consistent: false,
            objects: 0,
            bytes: 0,
            orphans: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(generation: u64, was: Option<u64>) -> Roles {
        let returning = was.map(|was| Returning { was: Generation(was), drained: None, founded: true });
        let text =
            serde_json::json!({ "format": 1, "generation": generation, "source": "alpha", "from": null, "returning": returning });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn only_a_state_that_knows_of_the_mark_is_of_the_tree() {
        let (at, live) = (Phase::Settled { at: PointNumber(3) }, |number| Some(Generation(number)));
        // Never live, or known as a former source at that generation or a later one.
        assert_eq!(judge(None, &roles(2, None), &at), Verdict::Fits);
        assert_eq!(judge(live(5), &roles(6, Some(5)), &at), Verdict::Fits);
        assert_eq!(judge(live(5), &roles(8, Some(7)), &at), Verdict::Fits);
        // The state is of the time before.
        assert_eq!(judge(live(5), &roles(4, None), &at), Verdict::Older(Generation(5)));
        assert_eq!(judge(live(5), &roles(4, Some(3)), &at), Verdict::Older(Generation(5)));
        assert_eq!(
            judge(live(5), &roles(5, None), &Phase::Moving { from: None, to: PointNumber(1) }),
            Verdict::Older(Generation(5))
        );
        // And the other node took over meanwhile.
        let former = Returning { was: Generation(5), drained: None, founded: false };
        assert_eq!(judge(live(5), &roles(6, Some(3)), &at), Verdict::Former(former));
        // Nothing is kept at all: a system disk that is new, or a set.
        assert_eq!(judge(live(5), &roles(6, None), &Phase::Empty), Verdict::Former(former));
        assert_eq!(judge(live(5), &roles(1, None), &Phase::Empty), Verdict::Fits);
        // Nothing is written to what was promoted.
        assert_eq!(judge(live(5), &roles(4, None), &Phase::Promoted { at: PointNumber(3) }), Verdict::Fits);
    }
}
