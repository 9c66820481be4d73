//! The computer account of a server, and who holds a service principal name.

use std::ops::ControlFlow;

use super::{ExchangeError, Server};
use crate::directory::{AttributeName, Directory, Dn, Domain, Entry, Filter, Scope, Search, Value};

/// A computer account.
#[derive(Clone, Debug)]
pub struct Computer {
    /// Its object.
    pub dn: Dn,
    /// Its domain.
    pub context: Dn,
    /// objectGUID.
    pub guid: Option<Value>,
    /// Its full host name.
    pub host_name: Option<String>,
    /// Its service principal names, as they are written.
    pub service_names: Vec<Value>,
    /// Whether it is a domain controller (userAccountControl & 0x2000, or primaryGroupID 516).
    pub is_controller: bool,
    /// `operatingSystem` and `operatingSystemVersion`, where they are.
    pub system: Option<String>,
}

/// What is read of a computer account.
const ATTRIBUTES: &[&str] = &[
    "objectClass",
    "objectGUID",
    "dNSHostName",
    "sAMAccountName",
    "servicePrincipalName",
    "userAccountControl",
    "primaryGroupID",
    "operatingSystem",
    "operatingSystemVersion",
];

/// The computer account of a server: the one that its object names, else the one with its host name, else with its account name.
/// `None` where there is none, as for some virtual servers of clusters.
///
/// # Errors
/// Those of the directory, but a domain that can not be read is passed over; [`ExchangeError::Server`] where several accounts fit.
pub fn find_computer(directory: &dyn Directory, domains: &[Domain], server: &Server) -> Result<Option<Computer>, ExchangeError> {
    let mut any = vec![Filter::equal("sAMAccountName", format!("{}$", server.name))];
    if let Some(host) = &server.host_name {
        any.push(Filter::equal("dNSHostName", host.as_str()));
    }
    if let Some(link) = &server.computer_link {
        any.push(Filter::equal("distinguishedName", Value::from(link)));
        any.push(Filter::equal("cn", link.common_name()));
    }
    let filter = Filter::And(vec![Filter::class("computer"), Filter::Or(any)]);
    let mut found: Vec<Computer> = Vec::new();
    for domain in domains {
        let search = Search {
            base: domain.context.clone(),
            scope: Scope::Subtree,
            filter: filter.clone(),
            attributes: ATTRIBUTES.iter().map(|name| AttributeName::new(name)).collect(),
        };
        let result = directory.search(&search, &mut |entry| {
            found.push(computer(entry, &domain.context));
            ControlFlow::Continue(())
        });
        if let Err(error) = result {
            tracing::warn!(domain = %domain.dns_name, %error, "no computer accounts were read from a domain");
        }
    }
    best(server, found)
}

fn best(server: &Server, found: Vec<Computer>) -> Result<Option<Computer>, ExchangeError> {
    let by_link = |computer: &&Computer| server.computer_link.as_ref() == Some(&computer.dn);
    let by_host = |computer: &&Computer| match (&server.host_name, &computer.host_name) {
        (Some(ours), Some(theirs)) => ours.eq_ignore_ascii_case(theirs),
        _ => false,
    };
    if let Some(computer) = found.iter().find(by_link) {
        return Ok(Some(computer.clone()));
    }
    let mut fitting: Vec<&Computer> = found.iter().filter(by_host).collect();
    if fitting.is_empty() && server.computer_link.is_none() {
        fitting = found.iter().collect();
    }
    match fitting.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).clone())),
        several => {
            let names: Vec<&str> = several.iter().map(|computer| computer.dn.as_str()).collect();
            Err(server
                .lacks(format!("several computer accounts could be its: {}; take the wrong ones away", names.join(" and "))))
        }
    }
}

fn computer(entry: Entry, context: &Dn) -> Computer {
    let number = |attribute: &str| entry.text(attribute).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    let system =
        [entry.text("operatingSystem"), entry.text("operatingSystemVersion")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    Computer {
        context: context.clone(),
        guid: entry.value("objectGUID").cloned(),
        host_name: entry.text("dNSHostName").map(str::to_owned),
        service_names: entry.values("servicePrincipalName").to_vec(),
        is_controller: number("userAccountControl") & 0x2000 != 0 || number("primaryGroupID") == 516,
        system: (!system.is_empty()).then_some(system),
        dn: entry.dn,
    }
}
