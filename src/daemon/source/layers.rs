//! The layers over the roots of a set with `capture = "ordered"`: put in place, taken away, and what they hear.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use standin_common::id::RootIndex;
use standin_common::message::Position;
use standin_common::scope::Scope;
use standin_config::Set;
use standin_replicator::capture::ordered::{
    Acknowledges, Active, Activity, Ledger, Passthrough, Position as LogPosition, Reach, scopes_of,
};
use standin_replicator::capture::watch::Watch;
use standin_replicator::os::{Layer, OsVolume, clear_dead_layer, len_of, mount_point};
use standin_replicator::report::{LayerReport, LeftReport};
use standin_replicator::rules::Rules;
use standin_replicator::source::state::Hold;
use standin_replicator::volume::Volume;

use super::{SourceSet, failed};
use crate::control::{Failed, FailedKind};

/// How long those who use a root are waited for when the daemon ends.
const LET_GO: Duration = Duration::from_secs(10);
/// How often it is tried meanwhile.
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// Why nothing is sent while the layers are away; with what it begins, a hold for that is known.
pub(super) const NOT_MOUNTED: &str = "the layers are not over the roots, so changes are not seen";

/// See the module.
pub(super) struct Layers {
    ledger: Arc<Ledger>,
    waits: Arc<Waits>,
    roots: Vec<PathBuf>,
    is_known: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mounted: Vec<Mounted>,
    /// Why they are not.
    trouble: Option<String>,
    /// What an earlier daemon left in the record, until a watch has it.
    left: Option<Vec<Active>>,
    /// The same for reports.
    told: Option<LeftReport>,
    holds: Holds,
}

#[derive(Default, Clone, Copy)]
struct Holds {
    count: u64,
    broken: u64,
    last: Duration,
    longest: Duration,
}

struct Mounted {
    layer: Layer,
    /// The file system that the root lies in.
    mount: PathBuf,
}

/// A root past its layer. This daemon never goes through its own layers: they may be held, and a daemon that is killed while it waits for itself
/// never ends (the kernel waits for its answer, and it keeps the connection open).
pub(super) struct Inside {
    directory: File,
    /// The file system that the root lies in.
    pub(super) mount: PathBuf,
}

impl Inside {
    /// A path that leads there as long as this lives.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.directory.as_raw_fd()).into()
    }
}

/// Where the source of a set is found by its layers.
#[derive(Default)]
struct Waits(OnceLock<Weak<SourceSet>>);

impl Acknowledges for Waits {
    fn acknowledged(&self, position: LogPosition) -> io::Result<()> {
        // A daemon that ends acknowledges nothing.
        self.0
            .get()
            .and_then(Weak::upgrade)
            .map_or_else(|| Err(io::Error::from_raw_os_error(EIO)), |source| source.acknowledged(position))
    }
}

/// What an application is told that waits while the daemon ends, errno(3).
pub(super) const EIO: i32 = 5;

impl Layers {
    /// Of a set whose state is in `directory`. Nothing is mounted yet.
    pub(super) fn open(set: &Set, directory: &Path) -> Result<Self, String> {
        let (activity, left) = Activity::open(directory).map_err(|error| error.to_string())?;
        let is_known = left.is_some();
        let waits = Arc::new(Waits::default());
        let passthrough = Passthrough::new(&set.passthrough).map_err(|error| error.to_string())?;
        let ledger = Ledger::new(set.roots.len(), activity, passthrough, waits.clone());
        let roots = set.roots.iter().map(|root| root.path.clone()).collect();
        let left = left.filter(|left| !left.is_empty());
        let state = Mutex::new(State { left, trouble: Some("the daemon begins".to_owned()), ..State::default() });
        Ok(Self { ledger, waits, roots, is_known, state })
    }

    /// Whose layers they are, so that whoever syncs a file waits for its rounds.
    pub(super) fn belong_to(&self, source: &Arc<SourceSet>) {
        // The same each time.
        let _ = self.waits.0.set(Arc::downgrade(source));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what an earlier daemon left can be known; else anything may differ.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Puts them over all roots; nothing to do if they are there. Either all are there afterwards, or none.
    pub(super) fn mount(&self) -> Result<(), String> {
        let mut state = self.lock();
        if !state.mounted.is_empty() {
            return Ok(());
        }
        let mounted = self.mount_all();
        match mounted {
            Ok(mounted) => {
                (state.mounted, state.trouble) = (mounted, None);
                self.ledger.begin();
                if state.told.is_none() {
                    state.told = state.left.as_ref().map(|left| told(left, &state.mounted));
                }
                if let Some(told) = &state.told {
                    let LeftReport { places, bytes } = told;
                    tracing::info!(
                        places,
                        bytes,
                        "the daemon before did not end in order: these places are compared by their data"
                    );
                }
                tracing::info!(roots = self.roots.len(), "the layers are over the roots");
                Ok(())
            }
            Err(error) => {
                tracing::error!("{error}");
                state.trouble = Some(error.clone());
                Err(error)
            }
        }
    }

    fn mount_all(&self) -> Result<Vec<Mounted>, String> {
        let mut mounted = Vec::new();
        for (index, root) in self.roots.iter().enumerate() {
            match self.mount_one(index, root) {
                Ok(layer) => mounted.push(layer),
                Err(error) => {
                    // What cannot be taken away again, since somebody uses it by now, dies with this: whoever uses it gets errors.
                    let busy = mounted.into_iter().filter_map(|Mounted { layer, .. }| layer.unmount().err());
                    busy.for_each(|(_, error)| tracing::error!("{error}"));
                    return Err(error.to_string());
                }
            }
        }
        Ok(mounted)
    }

    fn mount_one(&self, index: usize, root: &Path) -> io::Result<Mounted> {
        clear_dead_layer(root)?;
        let mount = mount_point(root)?;
        let layer = Layer::mount(root, self.ledger.recorder(RootIndex(index as u16)))?;
        Ok(Mounted { layer, mount })
    }

    /// Takes them away. If a root is in use, that is an error that names the processes, and all stay.
    pub(super) fn unmount(&self) -> Result<(), String> {
        let mut state = self.lock();
        let mut rest = std::mem::take(&mut state.mounted);
        let mut failed = None;
        let mut away = 0;
        while let Some(Mounted { layer, mount }) = rest.pop() {
            match layer.unmount() {
                Ok(()) => away += 1,
                Err((layer, error)) => {
                    rest.push(Mounted { layer, mount });
                    failed = Some(error.to_string());
                    break;
                }
            }
        }
        let Some(error) = failed else {
            state.trouble = Some("somebody took them away".to_owned());
            self.ledger.end("the layers were taken away");
            return Ok(());
        };
        if away > 0 {
            // What happens in between is not heard: so all of it is looked at again.
            self.ledger.end("a layer was away for a moment");
            for index in rest.len()..self.roots.len() {
                match self.mount_one(index, &self.roots[index]) {
                    Ok(layer) => rest.push(layer),
                    Err(error) => {
                        tracing::error!("{error}");
                        state.trouble = Some(error.to_string());
                        state.mounted = rest;
                        return Err(error.to_string());
                    }
                }
            }
            self.ledger.begin();
        }
        state.mounted = rest;
        Err(error)
    }

    /// Takes them away at the end of the daemon, and waits a while for those who use the roots; `false` if somebody still does: then they get
    /// errors from now on. What was heard until then stays to be told.
    pub(super) fn take_away(&self) -> bool {
        let until = Instant::now() + LET_GO;
        let mut said = false;
        let mut state = self.lock();
        while let Some(Mounted { layer, mount }) = state.mounted.pop() {
            let Err((layer, error)) = layer.unmount() else { continue };
            if Instant::now() >= until {
                tracing::error!("{error}; whoever uses it gets errors until the daemon runs again");
                return false;
            }
            if !std::mem::replace(&mut said, true) {
                tracing::warn!("{error}; waiting");
            }
            state.mounted.push(Mounted { layer, mount });
            drop(state);
            std::thread::park_timeout(TRY_AGAIN); // poll
            state = self.lock();
        }
        state.trouble.is_none()
    }

    /// Everything that changed is known in another way, or nothing did.
    pub(super) fn nothing_is_left(&self) {
        let durable = self.roots.iter().try_for_each(|root| OsVolume::open_source(root)?.sync());
        let rested = durable.and_then(|()| Ok(self.ledger.activity().rest(u64::MAX)?));
        if let Err(error) = rested {
            // It is compared once more at the next start.
            tracing::warn!(%error, "the record of what may differ stays as it is");
        }
    }

    /// A root past its layer; `None` while the layers are away.
    pub(super) fn beneath(&self, index: usize) -> io::Result<Option<Inside>> {
        let state = self.lock();
        let open =
            |mounted: &Mounted| Ok(Inside { directory: File::open(mounted.layer.beneath())?, mount: mounted.mount.clone() });
        state.mounted.get(index).map(open).transpose()
    }

    /// Whether they are there, or why not.
    pub(super) fn is_mounted(&self, set: &Set) -> Result<(), String> {
        match (&self.lock().trouble, &set.name) {
            (None, _) => Ok(()),
            (Some(why), name) => Err(format!("{NOT_MOUNTED} ({why}): `standin mount {name}` puts them there")),
        }
    }

    /// A watch of what they hear, with what an earlier daemon left to be looked at.
    pub(super) fn watch(&self, rules: &[Rules], limit_bytes: u64) -> Watch {
        let mut state = self.lock();
        let roots: Vec<_> = state.mounted.iter().map(|mounted| mounted.layer.beneath()).collect();
        let watch = Watch::over(self.ledger.watcher(), &roots, rules.to_vec(), limit_bytes);
        if let Some(left) = state.left.take() {
            watch.note(scopes(left, &roots));
        }
        watch
    }

    /// Counts a hold: how long it kept changes out, `None` if that was too long.
    pub(super) fn held(&self, lasted: Option<Duration>) {
        let holds = &mut self.lock().holds;
        match lasted {
            Some(lasted) => {
                (holds.count, holds.last, holds.longest) = (holds.count + 1, lasted, holds.longest.max(lasted));
            }
            None => holds.broken += 1,
        }
    }

    /// How they stand.
    pub(super) fn report(&self) -> LayerReport {
        let (active, record_bytes) = self.ledger.activity().size();
        let state = self.lock();
        LayerReport {
            mounted: state.trouble.is_none(),
            why: state.trouble.clone(),
            roots: self.roots.iter().map(|root| root.display().to_string()).collect(),
            holds: state.holds.count,
            broken_holds: state.holds.broken,
            last_hold_ms: state.holds.last.as_secs_f64() * 1000.0,
            longest_hold_ms: state.holds.longest.as_secs_f64() * 1000.0,
            active,
            record_bytes,
            stream: None,
            left: state.told.clone(),
        }
    }
}

impl SourceSet {
    /// Puts the layers over the roots, where there are any. What hinders that is said, and holds the set.
    pub(in crate::daemon) fn put_layers(self: &Arc<Self>) {
        if let Some(layers) = &self.layers {
            layers.belong_to(self);
            // Why not is told by the layers.
            let _ = self.mount();
        }
    }

    /// Puts the layers over the roots; nothing to do if they are there. A set that was held for want of them goes on.
    pub(in crate::daemon) fn mount(&self) -> Result<(), Failed> {
        let layers = self.layers_or_refuse()?;
        layers.mount().map_err(|error| failed(FailedKind::Failed, error))?;
        let waits = matches!(self.lock().source.hold(), Some(Hold::Stuck(why)) if why.starts_with(NOT_MOUNTED));
        if waits { self.resume() } else { Ok(()) }
    }

    /// Takes the layers away. What changes from then on is not seen.
    pub(in crate::daemon) fn unmount(&self) -> Result<(), Failed> {
        self.layers_or_refuse()?.unmount().map_err(|error| failed(FailedKind::Refused, error))
    }

    fn layers_or_refuse(&self) -> Result<&Layers, Failed> {
        self.layers.as_ref().ok_or_else(|| {
            let text = format!("{} has no layers: they come with `capture = \"ordered\"`", self.set().name);
            failed(FailedKind::Usage, text)
        })
    }
}

fn scopes(left: Vec<Active>, roots: &[PathBuf]) -> Vec<Scope> {
    scopes_of(left, |active| {
        let Some(root) = roots.get(usize::from(active.root.0)) else { return Vec::new() };
        let directory = root.join(std::ffi::OsString::from_vec(active.path.as_bytes().to_vec()));
        // One that is gone is found by its attributes.
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()));
        files.map(|entry| entry.file_name().into_vec()).collect()
    })
}

/// How much an earlier daemon left: places, and bytes of what is there now.
fn told(left: &[Active], mounted: &[Mounted]) -> LeftReport {
    let roots: Vec<_> = mounted.iter().map(|mounted| mounted.layer.beneath()).collect();
    let scopes = scopes(left.to_vec(), &roots);
    let mut places: Vec<_> = scopes.iter().map(|scope| &scope.at).collect();
    places.sort_unstable();
    places.dedup();
    let len = |at: &&Position| len_of(roots.get(usize::from(at.root.0))?, &at.path).flatten();
    let subtrees = left.iter().filter(|active| active.reach == Reach::Subtree).count() as u64;
    LeftReport {
        places: places.len() as u64,
        // Of what is beneath a whole directory nobody knows how much it is.
        bytes: (subtrees == 0).then(|| places.iter().filter_map(len).sum()),
    }
}
