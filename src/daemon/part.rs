//! The part that this node has in a set: source, standby, or a source that gave up being one; and how that changes while the daemon runs.
//!
//! | step | durable by | a crash before it | a crash after it |
//! | --- | --- | --- | --- |
//! | a standby takes over | `promote`, then `roles.json` | a standby, promoted or not; taking over again goes on | the source of the new generation |
//! | a source retires | `roles.json` | the source | retired, until it hears of a source or is released |
//! | a source becomes a standby | `roles.json` | the source, which is refused everything | a standby, whose tree is made a replica at the next look |
//!
//! What is left to do after `roles.json` was written follows from it, and is done at each start: a source clears away what it had as a standby, a
//! standby makes its tree a replica.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use standin_common::disk::DiskError;
use standin_common::id::{Generation, NodeName, PointNumber, SetName};
use standin_common::link::CloseCode;
use standin_config::{Role, Set};
use standin_replicator::journal::Point;
use standin_replicator::report::{SetReport, SetState};
use standin_replicator::rules::Rules;

use super::peer::Context;
use super::roles::{Heard, Retired, Roles, RolesFile};
use super::source::SourceSet;
use super::standby::{StandbyError, StandbySet, mark_if_unmarked};

/// See the module.
pub(super) struct Part {
    name: SetName,
    here: NodeName,
    peer: NodeName,
    context: Arc<Context>,
    directory: PathBuf,
    /// As the settings have it.
    written: RwLock<Set>,
    roles: Arc<RolesFile>,
    side: RwLock<Side>,
    /// Held while the side changes.
    turning: Mutex<Turning>,
}

enum Side {
    Source(Arc<SourceSet>),
    Standby(Arc<StandbySet>),
    /// A source of this generation that sends nothing and does nothing.
    Retired(Generation),
}

#[derive(Default)]
struct Turning {
    /// The thread of the source.
    thread: Option<JoinHandle<()>>,
    /// Whether the daemon runs; then a source has a thread.
    runs: bool,
    /// The point that held all the source had when it was drained last.
    drained: Option<PointNumber>,
}

/// Why a set is not turned.
#[derive(Debug, thiserror::Error)]
pub(super) enum TurnError {
    #[error("this node is the source of {set} already, at generation {generation}")]
    IsSource { set: SetName, generation: Generation },
    #[error("this node is not the source of {set}: {source_node} is, at generation {generation}")]
    IsNotSource { set: SetName, source_node: NodeName, generation: Generation },
    #[error("generation {known} of {set} is known, so {asked} is not a higher one")]
    OldGeneration { set: SetName, known: Generation, asked: Generation },
    #[error("the set's rules: {0}")]
    Set(String),
    #[error(transparent)]
    Standby(#[from] StandbyError),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Part {
    /// Opens the part of `here` in a set, with what is kept of it; `None` if it has none.
    pub(super) fn open(set: &Set, context: &Arc<Context>, directory: PathBuf) -> Result<Option<Self>, String> {
        let here = context.settings().node.name.clone();
        let Some(peer) = set.peer_of(&here).cloned() else { return Ok(None) };
        standin_common::disk::create_private_dir(&directory).map_err(|error| error.to_string())?;
        let roles = Arc::new(RolesFile::open(set, &directory)?);
        let part = Self {
            name: set.name.clone(),
            here,
            peer,
            context: context.clone(),
            directory,
            written: RwLock::new(set.clone()),
            side: RwLock::new(Side::Retired(roles.now().generation)),
            roles,
            turning: Mutex::default(),
        };
        let side = part.open_side().map_err(|error| format!("set {}: {error}", part.name))?;
        part.exchange(side);
        Ok(Some(part))
    }

    fn turning(&self) -> MutexGuard<'_, Turning> {
        self.turning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchange(&self, side: Side) {
        *self.side.write().unwrap_or_else(PoisonError::into_inner) = side;
    }

    /// The side that the roles say.
    fn open_side(&self) -> Result<Side, TurnError> {
        let roles = self.roles.now();
        let set = roles.orient(&self.written.read().unwrap_or_else(PoisonError::into_inner));
        let rules = Rules::of(&set).map_err(|error| TurnError::Set(error.to_string()))?;
        if roles.source != self.here {
            return Ok(Side::Standby(Arc::new(StandbySet::open(set, rules, self.directory.clone(), self.roles.clone()))));
        }
        if roles.retired.is_some() {
            return Ok(Side::Retired(roles.generation));
        }
        if roles.is_turned() {
            mark_if_unmarked(&set.roots, roles.generation);
        }
        let source = SourceSet::open(set, rules, self.context.clone(), &self.directory, self.roles.clone());
        Ok(Side::Source(Arc::new(source.map_err(TurnError::Set)?)))
    }

    /// The daemon runs from now on.
    pub(super) fn start(&self) {
        let mut turning = self.turning();
        turning.runs = true;
        self.run_source(&mut turning);
    }

    fn run_source(&self, turning: &mut Turning) {
        let Some(source) = self.source().filter(|_| turning.runs) else { return };
        source.put_layers();
        match thread::Builder::new().name("source".to_owned()).spawn(move || source.run()) {
            Ok(thread) => turning.thread = Some(thread),
            Err(error) => tracing::error!(set = %self.name, %error, "cannot start a thread: nothing of the set is replicated"),
        }
    }

    /// Ends what the source does; nothing is sent any more when this returns.
    fn stop_source(&self, turning: &mut Turning) {
        if let Some(source) = self.source() {
            source.shut_down();
            let close = || source.connection().iter().for_each(|open| open.close(CloseCode::DONE, "this source ends"));
            close();
            if let Some(thread) = turning.thread.take() {
                // A panic was reported where it happened.
                let _ = thread.join();
            }
            // One that was dialled meanwhile.
            close();
        }
    }

    /// The daemon ends. Whoever is to be told so first was.
    pub(super) fn end(&self) {
        let mut turning = self.turning();
        turning.runs = false;
        self.stop_source(&mut turning);
    }

    /// Who is source, as far as this node knows.
    pub(super) fn roles(&self) -> Roles {
        self.roles.now()
    }

    /// Whether this node is source, and is not any more when it has heard this of its peer.
    pub(super) fn would_give_up(&self, said: &Roles) -> bool {
        let roles = self.roles();
        let heard = roles.hear(said, &self.here, &self.peer);
        roles.source == self.here && matches!(heard, Heard::Keep(next) if next.source != self.here)
    }

    /// The same, once what follows from it was done.
    pub(super) fn settled_roles(&self) -> Roles {
        let _turning = self.turning();
        self.roles.now()
    }

    /// The other node of the set.
    pub(super) fn peer(&self) -> &NodeName {
        &self.peer
    }

    /// The set with its ends as they are now.
    pub(super) fn set(&self) -> Set {
        self.roles.now().orient(&self.written.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The source, if this node is it and did not give up being so.
    pub(super) fn source(&self) -> Option<Arc<SourceSet>> {
        match &*self.side.read().unwrap_or_else(PoisonError::into_inner) {
            Side::Source(source) => Some(source.clone()),
            _ => None,
        }
    }

    /// The standby, if this node is it.
    pub(super) fn standby(&self) -> Option<Arc<StandbySet>> {
        match &*self.side.read().unwrap_or_else(PoisonError::into_inner) {
            Side::Standby(standby) => Some(standby.clone()),
            _ => None,
        }
    }

    /// How the set stands here.
    pub(super) fn report(&self) -> SetReport {
        match &*self.side.read().unwrap_or_else(PoisonError::into_inner) {
            Side::Source(source) => source.report(),
            Side::Standby(standby) => standby.report(),
            Side::Retired(generation) => {
                SetReport::new(self.name.clone(), Role::Source, *generation, SetState::Retired, self.peer.clone())
            }
        }
    }

    /// Goes on with other settings, of which only what may change live is another.
    pub(super) fn reconfigure(&self, set: &Set) {
        *self.written.write().unwrap_or_else(PoisonError::into_inner) = set.clone();
        let now = self.roles.now().orient(set);
        if let Some(source) = self.source() {
            source.reconfigure(now);
        } else if let Some(standby) = self.standby() {
            standby.reconfigure(now);
        }
    }

    /// Makes the replica a plain, writable tree, and nothing else: replication of the set ends.
    pub(super) fn promote(&self, point: Option<PointNumber>) -> Result<Point, TurnError> {
        let _turning = self.turning();
        let standby = self.expect_standby()?;
        let point = standby.promote(point)?;
        standby.mark_live(None);
        Ok(point)
    }

    fn expect_standby(&self) -> Result<Arc<StandbySet>, TurnError> {
        let is_source = || TurnError::IsSource { set: self.name.clone(), generation: self.roles.now().generation };
        self.standby().ok_or_else(is_source)
    }

    /// Makes the replica a plain, writable tree, and this node the source of the set at a generation that is higher than its own, by default the next.
    /// Done again it does nothing. Returns the point.
    pub(super) fn take_over(&self, point: Option<PointNumber>, generation: Option<Generation>) -> Result<Point, TurnError> {
        let mut turning = self.turning();
        let roles = self.roles.now();
        if let Some(from) = roles.from.clone().filter(|_| roles.source == self.here)
            && generation.is_none_or(|generation| generation == roles.generation)
            && point.is_none_or(|point| point == from.number)
        {
            if self.standby().is_some() {
                // That failed the last time.
                self.exchange(self.open_side()?);
                self.run_source(&mut turning);
            }
            return Ok(from);
        }
        let standby = self.expect_standby()?;
        // A person says that the tree is right of which this node has forgotten that it is its own.
        let outlived = if generation.is_none() && point.is_none() { standby.outlived_by()? } else { None };
        let generation = generation.unwrap_or(roles.generation.max(outlived.unwrap_or_default()).next());
        self.check_higher(&roles, generation)?;
        let from = match outlived {
            Some(_) => standby.point_of_its_own(generation),
            None => standby.take_over(point)?,
        };
        // First, so that the roles are never older than the tree.
        standby.mark_live(Some(generation));
        self.roles.replace(roles.taken_over(&self.here, generation, from.clone()))?;
        tracing::info!(set = %self.name, %generation, point = %from.number, "this node is the source now");
        turning.drained = None;
        self.exchange(self.open_side()?);
        self.run_source(&mut turning);
        Ok(from)
    }

    /// A source, retired or not, goes on as one at a higher generation, as whoever was to take over is lost. `false`: this node is no source, or
    /// became it at just this generation.
    pub(super) fn raise(&self, generation: Generation) -> Result<bool, TurnError> {
        let mut turning = self.turning();
        let roles = self.roles.now();
        if roles.source != self.here || (roles.generation == generation && roles.from.is_some()) {
            return Ok(false);
        }
        if roles.generation != generation {
            self.check_higher(&roles, generation)?;
            self.stop_source(&mut turning);
            let mut raised = roles.with_retired(None);
            (raised.generation, raised.from) = (generation, None);
            let kept = self.roles.replace(raised);
            self.exchange(self.open_side()?);
            self.run_source(&mut turning);
            kept?;
        }
        Ok(true)
    }

    fn check_higher(&self, roles: &Roles, asked: Generation) -> Result<(), TurnError> {
        let known = roles.generation;
        if asked > known { Ok(()) } else { Err(TurnError::OldGeneration { set: self.name.clone(), known, asked }) }
    }

    fn expect_source(&self, roles: &Roles) -> Result<(), TurnError> {
        let Roles { source, generation, .. } = roles.clone();
        if source == self.here {
            return Ok(());
        }
        Err(TurnError::IsNotSource { set: self.name.clone(), source_node: source, generation })
    }

    /// All that the source has was in this point, and nobody writes.
    pub(super) fn was_drained(&self, point: PointNumber) {
        self.turning().drained = Some(point);
    }

    /// On the source: from now on nothing is sent, and nothing of the set is written, until a source of this generation is heard of, or
    /// [`Part::release`]. Done again it does nothing.
    pub(super) fn retire(&self, generation: Generation) -> Result<(), TurnError> {
        let mut turning = self.turning();
        let roles = self.roles.now();
        self.expect_source(&roles)?;
        self.check_higher(&roles, generation)?;
        if roles.retired.is_some_and(|retired| retired.generation == generation) {
            return Ok(());
        }
        self.stop_source(&mut turning);
        let drained = turning.drained;
        let kept = self.roles.replace(roles.with_retired(Some(Retired { generation, drained })));
        self.exchange(self.open_side()?);
        // It goes on if it could not be kept.
        self.run_source(&mut turning);
        kept?;
        tracing::info!(set = %self.name, %generation, "this node sends nothing any more, for the other to take over");
        Ok(())
    }

    /// Takes back [`Part::retire`]; nothing to do if nothing was.
    pub(super) fn release(&self) -> Result<(), TurnError> {
        let mut turning = self.turning();
        let roles = self.roles.now();
        self.expect_source(&roles)?;
        turning.drained = None;
        if roles.retired.is_some() {
            self.roles.replace(roles.with_retired(None))?;
            self.exchange(self.open_side()?);
            self.run_source(&mut turning);
        }
        Ok(())
    }

    /// The peer is source at a generation that is higher than this node's: this node is the standby from now on. Done again it does nothing.
    pub(super) fn become_standby(&self, generation: Generation, from: Option<Point>) -> Result<(), TurnError> {
        let roles = self.settled_roles();
        if roles.generation == generation && roles.source == self.peer {
            return Ok(());
        }
        self.check_higher(&roles, generation)?;
        self.go_by(|now| (now.generation < generation).then(|| now.given_up(&self.peer, generation, from.clone())))
    }

    /// Goes by what the peer says, if that is right.
    pub(super) fn hear(&self, said: &Roles) -> Result<(), TurnError> {
        match self.roles.now().hear(said, &self.here, &self.peer) {
            Heard::Nothing => Ok(()),
            Heard::Keep(_) => self.go_by(|now| match now.hear(said, &self.here, &self.peer) {
                Heard::Keep(roles) => Some(roles),
                Heard::Nothing | Heard::Forgotten(_) => None,
            }),
            Heard::Forgotten(generation) => {
                tracing::error!(
                    set = %self.name, %generation,
                    "{} says that this node is the source at a generation of which nothing is known here: was its state directory restored \
                     from a backup? Copy nothing over; `standin promote {} --as-source` on the node with the newer data makes it the source",
                    self.peer, self.name
                );
                Ok(())
            }
        }
    }

    /// `next` tells what follows from what is known. It is asked when nobody else turns the set, and once more in the moment of the change:
    /// what became known between, such as that the tree is a replica now, must not be forgotten.
    fn go_by(&self, next: impl Fn(&Roles) -> Option<Roles>) -> Result<(), TurnError> {
        let mut turning = self.turning();
        let Some(Roles { generation, .. }) = next(&self.roles.now()) else {
            // It was turned meanwhile.
            return Ok(());
        };
        let standby = self.standby();
        self.stop_source(&mut turning);
        turning.drained = None;
        let kept = self.roles.change(next);
        match standby {
            Some(standby) => standby.guard_anew(),
            None => {
                self.exchange(self.open_side()?);
                self.run_source(&mut turning);
            }
        }
        drop(turning);
        kept?;
        tracing::info!(set = %self.name, %generation, source = %self.peer, "this node is the standby");
        self.context.knock(&self.peer);
        Ok(())
    }
}
