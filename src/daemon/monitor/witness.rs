//! Asking the witness, on a thread of its own: it may take seconds to answer, or not to.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use standin_failover::monitor::{Act, Monitor};
use standin_failover::witness::Witness;

use super::{now, spawn};

/// See the module.
pub(super) struct Asking {
    witness: Arc<dyn Witness>,
    questions: Mutex<Option<Sender<Act>>>,
    waiting: Mutex<Option<Receiver<Act>>>,
}

impl Asking {
    pub(super) fn new(witness: Arc<dyn Witness>) -> Self {
        let (questions, waiting) = mpsc::channel();
        Self { witness, questions: Mutex::new(Some(questions)), waiting: Mutex::new(Some(waiting)) }
    }

    /// Leaves a question; the monitor asks one at a time.
    pub(super) fn ask(&self, act: Act) {
        if let Some(questions) = &*self.questions.lock().unwrap_or_else(PoisonError::into_inner) {
            // At the end of the daemon nobody asks it.
            let _ = questions.send(act);
        }
    }

    pub(super) fn end(&self) {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Starts the thread; `tell` has the monitor told what came of a question.
    pub(super) fn start(&self, tell: impl Fn(&mut dyn FnMut(&mut Monitor)) + Send + 'static) -> Result<JoinHandle<()>, String> {
        let witness = self.witness.clone();
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        spawn("witness", move || {
            for act in waiting.into_iter().flatten() {
                match act {
                    Act::Read => {
                        let mut word = Some(witness.read());
                        tell(&mut |monitor| word.take().into_iter().for_each(|word| monitor.read(now(), word)));
                    }
                    Act::Swap(asked) => {
                        let mut done = Some((witness.swap(asked.expected.as_ref(), &asked.new), asked));
                        tell(&mut |monitor| {
                            done.take().into_iter().for_each(|(done, asked)| monitor.swapped(now(), asked, done));
                        });
                    }
                    Act::StandDown(_) | Act::Resume | Act::TakeOver { .. } => {}
                }
            }
        })
    }
}
