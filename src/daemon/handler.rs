//! What the command line asks for.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use standin_common::id::{GroupName, MirrorId, NodeName, PointNumber, SetName};
use standin_common::link::quic::Connection;
use standin_common::message::{Comparison, SetAnswer};
use standin_config::{LoadError, Role, Set};
use standin_replicator::explain::explain;
use standin_replicator::goal::{Goal, Outlook};
use standin_replicator::report::SetState;
use standin_replicator::standby::replica::ReplicaError;
use standin_replicator::standby::scrub;

use super::group::{Ask, Desk};
use super::part::TurnError;
use super::past::Past;
use super::peer::PeerError;
use super::source::{Began, SourceSet};
use super::standby::{StandbyError, StandbySet};
use super::{Daemon, PeerStatus, peer};
use crate::control::server::{Client, Handler};
use crate::control::{Answer, Failed, FailedKind, MirrorOrder, Request};

/// How often a client that waits is told how far it is.
const PROGRESS: Duration = Duration::from_millis(200);

/// How long a source is drained at most.
const MOST_DRAINING: Duration = Duration::from_secs(24 * 3600);

/// How often a set that somebody waits for is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Answers requests.
pub(super) struct Requests(pub(super) Arc<Daemon>);

/// How long somebody waits at most.
#[derive(Debug, Clone, Copy)]
struct Limit(Option<Instant>);

impl Limit {
    /// From now on; without a number, or with one that no clock reaches, for ever.
    fn new(seconds: Option<f64>) -> Self {
        let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self(span.and_then(|span| Instant::now().checked_add(span)))
    }

    fn is_over(self) -> bool {
        self.left().is_zero()
    }

    fn left(self) -> Duration {
        self.0.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()))
    }
}

fn failed(kind: FailedKind, text: impl Into<String>) -> Failed {
    Failed { kind, text: text.into() }
}

impl From<PeerError> for Failed {
    fn from(error: PeerError) -> Self {
        failed(FailedKind::Unreachable, error.to_string())
    }
}

impl From<StandbyError> for Failed {
    fn from(error: StandbyError) -> Self {
        use ReplicaError::*;
        // Besides what would not be safe, what a person has to mend first; nothing was changed by any of it.
        let tried = matches!(&error, StandbyError::Replica(why) if !matches!(why, Busy | Promoted(_) | NoPoint | UnknownPoint(_) | NoState | NoJournal(_) | State(_)));
        failed(if tried { FailedKind::Failed } else { FailedKind::Refused }, error.to_string())
    }
}

impl From<TurnError> for Failed {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Standby(error) => error.into(),
            TurnError::Disk(_) | TurnError::Set(_) => failed(FailedKind::Failed, error.to_string()),
            TurnError::IsNotSource { .. } => failed(FailedKind::Usage, error.to_string()),
            _ => failed(FailedKind::Refused, error.to_string()),
        }
    }
}

impl Handler for Requests {
    fn handle(&self, request: Request, client: &mut Client) -> Result<Answer, Failed> {
        match request {
            Request::Status { set } => self.status(set),
            Request::Points { set } => self.points(&set),
            Request::Promote { set, point, as_source, force } => {
                self.refuse_past_group(&set, force, Past::Promote)?;
                self.promote(&set, point, as_source)
            }
            Request::Turn { set, to, timeout_seconds, force } => {
                self.refuse_past_group(&set, force, Past::Turn)?;
                self.turn(&set, &to, Limit::new(timeout_seconds), client)
            }
            Request::Release { set } => self.0.part(&set)?.release().map(|()| Answer::Ok).map_err(Failed::from),
            Request::Mirror(order) => self.mirror(&order, client),
            Request::Pause { set } => self.source(&set)?.pause().map(|()| Answer::Ok),
            Request::Resume { set } => self.source(&set)?.resume().map(|()| Answer::Ok),
            Request::Stop { set, force } => {
                let source = self.source(&set)?;
                self.refuse_past_group(&set, force, Past::Stop)?;
                source.stop().map(|()| Answer::Ok)
            }
            Request::Mount { set } => self.source(&set)?.mount().map(|()| Answer::Ok),
            Request::Unmount { set, force } => {
                let source = self.source(&set)?;
                self.refuse_past_group(&set, force, Past::Unmount)?;
                source.unmount().map(|()| Answer::Ok)
            }
            Request::Point { set, wait, timeout_seconds } => self.point(&set, wait, Limit::new(timeout_seconds), client),
            Request::Wait { set, goal, timeout_seconds } => self.wait_for(&set, goal, timeout_seconds, client),
            Request::Verify { set, timeout_seconds } => {
                let source = self.source(&set)?;
                let mirror = source.verify()?;
                self.wait(&source, mirror, Limit::new(timeout_seconds), client)
            }
            Request::Scrub { set, wait } => self.scrub(&set, wait, client),
            Request::Reload => {
                let refused = |error: LoadError| {
                    failed(FailedKind::Usage, format!("nothing was changed, the daemon goes on as it was:\n{error}"))
                };
                self.0.reload().map(Answer::Reloaded).map_err(refused)
            }
            Request::CheckSet { set } => self.check_set(&set),
            Request::SharePassword(password) => super::password::share(&self.0.context, &password).map(Answer::Shared),
            Request::Group { group, at, ask } => self.group(&group, at, *ask),
            Request::GroupStatus { group } => self.groups(group),
            Request::Monitor { group } => self.monitors(group),
            Request::AcceptPairing { timeout_seconds } => self.accept_pairing(timeout_seconds, client),
        }
    }
}

impl Requests {
    fn set(&self, name: &SetName) -> Result<Set, Failed> {
        let settings = self.0.context.settings();
        let sets = &settings.sets;
        sets.get(name).cloned().ok_or_else(|| {
            let known: Vec<_> = sets.keys().map(SetName::to_string).collect();
            let known = if known.is_empty() { "there are none".to_owned() } else { format!("there are {}", known.join(", ")) };
            failed(FailedKind::Usage, format!("there is no set {name} in the settings that the daemon runs with; {known}"))
        })
    }

    fn source(&self, name: &SetName) -> Result<Arc<SourceSet>, Failed> {
        self.set(name)?;
        self.0.source(name).ok_or_else(|| self.not_here(name, Role::Source))
    }

    fn standby(&self, name: &SetName) -> Result<Arc<StandbySet>, Failed> {
        self.set(name)?;
        self.0.standby(name).ok_or_else(|| self.not_here(name, Role::Standby))
    }

    /// This node is not the set's source, or standby, which it had to be.
    fn not_here(&self, name: &SetName, role: Role) -> Failed {
        let Some(part) = self.0.parts.get(name) else {
            return failed(FailedKind::Usage, format!("this node has no part in {name}"));
        };
        let now = part.set();
        let node = if role == Role::Source { now.source } else { now.standby };
        if node == self.0.context.settings().node.name {
            let report = self.0.report(name).unwrap_or_else(|| part.report());
            return failed(FailedKind::Refused, explain(&report).brief());
        }
        failed(FailedKind::Usage, format!("this node is not the {role} of {name}: ask for it on {node}"))
    }

    fn status(&self, set: Option<SetName>) -> Result<Answer, Failed> {
        let names: Vec<_> = match set {
            Some(name) => vec![self.set(&name)?.name],
            None => self.0.context.settings().sets.keys().cloned().collect(),
        };
        names.iter().filter_map(|name| self.0.standby(name)).for_each(|standby| standby.try_again());
        let sets = names.iter().filter_map(|name| self.0.report(name)).collect();
        Ok(Answer::Status { node: self.0.context.settings().node.name.clone(), sets })
    }

    fn points(&self, name: &SetName) -> Result<Answer, Failed> {
        if let Some(standby) = self.0.standby(name) {
            let (points, at) = standby.points();
            return Ok(Answer::Points { points, at });
        }
        let (_, status) = self.ask_peer(name)?;
        Ok(Answer::Points { points: status.points, at: status.at })
    }

    /// Whatever has a part in a group is left to the group's cutovers, which leave no node out.
    fn refuse_past_group(&self, name: &SetName, force: bool, past: Past) -> Result<(), Failed> {
        let settings = self.0.context.settings();
        let Some(group) = settings.group_of(name).map(|group| &group.name).filter(|_| !force) else { return Ok(()) };
        // Of one that cannot be opened nobody knows where it is.
        let is_online = || self.desk(group).map_or(true, |desk| desk.local().state().online.is_some());
        if past.matters_offline() || is_online() {
            return Err(failed(FailedKind::Refused, past.refusal(name, group)));
        }
        Ok(())
    }

    fn promote(&self, name: &SetName, point: Option<PointNumber>, as_source: bool) -> Result<Answer, Failed> {
        if !as_source {
            self.standby(name)?;
            let point = self.0.part(name)?.promote(point)?;
            tracing::warn!(set = %name, point = %point.number, "promoted");
            return Ok(Answer::Promoted { point, generation: None });
        }
        let part = self.0.part(name)?;
        let point = part.take_over(point, None)?;
        Ok(Answer::Promoted { point, generation: Some(part.roles().generation) })
    }

    /// Hands the set over, as long as the client waits.
    fn turn(&self, name: &SetName, to: &NodeName, limit: Limit, client: &mut Client) -> Result<Answer, Failed> {
        self.set(name)?;
        let deadline = Instant::now() + limit.left().min(MOST_DRAINING);
        let (generation, point) = self.0.hand_over(name, to, deadline, &mut |report| client.progress(report))?;
        Ok(Answer::Turned { generation, point })
    }

    fn mirror(&self, order: &MirrorOrder, client: &mut Client) -> Result<Answer, Failed> {
        let source = self.source(&order.set)?;
        let (mirror, began) = source.start(order)?;
        if !order.wait && !order.dry_run {
            return Ok(Answer::Started { new: began == Began::Now });
        }
        let limit = Limit::new(order.timeout_seconds);
        let answer = self.wait(&source, mirror, limit, client)?;
        if began != Began::OfItself {
            return Ok(answer);
        }
        // Nobody asked for that one before: it may have read a file before the client wrote it, so one more is what was asked for.
        let comparison = Some(Comparison::Difference);
        let (mirror, _) = source.start(&MirrorOrder { comparison, ..order.clone() })?;
        self.wait(&source, mirror, limit, client)
    }

    /// Makes a recovery point, and waits for it as long as the client does.
    fn point(&self, name: &SetName, wait: bool, limit: Limit, client: &mut Client) -> Result<Answer, Failed> {
        let source = self.source(name)?;
        let mut late = false;
        let made = source.point(wait, &mut |report| {
            late = limit.is_over();
            !late && client.progress(report)
        });
        let report = source.report();
        match made {
            Err(_) if late => {
                Err(failed(FailedKind::TimedOut, format!("there is no such point yet: {}", explain(&report).brief())))
            }
            Ok(point) => {
                let away = matches!(report.state, SetState::Disconnected | SetState::Waiting | SetState::Hindered);
                let later =
                    (point.is_none() && away).then(|| format!("once {} is back; {}", report.peer.node, explain(&report).cause));
                Ok(Answer::Pointed { point, later })
            }
            Err(error) => Err(error),
        }
    }

    /// Waits for the end of a mirror, as long as the client does.
    fn wait(&self, source: &SourceSet, mirror: MirrorId, limit: Limit, client: &mut Client) -> Result<Answer, Failed> {
        loop {
            if let Some(end) = source.wait(mirror, PROGRESS) {
                return end.map(Answer::Mirrored);
            }
            if limit.is_over() {
                let what = if source.end_comparison(mirror) { "the comparison was stopped" } else { "the mirror goes on" };
                let why = explain(&source.report()).cause;
                return Err(failed(FailedKind::TimedOut, format!("it has not ended in time, {what}: {why}")));
            }
            if !client.progress(&source.report()) {
                // What only the client wanted to see. A mirror goes on.
                source.end_comparison(mirror);
                let text = "the daemon ends; what it was told to do goes on when it runs again";
                return Err(failed(FailedKind::Unreachable, text));
            }
        }
    }

    /// Waits until a set is so far, as long as the client does.
    fn wait_for(&self, name: &SetName, goal: Goal, timeout: Option<f64>, client: &mut Client) -> Result<Answer, Failed> {
        let limit = Limit::new(timeout);
        self.set(name)?;
        if let Some(source) = self.0.source(name) {
            source.notice();
        }
        let began = Instant::now();
        loop {
            let report = self.0.report(name).ok_or_else(|| {
                failed(FailedKind::Usage, format!("this node has no part in {name}: wait on its source or standby"))
            })?;
            let (kind, text) = match goal.outlook(&report, began.elapsed()) {
                Outlook::Reached => return Ok(Answer::Reached(Box::new(report))),
                Outlook::Stuck(why) => (FailedKind::Refused, why),
                Outlook::Failed(why) => (FailedKind::Failed, why),
                Outlook::Senseless(why) => (FailedKind::Usage, why),
                Outlook::Coming if limit.is_over() => {
                    (FailedKind::TimedOut, format!("{name} is not so far yet: {}", explain(&report).brief()))
                }
                Outlook::Coming if client.progress(&report) => {
                    thread::sleep(limit.left().min(LOOK));
                    continue;
                }
                Outlook::Coming => (FailedKind::Unreachable, "the daemon ends; wait again when it runs".to_owned()),
            };
            return Err(failed(kind, text));
        }
    }

    /// Scrubs a replica, as long as the client waits or not.
    fn scrub(&self, name: &SetName, wait: bool, client: &mut Client) -> Result<Answer, Failed> {
        let standby = self.standby(name)?;
        let replica = standby.replica(None)?;
        if !scrub::is_due_to(&*replica) {
            let text =
                format!("{name} has no recovery point yet, or is promoted or bad: `standin status {name} --explain` says which");
            return Err(failed(FailedKind::Refused, text));
        }
        let number = standby.scrubs.order();
        self.0.bell.ring();
        if !wait {
            return Ok(Answer::Ok);
        }
        while !standby.scrubs.wait(number, PROGRESS) {
            if !client.progress(&standby.report()) || self.0.bell.has_ended() {
                return Err(failed(FailedKind::Unreachable, "the daemon ends; scrub again when it runs"));
            }
        }
        Ok(Answer::Scrubbed(standby.scrubs.report()))
    }

    fn desk(&self, name: &GroupName) -> Result<&Arc<Desk>, Failed> {
        let desk = self.0.groups.desk(name).ok_or_else(|| {
            let known: Vec<_> = self.0.groups.names().iter().map(GroupName::to_string).collect();
            let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
            failed(FailedKind::Usage, format!("this node has no group {name} in the settings that its daemon runs with; {known}"))
        })?;
        desk.map_err(|why| failed(FailedKind::Failed, why))
    }

    fn group(&self, name: &GroupName, at: Option<NodeName>, ask: Ask) -> Result<Answer, Failed> {
        let told = self.desk(name)?.ask(at, ask).map_err(|refused| failed(refused.kind, refused.text))?;
        Ok(Answer::Group(Box::new(told)))
    }

    fn groups(&self, name: Option<GroupName>) -> Result<Answer, Failed> {
        let names = name.map_or_else(|| self.0.groups.names(), |name| vec![name]);
        let status = names.iter().map(|name| self.desk(name).map(|desk| desk.status()));
        status.collect::<Result<_, _>>().map(Answer::Groups)
    }

    fn monitors(&self, name: Option<GroupName>) -> Result<Answer, Failed> {
        let names = name.map_or_else(|| self.0.groups.names(), |name| vec![name]);
        let unwatched =
            |name: &GroupName| failed(FailedKind::Failed, format!("nobody watches over group {name}: the log says why"));
        let of = |name: &GroupName| {
            self.desk(name)?;
            self.0.monitors.watch(name).map(|watch| watch.status()).ok_or_else(|| unwatched(name))
        };
        names.iter().map(of).collect::<Result<_, _>>().map(Answer::Monitors)
    }

    /// What the other node says of a set.
    fn ask_peer(&self, name: &SetName) -> Result<(Set, PeerStatus), Failed> {
        let set = self.set(name)?;
        let here = self.0.context.settings().node.name.clone();
        let other = set.peer_of(&here).ok_or_else(|| failed(FailedKind::Usage, format!("this node has no part in {name}")))?;
        let open = self.0.source(name).and_then(|source| source.connection());
        let connection: Connection = match open {
            Some(connection) => connection,
            None => self.0.context.dial(other)?,
        };
        let unreachable = |why: String| failed(FailedKind::Unreachable, format!("{other}: {why}"));
        match peer::ask_of_set(&connection, name).map_err(|error| unreachable(error.to_string()))? {
            SetAnswer::Unknown => {
                let text =
                    format!("{other} has no set {name} with this node in its settings: write the same lines on both nodes");
                Err(failed(FailedKind::Failed, text))
            }
            SetAnswer::Known { definition, status } => {
                let unreadable = |error: serde_json::Error| unreachable(format!("its answer cannot be read: {error}"));
                Ok((serde_json::from_str(&definition).map_err(unreadable)?, serde_json::from_str(&status).map_err(unreadable)?))
            }
        }
    }

    fn check_set(&self, name: &SetName) -> Result<Answer, Failed> {
        let here = self.set(name)?;
        let (there, _) = self.ask_peer(name)?;
        let peer = here.peer_of(&self.0.context.settings().node.name).cloned().unwrap_or_else(|| here.standby.clone());
        Ok(Answer::Compared { peer, differences: here.differences(&there) })
    }

    fn accept_pairing(&self, timeout_seconds: u64, client: &mut Client) -> Result<Answer, Failed> {
        let client = std::cell::RefCell::new(client);
        let limit = Duration::from_secs(timeout_seconds.min(24 * 3600));
        self.0.pairing.accept(&self.0.context, limit, &mut || client.borrow_mut().is_gone(), &mut |node, key| {
            client.borrow_mut().confirm(node, &key.to_string())
        })
    }
}
