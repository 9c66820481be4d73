//! Where the demo plays: a directory and the processes that run in it, all gone at the end, however it ends.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::iterator::Signals;

use super::{DemoError, at, platform};

/// How often somebody else may put the directory there again before that is an error.
const REMOVALS: usize = 100;
/// How long a daemon may take to end, and anything else that should take an instant.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// See the module.
pub(super) struct Stage {
    base: PathBuf,
    keep: bool,
    cast: Mutex<Cast>,
}

/// The processes that run. Held locked, nobody else can start one, or clear the stage.
#[derive(Default)]
struct Cast {
    last: usize,
    running: BTreeMap<usize, Child>,
}

/// A process on the stage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Actor(usize);

/// Clears the stage when it falls.
pub(super) struct Curtain(Arc<Stage>);

impl Stage {
    /// Makes the directory, which is kept at the end if so wished. From now on, signals clear the stage and end the program.
    pub(super) fn open(keep: bool) -> Result<(Arc<Self>, Curtain), DemoError> {
        let parent = std::env::temp_dir();
        let pid = std::process::id();
        let (base, made) = (0..REMOVALS)
            .map(|number| parent.join(format!("standin-demo-{pid}-{number}")))
            .map(|base| (base.clone(), platform::make_private_dir(&base)))
            .find(|(_, made)| made.as_ref().is_ok_and(|()| true) || made.as_ref().is_err_and(|error| !is_there(error)))
            .ok_or_else(|| DemoError::Check(format!("{} is full of directories of earlier demos", parent.display())))?;
        at("make directory", &base, made)?;
        let stage = Arc::new(Self { base, keep, cast: Mutex::default() });
        let curtain = Curtain(stage.clone());
        let mut signals = at("wait for signals in", &stage.base, Signals::new(platform::ENDING))?;
        let watching = stage.clone();
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // Locked until the process is gone: whoever else fails now, because everything vanishes, waits here.
                let mut cast = watching.lock();
                watching.clear(&mut cast);
                eprintln!("\nended by a signal{}", watching.left());
                std::process::exit(128 + signal);
            }
        });
        Ok((stage, curtain))
    }

    /// Where everything is.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    fn left(&self) -> String {
        if self.keep { format!("; everything is kept in {}", self.base.display()) } else { "; nothing is left behind".to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, Cast> {
        self.cast.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process.
    pub(super) fn spawn(&self, mut command: Command) -> Result<Actor, DemoError> {
        let mut cast = self.lock();
        let started = command.spawn();
        let child = at("start", Path::new(command.get_program()), started)?;
        cast.last += 1;
        let actor = Actor(cast.last);
        cast.running.insert(actor.0, child);
        Ok(actor)
    }

    /// Whether a process has ended, and how.
    pub(super) fn ended(&self, actor: Actor) -> Option<ExitStatus> {
        let mut cast = self.lock();
        let status = cast.running.get_mut(&actor.0)?.try_wait().ok()??;
        cast.running.remove(&actor.0);
        Some(status)
    }

    /// Waits for the end of a process, for `patience`.
    pub(super) fn wait(&self, actor: Actor, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.ended(actor) {
                None if Instant::now() < deadline => thread::sleep(LOOK),
                ended => return ended,
            }
        }
    }

    /// Ends a process with SIGKILL, as a crash would.
    pub(super) fn kill(&self, actor: Actor) -> Result<(), DemoError> {
        let child = self.lock().running.remove(&actor.0);
        child.map_or(Ok(()), |mut child| at("kill a process in", &self.base, end(&mut child)))
    }

    /// Ends a process as an administrator does, with SIGTERM; says how it ended.
    pub(super) fn terminate(&self, actor: Actor) -> Option<ExitStatus> {
        let pid = self.lock().running.get(&actor.0).map(Child::id)?;
        platform::terminate(pid).ok()?;
        self.wait(actor, PATIENCE)
    }

    fn clear(&self, cast: &mut Cast) {
        for child in cast.running.values_mut() {
            // What ended by itself needs no killing.
            let _ = end(child);
        }
        cast.running.clear();
        if !self.keep
            && let Err(error) = remove(&self.base)
        {
            eprintln!("standin: {} is left behind: {error}", self.base.display());
        }
    }
}

impl Drop for Curtain {
    fn drop(&mut self) {
        self.0.clear(&mut self.0.lock());
    }
}

fn end(child: &mut Child) -> io::Result<()> {
    child.kill()?;
    child.wait().map(drop)
}

fn is_there(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists
}

/// Removes a directory that other threads may still be writing to. They are outwitted: the directory is moved aside, and a file takes
/// its name, so that nothing more can be made beneath it.
fn remove(base: &Path) -> io::Result<()> {
    let aside = base.with_extension("gone");
    match fs::rename(base, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed?,
    }
    for _ in 0..REMOVALS {
        match File::create_new(base) {
            Ok(_) => break,
            Err(error) if is_there(&error) => fs::remove_dir_all(base)?,
            Err(error) => return Err(error),
        }
    }
    fs::remove_dir_all(&aside)?;
    fs::remove_file(base)
}
