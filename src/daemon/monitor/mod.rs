//! What notices and decides by itself, around the pure `standin_failover::monitor`: heartbeats, the witness, stopping, taking over, alerts.
//!
//! | part | what it does | threads |
//! | --- | --- | --- |
//! | `lines` | heartbeats to each peer over each of its addresses | two for each |
//! | `watch` | one for each group: what is known and decided | one that decides, one that looks after what this node knows of itself |
//! | `witness` | asks it, so that nobody waits for it | one for each group with one |
//! | `stop` | stops everything of a group at once | the one that decides, and one for each resource |
//! | `guard` | a process that does the same when the daemon is dead | one for each group with a witness |
//! | `alerts` | tells people | one for each group |
//! | `kept` | what is remembered over a restart | none |

mod alerts;
pub(crate) mod guard;
mod kept;
mod lines;
mod own;
pub(crate) mod status;
mod stop;
mod switch;
mod watch;
mod witness;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use standin_common::id::{GroupName, NodeName, SetName};
use standin_config::Settings;
use standin_config::group::Kind;
use standin_failover::monitor::{Answer, Beat, Moment};

pub(crate) use status::{MonitorStatus, Switch, Switched};
pub(in crate::daemon) use watch::Watch;

use super::Daemon;
use lines::Lines;

/// What nodes say to each other in a heartbeat.
type Said = BTreeMap<GroupName, Beat>;
/// What they answer.
type Answered = BTreeMap<GroupName, Answer>;

/// This node's clock for all that is counted here.
fn now() -> Moment {
    Moment(standin_common::uptime::now_ms())
}

/// The monitors of a daemon's groups.
#[derive(Default)]
pub(super) struct Monitors(OnceLock<Opened>);

struct Opened {
    watches: BTreeMap<GroupName, Arc<Watch>>,
    lines: Arc<Lines>,
}

impl Monitors {
    /// Opens them, one for each group that could be opened.
    pub(super) fn open(&self, daemon: &Arc<Daemon>) {
        let settings = daemon.context.settings();
        let mut watches = BTreeMap::new();
        for (name, group) in &settings.groups {
            if let Some(Ok(desk)) = daemon.groups.desk(name) {
                match Watch::open(&settings, group, desk) {
                    Ok(watch) => {
                        desk.watched_by(&watch);
                        watches.insert(name.clone(), watch);
                    }
                    Err(why) => tracing::error!(group = %name, %why, "nobody watches over the group"),
                }
            }
        }
        let_others_be(&settings);
        let lines = Arc::new(Lines::new(daemon.context.clone(), watches.clone()));
        // It is called once.
        let _ = self.0.set(Opened { watches, lines });
    }

    fn watches(&self) -> impl Iterator<Item = &Arc<Watch>> {
        self.0.get().into_iter().flat_map(|opened| opened.watches.values())
    }

    /// The one of this group.
    pub(super) fn watch(&self, group: &GroupName) -> Option<&Arc<Watch>> {
        self.0.get()?.watches.get(group)
    }

    /// Starts all threads.
    pub(super) fn start(&self, config: &Path) -> Result<Vec<JoinHandle<()>>, String> {
        let Some(opened) = self.0.get() else { return Ok(Vec::new()) };
        let mut threads = Vec::new();
        for watch in opened.watches.values() {
            threads.extend(watch.start()?);
            if watch.is_automatic() {
                guard::keep(watch, config);
            }
        }
        threads.extend(opened.lines.start()?);
        Ok(threads)
    }

    /// Ends them.
    pub(super) fn end(&self) {
        if let Some(opened) = self.0.get() {
            opened.lines.end();
            opened.watches.values().for_each(|watch| watch.end());
        }
    }

    /// A heartbeat of a peer; what to answer.
    pub(super) fn heard(&self, peer: &NodeName, said: &str) -> String {
        // Of another release, or broken: it is heard all the same, only of no group.
        let said: Said = serde_json::from_str(said).unwrap_or_default();
        let answer = |(group, beat): (GroupName, Beat)| Some((group.clone(), self.watch(&group)?.heard(peer, &beat)?));
        let answered: Answered = said.into_iter().filter_map(answer).collect();
        // Plain data always serialises; should it not, no promise is made.
        serde_json::to_string(&answered).unwrap_or_default()
    }

    /// Another node is source of a set that this node had: what its group has running here is stopped before anything else.
    pub(super) fn give_way(&self, set: &SetName, why: &str) {
        let has_it = |watch: &&Arc<Watch>| {
            let of_set = |kind: &Kind| matches!(kind, Kind::Volume(volume) if volume.set == *set);
            watch.settings().resources.iter().any(|resource| of_set(&resource.kind))
        };
        self.watches().filter(has_it).for_each(|watch| watch.give_way(why));
    }
}

/// Guards of groups that the settings had once may live still: what those groups had is not theirs to stop any more.
fn let_others_be(settings: &Settings) {
    let known = |name: &str| settings.groups.keys().any(|group| group.as_str() == name);
    for entry in std::fs::read_dir(settings.node.state_dir.join("groups")).into_iter().flatten().flatten() {
        let done = match entry.file_name().to_str() {
            Some(name) if known(name) => Ok(()),
            _ => kept::Files::new(&entry.path()).and_then(|files| files.let_be()),
        };
        if let Err(error) = done {
            tracing::warn!(path = %entry.path().display(), %error, "the guard of a group that is not in the settings any more may stop what it had");
        }
    }
}

/// Starts a thread of a group or line.
fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, String> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| format!("cannot start a thread: {error}"))
}
