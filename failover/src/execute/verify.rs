//! Reading back: every controller that holds a naming context is asked until all agree with the journal, or the time is up.

use std::time::Duration;

use super::find::{Wanted, many};
use super::journal::{Journal, State, StepId};
use super::standing::{Standing, standing};
use super::{ExecuteError, Tools};
use crate::directory::{AttributeName, Dn};
use crate::plan::{Edit, Plan, PlannedChange};

/// What one controller shows of what a run wrote in one naming context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convergence {
    /// The naming context.
    pub context: Dn,
    /// The controller.
    pub controller: String,
    /// Whether it is the one that was written to.
    pub is_writer: bool,
    /// Objects that it shows as they should be.
    pub agrees: usize,
    /// Objects that it shows otherwise, and how.
    pub behind: Vec<(Dn, String)>,
    /// Why it could not be asked, the last time.
    pub away: Option<String>,
}

impl Convergence {
    /// Whether it shows everything as it should be.
    pub fn is_complete(&self) -> bool {
        self.behind.is_empty() && self.away.is_none()
    }
}

/// What is expected of an object: the values that its step leaves.
struct Expected<'a> {
    change: &'a PlannedChange,
    edits: Vec<Edit>,
}

/// Asks every controller until all show what the journal says was done or undone, for at most `limit`. Changes only: a rename shows in
/// the names of what is changed beneath it.
///
/// # Errors
/// [`ExecuteError::Directory`] where the forest itself cannot be asked.
pub fn verify(journal: &Journal, tools: &Tools<'_>, limit: Duration) -> Result<Vec<Convergence>, ExecuteError> {
    let expected = expected(journal.plan(), journal);
    let mut contexts: Vec<&Dn> = expected.iter().map(|one| &one.change.context).collect();
    contexts.sort_by_key(|context| context.key());
    contexts.dedup();
    let begun = tools.clock.now();
    let mut shown = Vec::new();
    for context in contexts {
        let here: Vec<&Expected<'_>> = expected.iter().filter(|one| one.change.context == *context).collect();
        let written_at = journal.steps().writer(context).map(str::to_owned);
        let writer = written_at.or_else(|| tools.directory.writer(context).ok());
        for controller in tools.directory.holders(context) {
            let mut one = Convergence {
                context: context.clone(),
                is_writer: writer.as_ref() == Some(&controller),
                controller,
                agrees: 0,
                behind: Vec::new(),
                away: None,
            };
            let mut open = here.clone();
            loop {
                open = ask(&mut one, tools, open);
                if one.is_complete() || tools.clock.now().saturating_sub(begun) >= limit {
                    break;
                }
                tools.clock.sleep(Duration::from_millis(500));
            }
            shown.push(one);
        }
    }
    Ok(shown)
}

/// Asks for what is open, and gives what still is.
fn ask<'a>(one: &mut Convergence, tools: &Tools<'_>, open: Vec<&'a Expected<'a>>) -> Vec<&'a Expected<'a>> {
    let mut names: Vec<AttributeName> = open.iter().flat_map(|one| one.edits.iter().map(|edit| edit.attribute.clone())).collect();
    names.sort();
    names.dedup();
    let wanted: Vec<Wanted<'_>> =
        open.iter().map(|one| Wanted { object: &one.change.object, guid: one.change.guid.as_ref() }).collect();
    let found = match many(tools.directory, &one.controller, &one.context, &wanted, &names) {
        Ok(found) => found,
        Err(error) => {
            one.away = Some(error.to_string());
            return open;
        }
    };
    one.away = None;
    one.behind.clear();
    let mut left = Vec::new();
    for (expected, entry) in open.into_iter().zip(found) {
        let why = match standing(&expected.edits, entry.as_ref()) {
            Standing::New => {
                one.agrees += 1;
                continue;
            }
            Standing::Old => "it still has the values from before".to_owned(),
            Standing::Gone => "it is not there".to_owned(),
            Standing::Other(why) => why,
        };
        one.behind.push((expected.change.object.clone(), why));
        left.push(expected);
    }
    left
}

fn expected<'a>(plan: &'a Plan, journal: &Journal) -> Vec<Expected<'a>> {
    let of = |(number, change): (usize, &'a PlannedChange)| match journal.steps().of(StepId::Change(number)) {
        State::Written { .. } | State::Already => Some(Expected { change, edits: change.edits.clone() }),
        State::Undone => {
            let back = |edit: &Edit| Edit { attribute: edit.attribute.clone(), old: edit.new.clone(), new: edit.old.clone() };
            Some(Expected { change, edits: change.edits.iter().map(back).collect() })
        }
        _ => None,
    };
    plan.changes.iter().enumerate().filter_map(of).collect()
}
