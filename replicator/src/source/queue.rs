//! What the threads of a pass hand to each other: files to send, answers to lanes, and when it is all done.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use standin_common::id::PointNumber;
use standin_common::link::LinkError;
use standin_common::message::{JoinSummary, LaneUp, Want};

use super::pass::PassError;

/// Files that a lane takes at once.
const WANTS_AT_ONCE: usize = 16;
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
}

#[derive(Debug, Default)]
struct State {
    wants: VecDeque<Want>,
    answers: Vec<VecDeque<LaneUp>>,
    wanted: u64,
    done: u64,
    joined: Option<JoinSummary>,
    committed: Option<Committed>,
    finished: bool,
    failed: Option<PassError>,
}

impl State {
    fn complete(&self) -> bool {
        self.joined.is_some() && self.wanted == self.done
    }

    fn next(&mut self, lane: usize, room: bool) -> Result<Option<Work>, PassError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if !self.answers[lane].is_empty() {
            return Ok(Some(Work::Answers(std::mem::take(&mut self.answers[lane]))));
        }
        if room && !self.wants.is_empty() {
            let some = self.wants.len().div_ceil(self.answers.len()).min(WANTS_AT_ONCE);
            return Ok(Some(Work::Start(self.wants.drain(..some).collect())));
        }
        Ok(self.finished.then_some(Work::Finished))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// For each lane: something came for it.
    lanes: Vec<Condvar>,
    /// For whoever waits for the end of a stage.
    stage: Condvar,
}

impl Queue {
    pub(super) fn new(lanes: usize) -> Self {
        let state = State { answers: (0..lanes).map(|_| VecDeque::new()).collect(), ..State::default() };
        Self { state: Mutex::new(state), lanes: (0..lanes).map(|_| Condvar::new()).collect(), stage: Condvar::new() }
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

    /// Ends the pass with an error; the first one counts, unless it was that of a stream, and the standby's reason for that comes now.
    pub(super) fn fail(&self, error: PassError) {
        self.change(|state| match (&state.failed, &error) {
            (None, _) | (Some(PassError::Link(_)), PassError::Refused(_)) => state.failed = Some(error),
            (Some(_), _) => {}
        });
    }

    /// The error that ended the pass.
    pub(super) fn failure(&self) -> Option<PassError> {
        self.lock().failed.clone()
    }

    pub(super) fn want(&self, wants: Vec<Want>) {
        self.change(|state| {
            state.wanted += wants.len() as u64;
            state.wants.extend(wants);
        });
    }

    pub(super) fn answer(&self, lane: usize, answers: impl Iterator<Item = LaneUp>) {
        self.lock().answers[lane].extend(answers);
        self.lanes[lane].notify_all();
    }

    /// A file is proven or given up.
    pub(super) fn done(&self) {
        let mut state = self.lock();
        state.done += 1;
        if state.complete() {
            self.stage.notify_all();
        }
    }

    pub(super) fn joined(&self, summary: JoinSummary) {
        self.change(|state| state.joined = Some(summary));
    }

    pub(super) fn committed(&self, committed: Committed) {
        self.change(|state| state.committed = Some(committed));
    }

    /// Lets the lanes end.
    pub(super) fn finish(&self) {
        self.change(|state| state.finished = true);
    }

    /// The standby has nothing more to say, which is too early unless all is done.
    pub(super) fn hung_up(&self) {
        self.change(|state| {
            if state.committed.is_none() && !state.complete() {
                state.failed.get_or_insert(PassError::Link(LinkError::Abandoned));
            }
        });
    }

    /// Waits until every wanted file is done and nothing more will be wanted, or it is stopped.
    pub(super) fn wait_joined(&self, stopped: &dyn Fn() -> bool) -> Result<JoinSummary, PassError> {
        let mut state = self.lock();
        loop {
            match (&state.failed, state.joined) {
                (Some(error), _) => return Err(error.clone()),
                (None, Some(summary)) if state.complete() => return Ok(summary),
                _ if stopped() => return Err(PassError::Stopped),
                _ => state = self.stage.wait_timeout(state, LOOK_UP).unwrap_or_else(PoisonError::into_inner).0,
            }
        }
    }

    pub(super) fn wait_committed(&self) -> Result<Committed, PassError> {
        let mut state = self.lock();
        loop {
            match (&state.failed, state.committed) {
                (Some(error), _) => return Err(error.clone()),
                (None, Some(committed)) => return Ok(committed),
                _ => state = self.stage.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// What a lane does next, `None` if it has to wait for it: answers first, then files if it has room for them, and unless it is
    /// `idle` what it is at.
    pub(super) fn look(&self, lane: usize, room: bool, idle: bool) -> Result<Option<Work>, PassError> {
        self.lock().next(lane, room && idle).map(|work| work.or((!idle).then_some(Work::Nothing)))
    }

    /// Waits for what an idle lane does next.
    pub(super) fn wait(&self, lane: usize, room: bool) -> Result<Work, PassError> {
        let mut state = self.lock();
        loop {
            match state.next(lane, room)? {
                Some(work) => return Ok(work),
                None => state = self.lanes[lane].wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}
