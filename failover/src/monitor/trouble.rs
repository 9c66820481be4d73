//! What a person has to know, from how it stands.

use super::alert::About;
use super::{Moment, Monitor, Obstacle};

impl Monitor {
    /// For each kind of alert that is seen from how it stands: what is so now, in words, or that it is not so.
    pub fn troubles(&self, now: Moment) -> Vec<(About, Option<String>)> {
        let refused = |why: String| Some(format!("{}; this node does not take over by itself: {why}", self.lost_words()));
        let (lost, refused) = match self.obstacle(now) {
            Some(Obstacle::Manual) => (Some(self.lost_words()), None),
            // Without the time until the next attempt: other words are another alert.
            // Why it does not, in words that may change all the while, is the other alert's.
            Some(Obstacle::NoWitness(_)) => (None, refused("the witness does not answer".to_owned())),
            Some(Obstacle::Failed(why, _)) => (None, refused(format!("the last attempt failed, and it tries again: {why}"))),
            Some(
                obstacle @ (Obstacle::Off | Obstacle::Unready(_) | Obstacle::Loss(..) | Obstacle::StaysUp(_) | Obstacle::NoWord),
            ) => (None, refused(obstacle.to_string())),
            _ => (None, None),
        };
        vec![(About::Lost, lost), (About::Refused, refused), (About::Witness, self.witness_words(now))]
    }

    fn lost_words(&self) -> String {
        let Some(node) = self.holder() else { return String::new() };
        let many = if self.peers.get(node).is_some_and(|peer| peer.paths.len() > 1) { "on any path" } else { "any more" };
        let has_it =
            if self.stranded.is_some() { "was getting the group by a cutover that is not finished," } else { "has the group" };
        format!("{node} {has_it} and is not heard {many}")
    }

    fn witness_words(&self, now: Moment) -> Option<String> {
        let concerns = self.setting.automatic && self.own.online.is_some();
        let since = self.seen.unwrap_or(self.started);
        let is_silent = concerns && now.since(since) > 2 * self.setting.rule.lease_ms;
        is_silent.then(|| {
            let why = self.trouble.clone().unwrap_or_else(|| "no answer".to_owned());
            format!("the witness does not answer ({why}): while that is so, nothing fails over by itself, and whoever also loses the other nodes stops its services")
        })
    }
}
