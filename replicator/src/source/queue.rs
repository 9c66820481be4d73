//! What the threads of a pass hand to each other: files to send, answers to lanes, and when it is all done.

use std::collections::{HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use standin_common::id::PointNumber;
use standin_common::link::LinkError;
use standin_common::message::{JoinSummary, LaneUp, Refusal, Want};

use super::pass::PassError;
use crate::mirror::MOST_WANTED;

/// Files that a lane takes at once.
const WANTS_AT_ONCE: usize = 16;
/// Files asked for that have not begun, beyond which the standby is not listened to until some have; more than it asks for at once.
const MOST_WAITING: usize = 2 * MOST_WANTED;
/// Files begun and not proven, beyond which none is begun.
const MOST_UNDER_WAY: u64 = 2 * MOST_WANTED as u64;
/// What may be sent before the standby has answered, in bytes: a quarter of the window that all streams of a link share at least, so that
/// what nobody reads yet is not in the way of anything else.
const MOST_EARLY: usize = 512 * 1024;
/// How often whoever waits looks whether it was stopped.
const LOOK_UP: Duration = Duration::from_millis(100);

/// What a lane does next.
#[derive(Debug)]
pub(super) enum Work {
    /// The standby answered.
    Answers(VecDeque<LaneUp>),
    /// Files to begin.
    Start(Vec<Want>),
    /// Nothing has come; there may be something to scan.
    Nothing,
    /// Everything is done.
    Finished,
}

/// What the standby committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Committed {
    pub point: PointNumber,
    pub orphans_left: u64,
    pub objects: u64,
    pub bytes: u64,
}

/// How far the source is, which tells what the standby may say.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Said {
    /// It lists its entries.
    #[default]
    Entries,
    /// It said that these were all.
    WalkEnd,
    /// It asked for the commit.
    Commit,
}

/// What a lane and the standby say to each other.
#[derive(Debug, Default)]
struct Answers {
    /// Questions that were not answered.
    asked: u64,
    waiting: VecDeque<LaneUp>,
}

#[derive(Debug, Default)]
struct State {
    said: Said,
    /// Whether the standby has answered the opening.
    answered: bool,
    /// What was sent before that, in bytes.
    early_bytes: usize,
    /// Entries that the standby was told of.
    announced: u64,
    wants: VecDeque<Want>,
    /// Files asked for and not done.
    open: HashSet<u64>,
    /// Those of them of which everything was read and sent; only the standby's word that it holds is missing.
    told: HashSet<u64>,
    /// How often that word was that it does not.
    repeats: u64,
    answers: Vec<Answers>,
    wanted: u64,
    done: u64,
    joined: Option<JoinSummary>,
    committed: Option<Committed>,
    finished: bool,
    failed: Option<PassError>,
}

impl State {
    /// Whether what was sent fills the link of a standby that may not read it yet.
    fn is_too_early(&self) -> bool {
        self.early_bytes > MOST_EARLY && !self.answered && self.failed.is_none()
    }

    fn complete(&self) -> bool {
        self.joined.is_some() && self.wanted == self.done
    }

    /// Whether nothing is left to be read, if everything arrives as it was sent.
    fn is_sent(&self) -> bool {
        self.joined.is_some() && self.told.len() == self.open.len()
    }

    fn under_way(&self) -> u64 {
        (self.wanted - self.done).saturating_sub(self.wants.len() as u64)
    }

    fn want(&mut self, wants: Vec<Want>) -> Result<(), &'static str> {
        self.wanted += wants.len() as u64;
        if self.wanted > self.announced {
            return Err("it asked for more files than it was told of");
        }
        if self.joined.is_some() {
            return Err("it asked for files after it had said that it has all");
        }
        if wants.iter().any(|want| !self.open.insert(want.file)) {
            return Err("it gave two files the same number");
        }
        self.wants.extend(wants);
        Ok(())
    }

    fn next(&mut self, lane: usize, room: bool) -> Result<Option<Work>, PassError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if !self.answers[lane].waiting.is_empty() {
            return Ok(Some(Work::Answers(std::mem::take(&mut self.answers[lane].waiting))));
        }
        if room && !self.wants.is_empty() && self.under_way() < MOST_UNDER_WAY {
            let some = self.wants.len().div_ceil(self.answers.len()).min(WANTS_AT_ONCE);
            return Ok(Some(Work::Start(self.wants.drain(..some).collect())));
        }
        Ok(self.finished.then_some(Work::Finished))
    }
}

/// See the module.
pub(super) struct Queue<'s> {
    state: Mutex<State>,
    /// For each lane: something came for it.
    lanes: Vec<Condvar>,
    /// For whoever waits for the end of a stage, or for files to begin.
    stage: Condvar,
    stopping: &'s (dyn Fn() + Sync),
}

impl<'s> Queue<'s> {
    /// For so many lanes. `stopping` is told when the pass fails.
    pub(super) fn new(lanes: usize, stopping: &'s (dyn Fn() + Sync)) -> Self {
        let state = State { answers: (0..lanes).map(|_| Answers::default()).collect(), ..State::default() };
        Self { state: Mutex::new(state), lanes: (0..lanes).map(|_| Condvar::new()).collect(), stage: Condvar::new(), stopping }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change that concerns everybody.
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.lanes.iter().for_each(Condvar::notify_all);
        self.stage.notify_all();
    }

    /// Ends the pass with an error; the first one counts. But a stream that the standby ended may be noticed before what it said of it.
    pub(super) fn fail(&self, error: PassError) {
        let mut first = false;
        self.change(|state| {
            first = state.failed.is_none();
            let told = matches!((&state.failed, &error), (Some(PassError::Link(_)), PassError::Refused(_)));
            if told || first {
                state.failed = Some(error);
            }
        });
        if first {
            (self.stopping)();
        }
    }

    /// Changes the state by what the standby said, which may have been wrong to say.
    fn hear(&self, change: impl FnOnce(&mut State) -> Result<(), &'static str>) {
        let mut heard = Ok(());
        self.change(|state| heard = change(state));
        heard.unwrap_or_else(|what| self.fail(PassError::Protocol(what)));
    }

    /// The error that ended the pass.
    pub(super) fn failure(&self) -> Option<PassError> {
        self.lock().failed.clone()
    }

    /// The standby has answered the opening, and reads.
    pub(super) fn answered(&self) {
        self.change(|state| state.answered = true);
    }

    /// Something is about to be sent: waits where that would be much and nobody may read it yet.
    pub(super) fn make_way(&self, bytes: usize) {
        let mut state = self.lock();
        state.early_bytes = state.early_bytes.saturating_add(bytes);
        while state.is_too_early() {
            state = self.stage.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Entries are about to be sent.
    pub(super) fn announce(&self, entries: usize) {
        self.lock().announced += entries as u64;
    }

    /// Something is about to be said.
    pub(super) fn say(&self, said: Said) {
        self.lock().said = said;
    }

    /// The standby asks for files. Waits while many others were not begun.
    pub(super) fn want(&self, wants: Vec<Want>) {
        let mut state = self.lock();
        while state.wants.len() > MOST_WAITING && state.failed.is_none() {
            state = self.stage.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        self.hear(|state| state.want(wants));
    }

    /// A lane is about to send what has to be answered.
    pub(super) fn ask(&self, lane: usize) {
        self.lock().answers[lane].asked += 1;
    }

    /// The last of a file is about to be sent.
    pub(super) fn told(&self, file: u64) {
        let mut state = self.lock();
        state.told.insert(file);
        if state.is_sent() {
            self.stage.notify_all();
        }
    }

    /// The standby answered a lane.
    pub(super) fn answer(&self, lane: usize, answers: Vec<LaneUp>) {
        let mut state = self.lock();
        let Some(asked) = state.answers[lane].asked.checked_sub(answers.len() as u64) else {
            drop(state);
            return self.fail(PassError::Protocol("it answered what was not asked"));
        };
        state.answers[lane].asked = asked;
        let repeats = answers.iter().filter(|answer| matches!(answer, LaneUp::Again { file } if state.told.remove(file))).count();
        state.repeats += repeats as u64;
        state.answers[lane].waiting.extend(answers);
        let too_late = repeats > 0 && state.said == Said::Commit;
        drop(state);
        if too_late {
            // What is read now is not of the moment that the commit speaks of.
            return self.fail(PassError::Refused(Refusal::Anew));
        }
        self.lanes[lane].notify_all();
    }

    /// A file is proven or given up.
    pub(super) fn done(&self, file: u64) {
        let mut state = self.lock();
        let full = state.under_way() >= MOST_UNDER_WAY;
        state.done += 1;
        state.open.remove(&file);
        state.told.remove(&file);
        if state.complete() || state.is_sent() {
            self.stage.notify_all();
        }
        if full {
            self.lanes.iter().for_each(Condvar::notify_all);
        }
    }

    pub(super) fn joined(&self, summary: JoinSummary) {
        self.hear(|state| match (state.said, state.joined.replace(summary)) {
            (Said::WalkEnd, None) => Ok(()),
            _ => Err("it said that it has all before it was told all"),
        });
    }

    pub(super) fn committed(&self, committed: Committed) {
        self.hear(|state| match (state.said, state.committed.replace(committed)) {
            (Said::Commit, None) => Ok(()),
            _ => Err("it committed what it was not asked to commit"),
        });
    }

    /// Lets the lanes end.
    pub(super) fn finish(&self) {
        self.change(|state| state.finished = true);
    }

    /// The standby has nothing more to say, which is too early unless all is done.
    pub(super) fn hung_up(&self) {
        let early = {
            let state = self.lock();
            state.committed.is_none() && !(state.complete() && state.said != Said::Commit)
        };
        if early {
            self.fail(PassError::Link(LinkError::Abandoned));
        }
    }

    /// Waits until every wanted file is done and nothing more will be wanted, or it is stopped.
    pub(super) fn wait_joined(&self, stopped: &dyn Fn() -> bool) -> Result<JoinSummary, PassError> {
        self.wait_unless(stopped, |state| state.joined.filter(|_| state.complete()))
    }

    /// Waits until every wanted file was read to its end and sent, and nothing more will be wanted, or it is stopped. Returns how often
    /// something had to be sent again until then.
    pub(super) fn wait_sent(&self, stopped: &dyn Fn() -> bool) -> Result<(JoinSummary, u64), PassError> {
        self.wait_unless(stopped, |state| state.joined.filter(|_| state.is_sent()).map(|summary| (summary, state.repeats)))
    }

    /// The commit is about to be asked for, unless something was sent again since so many times.
    pub(super) fn may_commit(&self, repeats: u64) -> bool {
        let mut state = self.lock();
        let may = state.is_sent() && state.repeats == repeats;
        if may {
            state.said = Said::Commit;
        }
        may
    }

    fn wait_unless<T>(&self, stopped: &dyn Fn() -> bool, ready: impl Fn(&State) -> Option<T>) -> Result<T, PassError> {
        let mut state = self.lock();
        loop {
            match (&state.failed, ready(&state)) {
                (Some(error), _) => return Err(error.clone()),
                (None, Some(ready)) => return Ok(ready),
                _ if stopped() => return Err(PassError::Stopped),
                _ => state = self.stage.wait_timeout(state, LOOK_UP).unwrap_or_else(PoisonError::into_inner).0,
            }
        }
    }

    /// Waits until the standby has proven every file and committed, or it is stopped.
    pub(super) fn wait_committed(&self, stopped: &dyn Fn() -> bool) -> Result<Committed, PassError> {
        self.wait_unless(stopped, |state| state.committed.filter(|_| state.complete()))
    }

    /// What a lane does next, `None` if it has to wait for it: answers first, then files if it has room for them, and unless it is
    /// `idle` what it is at.
    pub(super) fn look(&self, lane: usize, room: bool, idle: bool) -> Result<Option<Work>, PassError> {
        let work = self.lock().next(lane, room && idle)?;
        self.begun(work.as_ref());
        Ok(work.or((!idle).then_some(Work::Nothing)))
    }

    /// Waits for what an idle lane does next.
    pub(super) fn wait(&self, lane: usize, room: bool) -> Result<Work, PassError> {
        let mut state = self.lock();
        loop {
            match state.next(lane, room)? {
                Some(work) => {
                    self.begun(Some(&work));
                    return Ok(work);
                }
                None => state = self.lanes[lane].wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Files were taken, so there is room for others.
    fn begun(&self, work: Option<&Work>) {
        if let Some(Work::Start(_)) = work {
            self.stage.notify_all();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use standin_common::id::RootIndex;
    use standin_common::message::Position;
    use standin_common::path::RelPath;

    use super::*;

    #[test]
    fn much_waits_for_the_answer_and_for_nothing_else() {
        let little = State { early_bytes: MOST_EARLY, ..State::default() };
        assert!(!little.is_too_early());
        let much = || State { early_bytes: MOST_EARLY + 1, ..State::default() };
        assert!(much().is_too_early());
        assert!(!State { answered: true, ..much() }.is_too_early());
        assert!(!State { failed: Some(PassError::Stopped), ..much() }.is_too_early());
    }

    fn want(file: u64) -> Want {
        let at = Position { root: RootIndex(0), path: RelPath::new(format!("file {file}")).unwrap() };
        Want { file, at, size: 1, whole: true }
    }

    /// A queue of one lane, after two files were wanted, and of the second all was sent.
    fn half_sent() -> Queue<'static> {
        let queue = Queue::new(1, &|| {});
        queue.announce(2);
        queue.want(vec![want(1), want(2)]);
        queue.say(Said::WalkEnd);
        queue.joined(JoinSummary::default());
        queue.ask(0);
        queue.told(2);
        queue
    }

    #[test]
    fn the_commit_waits_for_what_is_to_be_read_and_for_no_proof() {
        let queue = half_sent();
        let (never, always) = (&|| false, &|| true);
        assert!(matches!(queue.wait_sent(always), Err(PassError::Stopped)));
        queue.ask(0);
        queue.told(1);
        let (_, repeats) = queue.wait_sent(never).unwrap();
        // Something did not arrive, so what was looked at meanwhile says nothing.
        queue.answer(0, vec![LaneUp::Again { file: 1 }]);
        assert!(!queue.may_commit(repeats));
        assert!(matches!(queue.wait_sent(always), Err(PassError::Stopped)));
        queue.ask(0);
        queue.told(1);
        let (_, repeats) = queue.wait_sent(never).unwrap();
        assert!(queue.may_commit(repeats));
        let committed = Committed { point: PointNumber(1), orphans_left: 0, objects: 2, bytes: 2 };
        queue.committed(committed);
        assert!(matches!(queue.wait_committed(always), Err(PassError::Stopped)));
        queue.done(1);
        queue.done(2);
        assert_eq!(queue.wait_committed(never).unwrap(), committed);
    }

    #[test]
    fn what_did_not_arrive_when_the_commit_was_asked_for_ends_the_pass() {
        let queue = half_sent();
        queue.done(1);
        let (_, repeats) = queue.wait_sent(&|| false).unwrap();
        assert!(queue.may_commit(repeats));
        queue.answer(0, vec![LaneUp::Again { file: 2 }]);
        assert!(matches!(queue.failure(), Some(PassError::Refused(Refusal::Anew))));
    }

    #[test]
    fn what_was_only_looked_at_may_have_to_be_sent() {
        let queue = half_sent();
        queue.done(2);
        queue.ask(0);
        queue.answer(0, vec![LaneUp::Again { file: 1 }]);
        assert_eq!(queue.lock().repeats, 0);
        assert!(matches!(queue.wait_sent(&|| true), Err(PassError::Stopped)));
    }

    #[test]
    fn who_waits_for_the_answer_goes_on_when_it_comes() {
        let queue = Queue::new(1, &|| {});
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| queue.make_way(2 * MOST_EARLY));
            queue.answered();
            sending.join().unwrap();
        });
    }
}
