//! The daemon: what runs day and night on each node.
//!
//! | part | what it does | threads |
//! | --- | --- | --- |
//! | `source` | one for each set of which this node is the source | one each, and those of a pass |
//! | `standby` | one for each set of which it is the standby | none of its own |
//! | `serve` | peers that dial this node | one for each connection and stream |
//! | `handler` | what the command line asks for | one for each client |
//!
//! Shutdown goes the way of the data: sources end, then the link, then the control socket.

mod handler;
mod pairing;
mod peer;
mod serve;
mod source;
mod standby;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use standin_common::disk;
use standin_common::id::{PointNumber, SetName};
use standin_common::link::CloseCode;
use standin_common::link::quic::Connection;
use standin_config::{Role, Settings};
use standin_replicator::journal::Point;
use standin_replicator::report::{PathReport, SetReport};
use standin_replicator::rules::Rules;

use self::pairing::PairingDesk;
use self::peer::Context;
use self::source::SourceSet;
use self::standby::StandbySet;
use crate::control::server::Server;

/// Everything that runs.
struct Daemon {
    context: Arc<Context>,
    pairing: PairingDesk,
    sources: BTreeMap<SetName, Arc<SourceSet>>,
    standbys: BTreeMap<SetName, StandbySet>,
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
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| format!("cannot wait for signals: {error}"))?;
    let daemon = Arc::new(Daemon::open(settings)?);
    let listening = daemon.context.endpoint.local_addrs().map_err(|error| error.to_string())?;
    tracing::info!(node = %daemon.context.settings.node.name, ?listening, settings = %config.display(), "standin runs");
    let mut threads = Vec::new();
    let mut start = |name: &str, run: Box<dyn FnOnce() + Send>| -> Result<(), String> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        threads.push(thread.map_err(|error| format!("cannot start a thread: {error}"))?);
        Ok(())
    };
    let serving = daemon.clone();
    start("accept", Box::new(move || serve::accept_all(&serving)))?;
    for source in daemon.sources.values() {
        let source = source.clone();
        start("source", Box::new(move || source.run()))?;
    }
    let control = Server::start(listener, Arc::new(handler::Requests(daemon.clone()))).map_err(|error| error.to_string())?;
    if let Some(signal) = signals.forever().next() {
        tracing::info!(signal, "ending");
    }
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
    fn open(settings: Settings) -> Result<Self, String> {
        let context = Arc::new(Context::open(settings)?);
        let (mut sources, mut standbys) = (BTreeMap::new(), BTreeMap::new());
        for (name, set) in &context.settings.sets {
            let directory = context.settings.node.state_dir.join("sets").join(name.as_str());
            let rules = Rules::of(set).map_err(|error| format!("set {name}: {error}"))?;
            match set.role(&context.settings.node.name) {
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
        Ok(Self { context, pairing: PairingDesk::default(), sources, standbys })
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
