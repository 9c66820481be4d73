//! A clone of the replica at a point, for a drill: made beside it while replication goes on.
//!
//! The clone of a root is `drill/RUN/root-N` in the set's state directory, or, of a root in another file system, in `.standin` at the top of that
//! root, so that data can be shared with it; that name is never replicated. Of a root that is one file it is in `.NAME.standin-drill` beside that file
//! if only there data can be shared; of a block device it is a file, with holes where the device has zeros. It is brought near to the replica while that
//! receives, then made exact while whoever sends waits for a moment. An older point is gone to in the clone, by copies of the journals.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use standin_common::id::{PointNumber, RootIndex};
use standin_common::link::CloseCode;
use standin_common::message::RootKind;
use standin_common::path::RelPath;
use standin_replicator::journal::Point;
use standin_replicator::os::{OsVolume, free_bytes};
use standin_replicator::standby::clone::{Cloner, Copied, weight};
use standin_replicator::standby::state::{Phase, State};
use standin_replicator::store::DirectoryStore;
use standin_replicator::volume::{Place, Volume};
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
    /// What each of them is a clone of.
    pub(in crate::daemon) kinds: Vec<RootKind>,
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

    fn place(&self, root: usize, with_root: bool) -> PathBuf {
        let own = self.roots.get(root).filter(|_| with_root);
        own.map_or_else(|| self.own(), |own| with(own).join(&self.run)).join(format!("root-{root}"))
    }

    /// Where the clone of each root is best made.
    fn spots(&self, replica: &OsReplica) -> Vec<Spot> {
        let spot = |(root, volume): (&PathBuf, &OsVolume)| match volume.kind() {
            RootKind::Directory => Spot { with_root: volume.has_side_inside(), shares: volume.abilities().clones },
            RootKind::Device => Spot { with_root: false, shares: false },
            RootKind::File => {
                let here = volume.shares_into(&self.directory);
                let with_root = !here && with(root).parent().is_some_and(|beside| volume.shares_into(beside));
                Spot { with_root, shares: here || with_root }
            }
        };
        self.roots.iter().zip(replica.volumes()).map(spot).collect()
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

/// Where the clone of one root is.
#[derive(Debug, Clone, Copy)]
struct Spot {
    /// Whether it is in or beside the root, rather than in the state directory.
    with_root: bool,
    /// Whether it shares the root's data.
    shares: bool,
}

/// How many bytes a copy of a root takes.
type Weigh<'a> = &'a dyn Fn(&OsVolume) -> io::Result<u64>;

/// Where clones of a root are that are in or beside it.
fn with(root: &Path) -> PathBuf {
    if root.is_dir() {
        return root.join(".standin").join(DRILL);
    }
    // Where the file itself is, which a link may lead to.
    let file = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let mut name = OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".standin-drill");
    file.with_file_name(name)
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn clear_run(directory: &Path, roots: &[PathBuf], run: &str) -> io::Result<()> {
    for beside in roots.iter().map(|root| with(root)) {
        remove_all(&beside.join(run))?;
        // Others may be kept in it.
        let _ = fs::remove_dir(&beside);
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
        let spots = place.spots(&replica);
        self.check_room(place, &replica, &spots, older)?;
        let volumes = open(place, &replica, &spots).map_err(|error| format!("the clone cannot be made: {error}"))?;
        let cloners = replica.volumes().iter().zip(&volumes).map(|(from, to)| Cloner::new(from, to)).collect();
        let mut making = Making { set: self, replica: &replica, older, cloners, since: None, paused: Duration::ZERO };
        let failed = |error: io::Error| format!("the replica cannot be cloned: {error}");
        let copied = making.near().map_err(failed)?;
        let state = making.exact(&|state| keep_journals(place, &self.directory, state, older)).map_err(failed)?;
        let paused = making.paused;
        drop(making);
        let reached = go_to(place, volumes, &state, older.then_some(goal))?;
        let roots = spots.iter().enumerate().map(|(root, spot)| place.place(root, spot.with_root)).collect();
        let kinds = replica.volumes().iter().map(Volume::kind).collect();
        let shared = spots.iter().all(|spot| spot.shares);
        Ok(Rehearsed { point: reached, roots, kinds, shared, copied, paused })
    }

    /// Refuses where a copy has no room.
    fn check_room(&self, place: &Rehearsal, replica: &OsReplica, spots: &[Spot], older: bool) -> Result<(), String> {
        let failed = |error: io::Error| format!("how much room a clone needs cannot be seen: {error}");
        // A device is read to see what its clone takes, unless there is room for all of it.
        let most = |volume: &OsVolume| match volume.kind() {
            RootKind::Device => Ok(volume.object(&Place::Tree(&RelPath::root()))?.map_or(0, |object| object.size)),
            RootKind::Directory | RootKind::File => weight(volume),
        };
        let has_device = replica.volumes().iter().any(|volume| volume.kind() == RootKind::Device);
        let mut lacking = self.lacking(place, replica, spots, (older, &most)).map_err(failed)?;
        if lacking.is_some() && has_device {
            lacking = self.lacking(place, replica, spots, (older, &weight)).map_err(failed)?;
        }
        lacking.map_or(Ok(()), Err)
    }

    /// What a copy has no room for, if there is such.
    fn lacking(
        &self,
        place: &Rehearsal,
        replica: &OsReplica,
        spots: &[Spot],
        (older, weigh): (bool, Weigh<'_>),
    ) -> io::Result<Option<String>> {
        let mut needs: Vec<(PathBuf, u64)> = Vec::new();
        for ((root, volume), spot) in place.roots.iter().zip(replica.volumes()).zip(spots) {
            let at = if spot.with_root { root.clone() } else { self.directory.clone() };
            needs.push((at, if spot.shares { 0 } else { weigh(volume)? }));
        }
        if older {
            let journals = journals(&self.directory.join(REPLICA))?;
            let bytes = journals.iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum();
            needs.push((self.directory.clone(), bytes));
        }
        // Those of one file system are taken together, which is told by what is free in it.
        for (path, _) in &needs {
            let device = |path: &Path| standin_replicator::os::mount_point(path);
            let mount = device(path)?;
            let same = needs.iter().filter(|(other, _)| device(other).is_ok_and(|other| other == mount));
            let needed: u64 = same.map(|(_, bytes)| bytes).sum();
            let free = free_bytes(path)?;
            if needed > 0 && free < needed + MARGIN {
                return Ok(Some(format!(
                    "a copy of the replica needs {} in {}, and {} are free: make room, or put the replica on a file system that can clone files (btrfs, XFS)",
                    size(needed + MARGIN),
                    mount.display(),
                    size(free)
                )));
            }
        }
        Ok(None)
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
    /// The point from which the replica can have moved since the last call that brought all began.
    since: Option<PointNumber>,
    paused: Duration,
}

/// Nothing is wrong with it: the replica moved, or there was too much.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::NotFound)
}

impl Making<'_> {
    fn bring(&mut self, is_over: &dyn Fn() -> bool) -> io::Result<Copied> {
        let mut all = Copied::default();
        let before = self.replica.state();
        for (cloner, root) in self.cloners.iter_mut().zip(0..) {
            cloner.expect(self.since.and_then(|since| self.replica.changed_since(since, RootIndex(root))));
            let copied = cloner.bring(now(), is_over)?;
            (all.files, all.bytes) = (all.files + copied.files, all.bytes + copied.bytes);
            if self.older {
                cloner.bring_side(before.newest().unwrap_or_default().0, is_over)?;
            }
        }
        self.since = match before.phase {
            Phase::Settled { at } => Some(at),
            Phase::Moving { from, to } => from.map(|from| from.min(to)),
            _ => None,
        };
        Ok(all)
    }

    /// Copies all of it while replication goes on, then what is new, until that is little. What was copied the first time.
    fn near(&mut self) -> io::Result<Copied> {
        let mut first = None;
        for _ in 0..TRIES {
            let begun = Instant::now();
            let copied = self.bring(&|| false)?;
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
            let tried = self.attempt(keep, &|| begun.elapsed() > MOMENT);
            drop(paused);
            self.paused = self.paused.max(begun.elapsed());
            // If it moved, or there was too much, what is new is brought without anybody waiting. That will do if it rests meanwhile.
            let tried = match tried {
                Err(error) if is_late(&error) => self.attempt(keep, &|| false),
                Ok(None) => self.attempt(keep, &|| false),
                tried => tried,
            };
            match tried {
                Ok(Some(state)) => return Ok(state),
                Err(error) if !is_late(&error) => return Err(error),
                _ => {}
            }
        }
        Err(io::Error::other("it changes faster than it can be copied: try again when less is written"))
    }

    /// Brings what is new; the state that the clone is of, if the replica did not move meanwhile.
    fn attempt(&mut self, keep: &dyn Fn(&State) -> io::Result<()>, is_over: &dyn Fn() -> bool) -> io::Result<Option<State>> {
        let before = self.replica.state();
        self.bring(is_over)?;
        keep(&before)?;
        let rested = matches!(before.phase, Phase::Settled { .. }) && before == self.replica.state();
        Ok(rested.then_some(before))
    }
}

/// The clone's roots, made.
fn open(place: &Rehearsal, replica: &OsReplica, spots: &[Spot]) -> io::Result<Vec<OsVolume>> {
    let mut volumes = Vec::new();
    for (index, (of, spot)) in replica.volumes().iter().zip(spots).enumerate() {
        let path = place.place(index, spot.with_root);
        // First in the state directory, so that a restart knows of it, wherever the clone is.
        for directory in [place.own().as_path()].into_iter().chain(path.parent()) {
            standin_common::disk::create_private_dir(directory).map_err(io::Error::from)?;
        }
        let kind = if of.kind() == RootKind::Device { RootKind::File } else { of.kind() };
        volumes.push(OsVolume::open_target(&path, &former::side_of(&place.own(), index), kind)?);
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
