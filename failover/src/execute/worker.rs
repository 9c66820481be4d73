//! Steps on their way to the directory, several at once: each is driven to its verdict, the journal knows of each before and after.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

use super::attempt::{Attempt, Next, Verdict};
use super::find::look;
use super::journal::{Journal, JournalError, Outcome, Record, State, StepId, Trouble, Way};
use super::{Failure, Manner, Report, Tools};
use crate::directory::{DirectoryError, Dn, Modify, Rename, Value};
use crate::plan::{Edit, Plan};

/// Steps whose intention is made durable together.
const WINDOW: usize = 64;

/// A step with all that is needed to take it, in the direction in which it is taken.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) step: StepId,
    pub(super) way: Way,
    pub(super) context: Dn,
    pub(super) guid: Option<Value>,
    /// Old and new in the direction of the job.
    pub(super) edits: Vec<Edit>,
    pub(super) write: Write,
    /// Whether it may have been sent before.
    pub(super) intended: bool,
    /// Where the step that is being undone was written; empty if that is not known.
    pub(super) written_at: String,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Modify(Modify),
    Rename(Rename),
}

impl Job {
    /// A step of a plan; `None` if the plan has none of that number.
    pub(super) fn of(plan: &Plan, step: StepId, way: Way) -> Option<Self> {
        let turned = |edit: &Edit| match way {
            Way::Forward => edit.clone(),
            Way::Back => Edit { attribute: edit.attribute.clone(), old: edit.new.clone(), new: edit.old.clone() },
        };
        let (context, guid, edits, write) = match step {
            StepId::Change(number) => {
                let change = plan.changes.get(number)?;
                let modify = change.modify();
                let modify = if way == Way::Forward { modify } else { modify.inverse() };
                (&change.context, &change.guid, change.edits.iter().map(turned).collect(), Write::Modify(modify))
            }
            StepId::Rename(number) => {
                let planned = plan.renames.get(number)?;
                let rename = planned.rename();
                let rename = if way == Way::Forward { rename } else { rename.inverse() };
                (&planned.context, &planned.guid, Vec::new(), Write::Rename(rename))
            }
        };
        let (context, guid) = (context.clone(), guid.clone());
        Some(Self { step, way, context, guid, edits, write, intended: false, written_at: String::new() })
    }

    /// For random numbers that differ from step to step.
    fn seed(&self) -> u64 {
        let (StepId::Change(number) | StepId::Rename(number)) = self.step;
        (number as u64) << 1 | u64::from(matches!(self.step, StepId::Rename(_)))
    }
}

/// What a worker tells.
enum Told {
    Done(Box<Job>, Verdict, String),
    NotTried(StepId),
    Died(Box<dyn std::any::Any + Send>),
}

/// A run or an undo that is under way.
pub(super) struct Crew<'a> {
    pub(super) tools: &'a Tools<'a>,
    pub(super) journal: Mutex<&'a mut Journal>,
    pub(super) manner: Manner,
    pub(super) report: Report,
    pub(super) done: usize,
    pub(super) of: usize,
}

impl Crew<'_> {
    /// Takes all these steps, which do not depend on each other, `at_once` at a time.
    pub(super) fn take(&mut self, jobs: Vec<Job>, at_once: usize) -> Result<(), JournalError> {
        let halt = AtomicBool::new(false);
        let (give, queue) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel::<Told>();
        let queue = Mutex::new(queue);
        let (tools, journal, manner) = (self.tools, &self.journal, &self.manner);
        let mut ledger = Ledger { report: &mut self.report, tools, journal, done: &mut self.done, of: self.of };
        let driver = Driver { tools, journal, manner, away: Mutex::default() };
        let died = std::thread::scope(|scope| {
            for _ in 0..at_once.clamp(1, jobs.len().max(1)) {
                let (queue, tell, halt, driver) = (&queue, tell.clone(), &halt, &driver);
                scope.spawn(move || work(queue, &tell, halt, driver));
            }
            drop(tell);
            let ended = ledger.keep(jobs, &give, &told, &halt);
            drop(give);
            ended
        })?;
        match died {
            Some(panic) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }

    /// What the journal knows of a step.
    pub(super) fn state(&self, step: StepId) -> State {
        lock(&self.journal).steps().of(step).clone()
    }

    /// Whether nothing more is to be begun.
    pub(super) fn is_over(&self) -> bool {
        self.report.stopped.is_some()
    }

    /// Whether a context has no writer.
    pub(super) fn is_away(&self, context: &Dn) -> bool {
        self.report.away.iter().any(|(away, _)| away == context)
    }

    /// A step that is not sent, for this reason.
    pub(super) fn block(&mut self, step: StepId, way: Way, why: String) -> Result<(), JournalError> {
        let outcome = Outcome::Failed { trouble: Trouble::Blocked, why: why.clone() };
        lock(&self.journal).append(&Record::Result { way, step, outcome })?;
        self.report.failed.push(Failure { step, trouble: Trouble::Blocked, why });
        Ok(())
    }
}

/// What goes out and what comes back, on the thread that keeps the journal.
struct Ledger<'a, 'b> {
    report: &'a mut Report,
    tools: &'a Tools<'a>,
    journal: &'a Mutex<&'b mut Journal>,
    done: &'a mut usize,
    of: usize,
}

type Panic = Box<dyn std::any::Any + Send>;

impl Ledger<'_, '_> {
    fn keep(
        &mut self,
        jobs: Vec<Job>,
        give: &mpsc::Sender<Job>,
        told: &mpsc::Receiver<Told>,
        halt: &AtomicBool,
    ) -> Result<Option<Panic>, JournalError> {
        let mut jobs = jobs.into_iter().peekable();
        let mut out = 0;
        let mut failure = None;
        loop {
            if self.tools.interrupt.load(Ordering::Relaxed) {
                self.report.stopped.get_or_insert_with(|| "it was told to end".to_owned());
            }
            let open = failure.is_none() && self.report.stopped.is_none();
            halt.store(!open, Ordering::Relaxed);
            if open && out < WINDOW / 2 && jobs.peek().is_some() {
                let window: Vec<Job> = jobs.by_ref().take(WINDOW).collect();
                match self.send(window, give) {
                    Ok(sent) => out += sent,
                    Err(error) => failure = Some(error),
                }
            } else if out == 0 {
                break;
            } else {
                out -= 1;
                match told.recv() {
                    Ok(Told::Died(panic)) => return Ok(Some(panic)),
                    Ok(news) => failure = failure.or(self.note(news).err()),
                    Err(mpsc::RecvError) => break,
                }
            }
        }
        self.report.not_tried.extend(jobs.map(|job| job.step));
        failure.map_or(Ok(None), Err)
    }

    /// Makes the intention durable, then hands out the steps. Those of a context that has no writer are left for later.
    fn send(&mut self, window: Vec<Job>, give: &mpsc::Sender<Job>) -> Result<usize, JournalError> {
        let (left, window): (Vec<Job>, Vec<Job>) = window.into_iter().partition(|job| self.is_away(&job.context));
        self.report.not_tried.extend(left.iter().map(|job| job.step));
        let mut way = None;
        let mut steps = Vec::new();
        for job in &window {
            way = Some(job.way);
            steps.push(job.step);
        }
        let Some(way) = way else { return Ok(0) };
        let mut journal = lock(self.journal);
        journal.append(&Record::Intent { way, steps })?;
        journal.sync()?;
        drop(journal);
        let count = window.len();
        for job in window {
            // Workers end only when this sender is gone, or by a panic that is told.
            let _ = give.send(job);
        }
        Ok(count)
    }

    fn is_away(&self, context: &Dn) -> bool {
        self.report.away.iter().any(|(away, _)| away == context)
    }

    fn note(&mut self, news: Told) -> Result<(), JournalError> {
        let (job, verdict, at) = match news {
            Told::Done(job, verdict, at) => (job, verdict, at),
            Told::NotTried(step) => {
                self.report.not_tried.push(step);
                return Ok(());
            }
            Told::Died(_) => return Ok(()),
        };
        let outcome = match verdict {
            Verdict::Written => Outcome::Written { at },
            Verdict::Already if job.way == Way::Back && !job.written_at.is_empty() && job.written_at != at => {
                elsewhere(&job, &at)
            }
            Verdict::Already => Outcome::Already,
            Verdict::Failed(trouble, why) => Outcome::Failed { trouble, why },
            Verdict::InDoubt(why) => {
                self.report.in_doubt.push(job.step);
                if !self.is_away(&job.context) {
                    self.report.away.push((job.context.clone(), why));
                }
                return Ok(());
            }
            Verdict::Stopped(why) => {
                self.report.not_tried.push(job.step);
                self.report.stopped.get_or_insert(why);
                return Ok(());
            }
        };
        match &outcome {
            Outcome::Written { .. } => self.report.written += 1,
            Outcome::Already => self.report.already += 1,
            Outcome::Failed { trouble, why } => {
                self.report.failed.push(Failure { step: job.step, trouble: *trouble, why: why.clone() });
            }
        }
        *self.done += 1;
        (self.tools.progress)(*self.done, self.of);
        lock(self.journal).append(&Record::Result { way: job.way, step: job.step, outcome })
    }
}

/// What one controller wrote another may get later: that this one shows the old values proves nothing.
fn elsewhere(job: &Job, at: &str) -> Outcome {
    let why = format!(
        "{at} shows the old values, but the new ones were written at {}, which may still pass them on: undo it when that is back",
        job.written_at
    );
    Outcome::Failed { trouble: Trouble::Elsewhere, why }
}

/// A worker's life.
fn work(queue: &Mutex<mpsc::Receiver<Job>>, tell: &mpsc::Sender<Told>, halt: &AtomicBool, driver: &Driver<'_, '_>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let told = if halt.load(Ordering::Relaxed) || driver.is_away(&job.context) {
            Ok(Told::NotTried(job.step))
        } else {
            let driven = std::panic::catch_unwind(AssertUnwindSafe(|| driver.drive(&job)));
            driven.map(|(verdict, at)| Told::Done(Box::new(job), verdict, at))
        };
        let ends = told.is_err();
        // Nobody listens any more only when the run is over.
        let _ = tell.send(told.unwrap_or_else(Told::Died));
        if ends {
            return;
        }
    }
}

struct Driver<'a, 'b> {
    tools: &'a Tools<'a>,
    journal: &'a Mutex<&'b mut Journal>,
    manner: &'a Manner,
    /// Contexts that lost their writer while these steps were out: whoever waits for nothing need not wait as long again.
    away: Mutex<Vec<Dn>>,
}

impl Driver<'_, '_> {
    fn is_away(&self, context: &Dn) -> bool {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).contains(context)
    }

    /// Takes a step to its verdict. With it, the controller that was asked last.
    fn drive(&self, job: &Job) -> (Verdict, String) {
        let mut attempt = Attempt::new(self.manner, job.intended, job.seed());
        let mut next = attempt.begin();
        let mut at = String::new();
        loop {
            next = match next {
                Next::End(verdict) => {
                    if matches!(verdict, Verdict::InDoubt(_)) {
                        self.away.lock().unwrap_or_else(PoisonError::into_inner).push(job.context.clone());
                    }
                    return (verdict, at);
                }
                Next::Wait(_) if self.tools.interrupt.load(Ordering::Relaxed) => attempt.give_up(),
                Next::Wait(pause) => {
                    self.tools.clock.sleep(pause);
                    attempt.waited()
                }
                Next::OtherWriter => attempt.other_writer(self.switch(&job.context, &at)),
                Next::Write(name) => match self.tools.directory.writer(&job.context) {
                    Ok(writer) => {
                        at = writer;
                        attempt.wrote(self.write(job, name), self.tools.clock.now())
                    }
                    Err(error) => attempt.wrote(Err(error), self.tools.clock.now()),
                },
                Next::Read => {
                    let read = self.tools.directory.writer(&job.context).and_then(|writer| {
                        at = writer;
                        look(self.tools.directory, &at, job)
                    });
                    attempt.read(read, self.tools.clock.now())
                }
            };
        }
    }

    fn write(&self, job: &Job, name: Option<Dn>) -> Result<(), DirectoryError> {
        match &job.write {
            Write::Modify(modify) => match name {
                Some(dn) => self.tools.directory.modify(&Modify { dn, ..modify.clone() }),
                None => self.tools.directory.modify(modify),
            },
            Write::Rename(rename) => match name {
                Some(dn) => self.tools.directory.rename(&Rename { dn, ..rename.clone() }),
                None => self.tools.directory.rename(rename),
            },
        }
    }

    /// Lets another controller write the context, unless somebody has done so already.
    fn switch(&self, context: &Dn, lost: &str) -> Result<(), String> {
        // Held until all is done: one switch at a time, and the journal knows it before anybody tells a result.
        let mut journal = lock(self.journal);
        let directory = self.tools.directory;
        if directory.writer(context).is_ok_and(|now| now != lost) {
            return Ok(());
        }
        let mut why = format!("{lost} is lost, and no other controller holds {context}");
        for controller in directory.holders(context).into_iter().filter(|controller| controller != lost) {
            match directory.use_writer(context, &controller) {
                Ok(()) => {
                    tracing::warn!(%context, lost, %controller, "another controller is written to from here on");
                    let record = Record::Writer { context: context.clone(), controller };
                    return journal.append(&record).and_then(|()| journal.sync()).map_err(|error| error.to_string());
                }
                Err(error) => why = format!("{lost} is lost, and {error}"),
            }
        }
        Err(why)
    }
}

fn lock<'a, 'b>(journal: &'a Mutex<&'b mut Journal>) -> MutexGuard<'a, &'b mut Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}
