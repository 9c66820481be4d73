//! Mailboxes and groups, in all domains of the forest.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Draft, PlanError, set};
use crate::directory::{AttributeName, Directory, DirectoryError, Dn, Domain, Entry, Filter, Scope, Search, Value};
use crate::exchange::{Generation, LegacyDn, Server, StoreKind};
use crate::plan::{Decision, Edit, Kind, MissingDomain, PlannedChange, Reference, Unpaired};

/// What is read of whoever names the server.
const ATTRIBUTES: &[&str] =
    &["objectClass", "objectGUID", "homeMDB", "homeMTA", "msExchHomeServerName", "msExchExpansionServerName", "mailNickname"];

impl Draft<'_> {
    /// Every mailbox of a paired store, and every group that the server expands; all else in the domains that names it is listed.
    pub(super) fn recipients(&mut self, directory: &dyn Directory, leave_groups: bool) -> Result<(), PlanError> {
        if self.from.generation == Generation::Ex2010 {
            return Ok(());
        }
        let mta = self
            .to
            .mta
            .clone()
            .ok_or_else(|| self.to.lacks("it has no message transfer agent (mTA object) for its mailboxes"))?;
        let mut judge = Judge::new(self, &mta, leave_groups);
        let filter = judge.filter();
        for domain in &self.snapshot.contexts.domains {
            match judge.read(directory, domain, &filter) {
                Ok(()) => {}
                Err(
                    error @ (DirectoryError::Unreachable { .. }
                    | DirectoryError::Busy { .. }
                    | DirectoryError::NoSuchObject { .. }),
                ) => {
                    judge.forget(&domain.context);
                    self.plan.missing.push(MissingDomain { context: domain.context.clone(), why: error.to_string() });
                }
                Err(error) => return Err(error.into()),
            }
        }
        let Judge { changes, references, counts, left, strangers, .. } = judge;
        for pair in &mut self.plan.pairs {
            pair.mailboxes = counts.get(&pair.from).copied().unwrap_or(0);
        }
        for (store, mailboxes) in left {
            match self.plan.unpaired.iter_mut().find(|unpaired| unpaired.store == store) {
                Some(unpaired) => unpaired.mailboxes = mailboxes,
                None => self.plan.unpaired.push(Unpaired { store, why: "no store pairs with it".to_owned(), mailboxes }),
            }
        }
        self.plan.changes.extend(changes);
        self.plan.references.extend(references);
        if let Some((count, example)) = strangers {
            let from = self.from.name.clone();
            self.warn(format!("{count} mailboxes of {from} named another server's transfer agent or home server, such as {example}; they will name the new one"));
        }
        Ok(())
    }
}

/// Decides about each object that names the server.
struct Judge<'a> {
    from: &'a Server,
    to: &'a Server,
    leave_groups: bool,
    /// Stores of `from` with their counterpart, where they have one.
    stores: HashMap<Dn, Option<Dn>>,
    /// Stores of `to` that take over: whose mailboxes may have been moved by half.
    taking: HashSet<Dn>,
    targets: HashMap<Dn, Value>,
    mta: Value,
    legacy: Value,
    reasons: HashMap<Dn, Arc<str>>,
    expansion: Arc<str>,
    pool: HashSet<Value>,
    changes: Vec<PlannedChange>,
    references: Vec<Reference>,
    counts: HashMap<Dn, u64>,
    /// Mailboxes of stores without a counterpart: only counted.
    left: BTreeMap<Dn, u64>,
    /// Mailboxes that named neither of the two servers where they should: how many, and one of them.
    strangers: Option<(u64, Dn)>,
}

impl<'a> Judge<'a> {
    fn new(draft: &Draft<'a>, mta: &Dn, leave_groups: bool) -> Self {
        let private = || draft.pairs.iter().filter(|(from, _)| from.kind == StoreKind::Private);
        let mut stores: HashMap<Dn, Option<Dn>> = draft.from.stores().map(|(_, store)| (store.dn.clone(), None)).collect();
        stores.extend(private().map(|(from, to)| (from.dn.clone(), Some(to.dn.clone()))));
        Self {
            from: draft.from,
            to: draft.to,
            leave_groups,
            stores,
            taking: private().map(|(_, to)| to.dn.clone()).collect(),
            targets: private().map(|(_, to)| (to.dn.clone(), Value::from(&to.dn))).collect(),
            mta: mta.into(),
            legacy: draft.to.legacy.as_str().into(),
            reasons: private()
                .map(|(from, to)| (from.dn.clone(), format!("mailbox of {}, which pairs with {}", from.name, to.name).into()))
                .collect(),
            expansion: format!("{} expanded it", draft.from.name).into(),
            pool: HashSet::new(),
            changes: Vec::new(),
            references: Vec::new(),
            counts: HashMap::new(),
            left: BTreeMap::new(),
            strangers: None,
        }
    }

    /// Everything that names the server, one of its stores, or its transfer agent.
    fn filter(&self) -> Filter {
        let legacy = self.from.legacy.as_str();
        let mut any: Vec<Filter> = self.stores.keys().map(|store| Filter::equal("homeMDB", Value::from(store))).collect();
        any.push(Filter::equal("msExchHomeServerName", legacy));
        any.push(Filter::equal("msExchExpansionServerName", legacy));
        any.extend(
            self.from
                .mta
                .iter()
                .filter(|mta| mta.is_beneath(&self.from.dn))
                .map(|mta| Filter::equal("homeMTA", Value::from(mta))),
        );
        Filter::Or(any)
    }

    fn read(&mut self, directory: &dyn Directory, domain: &Domain, filter: &Filter) -> Result<(), DirectoryError> {
        let search = Search {
            base: domain.context.clone(),
            scope: Scope::Subtree,
            filter: filter.clone(),
            attributes: ATTRIBUTES.iter().map(|name| AttributeName::new(name)).collect(),
        };
        directory.search(&search, &mut |entry| {
            self.judge(entry, &domain.context);
            ControlFlow::Continue(())
        })
    }

    /// Drops what was read of a domain that then failed: it is left as a whole.
    fn forget(&mut self, context: &Dn) {
        self.changes.retain(|change| change.context != *context);
        self.references.retain(|reference| !reference.object.is_within(context));
    }

    fn judge(&mut self, entry: Entry, context: &Dn) {
        let home = entry.dn_of("homeMDB");
        let is_half_moved = home.as_ref().is_some_and(|home| self.taking.contains(home));
        match home.as_ref().map(|home| (home, self.stores.get(home).cloned())) {
            Some((_, Some(_))) if !is_mailbox(&entry) => self.keep(&entry, "homeMDB", not_a_mailbox(&entry)),
            Some((home, Some(Some(to)))) => self.mailbox(&entry, context, home, &to),
            Some((home, Some(None))) => *self.left.entry(home.clone()).or_default() += 1,
            Some((home, None)) if is_half_moved && is_mailbox(&entry) => self.finish(&entry, context, home),
            _ => {
                for attribute in ["msExchHomeServerName", "homeMTA"] {
                    if self.names_source(&entry, attribute) {
                        self.keep(&entry, attribute, Decision::Unknown);
                    }
                }
            }
        }
        if self.names_source(&entry, "msExchExpansionServerName") {
            self.group(&entry, context);
        }
    }

    fn mailbox(&mut self, entry: &Entry, context: &Dn, from: &Dn, to: &Dn) {
        *self.counts.entry(from.clone()).or_default() += 1;
        let stranger = ["msExchHomeServerName", "homeMTA"].iter().any(|attribute| {
            entry.value(attribute).is_some() && !self.names_source(entry, attribute) && !self.names_target(entry, attribute)
        });
        if stranger {
            let (count, example) = self.strangers.take().unwrap_or((0, entry.dn.clone()));
            self.strangers = Some((count + 1, example));
        }
        let reason = self.reasons.get(from).cloned().unwrap_or_else(|| "mailbox of a paired store".into());
        self.rehome(entry, context, to, reason);
    }

    /// A mailbox that some tool moved by half: the store is the new one, the server still the old one.
    fn finish(&mut self, entry: &Entry, context: &Dn, store: &Dn) {
        self.rehome(entry, context, store, "a former run moved it by half".into());
    }

    fn rehome(&mut self, entry: &Entry, context: &Dn, store: &Dn, reason: Arc<str>) {
        let store = self.targets.get(store).cloned().unwrap_or_else(|| Value::from(store));
        let edits = [("homeMDB", &store), ("homeMTA", &self.mta), ("msExchHomeServerName", &self.legacy)];
        let edits: Vec<Edit> = edits.into_iter().filter_map(|(attribute, new)| set(entry, attribute, new)).collect();
        self.change(entry, context, Kind::Mailbox, edits, reason);
    }

    fn group(&mut self, entry: &Entry, context: &Dn) {
        if self.leave_groups {
            return self.keep(
                entry,
                "msExchExpansionServerName",
                Decision::Left("it was the target's before the failover".into()),
            );
        }
        let edits = set(entry, "msExchExpansionServerName", &self.legacy).into_iter().collect();
        self.change(entry, context, Kind::ExpansionServer, edits, self.expansion.clone());
    }

    fn change(&mut self, entry: &Entry, context: &Dn, kind: Kind, mut edits: Vec<Edit>, reason: Arc<str>) {
        if edits.is_empty() {
            return;
        }
        // What thousands of mailboxes have in common is kept once.
        for old in edits.iter_mut().flat_map(|edit| edit.old.iter_mut()) {
            match self.pool.get(old) {
                Some(known) => *old = known.clone(),
                None => drop(self.pool.insert(old.clone())),
            }
        }
        let guid = entry.value("objectGUID").cloned();
        self.changes.push(PlannedChange { object: entry.dn.clone(), guid, context: context.clone(), kind, edits, reason });
    }

    fn keep(&mut self, entry: &Entry, attribute: &str, decision: Decision) {
        for value in entry.values(attribute) {
            self.references.push(Reference {
                object: entry.dn.clone(),
                attribute: attribute.into(),
                value: value.clone(),
                decision: decision.clone(),
            });
        }
    }

    fn names_source(&self, entry: &Entry, attribute: &str) -> bool {
        names(entry, attribute, self.from)
    }

    fn names_target(&self, entry: &Entry, attribute: &str) -> bool {
        names(entry, attribute, self.to)
    }
}

/// Whether a string or reference of the object names the server or its transfer agent.
fn names(entry: &Entry, attribute: &str, server: &Server) -> bool {
    entry.values(attribute).iter().any(|value| {
        let text = value.as_text().unwrap_or_default();
        if text.starts_with('/') {
            return LegacyDn::parse(text).is_some_and(|name| name == server.legacy);
        }
        value.as_dn().is_some_and(|dn| Some(&dn) == server.mta.as_ref())
    })
}

/// A user with a mailbox; not what the server itself keeps for its work.
fn is_mailbox(entry: &Entry) -> bool {
    entry.is_of_class("user") && !entry.is_of_class("computer") && !is_system_mailbox(entry)
}

fn is_system_mailbox(entry: &Entry) -> bool {
    entry.dn.common_name().to_lowercase().starts_with("systemmailbox{")
}

fn not_a_mailbox(entry: &Entry) -> Decision {
    if is_system_mailbox(entry) {
        return Decision::Left("the store's own system mailbox, named after its GUID".into());
    }
    Decision::Unknown
}
