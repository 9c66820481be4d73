//! What the tested files use of the crate that they are part of, in the same places.

pub(crate) mod service;

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Online,
    Offline,
    Partly(String),
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Online => f.write_str("online"),
            Self::Offline => f.write_str("offline"),
            Self::Partly(how) => write!(f, "not well: {how}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) mend: String,
}

impl Trouble {
    pub(crate) fn new(what: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), mend: mend.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.what, self.why, self.mend)
    }
}

pub(crate) trait Step {
    fn deadline(&self) -> Instant;
    fn is_cancelled(&self) -> bool;
    fn tell(&self, line: fmt::Arguments<'_>);
}

/// A step of a run that never is.
pub(crate) struct TestStep {
    deadline: Instant,
    pub(crate) lines: Mutex<Vec<String>>,
}

impl TestStep {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { deadline: Instant::now() + limit, lines: Mutex::default() }
    }
}

impl Step for TestStep {
    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn tell(&self, line: fmt::Arguments<'_>) {
        println!("        {line}");
        self.lines.lock().unwrap().push(line.to_string());
    }
}
