//! Where the objects are that a layer speaks of. Pure: what is recorded goes in, places come out.

use std::collections::HashMap;

use standin_common::path::RelPath;
use standin_common::scope::Depth;

use super::{ObjectId, Operation, Place, Touch};

/// No path is longer than so many names; more means that something is wrong with what was told.
const MOST_DEEP: usize = 4096;

/// More names of a directory are not remembered one by one.
const FEW: u32 = 16;

/// The objects of one root that were told and not forgotten, and all directories that lead to them.
#[derive(Debug, Default)]
pub(super) struct Places {
    root: Option<ObjectId>,
    objects: HashMap<ObjectId, Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Every name that was told. If there is none, but for one that is `nameless`, it has others: nobody said where.
    names: Vec<(ObjectId, Box<[u8]>)>,
    /// Its last name went, or it never had one.
    nameless: bool,
    /// How many names lead on from here.
    children: usize,
    forgotten: bool,
    /// The turn in which it was noted last that it changed.
    noted: u64,
    /// The turn in which it was found in the durable record last: it itself, and as a directory with its names.
    hot: [u64; 2],
    /// The stream that it was told to last.
    told: u64,
    /// Names in it that came into the record, and the turn in which the first of them did.
    named: (u64, u32),
}

/// An object, and a name of it: in which directory, and what.
pub(super) type Named = (ObjectId, (ObjectId, Box<[u8]>));

/// What has to be told of an object to a stream before it is named there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Untold {
    /// Where it is, after what leads there; nothing if it was told before.
    At(Vec<Named>),
    /// No name leads to it, so no standby can have it.
    Nameless,
    /// It has a name that was not told: the standby may have it, and cannot be told which it is.
    Astray,
}

/// A place that changed, or is about to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spot {
    /// An object.
    Object(RelPath),
    /// The attributes of a directory, or which names it holds.
    Directory(RelPath),
    /// Everything from here on.
    Subtree(RelPath),
}

impl Places {
    /// What is about to change; nothing if no name leads there.
    pub(super) fn of(&self, touch: &Touch) -> Vec<Spot> {
        match touch {
            Touch::Data { object, .. } => self.each_name(*object, Spot::Object),
            Touch::Attributes { object } => self.each_name(*object, Spot::Directory),
            Touch::Names { directory } => self.each_name(*directory, Spot::Directory),
        }
    }

    /// Whether it was noted in this turn that an object changed; it is from now on.
    pub(super) fn is_noted(&mut self, object: ObjectId, turn: u64) -> bool {
        self.objects.get_mut(&object).is_some_and(|known| std::mem::replace(&mut known.noted, turn) == turn)
    }

    /// Whether an object is in the durable record in this turn; `names` asks for a directory with its names.
    pub(super) fn is_hot(&self, object: ObjectId, names: bool, turn: u64) -> bool {
        self.objects.get(&object).is_some_and(|known| known.hot[usize::from(names)] == turn)
    }

    /// It is from now on.
    pub(super) fn is_hot_now(&mut self, object: ObjectId, names: bool, turn: u64) {
        if let Some(known) = self.objects.get_mut(&object) {
            known.hot[usize::from(names)] = turn;
        }
    }

    /// A name in a directory, and the directory itself; the directory with all its names once there were many names in this turn.
    pub(super) fn named(&self, at: &Place<'_>, turn: u64) -> (Vec<Spot>, bool) {
        let named = self.objects.get(&at.parent).map_or((0, 0), |known| known.named);
        if named.0 == turn && named.1 >= FEW {
            return (self.each_name(at.parent, Spot::Directory), true);
        }
        let mut spots = Vec::new();
        self.note_name(at, Spot::Object, &mut spots);
        (spots, false)
    }

    /// One more name of a directory came into the record.
    pub(super) fn one_more_named(&mut self, directory: ObjectId, turn: u64) {
        if let Some(known) = self.objects.get_mut(&directory) {
            let before = if known.named.0 == turn { known.named.1 } else { 0 };
            known.named = (turn, before + 1);
        }
    }

    /// What is to be told of an object before a stream names it. From now on it counts as told.
    pub(super) fn untold(&mut self, object: ObjectId, stream: u64) -> Untold {
        let mut untold = Vec::new();
        let mut at = object;
        while self.root != Some(at) {
            let Some(known) = self.objects.get(&at) else { return Untold::Astray };
            if known.told == stream {
                break;
            }
            let Some(place) = known.names.first() else {
                return if known.nameless { Untold::Nameless } else { Untold::Astray };
            };
            untold.push((at, place.clone()));
            at = place.0;
            if untold.len() > MOST_DEEP {
                return Untold::Astray;
            }
        }
        untold.reverse();
        untold.iter().for_each(|(object, _)| self.told_now(*object, stream));
        Untold::At(untold)
    }

    /// It was told to a stream; to the stream 0, which there never is, that it will not be spoken of.
    pub(super) fn told_now(&mut self, object: ObjectId, stream: u64) {
        if let Some(known) = self.objects.get_mut(&object) {
            known.told = stream;
        }
    }

    /// Whether a stream was told of it.
    pub(super) fn is_told(&self, object: ObjectId, stream: u64) -> bool {
        self.objects.get(&object).is_some_and(|known| known.told == stream)
    }

    /// The last name of an object is about to be heard to go.
    pub(super) fn nameless(&mut self, object: ObjectId) {
        if let Some(known) = self.objects.get_mut(&object) {
            known.nameless = true;
        }
    }

    /// The root, if its layer began.
    pub(super) fn root(&self) -> Option<ObjectId> {
        self.root
    }

    /// Takes what was done; gives where something changed by it.
    pub(super) fn hear(&mut self, operation: &Operation<'_>) -> Vec<Spot> {
        let mut spots = Vec::new();
        match operation {
            Operation::Root { object } => {
                *self = Self { root: Some(*object), ..Self::default() };
                self.objects.entry(*object).or_default();
            }
            Operation::Known { object, at } => {
                if self.add(*object, at) {
                    // What was noted of it was without this name.
                    self.unnote(*object);
                }
            }
            Operation::Forgotten { object } => self.forget(*object),
            Operation::Make { object, at, .. } => {
                // A number that was used before may come again.
                self.drop_names(*object);
                let known = self.objects.entry(*object).or_default();
                (known.forgotten, known.nameless, known.noted, known.hot) = (false, at.is_none(), 0, [0; 2]);
                if let Some(at) = at {
                    self.add(*object, at);
                    self.note_name(at, Spot::Object, &mut spots);
                }
            }
            Operation::Link { object, at, .. } => {
                self.add(*object, at);
                spots.extend(self.each_name(*object, Spot::Object));
                self.note_name(at, Spot::Object, &mut spots);
            }
            Operation::Remove { object, at, .. } => {
                spots.extend(self.each_name(*object, Spot::Object));
                self.remove(*object, at);
                self.note_name(at, Spot::Subtree, &mut spots);
            }
            Operation::Rename { object, from, to, replaced, .. } => {
                if let Some(replaced) = replaced {
                    spots.extend(self.each_name(*replaced, Spot::Object));
                    self.remove(*replaced, to);
                }
                self.add(*object, to);
                self.remove(*object, from);
                spots.extend(self.each_name(*object, Spot::Object));
                self.note_name(from, Spot::Subtree, &mut spots);
                self.note_name(to, Spot::Subtree, &mut spots);
            }
            Operation::Exchange { object, other, from, to, .. } => {
                self.add(*object, to);
                self.add(*other, from);
                self.remove(*object, from);
                self.remove(*other, to);
                self.note_name(from, Spot::Subtree, &mut spots);
                self.note_name(to, Spot::Subtree, &mut spots);
            }
            Operation::Write { object, .. } | Operation::Truncate { object, .. } | Operation::Allocate { object, .. } => {
                spots = self.each_name(*object, Spot::Object);
            }
            Operation::SetMode { object, .. }
            | Operation::SetOwner { object, .. }
            | Operation::SetTimes { object, .. }
            | Operation::SetXattr { object, .. }
            | Operation::RemoveXattr { object, .. } => spots = self.each_name(*object, Spot::Directory),
            Operation::Sync { .. } => {}
        }
        spots
    }

    /// The place of a name, and its directory.
    fn note_name(&self, at: &Place<'_>, spot: fn(RelPath) -> Spot, spots: &mut Vec<Spot>) {
        spots.push(
            self.path(at.parent, Some(at.name))
                .map_or(Spot::Subtree(RelPath::root()), |(path, whole)| if whole { spot(path) } else { Spot::Subtree(path) }),
        );
        spots.extend(self.each_name(at.parent, Spot::Directory));
    }

    /// The place of a name, with all beneath it.
    pub(super) fn subtree(&self, at: &Place<'_>) -> Spot {
        Spot::Subtree(self.path(at.parent, Some(at.name)).map_or(RelPath::root(), |(path, _)| path))
    }

    fn each_name(&self, object: ObjectId, spot: fn(RelPath) -> Spot) -> Vec<Spot> {
        if self.root == Some(object) {
            return vec![spot(RelPath::root())];
        }
        let Some(known) = self.objects.get(&object) else { return vec![Spot::Subtree(RelPath::root())] };
        if known.names.is_empty() && !known.nameless {
            // It has a name, and nobody knows where.
            return vec![Spot::Subtree(RelPath::root())];
        }
        let places = known.names.iter().map(|(parent, name)| self.path(*parent, Some(name)));
        places
            .map(|place| match place {
                Some((path, true)) => spot(path),
                Some((path, false)) => Spot::Subtree(path),
                // It was not told how to get there: anywhere.
                None => Spot::Subtree(RelPath::root()),
            })
            .collect()
    }

    /// The path of a name in a directory; of one that is too long for a path the deepest directory that is not, and `false`.
    fn path(&self, directory: ObjectId, name: Option<&[u8]>) -> Option<(RelPath, bool)> {
        let mut names: Vec<&[u8]> = name.into_iter().collect();
        let mut at = directory;
        while self.root != Some(at) {
            let (parent, name) = self.objects.get(&at)?.names.first()?;
            names.push(name);
            at = *parent;
            if names.len() > MOST_DEEP {
                return None;
            }
        }
        let mut path = RelPath::root();
        for name in names.iter().rev() {
            match path.join(name) {
                Ok(longer) => path = longer,
                Err(_) => return Some((path, false)),
            }
        }
        Some((path, true))
    }

    /// Returns whether the name is new.
    fn add(&mut self, object: ObjectId, at: &Place<'_>) -> bool {
        let name = (at.parent, Box::from(at.name));
        let known = self.objects.entry(object).or_default();
        (known.forgotten, known.nameless) = (false, false);
        let is_new = !known.names.contains(&name);
        if is_new {
            known.names.push(name);
            self.objects.entry(at.parent).or_default().children += 1;
        }
        is_new
    }

    fn remove(&mut self, object: ObjectId, at: &Place<'_>) {
        let Some(known) = self.objects.get_mut(&object) else { return };
        let before = known.names.len();
        known.names.retain(|(parent, name)| *parent != at.parent || **name != *at.name);
        let (is_less, is_astray) = (known.names.len() < before, known.names.is_empty() && !known.nameless);
        if is_astray {
            // What was noted of it was by names that are gone.
            self.unnote(object);
        }
        if is_less {
            self.less(at.parent);
        }
    }

    /// The next change of an object is noted as if it were the first.
    fn unnote(&mut self, object: ObjectId) {
        if let Some(known) = self.objects.get_mut(&object) {
            (known.noted, known.hot) = (0, [0; 2]);
        }
    }

    /// One name less leads on from a directory.
    fn less(&mut self, directory: ObjectId) {
        if let Some(known) = self.objects.get_mut(&directory) {
            known.children = known.children.saturating_sub(1);
            if known.forgotten && known.children == 0 && self.root != Some(directory) {
                self.drop_names(directory);
                self.objects.remove(&directory);
            }
        }
    }

    fn drop_names(&mut self, object: ObjectId) {
        let names = self.objects.get_mut(&object).map(|known| std::mem::take(&mut known.names)).unwrap_or_default();
        names.into_iter().for_each(|(parent, _)| self.less(parent));
    }

    /// It goes, unless something beneath it is known still.
    fn forget(&mut self, object: ObjectId) {
        let Some(known) = self.objects.get_mut(&object) else { return };
        known.forgotten = true;
        if known.children == 0 && self.root != Some(object) {
            self.drop_names(object);
            self.objects.remove(&object);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.objects.len()
    }
}

impl Spot {
    /// Its path.
    pub(super) fn path(&self) -> &RelPath {
        match self {
            Self::Object(path) | Self::Directory(path) | Self::Subtree(path) => path,
        }
    }

    /// How deep a pass has to look there.
    pub(super) fn depth(&self) -> Depth {
        if matches!(self, Self::Subtree(_)) { Depth::Subtree } else { Depth::Object }
    }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
