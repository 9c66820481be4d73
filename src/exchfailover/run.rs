//! One run.

use std::path::{Path, PathBuf};

use standin_common::disk::{self, Mode};
use standin_config::Settings;
use standin_failover::credentials::Secret;
use standin_failover::exchfailover::{Direction, Options, Outcome};
use standin_failover::execute::{Journal, Only};
use standin_failover::plan::show::{summary, write_details, write_json};
use standin_failover::plan::{Action, Plan};

use super::log::Log;
use crate::cli::bar::Steps;
use crate::directory::{self, Access, Carrier, Course, Opened, Purpose, Runs, Stop, how_to_import, interrupted_by_signals};

/// What of a run was not done.
const FAILED_FILE: &str = "FailedExUsers.log";
/// Service principal names alone, for `ldifde -i -f spn.ldf -k`.
const SERVICE_NAMES_FILE: &str = "spn.ldf";

/// The settings, where there are any.
pub(super) fn settings(options: &Options) -> Result<Option<Settings>, Stop> {
    crate::cli::settings_if_any(options.reach.config.as_deref().map(Path::new)).map_err(Stop::usage)
}

/// How the directory is reached.
pub(super) fn access(options: &Options, settings: Option<&Settings>, password: Option<Secret>) -> Access {
    let reach = &options.reach;
    let path = |text: &Option<String>| text.as_ref().map(PathBuf::from);
    let given = options.account.as_ref().and_then(|account| account.password.as_ref());
    let access = Access {
        servers: reach.servers.clone(),
        domain: reach.domain.clone(),
        ca: path(&reach.authorities),
        pin: reach.pin.clone(),
        user: options.account.as_ref().map(|account| account.user.clone()),
        password_file: path(&reach.password_file),
        ldif: reach.exports.iter().map(PathBuf::from).collect(),
        state_dir: path(&reach.state_dir),
        password: given.map(|secret| Secret::new(secret.reveal().to_owned())).or(password),
    };
    access.or(settings)
}

/// Does what was asked.
pub(super) fn run(options: &Options, access: &Access, log: &Log) -> Result<Outcome, Stop> {
    let opened = access.open()?;
    let runs = Runs::of(access.state_dir());
    let job = Job { options, opened: &opened, runs: &runs, log };
    let is_writing = matches!(opened, Opened::Live(_)) && !options.test;
    let _held = if is_writing { Some(runs.hold()?) } else { None };
    if options.resume || options.undo {
        return job.go_on();
    }
    job.anew()
}

struct Job<'a> {
    options: &'a Options,
    opened: &'a Opened,
    runs: &'a Runs,
    log: &'a Log,
}

impl Job<'_> {
    fn servers(&self) -> Option<(&str, &str)> {
        let options = self.options;
        (!options.source.is_empty() && !options.target.is_empty()).then_some((&options.source, &options.target))
    }

    /// `--resume` and `--undo`.
    fn go_on(&self) -> Result<Outcome, Stop> {
        let mut journal = self.runs.last_or_stop(self.servers())?;
        let purpose = if self.options.undo { Purpose::Back } else { Purpose::Forward };
        self.carry(&mut journal, purpose)
    }

    /// A plan, and what is to be done with it.
    fn anew(&self) -> Result<Outcome, Stop> {
        let options = self.options;
        let is_live = matches!(self.opened, Opened::Live(_));
        if is_live
            && !options.test
            && let Some(mut unfinished) = self.unfinished()?
        {
            self.say(&format!("the run before stopped half-way, and goes on now ({})", unfinished.path().display()));
            return self.carry(&mut unfinished, Purpose::Forward);
        }
        let recorded = match options.direction {
            Some(Direction::Failback) if is_live => self.runs.recorded(&options.source, &options.target)?,
            _ => None,
        };
        let plan = directory::plan(self.opened, &options.plan_options(), recorded.as_ref())?;
        if let Some(file) = &options.plan {
            write_plan(Path::new(file), &plan)?;
        }
        self.say(&summary(&plan, self.runs.rate(&plan).as_ref()));
        match () {
            () if options.test => self.details(&plan),
            () if is_live => self.begin(plan),
            () => self.offline(&plan),
        }
    }

    /// A run of these servers that stopped half-way. One of the other direction must be ended first.
    fn unfinished(&self) -> Result<Option<Journal>, Stop> {
        let Some(journal) = self.runs.last(self.servers())? else { return Ok(None) };
        let same = match journal.plan().asked.action {
            Action::Failover => self.options.direction == Some(Direction::Failover),
            Action::Failback => self.options.direction == Some(Direction::Failback),
            Action::Rename => false,
        };
        let path = journal.path().display();
        match Course::of(&journal) {
            Course::Ended | Course::Undone => Ok(None),
            Course::Halfway if same => Ok(Some(journal)),
            Course::Halfway => {
                Err(Stop::new(Outcome::Halfway, format!("another run stopped half-way ({path}): say --resume or --undo first")))
            }
            Course::Undoing => {
                Err(Stop::new(Outcome::Halfway, format!("a run is being undone ({path}): say --undo until it is through")))
            }
        }
    }

    /// `-test`.
    fn details(&self, plan: &Plan) -> Result<Outcome, Stop> {
        if self.options.json {
            let mut bytes = Vec::new();
            write_json(plan, &mut bytes)?;
            self.log.say(&String::from_utf8_lossy(&bytes));
            return Ok(Outcome::Done);
        }
        let mut bytes = Vec::new();
        write_details(plan, &mut bytes).map_err(Stop::usage)?;
        self.say(&String::from_utf8_lossy(&bytes));
        self.say("nothing was changed");
        Ok(Outcome::Done)
    }

    /// The changes of an export.
    fn offline(&self, plan: &Plan) -> Result<Outcome, Stop> {
        let Some(file) = &self.options.reach.changes else {
            return Err(Stop::usage(
                "an export is not written to: say where its changes go with --changes, or -test to see them",
            ));
        };
        let writes = self.only(plan)?.writes(plan);
        let count = writes.len();
        let files = directory::write_changes_to(Path::new(file), &plan.contexts, writes)?;
        self.say(&how_to_import(&files));
        if self.options.json {
            self.log.say(&serde_json::json!({ "code": 0, "changes": files, "writes": count }).to_string());
        }
        Ok(Outcome::Done)
    }

    fn begin(&self, plan: Plan) -> Result<Outcome, Stop> {
        if plan.is_empty() {
            if self.options.json {
                self.log.say(&serde_json::json!({ "code": 0, "written": 0 }).to_string());
            }
            return Ok(Outcome::Done);
        }
        let controllers = self.opened.controllers()?;
        if plan.service_name_writes().next().is_some() {
            let file = self.log.beside(SERVICE_NAMES_FILE);
            for one in directory::write_changes_to(&file, &plan.contexts, plan.service_name_writes())? {
                self.say(&format!("  service principal names are in {}, too", one.file.display()));
            }
        }
        let bar = Steps::new(self.options.json);
        let progress = |done, of| bar.show(done, of);
        let mut journal = self.carrier(controllers, &progress)?.begin(self.runs, plan)?;
        drop(bar);
        self.carry(&mut journal, Purpose::Forward)
    }

    fn carrier<'c>(
        &self,
        directory: &'c dyn standin_failover::execute::Controllers,
        progress: &'c (dyn Fn(usize, usize) + Sync),
    ) -> Result<Carrier<'c>, Stop> {
        let (verify, failed_file) = (!self.options.no_verify, self.log.beside(FAILED_FILE));
        Ok(Carrier { directory, verify, failed_file, interrupt: interrupted_by_signals()?, progress })
    }

    fn carry(&self, journal: &mut Journal, purpose: Purpose) -> Result<Outcome, Stop> {
        let controllers = self.opened.controllers()?;
        let only = self.only(journal.plan())?;
        let bar = Steps::new(self.options.json);
        let progress = |done, of| bar.show(done, of);
        let told = self.carrier(controllers, &progress)?.carry(journal, purpose, &only)?;
        drop(bar);
        self.say(&told.lines(journal.plan()));
        if self.options.json {
            self.log.say(&told.json(journal.plan()).to_string());
        }
        Ok(told.outcome)
    }

    /// Which part of the plan is meant.
    fn only(&self, plan: &Plan) -> Result<Only, Stop> {
        Ok(match (&self.options.only_domain, &self.options.only_user) {
            (Some(domain), _) => Only::domain(&plan.contexts, domain)?,
            (None, Some(user)) => Only::user(self.opened.directory(), user)?,
            (None, None) => Only::Everything,
        })
    }

    /// For people: with `--json` to the log only.
    fn say(&self, text: &str) {
        match self.options.json {
            true => self.log.note(text),
            false => self.log.say(text),
        }
    }
}

fn write_plan(file: &Path, plan: &Plan) -> Result<(), Stop> {
    let mut bytes = Vec::new();
    write_json(plan, &mut bytes)?;
    disk::replace(file, &bytes, Mode::Private).map_err(Stop::usage)
}
