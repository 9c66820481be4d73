//! The journal of a run: its plan, then each step before it is asked for and what came of it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use standin_common::id::PointNumber;

use super::super::plan::{PLAN_SCHEMA, Plan, StepId};
use super::progress::Progress;
use crate::lines::{self, Lines, LinesError};

/// Which way a step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// As planned.
    Forward,
    /// Back to what was before.
    Back,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is done.
    Done {
        /// What there was to tell.
        told: Vec<String>,
        /// The recovery point that it was about.
        point: Option<PointNumber>,
        /// What a person should look at.
        #[serde(default)]
        by_hand: Vec<String>,
    },
    /// It is not.
    Failed {
        /// Why.
        why: String,
        /// Whether it is certain that nothing was changed.
        unchanged: bool,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Everything was done.
    Finished,
    /// Everything is as before.
    TakenBack,
    /// Another run went on from where it was.
    GivenOver,
}

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub enum Record {
    /// The first.
    Plan {
        /// When the run began, milliseconds since 1970.
        begun_unix_ms: u64,
        /// What is to be done.
        plan: Box<Plan>,
    },
    /// A step may have been asked for from here on.
    Begun {
        /// Which way.
        way: Way,
        /// Which.
        step: StepId,
        /// When.
        unix_ms: u64,
    },
    /// A step ended.
    Ended {
        /// Which way.
        way: Way,
        /// Which.
        step: StepId,
        /// When.
        unix_ms: u64,
        /// How.
        outcome: Outcome,
    },
    /// From here on it goes back.
    Turned {
        /// When.
        unix_ms: u64,
        /// Why.
        why: String,
    },
    /// The end of the run.
    Closed {
        /// When.
        unix_ms: u64,
        /// How.
        end: End,
    },
}

/// Where records are kept. Durable when `append` returns.
pub trait Keep {
    /// Appends a record.
    ///
    /// # Errors
    /// [`LinesError`]; nothing may be done after one.
    fn append(&mut self, record: &Record) -> Result<(), LinesError>;
}

impl Keep for Lines<Record> {
    fn append(&mut self, record: &Record) -> Result<(), LinesError> {
        Lines::append(self, record)
    }
}

/// A run's journal, open for going on.
#[derive(Debug)]
pub struct Journal<K> {
    keep: K,
    told: Told,
}

/// What a journal tells.
#[derive(Clone, Debug)]
pub struct Told {
    /// When the run began, milliseconds since 1970.
    pub begun_unix_ms: u64,
    /// What is to be done.
    pub plan: Plan,
    /// What was noted since, in order.
    pub records: Vec<Record>,
    /// What follows from that.
    pub progress: Progress,
}

impl Told {
    /// Reads a journal, which another may be writing.
    ///
    /// # Errors
    /// [`LinesError`].
    pub fn read(path: &Path) -> Result<Self, LinesError> {
        Self::of(path, lines::read(path)?.0)
    }

    fn of(path: &Path, records: Vec<Record>) -> Result<Self, LinesError> {
        let damaged = |line: usize, why: String| LinesError::Damaged { path: path.to_owned(), line, why };
        let mut records = records.into_iter();
        let Some(Record::Plan { begun_unix_ms, plan }) = records.next() else {
            return Err(damaged(1, "it does not begin with a plan".to_owned()));
        };
        if plan.schema != PLAN_SCHEMA {
            let why = format!(
                "its plan has form {}, and this program knows form {PLAN_SCHEMA}: use the version that wrote it",
                plan.schema
            );
            return Err(damaged(1, why));
        }
        if let Some(fault) = plan.fault() {
            return Err(damaged(1, fault));
        }
        let mut told = Self { begun_unix_ms, progress: Progress::new(&plan), plan: *plan, records: Vec::new() };
        for (number, record) in records.enumerate() {
            told.note(record).map_err(|why| damaged(number + 2, why))?;
        }
        Ok(told)
    }

    fn note(&mut self, record: Record) -> Result<(), String> {
        self.progress.note(&self.plan, &record)?;
        self.records.push(record);
        Ok(())
    }
}

impl Journal<Lines<Record>> {
    /// Begins a run: its plan is durable when this returns.
    ///
    /// # Errors
    /// [`LinesError`].
    pub fn begin(path: &Path, plan: Plan, begun_unix_ms: u64) -> Result<Self, LinesError> {
        let first = Record::Plan { begun_unix_ms, plan: Box::new(plan) };
        let told = Told::of(path, vec![first.clone()])?;
        Ok(Self { keep: Lines::create(path, &first)?, told })
    }

    /// Goes on with a run, whatever ended it.
    ///
    /// # Errors
    /// [`LinesError`].
    pub fn go_on(path: &Path) -> Result<Self, LinesError> {
        let (keep, records) = Lines::open(path)?;
        Ok(Self { keep, told: Told::of(path, records)? })
    }
}

impl<K: Keep> Journal<K> {
    /// Over records that are kept elsewhere, the first of which is the plan.
    ///
    /// # Errors
    /// As [`Told::read`].
    pub fn over(keep: K, records: Vec<Record>) -> Result<Self, LinesError> {
        Ok(Self { keep, told: Told::of(Path::new("journal"), records)? })
    }

    /// Appends a record; durable when this returns.
    ///
    /// # Errors
    /// [`LinesError`], for a record that may not come now, too.
    pub fn append(&mut self, record: Record) -> Result<(), LinesError> {
        let mut after = self.told.progress.clone();
        let illegal = |why| LinesError::Form { path: "journal".into(), why };
        after.note(&self.told.plan, &record).map_err(illegal)?;
        self.keep.append(&record)?;
        self.told.progress = after;
        self.told.records.push(record);
        Ok(())
    }

    /// Turns a run back that is not being carried out.
    ///
    /// # Errors
    /// [`LinesError`], if it can only go forward, too.
    pub fn turn(&mut self, unix_ms: u64, why: &str) -> Result<(), LinesError> {
        if self.told.progress.is_turned() {
            return Ok(());
        }
        self.append(Record::Turned { unix_ms, why: why.to_owned() })
    }

    /// What is to be done.
    pub fn plan(&self) -> &Plan {
        &self.told.plan
    }

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.told.progress
    }

    /// All that it tells.
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// How many steps were asked for.
    pub fn orders(&self) -> u64 {
        self.told.records.iter().filter(|record| matches!(record, Record::Begun { .. })).count() as u64
    }
}
