//! The daemon: what runs day and night on each node.
//!
//! | part | what it does | threads |
//! | --- | --- | --- |
//! | `part` | one for each set: whether this node is its source or its standby, and how that turns | one for all turns |
//! | `source` | one for each set of which this node is the source | one each, and those of a pass |
//! | `standby` | one for each set of which it is the standby | none of its own |
//! | `scrub` | reads the replicas again, to find what a disk lost | one |
//! | `group` | one for each group with this node: cutovers, and steps of those of others | one each, and those of a run |
//! | `monitor` | one for each group: heartbeats, the witness, what is decided and done by itself | see there |
//! | `serve` | peers that dial this node | one for each connection and stream |
//! | `handler` | what the command line asks for | one for each client |
//!
//! Shutdown goes the way of the data: sources end, then the link, then the control socket.

mod clock;
pub(crate) mod group;
mod handler;
pub(crate) mod monitor;
mod pairing;
mod part;
mod password;
mod past;
mod peer;
pub(crate) mod roles;
mod scrub;
mod serve;
mod source;
mod standby;
mod turn;
#[cfg_attr(not(test), allow(dead_code, reason = "groups are given it"))]
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use standin_common::id::{NodeName, PointNumber, SetName};
use standin_common::link::CloseCode;
use standin_common::link::quic::Connection;
use standin_config::{Difference, LoadError, Reload, Settings};
use standin_replicator::journal::Point;
use standin_replicator::report::{PathReport, SetReport};

use self::group::Groups;
use self::monitor::Monitors;
use self::pairing::PairingDesk;
use self::part::Part;
use self::peer::{Context, Errand};
use self::roles::Roles;
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
    parts: BTreeMap<SetName, Part>,
    groups: Groups,
    monitors: Monitors,
    /// Wakes and ends the scrub.
    bell: Bell,
}

/// What a peer is told of a set.
#[derive(Debug, Serialize, Deserialize)]
struct PeerStatus {
    report: SetReport,
    points: Vec<Point>,
    at: Option<PointNumber>,
    /// Who is source, as far as this node knows.
    roles: Roles,
}

/// Runs the daemon until it is told to end.
///
/// Errors: what hinders it from starting, for people.
pub(crate) fn run(settings: Settings, config: &Path) -> Result<(), String> {
    let state_dir = settings.node.state_dir.clone();
    // First of all, so that a second daemon touches nothing.
    let listener = crate::control::listen(&state_dir).map_err(|error| error.to_string())?;
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| format!("cannot wait for signals: {error}"))?;
    let (daemon, errands) = Daemon::open(settings, config)?;
    let daemon = Arc::new(daemon);
    daemon.groups.open(&daemon);
    daemon.monitors.open(&daemon);
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
    daemon.parts.values().for_each(Part::start);
    let turning = daemon.clone();
    start("turn", Box::new(move || turning.run_errands(&errands)))?;
    let (end, ends) = mpsc::channel();
    let ticking = daemon.clone();
    start("clock", Box::new(move || clock::run(&ends, |now| ticking.sources().for_each(|source| source.tick(now)))))?;
    let (quiet, is_quiet) = mpsc::channel();
    let telling = daemon.clone();
    start("current", Box::new(move || clock::run(&is_quiet, |_| telling.sources().for_each(|source| source.tell_current()))))?;
    let scrubbing = daemon.clone();
    start("scrub", Box::new(move || scrub::run(&|| scrubbing.standbys().collect(), &scrubbing.bell)))?;
    let grouping = daemon.groups.start(&daemon)?;
    let monitoring = daemon.monitors.start(config)?;
    let control = Server::start(listener, Arc::new(handler::Requests(daemon.clone()))).map_err(|error| error.to_string())?;
    let mut told = None;
    for signal in signals.forever() {
        if signal != SIGHUP {
            tracing::info!(signal, "ending");
            told = Some(signal);
            break;
        }
        // What came of it is in the log.
        let _ = daemon.reload();
    }
    if told == Some(SIGTERM) {
        daemon.groups.at_shutdown(&mut || signals.pending().any(|signal| signal != SIGHUP));
    }
    drop((end, quiet));
    daemon.groups.end();
    daemon.monitors.end();
    daemon.groups.rest(&daemon);
    daemon.bell.end();
    daemon.sources().for_each(|source| source.shut_down());
    daemon.context.run_errand(Errand::End);
    daemon.context.endpoint.close(CloseCode::STOPPING, "the node stops");
    daemon.parts.values().for_each(Part::end);
    for thread in threads.into_iter().chain(grouping).chain(monitoring) {
        // A panic was reported where it happened.
        let _ = thread.join();
    }
    control.stop();
    daemon.standbys().for_each(|standby| standby.rest());
    tracing::info!("ended");
    Ok(())
}

impl Daemon {
    fn open(settings: Settings, config: &Path) -> Result<(Self, mpsc::Receiver<Errand>), String> {
        let (context, errands) = Context::open(settings)?;
        let context = Arc::new(context);
        let settings = context.settings();
        let mut parts = BTreeMap::new();
        for (name, set) in &settings.sets {
            let directory = settings.node.state_dir.join("sets").join(name.as_str());
            parts.extend(Part::open(set, &context, directory)?.map(|part| (name.clone(), part)));
        }
        let file = Mutex::new(config.to_owned());
        Ok((
            Self {
                context,
                file,
                pairing: PairingDesk::default(),
                parts,
                groups: Groups::default(),
                monitors: Monitors::default(),
                bell: Bell::default(),
            },
            errands,
        ))
    }

    fn sources(&self) -> impl Iterator<Item = Arc<SourceSet>> {
        self.parts.values().filter_map(Part::source)
    }

    fn standbys(&self) -> impl Iterator<Item = Arc<StandbySet>> {
        self.parts.values().filter_map(Part::standby)
    }

    fn source(&self, name: &SetName) -> Option<Arc<SourceSet>> {
        self.parts.get(name).and_then(Part::source)
    }

    fn standby(&self, name: &SetName) -> Option<Arc<StandbySet>> {
        self.parts.get(name).and_then(Part::standby)
    }

    /// Tells the sources of this node's sets that it is there again, who may be waiting longer and longer between their attempts.
    fn knock(&self) {
        let sources: BTreeSet<_> = self.standbys().map(|standby| standby.set().source.clone()).collect();
        sources.iter().for_each(|source| self.context.knock(source));
    }

    /// Does what threads that serve something leave to be done, until the end.
    fn run_errands(&self, errands: &mpsc::Receiver<Errand>) {
        while let Ok(Errand::Hear { set, peer, roles }) = errands.recv() {
            let part = self.parts.get(&set).filter(|part| *part.peer() == peer);
            if part.is_some_and(|part| part.would_give_up(&roles)) {
                self.monitors.give_way(&set, &format!("{peer} is the source of set {set} at generation {}", roles.generation));
            }
            if let Some(Err(error)) = part.map(|part| part.hear(&roles)) {
                tracing::error!(%set, %error, "this node does not go by what {peer} says of who is source");
            }
        }
    }

    /// A peer is there: who waits for it need not.
    fn heard_of(&self, peer: &NodeName) {
        self.sources().filter(|source| source.set().standby == *peer).for_each(|source| source.peer_is_there());
    }

    /// Reads the settings again and takes over what may change live. If they are wrong, nothing changes.
    fn reload(&self) -> Result<Reload, LoadError> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = Settings::load(&file).inspect_err(|error| tracing::error!("the settings stay as they were: {error}"))?;
        let (settings, reload) = self.context.settings().reload(&written);
        for (name, set) in &settings.sets {
            if let Some(part) = self.parts.get(name) {
                part.reconfigure(set);
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
        let group = self.context.settings().group_of(name).map(|group| group.name.clone());
        self.parts.get(name).map(|part| SetReport { group, ..part.report() })
    }

    fn peer_status(&self, name: &SetName) -> Option<PeerStatus> {
        let part = self.parts.get(name)?;
        let (points, at) = part.standby().map(|standby| standby.points()).unwrap_or_default();
        Some(PeerStatus { report: part.report(), points, at, roles: part.roles() })
    }
}

fn path_report(connection: &Connection) -> PathReport {
    let path = connection.path();
    PathReport { remote: path.remote.to_string(), rtt_ms: path.rtt.as_secs_f64() * 1000.0 }
}
