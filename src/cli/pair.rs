//! `standin pair`.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use standin_common::id::NodeName;
use standin_common::identity::{Fingerprint, Identity, Trust};
use standin_common::link::LinkError;
use standin_common::link::quic::{Connection, Endpoint, Expect, Purpose, TrustCheck};
use standin_common::pairing::{Gate, PairError, pair_accept, pair_dial};
use standin_config::{Address, Settings};

use super::{Failure, Scene, show, unexpected};
use crate::control::client::{self, AskError, Waiting};
use crate::control::{Answer, Request};

/// How a node pairs.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true)))]
pub(super) struct Options {
    /// The other node's address, where `standin pair --accept` waits.
    #[arg(group = "what")]
    address: Option<Address>,
    /// Wait for the other node to pair.
    #[arg(long, group = "what")]
    accept: bool,
    /// List the nodes that are paired.
    #[arg(long, group = "what")]
    list: bool,
    /// Forget a node: it is let in no more.
    #[arg(long, group = "what", value_name = "NAME")]
    remove: Option<NodeName>,
    /// Show this node's own fingerprint.
    #[arg(long, group = "what")]
    show: bool,
    /// The other node's fingerprint, as `standin pair --show` says there; then nothing is asked.
    #[arg(long)]
    fingerprint: Option<Fingerprint>,
    /// How long to wait at most, such as `5 min`.
    #[arg(long, default_value = "5 min", value_parser = super::seconds)]
    timeout: f64,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let settings = scene.settings()?;
    let trust = Trust::new(&settings.node.state_dir);
    if options.show {
        let own = Identity::load(&settings.node.state_dir).map_err(Failure::failed)?.fingerprint().to_string();
        scene.print(&serde_json::json!({ "node": settings.node.name, "fingerprint": own }), || {
            format!("{}  {own}", settings.node.name)
        })?;
    } else if options.list {
        list(scene, &trust)?;
    } else if let Some(name) = &options.remove {
        let removed = trust.remove(name).map_err(Failure::failed)?;
        scene.print(&serde_json::json!({ "removed": removed }), || {
            format!("{name} {}", if removed { "is let in no more" } else { "was not paired" })
        })?;
    } else {
        let (node, key) = match &options.address {
            Some(address) => dial(&settings, &trust, address, options)?,
            None => accept(&settings, &trust, options)?,
        };
        scene.print(&serde_json::json!({ "node": node, "fingerprint": key }), || paired(&settings, &node, &key, options))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(scene: &Scene<'_>, trust: &Trust) -> Result<(), Failure> {
    let peers = trust.list().map_err(Failure::failed)?;
    scene.print(&peers, || {
        if peers.is_empty() {
            return "no node is paired with this one yet".to_owned();
        }
        let row = |peer: &standin_common::identity::Peer| {
            vec![peer.name.to_string(), peer.fingerprint.to_string(), peer.address.clone()]
        };
        show::table(&["NODE", "FINGERPRINT", "PAIRED AT"], &peers.iter().map(row).collect::<Vec<_>>())
    })?;
    Ok(())
}

fn paired(settings: &Settings, node: &NodeName, key: &str, options: &Options) -> String {
    let mut text = format!("paired with {node}, fingerprint {key}\n");
    if !settings.peers.contains_key(node) {
        let address = options.address.as_ref().map_or("HOST:PORT".to_owned(), Address::to_string);
        text += &format!("write into the settings where {node} is:\n\n[peers.{node}]\naddresses = [\"{address}\"]\n");
    }
    text
}

/// Whether this is the node that is meant: by the fingerprint that was given, or by asking.
fn confirm(options: &Options, node: &NodeName, key: &str) -> bool {
    if let Some(expected) = &options.fingerprint {
        if expected.to_string() != key {
            eprintln!("standin: {node} has the fingerprint {key}, not the one given");
        }
        return expected.to_string() == key;
    }
    if !std::io::stdin().is_terminal() {
        return false;
    }
    eprintln!("{node} has the fingerprint {key}");
    eprint!("Is that what `standin pair --show` says on {node}? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stderr().flush().and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn must_be_able_to_ask(options: &Options) -> Result<(), Failure> {
    if options.fingerprint.is_none() && !std::io::stdin().is_terminal() {
        let text = "nobody can be asked whether the fingerprint is right: give it with --fingerprint, as `standin pair --show` says on the other node";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok(())
}

/// Lets nobody in: for an end that only dials.
struct Nobody;

impl TrustCheck for Nobody {
    fn trusted(&self, _: &Fingerprint) -> bool {
        false
    }

    fn pairing_open(&self) -> bool {
        false
    }
}

fn identity(settings: &Settings) -> Result<Arc<Identity>, Failure> {
    Identity::load(&settings.node.state_dir).map(Arc::new).map_err(Failure::failed)
}

fn unreachable(error: LinkError) -> Failure {
    if error.is_refusal() { Failure::Refused(error.to_string()) } else { Failure::Unreachable(error.to_string()) }
}

fn refused(error: PairError, options: &Options) -> Failure {
    match (error, options.fingerprint) {
        (PairError::RefusedHere, Some(_)) => {
            Failure::Refused("another node answers there: its fingerprint is not the one given; nothing is stored".to_owned())
        }
        (PairError::Link(error), _) => unreachable(error),
        (error, _) => Failure::Refused(error.to_string()),
    }
}

fn dial(settings: &Settings, trust: &Trust, address: &Address, options: &Options) -> Result<(NodeName, String), Failure> {
    must_be_able_to_ask(options)?;
    let endpoint = Endpoint::bind(&[], identity(settings)?, Arc::new(Nobody)).map_err(Failure::failed)?;
    let addresses = address.resolve().map_err(|error| Failure::Unreachable(format!("cannot look up {address}: {error}")))?;
    let connection = endpoint.dial(&addresses, Expect::AnyForPairing).map_err(|error| {
        let why = if error.is_refusal() { format!("{address} does not wait for pairing now") } else { error.to_string() };
        Failure::Unreachable(format!("{why}; run `standin pair --accept` there first"))
    })?;
    let ask = &mut |node: &NodeName, key: &Fingerprint| {
        let known = trust.check(node, key);
        known.inspect_err(|error| eprintln!("standin: {error}")).is_ok() && confirm(options, node, &key.to_string())
    };
    let (node, key) = pair_dial(&connection, &settings.node.name, ask).map_err(|error| refused(error, options))?;
    trust.add(&node, key, &address.to_string()).map_err(Failure::failed)?;
    Ok((node, key.to_string()))
}

/// Through the daemon if one runs, which has the port; else by listening here.
fn accept(settings: &Settings, trust: &Trust, options: &Options) -> Result<(NodeName, String), Failure> {
    must_be_able_to_ask(options)?;
    let request = Request::AcceptPairing { timeout_seconds: options.timeout.ceil() as u64 };
    let waiting =
        Waiting { progress: &mut |_| {}, is_interrupted: &|| false, confirm: &mut |node, key| confirm(options, node, key) };
    match client::ask(&settings.node.state_dir, &request, waiting) {
        Ok(Answer::Paired { node, fingerprint }) => Ok((node, fingerprint)),
        Ok(_) => Err(unexpected()),
        Err(AskError::NotRunning(_)) => accept_here(settings, trust, options),
        Err(error) => Err(error.into()),
    }
}

fn accept_here(settings: &Settings, trust: &Trust, options: &Options) -> Result<(NodeName, String), Failure> {
    let mut listen = Vec::new();
    for address in &settings.node.listen {
        listen.extend(address.resolve().map_err(|error| Failure::failed(format!("{address}: {error}")))?);
    }
    if listen.is_empty() {
        let text =
            "`listen` in the settings names no address, so nobody can dial this node: pair from here with `standin pair ADDRESS`";
        return Err(Failure::Usage(text.to_owned()));
    }
    let gate = Arc::new(Gate::new(trust.clone()));
    let limit = Duration::from_secs_f64(options.timeout);
    gate.open(limit);
    let endpoint = Arc::new(Endpoint::bind(&listen, identity(settings)?, gate).map_err(Failure::failed)?);
    let (deadline, arrivals) = (Instant::now() + limit, arrivals(&endpoint));
    let ask = &mut |node: &NodeName, key: &Fingerprint| {
        let known = trust.check(node, key);
        known.inspect_err(|error| eprintln!("standin: {error}")).is_ok() && confirm(options, node, &key.to_string())
    };
    while let Ok(connection) = arrivals.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        let (node, key) = match pair_accept(&connection, &settings.node.name, ask) {
            // Somebody who only knocked must not end the waiting.
            Err(error @ (PairError::Link(_) | PairError::Protocol)) => {
                eprintln!("standin: {}; still waiting", show::harmless(&error.to_string()));
                continue;
            }
            paired => paired.map_err(|error| refused(error, options))?,
        };
        let address = connection.path().remote.to_string();
        trust.add(&node, key, &address).map_err(Failure::failed)?;
        return Ok((node, key.to_string()));
    }
    Err(Failure::Unreachable(format!("no node came to be paired with within {}", show::span(options.timeout))))
}

/// The connections of nodes that pair.
fn arrivals(endpoint: &Arc<Endpoint>) -> Receiver<Connection> {
    let (send, arrivals) = std::sync::mpsc::channel();
    let accepting = endpoint.clone();
    // Ends with the process, if nobody comes.
    std::thread::spawn(move || {
        while let Some(connection) = accepting.accept() {
            if connection.purpose() == Purpose::Pairing && send.send(connection).is_err() {
                return;
            }
        }
    });
    arrivals
}
