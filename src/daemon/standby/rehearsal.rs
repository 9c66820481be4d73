//! A clone of the replica at a point, for a drill: made beside it while replication goes on.
//!
//! The clone of a root is `drill/RUN/root-N` in the set's state directory, or, of a root in another file system, in `.standin` at the top of that
//! root, so that data can be shared with it; that name is never replicated. It is brought near to the replica while that receives, then
//! made exact while whoever sends waits for a moment. An older point is gone to in the clone, by copies of the journals.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use standin_common::id::PointNumber;
use standin_common::link::CloseCode;
use standin_common::message::RootKind;
use standin_config::Set;
use standin_replicator::journal::Point;
use standin_replicator::os::{OsVolume, free_bytes};
use standin_replicator::standby::clone::{Cloner, Copied, weight};
use standin_replicator::standby::state::{Phase, State};
use standin_replicator::store::DirectoryStore;
use standin_replicator::volume::Volume;
use standin_replicator::words::size;

use super::{OsReplica, REPLICA, StandbySet, former};

const DRILL: &str = "drill";
/// A file in the state directory's part of a clone that is to stay.
const KEEP: &str = "keep";
/// How long whoever sends is kept waiting: less than they wait ([`END`](super::END)).
const MOMENT: Duration = Duration::from_secs(8);
/// How long the end of a pass that is being received is waited for; a stream never ends, and is cut off.
const PASS: Duration = Duration::from_secs(5);
/// A clone is near enough when bringing what is new takes no longer than this.
const NEAR: Duration = Duration::from_secs(2);
/// How often bringing it near, or making it exact, is tried.
const TRIES: usize = 8;
/// What stays free of a file system.
const MARGIN: u64 = 64 * 1024 * 1024;

/// A clone, and how it was made.
#[derive(Debug)]
pub(in crate::daemon) struct Rehearsed {
    /// The point that it is at.
    pub(in crate::daemon) point: Point,
    /// The clone of each root.
    pub(in crate::daemon) roots: Vec<PathBuf>,
    /// Whether all of it shares its data with the replica.
    pub(in crate::daemon) shared: bool,
    /// What was copied or shared, the first time.
    pub(in crate::daemon) copied: Copied,
    /// How long whoever sends was kept waiting at most.
    pub(in crate::daemon) paused: Duration,
}

/// The place of one clone of a set.
pub(in crate::daemon) struct Rehearsal {
    /// The set's state directory.
    directory: PathBuf,
    roots: Vec<PathBuf>,
    run: String,
}

impl Rehearsal {
    fn own(&self) -> PathBuf {
        self.directory.join(DRILL).join(&self.run)
    }

    fn place(&self, root: usize, inside: bool) -> PathBuf {
        let own = self.roots.get(root).filter(|_| inside);
        own.map_or_else(|| self.own(), |own| inside_of(own).join(&self.run)).join(format!("root-{root}"))
    }

    /// Removes all of it.
    pub(in crate::daemon) fn clear(&self) -> io::Result<()> {
        clear_run(&self.directory, &self.roots, &self.run)
    }

    /// Lets it stay, also over a restart.
    pub(in crate::daemon) fn keep(&self) -> io::Result<()> {
        fs::write(self.own().join(KEEP), b"")
    }
}

fn inside_of(root: &Path) -> PathBuf {
    root.join(".standin").join(DRILL)
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn clear_run(directory: &Path, roots: &[PathBuf], run: &str) -> io::Result<()> {
    for inside in roots.iter().map(|root| inside_of(root)) {
        remove_all(&inside.join(run))?;
        // Others may be kept in it.
        let _ = fs::remove_dir(&inside);
    }
    remove_all(&directory.join(DRILL).join(run))?;
    let _ = fs::remove_dir(directory.join(DRILL));
    Ok(())
}

/// Whoever wants to send waits as long as this is there.
struct Paused<'a>(&'a StandbySet);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.lock().paused = false;
        self.0.changed.notify_all();
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl StandbySet {
    /// The place of a clone.
    pub(in crate::daemon) fn rehearsal(&self, run: &str) -> Rehearsal {
        let roots = self.set().roots.iter().map(|root| root.target.clone()).collect();
        Rehearsal { directory: self.directory.clone(), roots, run: run.to_owned() }
    }

    /// Clears away what drills left that were cut off.
    pub(in crate::daemon) fn clear_rehearsals(&self) {
        for run in fs::read_dir(self.directory.join(DRILL)).into_iter().flatten().flatten() {
            let run = run.file_name().to_string_lossy().into_owned();
            if self.directory.join(DRILL).join(&run).join(KEEP).exists() {
                continue;
            }
            match self.rehearsal(&run).clear() {
                Ok(()) => tracing::info!(set = %self.set().name, run, "cleared away what a drill left"),
                Err(error) => tracing::warn!(set = %self.set().name, run, %error, "cannot clear away what a drill left"),
            }
        }
    }

    /// Clones the replica at a point, by default the newest. What was begun is to be cleared by the caller, whatever comes of it.
    pub(in crate::daemon) fn rehearse(&self, place: &Rehearsal, point: Option<PointNumber>) -> Result<Rehearsed, String> {
        let replica = self.replica(None).map_err(|error| error.to_string())?;
        let state = replica.state();
        let newest = state.newest().ok_or("there is no recovery point yet")?;
        let goal = point.unwrap_or(newest);
        state.point(goal).ok_or_else(|| format!("point {goal} is not kept; `standin points` lists those that are"))?;
        // By the time it is cloned, the newest point may have passed into another one; one that was asked for is gone to.
        let older = point.is_some();
        self.check_room(place, &replica, older)?;
        let volumes = open(place, &self.set(), &replica).map_err(|error| format!("the clone cannot be made: {error}"))?;
        let mut making = Making { set: self, replica: &replica, older, cloners: Vec::new(), paused: Duration::ZERO };
        making.cloners = replica.volumes().iter().zip(&volumes).map(|(from, to)| Cloner::new(from, to)).collect();
        let failed = |error: io::Error| format!("the replica cannot be cloned: {error}");
        let copied = making.near().map_err(failed)?;
        let state = making.exact(&|state| keep_journals(place, &self.directory, state, older)).map_err(failed)?;
        let paused = making.paused;
        drop(making);
        let shared = volumes.iter().all(|volume| volume.abilities().clones);
        let reached = go_to(place, volumes, &state, older.then_some(goal))?;
        let roots = replica.volumes().iter().enumerate().map(|(root, of)| place.place(root, of.has_side_inside())).collect();
        Ok(Rehearsed { point: reached, roots, shared, copied, paused })
    }

    /// Refuses where a copy has no room.
    fn check_room(&self, place: &Rehearsal, replica: &OsReplica, older: bool) -> Result<(), String> {
        let failed = |error: io::Error| format!("how much room a clone needs cannot be seen: {error}");
        let mut needs: Vec<(PathBuf, u64)> = Vec::new();
        for (root, volume) in place.roots.iter().zip(replica.volumes()) {
            if volume.kind() == RootKind::Device {
                return Err(format!("{} is a block device, of which no clone is made: take a snapshot of it", root.display()));
            }
            let needed = if volume.abilities().clones { 0 } else { weight(volume).map_err(failed)? };
            needs.push((if volume.has_side_inside() { root.clone() } else { self.directory.clone() }, needed));
        }
        if older {
            let journals = journals(&self.directory.join(REPLICA)).map_err(failed)?;
            let bytes = journals.iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum();
            needs.push((self.directory.clone(), bytes));
        }
        // Those of one file system are taken together, which is told by what is free in it.
        for (path, _) in &needs {
            let device = |path: &Path| standin_replicator::os::mount_point(path);
            let mount = device(path).map_err(failed)?;
            let same = needs.iter().filter(|(other, _)| device(other).is_ok_and(|other| other == mount));
            let needed: u64 = same.map(|(_, bytes)| bytes).sum();
            let free = free_bytes(path).map_err(failed)?;
            if needed > 0 && free < needed + MARGIN {
                return Err(format!(
                    "a copy of the replica needs {} in {}, and {} are free: make room, or put the replica on a file system that can clone files (btrfs, XFS)",
                    size(needed + MARGIN),
                    mount.display(),
                    size(free)
                ));
            }
        }
        Ok(())
    }

    /// Has whoever wants to send wait. `false` if a pass is being received that does not end.
    fn pause(&self) -> (Paused<'_>, bool) {
        let mut state = self.lock();
        state.paused = true;
        if let Some(receiving) = state.receiving.as_ref().filter(|_| state.streams) {
            // The source goes on with it when it is let in again.
            receiving.close(CloseCode::DONE, "the replica is cloned");
        }
        let ended = self.changed.wait_timeout_while(state, PASS, |state| state.receiving.is_some());
        let (state, waited) = ended.unwrap_or_else(PoisonError::into_inner);
        drop(state);
        (Paused(self), !waited.timed_out())
    }
}

/// A clone in the making.
struct Making<'a> {
    set: &'a StandbySet,
    replica: &'a OsReplica,
    /// Whether it is to go to an older point than the newest.
    older: bool,
    cloners: Vec<Cloner<'a, OsVolume>>,
    paused: Duration,
}

impl Making<'_> {
    fn bring(&mut self, newest: u64, is_over: &dyn Fn() -> bool) -> io::Result<Copied> {
        let mut all = Copied::default();
        for cloner in &mut self.cloners {
            let copied = cloner.bring(now(), is_over)?;
            (all.files, all.bytes) = (all.files + copied.files, all.bytes + copied.bytes);
            if self.older {
                cloner.bring_side(newest, is_over)?;
            }
        }
        Ok(all)
    }

    /// Copies all of it while replication goes on, then what is new, until that is little. What was copied the first time.
    fn near(&mut self) -> io::Result<Copied> {
        let mut first = None;
        for _ in 0..TRIES {
            let begun = Instant::now();
            let newest = self.replica.state().newest().unwrap_or_default().0;
            let copied = self.bring(newest, &|| false)?;
            let was_first = first.is_none();
            first.get_or_insert(copied);
            if !was_first && begun.elapsed() < NEAR {
                break;
            }
        }
        Ok(first.unwrap_or_default())
    }

    /// Makes it exact, in a moment in which the replica did not move. `keep` keeps what else belongs to that moment.
    fn exact(&mut self, keep: &dyn Fn(&State) -> io::Result<()>) -> io::Result<State> {
        for _ in 0..TRIES {
            let (paused, _ended) = self.set.pause();
            let begun = Instant::now();
            let before = self.replica.state();
            let rests = |state: &State| matches!(state.phase, Phase::Settled { .. });
            let newest = before.newest().unwrap_or_default().0;
            let brought = self.bring(newest, &|| begun.elapsed() > MOMENT);
            let kept = brought.and_then(|_| keep(&before));
            let after = self.replica.state();
            drop(paused);
            self.paused = self.paused.max(begun.elapsed());
            match kept {
                Ok(()) if rests(&before) && before == after => return Ok(before),
                Err(error) if !matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::NotFound) => return Err(error),
                // It moved, or there was too much: what is new is brought without anybody waiting.
                _ => self.bring(newest, &|| false)?,
            };
        }
        Err(io::Error::other("it changes faster than it can be copied: try again when less is written"))
    }
}

/// The clone's roots, made.
fn open(place: &Rehearsal, set: &Set, replica: &OsReplica) -> io::Result<Vec<OsVolume>> {
    let mut volumes = Vec::new();
    for (index, (_, of)) in set.roots.iter().zip(replica.volumes()).enumerate() {
        let path = place.place(index, of.has_side_inside());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // So that a restart knows of it, wherever the clone is.
        standin_common::disk::create_private_dir(&place.own()).map_err(io::Error::from)?;
        volumes.push(OsVolume::open_target(&path, &former::side_of(&place.own(), index), of.kind())?);
    }
    Ok(volumes)
}

/// The journals that lead back to older points.
fn journals(replica: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(replica)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".back") || name == "turned" {
            found.push(path);
        }
    }
    Ok(found)
}

/// Copies what leads back to older points.
fn keep_journals(place: &Rehearsal, directory: &Path, state: &State, older: bool) -> io::Result<()> {
    if !older {
        return Ok(());
    }
    let kept = place.own().join(REPLICA);
    remove_all(&kept)?;
    standin_common::disk::create_private_dir(&kept).map_err(io::Error::from)?;
    for journal in journals(&directory.join(REPLICA))? {
        fs::copy(&journal, kept.join(journal.file_name().unwrap_or_default()))?;
    }
    fs::write(kept.join("state"), serde_json::to_vec_pretty(state)?)
}

/// Takes the clone to its point, which it is at unless it is an older one.
fn go_to(place: &Rehearsal, volumes: Vec<OsVolume>, state: &State, older: Option<PointNumber>) -> Result<Point, String> {
    let Some(goal) = older else {
        volumes.iter().try_for_each(Volume::close_side).map_err(|error| error.to_string())?;
        let at = state.phase.point().and_then(|at| state.point(at));
        return at.cloned().ok_or_else(|| "there is no recovery point".to_owned());
    };
    let back = |error: &dyn std::fmt::Display| format!("the clone cannot go to point {goal}: {error}");
    let store = DirectoryStore::open(&place.own().join(REPLICA)).map_err(|error| back(&error))?;
    let replica = OsReplica::load(volumes, store, state.points.len()).map_err(|error| back(&error))?;
    replica.promote(Some(goal)).map_err(|error| back(&error))
}
