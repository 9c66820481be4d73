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
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    pub(super) fn new(lanes: usize) -> Self {
        let state = State { answers: (0..lanes).map(|_| VecDeque::new()).collect(), ..State::default() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Ends the pass with an error; the first one counts. But a stream that the standby ended may be noticed before what it said of it.
    pub(super) fn fail(&self, error: PassError) {
        self.change(|state| {
            let told = matches!((&state.failed, &error), (Some(PassError::Link(_)), PassError::Refused(_)));
            if told || state.failed.is_none() {
                state.failed = Some(error);
            }
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

    pub(super) fn answer(&self, lane: usize, answer: LaneUp) {
        self.change(|state| state.answers[lane].push_back(answer));
    }

    /// A file is proven or given up.
    pub(super) fn done(&self) {
        self.change(|state| state.done += 1);
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

    fn wait_for<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> Result<T, PassError> {
        let mut state = self.lock();
        loop {
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if let Some(ready) = ready(&mut state) {
                return Ok(ready);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
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
                _ => state = self.changed.wait_timeout(state, LOOK_UP).unwrap_or_else(PoisonError::into_inner).0,
            }
        }
    }

    pub(super) fn wait_committed(&self) -> Result<Committed, PassError> {
        self.wait_for(|state| state.committed)
    }

    /// What a lane does next: answers first, then files if it has room for them. Waits for either if `idle`.
    pub(super) fn next(&self, lane: usize, room: bool, idle: bool) -> Result<Work, PassError> {
        self.wait_for(|state| {
            if !state.answers[lane].is_empty() {
                return Some(Work::Answers(std::mem::take(&mut state.answers[lane])));
            }
            if room && idle && !state.wants.is_empty() {
                let some = state.wants.len().div_ceil(state.answers.len()).min(WANTS_AT_ONCE);
                return Some(Work::Start(state.wants.drain(..some).collect()));
            }
            if state.finished {
                return Some(Work::Finished);
            }
            (!idle).then_some(Work::Nothing)
        })
    }
}
