//! The daemon: what runs day and night on each node.
//!
//! | part | what it does | threads |
//! | --- | --- | --- |
//! | `source` | one for each set of which this node is the source | one each, and those of a pass |
//! | `standby` | one for each set of which it is the standby | none of its own |
//! | `scrub` | reads the replicas again, to find what a disk lost | one |
//! | `serve` | peers that dial this node | one for each connection and stream |
//! | `handler` | what the command line asks for | one for each client |
//!
//! Shutdown goes the way of the data: sources end, then the link, then the control socket.

mod clock;
mod handler;
mod pairing;
mod peer;
mod scrub;
mod serve;
mod source;
mod standby;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use standin_common::disk;
use standin_common::id::{NodeName, PointNumber, SetName};
use standin_common::link::CloseCode;
use standin_common::link::quic::Connection;
use standin_config::{Difference, LoadError, Reload, Role, Settings};
use standin_replicator::journal::Point;
use standin_replicator::report::{PathReport, SetReport};
use standin_replicator::rules::Rules;

use self::pairing::PairingDesk;
use self::peer::Context;
use self::scrub::Bell;
use self::source::SourceSet;
use self::standby::StandbySet;
use crate::control::server::Server;

/// Everything that runs.
struct Daemon {
    context: Arc<Context>,
    /// The settings file; held while it is read again, so that nobody else does.
    file: Mutex<PathBuf>,
    pairing: PairingDesk,
    sources: BTreeMap<SetName, Arc<SourceSet>>,
    standbys: BTreeMap<SetName, StandbySet>,
    /// Wakes and ends the scrub.
    bell: Bell,
}

/// What a peer is told of a set.
#[derive(Debug, Serialize, Deserialize)]
struct PeerStatus {
    report: SetReport,
    points: Vec<Point>,
    at: Option<PointNumber>,
}

/// Runs the daemon until it is told to end.
///
/// Errors: what hinders it from starting, for people.
pub(crate) fn run(settings: Settings, config: &Path) -> Result<(), String> {
    let state_dir = settings.node.state_dir.clone();
    // First of all, so that a second daemon touches nothing.
    let listener = crate::control::listen(&state_dir).map_err(|error| error.to_string())?;
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| format!("cannot wait for signals: {error}"))?;
    let daemon = Arc::new(Daemon::open(settings, config)?);
    let listening = daemon.context.endpoint.local_addrs().map_err(|error| error.to_string())?;
    tracing::info!(node = %daemon.context.settings().node.name, ?listening, settings = %config.display(), "standin runs");
    let mut threads = Vec::new();
    let mut start = |name: &str, run: Box<dyn FnOnce() + Send>| -> Result<(), String> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        threads.push(thread.map_err(|error| format!("cannot start a thread: {error}"))?);
        Ok(())
    };
    let serving = daemon.clone();
    start("accept", Box::new(move || serve::accept_all(&serving)))?;
    let knocking = daemon.clone();
    start("knock", Box::new(move || knocking.knock()))?;
    for source in daemon.sources.values() {
        let source = source.clone();
        start("source", Box::new(move || source.run()))?;
    }
    let (end, ends) = mpsc::channel();
    let ticking = daemon.clone();
    start("clock", Box::new(move || clock::run(&ends, |now| ticking.sources.values().for_each(|source| source.tick(now)))))?;
    let scrubbing = daemon.clone();
    start("scrub", Box::new(move || scrub::run(&scrubbing.standbys, &scrubbing.bell)))?;
    let control = Server::start(listener, Arc::new(handler::Requests(daemon.clone()))).map_err(|error| error.to_string())?;
    for signal in signals.forever() {
        if signal != SIGHUP {
            tracing::info!(signal, "ending");
            break;
        }
        // What came of it is in the log.
        let _ = daemon.reload();
    }
    drop(end);
    daemon.bell.end();
    daemon.sources.values().for_each(|source| source.shut_down());
    daemon.context.endpoint.close(CloseCode::STOPPING, "the node stops");
    for thread in threads {
        // A panic was reported where it happened.
        let _ = thread.join();
    }
    control.stop();
    daemon.standbys.values().for_each(StandbySet::rest);
    tracing::info!("ended");
    Ok(())
}

impl Daemon {
    fn open(settings: Settings, config: &Path) -> Result<Self, String> {
        let context = Arc::new(Context::open(settings)?);
        let (mut sources, mut standbys) = (BTreeMap::new(), BTreeMap::new());
        let settings = context.settings();
        for (name, set) in &settings.sets {
            let directory = settings.node.state_dir.join("sets").join(name.as_str());
            let rules = Rules::of(set).map_err(|error| format!("set {name}: {error}"))?;
            match set.role(&settings.node.name) {
                Some(Role::Source) => {
                    sources.insert(name.clone(), Arc::new(SourceSet::open(set.clone(), rules, context.clone(), &directory)?));
                }
                Some(Role::Standby) => {
                    disk::create_private_dir(&directory).map_err(|error| error.to_string())?;
                    standbys.insert(name.clone(), StandbySet::open(set.clone(), rules, directory));
                }
                None => {}
            }
        }
        let file = Mutex::new(config.to_owned());
        Ok(Self { context, file, pairing: PairingDesk::default(), sources, standbys, bell: Bell::default() })
    }

    /// Tells the sources of this node's sets that it is there again, who may be waiting longer and longer between their attempts.
    fn knock(&self) {
        let sources: BTreeSet<_> = self.standbys.values().map(|standby| standby.set().source.clone()).collect();
        for source in sources {
            match self.context.dial(&source) {
                Ok(connection) => connection.close(CloseCode::DONE, "it was to say that this node is there"),
                Err(why) => tracing::debug!(peer = %source, %why, "did not tell it that this node is there"),
            }
        }
    }

    /// A peer is there: who waits for it need not.
    fn heard_of(&self, peer: &NodeName) {
        self.sources.values().filter(|source| source.set().standby == *peer).for_each(|source| source.peer_is_there());
    }

    /// Reads the settings again and takes over what may change live. If they are wrong, nothing changes.
    fn reload(&self) -> Result<Reload, LoadError> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = Settings::load(&file).inspect_err(|error| tracing::error!("the settings stay as they were: {error}"))?;
        let (settings, reload) = self.context.settings().reload(&written);
        for (name, set) in &settings.sets {
            if let Some(source) = self.sources.get(name) {
                source.reconfigure(set.clone());
            }
            if let Some(standby) = self.standbys.get(name) {
                standby.reconfigure(set.clone());
            }
        }
        self.context.replace_settings(settings);
        for Difference { key, here, there } in &reload.applied {
            tracing::info!("{key} is {there} now, and was {here}");
        }
        for Difference { key, here, there } in &reload.restart {
            tracing::warn!("{key} stays {here} until the daemon is restarted; the settings say {there}");
        }
        Ok(reload)
    }

    /// How a set stands here.
    fn report(&self, name: &SetName) -> Option<SetReport> {
        let source = self.sources.get(name).map(|source| source.report());
        source.or_else(|| self.standbys.get(name).map(StandbySet::report))
    }

    fn peer_status(&self, name: &SetName) -> Option<PeerStatus> {
        let (points, at) = self.standbys.get(name).map(StandbySet::points).unwrap_or_default();
        Some(PeerStatus { report: self.report(name)?, points, at })
    }
}

fn path_report(connection: &Connection) -> PathReport {
    let path = connection.path();
    PathReport { remote: path.remote.to_string(), rtt_ms: path.rtt.as_secs_f64() * 1000.0 }
}
