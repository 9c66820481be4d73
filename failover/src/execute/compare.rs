//! Three ways to see what a run did: what was before, what it wrote, and what is there now; and who appeared meanwhile.

use std::collections::HashSet;

use super::find::{Wanted, many};
use super::journal::{Journal, Residents, State, StepId};
use super::standing::{Standing, standing};
use super::{Controllers, ExecuteError};
use crate::directory::{AttributeName, Dn, Domain, Filter, Scope, Search, Value, find_all};
use crate::plan::{Kind, Plan, PlannedChange};

/// One attribute of one object, three times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreeWay {
    /// The object as it was planned.
    pub object: Dn,
    /// What kind of change it was.
    pub kind: Kind,
    /// The attribute.
    pub attribute: AttributeName,
    /// Its values before the run, of those that the run was about.
    pub before: Vec<Value>,
    /// What the run wrote; `None` if it did not come to it.
    pub written: Option<Vec<Value>>,
    /// All its values now.
    pub now: Vec<Value>,
}

/// What a run did and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Attributes that are neither what they were before nor what the run wrote, or were written and changed back.
    pub differing: Vec<ThreeWay>,
    /// Objects that are as the run left them.
    pub as_written: usize,
    /// Objects that are as they were before it.
    pub as_before: usize,
    /// Objects that are gone.
    pub gone: Vec<Dn>,
    /// Mailboxes in the stores that took over which were not there before and which the run did not move: store and mailbox.
    pub appeared: Vec<(Dn, Dn)>,
}

/// Mailboxes that are in the stores that will take over: to be noted before a run, so that who comes later can be told.
///
/// # Errors
/// As the directory's searches.
pub fn residents(directory: &dyn Controllers, plan: &Plan) -> Result<Vec<Residents>, ExecuteError> {
    let mut all = Vec::new();
    for pair in &plan.pairs {
        let mailboxes: Vec<Value> = mailboxes_of(directory, plan, &pair.to)?.into_iter().map(|(_, guid)| guid).collect();
        if !mailboxes.is_empty() {
            all.push(Residents { store: pair.to.clone(), mailboxes });
        }
    }
    Ok(all)
}

/// Names and identities of what has its mailbox in a store, in the domains that the plan could read.
fn mailboxes_of(directory: &dyn Controllers, plan: &Plan, store: &Dn) -> Result<Vec<(Dn, Value)>, ExecuteError> {
    let mut found = Vec::new();
    let is_read = |domain: &&Domain| plan.missing.iter().all(|missing| missing.context != domain.context);
    for domain in plan.contexts.domains.iter().filter(is_read) {
        let filter = Filter::And(vec![Filter::class("user"), Filter::equal("homeMDB", store)]);
        let search =
            Search { base: domain.context.clone(), scope: Scope::Subtree, filter, attributes: vec!["objectGUID".into()] };
        let entries = find_all(directory, &search)?.into_iter();
        found.extend(entries.filter_map(|entry| Some((entry.dn.clone(), entry.value("objectGUID")?.clone()))));
    }
    Ok(found)
}

/// Compares what the journal says with what is there, at the controllers that were written to.
///
/// # Errors
/// As the directory's searches.
pub fn compare(journal: &Journal, directory: &dyn Controllers) -> Result<Comparison, ExecuteError> {
    let plan = journal.plan();
    let mut comparison = Comparison::default();
    let mut contexts: Vec<&Dn> = plan.changes.iter().map(|change| &change.context).collect();
    contexts.sort_by_key(|context| context.key());
    contexts.dedup();
    for context in contexts {
        let here: Vec<(usize, &PlannedChange)> =
            plan.changes.iter().enumerate().filter(|(_, change)| change.context == *context).collect();
        compare_in(context, &here, journal, directory, &mut comparison)?;
    }
    comparison.appeared = appeared(journal, directory)?;
    Ok(comparison)
}

fn compare_in(
    context: &Dn,
    here: &[(usize, &PlannedChange)],
    journal: &Journal,
    directory: &dyn Controllers,
    comparison: &mut Comparison,
) -> Result<(), ExecuteError> {
    let mut names: Vec<AttributeName> =
        here.iter().flat_map(|(_, change)| change.edits.iter().map(|edit| edit.attribute.clone())).collect();
    names.sort();
    names.dedup();
    let wanted: Vec<Wanted<'_>> =
        here.iter().map(|(_, change)| Wanted { object: &change.object, guid: change.guid.as_ref() }).collect();
    let written_at = journal.steps().writer(context).map(str::to_owned);
    let controller = written_at.map_or_else(|| directory.writer(context), Ok)?;
    let found = many(directory, &controller, context, &wanted, &names)?;
    for ((number, change), entry) in here.iter().zip(found) {
        let was_written = matches!(
            journal.steps().of(StepId::Change(*number)),
            State::Written { .. } | State::UndoIntended { .. } | State::UndoFailed(..)
        );
        match standing(&change.edits, entry.as_ref()) {
            Standing::Gone => comparison.gone.push(change.object.clone()),
            Standing::New => comparison.as_written += 1,
            Standing::Old if !was_written => comparison.as_before += 1,
            Standing::Old | Standing::Other(_) => comparison.differing.extend(change.edits.iter().map(|edit| ThreeWay {
                object: change.object.clone(),
                kind: change.kind,
                attribute: edit.attribute.clone(),
                before: edit.old.clone(),
                written: was_written.then(|| edit.new.clone()),
                now: entry.as_ref().map(|entry| entry.values(edit.attribute.as_str()).to_vec()).unwrap_or_default(),
            })),
        }
    }
    Ok(())
}

fn appeared(journal: &Journal, directory: &dyn Controllers) -> Result<Vec<(Dn, Dn)>, ExecuteError> {
    let plan = journal.plan();
    let moved: HashSet<&Value> = plan.changes.iter().filter_map(|change| change.guid.as_ref()).collect();
    let moved_names: HashSet<&Dn> = plan.changes.iter().map(|change| &change.object).collect();
    let before: HashSet<&Value> = journal.residents().iter().flat_map(|one| &one.mailboxes).collect();
    let mut appeared = Vec::new();
    for pair in &plan.pairs {
        for (name, guid) in mailboxes_of(directory, plan, &pair.to)? {
            if !moved.contains(&guid) && !moved_names.contains(&name) && !before.contains(&guid) {
                appeared.push((pair.to.clone(), name));
            }
        }
    }
    Ok(appeared)
}
