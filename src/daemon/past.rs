//! What somebody would do to a set past the group that it belongs to.

use standin_common::id::{GroupName, SetName};

/// What is refused without `--force`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    /// The replica becomes a plain tree.
    Promote,
    /// The other node becomes the source.
    Turn,
    /// Nothing is sent any more, and nothing watches the roots.
    Stop,
    /// The layers are taken away.
    Unmount,
}

impl Past {
    /// Whether it would harm a group that is online nowhere, too.
    pub(super) fn matters_offline(self) -> bool {
        matches!(self, Self::Promote | Self::Turn)
    }

    /// Why not, and what to do instead.
    pub(super) fn refusal(self, set: &SetName, group: &GroupName) -> String {
        let cutovers = format!(
            "`standin failover {group}` takes over when its node is lost, `standin handoff {group} --to NODE` when it is not, \
             `standin drill {group}` tries a copy"
        );
        let (consequence, instead, verb) = match self {
            Self::Promote => ("have no standby any more", cutovers, "promotes"),
            Self::Turn => ("have its services on one node and its files on the other", cutovers, "turns"),
            Self::Stop => (
                "go on with nothing of it replicated, and be lost with its node",
                format!("`standin mirror pause {set}` remembers what changes until `standin mirror resume {set}`"),
                "stops",
            ),
            Self::Unmount => (
                "go on with changes that nobody sees",
                format!("`standin offline {group}` stops first what writes there"),
                "takes the layers away from",
            ),
        };
        format!("{set} is the set of group {group}, which would {consequence}: {instead}; --force {verb} it all the same")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_says_what_would_follow_and_what_to_do() {
        let (set, group) = ("store".parse().unwrap(), "mail".parse().unwrap());
        assert_eq!(
            Past::Stop.refusal(&set, &group),
            "store is the set of group mail, which would go on with nothing of it replicated, and be lost with its node: \
             `standin mirror pause store` remembers what changes until `standin mirror resume store`; --force stops it all the same"
        );
        for (past, instead) in [
            (Past::Promote, "standin failover mail"),
            (Past::Turn, "standin handoff mail"),
            (Past::Unmount, "standin offline mail"),
        ] {
            let told = past.refusal(&set, &group);
            assert!(told.contains(instead) && told.contains("--force"), "{told}");
        }
    }
}
