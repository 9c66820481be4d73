//! What a node does for a run: its own resources and sets, and what it keeps of the group.

mod restart;
mod stale;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use standin_common::disk::{self, Mode};
use standin_common::id::{NodeName, ResourceName, RunId, SetName};
use standin_config::group::Command;

use super::facts::{SetView, Stand, View};
use super::graph::Group;
use super::plan::{Action, Kind};
use super::run::{Done, Failed, Order};
use super::state::GroupState;
use super::volume::Volumes;
use super::vouch;
use crate::monitor::gate::Gate;
use crate::resource::hook;
use crate::resource::script::{Circumstances, Event};
use crate::resource::started::Mark;
use crate::resource::{Condition, Memo, Resource, Step, Trouble};
use crate::witness::Witness;
use crate::witness::raise::Patience;

/// How old what the other side lacks may be when it counts as having nearly everything.
const CAUGHT_UP: Duration = Duration::from_secs(60);
/// How long a look at all resources may take: less than another node waits for its answer.
const LOOK_LIMIT: Duration = Duration::from_secs(8);
/// How often a set that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Held while an order about one thing is done; the run and the number of the last that was heard.
type Lane = Arc<Mutex<Option<(String, u64)>>>;

/// A group on this node.
pub struct Local {
    node: NodeName,
    group: Group,
    resources: BTreeMap<ResourceName, Arc<dyn Resource>>,
    volumes: Arc<dyn Volumes>,
    witness: Option<Arc<dyn Witness>>,
    /// What keeps a lost node from going on.
    fence: Option<Command>,
    /// `state.json`, and what starts kept, in `memos/`.
    directory: PathBuf,
    state: Mutex<GroupState>,
    /// What starts go through, where this node needs a right.
    gate: OnceLock<Arc<Gate>>,
    /// What the run that has the group stopped here and did not start again.
    stopped: Mutex<(Option<RunId>, BTreeSet<ResourceName>)>,
    /// What runs here and is of no use.
    stale: Mutex<BTreeSet<ResourceName>>,
    /// By which what starts leave is found.
    mark: Mark,
    /// One order at a time about each thing, and the number of the last one that was heard.
    lanes: Mutex<BTreeMap<String, Lane>>,
}

/// What a node knows of a group, by what it kept in `directory`.
///
/// # Errors
/// What cannot be read.
pub fn kept_state(directory: &Path) -> io::Result<GroupState> {
    match disk::read_optional(&directory.join("state.json"))? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| damaged(&directory.join("state.json"), &error)),
        None => Ok(GroupState::default()),
    }
}

impl Local {
    /// A group on this node, with what it kept in `directory`.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn open(
        node: NodeName,
        group: Group,
        resources: BTreeMap<ResourceName, Arc<dyn Resource>>,
        volumes: Arc<dyn Volumes>,
        directory: PathBuf,
    ) -> io::Result<Self> {
        disk::create_private_dir(&directory)?;
        let state = kept_state(&directory)?;
        let mark = Mark::of(&directory)?;
        let (state, gate, lanes) = (Mutex::new(state), OnceLock::new(), Mutex::default());
        Ok(Self {
            node,
            group,
            resources,
            volumes,
            witness: None,
            fence: None,
            directory,
            state,
            gate,
            stopped: Mutex::default(),
            stale: Mutex::default(),
            mark,
            lanes,
        })
    }

    /// With the group's witness, if it has one.
    pub fn with_witness(self, witness: Option<Arc<dyn Witness>>) -> Self {
        Self { witness, ..self }
    }

    /// With the command that keeps a lost node from going on, if the group has one.
    pub fn with_fence(self, fence: Option<Command>) -> Self {
        Self { fence, ..self }
    }

    /// The group's witness, if it has one.
    pub fn witness(&self) -> Option<&Arc<dyn Witness>> {
        self.witness.as_ref()
    }

    /// From now on everything that starts goes through this gate.
    pub fn start_through(&self, gate: Arc<Gate>) {
        // It is given once.
        let _ = self.gate.set(gate);
    }

    /// Whether anything may be started here now.
    pub fn may_start(&self) -> bool {
        self.gate.get().is_none_or(|gate| gate.is_open())
    }

    /// Whether the run that has the group now, or one before that it goes over, has stopped here all that is not a volume, and nothing was started since.
    /// A restart of the daemon forgets it.
    pub fn has_stopped_all(&self) -> bool {
        let is_claimed = self.lock().claim.is_some();
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        is_claimed && stopped.0.is_some() && self.resources.keys().all(|name| stopped.1.contains(name))
    }

    fn note_stopped(&self, run: &RunId, name: &ResourceName, is_stopped: bool) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if stopped.0.as_ref() != Some(run) {
            *stopped = (Some(run.clone()), BTreeSet::new());
        }
        match is_stopped {
            true => stopped.1.insert(name.clone()),
            false => stopped.1.remove(name),
        };
    }

    /// By which what starts leave is found.
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    /// The group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The node.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// Its resources but the volumes.
    pub fn resources(&self) -> &BTreeMap<ResourceName, Arc<dyn Resource>> {
        &self.resources
    }

    /// What is kept of it.
    pub fn state(&self) -> GroupState {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, GroupState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of it, and how its sets stand: all that may be asked for every few seconds. What is known of runs, others know.
    pub fn brief(&self) -> View {
        let sets = self.group.sets().map(|set| (set.clone(), self.set_view(set))).collect();
        View { state: self.state(), sets, ..View::default() }
    }

    /// How everything stands here, each resource looked at, all at once. Whoever asks takes a node that does not answer for one that is lost, so
    /// what does not say how it stands is not waited for.
    pub fn view(&self) -> View {
        let (tell, told) = mpsc::channel();
        for (name, resource) in &self.resources {
            let (tell, name, resource, is_stale) = (tell.clone(), name.clone(), resource.clone(), self.is_stale(name));
            let look = move || {
                let stand = resource.condition().map_or_else(|trouble| Stand::Unknown(trouble.to_string()), Stand::from);
                // Nobody may listen any more.
                let _ = tell.send((name, Self::stand(is_stale, stand)));
            };
            if let Err(error) = thread::Builder::new().name("look".to_owned()).spawn(look) {
                tracing::error!(%error, "cannot start a thread to look at a resource");
            }
        }
        drop(tell);
        let silent = || Stand::Unknown(format!("it did not say within {} s", LOOK_LIMIT.as_secs()));
        let mut resources: BTreeMap<_, _> = self.resources.keys().map(|name| (name.clone(), silent())).collect();
        let until = Instant::now() + LOOK_LIMIT;
        while let Ok((name, stand)) = told.recv_timeout(until.saturating_duration_since(Instant::now())) {
            resources.insert(name, stand);
        }
        View { resources, ..self.brief() }
    }

    fn set_view(&self, set: &SetName) -> SetView {
        match self.volumes.standing(set) {
            Ok(standing) => standing.into(),
            Err(trouble) => SetView::Unknown(trouble.to_string()),
        }
    }

    /// Does what a run asks for.
    ///
    /// # Errors
    /// [`Failed`]. What a run asks for without a claim, or too late, changes nothing.
    pub fn perform(&self, order: &Order, is_cancelled: &dyn Fn() -> bool) -> Result<Done, Failed> {
        let lane = self.lane(&order.action);
        let mut last = lane.lock().unwrap_or_else(PoisonError::into_inner);
        let run = order.claim.run.to_string();
        if last.as_ref().is_some_and(|(of, number)| *of == run && *number > order.number) {
            return Err(unchanged("it came too late: the run has asked for something else since"));
        }
        *last = Some((run, order.number));
        let done = Mutex::new(Done::default());
        let point = self.act(order, is_cancelled, &done)?;
        Ok(Done { point, ..done.into_inner().unwrap_or_else(PoisonError::into_inner) })
    }

    fn lane(&self, action: &Action) -> Lane {
        let about = match (action.resource(), action.set()) {
            (Some(resource), _) => format!("resource {resource}"),
            (_, Some(set)) => format!("set {set}"),
            // It may take long, and nobody else waits for it.
            _ if matches!(action, Action::Fence(_)) => "fence".to_owned(),
            _ => String::new(),
        };
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).entry(about).or_default().clone()
    }

    fn act(
        &self,
        order: &Order,
        is_cancelled: &dyn Fn() -> bool,
        done: &Mutex<Done>,
    ) -> Result<Option<standin_common::id::PointNumber>, Failed> {
        let deadline = Instant::now() + Duration::from_millis(order.limit_ms);
        let generation = order.claim.generation;
        match &order.action {
            Action::Claim => return self.change(|state| state.claimed(&order.claim)).map(|()| None),
            Action::Unclaim => return self.change(|state| Ok(state.unclaimed(&order.claim.run))).map(|()| None),
            Action::Settle => return self.settle(order).map(|()| None),
            _ => self.lock().permits(&order.claim.run).map_err(unchanged)?,
        }
        let doing = |name: &ResourceName, key: &str| {
            let memo = self.directory.join("memos").join(order.claim.run.as_str()).join(format!("{name}.{key}.json"));
            Doing { local: self, order, name: name.clone(), starts: false, deadline, is_cancelled, done, memo }
        };
        let pause: &dyn Fn() = &|| std::thread::sleep(LOOK);
        let is_late = || Instant::now() >= deadline;
        // Another run that went over this one does not wait for what only waits.
        let is_over = || is_cancelled() || self.lock().permits(&order.claim.run).is_err();
        let note = |all: Done| {
            *done.lock().unwrap_or_else(PoisonError::into_inner) = all;
            None
        };
        match &order.action {
            Action::CatchUp(set) => self.catch_up(set, deadline, &is_over).map(|()| None),
            Action::Drain(set) => self.volumes.drain(set, deadline, &is_over).map(Some).map_err(changed),
            Action::Retire(set) => self.volumes.retire(set, generation).map(|()| None).map_err(changed),
            Action::Release(set) => self.volumes.release(set).map(|()| None).map_err(changed),
            Action::Raise(asked) => {
                let patience = Patience { is_over: &|| is_cancelled() || is_late(), pause };
                vouch::raise(self.asked_witness()?, &self.node, order, asked, &patience).map(note)
            }
            Action::GiveBack(holder, need) => {
                let patience = Patience { is_over: &is_late, pause };
                vouch::give_back(self.asked_witness()?, order, holder, *need, &patience).map(note)
            }
            Action::Fence(lost) => self.fence(lost, deadline).map(note),
            Action::TakeOver(set, point) => {
                self.vacate(set, |name| doing(name, "stale"))?;
                let taken = self.volumes.take_over(set, *point, generation).map(Some);
                taken.map_err(|trouble| Failed { unchanged: self.is_below(set, order), why: trouble.to_string() })
            }
            Action::BecomeStandby(set, since) => self.volumes.become_standby(set, *since).map(|()| None).map_err(changed),
            Action::Start(name) => {
                let gate = self.gate.get();
                let _passing = gate.map(|gate| gate.pass(deadline, is_cancelled)).transpose().map_err(unchanged)?;
                self.note_stopped(&order.claim.run, name, false);
                // A right that ends ends what is being started with it.
                let is_over = || is_cancelled() || gate.is_some_and(|gate| !gate.is_open());
                let doing = |name: &ResourceName, key: &str| Doing { is_cancelled: &is_over, starts: true, ..doing(name, key) };
                let missing = self.missing(name);
                let mut all = missing.iter().chain([name]);
                all.try_for_each(|name| self.start(name, [&doing(name, "stale"), &doing(name, "start")])).map(|()| None)
            }
            Action::Stop(name) => {
                self.resource(name)?.stop(&doing(name, "stop")).map_err(changed)?;
                self.trust(name);
                self.note_stopped(&order.claim.run, name, true);
                Ok(None)
            }
            Action::Withdraw(name) => {
                let (resource, step) = (self.resource(name)?, doing(name, "start"));
                resource.stop(&step).and_then(|()| resource.restore(&step)).map(|()| None).map_err(changed)
            }
            Action::Claim | Action::Unclaim | Action::Settle => Ok(None),
        }
    }

    /// Keeps a lost node from going on. That was done or not as the command says; nothing of the group here is changed by it.
    fn fence(&self, lost: &NodeName, deadline: Instant) -> Result<Done, Failed> {
        let command = self.fence.as_ref().ok_or_else(|| unchanged("the settings of this node have no fence command"))?;
        let limit = deadline.saturating_duration_since(Instant::now());
        let mut told = Vec::new();
        let done = hook::fence(command, (&self.group.name, &self.node), lost, limit, &mut |line| told.push(line.to_owned()));
        done.map(|()| Done { told, ..Done::default() }).map_err(unchanged)
    }

    fn resource(&self, name: &ResourceName) -> Result<&Arc<dyn Resource>, Failed> {
        self.resources.get(name).ok_or_else(|| unchanged(format!("there is no resource {name} here")))
    }

    /// What a resource needs and is not online, in the order of their starts. A plan starts all of it before; but where a run is taken back
    /// on a machine that was restarted meanwhile, more is offline than the run had stopped.
    fn missing(&self, name: &ResourceName) -> Vec<ResourceName> {
        let needs = self.group.with_needs(name);
        let others =
            self.group.resources.iter().filter(|part| part.name != *name && needs.contains(&part.name) && !part.optional);
        let is_off = |part: &&super::graph::Part| {
            let condition = self.resources.get(&part.name).map(|resource| resource.condition());
            self.is_stale(&part.name) || matches!(condition, Some(Ok(Condition::Offline | Condition::Partly(_))))
        };
        others.filter(is_off).map(|part| part.name.clone()).collect()
    }

    /// Whether a set is certainly not at the run's generation.
    fn is_below(&self, set: &SetName, order: &Order) -> bool {
        self.volumes.standing(set).is_ok_and(|standing| standing.generation < order.claim.generation)
    }

    fn change(&self, change: impl FnOnce(&GroupState) -> Result<GroupState, super::state::Denied>) -> Result<(), Failed> {
        let mut state = self.lock();
        let next = change(&state).map_err(unchanged)?;
        if next == *state {
            return Ok(());
        }
        let bytes = serde_json::to_vec_pretty(&next).map_err(unchanged)?;
        disk::replace(&self.directory.join("state.json"), &bytes, Mode::Private).map_err(changed)?;
        *state = next;
        Ok(())
    }

    fn asked_witness(&self) -> Result<&dyn Witness, Failed> {
        let none = "this node has no witness of the group in its settings: write the same lines on all nodes of the group";
        self.witness.as_deref().ok_or_else(|| unchanged(none))
    }

    fn settle(&self, order: &Order) -> Result<(), Failed> {
        self.change(|state| state.settled(&order.claim, &order.down))?;
        // What starts kept is for taking back, and that is over.
        let memos = self.directory.join("memos").join(order.claim.run.as_str());
        match std::fs::remove_dir_all(&memos) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %memos.display(), %error, "cannot remove what a run kept");
            }
            _ => {}
        }
        Ok(())
    }

    fn catch_up(&self, set: &SetName, deadline: Instant, is_cancelled: &dyn Fn() -> bool) -> Result<(), Failed> {
        loop {
            let why = match self.volumes.standing(set) {
                Ok(standing) if standing.trouble.is_empty() && standing.behind.is_some_and(|behind| behind <= CAUGHT_UP) => {
                    return Ok(());
                }
                Ok(standing) if !standing.trouble.is_empty() => standing.trouble,
                Ok(_) => "it is not that far yet".to_owned(),
                Err(trouble) => trouble.to_string(),
            };
            if is_cancelled() || Instant::now() >= deadline {
                return Err(unchanged(format!("the other node has not nearly all of set {set}: {why}")));
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn damaged(path: &Path, error: &dyn fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{} is not what was written ({error}): restore it from a copy", path.display()),
    )
}

fn unchanged(why: impl fmt::Display) -> Failed {
    Failed { why: why.to_string(), unchanged: true }
}

fn changed(why: impl fmt::Display) -> Failed {
    Failed { why: why.to_string(), unchanged: false }
}

/// A step, as a resource sees it.
struct Doing<'a> {
    local: &'a Local,
    order: &'a Order,
    name: ResourceName,
    starts: bool,
    deadline: Instant,
    is_cancelled: &'a dyn Fn() -> bool,
    done: &'a Mutex<Done>,
    memo: PathBuf,
}

impl Step for Doing<'_> {
    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn is_cancelled(&self) -> bool {
        (self.is_cancelled)()
    }

    fn tell(&self, line: fmt::Arguments<'_>) {
        tracing::info!(group = %self.order.group, resource = %self.name, "{line}");
        self.done.lock().unwrap_or_else(PoisonError::into_inner).told.push(line.to_string());
    }

    fn keep(&self, memo: Memo) -> io::Result<()> {
        if let Some(parent) = self.memo.parent() {
            disk::create_private_dir(parent)?;
        }
        Ok(disk::replace(&self.memo, &serde_json::to_vec(&memo)?, Mode::Private)?)
    }

    fn memo(&self) -> Option<Memo> {
        let bytes = disk::read_optional(&self.memo).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    fn from(&self) -> Option<&NodeName> {
        self.order.from.as_ref()
    }

    fn variables(&self) -> Vec<(String, String)> {
        let order = self.order;
        let circumstances = Circumstances {
            group: &order.group,
            node: &self.local.node,
            from: order.from.as_ref(),
            event: match order.kind {
                Kind::Failover => Event::Failover,
                Kind::Rejoin => Event::Recover,
                Kind::Handoff | Kind::Failback | Kind::Online | Kind::Offline => Event::Start,
            },
            is_disk_well: true,
            by_priority: &self.local.group.by_priority(),
        };
        let mut variables = circumstances.variables();
        variables.push(("STANDIN_RUN".to_owned(), order.claim.run.to_string()));
        variables.push(("STANDIN_KIND".to_owned(), order.kind.to_string()));
        variables.push(("STANDIN_TO".to_owned(), order.claim.to.as_ref().map(ToString::to_string).unwrap_or_default()));
        variables.extend(self.starts.then(|| self.local.mark.variable(&self.name)));
        variables
    }
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        changed(trouble)
    }
}
