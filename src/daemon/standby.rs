//! A set of which this node is the standby.

mod current;
mod error;
mod former;
mod live;
mod promoting;
mod rehearsal;
mod scrubs;
mod shelter;
mod streams;
mod targets;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError, RwLock};
use std::time::{Duration, Instant};

use standin_common::id::PointNumber;
use standin_common::link::quic::Connection;
use standin_common::link::talk::Talk;
use standin_common::link::{CloseCode, LinkError};
use standin_common::message::{MirrorAnswer, MirrorOpening, Purpose, Refusal, RootKind};
use standin_common::scope::Reason;
use standin_config::{Role, Set};
use standin_replicator::journal::Point;
use standin_replicator::os::{OsVolume, confine, mount_point};
use standin_replicator::report::{PeerReport, SetReport, SetState};
use standin_replicator::rules::Rules;
use standin_replicator::standby::comparing;
use standin_replicator::standby::receive::ReceiveError;
use standin_replicator::standby::replica::Replica;
use standin_replicator::standby::session::{self, Arrivals, SessionError};
use standin_replicator::standby::state::Phase;
use standin_replicator::store::DirectoryStore;
use standin_replicator::volume::Volume;
use standin_replicator::{definition, explain};

use self::current::Current;
pub(super) use self::error::StandbyError;
pub(super) use self::former::clear_away;
pub(super) use self::live::mark_if_unmarked;
pub(super) use self::rehearsal::{Rehearsal, Rehearsed};
pub(super) use self::scrubs::{Partial, Scrubs, now};
use self::targets::Target;
pub(super) use self::targets::mounts as mounts_of_targets;
use super::path_report;
use super::roles::RolesFile;

/// How long a source that does not let go of a failed mirror is waited for.
const LET_GO: Duration = Duration::from_secs(10);
/// How long the session of a connection that was replaced may take to end.
const END: Duration = Duration::from_secs(15);

const REPLICA: &str = "replica";

pub(super) type OsReplica = Replica<OsVolume, DirectoryStore>;

/// See the module.
pub(super) struct StandbySet {
    set: RwLock<Arc<Set>>,
    rules: Vec<Rules>,
    directory: PathBuf,
    /// Who is source; the peer, while this is used.
    roles: Arc<RolesFile>,
    state: Mutex<State>,
    changed: Condvar,
    /// What scrubs of the replica did and found.
    pub(super) scrubs: Scrubs,
}

#[derive(Default)]
struct State {
    replica: Option<Arc<OsReplica>>,
    /// Why it is not as it should be.
    trouble: Option<String>,
    /// Whether there is a replica that cannot be opened.
    unopened: bool,
    /// Over which connection a pass is received, if one is.
    receiving: Option<Connection>,
    /// The newest connection over which the source wants to send one.
    next: Option<Connection>,
    /// The source's connection, of the last time it spoke of this set.
    connection: Option<Connection>,
    /// Until when everything is here.
    current: Current,
    /// Whether what is received is a stream.
    streams: bool,
    /// Whether there may be the log of a stream.
    stream_is_kept: bool,
    /// Whether nothing is received any more, since this node takes over.
    closed: bool,
    /// Whether whoever wants to send waits for a moment, as the replica is being cloned.
    paused: bool,
}

fn kind_name(kind: RootKind) -> &'static str {
    match kind {
        RootKind::Directory => "a directory",
        RootKind::File => "a file",
        RootKind::Device => "a block device",
    }
}

/// A directory can only be replicated to a directory, a file or device to either of these.
fn check_kind(target: &Path, volume: &OsVolume, source: RootKind) -> Result<(), StandbyError> {
    let here = volume.kind();
    if (here == RootKind::Directory) == (source == RootKind::Directory) {
        return Ok(());
    }
    Err(StandbyError::OtherKind { path: target.to_owned(), here: kind_name(here), there: kind_name(source) })
}

impl StandbySet {
    /// Opens the replica if there is one, which finishes what a crash interrupted.
    pub(super) fn open(set: Set, rules: Vec<Rules>, directory: PathBuf, roles: Arc<RolesFile>) -> Self {
        let set = RwLock::new(Arc::new(set));
        let scrubs = Scrubs::open(&directory);
        let standby = Self {
            set,
            rules,
            directory,
            roles,
            state: Mutex::new(State { stream_is_kept: true, ..State::default() }),
            changed: Condvar::new(),
            scrubs,
        };
        standby.try_again();
        standby
    }

    /// Opens the replica, if there is one that could not be opened before: what was wrong may have been mended.
    pub(super) fn try_again(&self) {
        if self.lock().replica.is_some() {
            return;
        }
        let trouble = match self.replica(None) {
            Ok(_) | Err(StandbyError::Nothing) => return,
            Err(error) => error.to_string(),
        };
        let mut state = self.lock();
        if state.trouble.as_ref() != Some(&trouble) {
            tracing::error!(set = %self.set().name, "{trouble}");
        }
        (state.trouble, state.unopened) = (Some(trouble), true);
    }

    /// The settings that it runs with now. Name, ends and roots never change while it runs.
    pub(super) fn set(&self) -> Arc<Set> {
        self.set.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The replica, opened now if it was not; `kinds` makes targets that are not there in the first mirror.
    pub(super) fn replica(&self, kinds: Option<&[RootKind]>) -> Result<Arc<OsReplica>, StandbyError> {
        let mut state = self.lock();
        if let Some(replica) = &state.replica {
            let set = self.set();
            let roots = set.roots.iter().zip(replica.volumes()).zip(kinds.unwrap_or_default());
            roots.into_iter().try_for_each(|((root, volume), kind)| check_kind(&root.target, volume, *kind))?;
            return Ok(replica.clone());
        }
        self.check_live()?;
        self.found_if_due()?;
        let remembered = targets::read(&self.directory)?;
        let store = DirectoryStore::open(&self.directory.join(REPLICA)).map_err(StandbyError::Store)?;
        self.check_kept(remembered.as_deref(), &store)?;
        if remembered.is_none() && kinds.is_none() {
            return Err(StandbyError::Nothing);
        }
        let mut volumes = Vec::new();
        for (index, root) in self.set().roots.iter().enumerate() {
            let target = remembered.as_ref().and_then(|targets| targets.get(index));
            volumes.push(self.open_target(&root.target, index, kinds.and_then(|kinds| kinds.get(index).copied()), target)?);
        }
        if remembered.is_none() {
            self.unmark()?;
        }
        let replica = Arc::new(Replica::load(volumes, store, usize::from(self.set().history_points))?);
        self.guard(&replica);
        // After the state: a crash in between leaves an empty state, with which the first mirror begins again.
        if remembered.is_none_or(|targets| targets.len() < self.set().roots.len()) {
            targets::write(&self.directory, &self.set().roots)?;
        }
        // It is known all the same where it stands, and tried again when it is needed.
        let settled = replica.settle_if_due().map_err(ReceiveError::from);
        state.trouble = settled.err().map(|error| error.explained());
        if let Some(trouble) = &state.trouble {
            tracing::error!(set = %self.set().name, "{trouble}");
        }
        (state.replica, state.unopened) = (Some(replica.clone()), false);
        let is_settled = state.trouble.is_none();
        drop(state);
        if is_settled && let Err(error) = self.recover_stream(&replica) {
            // It is tried again before anything else is received, and by a promotion.
            self.failed(&error);
        }
        Ok(replica)
    }

    /// Refuses to go on with a part of what is kept of a replica, or with targets other than those it was received into: the journals
    /// of its points would be applied to trees that they are not of.
    fn check_kept(&self, remembered: Option<&[Target]>, store: &DirectoryStore) -> Result<(), StandbyError> {
        let lost = |file: &str| StandbyError::Lost { file: self.directory.join(file), set: self.directory.clone() };
        let state = OsReplica::kept(store)?;
        match (remembered, state) {
            (Some(_), None) => Err(lost("replica/state")),
            (None, Some(state)) if state.phase != Phase::Empty => Err(lost(targets::FILE)),
            (None, _) => Ok(()),
            (Some(targets), Some(_)) => targets::check(targets, &self.set().roots, &self.directory),
        }
    }

    /// `kind` is the source's; without it, a target must be there.
    fn open_target(
        &self,
        path: &Path,
        index: usize,
        kind: Option<RootKind>,
        remembered: Option<&Target>,
    ) -> Result<OsVolume, StandbyError> {
        if let Some(target) = remembered {
            let mount = mount_point(path).map_err(|_| StandbyError::Missing(path.to_owned()))?;
            if mount != target.mount && target.mount.starts_with(&mount) {
                return Err(StandbyError::Unmounted { path: path.to_owned(), mount: target.mount.clone() });
            }
        }
        let here = || match path.metadata() {
            Ok(found) if found.is_dir() => Ok(RootKind::Directory),
            Ok(_) => Ok(RootKind::File),
            Err(_) => Err(StandbyError::New(path.to_owned())),
        };
        let kind = kind.map_or_else(here, Ok)?;
        let side = former::side_of(&self.directory, index);
        if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
            return Err(StandbyError::NoParent { path: path.to_owned(), parent: parent.to_owned() });
        }
        let opened = OsVolume::open_target(path, &side, kind);
        let volume = opened.map_err(|source| StandbyError::Target { path: path.to_owned(), source })?;
        check_kind(path, &volume, kind)?;
        Ok(volume)
    }

    /// The replica, if it is open.
    pub(super) fn opened(&self) -> Option<Arc<OsReplica>> {
        self.lock().replica.clone()
    }

    /// The source spoke of this set on `connection`.
    pub(super) fn heard_from(&self, connection: &Connection) {
        self.lock().connection = Some(connection.clone());
    }

    /// Goes on with other settings, of which only what may change live is another.
    pub(super) fn reconfigure(&self, set: Set) {
        if let Some(replica) = &self.lock().replica {
            replica.set_keep_points(usize::from(set.history_points));
        }
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
    }

    /// Receives one pass of a mirror, to its end, on a thread of its own: it is confined, and of no use for anything else afterwards.
    pub(super) fn receive(
        &self,
        connection: &Connection,
        opening: MirrorOpening,
        (mut send, receive): Talk,
        lanes: &Arrivals,
    ) -> Result<(), LinkError> {
        if opening.definition != definition::digest(&self.set()) || opening.roots.len() != self.set().roots.len() {
            send.send(&MirrorAnswer::Refused(Refusal::OtherDefinition), &[])?;
            return send.finish();
        }
        let Some(_receiving) = self.replace_session(connection) else {
            send.send(&MirrorAnswer::Refused(Refusal::Busy), &[])?;
            return send.finish();
        };
        // Comparing makes nothing, not even a target.
        let kinds = (opening.purpose == Purpose::Mirror).then_some(&opening.roots[..]);
        let replica = match self.replica(kinds) {
            Ok(replica) => replica,
            // Only a comparison needs what is not there yet, and nothing is wrong with that.
            Err(error @ StandbyError::Nothing) => {
                let why =
                    format!("{error}: a dry run or verification has nothing to compare with before the first mirror has ended");
                send.send(&MirrorAnswer::Refused(Refusal::Failed(why)), &[])?;
                return send.finish();
            }
            Err(error) => {
                self.lock().trouble = Some(error.to_string());
                self.try_again();
                send.send(&MirrorAnswer::Refused(Refusal::Failed(error.to_string())), &[])?;
                return send.finish();
            }
        };
        self.confine();
        // What a stream brought comes first: the source counts on it.
        if let Err(error) = self.recover_stream(&replica) {
            self.failed(&error);
            send.send(&MirrorAnswer::Refused(Refusal::Failed(error.to_string())), &[])?;
            return send.finish();
        }
        let deadline = Mutex::new(None);
        let stopping = || {
            let cut = connection.close_after(LET_GO, CloseCode::PROTOCOL, "the mirror failed, and its streams were not ended");
            *deadline.lock().unwrap_or_else(PoisonError::into_inner) = Some(cut);
        };
        let limit = self.set().journal_limit_bytes;
        let began = now();
        let ended = match opening.purpose {
            Purpose::Mirror => session::receive(&replica, &self.rules, opening, limit, (send, receive), lanes, &stopping),
            Purpose::DryRun | Purpose::Verify => {
                comparing::compare(&replica, &self.rules, &opening, (send, receive), lanes, &stopping).map(|equal| {
                    if equal {
                        self.scrubs.verified(began);
                    }
                    None
                })
            }
        };
        self.note_end(ended);
        Ok(())
    }

    /// Says what came of a pass.
    fn note_end(&self, ended: Result<Option<Point>, SessionError>) {
        let mut state = self.lock();
        match ended {
            Ok(Some(point)) => {
                let (number, consistent, objects) = (point.number, point.consistent, point.objects);
                match point.reason {
                    Reason::Passing => tracing::debug!(point = %number, consistent, objects, "passing recovery point"),
                    _ => tracing::info!(point = %number, consistent, objects, "recovery point"),
                }
                state.trouble = None;
            }
            Ok(None) => tracing::debug!("the source ended a pass without a point"),
            Err(SessionError::Link(error)) => tracing::warn!(%error, "cut off"),
            Err(SessionError::Receive(error @ ReceiveError::Anew)) => tracing::info!("{error}"),
            Err(SessionError::Receive(error)) => {
                let error = error.explained();
                tracing::error!(error, "the mirror failed");
                state.trouble = Some(error);
            }
        }
    }

    /// From here on this thread and those that it starts reach the roots and the state of this set, and nothing else.
    fn confine(&self) {
        static WARNING: Once = Once::new();
        let set = self.set();
        let roots = set.roots.iter().map(|root| root.target.as_path());
        if let Err(error) = confine(roots.chain([self.directory.as_path()])) {
            WARNING.call_once(|| tracing::warn!(%error, "this kernel cannot confine the receiving threads to the roots"));
        }
    }

    /// Begins to receive. A source that dialled again has no use for what still runs over its old connection: that is ended first. `None`
    /// if it does not end, or the source has dialled once more meanwhile.
    fn replace_session(&self, connection: &Connection) -> Option<Receiving<'_>> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        state.connection = Some(connection.clone());
        state.next = Some(connection.clone());
        self.changed.notify_all();
        let deadline = Instant::now() + END;
        while state.paused || state.receiving.is_some() {
            if let Some(old) = state.receiving.as_ref().filter(|old| !old.is_same(connection)) {
                old.close(CloseCode::DONE, "replaced by a new connection");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let replaced = state.next.as_ref().is_some_and(|next| !next.is_same(connection));
            if left.is_zero() || replaced {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.receiving = Some(connection.clone());
        Some(Receiving(self))
    }

    /// An orderly end of the daemon.
    pub(super) fn rest(&self) {
        let replica = self.lock().replica.clone();
        if let Some(replica) = replica {
            replica.rest();
        }
    }

    /// The kept points, and the one that the replica is at.
    pub(super) fn points(&self) -> (Vec<Point>, Option<PointNumber>) {
        let state = self.lock().replica.as_ref().map(|replica| replica.state());
        state.map_or_else(Default::default, |state| {
            let at = state.phase.point().filter(|_| !state.phase.is_moving());
            (state.points, at)
        })
    }

    /// How it stands.
    pub(super) fn report(&self) -> SetReport {
        let state = self.lock();
        let replica = state.replica.as_ref().map(|replica| replica.state());
        let (doing, cause) = match replica.as_ref().map(|replica| &replica.phase) {
            None if state.unopened => (SetState::Bad, None),
            None | Some(Phase::Empty) => (SetState::Empty, None),
            Some(Phase::FirstMirror { .. }) => (SetState::FirstMirror, None),
            Some(Phase::Settled { .. }) if state.receiving.is_some() && !state.streams => (SetState::Receiving, None),
            Some(Phase::Settled { .. }) => (SetState::Ready, None),
            Some(Phase::Moving { .. }) => (SetState::Applying, None),
            Some(Phase::Promoted { .. }) => (SetState::Promoted, None),
            Some(Phase::Bad { cause, .. }) => (SetState::Bad, Some(cause.clone())),
        };
        let path = state.connection.as_ref().filter(|connection| !connection.is_closed()).map(path_report);
        let of_replica = replica.as_ref().map(|replica| replica.generation).unwrap_or_default();
        let (set, roles) = (self.set(), self.roles.now());
        // Before the first mirror, and of a set that was never turned, it is the replica that tells.
        let generation = if roles.is_turned() { roles.generation.max(of_replica) } else { of_replica };
        let hindered = cause.or_else(|| state.trouble.clone());
        let report = SetReport {
            scrub: Some(self.scrubs.report()),
            current_seconds: state.current.seconds(),
            kept_aside: shelter::lists(&self.directory),
            point: replica.and_then(|replica| match replica.phase {
                Phase::Promoted { at } => replica.point(at).cloned(),
                _ => replica.points.last().cloned(),
            }),
            peer: PeerReport { node: set.source.clone(), path },
            ..SetReport::new(set.name.clone(), Role::Standby, generation, doing, set.source.clone())
        };
        SetReport { trouble: explain::trouble(hindered, &report), ..report }
    }
}

/// Held while a pass is received.
struct Receiving<'a>(&'a StandbySet);

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.0.lock();
            (state.receiving, state.streams) = (None, false);
        }
        self.0.changed.notify_all();
    }
}
