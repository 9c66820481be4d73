//! What a person has to know: raised once, kept until it is over or answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What an alert is about. One of each kind at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The node that has the group is lost, and a person has to decide. Stays until answered.
    Lost,
    /// It is lost, and this node does not take over by itself, for a reason that does not pass. Stays until answered.
    Refused,
    /// This node stopped what it had, since its right ended. Stays until answered.
    StoodDown,
    /// The group was taken over by itself. Stays until answered.
    TookOver,
    /// That was tried, and failed. Stays until answered.
    NotTakenOver,
    /// The witness does not answer.
    Witness,
    /// The group has failed here: what is ill was started again as often as it may be.
    Failed,
    /// A run stopped and is not finished, or waits for a person.
    NotFinished,
    /// Something of the group is online here, and the group is elsewhere.
    Stray,
}

impl About {
    /// Whether it stays when what it tells of is over, until a person has answered.
    pub fn stays(self) -> bool {
        !matches!(self, Self::Witness | Self::Failed | Self::NotFinished | Self::Stray)
    }

    /// Whether it tells of something that happened, rather than of how it stands: then each time is a new one.
    pub fn is_event(self) -> bool {
        matches!(self, Self::StoodDown | Self::TookOver | Self::NotTakenOver)
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What happened, and what to do.
    pub text: String,
    /// When, in milliseconds since 1970, for people.
    pub unix_ms: u64,
    /// Whether a person has answered it: it is not shown any more, and comes again only after it was over.
    pub answered: bool,
}

/// All alerts of a group on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Alerts(BTreeMap<About, Alert>);

impl Alerts {
    /// Something happened, or is so now. Returns whether it is to be told: what happened always is, and how it stands if it was not so before, or
    /// in other words.
    pub fn raise(&mut self, about: About, text: &str, unix_ms: u64) -> bool {
        let is_same = |alert: &Alert| alert.text == text || matches!(about, About::Witness | About::NotFinished);
        let is_known = !about.is_event() && self.0.get(&about).is_some_and(is_same);
        if !is_known {
            self.0.insert(about, Alert { text: text.to_owned(), unix_ms, answered: false });
        }
        !is_known
    }

    /// It is not so any more. Returns whether that changes anything.
    pub fn is_over(&mut self, about: About) -> bool {
        let goes = self.0.get(&about).is_some_and(|alert| !about.stays() || alert.answered);
        goes && self.0.remove(&about).is_some()
    }

    /// A person has answered them, by a command or by what they did. Returns how many there were.
    pub fn answer(&mut self) -> usize {
        let open = self.0.values_mut().filter(|alert| !alert.answered);
        open.map(|alert| alert.answered = true).count()
    }

    /// A person has answered this one by what they did. Returns whether it was there.
    pub fn answer_one(&mut self, about: About) -> bool {
        self.0.get_mut(&about).is_some_and(|alert| !std::mem::replace(&mut alert.answered, true))
    }

    /// Those that are not answered.
    pub fn open(&self) -> impl Iterator<Item = (About, &Alert)> {
        self.0.iter().filter(|(_, alert)| !alert.answered).map(|(about, alert)| (*about, alert))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_told_once_and_stays_until_it_is_answered() {
        let mut alerts = Alerts::default();
        assert!(alerts.raise(About::Lost, "alpha is lost", 1));
        assert!(!alerts.raise(About::Lost, "alpha is lost", 2), "once");
        assert!(!alerts.is_over(About::Lost), "it stays though alpha is back");
        assert_eq!(alerts.open().count(), 1);
        assert_eq!(alerts.answer(), 1);
        assert_eq!(alerts.open().count(), 0);
        assert!(!alerts.raise(About::Lost, "alpha is lost", 3), "it was answered");
        assert!(alerts.is_over(About::Lost));
        assert!(alerts.raise(About::Lost, "alpha is lost", 4), "it is lost again");
        assert!(alerts.raise(About::Lost, "alpha is lost, and beta has no point", 5), "in other words");
    }

    #[test]
    fn what_happens_again_is_told_again() {
        let mut alerts = Alerts::default();
        for event in [About::TookOver, About::StoodDown] {
            assert!(alerts.raise(event, "beta took over from alpha by itself", 1));
            assert!(alerts.answer() > 0);
            assert!(alerts.raise(event, "beta took over from alpha by itself", 2), "another time");
            assert!(alerts.open().any(|(about, alert)| about == event && alert.unix_ms == 2), "and is open again");
            assert!(alerts.raise(event, "beta took over from alpha by itself", 3), "whether answered or not");
        }
    }

    #[test]
    fn a_failure_is_told_once_and_goes_when_it_is_over() {
        let mut alerts = Alerts::default();
        for state in [About::Failed, About::NotFinished, About::Stray] {
            assert!(alerts.raise(state, "server: it does not run", 1));
            assert!(!alerts.raise(state, "server: it does not run", 2), "it is so still");
            assert_eq!(alerts.answer(), 1);
            assert!(!alerts.raise(state, "server: it does not run", 3), "it was answered");
            assert!(alerts.is_over(state));
            assert!(alerts.raise(state, "server: it does not run", 4), "it failed again");
            assert!(alerts.is_over(state), "well again, nobody need answer");
        }
    }

    #[test]
    fn a_witness_that_is_back_needs_no_answer() {
        let mut alerts = Alerts::default();
        assert!(alerts.raise(About::Witness, "no answer", 1));
        assert!(!alerts.raise(About::Witness, "another error", 2));
        assert!(alerts.is_over(About::Witness));
        assert_eq!(alerts.open().count(), 0);
    }
}
