//! What the daemon keeps of the operations on the roots of a set: where something changed since a round looked there.
//!
//! All roots share one [`Ledger`]; each has a [`Recorder`] of its own ([`Ledger::recorder`]). A place is in the durable record
//! ([`Activity`]) before it changes; it is noticed before it changes and once more when it was changed, so that whoever takes the notices
//! and reads afterwards reads it or hears of it again; and what a [picture](super::picture) needs is put aside before it changes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use standin_common::id::RootIndex;
use standin_common::message::Position;
use standin_common::scope::{Depth, Scope};

use super::activity::{Active, Activity, Reach};
use super::gate::{Gate, Held};
use super::passthrough::Passthrough;
use super::picture::Keeps;
use super::places::{Places, Spot};
use super::telling::{Telling, Tells, Way};
use super::{ObjectId, Operation, Place, Position as LogPosition, Recorder, Touch};
use crate::capture::{Method, Noticed, Waker, Watcher};

/// Notices that are kept while nobody drains them.
const MOST_NOTICES: usize = 100_000;

/// Who makes sure that what an application syncs is as safe as the set's acknowledgement asks.
pub trait Acknowledges: Send + Sync {
    /// Returns when everything that was recorded up to a position is, or before this call. An error becomes that of the application.
    fn acknowledged(&self, position: LogPosition) -> io::Result<()>;
}

/// See the module.
pub struct Ledger {
    gate: Gate,
    activity: Activity,
    heard: Mutex<Heard>,
    changed: Condvar,
    picture: RwLock<Option<Arc<dyn Keeps>>>,
    tidying: AtomicBool,
    /// Files that may be read past the layers.
    passthrough: Passthrough,
    acknowledges: Arc<dyn Acknowledges>,
}

struct Heard {
    roots: Vec<Places>,
    /// What was not drained.
    notices: Vec<Noticed>,
    /// Counts drains: what was noted in this turn is in `notices`.
    turn: u64,
    /// The watcher that drains: there is one at a time, and none over what happened while the layers were away.
    watcher: u64,
    /// What is told of everything, if something is.
    stream: Option<Arc<Telling>>,
    /// Streams that were told.
    streams: u64,
    /// Position of the last operation that a stream was told in this lock.
    last: u64,
    /// Whether who waits is to look.
    woken: bool,
    /// Why nothing is heard any more.
    over: Option<String>,
}

impl Ledger {
    /// For so many roots, with the record of what may differ.
    pub fn new(roots: usize, activity: Activity, passthrough: Passthrough, acknowledges: Arc<dyn Acknowledges>) -> Arc<Self> {
        let heard = Heard {
            roots: (0..roots).map(|_| Places::default()).collect(),
            notices: Vec::new(),
            turn: 1,
            watcher: 0,
            stream: None,
            streams: 0,
            last: 0,
            woken: false,
            over: Some("no layer is over the roots".to_owned()),
        };
        let (gate, changed, picture) = (Gate::default(), Condvar::new(), RwLock::new(None));
        let tidying = AtomicBool::new(false);
        Arc::new(Self { gate, activity, heard: Mutex::new(heard), changed, picture, tidying, passthrough, acknowledges })
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a layer over a root tells.
    pub fn recorder(self: &Arc<Self>, root: RootIndex) -> Arc<dyn Recorder> {
        Arc::new(OfRoot { ledger: self.clone(), root })
    }

    /// All roots have their layers: from now on everything is heard.
    pub fn begin(&self) {
        let mut heard = self.heard();
        heard.over = None;
        heard.watcher += 1;
        heard.notices.clear();
        heard.turn += 1;
    }

    /// The layers are taken away: not everything is heard any more.
    pub fn end(&self, why: &str) {
        self.heard().over = Some(why.to_owned());
        self.end_stream(why);
        self.wake();
    }

    /// From now on a stream is told everything. To be called while the layers are held, and only then of use. Returns the position at which it begins.
    /// Nothing is begun if no layer is there.
    pub fn begin_stream(&self, to: Arc<dyn Tells>) -> Option<u64> {
        self.end_stream("another stream begins");
        let mut heard = self.heard();
        let roots = heard.roots.iter().map(Places::root).collect::<Option<Vec<_>>>()?;
        if heard.over.is_some() {
            return None;
        }
        heard.streams += 1;
        let (number, offset) = (heard.streams, heard.last);
        for (root, object) in (0..).map(RootIndex).zip(roots) {
            to.tell(root, &Operation::Root { object });
        }
        heard.stream = Some(Arc::new(Telling { number, offset, to }));
        Some(offset)
    }

    /// Whatever stream is told is told no more, and ends for this reason.
    pub fn end_stream(&self, why: &str) {
        let stream = self.heard().stream.take();
        if let Some(stream) = stream {
            stream.to.end(why);
            // Those that come are counted on from there; nothing that was ever told has a higher number.
            let mut heard = self.heard();
            heard.last = heard.last.max(stream.offset + stream.to.told());
        }
    }

    /// A watcher of what is heard from now on, until the layers are taken away or there is another watcher: what one drained, another does
    /// not get.
    pub fn watcher(self: &Arc<Self>) -> Box<dyn Watcher> {
        let mut heard = self.heard();
        heard.watcher += 1;
        Box::new(OfLedger { ledger: self.clone(), number: heard.watcher })
    }

    /// Keeps all changes out for a moment, see [`Gate::hold`].
    pub fn hold(&self, limit: Duration) -> Option<Held<'_>> {
        self.gate.hold(limit)
    }

    /// From now on what this picture shows is put aside before it changes. To be called while the layers are held.
    pub fn show(&self, picture: Arc<dyn Keeps>) {
        *self.picture.write().unwrap_or_else(PoisonError::into_inner) = Some(picture);
    }

    /// Nobody reads the picture any more.
    pub fn put_away(&self) {
        let mut picture = self.picture.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(picture) = picture.take() {
            picture.over();
        }
    }

    /// The record of what may differ.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Whether somebody tidies the record already; whoever gets `false` does, and says [`Ledger::tidied`].
    pub fn tidies(&self) -> bool {
        self.tidying.swap(true, Relaxed)
    }

    /// It is done.
    pub fn tidied(&self) {
        self.tidying.store(false, Relaxed);
    }

    fn wake(&self) {
        self.heard().woken = true;
        self.changed.notify_all();
    }

    /// Puts places into the record before they change; of directories with their `names`, or without.
    fn record_active(&self, root: RootIndex, spots: &[Spot], names: bool) -> io::Result<bool> {
        let active = |spot: &Spot| {
            let reach = match spot {
                Spot::Subtree(_) => Reach::Subtree,
                Spot::Directory(_) if names => Reach::Names,
                Spot::Object(_) | Spot::Directory(_) => Reach::Object,
            };
            Active { root, path: spot.path().clone(), reach }
        };
        self.activity.note(&spots.iter().map(active).collect::<Vec<_>>())
    }
}

impl Heard {
    fn notice(&mut self, root: RootIndex, spots: Vec<Spot>) {
        if self.notices.len() > MOST_NOTICES {
            self.notices = vec![Noticed::Lost("more changed than is remembered while nothing is followed".to_owned())];
        }
        for spot in spots {
            let depth = spot.depth();
            let directory = matches!(spot, Spot::Directory(_));
            let (Spot::Object(path) | Spot::Directory(path) | Spot::Subtree(path)) = spot;
            let at = Position { root, path };
            self.notices.push(if directory { Noticed::Directory(at) } else { Noticed::Changed(Scope { at, depth }) });
        }
    }

    fn root(&mut self, root: RootIndex) -> Option<&mut Places> {
        self.roots.get_mut(usize::from(root.0))
    }
}

/// The recorder of one root.
struct OfRoot {
    ledger: Arc<Ledger>,
    root: RootIndex,
}

/// The object that changes, where names are not what changes.
fn changing(operation: &Operation<'_>) -> Option<ObjectId> {
    match operation {
        Operation::Write { object, .. }
        | Operation::Truncate { object, .. }
        | Operation::Allocate { object, .. }
        | Operation::SetMode { object, .. }
        | Operation::SetOwner { object, .. }
        | Operation::SetTimes { object, .. }
        | Operation::SetXattr { object, .. }
        | Operation::RemoveXattr { object, .. } => Some(*object),
        _ => None,
    }
}

impl OfRoot {
    fn notify(&self, heard: MutexGuard<'_, Heard>) {
        let first = !heard.notices.is_empty();
        drop(heard);
        if first {
            self.ledger.changed.notify_all();
        }
    }
}

impl Recorder for OfRoot {
    fn enter(&self) {
        let stream = self.ledger.heard().stream.clone();
        if let Some(stream) = stream {
            stream.to.brake();
        }
        self.ledger.gate.enter();
    }

    fn leave(&self) {
        self.ledger.gate.leave();
    }

    fn before_move(&self, to: Place<'_>) -> io::Result<()> {
        let spot = self.ledger.heard().root(self.root).map(|places| places.subtree(&to));
        self.ledger.record_active(self.root, spot.as_slice(), true).map(drop)
    }

    fn before_name(&self, at: Place<'_>) -> io::Result<()> {
        let turn = self.ledger.activity.turn();
        let (spots, all) = match self.ledger.heard().root(self.root) {
            Some(places) if !places.is_hot(at.parent, true, turn) => places.named(&at, turn),
            _ => return Ok(()),
        };
        let is_new = self.ledger.record_active(self.root, &spots, all)?;
        if let Some(places) = self.ledger.heard().root(self.root) {
            match all {
                true => places.is_hot_now(at.parent, true, turn),
                false if is_new => places.one_more_named(at.parent, turn),
                false => {}
            }
        }
        Ok(())
    }

    fn has_passthrough(&self) -> bool {
        !self.ledger.passthrough.is_empty()
    }

    fn is_passthrough(&self, object: ObjectId) -> bool {
        let names = self.ledger.heard().root(self.root).map(|places| places.of(&Touch::Data { object, start: 0, end: 0 }));
        let matches = |spot: &Spot| matches!(spot, Spot::Object(path) if self.ledger.passthrough.has(path));
        names.is_some_and(|names| !names.is_empty() && names.iter().all(matches))
    }

    fn nameless(&self, object: ObjectId) {
        if let Some(places) = self.ledger.heard().root(self.root) {
            places.nameless(object);
        }
    }

    fn before(&self, touch: Touch) -> io::Result<()> {
        let object = match touch {
            Touch::Data { object, .. } | Touch::Attributes { object } => object,
            // Which they are, `before_name` is told.
            Touch::Names { directory } => directory,
        };
        let hot = self.ledger.activity.turn();
        let mut heard = self.ledger.heard();
        let turn = heard.turn;
        let Some(places) = heard.root(self.root) else { return Err(io::ErrorKind::NotFound.into()) };
        if !places.is_hot(object, false, hot) {
            let spots = places.of(&touch);
            drop(heard);
            self.ledger.record_active(self.root, &spots, false)?;
            heard = self.ledger.heard();
            if let Some(places) = heard.root(self.root) {
                places.is_hot_now(object, false, hot);
            }
        }
        if heard.root(self.root).is_some_and(|places| !places.is_noted(object, turn)) {
            let spots = heard.root(self.root).map(|places| places.of(&touch)).unwrap_or_default();
            heard.notice(self.root, spots);
            self.notify(heard);
        } else {
            drop(heard);
        }
        if let Touch::Data { object, start, end } = touch {
            let picture = self.ledger.picture.read().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(picture) = picture {
                picture.keep(self.root, object.inode, start, end);
            }
        }
        Ok(())
    }

    fn record(&self, operation: Operation<'_>) -> LogPosition {
        let mut heard = self.ledger.heard();
        let (turn, stream, last) = (heard.turn, heard.stream.clone(), heard.last);
        let Some(places) = heard.root(self.root) else { return LogPosition::default() };
        let stream = stream.filter(|stream| stream.prepare(places, self.root, &operation) == Way::Tell);
        let changing = changing(&operation);
        let noted = changing.is_some_and(|object| places.is_noted(object, turn));
        let spots = if noted { Vec::new() } else { places.hear(&operation) };
        // What concerns names is told in the order in which it was heard here. Of one object, whoever changes it keeps the order.
        let told = stream.as_ref().filter(|_| changing.is_none()).map(|stream| {
            if let Operation::Make { object, .. } = operation {
                places.told_now(object, stream.number);
            }
            stream.tell(self.root, &operation)
        });
        if spots.is_empty() {
            drop(heard);
        } else {
            heard.notice(self.root, spots);
            self.notify(heard);
        }
        let told = told.or_else(|| stream.map(|stream| stream.tell(self.root, &operation)));
        LogPosition(told.unwrap_or(last))
    }

    fn missed(&self, touch: Touch) {
        let mut heard = self.ledger.heard();
        let spots = heard.root(self.root).map(|places| places.of(&touch)).unwrap_or_default();
        if let Some(stream) = &heard.stream {
            stream.to.end("a change could not be told: what was touched has to be compared");
        }
        // What came of it is not known, so neither is what is there now.
        let spots = spots.into_iter().map(|spot| Spot::Subtree(spot.path().clone())).collect();
        heard.notice(self.root, spots);
        self.notify(heard);
    }

    fn flushed(&self, position: LogPosition) -> io::Result<()> {
        self.ledger.acknowledges.acknowledged(position)
    }
}

/// Tells what is heard.
struct OfLedger {
    ledger: Arc<Ledger>,
    number: u64,
}

impl Watcher for OfLedger {
    fn method(&self) -> &Method {
        &Method::Layer
    }

    fn waker(&self) -> Waker {
        let ledger = self.ledger.clone();
        Waker::new(move || ledger.wake())
    }

    fn wait(&self, limit: Duration) -> io::Result<()> {
        let until = Instant::now() + limit;
        let mut heard = self.ledger.heard();
        while !heard.woken && heard.notices.is_empty() && heard.over.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            heard = self.ledger.changed.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        heard.woken = false;
        Ok(())
    }

    fn drain(&mut self, each: &mut dyn FnMut(Noticed)) -> io::Result<()> {
        let mut heard = self.ledger.heard();
        if let Some(why) = &heard.over {
            return Err(io::Error::other(why.clone()));
        }
        if heard.watcher != self.number {
            return Err(io::Error::other("the layers were taken away and put back, or somebody else watches them"));
        }
        heard.turn += 1;
        let notices = std::mem::take(&mut heard.notices);
        drop(heard);
        notices.into_iter().for_each(each);
        Ok(())
    }
}

/// The scopes of what an earlier daemon left in the record. `files` tells the names of the files right in a directory.
pub fn scopes_of(active: Vec<Active>, mut files: impl FnMut(&Active) -> Vec<Vec<u8>>) -> Vec<Scope> {
    let mut scopes = Vec::new();
    for active in active {
        let at = |path| Position { root: active.root, path };
        let depth = if active.reach == Reach::Subtree { Depth::Subtree } else { Depth::Object };
        if active.reach == Reach::Names {
            let paths = files(&active).into_iter().filter_map(|name| active.path.join(&name).ok());
            scopes.extend(paths.map(|path| Scope { at: at(path), depth: Depth::Object }));
        }
        scopes.push(Scope { at: at(active.path.clone()), depth });
    }
    scopes
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
