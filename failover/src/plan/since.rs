//! What became of a plan after it was carried out: of each value that is not as it was written, what it was before, what was written,
//! and what it is now; and who came meanwhile.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use serde::Serialize;

use super::{Edit, Kind, Plan, PlannedChange};
use crate::directory::filter::same_value;
use crate::directory::{AttributeName, Directory, DirectoryError, Dn, Entry, Filter, Scope, Search, Value, read};

/// A value that is not as the plan wrote it, three ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// The object.
    pub object: Dn,
    /// The attribute.
    pub attribute: AttributeName,
    /// What it was before.
    pub before: Vec<Value>,
    /// What was written.
    pub written: Vec<Value>,
    /// What it is now; all values. `None` where the object is gone.
    pub now: Option<Vec<Value>>,
}

/// What happened since a plan was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Since {
    /// Values that somebody changed, in the order of the plan.
    pub drifts: Vec<Drift>,
    /// Users of the stores that took over, of whom the plan does not know.
    pub appeared: Vec<Dn>,
}

/// Compares a plan with the directory as it is.
///
/// # Errors
/// Those of the directory.
pub fn since(directory: &dyn Directory, plan: &Plan) -> Result<Since, DirectoryError> {
    let attributes = attributes(plan);
    let mut known: HashMap<Dn, Entry> = HashMap::new();
    let mut found = Since::default();
    let planned: HashMap<&Dn, &PlannedChange> =
        plan.changes.iter().filter(|change| change.kind == Kind::Mailbox).map(|change| (&change.object, change)).collect();
    for domain in &plan.contexts.domains {
        let search =
            Search { base: domain.context.clone(), scope: Scope::Subtree, filter: users(plan), attributes: attributes.clone() };
        directory.search(&search, &mut |entry| {
            if planned.contains_key(&entry.dn) {
                known.insert(entry.dn.clone(), entry);
            } else if is_new(plan, &entry) {
                found.appeared.push(entry.dn);
            }
            ControlFlow::Continue(())
        })?;
    }
    for change in &plan.changes {
        let now = match known.remove(&change.object) {
            Some(entry) => Some(entry),
            // Not in any of the stores, or no mailbox.
            None => read(directory, &change.object, &attributes)?,
        };
        let drifted = change.edits.iter().filter(|edit| !now.as_ref().is_some_and(|entry| is_as_written(entry, edit)));
        found.drifts.extend(drifted.map(|edit| Drift {
            object: change.object.clone(),
            attribute: edit.attribute.clone(),
            before: edit.old.clone(),
            written: edit.new.clone(),
            now: now.as_ref().map(|entry| entry.values(edit.attribute.as_str()).to_vec()),
        }));
    }
    found.appeared.sort();
    Ok(found)
}

fn attributes(plan: &Plan) -> Vec<AttributeName> {
    let names: BTreeSet<AttributeName> =
        plan.changes.iter().flat_map(|change| &change.edits).map(|edit| edit.attribute.clone()).collect();
    names.into_iter().chain(["objectClass".into(), "homeMDB".into()]).collect()
}

/// Users of all stores of the plan, so that nearly all mailboxes come with one search.
fn users(plan: &Plan) -> Filter {
    let stores =
        plan.pairs.iter().flat_map(|pair| [&pair.from, &pair.to]).map(|store| Filter::equal("homeMDB", Value::from(store)));
    Filter::And(vec![Filter::class("user"), Filter::Or(stores.collect())])
}

fn is_new(plan: &Plan, entry: &Entry) -> bool {
    let store = entry.dn_of("homeMDB");
    let is_system = entry.dn.common_name().to_lowercase().starts_with("systemmailbox{");
    !is_system && plan.pairs.iter().any(|pair| pair.from != pair.to && Some(&pair.to) == store.as_ref())
}

/// What came is there, and what went is not.
fn is_as_written(entry: &Entry, edit: &Edit) -> bool {
    let has = |value: &Value| {
        let values = entry.values(edit.attribute.as_str()).iter();
        values.into_iter().any(|found| same_value(&edit.attribute, found.as_bytes(), value.as_bytes()))
    };
    edit.new.iter().all(has) && !edit.old.iter().any(has)
}
