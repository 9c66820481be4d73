//! What should be right before a failover is needed, as far as the directory tells: each line ok, warn or fail, with how to mend it.

mod accounts;
mod forest;
mod storage;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

use crate::directory::Directory;
use crate::exchange::{Computer, ExchangeError, Server, Snapshot, duties, find_computer};
use crate::pairing::Rule;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// A failover works, but something will need a hand, or could not be seen.
    Warn,
    /// A failover does not work.
    Fail,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check, in a word or two; always the same.
    pub check: &'static str,
    /// How it ended.
    pub grade: Grade,
    /// What was seen.
    pub what: String,
    /// How to mend it; empty for what is right.
    pub mend: String,
}

impl Finding {
    /// One that is right.
    pub fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, grade: Grade::Ok, what: what.into(), mend: String::new() }
    }

    /// One that will need a hand.
    pub fn warn(check: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, grade: Grade::Warn, what: what.into(), mend: mend.into() }
    }

    /// One that hinders.
    pub fn fail(check: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, grade: Grade::Fail, what: what.into(), mend: mend.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grade = match self.grade {
            Grade::Ok => "ok",
            Grade::Warn => "warn",
            Grade::Fail => "FAIL",
        };
        write!(f, "{grade:<5} {}: {}", self.check, self.what)?;
        if self.mend.is_empty() { Ok(()) } else { write!(f, "; {}", self.mend) }
    }
}

/// Everything that the checks look at.
struct Facts<'a> {
    directory: &'a dyn Directory,
    snapshot: &'a Snapshot,
    source: Server,
    target: Server,
    computers: [Option<Computer>; 2],
    rules: &'a [Rule],
}

/// Runs all checks. Everything about hosts, disks and networks is somebody else's.
///
/// # Errors
/// Where the directory or one of the servers can not be read at all; single objects that can not are findings.
pub fn preflight(directory: &dyn Directory, source: &str, target: &str, rules: &[Rule]) -> Result<Vec<Finding>, ExchangeError> {
    let snapshot = Snapshot::read(directory)?;
    let (source, target) = (snapshot.server(source)?, snapshot.server(target)?);
    let mut findings = Vec::new();
    let mut computer = |server: &Server| match find_computer(directory, &snapshot.contexts.domains, server) {
        Ok(computer) => computer,
        Err(error) => {
            findings.push(Finding::fail("computer account", error.to_string(), "two accounts can not have the same names"));
            None
        }
    };
    let computers = [computer(&source), computer(&target)];
    let facts = Facts { directory, snapshot: &snapshot, source, target, computers, rules };
    findings.extend(facts.storage());
    findings.extend(facts.accounts());
    findings.extend(facts.forest());
    findings.push(facts.roles());
    Ok(findings)
}

impl Facts<'_> {
    fn servers(&self) -> [&Server; 2] {
        [&self.source, &self.target]
    }

    /// What has to move with the users; nothing is wrong with it.
    fn roles(&self) -> Finding {
        let duties = duties(self.snapshot, &self.source.dn);
        let list: Vec<String> = duties.iter().map(|(what, object)| format!("{what} {}", object.common_name())).collect();
        Finding::ok("roles", if list.is_empty() { "the source serves nothing else".to_owned() } else { list.join(", ") })
    }
}
