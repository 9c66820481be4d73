//! Making a plan: read once, decide purely.
//!
//! The rows of the table of changes are in the files beside this one, by what they are about.

mod database;
mod folders;
mod recipients;
mod recorded;
mod references;
mod routing;
mod service_names;
mod stores;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{Action, Asked, Edit, Kind, Plan, PlannedChange};
use crate::directory::{Directory, DirectoryError, Dn, Entry, Value};
use crate::exchange::{Computer, ExchangeError, Generation, MailStore, Server, Snapshot, find_computer};
use crate::pairing::{Refused, Rule};

/// What is asked of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Take the users back to the source, not to the target.
    pub failback: bool,
    /// The original source, in both directions.
    pub source: String,
    /// The original target, in both directions.
    pub target: String,
    /// Rules of pairing, from the original source to the original target in both directions; none pairs by file name.
    pub rules: Vec<Rule>,
    /// Only what must be before the stores are started.
    pub setup_only: bool,
    /// Leave the Recipient Update Services alone.
    pub leave_update_service: bool,
    /// Leave service principal names alone.
    pub leave_service_names: bool,
    /// Leave connectors alone.
    pub leave_connectors: bool,
    /// Put each of the two servers into the other's routing group.
    pub swap_routing_groups: bool,
    /// Move HOST names, too.
    pub move_host_names: bool,
    /// Stores without a counterpart are meant to stay.
    pub leave_unpaired: bool,
    /// The name of the public store that takes the place of the source's where the target has none.
    pub default_public_store: Option<String>,
}

/// Why there is no plan. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The directory, or Exchange in it.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The stores can not be paired.
    #[error(transparent)]
    Pairing(#[from] Refused),
    /// Stores would be left behind, and nobody said that this is meant.
    #[error("stores without a counterpart: {}; pair them with -r, or say --leave-unpaired if they are meant to stay", .0.join("; "))]
    Unpaired(Vec<String>),
    /// It would not be right.
    #[error("{0}")]
    Refused(String),
}

impl From<DirectoryError> for PlanError {
    fn from(error: DirectoryError) -> Self {
        Self::Exchange(error.into())
    }
}

/// Makes a plan from one look at the directory.
///
/// For a failback, `recorded` is the plan of the failover that was carried out: then what it changed in the configuration is taken back
/// exactly, and what was the target's own before stays the target's. Without it everything that names the target is taken to be the source's.
///
/// # Errors
/// Any [`PlanError`].
pub fn build(directory: &dyn Directory, options: &PlanOptions, recorded: Option<&Plan>) -> Result<Plan, PlanError> {
    let snapshot = Snapshot::read(directory)?;
    let (source, target) = (snapshot.server(&options.source)?, snapshot.server(&options.target)?);
    are_alike(&source, &target)?;
    let (from, to) = if options.failback { (&target, &source) } else { (&source, &target) };
    let mut draft = Draft::new(&snapshot, options, from, to);
    if from.generation == Generation::Ex2010 {
        draft.databases()?;
    } else {
        draft.default_public_store()?;
        draft.pair(&source, &target)?;
        draft.overwrite_flags();
    }
    if options.setup_only {
        return Ok(draft.plan);
    }
    match recorded.filter(|_| options.failback) {
        Some(recorded) => draft.take_back(directory, recorded)?,
        None => draft.configuration(),
    }
    draft.recipients(directory, recorded.is_some() && options.failback)?;
    if !options.leave_service_names {
        let computers = draft.computers(directory)?;
        draft.service_names(directory, &source, computers)?;
    }
    draft.references();
    Ok(draft.plan)
}

fn are_alike(source: &Server, target: &Server) -> Result<(), PlanError> {
    if source.dn == target.dn {
        return Err(PlanError::Refused(format!("source and target are the same server, {}", source.name)));
    }
    if source.generation != target.generation {
        return Err(PlanError::Refused(format!(
            "{} runs {} and {} runs {}: their databases can not be opened by each other",
            source.name, source.version, target.name, target.version
        )));
    }
    Ok(())
}

/// A plan in the making.
struct Draft<'a> {
    snapshot: &'a Snapshot,
    options: &'a PlanOptions,
    from: &'a Server,
    to: &'a Server,
    /// Stores that take each other's place, of `from` and of `to`.
    pairs: Vec<(&'a MailStore, &'a MailStore)>,
    plan: Plan,
}

impl<'a> Draft<'a> {
    fn new(snapshot: &'a Snapshot, options: &'a PlanOptions, from: &'a Server, to: &'a Server) -> Self {
        let action = if options.failback { Action::Failback } else { Action::Failover };
        let asked = Asked {
            action,
            from: from.name.clone(),
            to: to.name.clone(),
            rules: options.rules.iter().map(ToString::to_string).collect(),
            options: options.words(),
        };
        let plan = Plan::new(asked, snapshot.contexts.clone());
        let mut draft = Self { snapshot, options, from, to, pairs: Vec::new(), plan };
        if from.version != to.version {
            draft.warn(format!(
                "{} runs {}, {} runs {}: service packs should be the same",
                from.name, from.version, to.name, to.version
            ));
        }
        draft
    }

    fn warn(&mut self, text: String) {
        self.plan.warnings.push(text);
    }

    /// Takes a change of an object of the configuration into the plan, if there is anything to change.
    fn change(&mut self, entry: &Entry, kind: Kind, edits: impl IntoIterator<Item = Option<Edit>>, reason: impl Into<Arc<str>>) {
        let edits: Vec<Edit> = edits.into_iter().flatten().collect();
        if edits.is_empty() {
            return;
        }
        self.plan.changes.push(PlannedChange {
            object: entry.dn.clone(),
            guid: entry.value("objectGUID").cloned(),
            context: self.snapshot.contexts.of(&entry.dn).unwrap_or(&self.snapshot.contexts.configuration).clone(),
            kind,
            edits,
            reason: reason.into(),
        });
    }

    /// Everything of the configuration that names the one and should name the other.
    fn configuration(&mut self) {
        if self.options.failback {
            let name = self.from.name.clone();
            self.warn(format!(
                "no record of the failover is known: all that names {name} in the configuration is taken to be the source's"
            ));
        }
        self.routing_masters();
        if self.options.swap_routing_groups {
            self.swap_routing_groups();
        }
        if !self.options.leave_connectors {
            self.connectors();
        }
        if !self.options.leave_update_service {
            self.update_services();
        }
        self.address_books();
        self.site_folders();
        self.public_stores();
        self.folder_tree();
    }

    fn computers(&mut self, directory: &dyn Directory) -> Result<Computers, PlanError> {
        let domains = &self.snapshot.contexts.domains;
        Ok(Computers { from: find_computer(directory, domains, self.from)?, to: find_computer(directory, domains, self.to)? })
    }
}

/// The computer accounts of the two servers.
struct Computers {
    from: Option<Computer>,
    to: Option<Computer>,
}

impl PlanOptions {
    /// As the options would be written.
    fn words(&self) -> Vec<String> {
        let flags = [
            (self.setup_only, "-setup"),
            (self.leave_update_service, "-norus"),
            (self.leave_service_names, "-nospn"),
            (self.leave_connectors, "--no-connectors"),
            (self.swap_routing_groups, "--swap-routing-groups"),
            (self.move_host_names, "--move-host-spn"),
            (self.leave_unpaired, "--leave-unpaired"),
        ];
        let mut words: Vec<String> = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| (*word).to_owned()).collect();
        words.extend(self.default_public_store.iter().map(|store| format!("--default-public-store {store}")));
        words
    }
}

/// The edit that puts `to` in the place of `from` among the values of an attribute; `None` where `from` is not among them.
fn replaced(entry: &Entry, attribute: &str, from: &Dn, to: &Dn) -> Option<Edit> {
    let values = entry.values(attribute);
    let is = |value: &&Value, dn: &Dn| value.as_dn().as_ref() == Some(dn);
    let old = values.iter().find(|value| is(value, from))?.clone();
    let new = if values.iter().any(|value| is(&value, to)) { Vec::new() } else { vec![Value::from(to)] };
    Some(Edit { attribute: attribute.into(), old: vec![old], new })
}

/// The edit that gives an attribute of one value this one; `None` where it has it.
fn set(entry: &Entry, attribute: &str, new: &Value) -> Option<Edit> {
    let old = entry.values(attribute);
    let name = attribute.into();
    if old.len() == 1 && crate::directory::filter::same_value(&name, old[0].as_bytes(), new.as_bytes()) {
        return None;
    }
    Some(Edit { attribute: name, old: old.to_vec(), new: vec![new.clone()] })
}
