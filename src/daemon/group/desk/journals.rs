//! The journals of the runs that this node carried out: which is not finished, which are old, and what a new one is called.
//!
//! A run's name begins with the time, and a clock may be set back. So what is newest is told by the generation of its plan, and a new name comes
//! after all that there are.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use standin_common::id::RunId;
use standin_common::words::sentence;
use standin_failover::group::facts::Unfinished;
use standin_failover::group::run::journal::Told as Journalled;
use standin_failover::lines::LinesError;

use super::super::asked::Refused;
use super::Desk;
use crate::control::FailedKind;

/// Journals that are kept.
const KEPT_RUNS: usize = 50;
/// Letters of a name that tell the time: `2026-01-31T12-30-00.000Z`.
const TIME_LEN: usize = 24;

/// What the journals say.
pub(super) enum Open {
    /// All that were begun are finished.
    None,
    /// The newest that is not.
    Run(Box<Journalled>),
    /// One that may be it cannot be read.
    Unreadable(RunId, LinesError),
}

impl Desk {
    /// All runs that have a journal here, by name.
    pub(super) fn journals(&self) -> Vec<RunId> {
        let entries = std::fs::read_dir(&self.runs).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".journal").map(str::to_owned));
        let mut runs: Vec<RunId> = names.filter_map(|name| name.parse().ok()).collect();
        runs.sort();
        runs
    }

    /// What is not finished, looked for in all journals. One that cannot be read counts if it is newer than all that can be.
    pub(super) fn open_run(&self) -> Open {
        let runs = self.journals();
        let closed = self.lock().closed.clone();
        let (mut newest, mut unreadable) = (None::<Journalled>, None);
        for run in runs.iter().filter(|run| !closed.contains(*run)) {
            match self.read(run) {
                Ok(told) if told.progress.closed().is_some() => drop(self.lock().closed.insert(run.clone())),
                Ok(told) => newest = newest.into_iter().chain([told]).max_by_key(age),
                Err(error) => unreadable = Some((run.clone(), error)),
            }
        }
        match unreadable.filter(|(run, _)| self.is_last(run, &runs)) {
            Some((run, error)) => Open::Unreadable(run, error),
            None => newest.map_or(Open::None, |told| Open::Run(Box::new(told))),
        }
    }

    /// By its name, or by when it was written last: either clock may have been wrong.
    fn is_last(&self, run: &RunId, runs: &[RunId]) -> bool {
        let written = |run: &RunId| self.path(run).metadata().and_then(|found| found.modified()).ok();
        runs.last() == Some(run) || written(run) >= runs.iter().filter_map(written).max()
    }

    /// This node's run that is not finished.
    ///
    /// # Errors
    /// A journal that may be of one cannot be read.
    pub(super) fn unfinished(&self) -> Result<Option<Journalled>, Refused> {
        match self.open_run() {
            Open::None => Ok(None),
            Open::Run(told) => Ok(Some(*told)),
            Open::Unreadable(run, error) => {
                let text = format!(
                    "run {run} may not be finished, and its journal cannot be read: {} If you know that it is finished, move {} away",
                    sentence(&error.to_string()),
                    self.path(&run).display()
                );
                Err(Refused::new(FailedKind::Failed, text))
            }
        }
    }

    /// The same, as other nodes are told it. Beside one that cannot be read nothing is begun.
    pub(super) fn told_unfinished(&self) -> Option<Unfinished> {
        match self.open_run() {
            Open::None => None,
            Open::Run(told) => Some(Unfinished {
                run: told.plan.run().clone(),
                running: self.is_running(told.plan.run()),
                crossed: told.progress.is_crossed(&told.plan),
            }),
            Open::Unreadable(run, error) => {
                tracing::error!(group = %self.name, %run, %error, "a run cannot be read, and may not be finished");
                Some(Unfinished { running: self.is_running(&run), run, crossed: true })
            }
        }
    }

    /// Closed runs beyond those that are kept go, the oldest first.
    pub(super) fn forget_old_runs(&self) {
        let runs = self.journals();
        let closed = self.lock().closed.clone();
        let old = runs.iter().take(runs.len().saturating_sub(KEPT_RUNS));
        for run in old.filter(|run| closed.contains(*run) && !self.is_running(run)) {
            if let Err(error) = std::fs::remove_file(self.path(run)) {
                tracing::warn!(group = %self.name, %run, %error, "cannot remove an old journal");
            }
        }
    }

    /// What a run that begins now is called.
    pub(super) fn run_called(&self, kind: &dyn std::fmt::Display) -> Result<RunId, Refused> {
        let name = format!("{}-{kind}", time_after(SystemTime::now(), self.journals().last()));
        name.parse().map_err(|error| Refused::new(FailedKind::Failed, format!("the run cannot be called {name}: {error}")))
    }
}

/// Generations order runs, and their beginnings those of the same.
fn age(told: &Journalled) -> (u64, u64) {
    (told.plan.generation().0, told.begun_unix_ms)
}

fn as_name(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string().replace(':', "-")
}

/// The time as a name begins with it, and later than that of `last`, whatever the clock says.
fn time_after(now: SystemTime, last: Option<&RunId>) -> String {
    let now = as_name(now);
    let Some(last) = last.and_then(|last| last.as_str().get(..TIME_LEN)).filter(|last| *last >= now.as_str()) else { return now };
    let (day, time) = last.split_at(11);
    let read = humantime::parse_rfc3339(&format!("{day}{}", time.replace('-', ":")));
    read.map_or(now, |last| as_name(last + Duration::from_millis(1)))
}

/// Names of runs of which is known that they are closed: their journals never change again.
pub(super) type Closed = BTreeSet<RunId>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_after_all_others_whatever_the_clock_says() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000);
        let plain = time_after(now, None);
        assert_eq!((plain.as_str(), plain.len()), ("2023-11-14T22-13-20.000Z", TIME_LEN));
        let run = |text: &str| text.parse::<RunId>().unwrap();
        assert_eq!(time_after(now, Some(&run("2023-11-14T22-13-19.999Z-handoff"))), plain);
        assert_eq!(time_after(now, Some(&run("2023-11-14T23-59-59.999Z-handoff"))), "2023-11-15T00-00-00.000Z");
        assert_eq!(time_after(now, Some(&run("2023-11-14T22-13-20.000Z-online"))), "2023-11-14T22-13-20.001Z");
        assert_eq!(time_after(now, Some(&run("what-somebody-put-there-by-hand"))), plain);
    }
}
