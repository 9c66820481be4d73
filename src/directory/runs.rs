//! What was run before: one journal for each run, in the state directory.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use standin_common::disk::{self, DiskError};
use standin_failover::exchfailover::Outcome;
use standin_failover::execute::Journal;
use standin_failover::execute::journal::{State, StepId, Steps};
use standin_failover::plan::show::Rate;
use standin_failover::plan::{Action, Plan};

use super::{Stop, rate};

const ENDING: &str = "journal";
const LOCK: &str = "lock";
/// Length of the time at the beginning of a journal's name.
const TIME_LEN: usize = "2026-11-21T15-42-46.339Z".len();

/// The journals of a state directory.
pub(crate) struct Runs {
    dir: PathBuf,
}

/// The journals are this process's alone.
pub(crate) struct Held {
    _file: File,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// Something was not tried, or is in doubt: it is to be resumed or undone.
    Halfway,
    /// All was tried. What failed can be tried again.
    Ended,
    /// An undo began and is not through.
    Undoing,
    /// All that it wrote was taken back.
    Undone,
}

impl Runs {
    /// Of this directory, which need not be there.
    pub(crate) fn of(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Makes the directory this process's alone until the result is dropped: two runs at once would each see half of the other's work.
    pub(crate) fn hold(&self) -> Result<Held, Stop> {
        let path = self.dir.join(LOCK);
        let failed = |why: &dyn std::fmt::Display| Stop::new(Outcome::Directory, format!("{why}; nothing was changed"));
        if !self.dir.exists() {
            disk::create_private_dir(&self.dir).map_err(|error| failed(&error))?;
        }
        let file = File::options().create(true).append(true).open(&path).map_err(DiskError::at("open", &path));
        let file = file.map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(Held { _file: file }),
            Err(TryLockError::WouldBlock) => {
                let dir = self.dir.display();
                Err(failed(&format!("another run is at work with the journals in {dir}: let it finish, or end it and resume it")))
            }
            Err(TryLockError::Error(error)) => Err(failed(&DiskError::at("lock", &path)(error))),
        }
    }

    /// A new journal's place. Its name begins with the time, so that names are in the order of runs, those of other nodes among them:
    /// where a clock is behind, it is right after the newest.
    pub(crate) fn place(&self, plan: &Plan, now: SystemTime) -> Result<PathBuf, Stop> {
        let newest = self.newest_first()?.first().and_then(|path| time_of(path));
        let now = newest.map_or(now, |newest| now.max(newest + Duration::from_millis(1)));
        let time = humantime::format_rfc3339_millis(now).to_string().replace(':', "-");
        let action = match plan.asked.action {
            Action::Failover => "failover",
            Action::Failback => "failback",
            Action::Rename => "rename",
        };
        let (from, to) = (plain(&plan.asked.from), plain(&plan.asked.to));
        Ok(self.dir.join(format!("{time}-{action}-{from}-{to}.{ENDING}")))
    }

    /// Where the journals are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Journals, the newest first.
    pub(super) fn newest_first(&self) -> Result<Vec<PathBuf>, Stop> {
        let failed = |error: std::io::Error| {
            Stop::new(Outcome::Directory, format!("the journals in {} can not be listed: {error}", self.dir.display()))
        };
        let entries = match std::fs::read_dir(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut found: Vec<PathBuf> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)?;
        found.retain(|path| path.extension().is_some_and(|ending| ending == ENDING));
        found.sort();
        found.reverse();
        Ok(found)
    }

    /// The newest run, of these two servers if they are named.
    pub(crate) fn last(&self, servers: Option<(&str, &str)>) -> Result<Option<Journal>, Stop> {
        for path in self.newest_first()? {
            let journal = Journal::open(&path)?;
            if servers.is_none_or(|(source, target)| is_between(journal.plan(), source, target)) {
                return Ok(Some(journal));
            }
        }
        Ok(None)
    }

    /// How fast the directory took writes, in the forest of this plan.
    pub(crate) fn rate(&self, plan: &Plan) -> Option<Rate> {
        rate::known(&self.dir, plan)
    }

    /// The newest run, which must be there.
    pub(crate) fn last_or_stop(&self, servers: Option<(&str, &str)>) -> Result<Journal, Stop> {
        let none = || Stop::usage(format!("there is no run in {}: name another place with --state-dir", self.dir.display()));
        self.last(servers)?.ok_or_else(none)
    }

    /// A journal by its name.
    pub(crate) fn named(path: &Path) -> Result<Journal, Stop> {
        Ok(Journal::open(path)?)
    }

    /// What the failovers from source to target wrote since the last failback: as one plan, for taking it back.
    pub(crate) fn recorded(&self, source: &str, target: &str) -> Result<Option<Plan>, Stop> {
        let mut all: Option<Plan> = None;
        for path in self.newest_first()? {
            let journal = Journal::open(&path)?;
            let (plan, steps) = (journal.plan(), journal.steps());
            if !is_between(plan, source, target) || plan.asked.action == Action::Rename {
                continue;
            }
            let written = written_of(plan, steps);
            if plan.asked.action == Action::Failback {
                // One that was taken back, or only set flags, or failed, brought nobody home.
                if written.changes.iter().any(|change| change.kind.phase() == standin_failover::plan::Phase::Move) {
                    break;
                }
                continue;
            }
            match &mut all {
                None => all = Some(written),
                Some(newer) => newer.changes.splice(0..0, written.changes).for_each(drop),
            }
        }
        Ok(all.filter(|plan| plan.changes.iter().any(|change| change.kind.phase() == standin_failover::plan::Phase::Move)))
    }
}

fn plain(name: &str) -> String {
    name.chars().map(|char| if char.is_alphanumeric() { char } else { '_' }).collect()
}

/// When a run began, by the name of its journal; `None` for one that a person named.
fn time_of(path: &Path) -> Option<SystemTime> {
    let name = path.file_name()?.to_str()?;
    // As in `2026-11-21T15-42-46.339Z-failover-EX1-EX2.journal`.
    let (date, time) = name.get(..TIME_LEN)?.split_once('T')?;
    humantime::parse_rfc3339(&format!("{date}T{}", time.replace('-', ":"))).ok()
}

/// Whether this may be the name of a journal between two of these servers, as [`Runs::place`] makes them: nothing else is taken from
/// another node.
pub(super) fn is_name_between(name: &str, servers: &[&str]) -> bool {
    let is_time = time_of(Path::new(name)).is_some();
    let plainly = name.chars().all(|char| char.is_alphanumeric() || matches!(char, '-' | '_' | '.'));
    let servers: Vec<String> = servers.iter().map(|server| plain(server).to_lowercase()).collect();
    let rest = name.get(TIME_LEN..).and_then(|rest| rest.strip_suffix(&format!(".{ENDING}"))).unwrap_or_default().to_lowercase();
    let is_of = |action: &str| {
        let pairs = servers.iter().flat_map(|one| servers.iter().map(move |other| (one, other)));
        pairs.filter(|(one, other)| one != other).any(|(one, other)| rest == format!("-{action}-{one}-{other}"))
    };
    is_time && plainly && (is_of("failover") || is_of("failback"))
}

fn is_between(plan: &Plan, source: &str, target: &str) -> bool {
    let is = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
    let (from, to) = (&plan.asked.from, &plan.asked.to);
    (is(from, source) && is(to, target)) || (is(from, target) && is(to, source))
}

/// The plan with those changes only that are written now, by this run.
fn written_of(plan: &Plan, steps: &Steps) -> Plan {
    let mut written = plan.clone();
    let mut number = 0;
    written.changes.retain(|_| {
        let is_written = matches!(steps.of(StepId::Change(number)), State::Written { .. } | State::UndoFailed(..));
        number += 1;
        is_written
    });
    written
}

impl Course {
    /// How far a run is, from its journal.
    pub(crate) fn of(journal: &Journal) -> Self {
        let (plan, steps) = (journal.plan(), journal.steps());
        let changes = (0..plan.changes.len()).map(StepId::Change);
        let states: Vec<&State> = changes.chain((0..plan.renames.len()).map(StepId::Rename)).map(|step| steps.of(step)).collect();
        let any = |is: fn(&State) -> bool| states.iter().any(|state| is(state));
        if steps.undo_begun() {
            let is_left = |state: &State| {
                matches!(state, State::Written { .. } | State::Intended | State::UndoIntended { .. } | State::UndoFailed(..))
            };
            return if any(is_left) { Self::Undoing } else { Self::Undone };
        }
        if any(|state| matches!(state, State::Planned | State::Intended)) { Self::Halfway } else { Self::Ended }
    }
}
