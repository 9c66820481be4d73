//! Runs that are not finished: gone on with, taken back, or closed as another one went on from there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use standin_common::id::{NodeName, RunId};
use standin_failover::execute::{Clock, SystemClock};
use standin_failover::group::decide::{self, Refusal};
use standin_failover::group::facts::Facts;
use standin_failover::group::run::journal::Told as Journalled;
use standin_failover::group::run::{End, Journal, Record};
use standin_failover::group::state::Claim;
use standin_failover::group::wake::{Overtaken, open_claim, overtaken};
use standin_failover::lines::LinesError;

use super::super::asked::{Ask, Refused, Told};
use super::{Desk, disk};
use crate::control::FailedKind;

impl Desk {
    /// Goes on with the run that is not finished, or takes it back, wherever its journal is.
    pub(super) fn on_unfinished(self: &Arc<Self>, asked: &Ask) -> Result<Told, Refused> {
        let Some(told) = self.unfinished()? else { return self.on_unfinished_elsewhere(asked) };
        let (run, back) = (told.plan.run().clone(), *asked == Ask::Undo);
        let begun = Told::Begun { run: run.clone(), node: self.local.node().clone() };
        if self.is_running(&run) {
            self.refuse_undo(&told, back)?;
            if let Some((_, cancel)) = self.lock().running.as_ref().filter(|(running, _)| *running == run) {
                cancel.store(back, Ordering::SeqCst);
            }
            return Ok(begun);
        }
        let facts = self.facts();
        match overtaken(&facts, &told.plan) {
            Overtaken::By(Claim { runner, .. }) if facts.view(&runner).is_some() => return self.forward(&runner, asked),
            by => self.refuse_overtaken(&told, by)?,
        }
        self.refuse_undo(&told, back)?;
        let cancel = self.enter(&run)?;
        let opened = Journal::go_on(&self.path(&run)).and_then(|mut journal| {
            if back {
                journal.turn(SystemClock::default().unix_ms(), "somebody asked for it")?;
            }
            Ok(journal)
        });
        let journal = opened.inspect_err(|_| self.leave()).map_err(disk)?;
        self.start(journal, cancel)?;
        Ok(begun)
    }

    fn on_unfinished_elsewhere(&self, asked: &Ask) -> Result<Told, Refused> {
        let facts = self.facts();
        let is_elsewhere = |node: &&NodeName| *node != self.local.node() && facts.view(node).is_some();
        let newest = open_claim(&facts).map(|claim| &claim.runner).filter(is_elsewhere);
        let any = || facts.there().find(|(_, view)| view.unfinished.is_some()).map(|(node, _)| node).filter(is_elsewhere);
        match newest.or_else(any) {
            Some(node) => self.forward(node, asked),
            None => Err(Refused::new(FailedKind::Refused, self.nothing_unfinished(&facts))),
        }
    }

    fn nothing_unfinished(&self, facts: &Facts) -> String {
        match decide::stranded(facts).cloned() {
            Some(Claim { run, runner, .. }) => Refusal::Stranded { run, runner, group: self.name.clone() }.to_string(),
            None => format!("no run of group {} is unfinished on any node that answers", self.name),
        }
    }

    fn refuse_undo(&self, told: &Journalled, back: bool) -> Result<(), Refused> {
        if !back || told.progress.is_turned() || !told.progress.is_crossed(&told.plan) {
            return Ok(());
        }
        let to = told.plan.to().map(NodeName::as_str).unwrap_or("NODE");
        let text = format!(
            "run {} can only go forward, as {to} took over: `standin group resume {1}` finishes it; `standin handoff {1} --to NODE` then brings it back without loss",
            told.plan.run(),
            self.name
        );
        Err(Refused::new(FailedKind::Refused, text))
    }

    /// A run is not gone on with where another one went over it.
    fn refuse_overtaken(&self, told: &Journalled, by: Overtaken) -> Result<(), Refused> {
        let (run, group) = (told.plan.run(), &self.name);
        let text = match by {
            Overtaken::No => return Ok(()),
            Overtaken::By(Claim { run: over, runner, .. }) => format!(
                "run {over} of {runner} went over run {run}, and {runner} does not answer: `standin failover {group}` goes on without it"
            ),
            Overtaken::ForGood(node, generation) => format!(
                "{node} knows group {group} at generation {generation}, and run {run} is of {}: another one went on without it",
                told.plan.generation()
            ),
        };
        Err(Refused::new(FailedKind::Refused, text))
    }

    /// After the end of a run, those of this node that it went over are over, too.
    pub(super) fn give_over_older(&self, end: End) {
        while let (End::Finished, Ok(Some(older))) = (end, self.unfinished()) {
            if let Err(error) = self.give_over(older.plan.run()) {
                // It is tried again by itself.
                return tracing::warn!(group = %self.name, run = %older.plan.run(), %error, "its journal cannot be closed");
            }
        }
    }

    /// Closes a run that another one went on from.
    pub(super) fn give_over(&self, run: &RunId) -> Result<(), LinesError> {
        let mut journal = Journal::go_on(&self.path(run))?;
        tracing::warn!(group = %self.name, %run, "it is not finished, and another run went on from there");
        journal.append(Record::Closed { unix_ms: SystemClock::default().unix_ms(), end: End::GivenOver })
    }
}
