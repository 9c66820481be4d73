//! The merge join: the source's entries and the replica's walk, both in order, side by side.
//!
//! Whatever only the replica has is an orphan; what only the source has, or has otherwise, is made, given attributes, or asked for.
//! Memory is one directory for each level, and one note for each object with several names.

mod orphans;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::ErrorKind;
use std::iter::Peekable;

use standin_common::entry::{Attrs, Entry, Kind};
use standin_common::id::RootIndex;
use standin_common::message::{FromStandby, Position, RootKind, Want};
use standin_common::path::RelPath;

use super::claims;
use super::receive::{Arrival, ReceiveError, Reception, failed};
use super::resume::Before;
use crate::journal::{Landing, Op};
use crate::mirror::{self, Action, How, SMALL_LEN};
use crate::rules::Rules;
use crate::scopes::Scopes;
use crate::store::Store;
use crate::volume::{Object, ObjectKind, Place, Volume, is_reserved};
use crate::walk::{Step, Walk};

/// A directory of the source that the walk is in.
struct OpenDirectory {
    path: RelPath,
    attrs: Attrs,
    /// Whether its attributes must be set when it is left: they differ, or names in it change.
    touched: bool,
    /// Whether it comes to be only when the journal is applied.
    journaled: bool,
}

/// The join of one pass.
pub struct Join<'r, 'a, V: Volume, S: Store> {
    reception: &'r Reception<'a, V, S>,
    how: How,
    rules: &'r [Rules],
    /// Of each root, in a round.
    scopes: Option<&'r BTreeMap<RootIndex, Scopes>>,
    root: Option<RootIndex>,
    /// The last entry of this root.
    last: Option<RelPath>,
    replica: Option<Peekable<Walk<'r, V>>>,
    directories: Vec<OpenDirectory>,
    /// Directories of the replica that the source does not have, to be removed after what they hold.
    leaving: Vec<(RelPath, Option<u64>)>,
    /// First names of objects with several: the inode that they keep on the standby, if they do.
    links: HashMap<RelPath, Option<u64>>,
    claimed: HashMap<u64, RelPath>,
    /// Objects with several names whose bytes were counted.
    counted: HashSet<u64>,
    out: Vec<FromStandby>,
}

impl<'r, 'a, V: Volume, S: Store> Join<'r, 'a, V, S> {
    /// For a pass that begins, or goes on; with the rules of each root.
    pub fn new(reception: &'r Reception<'a, V, S>, how: How, rules: &'r [Rules]) -> Self {
        Self {
            reception,
            how,
            rules,
            scopes: None,
            root: None,
            last: None,
            replica: None,
            directories: Vec::new(),
            leaving: Vec::new(),
            links: HashMap::new(),
            claimed: HashMap::new(),
            counted: HashSet::new(),
            out: Vec::new(),
        }
    }

    /// Only of these places of each root, unless there are none.
    #[must_use]
    pub fn within(self, scopes: Option<&'r BTreeMap<RootIndex, Scopes>>) -> Self {
        Self { scopes, ..self }
    }

    /// Takes the next entries of the source; returns what to tell it.
    pub fn entries(&mut self, root: RootIndex, entries: Vec<Entry>) -> Result<Vec<FromStandby>, ReceiveError> {
        if self.root != Some(root) {
            if self.root.is_some_and(|before| before >= root) {
                return Err(ReceiveError::Protocol("its roots are out of order"));
            }
            self.finish_root()?;
            self.start_root(root)?;
        }
        for entry in entries {
            let at = Position { root, path: entry.path.clone() };
            self.join(entry)?;
            self.reception.joined_to(at);
        }
        Ok(std::mem::take(&mut self.out))
    }

    /// The source's walk is over; returns what is left to tell it.
    pub fn end(&mut self) -> Result<Vec<FromStandby>, ReceiveError> {
        self.finish_root()?;
        self.out.push(FromStandby::Joined(self.reception.summary()));
        Ok(std::mem::take(&mut self.out))
    }

    fn start_root(&mut self, root: RootIndex) -> Result<(), ReceiveError> {
        let volume = self.reception.volume(root)?;
        let after = self.reception.after().filter(|after| after.root == root).map(|after| after.path.clone());
        self.root = Some(root);
        self.last = None;
        self.links.clear();
        self.counted.clear();
        let (rules, scopes) = (self.rules_of(root)?, self.scopes_of(root)?);
        self.claimed = match &after {
            Some(after) => claims::until(after, Walk::new(volume, None, rules).within(scopes))?,
            None => HashMap::new(),
        };
        self.replica = Some(Walk::new(volume, after, rules).within(scopes).peekable());
        Ok(())
    }

    fn rules_of(&self, root: RootIndex) -> Result<&'r Rules, ReceiveError> {
        self.rules.get(usize::from(root.0)).ok_or(ReceiveError::Protocol("it named a root that the set does not have"))
    }

    fn scopes_of(&self, root: RootIndex) -> Result<Option<&'r Scopes>, ReceiveError> {
        let outside = ReceiveError::Protocol("it sent entries of a root in which nothing was to be looked at");
        self.scopes.map(|scopes| scopes.get(&root).ok_or(outside)).transpose()
    }

    fn finish_root(&mut self) -> Result<(), ReceiveError> {
        while let Some(step) = self.next_before(None)? {
            self.orphan(step)?;
        }
        self.leave_orphans(None)?;
        self.leave_directories(None)
    }

    /// The replica's next object, if it lies before `path`.
    fn next_before(&mut self, path: Option<&RelPath>) -> Result<Option<Step>, ReceiveError> {
        self.next_if(|step| path.is_none_or(|path| step < path))
    }

    fn next_if(&mut self, wanted: impl Fn(&RelPath) -> bool) -> Result<Option<Step>, ReceiveError> {
        let Some(replica) = &mut self.replica else { return Ok(None) };
        let next = replica.next_if(|step| match step {
            Ok(step) => wanted(&step.path),
            Err(_) => true,
        });
        match next {
            None => Ok(None),
            Some(Ok(step)) => {
                self.count(&step.object);
                Ok(Some(step))
            }
            Some(Err(error)) => Err(failed("reading the replica", &error.path)(error.source)),
        }
    }

    /// Counts what the replica's walk met; an object with several names once in the bytes, as the source does.
    fn count(&mut self, object: &Object) {
        let counts = object.kind == ObjectKind::File && (object.names == 1 || self.counted.insert(object.stamp.inode));
        self.reception.count(|summary| {
            summary.standby_objects += 1;
            summary.standby_bytes += if counts { object.size } else { 0 };
        });
    }

    fn current_root(&self) -> RootIndex {
        self.root.unwrap_or(RootIndex(0))
    }

    fn position(&self, path: &RelPath) -> Position {
        Position { root: self.current_root(), path: path.clone() }
    }

    fn note(&self, file: Option<u64>, path: &RelPath, op: Op) -> Result<(), ReceiveError> {
        self.reception.note_op(file, self.current_root(), path, op)
    }

    /// Sets the attributes of directories that the walk has left.
    fn leave_directories(&mut self, next: Option<&RelPath>) -> Result<(), ReceiveError> {
        while let Some(directory) = self.directories.pop_if(|open| next.is_none_or(|next| !next.starts_with(&open.path))) {
            if directory.touched {
                self.note(None, &directory.path, Op::Attrs(directory.attrs))?;
            }
        }
        Ok(())
    }

    /// Names in the innermost directory change.
    fn touch(&mut self) {
        if let Some(directory) = self.directories.last_mut() {
            directory.touched = true;
        }
    }

    /// Whether objects are made at once instead of by the journal: in the first mirror, unless something is in the way.
    fn in_place(&self) -> bool {
        self.reception.first() && !self.directories.last().is_some_and(|directory| directory.journaled)
    }

    fn join(&mut self, entry: Entry) -> Result<(), ReceiveError> {
        while let Some(step) = self.next_before(Some(&entry.path))? {
            self.orphan(step)?;
        }
        self.leave_orphans(Some(&entry.path))?;
        self.leave_directories(Some(&entry.path))?;
        self.check_place(&entry)?;
        self.reception.check_before(&self.position(&entry.path), entry.kind == Kind::Directory)?;
        let here = match self.next_if(|path| *path == entry.path)? {
            Some(step) => Some(step.object),
            None => self.already_passed(&entry)?,
        };
        if here.is_none() {
            self.reception.count(|summary| summary.new_objects += 1);
        }
        if self.is_blocked(&entry, here.as_ref())? {
            return Ok(());
        }
        let (here, cleared) = self.make_way(&entry, here)?;
        if let Kind::Hardlink { to } = &entry.kind {
            let to = to.clone();
            return self.join_link(&entry, &to, here);
        }
        // Several names on the standby may lead to one object where the source has several: only the first keeps it.
        let shared = here.as_ref().filter(|here| entry.linked || here.names > 1 && here.kind != ObjectKind::Directory);
        let claimed = |here: &Object, claimed: &mut HashMap<_, _>| {
            // A round does not meet the other names that the object may still have on the source.
            let lone = self.scopes.is_some() && !entry.linked;
            lone || claimed.insert(here.stamp.inode, entry.path.clone()).is_some()
        };
        // Claimed also where it was received before a cut, which may have been into that very object: no other name keeps it then.
        let claimed = shared.is_some_and(|here| claimed(here, &mut self.claimed));
        // What the replica has there is nothing to keep if it was replaced or taken out before a cut.
        let changed = entry.kind != Kind::Directory && self.reception.is_changed(&self.position(&entry.path));
        let taken = changed || claimed;
        if entry.linked {
            self.links.insert(entry.path.clone(), here.as_ref().filter(|_| !taken).map(|here| here.stamp.inode));
        }
        let decided = match entry.kind {
            Kind::File { .. } if taken => Action::Send,
            _ if taken => Action::Make,
            _ => mirror::decide(&entry, here.as_ref(), self.how),
        };
        if decided == Action::Make {
            // Its further names have to lead to what is made.
            self.links.entry(entry.path.clone()).and_modify(|kept| *kept = None);
        }
        match decided {
            Action::Same if entry.kind != Kind::Directory => Ok(()),
            Action::Attributes if entry.kind != Kind::Directory => {
                self.reception.count(|summary| summary.changed_objects += 1);
                self.note(None, &entry.path, Op::Attrs(entry.attrs))
            }
            action => match entry.kind {
                Kind::Directory => self.join_directory(entry, here, action),
                Kind::File { size } => self.join_file(entry.path, size, entry.linked, (here, cleared), action),
                _ => self.make_object(entry, here),
            },
        }
    }

    /// When a pass goes on, the directories above where it goes on come again, without the replica's walk meeting them.
    fn already_passed(&self, entry: &Entry) -> Result<Option<Object>, ReceiveError> {
        let passed = self.reception.after().is_some_and(|after| self.position(&entry.path) <= *after);
        if !passed {
            return Ok(None);
        }
        let volume = self.reception.volume(self.current_root())?;
        volume.object(&Place::Tree(&entry.path)).map_err(failed("reading the replica", &entry.path))
    }

    /// Refuses what no walk meets: anything out of order, outside the directories that were announced, or of a name that is reserved.
    fn check_place(&mut self, entry: &Entry) -> Result<(), ReceiveError> {
        if self.last.as_ref().is_some_and(|last| *last >= entry.path) {
            return Err(ReceiveError::Protocol("its entries are out of order"));
        }
        let parent = entry.path.parent();
        if parent.as_ref() != self.directories.last().map(|open| &open.path) {
            return Err(ReceiveError::Protocol("it sent an object without its directory"));
        }
        let kind = self.reception.opening().roots.get(usize::from(self.current_root().0));
        let fits = match entry.kind {
            Kind::Directory => kind == Some(&RootKind::Directory),
            Kind::File { .. } => matches!(kind, Some(RootKind::File | RootKind::Device)),
            _ => false,
        };
        if parent.is_none() && !fits {
            return Err(ReceiveError::Protocol("its root is not what it said"));
        }
        if is_reserved(&entry.path) {
            return Err(ReceiveError::Protocol("it sent an object of a reserved name"));
        }
        self.last = Some(entry.path.clone());
        Ok(())
    }

    fn join_directory(&mut self, entry: Entry, here: Option<Object>, action: Action) -> Result<(), ReceiveError> {
        let mut journaled = !self.in_place();
        // What comes again after a cut was made before it, and may have been touched.
        let passed = self.reception.after().is_some_and(|after| self.position(&entry.path) <= *after);
        let again = self.made_before(&entry.path) || passed;
        if again {
            journaled |= action == Action::Make;
        } else if action == Action::Make {
            self.reception.count(|summary| summary.changed_objects += 1);
            journaled |= here.is_some();
            if journaled {
                self.replace(&entry.path, here.as_ref(), Op::MakeDirectory)?;
            } else {
                let volume = self.reception.volume(self.current_root())?;
                match volume.make_directory(&entry.path) {
                    // Excluded, and nothing in it yet: the walk did not meet it. What it becomes is the same.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists && volume.open_directory(&entry.path).is_ok() => {}
                    made => made.map_err(failed("making the directory", &entry.path))?,
                }
            }
            self.touch();
        }
        let touched = action != Action::Same || again;
        self.directories.push(OpenDirectory { path: entry.path, attrs: entry.attrs, touched, journaled });
        Ok(())
    }

    fn join_link(&mut self, entry: &Entry, to: &RelPath, here: Option<Object>) -> Result<(), ReceiveError> {
        let changed = self.reception.is_changed(&self.position(&entry.path));
        if self.made_before(&entry.path) {
            return Ok(());
        }
        let kept = self.links.get(to).copied().flatten();
        if !changed && kept.is_some() && kept == here.as_ref().map(|here| here.stamp.inode) {
            return Ok(());
        }
        self.reception.count(|summary| summary.changed_objects += 1);
        self.touch();
        self.replace(&entry.path, here.as_ref(), Op::Link { to: to.clone() })
    }

    /// Puts something in the place of what is there, if something is.
    fn replace(&self, path: &RelPath, here: Option<&Object>, op: Op) -> Result<(), ReceiveError> {
        let at = self.position(path);
        let park = here.map(|_| Op::Park(self.reception.park_side(&at)));
        self.reception.note_together(None, &at, park.into_iter().chain([op]), false)
    }

    fn join_file(
        &mut self,
        path: RelPath,
        size: u64,
        linked: bool,
        (here, cleared): (Option<Object>, bool),
        action: Action,
    ) -> Result<(), ReceiveError> {
        let at = self.position(&path);
        let before = self.reception.resumed(&at);
        if matches!(before, Some(Before::Sealed(_))) {
            // Whether it stayed the object that it was is not known any more.
            self.links.entry(path).and_modify(|kept| *kept = None);
            self.touch();
            return Ok(());
        }
        let parked = matches!(before, Some(Before::Parked { .. }));
        let in_place = self.in_place() && !cleared && !parked;
        let here = here.filter(|here| here.kind == ObjectKind::File || !in_place);
        // An object with other names on the standby than on the source must not be written in place.
        let own = |here: &Object| {
            here.kind == ObjectKind::File && (here.names == 1 || linked && self.links.get(&path).copied().flatten().is_some())
        };
        let writable = !parked && here.as_ref().is_some_and(own);
        let at_root = path.is_root();
        let clonable = writable && action == Action::Compare && !linked && !at_root && !in_place && before.is_none();
        let clones = self.reception.volume(self.current_root())?.abilities().clones;
        let cloned = clonable && clones && self.reception.is_large(size);
        let (landing, replaces, begun) = match before {
            Some(Before::Begun { file, landing, overlay }) => {
                let replaces = matches!(landing, Landing::Staged(_)) && here.is_some();
                (landing, replaces, Some((file, overlay)))
            }
            _ if in_place && (here.is_none() || writable) => (Landing::InPlace, false, None),
            _ if cloned => (Landing::Staged(self.reception.new_side()), true, None),
            _ if writable && (action == Action::Compare || linked || at_root) => (Landing::Journal, false, None),
            _ => (Landing::Staged(self.reception.new_side()), here.is_some(), None),
        };
        if linked && matches!(landing, Landing::Staged(_)) {
            self.links.insert(path.clone(), None);
        }
        let replaceable = landing == Landing::Journal && size > SMALL_LEN && !linked && !at_root && begun.is_none();
        if !matches!(landing, Landing::Journal) || replaceable {
            self.touch();
        }
        let replaces = replaces.then(|| self.reception.park_side(&at));
        let whole = action != Action::Compare && begun.is_none();
        let file = self.reception.want(at.clone(), Arrival { landing, replaces, cloned, replaceable }, begun)?;
        self.reception.count(|summary| summary.wanted_bytes += size);
        self.out.push(FromStandby::Wants(vec![Want { file, at, size, whole }]));
        Ok(())
    }

    /// Whether an object that is not received was made before a cut.
    fn made_before(&mut self, path: &RelPath) -> bool {
        let made = matches!(self.reception.resumed(&self.position(path)), Some(Before::Sealed(_) | Before::Directory));
        if made {
            self.touch();
        }
        made
    }

    /// Makes a symbolic link or pipe, in the place of what is there.
    fn make_object(&mut self, entry: Entry, here: Option<Object>) -> Result<(), ReceiveError> {
        if self.made_before(&entry.path) {
            return Ok(());
        }
        self.reception.count(|summary| summary.changed_objects += 1);
        self.touch();
        let volume = self.reception.volume(self.current_root())?;
        let side = self.reception.new_side();
        self.reception.touch_side(self.current_root(), side);
        let place = Place::Side(side);
        let made = match &entry.kind {
            Kind::Symlink { target } => volume.make_symlink(&place, target),
            _ => volume.make_fifo(&place),
        };
        made.and_then(|()| volume.set_attrs(&place, &entry.attrs)).map_err(failed("making the object", &entry.path))?;
        self.replace(&entry.path, here.as_ref(), Op::Install(side))
    }
}
