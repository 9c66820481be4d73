//! What operations come to: the difference of two trees, as the operations of a journal.
//!
//! A directory has no identity: where there is one before and one after, it stays, and what it holds comes and goes. So a directory that is moved
//! is one that is made, one that is removed, and moves of all that is in it. Anything else that keeps none of its names goes from an old one
//! to a new one over the side area; a name more or less is a link.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use standin_common::id::RootIndex;
use standin_common::message::Position;
use standin_common::path::RelPath;
use standin_common::scope::{Depth, Scope};

use super::base::Base;
use super::node::{Held, Nameless, No, Origin, Told};
use super::tree::{Fault, Tree};
use crate::journal::Op;
use crate::volume::SideId;

/// A path of a root.
pub(super) type Spot = (RootIndex, RelPath);

/// What is done to the replica, in its order; data and attributes of what nodes stand for come from the tree.
#[derive(Debug, Default)]
pub(super) struct Net {
    /// Names that go: [`Op::Park`], [`Op::Unlink`], [`Op::RemoveDirectory`].
    pub leave: Vec<(Spot, Op)>,
    /// Whether there is a turn between what goes and what comes.
    pub turn: bool,
    /// Names that come: [`Op::MakeDirectory`], [`Op::Install`].
    pub come: Vec<(Spot, Op)>,
    /// New objects, each in its place of the side area.
    pub staged: Vec<(SideId, No)>,
    /// Files that stay or are moved, of which data changed, with where they are afterwards.
    pub written: Vec<(Spot, No)>,
    /// [`Op::Link`].
    pub links: Vec<(Spot, Op)>,
    /// What gets attributes.
    pub attributes: Vec<(Spot, No)>,
    /// What should be in the replica and is not, since its contents never came.
    pub lacking: BTreeSet<Scope>,
    /// How many objects and bytes there are more afterwards.
    pub objects: i64,
    pub bytes: i64,
}

impl Net {
    /// Whether the replica is to stay as it is.
    pub(super) fn is_nothing(&self) -> bool {
        self.leave.is_empty()
            && self.come.is_empty()
            && self.written.is_empty()
            && self.links.is_empty()
            && self.attributes.is_empty()
            && self.lacking.is_empty()
    }
}

/// A tree in its last state, and what is at each path.
pub(super) struct After<'t, 'a, B: ?Sized> {
    tree: &'t mut Tree<'a, B>,
    /// What is there afterwards, of what was looked at.
    new: BTreeMap<Spot, No>,
    lacking: BTreeSet<Scope>,
}

/// The names of one object.
#[derive(Debug, Default)]
struct Names {
    stay: Vec<RelPath>,
    go: Vec<RelPath>,
    come: Vec<RelPath>,
}

impl<'t, 'a, B: Base + ?Sized> After<'t, 'a, B> {
    /// Looks through all that was changed; memory grows with that, and with what is beneath directories that were moved.
    pub(super) fn of(tree: &'t mut Tree<'a, B>) -> Result<Self, Fault> {
        complete_names(tree)?;
        let mut after = Self { tree, new: BTreeMap::new(), lacking: BTreeSet::new() };
        let roots: Vec<_> =
            after.tree.by_path.iter().filter(|((_, path), _)| path.is_root()).map(|(at, no)| (at.0, *no)).collect();
        for (root, top) in roots {
            if let Some(top) = top {
                after.walk(root, top)?;
            }
        }
        after.load_what_goes()?;
        // Whatever lies where something comes to is known, too.
        let spots: Vec<_> = after.new.keys().filter(|spot| !after.tree.by_path.contains_key(spot)).cloned().collect();
        for (root, path) in spots {
            after.tree.of_base(root, &path)?;
        }
        Ok(after)
    }

    /// Of a directory that goes, all that it holds goes with it.
    fn load_what_goes(&mut self) -> Result<(), Fault> {
        let stay: BTreeSet<No> = self.new.values().copied().collect();
        let mut next = 0;
        while next < self.tree.nodes.len() {
            let (no, node) = (No(next), &self.tree.nodes[next]);
            if node.is_directory() && node.origin == Origin::Base && !stay.contains(&no) {
                self.tree.load_children(no)?;
            }
            next += 1;
        }
        Ok(())
    }

    fn walk(&mut self, root: RootIndex, top: No) -> Result<(), Fault> {
        let mut waiting = vec![(top, RelPath::root())];
        while let Some((directory, path)) = waiting.pop() {
            let node = self.tree.node(directory);
            if node.origin == Origin::Base && node.olds.first() != Some(&path) {
                self.tree.load_children(directory)?;
            }
            let entries = &self.tree.node(directory).entries;
            let entries: Vec<_> = entries.iter().filter_map(|(name, child)| Some((name.clone(), (*child)?))).collect();
            self.new.insert((root, path.clone()), directory);
            for (name, child) in entries {
                let Ok(at) = path.join(&name) else { return Err(Fault::Contradiction("a path is longer than any can be")) };
                self.meet(root, child, at, &mut waiting);
            }
        }
        Ok(())
    }

    fn meet(&mut self, root: RootIndex, no: No, at: RelPath, waiting: &mut Vec<(No, RelPath)>) {
        let node = self.tree.node(no);
        let is_directory = node.is_directory();
        match node.origin {
            Origin::Absent { excluded } => {
                // Excluded still, or something that is never replicated.
                if excluded && self.tree.keeps(root, &at, false) {
                    self.lacking.insert(Scope { at: Position { root, path: at }, depth: Depth::Subtree });
                }
            }
            _ if node.kind == super::node::Kind::Other || !self.tree.keeps(root, &at, is_directory) => {}
            _ if is_directory => {
                if self.takes_in_excluded(root, no, &at) {
                    self.lacking.insert(Scope { at: Position { root, path: at.clone() }, depth: Depth::Subtree });
                }
                waiting.push((no, at));
            }
            _ => {
                self.new.insert((root, at), no);
            }
        }
    }

    /// Whether a directory was moved, in which the rules may have left something out where it was.
    fn takes_in_excluded(&self, root: RootIndex, directory: No, at: &RelPath) -> bool {
        let node = self.tree.node(directory);
        let rules = self.tree.rules.get(usize::from(root.0));
        let moved_from = node.olds.first().filter(|old| node.origin == Origin::Base && *old != at);
        moved_from.is_some_and(|old| rules.is_some_and(|rules| rules.may_exclude_beneath(old)))
    }

    fn old(&self, spot: &Spot) -> Option<No> {
        self.tree.by_path.get(spot).copied().flatten()
    }

    fn is_directory(&self, no: Option<No>) -> bool {
        no.is_some_and(|no| self.tree.node(no).is_directory())
    }

    /// What is to be done, with sides of this point.
    pub(super) fn net(&self, point: u64) -> Net {
        let mut net = Net { lacking: self.lacking.clone(), ..Net::default() };
        let mut olds: Vec<(&Spot, No)> = self.tree.by_path.iter().filter_map(|(spot, no)| Some((spot, (*no)?))).collect();
        // What a directory holds comes before it.
        olds.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        let mut names: BTreeMap<No, Names> = BTreeMap::new();
        for (spot, no) in &olds {
            let stays = self.new.get(*spot) == Some(no);
            let of = names.entry(*no).or_default();
            if stays { of.stay.push(spot.1.clone()) } else { of.go.push(spot.1.clone()) }
        }
        for (spot, no) in &self.new {
            if self.old(spot) != Some(*no) {
                names.entry(*no).or_default().come.push(spot.1.clone());
            }
        }
        let mut placing = Placing { point, numbers: 0, net: &mut net, leave: HashMap::new(), come: HashMap::new() };
        for (no, names) in names.iter().filter(|(no, _)| !self.tree.node(**no).is_directory()) {
            placing.place(self.tree.node(*no).root, *no, self.tree.node(*no).origin == Origin::Base, names);
        }
        let (mut leave, mut come) = (placing.leave, placing.come);
        for (spot, no) in olds {
            let op = match self.tree.node(no).is_directory() {
                true => Some(Op::RemoveDirectory).filter(|_| !self.is_directory(self.new.get(spot).copied())),
                false => leave.remove(spot),
            };
            net.leave.extend(op.map(|op| (spot.clone(), op)));
        }
        for (spot, no) in &self.new {
            let op = match self.tree.node(*no).is_directory() {
                true => Some(Op::MakeDirectory).filter(|_| !self.is_directory(self.old(spot))),
                false => come.remove(spot),
            };
            net.come.extend(op.map(|op| (spot.clone(), op)));
        }
        let unlinks = net.leave.iter().any(|(_, op)| matches!(op, Op::Unlink { .. }));
        net.turn |= (unlinks || !net.links.is_empty()) && !net.leave.is_empty();
        self.contents(&names, &mut net);
        self.count(&names, &mut net);
        net
    }

    /// Whose data and attributes change, each once.
    fn contents(&self, names: &BTreeMap<No, Names>, net: &mut Net) {
        let first = |no: &No| names.get(no).and_then(|names| names.stay.first().or(names.come.first()));
        for (spot, no) in &self.new {
            let node = self.tree.node(*no);
            if node.is_directory() {
                if node.changed || self.old(spot) != Some(*no) {
                    net.attributes.push((spot.clone(), *no));
                }
            } else if node.origin == Origin::Base && node.changed && first(no) == Some(&spot.1) {
                if !node.data.is_nothing() {
                    net.written.push((spot.clone(), *no));
                }
                net.attributes.push((spot.clone(), *no));
            }
        }
    }

    fn count(&self, names: &BTreeMap<No, Names>, net: &mut Net) {
        for (no, names) in names {
            let node = self.tree.node(*no);
            let is_there = !names.stay.is_empty() || !names.come.is_empty();
            net.objects += names.come.len() as i64 - names.go.len() as i64;
            net.bytes += if is_there { node.size as i64 } else { 0 };
            net.bytes -= if node.origin == Origin::Base { node.size_before as i64 } else { 0 };
        }
    }

    /// What is known of all objects that were told, afterwards.
    pub(super) fn told(self) -> Told {
        let mut at: HashMap<No, RelPath> = HashMap::new();
        for ((_, path), no) in &self.new {
            at.entry(*no).or_insert_with(|| path.clone());
        }
        let held = |no: No| {
            let node = self.tree.node(no);
            match (at.get(&no), node.origin) {
                (Some(path), _) => Held::At(path.clone()),
                (None, Origin::Absent { excluded }) => Held::Absent { excluded },
                (None, Origin::Nameless) => {
                    let (attrs, size, data) = (node.attrs.clone(), node.size, node.data.clone());
                    Held::Nameless(Box::new(Nameless { attrs, size, data }))
                }
                // It has a name that the rules leave out, is of a kind that is not replicated, or is gone for good.
                (None, _) => Held::Absent { excluded: node.names > 0 && node.kind != super::node::Kind::Other },
            }
        };
        let mut told = Told::new();
        for ((root, object), before) in &self.tree.told {
            let now = match before {
                Held::At(path) => match self.tree.by_path.get(&(*root, path.clone())) {
                    Some(Some(no)) => held(*no),
                    _ => before.clone(),
                },
                other => other.clone(),
            };
            told.insert((*root, *object), now);
        }
        told.extend(self.tree.named.iter().map(|(id, no)| (*id, held(*no))));
        told
    }
}

/// A file whose known names all went may have others: these become known if it was changed, or may be.
fn complete_names<B: Base + ?Sized>(tree: &mut Tree<'_, B>) -> Result<(), Fault> {
    let spoken: BTreeSet<No> = tree.named.values().copied().collect();
    let incomplete = |no: &No| {
        let node = tree.node(*no);
        let may_have_more = node.names_there > node.olds.len() as u64 && !node.is_directory();
        node.origin == Origin::Base && node.names == 0 && may_have_more && (node.changed || spoken.contains(no))
    };
    let numbers: Vec<No> = (0..tree.nodes.len()).map(No).filter(incomplete).collect();
    numbers.into_iter().try_for_each(|no| tree.load_names(no))
}

/// Finds for each name of an object how it goes or comes.
struct Placing<'n> {
    point: u64,
    numbers: u64,
    net: &'n mut Net,
    leave: HashMap<Spot, Op>,
    come: HashMap<Spot, Op>,
}

impl Placing<'_> {
    fn side(&mut self) -> SideId {
        self.numbers += 1;
        SideId { point: self.point, number: self.numbers }
    }

    fn place(&mut self, root: RootIndex, no: No, was_there: bool, names: &Names) {
        // Where it is before, and afterwards, under a name that others are added to; and how many names need no more.
        let (before, after) = match names.stay.first() {
            Some(stays) => (Some(stays), Some(stays)),
            None => (names.go.first(), names.come.first()),
        };
        let (mut gone, mut come) = (0, 0);
        if names.stay.is_empty() && was_there {
            let moved = names.go.iter().zip(&names.come);
            for (from, to) in moved {
                let side = self.side();
                self.leave.insert((root, from.clone()), Op::Park(side));
                self.come.insert((root, to.clone()), Op::Install(side));
                self.net.turn = true;
            }
            (gone, come) = (names.go.len().min(names.come.len()), names.go.len().min(names.come.len()));
            if let (0, Some(last)) = (gone, before) {
                let side = self.side();
                self.leave.insert((root, last.clone()), Op::Park(side));
                gone = 1;
            }
        } else if let (true, Some(to)) = (names.stay.is_empty(), after) {
            let side = self.side();
            self.come.insert((root, to.clone()), Op::Install(side));
            self.net.staged.push((side, no));
            come = 1;
        }
        for name in names.go.iter().skip(gone) {
            self.leave.extend(before.map(|to| ((root, name.clone()), Op::Unlink { to: to.clone() })));
        }
        for name in names.come.iter().skip(come) {
            self.net.links.extend(after.map(|to| ((root, name.clone()), Op::Link { to: to.clone() })));
        }
    }
}
