//! A small process beside the daemon that stops what a group has here when its right ends and the daemon is dead, or hangs.
//!
//! Without it, services would go on beside those of the node that takes over. It is the same program (`standin guard`), started by the daemon
//! and not ended with it. It knows nothing but the file `right`, which the daemon writes as long as it has one, and who holds the daemon's lock.
//!
//! The rule: before anything is started, `right` says that this node serves; what a start runs has a mark from its first moment
//! (`started`). When the right is over and no daemon stopped everything, the guard ends starts that are under way, then stops all else. It ends
//! when no daemon lives and nothing is left, or when the guard of a newer daemon waits, which knows newer settings.

#[cfg_attr(target_os = "linux", path = "guard/linux.rs")]
mod platform;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use standin_common::id::{GroupName, ResourceName};
use standin_config::Settings;
use standin_config::group::Group;
use standin_failover::monitor::Moment;
use standin_failover::monitor::gate::Gate;
use standin_failover::resource::Resource;
use standin_failover::resource::started::Mark;

use super::kept::{Files, Right};
use super::now;
use super::stop::Possession;
use super::watch::{Watch, rule_of};
use crate::daemon::group::resources;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Between looks at what is left to stop.
const AGAIN: Duration = Duration::from_secs(2);
/// Before it is started again, should it end.
const PAUSE: Duration = Duration::from_secs(1);
/// The lock of the one that guards.
const LOCK: &str = "guard.lock";
/// The lock of the one that comes after it.
const NEXT: &str = "guard.next";
/// So many looks in a row that find nothing left, and it ends: a command that is just being started has no mark yet.
const EMPTY_LOOKS: u32 = 3;

/// The lock of the daemon.
const ALIVE: &str = "alive.lock";

/// Held by a daemon as long as it lives.
pub(super) fn alive(directory: &Path) -> io::Result<File> {
    let file = File::options().create(true).append(true).open(directory.join(ALIVE))?;
    file.lock()?;
    Ok(file)
}

/// Starts the guard of a group, and starts it again whenever it ends, as long as the daemon runs.
pub(super) fn keep(watch: &Arc<Watch>, config: &Path) {
    let (watch, config) = (watch.clone(), config.to_owned());
    let run = move || {
        while !watch.lock().ends {
            match platform::start(&config, &watch.written.name) {
                // How it ended it has said itself.
                Ok(mut guard) => drop(guard.wait()),
                Err(error) => {
                    tracing::error!(group = %watch.written.name, %error, "the guard cannot be started: services would outlive this daemon")
                }
            }
            thread::sleep(PAUSE);
        }
    };
    // It is not joined at the end: it waits for a process that outlives the daemon.
    if let Err(error) = thread::Builder::new().name("guard".to_owned()).spawn(run) {
        tracing::error!(%error, "cannot start a thread for the guard");
    }
}

/// Guards a group until nothing of it is left to guard and no daemon is there.
///
/// # Errors
/// What hinders it, for people.
pub(crate) fn run(settings: &Settings, group: &GroupName) -> Result<(), String> {
    let written = settings.groups.get(group).ok_or_else(|| format!("there is no group {group} in the settings"))?;
    let directory = settings.node.state_dir.join("groups").join(group.as_str());
    let files = Files::new(&directory).map_err(|error| error.to_string())?;
    let all = resources(written, &settings.node.name, None, &directory)?;
    let mark = Mark::of(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    // One guard is enough; by the lock of the next one it sees that another waits.
    let next = locked(&directory.join(NEXT))?;
    let _lock = locked(&directory.join(LOCK))?;
    drop(next);
    let guard = Guard { written, all, mark, files, daemon: directory.join(ALIVE), next: directory.join(NEXT) };
    guard.watch();
    Ok(())
}

/// A file that is locked as long as it is held.
fn locked(path: &Path) -> Result<File, String> {
    let file = File::options().create(true).append(true).open(path);
    let locked = file.and_then(|file| file.lock().map(|()| file));
    locked.map_err(|error| format!("{}: {error}", path.display()))
}

/// Whether another process has it locked. Looked at only for a moment: whoever locks it just now waits for that.
fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

struct Guard<'a> {
    written: &'a Group,
    all: BTreeMap<ResourceName, Arc<dyn Resource>>,
    mark: Mark,
    files: Files,
    /// The file that a daemon holds locked.
    daemon: PathBuf,
    /// The file that the next guard holds locked while it waits.
    next: PathBuf,
}

impl Guard<'_> {
    fn watch(&self) {
        let mut empty_looks = 0;
        loop {
            let has_daemon = is_locked(&self.daemon);
            let right = self.files.read_right();
            let over = right.filter(|right| right.serves && self.is_over(right, has_daemon));
            let pause = match &over {
                Some(right) => {
                    self.stop(right);
                    AGAIN
                }
                None => LOOK,
            };
            // Nothing is here that nobody looks after: the next daemon starts another guard.
            empty_looks = if has_daemon || self.is_left() { 0 } else { empty_looks + 1 };
            if empty_looks == EMPTY_LOOKS || is_locked(&self.next) {
                return;
            }
            thread::sleep(pause);
        }
    }

    fn possession(&self) -> Possession<'_> {
        Possession { resources: &self.all, written: self.written, mark: &self.mark }
    }

    fn is_left(&self) -> bool {
        self.possession().is_any_left(Duration::from_millis(rule_of(self.written).allowance_ms / 10))
    }

    /// A daemon that is there stops everything itself; one that hangs has let some of the allowance pass.
    fn is_over(&self, right: &Right, has_daemon: bool) -> bool {
        let grace = if has_daemon { rule_of(self.written).allowance_ms / 4 } else { 0 };
        now() >= right.until.after(grace)
    }

    fn stop(&self, over: &Right) {
        // It may have been renewed just now.
        if !self.is_left() || self.files.read_right().is_none_or(|again| again.until != over.until) {
            return;
        }
        let name = &self.written.name;
        tracing::error!(group = %name, "the right of this node ended, and no daemon stopped what it has: the guard does");
        let gate = Gate::default();
        gate.set(Some(Moment::default()));
        let left = self.possession().stop(&gate, rule_of(self.written).allowance_ms * 3 / 4).left;
        if left.is_empty() {
            tracing::warn!(group = %name, "all is stopped");
        } else {
            tracing::error!(group = %name, ?left, "NOT STOPPED IN TIME: end it by hand at once");
        }
    }
}
