//! Carrying a plan out: journal, writes, the list of what failed, reading back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use standin_failover::exchfailover::Outcome;
use standin_failover::execute::{
    Controllers, ExecuteError, Journal, JournalError, Manner, Only, Report, SystemClock, Tools, failed, residents, run, undo,
    verify,
};
use standin_failover::plan::Plan;

use super::told::{Told, outcome_of};
use super::{Runs, Stop, rate};

/// How long other controllers may take to show what was written.
const VERIFY_LIMIT: Duration = Duration::from_secs(60);

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// As planned, or on with it.
    Forward,
    /// Back to what was before.
    Back,
}

/// What carries plans out.
pub(crate) struct Carrier<'a> {
    /// Where it writes.
    pub(crate) directory: &'a dyn Controllers,
    /// Whether it reads back.
    pub(crate) verify: bool,
    /// Where the list of what failed goes.
    pub(crate) failed_file: PathBuf,
    /// Set by whoever wants it to end early, in good order.
    pub(crate) interrupt: Arc<AtomicBool>,
    /// Told how many steps are done, of how many.
    pub(crate) progress: &'a (dyn Fn(usize, usize) + Sync),
}

impl Carrier<'_> {
    /// Begins a run: the plan with all old values is durable when this returns.
    pub(crate) fn begin(&self, runs: &Runs, plan: Plan) -> Result<Journal, Stop> {
        let place = runs.place(&plan, SystemTime::now())?;
        self.begin_at(&place, plan)
    }

    /// As [`begin`](Self::begin), with a journal at a place that somebody took note of.
    pub(crate) fn begin_at(&self, place: &Path, plan: Plan) -> Result<Journal, Stop> {
        let who_was_there = residents(self.directory, &plan)?;
        let unix_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        Ok(Journal::create(place, plan, who_was_there, u64::try_from(unix_ms).unwrap_or(u64::MAX))?)
    }

    /// Takes a run as far as it goes.
    pub(crate) fn carry(&self, journal: &mut Journal, purpose: Purpose, only: &Only) -> Result<Told, Stop> {
        let (clock, manner) = (SystemClock::default(), Manner::default());
        let (directory, interrupt) = (self.directory, &*self.interrupt);
        let tools = Tools { directory, clock: &clock, manner: &manner, interrupt, progress: self.progress };
        let begun = Instant::now();
        let done = match purpose {
            Purpose::Forward => run(journal, &tools, only),
            Purpose::Back => undo(journal, &tools, only),
        };
        let report = done.map_err(|error| explained(error, journal))?;
        Ok(self.conclude(journal, &tools, purpose, (report, begun.elapsed())))
    }

    fn conclude(&self, journal: &Journal, tools: &Tools<'_>, purpose: Purpose, (report, took): (Report, Duration)) -> Told {
        let mut notes = Vec::new();
        let runs = journal.path().parent().unwrap_or(Path::new("."));
        if let Err(error) = rate::keep(runs, journal.plan(), &report, took) {
            notes.push(format!("how fast it was is not kept: {error}"));
        }
        let has_failed = !failed::text(journal.plan(), &report).is_empty();
        if let Err(error) = failed::write(&self.failed_file, journal.plan(), &report) {
            notes.push(error.to_string());
        }
        let mut shown = Vec::new();
        if self.verify && report.stopped.is_none() {
            match verify(journal, tools, VERIFY_LIMIT) {
                Ok(found) => shown = found,
                Err(error) => notes.push(format!("it could not be read back: {error}")),
            }
        }
        Told {
            verb: if purpose == Purpose::Forward { "done" } else { "taken back" },
            outcome: outcome_of(&report, &shown),
            report,
            shown,
            journal: journal.path().to_owned(),
            failed_file: has_failed.then(|| self.failed_file.clone()),
            notes,
        }
    }
}

/// What a stop in the middle means: without a journal nothing more is written, and what was, the journal knows.
fn explained(error: ExecuteError, journal: &Journal) -> Stop {
    let path = journal.path().display();
    match error {
        ExecuteError::Journal(JournalError::Disk(error)) => {
            let why = format!("{error}; nothing more was written: make room, then --resume goes on and --undo restores ({path})");
            Stop::new(Outcome::Halfway, why)
        }
        other => other.into(),
    }
}

/// A signal ends a run of a command in good order; a second one at once.
pub(crate) fn interrupted_by_signals() -> Result<Arc<AtomicBool>, Stop> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, i32::from(Outcome::Halfway.code()), Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(|error| Stop::new(Outcome::Directory, format!("signals can not be caught: {error}; nothing was changed")))?;
    }
    Ok(flag)
}
