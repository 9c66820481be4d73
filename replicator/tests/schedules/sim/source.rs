//! The simulated source: a machine whose applications change files, and what its kernel tells of that.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use standin_common::entry::{Attrs, Time};
use standin_common::id::{MirrorId, RootIndex};
use standin_common::message::Position;
use standin_common::path::RelPath;
use standin_common::scope::{Depth, Scope};
use standin_config::{Effect, Rule};
use standin_replicator::rules::Rules;
use standin_replicator::scopes::Scopes;
use standin_replicator::sim::{Disk, Random, SimObject, SimVolume};
use standin_replicator::volume::{ObjectKind, Place, Volume, VolumeFile};

use super::contents::{Contents, contents, replicated};

/// Roots of the set.
pub const ROOTS: usize = 2;

/// Places that changed, with how much of them.
pub type Noticed = BTreeMap<Position, Depth>;

/// A moment on the clock of each root: every later change has this time or a later one.
pub type Clocks = Vec<Time>;

/// One round: what it looks at, and as which mirror; made again as it was if it is cut off.
#[derive(Debug, Clone)]
pub struct Round {
    pub mirror: MirrorId,
    pub taken: Noticed,
    /// [`Follow::seen`] when it was taken.
    pub seen: u64,
    /// The clocks before it was taken.
    pub clocks: Clocks,
}

/// What the source's daemon knows of what the standby lacks, as long as it runs.
#[derive(Debug, Default)]
pub struct Follow {
    /// Whether changes are noticed.
    pub watched: bool,
    /// What was noticed and no round took.
    pub dirty: Noticed,
    /// How many places were ever noticed.
    pub seen: u64,
    /// The mirrors one of which made the point that the replica is at; none if that is not known.
    pub base: Vec<MirrorId>,
    /// The round that was cut off.
    pub cut: Option<Round>,
}

/// See the module.
pub struct Source {
    pub volumes: Vec<SimVolume>,
    /// What is replicated, one for each root.
    pub rules: Vec<Rules>,
    /// Changes so far.
    pub version: u64,
    pub follow: Follow,
    /// When the pass began that made the replica what it is, or an earlier one, if that is known; kept by a daemon that ends.
    pub since: Option<Clocks>,
    /// What the kernel has told and nobody has read.
    unread: Noticed,
    state: Option<Arc<Vec<Contents>>>,
}

const RULES: [(Effect, &str, bool); 5] = [
    (Effect::Exclude, "1", false),
    (Effect::Exclude, "4", true),
    (Effect::Include, "4/0", false),
    (Effect::Exclude, "d/2", false),
    (Effect::Exclude, "strangers", true),
];

impl Source {
    pub fn new(some_rules: bool) -> Self {
        let rules = RULES.map(|(effect, pattern, recurse)| Rule { effect, pattern: pattern.to_owned(), recurse });
        let rules = if some_rules { Rules::new(&rules).unwrap() } else { Rules::everything() };
        let healthy = Disk::new(0);
        Self {
            volumes: (0..ROOTS).map(|_| SimVolume::new(healthy.clone())).collect(),
            rules: vec![rules; ROOTS],
            version: 0,
            follow: Follow::default(),
            since: None,
            unread: Noticed::new(),
            state: None,
        }
    }

    /// What a mirror takes of it as it is now.
    pub fn state(&mut self) -> Arc<Vec<Contents>> {
        let now = || self.volumes.iter().zip(&self.rules).map(|(volume, rules)| replicated(contents(volume), rules)).collect();
        self.state.get_or_insert_with(|| Arc::new(now())).clone()
    }

    /// One change. Whatever does not fit what is there fails, as it would for any application.
    pub fn change(&mut self, random: &mut Random) {
        let root = random.below(ROOTS as u64) as usize;
        let before = self.volumes[root].objects();
        let mut change = Change { volume: &self.volumes[root], random, noticed: Vec::new() };
        let _ = change.make();
        let mut noticed = change.noticed;
        further_names(&before, &mut noticed);
        ways(&self.rules[root], &mut noticed);
        for (path, depth) in noticed {
            let reach = self.unread.entry(Position { root: RootIndex(root as u16), path }).or_insert(depth);
            *reach = depth.max(*reach);
        }
        self.version += 1;
        self.state = None;
    }

    /// The moment that follows the newest change that shows.
    pub fn clocks(&self) -> Clocks {
        let newest = |volume: &SimVolume| {
            let stamps =
                volume.objects().into_iter().filter_map(|object| volume.object(&Place::Tree(&object.path)).ok().flatten());
            stamps.map(|object| object.stamp.changed.secs).max().unwrap_or_default()
        };
        self.volumes.iter().map(|volume| Time { secs: newest(volume) + 1, nanos: 0 }).collect()
    }

    /// Reads what the kernel has told.
    pub fn read_notices(&mut self) {
        let read = std::mem::take(&mut self.unread);
        if self.follow.watched {
            self.follow.seen += read.len() as u64;
            add(&mut self.follow.dirty, read);
        }
    }

    /// The daemon ends: it does not know any more what changed, nor notices what does until it looks at everything.
    pub fn forget(&mut self) {
        self.follow = Follow::default();
    }

    /// The places, and all names of the objects that are there now and have several.
    pub fn with_all_names(&self, mut places: Noticed) -> Noticed {
        for (root, volume) in self.volumes.iter().enumerate() {
            let root = RootIndex(root as u16);
            let objects = volume.objects();
            let met = |path: &RelPath| is_within(&places, &Position { root, path: path.clone() });
            let numbers: BTreeSet<u64> = objects.iter().filter(|object| met(&object.path)).map(|object| object.number).collect();
            let others =
                objects.into_iter().filter(|object| object.kind != ObjectKind::Directory && numbers.contains(&object.number));
            add(&mut places, others.map(|object| (Position { root, path: object.path }, Depth::Object)).collect());
        }
        places
    }
}

/// Whether a place is looked at.
fn is_within(places: &Noticed, at: &Position) -> bool {
    let around = |(place, depth): (&Position, &Depth)| {
        *depth == Depth::Subtree && place.root == at.root && at.path.starts_with(&place.path) || place == at
    };
    places.iter().any(around)
}

/// The further names that what was changed through one had before.
///
/// The kernel tells of one name only; that the others are known is what the schedules take for granted.
fn further_names(before: &[SimObject], noticed: &mut Vec<(RelPath, Depth)>) {
    let number = |path: &RelPath| before.iter().find(|object| object.path == *path).map(|object| object.number);
    let numbers: BTreeSet<u64> = noticed.iter().filter_map(|(path, _)| number(path)).collect();
    let others = before.iter().filter(|object| object.kind != ObjectKind::Directory && numbers.contains(&object.number));
    noticed.extend(others.map(|object| (object.path.clone(), Depth::Object)));
}

/// A directory that is excluded is replicated as the way to what is included in it, with its attributes: these change with the names in
/// it, and a round meets it only together with what it leads to.
fn ways(rules: &Rules, noticed: &mut Vec<(RelPath, Depth)>) {
    let is_way = |path: &RelPath| !rules.judge(path).included && rules.may_include_beneath(path);
    let around = noticed.iter().flat_map(|(path, _)| path.parent().into_iter().chain([path.clone()]));
    let ways: Vec<_> = around.filter(is_way).map(|path| (path, Depth::Subtree)).collect();
    noticed.extend(ways);
}

/// Adds places to others.
pub fn add(to: &mut Noticed, places: Noticed) {
    for (at, depth) in places {
        let reach = to.entry(at).or_insert(depth);
        *reach = depth.max(*reach);
    }
}

/// What a round looks at: the places in order, without those that lie in others.
pub fn scopes(noticed: &Noticed) -> BTreeMap<RootIndex, Scopes> {
    let mut within: Option<&Position> = None;
    let mut places = Vec::new();
    for (at, depth) in noticed {
        if within.is_some_and(|around| around.root == at.root && at.path.starts_with(&around.path)) {
            continue;
        }
        within = (*depth == Depth::Subtree).then_some(at).or(within);
        places.push(Scope { at: at.clone(), depth: *depth });
    }
    Scopes::by_root(places).unwrap()
}

struct Change<'c> {
    volume: &'c SimVolume,
    random: &'c mut Random,
    noticed: Vec<(RelPath, Depth)>,
}

impl Change<'_> {
    fn path(&mut self) -> RelPath {
        let name = self.random.below(6).to_string();
        let directory = match self.random.below(8) {
            0..4 => RelPath::root(),
            4..7 => RelPath::new("d").unwrap(),
            _ => RelPath::new("4").unwrap(),
        };
        directory.join(name.as_bytes()).unwrap()
    }

    fn notice(&mut self, path: &RelPath, depth: Depth) {
        self.noticed.push((path.clone(), depth));
    }

    fn is_directory(&self, path: &RelPath) -> io::Result<bool> {
        Ok(self.volume.object(&Place::Tree(path))?.is_some_and(|object| object.kind == ObjectKind::Directory))
    }

    /// Makes a change and notices it as the kernel does: the name through which it was made, and directories that come or go with all
    /// that is in them.
    fn make(&mut self) -> io::Result<()> {
        let path = self.path();
        let place = Place::Tree(&path);
        let volume = self.volume;
        match self.random.below(15) {
            0 => {
                let path = RelPath::new("d").unwrap();
                volume.make_directory(&path)?;
                self.notice(&path, Depth::Subtree);
            }
            1 => {
                volume.make_directory(&path)?;
                self.notice(&path, Depth::Subtree);
            }
            2 => {
                volume.make_symlink(&place, &self.random.bytes(3))?;
                self.notice(&path, Depth::Object);
            }
            3 => {
                volume.make_fifo(&place)?;
                self.notice(&path, Depth::Object);
            }
            4 => {
                volume.remove(&place)?;
                self.notice(&path, Depth::Object);
            }
            5 => {
                volume.remove_directory(&path)?;
                self.notice(&path, Depth::Subtree);
                // Mostly, something else comes in its place.
                if !self.random.one_in(4) {
                    volume.create(&place)?.write_at(&self.random.bytes(10), 0)?;
                }
            }
            6 | 7 => self.link(&path)?,
            8 => self.attributes(&path)?,
            9 => {
                volume.open(&place, true)?.set_len(self.random.below(200_000))?;
                self.notice(&path, Depth::Object);
            }
            10 => self.rename(&path)?,
            _ => self.write(&path)?,
        }
        Ok(())
    }

    fn link(&mut self, path: &RelPath) -> io::Result<()> {
        let link = RelPath::new("link").unwrap();
        if self.random.one_in(2) {
            self.volume.remove(&Place::Tree(&link))?;
        } else if !self.is_directory(path)? {
            // No file system has directories of two names.
            self.volume.link(&Place::Tree(path), &Place::Tree(&link))?;
            self.notice(path, Depth::Object);
        }
        self.notice(&link, Depth::Object);
        Ok(())
    }

    fn attributes(&mut self, path: &RelPath) -> io::Result<()> {
        let place = Place::Tree(path);
        let mode = self.random.below(512) as u32;
        let xattrs = vec![(b"user.a".to_vec(), self.random.bytes(2))];
        let mtime = self.volume.object(&place)?.map(|object| object.attrs.mtime).unwrap_or_default();
        self.volume.set_attrs(&place, &Attrs { mode, xattrs, mtime, ..Attrs::default() })?;
        self.notice(path, Depth::Object);
        Ok(())
    }

    fn rename(&mut self, from: &RelPath) -> io::Result<()> {
        let to = self.path();
        if from == &to {
            return Ok(());
        }
        let depth = if self.is_directory(from)? {
            if to.as_bytes() == b"1" {
                // The standby may have a file there that the rules exclude: nothing can lead through it.
                return Ok(());
            }
            self.volume.rename_directory(from, &to)?;
            Depth::Subtree
        } else {
            self.volume.rename(&Place::Tree(from), &Place::Tree(&to))?;
            Depth::Object
        };
        self.notice(from, depth);
        self.notice(&to, depth);
        Ok(())
    }

    fn write(&mut self, path: &RelPath) -> io::Result<()> {
        let place = Place::Tree(path);
        let file = self.volume.open(&place, true).or_else(|_| self.volume.create(&place))?;
        let len = [10, 10, 5_000, 70_000][self.random.below(4) as usize];
        let at = if len < 5_000 { self.random.below(100) } else { self.random.below(150_000) };
        let before = file.object()?;
        file.write_at(&self.random.bytes(len), at)?;
        self.notice(path, Depth::Object);
        if self.random.one_in(3) {
            // Neither time nor size need tell that something was written.
            self.volume.set_attrs(&place, &before.attrs)?;
            if before.size > 0 {
                file.set_len(before.size)?;
                self.volume.set_attrs(&place, &before.attrs)?;
            }
        }
        Ok(())
    }
}
