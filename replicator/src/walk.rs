//! Walking a tree in the order of [`RelPath`]: a directory before what it holds, siblings by their bytes.
//!
//! Memory is the names of one directory for each level. Both sides walk like this, so their walks can be merged. What the rules exclude
//! is not met; an excluded directory is, right before the first included object in it.

use std::collections::VecDeque;
use std::io;

use standin_common::path::{PathError, RelPath};

use crate::rules::Rules;
use crate::scopes::{Beneath, Scopes};
use crate::volume::{Directory, Names, Object, ObjectKind, Place, Volume};

/// One object met on the walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where.
    pub path: RelPath,
    /// What.
    pub object: Object,
}

/// Something that could not be read. The walk goes on with the next object.
#[derive(Debug, thiserror::Error)]
#[error("{path:?} cannot be read: {source}")]
pub struct WalkError {
    /// Where.
    pub path: RelPath,
    /// What the system said.
    pub source: io::Error,
}

/// A directory on the way from the root to where the walk is.
struct Level<D> {
    path: RelPath,
    directory: D,
    names: Names,
    next: usize,
    /// The directory itself, if it is excluded and nothing included was met in it yet.
    way: Option<Step>,
}

/// The objects beneath a root, the root first.
pub struct Walk<'a, V: Volume> {
    volume: &'a V,
    rules: &'a Rules,
    levels: Vec<Level<V::Directory>>,
    root_is_next: bool,
    /// Whether a glance at each object is enough.
    glances: bool,
    /// Where only a part is met.
    scopes: Option<&'a Scopes>,
    after: Option<RelPath>,
    /// Met together with the directories that lead to it.
    met: VecDeque<Step>,
}

impl<'a, V: Volume> Walk<'a, V> {
    /// Everything beneath the root that the rules include, or what comes of it after a path.
    pub fn new(volume: &'a V, after: Option<RelPath>, rules: &'a Rules) -> Self {
        Self { volume, rules, levels: Vec::new(), root_is_next: true, glances: false, scopes: None, after, met: VecDeque::new() }
    }

    /// The same of everything, with no more than [`Directory::glance`] tells.
    pub fn glancing(volume: &'a V, rules: &'a Rules) -> Self {
        Self { glances: true, ..Self::new(volume, None, rules) }
    }

    /// The same, but only of these places and the directories that lead there, unless there are none.
    #[must_use]
    pub fn within(self, scopes: Option<&'a Scopes>) -> Self {
        Self { scopes, ..self }
    }

    fn descend(&mut self, path: &RelPath, way: Option<Step>) -> io::Result<()> {
        let beneath = self.scopes.map_or(Ok(Beneath::All), |scopes| scopes.beneath(path)).map_err(io::Error::other)?;
        if beneath == Beneath::Nothing {
            return Ok(());
        }
        let directory = self.volume.open_directory(path)?;
        let names = if let Beneath::Names(names) = beneath { names } else { directory.names()? };
        let next = self.after.as_ref().map_or(0, |after| first_name_after(&names, path, after));
        self.levels.push(Level { path: path.clone(), directory, names, next, way });
        Ok(())
    }

    /// What the walk does with an object that it met: nothing if it is excluded, or lies before where the walk begins.
    fn meet(&mut self, path: RelPath, object: Object) -> Option<Result<Step, WalkError>> {
        let before = self.after.as_ref().is_some_and(|after| path <= *after);
        let is_directory = object.kind == ObjectKind::Directory;
        if !self.rules.judge(&path).included {
            if is_directory && self.rules.may_include_beneath(&path) {
                let way = (!before).then(|| Step { path: path.clone(), object });
                return self.descend(&path, way).err().and_then(|source| unless_gone(path, source));
            }
            return None;
        }
        if !before {
            self.met.extend(self.levels.iter_mut().filter_map(|level| level.way.take()));
        }
        if is_directory && let Err(source) = self.descend(&path, None) {
            return unless_gone(path, source);
        }
        if before {
            return None;
        }
        self.met.push_back(Step { path, object });
        self.met.pop_front().map(Ok)
    }

    fn look(&mut self) -> Looked {
        let Some(level) = self.levels.last_mut() else { return Looked::End };
        let Some(name) = level.names.get(level.next) else {
            self.levels.pop();
            return Looked::Nothing;
        };
        level.next += 1;
        match level.path.join(name) {
            Err(error) => Looked::Failed(level.path.clone(), unusable(&error)),
            Ok(path) => match if self.glances { level.directory.glance(name) } else { level.directory.object(name) } {
                Ok(Some(object)) => Looked::Object(path, object),
                Ok(None) => Looked::Nothing,
                Err(source) => Looked::Failed(path, source),
            },
        }
    }
}

/// A directory that vanished before it was opened is as one that vanished before it was met.
fn unless_gone(path: RelPath, source: io::Error) -> Option<Result<Step, WalkError>> {
    let gone = source.kind() == io::ErrorKind::NotFound && !path.is_root();
    (!gone).then_some(Err(WalkError { path, source }))
}

enum Looked {
    Object(RelPath, Object),
    Failed(RelPath, io::Error),
    /// Nothing this time: a directory ended, or a name vanished before it was looked at.
    Nothing,
    End,
}

fn unusable(error: &PathError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("it holds a name that cannot be replicated: {error}"))
}

/// The first name of the directory at `path` that is, or leads to, something after `after`.
fn first_name_after(names: &Names, path: &RelPath, after: &RelPath) -> usize {
    if !after.starts_with(path) {
        return 0;
    }
    match after.components().nth(path.depth()) {
        Some(name) => names.search(name).unwrap_or_else(|index| index),
        None => 0,
    }
}

impl<V: Volume> Iterator for Walk<'_, V> {
    type Item = Result<Step, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(step) = self.met.pop_front() {
            return Some(Ok(step));
        }
        if self.root_is_next {
            self.root_is_next = false;
            let root = RelPath::root();
            let met = match self.volume.object(&Place::Tree(&root)) {
                Ok(Some(object)) => self.meet(root, object),
                Ok(None) => Some(Err(WalkError { path: root, source: io::ErrorKind::NotFound.into() })),
                Err(source) => Some(Err(WalkError { path: root, source })),
            };
            if met.is_some() {
                return met;
            }
        }
        loop {
            let met = match self.look() {
                Looked::End => return None,
                Looked::Nothing => None,
                Looked::Failed(path, source) => Some(Err(WalkError { path, source })),
                Looked::Object(path, object) => self.meet(path, object),
            };
            if met.is_some() {
                return met;
            }
        }
    }
}
