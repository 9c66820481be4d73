//! One pass of a mirror, over a link: the walk, the lanes, the second walk, the commit.
//!
//! One thread walks and sends entries; one thread takes what the standby says; each lane has a thread that reads files and sends,
//! and one that takes answers. They end together: whoever fails tells the queue, drops its stream, and the standby drops the others.

mod error;

use std::collections::{BTreeMap, HashMap};
use std::panic::resume_unwind;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, Scope as Threads};
use std::time::SystemTime;

use standin_common::entry::{Entry, Time};
use standin_common::id::RootIndex;
use standin_common::link::Priority;
use standin_common::link::talk::{Open, Receiver, Sender, Talk};
use standin_common::message::{
    Difference, FromSource, FromStandby, JoinSummary, MirrorAnswer, MirrorOpening, Opening, Position, Purpose, Refusal, Want,
};
use standin_common::scope::{Reason, Scope};

pub use self::error::PassError;
use super::entries::{Entries, Evidence, Met};
use super::hashes::HashLists;
use super::lane::{Found, Lane};
use super::meter::Meter;
use super::pace::Pace;
use super::queue::{Committed, Queue, Said, Work};
use super::sink::{LinkSink, take_answers};
use crate::journal::Point;
use crate::report::{FoundReport, Stage};
use crate::rules::Rules;
use crate::scopes::Scopes;
use crate::volume::Volume;

/// Entries sent in one message, and bytes of names and attributes: whichever comes first.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 128 * 1024;
/// What an entry or scope takes besides, about, in bytes.
const ENTRY_BYTES: usize = 32;
/// Characters of a text of the standby that are kept.
const LONGEST_TEXT: usize = 1000;
/// Compared files that a lane has open at once.
const MOST_OPEN: usize = 64;

/// How a pass ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The point that it made; `None` for a verification or dry run.
    pub point: Option<Point>,
    /// Whether it was the first mirror of the set.
    pub first: bool,
    /// Whether the second look found something else than the first.
    pub moved: bool,
    /// Whether it went on after a cut: what it met only in part it cannot prove.
    pub went_on: bool,
    /// Objects that could not be replicated.
    pub flaws: u64,
    /// What the standby found.
    pub summary: JoinSummary,
}

/// Everything a pass needs but the link.
pub struct Pass<'a, V> {
    /// The roots.
    pub volumes: &'a [V],
    /// What of them is replicated, one for each root.
    pub rules: &'a [Rules],
    /// What is asked of the standby.
    pub opening: MirrorOpening,
    /// Whether it was never begun before: then the standby has nothing of it, and what the walk meets is sent before it answers.
    pub is_new: bool,
    /// Data streams, at least 1.
    pub lanes: usize,
    /// How fast.
    pub pace: &'a Pace,
    /// Where it counts.
    pub meter: &'a Meter,
    /// In a round, the only places that are looked at; empty roots are not.
    pub scopes: Option<BTreeMap<RootIndex, Scopes>>,
    /// When the pass began whose point the standby has: what may have changed since is compared by its data.
    pub since: Option<Time>,
    /// Says, after everything was read, whether nothing was noticed since the pass began.
    pub still: &'a (dyn Fn() -> bool + Sync),
    /// Says, after everything was read, whether all of that was as it is in one moment, whatever the stamps say.
    pub of_one_moment: &'a (dyn Fn() -> bool + Sync),
    /// Says what the point is made for, given whether it is consistent.
    pub reason: &'a (dyn Fn(bool) -> Reason + Sync),
    /// Where the hashes of proven files are listed, if they are.
    pub hashes: Option<&'a HashLists>,
    /// Is told when it fails: it has to see to it that a standby that goes on all the same is cut off before long.
    pub stopping: &'a (dyn Fn() + Sync),
}

impl<V: Volume> Pass<'_, V> {
    /// Runs it to its end.
    pub fn run(&self, link: &dyn Open) -> Result<Passed, PassError> {
        let (mut send, receive) = link.open()?;
        send.send(&Opening::Mirror(self.opening.clone()), &[])?;
        self.meter.begin_session();
        let queue = Queue::new(self.lanes.max(1), self.stopping);
        let ended = thread::scope(|threads| {
            let ended = self.talk(link, (send, receive), threads, &queue);
            match &ended {
                Ok(_) => queue.finish(),
                Err(error) => queue.fail(error.clone()),
            }
            ended
        });
        // A stream that fails is the consequence, what was noted first is the cause.
        let passed = ended.map_err(|error| queue.failure().unwrap_or(error))?;
        if let Some(refused @ PassError::Refused(_)) = queue.failure() {
            // The point is durable, but the standby cannot take its replica there.
            return Err(refused);
        }
        Ok(passed)
    }

    /// The walk and all that goes with it. A pass that is new begins at the beginning, whatever the answer to the opening.
    fn talk<'s>(
        &'s self,
        link: &dyn Open,
        (send, receive): Talk,
        threads: &'s Threads<'s, '_>,
        queue: &'s Queue<'s>,
    ) -> Result<Passed, PassError> {
        if !self.is_new {
            let (after, first) = self.begin(link, receive, threads, queue)?;
            return Ok(Passed { first, ..self.lead(send, queue, after)? });
        }
        let leading = threads.spawn(|| self.lead(send, queue, None));
        // What is wrong with the answer counts, not what follows from it.
        let begun = self.begin(link, receive, threads, queue).inspect_err(|error| queue.fail(error.clone()));
        let passed = leading.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok(Passed { first: begun?.1, ..passed? })
    }

    /// Waits for the answer to the opening; then the standby is listened to, and data may be sent. Returns where the walk goes on, and
    /// whether it is the first mirror.
    fn begin<'s>(
        &'s self,
        link: &dyn Open,
        mut receive: Receiver,
        threads: &'s Threads<'s, '_>,
        queue: &'s Queue<'s>,
    ) -> Result<(Option<Position>, bool), PassError> {
        let (after, first) = match receive.answer()? {
            MirrorAnswer::Ready { after, first, .. } => (after, first),
            MirrorAnswer::Refused(refusal) => return Err(PassError::Refused(refusal)),
        };
        if after.as_ref().is_some_and(|after| usize::from(after.root.0) >= self.volumes.len()) {
            return Err(PassError::Protocol("it wants to go on in a root that the set does not have"));
        }
        if after.is_some() && self.is_new {
            // It has something of it all the same: the next attempt asks before it sends.
            return Err(PassError::Refused(Refusal::Anew));
        }
        queue.answered();
        let mut lanes = Vec::new();
        for _ in 0..self.lanes.max(1) {
            let (mut send, receive) = link.open_with(if self.scopes.is_some() { Priority::Urgent } else { Priority::Bulk })?;
            send.send(&Opening::Lane { mirror: self.opening.mirror }, &[])?;
            lanes.push((send, receive));
        }
        threads.spawn(|| self.listen(receive, queue));
        for (index, (send, receive)) in lanes.into_iter().enumerate() {
            threads.spawn(move || take_answers(receive, queue, index));
            threads.spawn(move || self.run_lane(send, queue, index).unwrap_or_else(|error| queue.fail(error)));
        }
        Ok((after, first))
    }

    /// The walk, and what follows when everything was sent.
    fn lead(&self, mut send: Sender, queue: &Queue<'_>, after: Option<Position>) -> Result<Passed, PassError> {
        self.meter.enter(Stage::Listing);
        self.send_scopes(&mut send, queue)?;
        let goes_on = after.is_some();
        let first = self.walk(after, Some((&mut send, queue)))?;
        let sent = self.counted();
        queue.say(Said::WalkEnd);
        send.send(&FromSource::WalkEnd, &[])?;
        self.meter.enter(Stage::Sending);
        if self.opening.purpose != Purpose::Mirror {
            let summary = queue.wait_joined(&|| self.pace.is_stopped())?;
            send.finish()?;
            return Ok(Passed { point: None, first: false, moved: false, went_on: goes_on, flaws: 0, summary });
        }
        let (at, summary, second) = self.look_again(queue)?;
        let moved = !first.iter().zip(&second).all(|(first, second)| first.is_of(second));
        let settled = first.iter().zip(&second).all(|(first, second)| first.proves(second));
        let flaws = self.meter.flaws.load(Relaxed);
        let consistent = flaws == 0 && ((self.of_one_moment)() || settled && (self.still)());
        let reason = (self.reason)(consistent);
        // What came since is of the next pass; a walk that went on after a cut met only a part.
        let (objects, bytes) = if goes_on { self.counted() } else { sent };
        self.meter.enter(Stage::Committing);
        send.send(&FromSource::Commit { at, consistent, objects, bytes, reason }, &[])?;
        let committed = queue.wait_committed(&|| self.pace.is_stopped())?;
        send.finish()?;
        let Committed { point: number, orphans_left: orphans, objects, bytes } = committed;
        let MirrorOpening { generation, mirror, .. } = self.opening;
        let point = Some(Point { number, generation, mirror, reason, at, consistent, objects, bytes, orphans });
        Ok(Passed { point, first: false, moved, went_on: goes_on, flaws, summary })
    }

    /// Walks once more when everything was sent, to see what changed meanwhile; what still comes to the standby then needs no reading. The
    /// commit may be asked for when this returns: the standby makes it when everything has come.
    fn look_again(&self, queue: &Queue<'_>) -> Result<(Time, JoinSummary, Vec<Evidence>), PassError> {
        loop {
            let (summary, repeats) = queue.wait_sent(&|| self.pace.is_stopped())?;
            self.meter.enter(Stage::Proving);
            let at = SystemTime::now().into();
            let evidence = self.walk(None, None)?;
            if queue.may_commit(repeats) {
                return Ok((at, summary, evidence));
            }
        }
    }

    /// Objects that the last walk met, and bytes of the files among them.
    fn counted(&self) -> (u64, u64) {
        (self.meter.objects.load(Relaxed), self.meter.bytes.load(Relaxed))
    }

    fn send_scopes(&self, send: &mut Sender, queue: &Queue<'_>) -> Result<(), PassError> {
        let scopes = self.scopes.iter().flatten().flat_map(|(root, scopes)| {
            scopes.iter().map(|(path, depth)| Scope { at: Position { root: *root, path: path.clone() }, depth })
        });
        let mut scopes = scopes.peekable();
        while scopes.peek().is_some() {
            let batch: Vec<_> = scopes.by_ref().take(BATCH).collect();
            queue.make_way(batch.iter().map(|scope| scope.at.path.as_bytes().len() + ENTRY_BYTES).sum());
            send.send(&FromSource::Scopes(batch), &[])?;
        }
        Ok(())
    }

    /// The places of a root that are looked at; `None` where everything is, an error where nothing is.
    fn scopes_of(&self, root: RootIndex) -> Result<Option<&Scopes>, NothingThere> {
        self.scopes.as_ref().map(|scopes| scopes.get(&root).ok_or(NothingThere)).transpose()
    }

    /// Walks all roots, and sends what it meets if there is somebody to send to.
    fn walk(&self, after: Option<Position>, mut send: Option<(&mut Sender, &Queue<'_>)>) -> Result<Vec<Evidence>, PassError> {
        self.meter.begin_walk();
        let mut evidence = Vec::new();
        for (index, (volume, rules)) in self.volumes.iter().zip(self.rules).enumerate() {
            let root = RootIndex(index as u16);
            let passed = after.as_ref().filter(|after| after.root == root).map(|after| after.path.clone());
            if after.as_ref().is_some_and(|after| after.root > root) {
                evidence.push(Evidence::missing());
                continue;
            }
            let Ok(scopes) = self.scopes_of(root) else { continue };
            let entries = match send {
                Some(_) => Entries::new(volume, passed, rules, SystemTime::now),
                None => Entries::glancing(volume, rules, SystemTime::now),
            };
            let mut entries = entries.within(scopes).doubting(self.since);
            match &mut send {
                Some((send, queue)) => self.send_entries(&mut entries, root, send, queue)?,
                None => {
                    for met in entries.by_ref() {
                        if let Met::Entry(entry) = &met {
                            self.meter.met(entry);
                        }
                        if self.pace.is_stopped() {
                            return Err(PassError::Stopped);
                        }
                    }
                }
            }
            evidence.push(entries.evidence());
        }
        Ok(evidence)
    }

    fn send_entries(
        &self,
        entries: &mut Entries<'_, V>,
        root: RootIndex,
        send: &mut Sender,
        queue: &Queue<'_>,
    ) -> Result<(), PassError> {
        let mut batch = Batch { root, entries: Vec::new(), bytes: 0, queue };
        for met in entries.by_ref() {
            match met {
                Met::Entry(entry) => {
                    self.meter.met(&entry);
                    batch.push(entry);
                    if batch.entries.len() >= BATCH || batch.bytes >= BATCH_BYTES {
                        // If it was stopped meanwhile, the look below ends it.
                        self.pace.admit(batch.bytes);
                        batch.send(send)?;
                    }
                }
                Met::Special(path, what) => {
                    let text = format!("it is {what}, which has no meaning on another machine: not replicated");
                    self.meter.special(&Position { root, path }, text);
                }
                Met::Unreadable(path, error) => {
                    batch.send(send)?;
                    let at = Position { root, path };
                    send.send(&FromSource::Unreadable(at.clone()), &[])?;
                    self.meter.problem(&at, format!("it cannot be read: {error}; no orphan is removed in this mirror"));
                }
            }
            if self.pace.is_stopped() {
                return Err(PassError::Stopped);
            }
        }
        batch.send(send)
    }

    /// Takes what the standby says, until it has nothing more to say.
    fn listen(&self, mut receive: Receiver, queue: &Queue<'_>) {
        loop {
            match receive.receive::<FromStandby>() {
                Ok(Some((message, _))) => self.hear(message, queue),
                Ok(None) => return queue.hung_up(),
                Err(error) => return queue.fail(error.into()),
            }
        }
    }

    fn hear(&self, message: FromStandby, queue: &Queue<'_>) {
        match message {
            FromStandby::Wants(wants) => self.hear_wants(wants, queue),
            FromStandby::Durable { position, data_bytes } => {
                tracing::trace!(?position, data_bytes, "durable");
                self.meter.durable(data_bytes);
            }
            FromStandby::Problem { at, text } => self.meter.problem(&at, text.chars().take(LONGEST_TEXT).collect()),
            FromStandby::Findings(findings) => {
                for found in findings {
                    let (root, path) = (found.at.root, found.at.path.to_string());
                    self.meter.findings.push(|| FoundReport { root, path, difference: found.difference, ranges: Vec::new() });
                }
            }
            FromStandby::Joined(summary) => queue.joined(summary),
            FromStandby::Committed { point, orphans_left, objects, bytes } => {
                self.meter.committed();
                queue.committed(Committed { point, orphans_left, objects, bytes });
            }
            FromStandby::Stopped(refusal) => queue.fail(PassError::Refused(refusal)),
        }
    }

    fn hear_wants(&self, wants: Vec<Want>, queue: &Queue<'_>) {
        for want in &wants {
            let root = usize::from(want.at.root.0);
            let included =
                self.rules.get(root).filter(|_| root < self.volumes.len()).map(|rules| rules.judge(&want.at.path).included);
            match included {
                Some(true) => {}
                Some(false) => return queue.fail(PassError::Protocol("it asked for a file that the rules exclude")),
                None => return queue.fail(PassError::Protocol("it asked for a file of a root that the set does not have")),
            }
        }
        let bytes = wants.iter().fold(0, |bytes: u64, want| bytes.saturating_add(want.size));
        self.meter.wanted_files.fetch_add(wants.len() as u64, Relaxed);
        self.meter.wanted_bytes.fetch_add(bytes, Relaxed);
        queue.want(wants);
    }

    /// A file whose data differs.
    fn found(&self, found: &Found) {
        let (root, path) = (found.want.at.root, found.want.at.path.to_string());
        let ranges = found.ranges.clone();
        self.meter.findings.push(|| FoundReport { root, path, difference: Difference::Data, ranges });
    }

    fn run_lane(&self, send: Sender, queue: &Queue<'_>, index: usize) -> Result<(), PassError> {
        let mut sink = LinkSink {
            send,
            queue,
            index,
            only_compares: self.opening.purpose != Purpose::Mirror,
            pace: self.pace,
            lanes: self.lanes,
            meter: self.meter,
            hashes: self.hashes,
            places: HashMap::new(),
            roots: HashMap::new(),
        };
        let mut lane = match self.opening.purpose {
            Purpose::Mirror => {
                let passing = self.scopes.is_some() && (self.reason)(false) == Reason::Passing;
                Lane::new(self.volumes, self.pace.packing(self.lanes)).hasty(passing)
            }
            Purpose::DryRun | Purpose::Verify => Lane::comparing(self.volumes),
        };
        let mut idle = false;
        loop {
            let room = lane.open_files() < MOST_OPEN;
            let work = match queue.look(index, room, idle)? {
                Some(work) => work,
                None => {
                    sink.flush()?;
                    queue.wait(index, room)?
                }
            };
            match work {
                Work::Answers(answers) => {
                    for answer in answers {
                        let done = lane.answer(answer, &mut sink)?;
                        if let Some(found) = lane.found() {
                            self.found(&found);
                        }
                        if let Some(file) = done {
                            sink.done(file);
                        }
                    }
                }
                Work::Start(wants) => {
                    for want in wants {
                        sink.places.insert(want.file, want.at.clone());
                        lane.start(want, &mut sink)?;
                    }
                }
                Work::Nothing => {}
                Work::Finished => return Ok(sink.send.finish()?),
            }
            idle = !lane.scan(&mut sink)?;
        }
    }
}

/// A round does not look at a root.
struct NothingThere;

/// Entries on their way.
struct Batch<'q> {
    root: RootIndex,
    entries: Vec<Entry>,
    bytes: usize,
    queue: &'q Queue<'q>,
}

impl Batch<'_> {
    fn push(&mut self, entry: Entry) {
        let xattrs: usize = entry.attrs.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.bytes += entry.path.as_bytes().len() + xattrs;
        self.entries.push(entry);
    }

    fn send(&mut self, send: &mut Sender) -> Result<(), PassError> {
        if !self.entries.is_empty() {
            self.queue.make_way(self.bytes + self.entries.len() * ENTRY_BYTES);
            self.queue.announce(self.entries.len());
            send.send(&FromSource::Entries { root: self.root, entries: std::mem::take(&mut self.entries) }, &[])?;
            self.bytes = 0;
        }
        Ok(())
    }
}
