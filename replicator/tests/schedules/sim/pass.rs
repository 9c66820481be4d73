//! One pass over a simulated line: the real halves of both sides, and streams between them.
//!
//! What is sent on a stream arrives in order; what is sent on different streams arrives in any. Each pass has its own habits: streams that are
//! slow, walks that stall. A cut loses what has not arrived, which is another part of each stream every time.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use standin_common::entry::{Entry, Time};
use standin_common::id::RootIndex;
use standin_common::message::{FromSource, FromStandby, LaneDown, LaneUp, Position, Want};
use standin_common::scope::Reason;
use standin_replicator::mirror::How;
use standin_replicator::rules::Rules;
use standin_replicator::scopes::Scopes;
use standin_replicator::sim::{Random, SimStore, SimVolume};
use standin_replicator::source::entries::{Entries, Evidence, Met};
use standin_replicator::source::lane::{self, LaneError, Packing, Sink};
use standin_replicator::standby::join::Join;
use standin_replicator::standby::lane as standby;
use standin_replicator::standby::receive::{ReceiveError, Reception};

/// Long after every time on the simulated clocks.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1 << 40)
}

/// One event of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// The source walks on by one object.
    Walk,
    /// Something changes on the source.
    Change,
    /// The standby makes durable what came.
    Mark,
    /// A message arrives on the control stream.
    Down,
    Up,
    /// A message arrives on a lane.
    LaneDown(usize),
    LaneUp(usize),
    /// A lane takes files that were asked for.
    Start(usize),
    /// A lane reads on.
    Scan(usize),
}

/// How a pass ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The commit arrived on the standby, which is to be made.
    Commit {
        /// How the source graded it.
        consistent: bool,
        objects: u64,
        reason: Reason,
    },
    /// The line was cut.
    Cut,
}

/// What the world does while a pass runs.
pub trait Around {
    /// One change of the source.
    fn change(&mut self, random: &mut Random);
    /// The first look is over, everything was read: this is the moment that the point shows, if it shows one.
    fn moment(&mut self);
    /// Whether nothing was noticed since the pass began.
    fn still(&mut self) -> bool;
    /// What the point is made for.
    fn reason(&mut self, random: &mut Random) -> Reason;
    /// Whether the grade is given without a proof, to see whether that is found.
    fn grades_blindly(&self) -> bool;
}

#[derive(Default)]
struct Wire {
    messages: VecDeque<(LaneDown, Vec<u8>)>,
    /// Files of which nothing more comes.
    gone: u64,
    flaws: u64,
}

impl Sink for Wire {
    fn send(&mut self, message: &LaneDown, payload: &[u8]) -> Result<(), LaneError> {
        if let LaneDown::Gone { why, .. } = message {
            self.gone += 1;
            self.flaws += u64::from(why.is_some());
        }
        self.messages.push_back((message.clone(), payload.to_vec()));
        Ok(())
    }
}

struct Lane<'p, 'a> {
    source: lane::Lane<'p, SimVolume>,
    standby: standby::Lane<'p, 'a, SimVolume, SimStore>,
    down: Wire,
    up: VecDeque<LaneUp>,
    idle: bool,
}

/// How far the source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    First,
    Sending,
    Second,
    Asked,
}

/// The places that are looked at, in all roots.
#[derive(Clone, Copy)]
pub struct Looked<'p> {
    pub volumes: &'p [SimVolume],
    pub rules: &'p [Rules],
    pub scopes: Option<&'p BTreeMap<RootIndex, Scopes>>,
    /// From when on changes are doubted, for each root.
    pub since: Option<&'p super::source::Clocks>,
}

/// See the module.
pub struct Pass<'p, 'a, A> {
    looked: Looked<'p>,
    reception: &'p Reception<'a, SimVolume, SimStore>,
    around: &'p mut A,
    random: &'p mut Random,
    join: Join<'p, 'a, SimVolume, SimStore>,
    lanes: Vec<Lane<'p, 'a>>,
    down: VecDeque<FromSource>,
    up: VecDeque<FromStandby>,
    stage: Stage,
    root: usize,
    walk: Option<Entries<'p, SimVolume>>,
    batch: Vec<Entry>,
    longest_batch: u64,
    first: Vec<Evidence>,
    second: Vec<Evidence>,
    flaws: u64,
    objects: u64,
    wants: VecDeque<Want>,
    wanted: u64,
    done: u64,
    joined: bool,
    changes: u64,
    /// How likely each kind of event is, in this pass.
    habits: [u64; 9],
}

impl<'p, 'a, A: Around> Pass<'p, 'a, A> {
    /// Between these, with so many changes of the source on the way.
    pub fn new(
        looked: Looked<'p>,
        (reception, how): (&'p Reception<'a, SimVolume, SimStore>, How),
        (around, changes): (&'p mut A, u64),
        random: &'p mut Random,
    ) -> Self {
        let lane = |_| Lane {
            source: lane::Lane::new(looked.volumes, Packing { level: Some(1) }),
            standby: standby::Lane::new(reception),
            down: Wire::default(),
            up: VecDeque::new(),
            idle: false,
        };
        let lanes = (0..random.below(3) + 1).map(lane).collect();
        let habits = std::array::from_fn(|_| [1, 4, 16][random.below(3) as usize]);
        Self {
            looked,
            reception,
            around,
            longest_batch: [1, 4, 256][random.below(3) as usize],
            random,
            join: Join::new(reception, how, looked.rules).within(looked.scopes),
            lanes,
            down: VecDeque::new(),
            up: VecDeque::new(),
            stage: Stage::First,
            root: 0,
            walk: None,
            batch: Vec::new(),
            first: Vec::new(),
            second: Vec::new(),
            flaws: 0,
            objects: 0,
            wants: VecDeque::new(),
            wanted: 0,
            done: 0,
            joined: false,
            changes,
            habits,
        }
    }

    /// Runs until the commit arrives or, after so many messages, the line is cut.
    pub fn run(mut self, cut: Option<u64>) -> Result<End, ReceiveError> {
        let mut messages = 0;
        loop {
            let event = self.next_event();
            if matches!(event, Event::Down | Event::Up | Event::LaneDown(_) | Event::LaneUp(_)) {
                messages += 1;
                if cut.is_some_and(|cut| messages >= cut) {
                    return Ok(End::Cut);
                }
            }
            if let Some(end) = self.happen(event)? {
                return Ok(end);
            }
        }
    }

    fn next_event(&mut self) -> Event {
        let [walk, change, mark, down, up, lane_down, lane_up, start, scan] = self.habits;
        let mut events = Vec::with_capacity(16);
        let mut add = |there: bool, event, habit| events.extend(there.then_some((event, habit)));
        add(matches!(self.stage, Stage::First | Stage::Second), Event::Walk, walk);
        // The standby waits with a commit for what it overtook on its way.
        let early = matches!(self.down.front(), Some(FromSource::Commit { .. })) && !self.reception.has_all_files();
        add(!self.down.is_empty() && !early, Event::Down, down);
        add(!self.up.is_empty(), Event::Up, up);
        for (index, lane) in self.lanes.iter().enumerate() {
            add(!lane.down.messages.is_empty(), Event::LaneDown(index), lane_down);
            add(!lane.up.is_empty(), Event::LaneUp(index), lane_up);
            add(!self.wants.is_empty(), Event::Start(index), start);
            add(!lane.idle && lane.source.open_files() > 0, Event::Scan(index), scan);
        }
        assert!(!events.is_empty(), "the pass hangs: {} of {} files are done, {:?}", self.done, self.wanted, self.stage);
        add_rare(&mut events, self.changes > 0, (Event::Change, change));
        add_rare(&mut events, true, (Event::Mark, mark));
        let mut at = self.random.below(events.iter().map(|(_, habit)| habit * 8).sum());
        for (event, habit) in &events {
            if at < habit * 8 {
                return *event;
            }
            at -= habit * 8;
        }
        events[0].0
    }

    fn happen(&mut self, event: Event) -> Result<Option<End>, ReceiveError> {
        match event {
            Event::Walk => self.walk_on(),
            Event::Change => {
                self.changes -= 1;
                self.around.change(self.random);
            }
            Event::Mark => {
                // Many marks show nothing more than some.
                if self.random.one_in(4) {
                    self.reception.mark()?;
                }
            }
            Event::Down => return self.hear_source(),
            Event::Up => self.hear_standby(),
            Event::LaneDown(index) => {
                let lane = &mut self.lanes[index];
                if let Some((message, payload)) = lane.down.messages.pop_front() {
                    lane.up.extend(lane.standby.take(message, &payload)?);
                }
            }
            Event::LaneUp(index) => {
                let lane = &mut self.lanes[index];
                if let Some(answer) = lane.up.pop_front() {
                    self.done += u64::from(lane.source.answer(answer, &mut lane.down).unwrap().is_some());
                    lane.idle = false;
                }
            }
            Event::Start(index) => {
                let some = self.random.below(4) as usize + 1;
                let lane = &mut self.lanes[index];
                for want in self.wants.drain(..some.min(self.wants.len())) {
                    lane.source.start(want, &mut lane.down).unwrap();
                }
                lane.idle = false;
            }
            Event::Scan(index) => {
                let lane = &mut self.lanes[index];
                lane.idle = !lane.source.scan(&mut lane.down).unwrap();
            }
        }
        for lane in &mut self.lanes {
            self.done += std::mem::take(&mut lane.down.gone);
            self.flaws += std::mem::take(&mut lane.down.flaws);
        }
        if self.stage == Stage::Sending && self.joined && self.done == self.wanted {
            self.stage = Stage::Second;
            self.around.moment();
        }
        Ok(None)
    }

    /// The source's walk goes on by one object, in the first look or the second.
    fn walk_on(&mut self) {
        let Looked { volumes, rules, scopes, since } = self.looked;
        let root = RootIndex(self.root as u16);
        if let Some(walk) = &mut self.walk {
            match walk.next() {
                Some(Met::Entry(entry)) if self.stage == Stage::First => {
                    self.objects += 1;
                    self.batch.push(entry);
                    if self.batch.len() as u64 >= self.longest_batch {
                        self.send_batch(root);
                    }
                }
                Some(Met::Entry(_) | Met::Special(..)) => {}
                Some(Met::Unreadable(path, _)) => {
                    self.flaws += 1;
                    if self.stage == Stage::First {
                        self.send_batch(root);
                        self.down.push_back(FromSource::Unreadable(Position { root, path }));
                    }
                }
                None => {
                    let evidence = walk.evidence();
                    self.walk = None;
                    self.root_over(evidence);
                }
            }
            return;
        }
        let Some(volume) = volumes.get(self.root) else { return self.look_over() };
        let after = self.reception.after().filter(|_| self.stage == Stage::First);
        if after.is_some_and(|after| after.root > root) {
            return self.root_over(Evidence::missing());
        }
        let scopes = match scopes.map(|scopes| scopes.get(&root)) {
            // A round does not look there at all.
            Some(None) => {
                self.root += 1;
                return;
            }
            scopes => scopes.flatten(),
        };
        let rules = &rules[self.root];
        let walk = match self.stage {
            Stage::First => {
                let after = after.filter(|after| after.root == root).map(|after| after.path.clone());
                Entries::new(volume, after, rules, now)
            }
            _ => Entries::glancing(volume, rules, now),
        };
        let since = since.and_then(|since| since.get(self.root));
        self.walk = Some(walk.within(scopes).doubting(since.copied()));
    }

    fn send_batch(&mut self, root: RootIndex) {
        if !self.batch.is_empty() {
            self.down.push_back(FromSource::Entries { root, entries: std::mem::take(&mut self.batch) });
        }
    }

    fn root_over(&mut self, evidence: Evidence) {
        if self.stage == Stage::First {
            self.send_batch(RootIndex(self.root as u16));
            self.first.push(evidence);
        } else {
            self.second.push(evidence);
        }
        self.root += 1;
    }

    fn look_over(&mut self) {
        self.root = 0;
        if self.stage == Stage::First {
            self.stage = Stage::Sending;
            self.down.push_back(FromSource::WalkEnd);
            return;
        }
        self.stage = Stage::Asked;
        let proven = self.first.iter().zip(&self.second).all(|(first, second)| first.proves(second));
        let consistent = proven && self.flaws == 0 && self.around.still() || self.around.grades_blindly();
        let (at, objects, reason) = (Time::default(), self.objects, self.around.reason(self.random));
        self.down.push_back(FromSource::Commit { at, consistent, objects, bytes: 0, reason });
    }

    fn hear_source(&mut self) -> Result<Option<End>, ReceiveError> {
        match self.down.pop_front() {
            Some(FromSource::Entries { root, entries }) => self.up.extend(self.join.entries(root, entries)?),
            Some(FromSource::Unreadable(_)) => self.reception.keep_orphans()?,
            Some(FromSource::WalkEnd) => self.up.extend(self.join.end()?),
            Some(FromSource::Commit { consistent, objects, reason, .. }) => {
                return Ok(Some(End::Commit { consistent, objects, reason }));
            }
            Some(FromSource::Scopes(_)) | None => {}
        }
        Ok(None)
    }

    fn hear_standby(&mut self) {
        match self.up.pop_front() {
            Some(FromStandby::Wants(wants)) => {
                self.wanted += wants.len() as u64;
                self.wants.extend(wants);
            }
            Some(FromStandby::Joined(_)) => self.joined = true,
            _ => {}
        }
    }
}

/// What happens only now and then, whatever else may happen.
fn add_rare(events: &mut Vec<(Event, u64)>, there: bool, (event, habit): (Event, u64)) {
    let all: u64 = events.iter().map(|(_, habit)| habit).sum();
    if there {
        events.push((event, (all * habit / 256).max(1)));
    }
}
