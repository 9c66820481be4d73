//! Finding the objects of steps again, at one controller, under whatever name they have now.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::Controllers;
use super::standing::{Standing, standing};
use super::worker::{Job, Write};
use crate::directory::{AttributeName, DirectoryError, Dn, Entry, Filter, Scope, Search, Value};

/// Objects asked for in one search: their identities make a filter of a few kilobytes.
const AT_ONCE: usize = 50;

/// All that one controller finds.
pub(super) fn all_at(directory: &dyn Controllers, controller: &str, search: &Search) -> Result<Vec<Entry>, DirectoryError> {
    let mut found = Vec::new();
    let mut keep = |entry| {
        found.push(entry);
        ControlFlow::Continue(())
    };
    match directory.search_at(controller, search, &mut keep) {
        Ok(()) => Ok(found),
        Err(DirectoryError::NoSuchObject { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// How the object of a step stands at a controller, and its name if that is another than planned.
pub(super) fn look(directory: &dyn Controllers, controller: &str, job: &Job) -> Result<(Standing, Option<Dn>), DirectoryError> {
    match &job.write {
        Write::Modify(modify) => {
            let names: Vec<AttributeName> = job.edits.iter().map(|edit| edit.attribute.clone()).collect();
            if let Some(entry) = all_at(directory, controller, &base(&modify.dn, &names))?.pop() {
                return Ok((standing(&job.edits, Some(&entry)), None));
            }
            let found = by_guid(directory, controller, job, &names)?;
            let name = found.as_ref().map(|entry| entry.dn.clone());
            Ok((standing(&job.edits, found.as_ref()), name))
        }
        Write::Rename(rename) => {
            let named = [AttributeName::new("cn")];
            let at = |dn: &Dn| all_at(directory, controller, &base(dn, &named)).map(|mut found| found.pop());
            let now = match by_guid(directory, controller, job, &named)? {
                Some(entry) => Some(entry),
                None => at(&rename.dn)?.or(at(&rename.renamed())?),
            };
            let name = now.as_ref().map(|entry| entry.dn.clone()).filter(|now| *now != rename.dn);
            Ok((renamed(now.map(|entry| entry.dn), &rename.dn, &rename.renamed()), name))
        }
    }
}

/// The object's own name counts: what it lies in may have got another name, too.
fn renamed(now: Option<Dn>, old: &Dn, new: &Dn) -> Standing {
    let named_like = |one: &Dn, other: &Dn| match (one.name(), other.name()) {
        (Some(one), Some(other)) => Dn::root().child(&one) == Dn::root().child(&other),
        _ => false,
    };
    match now {
        None => Standing::Gone,
        Some(now) if named_like(&now, new) => Standing::New,
        Some(now) if named_like(&now, old) => Standing::Old,
        Some(now) => Standing::Other(format!("it is {now} now")),
    }
}

fn base(dn: &Dn, attributes: &[AttributeName]) -> Search {
    let filter = Filter::Present("objectClass".into());
    Search { base: dn.clone(), scope: Scope::Base, filter, attributes: attributes.to_vec() }
}

fn by_guid(
    directory: &dyn Controllers,
    controller: &str,
    job: &Job,
    attributes: &[AttributeName],
) -> Result<Option<Entry>, DirectoryError> {
    let Some(guid) = &job.guid else { return Ok(None) };
    let filter = Filter::equal("objectGUID", guid.clone());
    let search = Search { base: job.context.clone(), scope: Scope::Subtree, filter, attributes: attributes.to_vec() };
    Ok(all_at(directory, controller, &search)?.pop())
}

/// An object to find: its name, and its identity if that is known.
pub(super) struct Wanted<'a> {
    pub(super) object: &'a Dn,
    pub(super) guid: Option<&'a Value>,
}

/// Many objects of one naming context at one controller, in the order asked; `None` for one that is not there.
pub(super) fn many(
    directory: &dyn Controllers,
    controller: &str,
    context: &Dn,
    wanted: &[Wanted<'_>],
    attributes: &[AttributeName],
) -> Result<Vec<Option<Entry>>, DirectoryError> {
    let mut found: Vec<Option<Entry>> = Vec::new();
    for some in wanted.chunks(AT_ONCE) {
        let known = some.iter().filter_map(|one| one.guid);
        let filter = Filter::Or(known.map(|guid| Filter::equal("objectGUID", guid.clone())).collect());
        let names = attributes.iter().cloned().chain([AttributeName::new("objectGUID")]).collect();
        let search = Search { base: context.clone(), scope: Scope::Subtree, filter, attributes: names };
        let mut entries: HashMap<Value, Entry> = HashMap::new();
        if some.iter().any(|one| one.guid.is_some()) {
            let all = all_at(directory, controller, &search)?.into_iter();
            entries.extend(all.filter_map(|entry| Some((entry.value("objectGUID")?.clone(), entry))));
        }
        for one in some {
            found.push(match one.guid {
                // The same object may be asked for more than once: several steps may be about it.
                Some(guid) => entries.get(guid).cloned(),
                None => all_at(directory, controller, &base(one.object, attributes))?.pop(),
            });
        }
    }
    Ok(found)
}
