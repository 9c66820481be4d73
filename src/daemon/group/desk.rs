//! A group on this node: what it answers, the runs that it carries out, and what it does by itself.

mod by_itself;
mod drills;
mod journals;
mod looked_after;
mod unfinished;
mod watched;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use standin_common::id::{GroupName, NodeName, ResourceName, RunId};
use standin_config::group::Group as Written;
use standin_failover::execute::{Clock, SystemClock};
use standin_failover::group::decide::{self, Wish};
use standin_failover::group::facts::{Facts, Seen, View};
use standin_failover::group::perform::Local;
use standin_failover::group::plan::{Kind, Plan};
use standin_failover::group::run::journal::Told as Journalled;
use standin_failover::group::run::report::report;
use standin_failover::group::run::{Done, Failed, Journal, Order, Record, Tools, carry};
use standin_failover::lines::{Lines, LinesError};
use standin_failover::resource::Resource;
use standin_failover::witness::Testimony;

use self::journals::Closed;
use super::asked::{Ask, Checked, GroupStatus, LastRun, Refused, Told};
use super::directory::Office;
use super::drill::Drills;
use super::foresight;
use super::nodes::{self, Members};
use super::pause::Pause;
use super::sets;
use crate::control::FailedKind;
use crate::daemon::monitor::Watch;
use crate::daemon::peer::Context;

/// How long a node that is asked to carry something out may take until it has begun: it asks all others first.
const BEGINNING: Duration = Duration::from_secs(60);

/// A group on this node.
pub(crate) struct Desk {
    name: GroupName,
    context: Arc<Context>,
    local: Arc<Local>,
    /// The journals.
    runs: PathBuf,
    /// Records of the directory, if the group moves something there.
    office: Option<Arc<Office>>,
    drills: Arc<Drills>,
    /// As the settings say.
    written: Written,
    pause: Pause,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Who watches over it.
    watch: OnceLock<Arc<Watch>>,
}

#[derive(Default)]
struct Inner {
    /// The run that is being carried out, and what takes it back.
    running: Option<(RunId, Arc<AtomicBool>)>,
    /// When the last one that was ended.
    ended: Option<Instant>,
    /// Runs of others that are taken back, and the last order of each that is to end: what takes it back comes after.
    hurried: BTreeMap<RunId, u64>,
    /// What this node waits for a person for.
    waits: Option<String>,
    /// Whether it was looked, after the start, that what should be online here is so.
    is_settled: bool,
    /// Why the group has failed here.
    failed: Option<String>,
    /// Somebody has answered for that, and whoever looks after the group has not heard of it yet.
    is_forgiven: bool,
    /// What else a person has to know.
    troubles: watched::Troubles,
    ends: bool,
    closed: Closed,
    /// Somebody wants it to be looked at now.
    is_nudged: bool,
    /// Somebody wants what failed to be tried again now.
    is_hurried: bool,
}

/// What a desk works with.
pub(super) struct Parts {
    pub(super) context: Arc<Context>,
    pub(super) local: Local,
    /// Where journals are kept.
    pub(super) runs: PathBuf,
    pub(super) office: Option<Arc<Office>>,
    pub(super) drills: Arc<Drills>,
    pub(super) pause: Pause,
}

impl Desk {
    pub(super) fn new(written: Written, parts: Parts) -> Result<Self, String> {
        let Parts { context, local, runs, office, drills, pause } = parts;
        standin_common::disk::create_private_dir(&runs).map_err(|error| error.to_string())?;
        let (name, local) = (written.name.clone(), Arc::new(local));
        let (inner, changed, watch) = (Mutex::default(), Condvar::new(), OnceLock::new());
        Ok(Self { name, context, local, runs, office, drills, written, pause, inner, changed, watch })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a peer is one of the group's nodes.
    pub(super) fn has_node(&self, node: &NodeName) -> bool {
        self.local.group().has_node(node)
    }

    /// What every node says.
    pub(super) fn facts(&self) -> Facts {
        self.facts_by(&Ask::View, self.local.view())
    }

    fn facts_by(&self, question: &Ask, own: View) -> Facts {
        let is_silent = |node: &NodeName| self.watch.get().is_some_and(|watch| watch.is_silent(node));
        let (begun, own) = (Instant::now(), Seen::There(Box::new(self.with_run(own))));
        let mut facts = nodes::facts(&self.context, &self.name, &self.local, own, question, &is_silent);
        let is_heard = |node: &NodeName| self.watch.get().is_some_and(|watch| watch.has_heard_within(node, begun.elapsed()));
        facts.heard = facts.away().filter(|(node, _)| is_heard(node)).map(|(node, _)| node.clone()).collect();
        let last_heard = |node: &NodeName| self.watch.get().and_then(|watch| watch.last_heard(node));
        facts.last_heard = facts.away().filter_map(|(node, _)| Some((node.clone(), last_heard(node)?))).collect();
        facts
    }

    /// With what the witness says, for who decides about a cutover. Whom it names and who does not answer here is looked at for as long as it would
    /// take to count up once more.
    fn witnessed(&self, mut facts: Facts) -> Facts {
        let Some(witness) = self.local.witness() else { return facts };
        let mut said = Testimony::of(witness.as_ref());
        let named = said.word().filter(|word| facts.away().any(|(node, _)| *node == word.holder)).cloned();
        if let Some(word) = named
            && let Some(watch) = self.watch.get().filter(|watch| watch.is_automatic())
        {
            thread::sleep(watch.until_counted_up(&word));
            said = Testimony::of(witness.as_ref());
            if said.word().is_some_and(|now| now.holder == word.holder && *now != word) {
                facts.heard.insert(word.holder);
            }
        }
        Facts { witness: Some(said), ..facts }
    }

    /// What this node says, with the run of its own that is not finished.
    fn with_run(&self, mut view: View) -> View {
        view.unfinished = self.told_unfinished();
        view.paused_unix_ms = self.pause.since_unix_ms();
        view.failed = self.lock().failed.clone();
        view.settings = self.written.shared();
        view
    }

    fn is_running(&self, run: &RunId) -> bool {
        self.lock().running.as_ref().is_some_and(|(running, _)| running == run)
    }

    fn path(&self, run: &RunId) -> PathBuf {
        self.runs.join(format!("{run}.journal"))
    }

    fn read(&self, run: &RunId) -> Result<Journalled, LinesError> {
        Journalled::read(&self.path(run))
    }

    /// Answers a command here, or has another node answer it.
    pub(crate) fn ask(self: &Arc<Self>, at: Option<NodeName>, asked: Ask) -> Result<Told, Refused> {
        let told = match at.filter(|node| node != self.local.node()) {
            Some(node) => self.forward(&node, &asked)?,
            None => self.answer(asked),
        };
        match told {
            Told::Refused(refused) => Err(refused),
            told => Ok(told),
        }
    }

    /// Answers what a node of the group, or a command here, asks.
    pub(crate) fn answer(self: &Arc<Self>, asked: Ask) -> Told {
        let done = match asked {
            Ask::View => Ok(Told::View(Box::new(self.with_run(self.local.view())))),
            Ask::Brief => Ok(Told::View(Box::new(self.with_run(self.local.brief())))),
            Ask::Perform(order) => Ok(Told::Performed(self.perform(&order))),
            Ask::Hurry(run, number) => {
                let mut inner = self.lock();
                let last = inner.hurried.entry(run).or_default();
                *last = number.max(*last);
                Ok(Told::Heard)
            }
            Ask::Plan(wish) => self.plan(&wish),
            Ask::Begin(wish) => self.begin(&wish),
            Ask::Resume => self.on_unfinished(&Ask::Resume),
            Ask::Undo => self.on_unfinished(&Ask::Undo),
            Ask::Report(run) => self.report(run),
            Ask::Check => Ok(Told::Checked(self.check())),
            Ask::Foresee { from } => Ok(Told::Foreseen(foresight::foresee(&self.local, from.as_ref()))),
            Ask::Drill(wish) => self.drill(&wish),
            Ask::DrillReport(run) => self.drilled(run.as_ref()),
            Ask::Records(question) => foresight::records(self.office.as_deref(), question),
            Ask::Monitor(ask) => self.on_monitor(ask),
            Ask::Pause(paused) => self.set_paused(paused),
        };
        done.unwrap_or_else(Told::Refused)
    }

    fn perform(&self, order: &Order) -> Result<Done, Failed> {
        let run = &order.claim.run;
        self.local.perform(order, &|| self.lock().hurried.get(run).is_some_and(|last| order.number <= *last))
    }

    fn forward(&self, node: &NodeName, asked: &Ask) -> Result<Told, Refused> {
        let answer = nodes::ask(&self.context, node, &self.name, asked, BEGINNING);
        answer.map_err(|why| Refused::new(FailedKind::Unreachable, why))
    }

    /// The plan of a wish, made here or by the node that would carry it out.
    fn plan(&self, wish: &Wish) -> Result<Told, Refused> {
        let facts = self.facts();
        let runner = decide::runner(self.local.group(), &facts, wish)?;
        if runner != *self.local.node() {
            return self.forward(&runner, &Ask::Plan(wish.clone()));
        }
        let facts = self.witnessed(facts);
        let plan = decide::decide(self.local.group(), &facts, wish, self.new_run(wish)?)?;
        self.refuse_without_right(&facts, &plan)?;
        foresight::refuse_blind(&self.written, &self.local, &facts, &plan, wish)?;
        Ok(Told::Plan(Box::new(plan)))
    }

    /// Carries out a wish, here or on the node that has to.
    fn begin(self: &Arc<Self>, wish: &Wish) -> Result<Told, Refused> {
        let facts = self.facts();
        let runner = decide::runner(self.local.group(), &facts, wish)?;
        if runner != *self.local.node() {
            return self.forward(&runner, &Ask::Begin(wish.clone()));
        }
        let facts = self.witnessed(facts);
        let plan = decide::decide(self.local.group(), &facts, wish, self.new_run(wish)?)?;
        self.refuse_without_right(&facts, &plan)?;
        foresight::refuse_blind(&self.written, &self.local, &facts, &plan, wish)?;
        let run = plan.run().clone();
        // A run of this node that it goes over goes on if this one is taken back; one that cannot be read is not gone over.
        self.unfinished()?;
        let cancel = self.enter(&run)?;
        let journal = Journal::begin(&self.path(&run), plan, SystemClock::default().unix_ms());
        let journal = journal.inspect_err(|_| self.leave()).map_err(disk)?;
        tracing::warn!(group = %self.name, %run, "a cutover begins");
        self.start(journal, cancel)?;
        Ok(Told::Begun { run, node: self.local.node().clone() })
    }

    /// Where nothing may be started without a right, nobody brings the group here while there is none to be had.
    fn refuse_without_right(&self, facts: &Facts, plan: &Plan) -> Result<(), Refused> {
        let is_here = plan.to() == Some(self.local.node());
        let is_silent = matches!(facts.witness, Some(Testimony::Silent(_))) && facts.away().next().is_some();
        let needs_right = || self.watch.get().is_some_and(|watch| watch.needs_right());
        if !(is_here && is_silent && needs_right()) {
            return Ok(());
        }
        let text = format!(
            "the services of {0} have no right to run here: its witness does not answer, and a node that does not answer either makes no promise. \
             Where a person is sure that no other node serves, `standin group automatic {0} off --force`, and then this again",
            self.name
        );
        Err(Refused::new(FailedKind::Refused, text))
    }

    fn new_run(&self, wish: &Wish) -> Result<RunId, Refused> {
        let kind = match wish {
            Wish::Failover { .. } => Kind::Failover,
            Wish::Handoff { .. } => Kind::Handoff,
            Wish::Failback => Kind::Failback,
            Wish::Online { .. } => Kind::Online,
            Wish::Offline { .. } => Kind::Offline,
            Wish::Rejoin => Kind::Rejoin,
        };
        self.run_called(&kind)
    }

    /// One run at a time.
    fn enter(&self, run: &RunId) -> Result<Arc<AtomicBool>, Refused> {
        let mut inner = self.lock();
        if let Some((other, _)) = &inner.running {
            return Err(Refused::new(FailedKind::Refused, format!("run {other} is being carried out: wait for its end")));
        }
        let cancel = Arc::new(AtomicBool::new(false));
        inner.running = Some((run.clone(), cancel.clone()));
        Ok(cancel)
    }

    fn leave(&self) {
        let mut inner = self.lock();
        (inner.running, inner.ended, inner.is_nudged) = (None, Some(Instant::now()), true);
        self.changed.notify_all();
    }

    fn start(self: &Arc<Self>, mut journal: Journal<Lines<Record>>, cancel: Arc<AtomicBool>) -> Result<(), Refused> {
        let desk = self.clone();
        let carrying = thread::Builder::new().name("cutover".to_owned()).spawn(move || {
            let members = desk.members();
            let clock = SystemClock::default();
            let progress = |plan: &Plan, record: &Record| tell(plan, record);
            match carry(&mut journal, &Tools { nodes: &members, clock: &clock, cancel: &cancel, progress: &progress }) {
                Ok(Some(end)) => {
                    tracing::warn!(group = %desk.name, run = %journal.plan().run(), ?end, "the cutover ended");
                    desk.give_over_older(end);
                }
                Ok(None) => tracing::error!(group = %desk.name, run = %journal.plan().run(), "the cutover is not finished: mend what failed, then `standin group resume {}`", desk.name),
                Err(error) => tracing::error!(group = %desk.name, %error, "the cutover's journal cannot be written: nothing more is done"),
            }
            drop(journal);
            desk.note_run(desk.unfinished());
            desk.leave();
        });
        let failed = |error| Refused::new(FailedKind::Failed, format!("cannot start a thread: {error}"));
        carrying.map(drop).inspect_err(|_| self.leave()).map_err(failed)
    }

    fn members(self: &Arc<Self>) -> Members {
        let desk = self.clone();
        let is_silent = Box::new(move |node: &NodeName| desk.watch.get().is_some_and(|watch| watch.is_silent(node)));
        Members { context: self.context.clone(), local: self.local.clone(), is_silent }
    }

    /// The report of a run, from its journal, here or elsewhere.
    fn report(&self, run: Option<RunId>) -> Result<Told, Refused> {
        let found = run.clone().filter(|run| self.path(run).exists()).or_else(|| self.journals().pop().filter(|_| run.is_none()));
        let none = || Refused::new(FailedKind::Refused, format!("there was no such cutover of group {} on this node", self.name));
        let found = found.ok_or_else(none)?;
        let mut report = Box::new(report(&self.read(&found).map_err(disk)?));
        let running = self.is_running(&found);
        if running {
            // Nobody has to do anything yet.
            report.by_hand.clear();
        }
        Ok(Told::Report { report, running, node: self.local.node().clone() })
    }

    /// What should be right on this node before the group is needed here.
    fn check(&self) -> Vec<Checked> {
        let of = |(name, resource): (&ResourceName, &Arc<dyn Resource>)| {
            resource.check().into_iter().map(|finding| Checked::of(name, &finding)).collect::<Vec<_>>()
        };
        let sets = self.local.group().sets().map(|set| sets::check(&self.drills.daemon, set));
        let lease = Duration::from_millis(self.written.witness.as_ref().map_or(0, standin_config::group::Witness::lease_ms));
        let witness = self.local.witness();
        let witness =
            witness.map(|witness| super::witness::check(witness.as_ref(), &self.local.state(), self.name.as_str(), lease));
        let settings = foresight::compare(&self.written, self.local.node(), &self.facts()).map(|why| Checked::settings(&why));
        let programs = foresight::missing_programs(&self.written);
        let is_off = self.watch.get().is_some_and(|watch| watch.is_switched_off());
        let switched = match self.pause.since_unix_ms() {
            Some(_) => Some(Checked::paused(&self.name)),
            None => is_off.then(|| Checked::switched_off(&self.name)),
        };
        let resources = self.local.resources().iter().flat_map(of);
        resources.chain(sets).chain(witness).chain(settings).chain(programs).chain(switched).collect()
    }

    /// How the group stands everywhere.
    pub(crate) fn status(&self) -> GroupStatus {
        let facts = self.facts();
        let others = facts.there().filter(|(node, _)| *node != self.local.node());
        let asked = others.filter_map(|(node, _)| self.forward(node, &Ask::Report(None)).ok());
        let runs = asked.chain(self.report(None)).filter_map(|told| match told {
            Told::Report { report, running, .. } => Some(LastRun { report: *report, running }),
            _ => None,
        });
        let (last, rejoin) = LastRun::last_of(runs.collect());
        GroupStatus { group: self.name.clone(), facts, waits: self.lock().waits.clone(), last, rejoin }
    }

    /// Ends what it does by itself. A run goes on when the daemon runs again.
    pub(super) fn end(&self) {
        self.lock().ends = true;
        self.changed.notify_all();
    }
}

fn disk(error: LinesError) -> Refused {
    Refused::new(FailedKind::Failed, format!("the run's journal: {error}"))
}

/// What a run does, in the log.
fn tell(plan: &Plan, record: &Record) {
    let step = |step| plan.step(step).map(|step| format!("{}: {}", step.node, step.action)).unwrap_or_default();
    match record {
        Record::Begun { way, step: id, .. } => tracing::info!(group = %plan.group, ?way, "{}", step(*id)),
        Record::Ended { way, step: id, outcome, .. } => tracing::info!(group = %plan.group, ?way, ?outcome, "{}", step(*id)),
        Record::Turned { why, .. } => tracing::warn!(group = %plan.group, "the cutover is taken back: {why}"),
        Record::Plan { .. } | Record::Closed { .. } => {}
    }
}
