//! Who is source of a set, and since when: the file `roles.json` in the set's state directory, on both of its nodes.
//!
//! The settings name the ends of a set that was never turned. Every turn raises the generation, and the higher one is right: a node that
//! hears of it goes by it. What follows from what is heard is decided here, purely; [`super::part`] does it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use standin_common::disk::{self, DiskError, Mode};
use standin_common::id::{Generation, NodeName, PointNumber};
use standin_config::{Set, Settings};
use standin_replicator::journal::Point;

const FILE: &str = "roles.json";
const FORMAT: u16 = 1;
/// The generation of a set that was never turned.
const FIRST: Generation = Generation(1);

/// Who is source of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Roles {
    format: u16,
    /// How often the set was turned, from 1.
    pub(crate) generation: Generation,
    /// The source at this generation.
    pub(crate) source: NodeName,
    /// The point at which it took over; none of a set that was never turned, or where that was not heard yet.
    pub(crate) from: Option<Point>,
    /// This node is the source and gave up being so.
    #[serde(default)]
    pub(crate) retired: Option<Retired>,
    /// This node was the source, and its tree is not a replica yet.
    #[serde(default)]
    pub(crate) returning: Option<Returning>,
}

/// A source that sends nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retired {
    /// For this generation.
    pub(crate) generation: Generation,
    /// The point that holds all it had, if it was drained before.
    pub(crate) drained: Option<PointNumber>,
}

/// A former source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Returning {
    /// The generation at which it was source.
    pub(crate) was: Generation,
    /// The point that held all it had when it gave up being source, if it did.
    pub(crate) drained: Option<PointNumber>,
    /// Whether its tree was made a replica, so that what the new source sends can be received.
    pub(crate) founded: bool,
}

/// What follows from what a peer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// Both go by the same, or the peer has to learn.
    Nothing,
    /// These are right, and are kept.
    Keep(Roles),
    /// The peer says that this node is source at a generation that this node knows nothing of: its state is lost or old.
    Forgotten(Generation),
}

impl Roles {
    /// Of a set that was never turned.
    pub(super) fn written(set: &Set) -> Self {
        Self { format: FORMAT, generation: FIRST, source: set.source.clone(), from: None, retired: None, returning: None }
    }

    /// Of a node that takes over.
    pub(super) fn taken_over(&self, by: &NodeName, generation: Generation, from: Point) -> Self {
        Self { format: FORMAT, generation, source: by.clone(), from: Some(from), retired: None, returning: None }
    }

    /// Of a source that gives up being so, or takes that back.
    pub(super) fn with_retired(&self, retired: Option<Retired>) -> Self {
        Self { retired, ..self.clone() }
    }

    /// Of a node whose peer is source at a higher generation.
    pub(super) fn given_up(&self, source: &NodeName, generation: Generation, from: Option<Point>) -> Self {
        let drained = self.retired.and_then(|retired| retired.drained.filter(|_| retired.generation == generation));
        let was_source = self.source != *source;
        let now = Returning { was: self.generation, drained, founded: false };
        let returning = if was_source { Some(now) } else { self.returning };
        Self { format: FORMAT, generation, source: source.clone(), from, retired: None, returning }
    }

    /// The set with its ends as they are now.
    pub(crate) fn orient(&self, set: &Set) -> Set {
        if self.source == set.standby { set.turned() } else { set.clone() }
    }

    /// Whether the set was ever turned.
    pub(super) fn is_turned(&self) -> bool {
        self.generation > FIRST
    }

    /// Whether everything that the former source had is in the point at which the other took over.
    pub(super) fn is_drained(&self) -> bool {
        let from = self.from.as_ref().map(|from| from.number);
        self.returning.is_some_and(|returning| returning.drained.is_some() && returning.drained == from)
    }

    /// What follows for `here` when its peer in the set says this.
    pub(super) fn hear(&self, said: &Self, here: &NodeName, peer: &NodeName) -> Heard {
        let is_source_there = said.source == *peer;
        match said.generation.cmp(&self.generation) {
            _ if !is_source_there && said.source != *here => Heard::Nothing,
            std::cmp::Ordering::Greater if is_source_there => {
                Heard::Keep(self.given_up(peer, said.generation, said.from.clone()))
            }
            std::cmp::Ordering::Greater => Heard::Forgotten(said.generation),
            std::cmp::Ordering::Equal if is_source_there && said.source == self.source && self.from.is_none() => {
                let learned = Self { from: said.from.clone(), ..self.clone() };
                if learned == *self { Heard::Nothing } else { Heard::Keep(learned) }
            }
            _ => Heard::Nothing,
        }
    }

    /// Whether a peer that says this takes what is sent from here, being `ready` as a standby; else why not.
    pub(super) fn lets_send(&self, said: &Self, peer: &NodeName, ready: bool) -> Result<(), String> {
        match said.generation.cmp(&self.generation) {
            std::cmp::Ordering::Equal if said.source == self.source && ready => Ok(()),
            std::cmp::Ordering::Greater => Err(format!(
                "{} is source of the set at generation {}: nothing is sent from here any more",
                said.source, said.generation
            )),
            _ => Err(format!("{peer} has not become a standby of generation {} yet, and was told to", self.generation)),
        }
    }
}

/// The file, and what is in it.
#[derive(Debug)]
pub(super) struct RolesFile {
    path: PathBuf,
    roles: Mutex<Roles>,
}

impl RolesFile {
    /// Of a set as the settings have it, with its state directory. Without a file it was never turned.
    pub(super) fn open(set: &Set, directory: &Path) -> Result<Self, String> {
        let roles = read(directory)?.unwrap_or_else(|| Roles::written(set));
        let path = directory.join(FILE);
        if set.role(&roles.source).is_none() {
            let (source, path) = (&roles.source, path.display());
            return Err(format!(
                "set {}: {path} says that {source} is its source, which has no part in it: correct `source` and `standby`, or remove the file",
                set.name
            ));
        }
        Ok(Self { path, roles: Mutex::new(roles) })
    }

    fn lock(&self) -> MutexGuard<'_, Roles> {
        self.roles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now.
    pub(super) fn now(&self) -> Roles {
        self.lock().clone()
    }

    /// The tree of a former source was made a replica, if the generation still is this one.
    pub(super) fn found(&self, generation: Generation, returning: Option<Returning>) -> Result<(), DiskError> {
        self.change(|now| (now.generation == generation).then(|| Roles { returning, ..now.clone() }))
    }

    /// Goes by these from now on, durably, or not at all.
    pub(super) fn replace(&self, roles: Roles) -> Result<(), DiskError> {
        self.change(|_| Some(roles))
    }

    /// Goes by what follows from what is known now, if something does: nobody else changes it meanwhile.
    pub(super) fn change(&self, next: impl FnOnce(&Roles) -> Option<Roles>) -> Result<(), DiskError> {
        let mut now = self.lock();
        if let Some(roles) = next(&now).filter(|roles| *roles != *now) {
            // Plain data always serialises; should it not, the file says so at the next start.
            let text = serde_json::to_vec_pretty(&roles).unwrap_or_default();
            disk::replace(&self.path, &text, Mode::Private)?;
            *now = roles;
        }
        Ok(())
    }
}

fn read(directory: &Path) -> Result<Option<Roles>, String> {
    let path = directory.join(FILE);
    let text = disk::read_optional(&path).map_err(|error| error.to_string())?;
    let parse = |text: Vec<u8>| {
        let parsed = serde_json::from_slice::<Roles>(&text).map_err(|error| error.to_string());
        let known = parsed
            .and_then(|roles| if roles.format == FORMAT { Ok(roles) } else { Err(format!("its format is {}", roles.format)) });
        known.map_err(|why| format!("{} cannot be used ({why}): restore it from a backup", path.display()))
    };
    text.map(parse).transpose()
}

/// The settings with the ends of each set as they are now on this node. What cannot be read is as it is written.
pub(crate) fn as_they_are(settings: &Settings) -> Settings {
    let mut now = settings.clone();
    for (name, set) in &mut now.sets {
        if let Ok(Some(roles)) = read(&settings.node.state_dir.join("sets").join(name.as_str())) {
            *set = roles.orient(set);
        }
    }
    now
}

#[cfg(test)]
#[path = "roles_tests.rs"]
mod tests;
