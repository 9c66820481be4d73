//! Where the users go when a group comes online on a node, and what is done about a run in the directory that stopped half-way. Pure.

use standin_common::id::NodeName;
use standin_config::group::Phase;
use standin_failover::plan::Action;

use crate::directory::{Course, Purpose};

/// A way of the users: always from the home node's server, or back to it, as that is what records tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leg {
    /// From home to the server of this node.
    Away(NodeName),
    /// Home from the server of this node.
    Home(NodeName),
}

impl Leg {
    /// The node that is not the home node.
    pub(super) fn other(&self) -> &NodeName {
        match self {
            Self::Away(node) | Self::Home(node) => node,
        }
    }

    /// The command of a plan that goes this way.
    pub(super) fn action(&self) -> Action {
        match self {
            Self::Away(_) => Action::Failover,
            Self::Home(_) => Action::Failback,
        }
    }
}

/// The ways to `here` from where the group was, one after the other. Users who are elsewhere go home first. Before the stores are started
/// only the last one has something to prepare.
pub(super) fn legs(home: &NodeName, from: Option<&NodeName>, here: &NodeName, phase: Phase) -> Vec<Leg> {
    let elsewhere = from.filter(|from| *from != home && *from != here);
    let mut legs: Vec<Leg> = elsewhere.map(|node| Leg::Home(node.clone())).into_iter().collect();
    if here != home {
        legs.push(Leg::Away(here.clone()));
        if phase == Phase::Setup {
            legs.drain(..legs.len() - 1);
        }
    }
    legs
}

/// By what the users go home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// What the record of the failover says.
    Record,
    /// What the directory says now, as there is no record.
    Directory,
    /// Not at all: by all records they are there.
    Nothing,
}

/// By what users go home: `outstanding` if a record of a failover is not taken back yet, `any` if there is any record between the two servers,
/// `complete` if the node that had the group was asked for its records.
pub(super) fn home_by(outstanding: bool, any: bool, complete: bool) -> By {
    match () {
        () if outstanding => By::Record,
        () if any && complete => By::Nothing,
        () => By::Directory,
    }
}

/// What is done about the newest run between two servers before users go this way: on with it if it goes the same way, else back. `None`:
/// it is over.
pub(super) fn way_on(action: Action, course: Course, leg: &Leg) -> Option<Purpose> {
    match course {
        Course::Ended | Course::Undone => None,
        Course::Undoing => Some(Purpose::Back),
        Course::Halfway if action == Action::Rename => None,
        Course::Halfway if action == leg.action() => Some(Purpose::Forward),
        Course::Halfway => Some(Purpose::Back),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    fn of(from: Option<&str>, here: &str, phase: Phase) -> Vec<Leg> {
        legs(&node("home"), from.map(node).as_ref(), &node(here), phase)
    }

    #[test]
    fn users_go_from_home_and_back_to_it() {
        let (away, home) = (|name| Leg::Away(node(name)), |name| Leg::Home(node(name)));
        assert_eq!(of(Some("home"), "b", Phase::All), [away("b")]);
        assert_eq!(of(Some("b"), "home", Phase::All), [home("b")]);
        assert_eq!(of(Some("b"), "home", Phase::Setup), [home("b")]);
        assert_eq!(of(Some("b"), "c", Phase::All), [home("b"), away("c")]);
        assert_eq!(of(Some("b"), "c", Phase::Setup), [away("c")]);
        for from in [None, Some("home")] {
            assert_eq!(of(from, "home", Phase::All), [], "nobody is elsewhere");
        }
        for from in [None, Some("b")] {
            assert_eq!(of(from, "b", Phase::All), [away("b")], "whoever appeared at home meanwhile");
        }
    }

    #[test]
    fn records_are_believed_where_all_were_asked_for() {
        for (any, complete) in [(true, true), (true, false)] {
            assert_eq!(home_by(true, any, complete), By::Record);
        }
        assert_eq!(home_by(false, true, true), By::Nothing);
        assert_eq!(home_by(false, true, false), By::Directory, "the last one may be on the node that is lost");
        assert_eq!(home_by(false, false, true), By::Directory, "somebody moved them in another way");
    }

    #[test]
    fn what_stopped_half_way_goes_on_or_back() {
        let (away, home) = (Leg::Away(node("b")), Leg::Home(node("b")));
        assert_eq!(way_on(Action::Failover, Course::Halfway, &away), Some(Purpose::Forward));
        assert_eq!(way_on(Action::Failover, Course::Halfway, &home), Some(Purpose::Back));
        assert_eq!(way_on(Action::Failback, Course::Halfway, &away), Some(Purpose::Back));
        assert_eq!(way_on(Action::Failback, Course::Halfway, &home), Some(Purpose::Forward));
        assert_eq!(way_on(Action::Rename, Course::Halfway, &home), None);
        for leg in [away, home] {
            assert_eq!(way_on(Action::Failover, Course::Undoing, &leg), Some(Purpose::Back));
            assert_eq!(way_on(Action::Failover, Course::Ended, &leg), None);
            assert_eq!(way_on(Action::Failback, Course::Undone, &leg), None);
        }
    }
}
