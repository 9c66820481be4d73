//! Service principal names: taken off one computer account, then given to the other, as no directory lets two have the same.

use std::ops::ControlFlow;

use super::{Computers, Draft, PlanError};
use crate::directory::{AttributeName, Directory, DirectoryError, Dn, Filter, Scope, Search, Value};
use crate::exchange::{Computer, Server};
use crate::plan::{Edit, Kind, PlannedChange};

/// The services whose names follow the mailboxes. `exchangeAB` is a global catalogue's and stays.
const SERVICES: &[&str] = &["exchangeMDB", "exchangeRFR", "SMTPSVC", "SMTP"];

impl Draft<'_> {
    /// Moves the names under which the original source is known.
    pub(super) fn service_names(
        &mut self,
        directory: &dyn Directory,
        source: &Server,
        computers: Computers,
    ) -> Result<(), PlanError> {
        let Computers { from, to } = computers;
        let (Some(from), Some(to)) = (from, to) else {
            self.warn(format!(
                "service principal names stay as they are: {} and {} do not both have a computer account",
                self.from.name, self.to.name
            ));
            return Ok(());
        };
        if from.dn == to.dn {
            return Ok(());
        }
        // Names of HOST on the stand-in can only come from a failover that moved them.
        let with_host = self.options.move_host_names || self.options.failback;
        let wanted = names(source, if self.options.failback { &to } else { &from }, with_host);
        let moving: Vec<Value> = from.service_names.iter().filter(|name| is_among(name, &wanted)).cloned().collect();
        let held = self.held_by_others(directory, &moving, [&from.dn, &to.dn])?;
        for (name, holder) in &held {
            self.warn(format!(
                "{holder} has the service principal name {name}, too: it is taken off {}, and not given to {}",
                from.dn, to.dn
            ));
        }
        let is_free = |name: &&Value| !is_among(name, &texts(&to.service_names)) && !held.iter().any(|(other, _)| other == *name);
        let coming: Vec<Value> = moving.iter().filter(is_free).cloned().collect();
        if moving.is_empty() {
            self.warn(format!("{} has none of the service principal names of {}", from.dn, source.name));
        }
        self.service_name_change(&from, Kind::ServiceNamesOff, moving, Vec::new());
        self.service_name_change(&to, Kind::ServiceNamesOn, Vec::new(), coming);
        Ok(())
    }

    fn service_name_change(&mut self, computer: &Computer, kind: Kind, old: Vec<Value>, new: Vec<Value>) {
        if old.is_empty() && new.is_empty() {
            return;
        }
        self.plan.changes.push(PlannedChange {
            object: computer.dn.clone(),
            guid: computer.guid.clone(),
            context: computer.context.clone(),
            kind,
            edits: vec![Edit { attribute: "servicePrincipalName".into(), old, new }],
            reason: "clients ask for tickets of these names".into(),
        });
    }

    /// Accounts of the forest, other than the two, that hold one of the names.
    ///
    /// A domain that does not answer is told and passed over: should one of its accounts have a name, the
    /// directory refuses to give it to another.
    fn held_by_others(
        &mut self,
        directory: &dyn Directory,
        names: &[Value],
        two: [&Dn; 2],
    ) -> Result<Vec<(Value, Dn)>, PlanError> {
        let mut held = Vec::new();
        if names.is_empty() {
            return Ok(held);
        }
        let filter = Filter::Or(names.iter().map(|name| Filter::equal("servicePrincipalName", name.clone())).collect());
        for domain in &self.snapshot.contexts.domains {
            let search = Search {
                base: domain.context.clone(),
                scope: Scope::Subtree,
                filter: filter.clone(),
                attributes: vec![AttributeName::new("servicePrincipalName")],
            };
            let result = directory.search(&search, &mut |entry| {
                if !two.contains(&&entry.dn) {
                    let theirs = texts(entry.values("servicePrincipalName"));
                    held.extend(names.iter().filter(|name| is_among(name, &theirs)).map(|name| (name.clone(), entry.dn.clone())));
                }
                ControlFlow::Continue(())
            });
            match result {
                Ok(()) => {}
                Err(error) if error.is_worth_a_retry() || matches!(error, DirectoryError::NoSuchObject { .. }) => {
                    self.warn(format!(
                        "accounts of {} were not searched for the service principal names: {error}",
                        domain.dns_name
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(held)
    }
}

/// The names of the server's services, folded.
fn names(server: &Server, computer: &Computer, with_host: bool) -> Vec<String> {
    // An account of another name is a node's, under which a virtual server runs: the node's own names stay.
    let is_own = |host: &&String| host.split('.').next().is_some_and(|label| label.eq_ignore_ascii_case(&server.name));
    let hosts = [Some(server.name.clone()), server.host_name.clone(), computer.host_name.as_ref().filter(is_own).cloned()];
    let services = SERVICES.iter().copied().chain(with_host.then_some("HOST"));
    services.flat_map(|service| hosts.iter().flatten().map(move |host| format!("{service}/{host}").to_lowercase())).collect()
}

fn texts(names: &[Value]) -> Vec<String> {
    names.iter().filter_map(Value::as_text).map(str::to_lowercase).collect()
}

fn is_among(name: &Value, folded: &[String]) -> bool {
    name.as_text().is_some_and(|name| folded.contains(&name.to_lowercase()))
}
