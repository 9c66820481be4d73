//! The directory as a resource of a group: users and roles of the home node's server go to that of the node which has the group, and home
//! again, by the plans of `exchfailover`.
//!
//! A start plans and carries out one run for each [`Leg`], each with a journal beside those of `standin directory`. A start that is
//! repeated goes on with what stopped half-way; taking it back undoes those runs that it began. A stop changes nothing: users stay where
//! they are until another node takes them. What is written is known to all nodes of the group before the step counts as done ([`office`]).

mod legs;
mod mark;
mod office;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use standin_common::id::{NodeName, ResourceName};
use standin_config::group::{DirectoryMove, Phase};
use standin_failover::exchfailover::Outcome;
use standin_failover::execute::journal::Trouble as Fault;
use standin_failover::execute::{Journal, Only};
use standin_failover::pairing::Rule;
use standin_failover::plan::Plan;
use standin_failover::plan::build::PlanOptions;
use standin_failover::plan::show::summary;
use standin_failover::preflight::{Finding, preflight};
use standin_failover::resource::{Condition, Memo, Resource, Step, Trouble};

use crate::daemon::peer::Context;
use crate::directory::{self, Access, Carrier, Course, Held, Opened, Purpose, Runs, Stop, Told};
use legs::{By, Leg, home_by, legs, way_on};
pub(super) use mark::Mark;
pub(super) use office::Office;
pub(crate) use office::{Answer, Question};

/// How often somebody who waits for a run looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// What of a run was not done, beside its journal.
const FAILED_FILE: &str = "FailedExUsers.log";

/// See the module.
pub(super) struct DirectoryResource {
    pub(super) name: ResourceName,
    pub(super) context: Arc<Context>,
    pub(super) office: Arc<Office>,
    /// Where the group is at home.
    pub(super) home: NodeName,
    pub(super) settings: DirectoryMove,
    pub(super) rules: Vec<Rule>,
    pub(super) mark: Mark,
}

/// What a start keeps: the journals of the runs that it began, by their names, the oldest first.
#[derive(Default, Serialize, Deserialize)]
struct Begun(Vec<String>);

/// The directory, open, with its journals this thread's alone.
struct Desk<'a> {
    resource: &'a DirectoryResource,
    opened: Opened,
    runs: Runs,
    held: Held,
}

impl DirectoryResource {
    fn trouble(&self, stop: Stop) -> Trouble {
        Trouble::new(format!("the directory, for {}", self.name), stop.why, "")
    }

    fn open(&self) -> Result<(Opened, Runs), Stop> {
        let access = Access::default().or(Some(&self.context.settings()));
        access.unattended()?;
        Ok((access.open()?, Runs::of(access.state_dir())))
    }

    fn desk(&self) -> Result<Desk<'_>, Stop> {
        let (opened, runs) = self.open()?;
        let held = runs.hold()?;
        Ok(Desk { resource: self, opened, runs, held })
    }

    /// The servers of a way: home, and the other one.
    fn servers(&self, leg: &Leg) -> Result<(&str, &str), Stop> {
        let of = |node: &NodeName| {
            let server = self.settings.servers.get(node).map(String::as_str);
            server.ok_or_else(|| Stop::usage(format!("resource {} names no server of {node}", self.name)))
        };
        Ok((of(&self.home)?, of(leg.other())?))
    }

    fn options(&self, leg: &Leg) -> Result<PlanOptions, Stop> {
        let (source, target) = self.servers(leg)?;
        Ok(PlanOptions {
            failback: matches!(leg, Leg::Home(_)),
            source: source.to_owned(),
            target: target.to_owned(),
            rules: self.rules.clone(),
            setup_only: self.settings.phase == Phase::Setup,
            leave_update_service: !self.settings.recipient_update,
            leave_service_names: !self.settings.service_names,
            ..PlanOptions::default()
        })
    }

    /// What is to be changed on this way now; `None` if by all records nothing is. `complete`: the other node was asked for its records.
    fn plan(&self, opened: &Opened, runs: &Runs, leg: &Leg, complete: bool) -> Result<Option<Plan>, Stop> {
        let options = self.options(leg)?;
        let mut recorded = None;
        if let Leg::Home(_) = leg {
            let (home, other) = self.servers(leg)?;
            recorded = runs.recorded(home, other)?;
            let any = runs.last(Some((home, other)))?.is_some();
            match home_by(recorded.is_some(), any, complete) {
                By::Record | By::Directory => {}
                By::Nothing => return Ok(None),
            }
        }
        directory::plan(opened, &options, recorded.as_ref()).map(Some)
    }

    fn start_here(&self, step: &dyn Step) -> Result<(), Stop> {
        let desk = self.desk()?;
        let asked = self.office.collect(Some(&desk.held));
        for leg in legs(&self.home, step.from(), &self.office.node, self.settings.phase) {
            let complete =
                asked.iter().any(|(node, asked)| node == leg.other() && asked.is_ok()) || *leg.other() == self.office.node;
            desk.finish_last(&leg, step)?;
            desk.go(&leg, complete, step)?;
        }
        drop(desk);
        self.hand_out(step)
    }

    fn take_back(&self, step: &dyn Step) -> Result<(), Stop> {
        let Begun(names) = begun(step);
        if names.is_empty() {
            return Ok(());
        }
        let desk = self.desk()?;
        for name in names.iter().rev() {
            let path = desk.runs.dir().join(name);
            // A crash before it was made leaves its name only.
            if !path.exists() {
                continue;
            }
            let mut journal = Runs::named(&path)?;
            if Course::of(&journal) != Course::Undone {
                desk.carry(&mut journal, Purpose::Back, step)?;
            }
        }
        drop(desk);
        self.hand_out(step)
    }

    /// Has every node that answers keep the records; who does not gets them later, and that is told.
    fn hand_out(&self, step: &dyn Step) -> Result<(), Stop> {
        for (node, done) in self.office.hand_out() {
            if let Err(why) = done {
                step.tell(format_args!("{node} has no record of it yet ({why}): it asks for it when it is back"));
            }
        }
        Ok(())
    }

    /// What would be changed, for whoever reviews it.
    fn outlook(&self, from: Option<&NodeName>) -> Result<Option<String>, Stop> {
        let ways = legs(&self.home, from, &self.office.node, self.settings.phase);
        if ways.is_empty() {
            return Ok(None);
        }
        let (opened, runs) = self.open()?;
        let asked = self.office.collect(None);
        let mut texts = Vec::new();
        for leg in ways {
            let complete = asked.iter().any(|(node, asked)| node == leg.other() && asked.is_ok());
            texts.push(match self.plan(&opened, &runs, &leg, complete)? {
                None => nothing_to_take_home(&leg),
                Some(plan) => summary(&plan, runs.rate(&plan).as_ref()),
            });
        }
        Ok(Some(texts.join("\n")))
    }

    fn findings(&self) -> Result<Vec<Finding>, Stop> {
        let (opened, _) = self.open()?;
        if self.office.node == self.home {
            let account = Access::default().or(Some(&self.context.settings())).account();
            let who = account.unwrap_or_else(|| "the tickets of this node".to_owned());
            return Ok(vec![Finding::ok("directory", format!("it can be reached, and takes {who}"))]);
        }
        let leg = Leg::Away(self.office.node.clone());
        let (home, here) = self.servers(&leg)?;
        Ok(preflight(opened.directory(), home, here, &self.rules)?)
    }
}

fn nothing_to_take_home(leg: &Leg) -> String {
    format!("nobody is to come home from {}: by all records, what was moved there is home", leg.other())
}

fn begun(step: &dyn Step) -> Begun {
    step.memo().and_then(|Memo(value)| serde_json::from_value(value).ok()).unwrap_or_default()
}

impl Desk<'_> {
    /// Sees to the newest run of these servers, if it stopped half-way: on with it, or back.
    fn finish_last(&self, leg: &Leg, step: &dyn Step) -> Result<(), Stop> {
        let Some(mut journal) = self.runs.last(Some(self.resource.servers(leg)?))? else { return Ok(()) };
        match way_on(journal.plan().asked.action, Course::of(&journal), leg) {
            None => Ok(()),
            Some(purpose) => {
                let how = if purpose == Purpose::Forward { "goes on now" } else { "is taken back first" };
                step.tell(format_args!("a run that stopped half-way {how}: {}", journal.path().display()));
                self.carry(&mut journal, purpose, step)
            }
        }
    }

    fn go(&self, leg: &Leg, complete: bool, step: &dyn Step) -> Result<(), Stop> {
        let Some(plan) = self.resource.plan(&self.opened, &self.runs, leg, complete)? else {
            step.tell(format_args!("{}", nothing_to_take_home(leg)));
            return Ok(());
        };
        for warning in &plan.warnings {
            step.tell(format_args!("warning: {warning}"));
        }
        if plan.is_empty() {
            step.tell(format_args!("{} -> {}: nothing to change", plan.asked.from, plan.asked.to));
            return Ok(());
        }
        let path = self.runs.place(&plan, SystemTime::now())?;
        let mut names = begun(step);
        names.0.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        let kept = serde_json::to_value(&names).map_err(std::io::Error::from).and_then(|value| step.keep(Memo(value)));
        kept.map_err(|error| Stop::new(Outcome::Directory, format!("{error}; nothing was changed")))?;
        let mut journal = self.carrier(&Arc::default())?.begin_at(&path, plan)?;
        self.carry(&mut journal, Purpose::Forward, step)
    }

    fn carrier(&self, interrupt: &Arc<AtomicBool>) -> Result<Carrier<'_>, Stop> {
        Ok(Carrier {
            directory: self.opened.controllers()?,
            verify: true,
            failed_file: self.runs.dir().join(FAILED_FILE),
            interrupt: interrupt.clone(),
            progress: &|_, _| {},
        })
    }

    /// Takes a run as far as it goes, until the step's time is up or it is to end.
    fn carry(&self, journal: &mut Journal, purpose: Purpose, step: &dyn Step) -> Result<(), Stop> {
        let interrupt = Arc::default();
        let carrier = self.carrier(&interrupt)?;
        let (told, asked) = thread::scope(|scope| {
            let carrying = scope.spawn(|| {
                let told = carrier.carry(journal, purpose, &Only::Everything);
                let asked = journal.plan().asked.clone();
                told.map(|told| (told.lines(journal.plan()), told)).map(|told| (told, asked))
            });
            while !carrying.is_finished() {
                if step.is_cancelled() || Instant::now() >= step.deadline() {
                    interrupt.store(true, Ordering::SeqCst);
                }
                thread::sleep(LOOK);
            }
            carrying.join().unwrap_or_else(|_| Err(Stop::new(Outcome::Halfway, "a fault of this program, see the log")))
        })?;
        let (lines, told) = told;
        step.tell(format_args!("{} -> {}", asked.from, asked.to));
        lines.lines().for_each(|line| step.tell(format_args!("{line}")));
        if is_enough(&told) {
            return Ok(());
        }
        // How a command of the directory would go on is not how a group does.
        let why = lines.lines().map(str::trim).filter(|line| !line.starts_with("stopped half-way"));
        Err(Stop::new(told.outcome, why.collect::<Vec<_>>().join("; ")))
    }
}

/// Whether a run did all that it could: what somebody changed meanwhile, or a domain that could not be read, is told, and holds nothing up.
fn is_enough(told: &Told) -> bool {
    let conflicts = told.report.failed.iter().all(|failure| matches!(failure.trouble, Fault::Changed | Fault::Gone));
    let excused = !told.report.failed.is_empty() || !told.report.unread.is_empty();
    told.outcome == Outcome::Done || (told.outcome == Outcome::SomeFailed && conflicts && excused)
}

impl Resource for DirectoryResource {
    fn condition(&self) -> Result<Condition, Trouble> {
        self.mark.condition().map_err(|error| self.trouble(Stop::new(Outcome::Directory, error)))
    }

    fn start(&self, step: &dyn Step) -> Result<(), Trouble> {
        let disk = |error| self.trouble(Stop::new(Outcome::Directory, error));
        // A stop that is taken back: nobody else took the users meanwhile.
        let stayed = step.from() == Some(&self.office.node) && self.mark.were_here().map_err(disk)?;
        if !stayed {
            self.start_here(step).map_err(|stop| self.trouble(stop))?;
        }
        self.mark.set(true).map_err(disk)
    }

    fn stop(&self, _: &dyn Step) -> Result<(), Trouble> {
        self.mark.set(false).map_err(|error| self.trouble(Stop::new(Outcome::Directory, error)))
    }

    fn restore(&self, step: &dyn Step) -> Result<(), Trouble> {
        self.take_back(step).map_err(|stop| self.trouble(stop))?;
        self.mark.remove().map_err(|error| self.trouble(Stop::new(Outcome::Directory, error)))
    }

    fn foresee(&self, from: Option<&NodeName>) -> Result<Option<String>, Trouble> {
        self.outlook(from).map_err(|stop| self.trouble(stop))
    }

    fn check(&self) -> Vec<Finding> {
        let failed = |stop: Stop| vec![Finding::fail("directory", stop.why, "`standin directory preflight` tries it again")];
        self.findings().unwrap_or_else(failed)
    }
}
