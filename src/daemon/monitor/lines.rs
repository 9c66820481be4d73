//! Heartbeats to each peer over each of its addresses, on connections of their own: what is mirrored meanwhile has others.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use standin_common::id::{GroupName, NodeName};
use standin_common::link::quic::Connection;
use standin_common::link::talk::{Open, Receiver};
use standin_common::link::{CloseCode, LinkError, Priority};
use standin_common::message::{Heartbeat, Opening};
use standin_config::Address;
use standin_failover::monitor::Moment;

use super::watch::Watch;
use super::{Answered, Said, now, spawn};
use crate::daemon::peer::Context;

/// Heartbeats whose answers are waited for.
const WAITING: usize = 64;

/// All lines of this node.
pub(super) struct Lines {
    context: Arc<Context>,
    watches: BTreeMap<GroupName, Arc<Watch>>,
    ends: Mutex<bool>,
    ended: Condvar,
}

/// One path to a peer.
struct Line {
    peer: NodeName,
    address: Address,
    name: String,
    every: Duration,
}

impl Lines {
    pub(super) fn new(context: Arc<Context>, watches: BTreeMap<GroupName, Arc<Watch>>) -> Self {
        Self { context, watches, ends: Mutex::default(), ended: Condvar::new() }
    }

    fn ends(&self) -> MutexGuard<'_, bool> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, and says whether it goes on.
    fn pause(&self, long: Duration) -> bool {
        let (ends, _) = self.ended.wait_timeout_while(self.ends(), long, |ends| !*ends).unwrap_or_else(PoisonError::into_inner);
        !*ends
    }

    pub(super) fn end(&self) {
        *self.ends() = true;
        self.ended.notify_all();
    }

    /// A thread for each address of each node with which this one has a group.
    pub(super) fn start(self: &Arc<Self>) -> Result<Vec<JoinHandle<()>>, String> {
        let mut threads = Vec::new();
        for (peer, written) in &self.context.settings().peers {
            let shared = self.watches.values().filter(|watch| watch.has_peer(peer));
            let Some(every_ms) = shared.map(|watch| watch.settings().heartbeat_ms).min() else { continue };
            for address in &written.addresses {
                let (address, every) = (address.clone(), Duration::from_millis(every_ms));
                let line = Line { peer: peer.clone(), name: address.to_string(), address, every };
                self.watches.values().for_each(|watch| watch.has_path(peer, &line.name));
                let lines = self.clone();
                threads.push(spawn("heartbeat", move || lines.run(&Arc::new(line)))?);
            }
        }
        Ok(threads)
    }

    /// Dials again and again, until the end.
    fn run(self: &Arc<Self>, line: &Arc<Line>) {
        loop {
            let begun = Instant::now();
            if let Err(why) = self.beat(line) {
                tracing::debug!(peer = %line.peer, path = %line.name, %why, "no heartbeats");
            }
            if !self.pause(line.every.saturating_sub(begun.elapsed()).max(line.every / 4)) {
                return;
            }
        }
    }

    /// Sends heartbeats until the connection ends.
    fn beat(self: &Arc<Self>, line: &Arc<Line>) -> Result<(), String> {
        let addresses = line.address.resolve().map_err(|error| error.to_string())?;
        let connection = self.context.dial_at(&line.peer, &addresses).map_err(|error| error.to_string())?;
        let sent: Arc<Mutex<BTreeMap<u64, Moment>>> = Arc::default();
        let asked = || -> Result<_, LinkError> {
            let (mut send, receive) = Open::open_with(&connection, Priority::Urgent)?;
            send.send(&Opening::Heartbeats, &[])?;
            Ok((send, receive))
        };
        let (mut send, receive) = asked().map_err(|error| error.to_string())?;
        let (lines, heard, answers) = (self.clone(), line.clone(), sent.clone());
        let (closing, receiving) = (connection.clone(), connection.clone());
        let hearing = spawn("heartbeat", move || {
            lines.hear(&heard, receive, &answers);
            receiving.close(CloseCode::DONE, "no more answers");
        })?;
        let mut number = 0;
        let ended = loop {
            let at = now();
            {
                let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
                sent.insert(number, at);
                while sent.len() > WAITING {
                    sent.pop_first();
                }
            }
            let beat = Heartbeat { number, said: self.say(&line.peer) };
            if let Err(why) = send.send(&beat, &[]) {
                break why.to_string();
            }
            number += 1;
            if !self.pause(line.every) {
                break "the daemon ends".to_owned();
            }
        };
        close(&closing);
        // A panic was reported where it happened.
        let _ = hearing.join();
        Err(ended)
    }

    fn say(&self, peer: &NodeName) -> String {
        let beats = self.watches.iter().filter(|(_, watch)| watch.has_peer(peer));
        let said: Said = beats.map(|(name, watch)| (name.clone(), watch.beat())).collect();
        // Plain data always serialises; should it not, the peer hears that this node is there.
        serde_json::to_string(&said).unwrap_or_default()
    }

    fn hear(&self, line: &Line, mut receive: Receiver, sent: &Mutex<BTreeMap<u64, Moment>>) {
        while let Ok(Some((Heartbeat { number, said }, _))) = receive.receive::<Heartbeat>() {
            let Some(at) = sent.lock().unwrap_or_else(PoisonError::into_inner).remove(&number) else { continue };
            let answered: Answered = serde_json::from_str(&said).unwrap_or_default();
            for (group, answer) in &answered {
                if let Some(watch) = self.watches.get(group) {
                    watch.answered(&line.peer, &line.name, at, answer);
                }
            }
        }
    }
}

fn close(connection: &Connection) {
    connection.close(CloseCode::DONE, "no more heartbeats");
}
