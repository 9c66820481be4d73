//! Drills: a failover rehearsed on a clone of the replica, with nothing in production touched.
//!
//! A drill clones each set at a point, runs the group's check command on the clone, says what a failover to this node would do and whether
//! everything for it is right here, and removes the clone. Its report is kept. What a kill leaves is cleared away at the next start.

mod report;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use standin_common::disk::{self, Mode};
use standin_common::id::{GroupName, NodeName, PointNumber, RunId, SetName};
use standin_common::message::RootKind;
use standin_config::group::{Command, Kind, Resource as Settings, Script};
use standin_failover::group::decide::{Accept, Heed, Wish, decide};
use standin_failover::group::facts::{Facts, Seen, SetView};
use standin_failover::group::perform::Local;
use standin_failover::resource::{self, Memo, Step};

use super::asked::{Checked, Refused};
use super::foresight;
use crate::control::FailedKind;
use crate::daemon::Daemon;
use crate::daemon::standby::{Rehearsal, Rehearsed};
pub(crate) use report::{Cloned, DrillEnd, DrillReport, Looked};

/// How long the check command may take.
const CHECK: Duration = Duration::from_secs(900);
/// Reports that are kept.
const KEPT: usize = 50;

/// What is asked of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DrillWish {
    /// Where; by default on the node that would take over.
    pub(crate) on: Option<NodeName>,
    /// The recovery point; by default the newest.
    pub(crate) point: Option<PointNumber>,
    /// Whether the clone stays.
    pub(crate) keep: bool,
}

/// The drills of a group on this node.
pub(super) struct Drills {
    pub(super) daemon: Arc<Daemon>,
    pub(super) group: GroupName,
    pub(super) node: NodeName,
    /// The check command.
    pub(super) command: Option<Command>,
    /// Where reports are kept.
    pub(super) directory: PathBuf,
    /// The drill that is under way.
    pub(super) running: Mutex<Option<DrillReport>>,
}

/// What a drill works with.
pub(super) struct Ground {
    /// The group here.
    pub(super) local: Arc<Local>,
    /// What every node said.
    pub(super) facts: Facts,
    /// What should be right here.
    pub(super) checked: Vec<Checked>,
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What the nodes would say if the one that has the group were lost: nothing is done there by a failover then.
fn without_its_node(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    if let Some(lost) = facts.newest().online.filter(|node| *node != facts.runner) {
        facts.nodes.insert(lost, Seen::Away("the drill takes it for lost".to_owned()));
    }
    facts
}

/// Where the wish of a drill leads: the node that would take over.
pub(super) fn as_failover(wish: &DrillWish) -> Wish {
    Wish::Failover {
        to: wish.on.clone(),
        point: wish.point,
        accept: Accept::Any,
        force: true,
        heed: Heed::default(),
        fenced: false,
    }
}

impl Drills {
    fn lock(&self) -> MutexGuard<'_, Option<DrillReport>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, run: &RunId) -> PathBuf {
        self.directory.join(format!("{run}.json"))
    }

    /// Clears away what drills left that were cut off.
    pub(super) fn clear(&self, local: &Local) {
        let standbys = local.group().sets().filter_map(|set| self.daemon.standby(set));
        standbys.for_each(|standby| standby.clear_rehearsals());
    }

    /// Begins one; its report says how it goes.
    pub(super) fn begin(self: &Arc<Self>, wish: &DrillWish, run: RunId, ground: Ground) -> Result<RunId, Refused> {
        let refused = |text: String| Refused::new(FailedKind::Refused, text);
        let sets: Vec<SetName> = ground.local.group().sets().cloned().collect();
        if let Some(set) = sets.iter().find(|set| self.daemon.standby(set).is_none()) {
            let why = format!("{} is not the standby of {set}: a drill is on a node that is, see `--on`", self.node);
            return Err(refused(why));
        }
        let mut running = self.lock();
        if let Some(other) = &*running {
            return Err(refused(format!("drill {} is under way: wait for its end", other.run)));
        }
        let report = DrillReport {
            group: self.group.clone(),
            run: run.clone(),
            node: self.node.clone(),
            begun_unix_ms: unix_ms(),
            took_ms: 0,
            end: None,
            sets: Vec::new(),
            check: None,
            steps: Vec::new(),
            foreseen: Vec::new(),
            checked: Vec::new(),
            troubles: Vec::new(),
            kept: false,
        };
        *running = Some(report);
        drop(running);
        let (drills, wish) = (self.clone(), wish.clone());
        let begun = thread::Builder::new().name("drill".to_owned()).spawn(move || drills.carry(&wish, &ground));
        begun.map_err(|error| {
            *self.lock() = None;
            Refused::new(FailedKind::Failed, format!("cannot start a thread: {error}"))
        })?;
        tracing::info!(group = %self.group, %run, "a drill begins");
        Ok(run)
    }

    fn note(&self, change: impl FnOnce(&mut DrillReport)) {
        if let Some(report) = &mut *self.lock() {
            change(report);
            report.took_ms = unix_ms().saturating_sub(report.begun_unix_ms);
        }
    }

    fn carry(&self, wish: &DrillWish, ground: &Ground) {
        let Some(run) = self.lock().as_ref().map(|report| report.run.clone()) else { return };
        self.look_ahead(wish, &run, ground);
        let mut places = Vec::new();
        let cloned = self.clone_sets(wish, &run, ground, &mut places);
        match &cloned {
            Ok(clones) => self.check(&run, clones),
            Err(why) => self.note(|report| report.troubles.push(why.clone())),
        }
        let kept = wish.keep && cloned.is_ok();
        for place in &places {
            let done = if kept { place.keep() } else { place.clear() };
            if let Err(error) = done {
                self.note(|report| {
                    report.troubles.push(format!("the clone cannot be {}: {error}", if kept { "kept" } else { "removed" }))
                });
            }
        }
        let Some(mut report) = self.lock().clone() else { return };
        report.kept = kept;
        report.took_ms = unix_ms().saturating_sub(report.begun_unix_ms);
        report.end = Some(report.judge());
        tracing::info!(group = %self.group, run = %report.run, end = ?report.end, "the drill ended");
        if let Err(error) = self.keep(&report) {
            tracing::error!(group = %self.group, run = %report.run, %error, "the drill's report cannot be kept");
        }
        // From here on it is the one on disk that is told.
        *self.lock() = None;
    }

    fn keep(&self, report: &DrillReport) -> std::io::Result<()> {
        disk::create_private_dir(&self.directory).map_err(std::io::Error::from)?;
        disk::replace(&self.path(&report.run), &serde_json::to_vec_pretty(report)?, Mode::Private)
            .map_err(std::io::Error::from)?;
        let all = self.all();
        let mut old = all.iter().take(all.len().saturating_sub(KEPT));
        old.try_for_each(|run| disk::remove(&self.path(run)).map_err(std::io::Error::from))
    }

    /// All that have a report, the newest last.
    fn all(&self) -> Vec<RunId> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok());
        let mut runs: Vec<RunId> = names.collect();
        runs.sort();
        runs
    }

    /// The report of a drill, or of the last one; `None` if there was none.
    pub(super) fn report(&self, run: Option<&RunId>) -> Option<DrillReport> {
        let running = self.lock().clone().filter(|report| run.is_none_or(|run| report.run == *run));
        let kept = || {
            let run = run.cloned().or_else(|| self.all().pop())?;
            serde_json::from_slice(&disk::read_optional(&self.path(&run)).ok()??).ok()
        };
        running.or_else(kept)
    }

    /// What a failover would do, and whether all is right for it.
    fn look_ahead(&self, wish: &DrillWish, run: &RunId, ground: &Ground) {
        let failover = Wish::Failover {
            to: Some(self.node.clone()),
            point: wish.point,
            accept: Accept::Any,
            force: true,
            heed: Heed::default(),
            fenced: false,
        };
        let planned = decide(ground.local.group(), &without_its_node(&ground.facts), &failover, run.clone());
        let from = planned.as_ref().ok().and_then(|plan| plan.from.clone());
        let foreseen = foresight::foresee(&ground.local, from.as_ref());
        self.note(|report| {
            report.foreseen = foreseen;
            report.checked = ground.checked.clone();
            match planned {
                Ok(plan) => report.steps = plan.steps.iter().map(|step| format!("{}: {}", step.node, step.action)).collect(),
                Err(refusal) => report.troubles.push(format!("a failover to {} would be refused: {refusal}", self.node)),
            }
        });
    }

    fn clone_sets(
        &self,
        wish: &DrillWish,
        run: &RunId,
        ground: &Ground,
        places: &mut Vec<Rehearsal>,
    ) -> Result<Vec<(SetName, Rehearsed)>, String> {
        let mut clones = Vec::new();
        for set in ground.local.group().sets() {
            let standby = self.daemon.standby(set).ok_or_else(|| format!("this node is not the standby of {set} any more"))?;
            let place = standby.rehearsal(run.as_str());
            let begun = Instant::now();
            let made = standby.rehearse(&place, wish.point);
            places.push(place);
            let made = made.map_err(|why| format!("set {set}: {why}"))?;
            let behind_ms = match ground.facts.view(&self.node).and_then(|view| view.sets.get(set)) {
                Some(SetView::Known { behind_ms, .. }) => *behind_ms,
                _ => None,
            };
            self.note(|report| {
                report.sets.push(Cloned {
                    set: set.clone(),
                    point: made.point.number,
                    consistent: made.point.consistent,
                    behind_ms,
                    roots: made.roots.clone(),
                    kinds: made.kinds.clone(),
                    files: made.copied.files,
                    bytes: made.copied.bytes,
                    shared: made.shared,
                    took_ms: ms(begun.elapsed()),
                    paused_ms: ms(made.paused),
                });
            });
            clones.push((set.clone(), made));
        }
        Ok(clones)
    }

    /// Runs the check command on the clones.
    fn check(&self, run: &RunId, clones: &[(SetName, Rehearsed)]) {
        let Some(command) = &self.command else { return };
        let asking = Asking { run, drills: self, clones, deadline: Instant::now() + CHECK, said: Mutex::default() };
        let begun = Instant::now();
        let done = asking.run(command);
        let looked = Looked {
            command: command.clone(),
            took_ms: ms(begun.elapsed()),
            said: asking.said.into_inner().unwrap_or_else(PoisonError::into_inner),
            failed: done.err(),
        };
        self.note(|report| report.check = Some(looked));
    }
}

/// The check command, as a script's step.
struct Asking<'a> {
    run: &'a RunId,
    drills: &'a Drills,
    clones: &'a [(SetName, Rehearsed)],
    deadline: Instant,
    said: Mutex<Vec<String>>,
}

impl Asking<'_> {
    fn run(&self, command: &Command) -> Result<(), String> {
        let name = "drill".parse().map_err(|error| format!("{error}"))?;
        let settings = Settings {
            name,
            needs: Vec::new(),
            start_timeout_ms: ms(CHECK),
            stop_timeout_ms: ms(CHECK),
            restarts: 0,
            restart_window_ms: 0,
            optional: false,
            kind: Kind::Script(Script { start: Some(command.clone()), stop: None }),
        };
        let script = resource::build(&settings, &self.drills.group, &self.drills.node).map_err(|error| error.to_string())?;
        script.start(self).map_err(|trouble| trouble.to_string())
    }
}

/// What a clone is of, in a word.
fn word(kind: RootKind) -> &'static str {
    match kind {
        RootKind::Directory => "directory",
        RootKind::File => "file",
        RootKind::Device => "device",
    }
}

/// A set's name as a part of a variable's.
fn as_variable(set: &SetName) -> String {
    set.as_str().chars().map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' }).collect()
}

impl Step for Asking<'_> {
    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn tell(&self, line: fmt::Arguments<'_>) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_string());
    }

    fn keep(&self, _: Memo) -> std::io::Result<()> {
        Ok(())
    }

    fn memo(&self) -> Option<Memo> {
        None
    }

    fn variables(&self) -> Vec<(String, String)> {
        let mut variables = BTreeMap::from([
            ("STANDIN_EVENT".to_owned(), "drill".to_owned()),
            ("STANDIN_RUN".to_owned(), self.run.to_string()),
            ("STANDIN_GROUP".to_owned(), self.drills.group.to_string()),
            ("STANDIN_NODE".to_owned(), self.drills.node.to_string()),
        ]);
        for (set, made) in self.clones {
            let name = as_variable(set);
            variables.insert(format!("STANDIN_POINT_{name}"), made.point.number.to_string());
            for (number, root) in made.roots.iter().enumerate() {
                let path = root.display().to_string();
                variables.entry("STANDIN_CLONE".to_owned()).or_insert_with(|| path.clone());
                variables.insert(format!("STANDIN_CLONE_{name}_{number}"), path);
            }
            for (number, kind) in made.kinds.iter().enumerate() {
                variables.entry("STANDIN_KIND".to_owned()).or_insert_with(|| word(*kind).to_owned());
                variables.insert(format!("STANDIN_KIND_{name}_{number}"), word(*kind).to_owned());
            }
        }
        variables.into_iter().collect()
    }
}
