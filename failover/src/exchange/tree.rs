//! A server's tree: groups, stores, files, how many users, and who serves what.

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;

use serde::Serialize;

use super::{ExchangeError, Snapshot, StoreKind};
use crate::directory::{AttributeName, Directory, Dn, Filter, Scope, Search, Value};

/// A server and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tree {
    /// Its name.
    pub name: String,
    /// Its object.
    pub dn: Dn,
    /// What it runs.
    pub version: String,
    /// Its host name.
    pub host_name: Option<String>,
    /// Its routing group.
    pub routing_group: Option<Dn>,
    /// Storage groups with their stores.
    pub groups: Vec<GroupBranch>,
    /// What it serves, beyond its stores: each with the object that says so.
    pub duties: Vec<(&'static str, Dn)>,
    /// Domains whose users could not be counted, and why.
    pub not_counted: Vec<(String, String)>,
}

/// A storage group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupBranch {
    /// Its name; empty for databases of 2010 and later.
    pub name: String,
    /// The prefix of its logs.
    pub log_prefix: Option<String>,
    /// Where its logs are.
    pub log_path: Option<String>,
    /// Whether it is for recovery.
    pub is_recovery: bool,
    /// Its stores.
    pub stores: Vec<StoreBranch>,
}

/// A store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoreBranch {
    /// Its name.
    pub name: String,
    /// Whether it holds public folders.
    pub is_public: bool,
    /// Its database file.
    pub file: Option<String>,
    /// How many objects of the domains have it as their store.
    pub users: u64,
    /// Whether it may be overwritten by a restore.
    pub may_be_overwritten: bool,
}

/// Which attribute of which class makes a server serve something.
const DUTIES: &[(&str, &str, &str)] = &[
    ("routing master of", "msExchRoutingGroup", "msExchRoutingMasterDN"),
    ("Recipient Update Service", "msExchAddressListService", "msExchAddressListServiceLink"),
    ("makes address book", "msExchOAB", "offLineABServer"),
    ("folders of", "msExchAdminGroup", "siteFolderServer"),
    ("bridgehead of", "msExchConnector", "msExchSourceBridgeheadServersDN"),
    ("bridgehead of", "mailGateway", "msExchSourceBridgeheadServersDN"),
    ("bridgehead to", "msExchConnector", "msExchTargetBridgeheadServersDN"),
];

/// Reads a server's tree and counts the users of its stores in all domains.
///
/// # Errors
/// Those of [`Snapshot::server`].
pub fn tree(directory: &dyn Directory, snapshot: &Snapshot, name: &str) -> Result<Tree, ExchangeError> {
    let server = snapshot.server(name)?;
    let mut users: HashMap<Dn, u64> =
        server.groups.iter().flat_map(|group| &group.stores).map(|store| (store.dn.clone(), 0)).collect();
    let not_counted = count(directory, snapshot, &mut users);
    let groups = server.groups.iter().map(|group| GroupBranch {
        name: group.name.clone(),
        log_prefix: group.log_prefix.clone(),
        log_path: group.log_path.clone(),
        is_recovery: group.is_recovery,
        stores: group
            .stores
            .iter()
            .map(|store| StoreBranch {
                name: store.name.clone(),
                is_public: store.kind == StoreKind::Public,
                file: store.file.clone(),
                users: users.get(&store.dn).copied().unwrap_or(0),
                may_be_overwritten: store.overwrite.as_ref().is_some_and(|value| value.as_text() == Some("TRUE")),
            })
            .collect(),
    });
    Ok(Tree {
        groups: groups.collect(),
        duties: duties(snapshot, &server.dn),
        name: server.name,
        dn: server.dn,
        version: server.version.text,
        host_name: server.host_name,
        routing_group: server.routing_group,
        not_counted,
    })
}

/// What the server, or an object beneath it, is named for elsewhere.
pub(crate) fn duties(snapshot: &Snapshot, server: &Dn) -> Vec<(&'static str, Dn)> {
    let mut found = Vec::new();
    for (what, class, attribute) in DUTIES {
        let names = |value: &Value| value.as_dn().is_some_and(|dn| dn.is_within(server));
        let entries = snapshot.of_class(class).filter(|entry| entry.values(attribute).iter().any(names));
        found.extend(entries.map(|entry| (*what, entry.dn.clone())));
    }
    found
}

fn count(directory: &dyn Directory, snapshot: &Snapshot, users: &mut HashMap<Dn, u64>) -> Vec<(String, String)> {
    let mut failed = Vec::new();
    if users.is_empty() {
        return failed;
    }
    let stores = Filter::Or(users.keys().map(|store| Filter::equal("homeMDB", Value::from(store))).collect());
    for domain in &snapshot.contexts.domains {
        let search = Search {
            base: domain.context.clone(),
            scope: Scope::Subtree,
            filter: Filter::And(vec![Filter::class("user"), stores.clone()]),
            attributes: vec![AttributeName::new("homeMDB")],
        };
        let result = directory.search(&search, &mut |entry| {
            if let Some(count) = entry.dn_of("homeMDB").and_then(|store| users.get_mut(&store)) {
                *count += 1;
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = result {
            failed.push((domain.dns_name.clone(), error.to_string()));
        }
    }
    failed
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  {}  {}", self.name, self.host_name.as_deref().unwrap_or("no host name"), self.version)?;
        if let Some(group) = &self.routing_group {
            writeln!(f, "  in routing group {}", group.common_name())?;
        }
        for group in &self.groups {
            let recovery = if group.is_recovery { "  for recovery" } else { "" };
            let part = |text: &Option<String>| text.as_ref().map(|text| format!("  {text}")).unwrap_or_default();
            writeln!(f, "  {}{}{}{recovery}", group.name, part(&group.log_prefix), part(&group.log_path))?;
            for store in &group.stores {
                let kind = if store.is_public { "public folders".to_owned() } else { format!("{} users", store.users) };
                let flag = if store.may_be_overwritten { "  may be overwritten by a restore" } else { "" };
                writeln!(f, "    {}  {}  {kind}{flag}", store.name, store.file.as_deref().unwrap_or("no file"))?;
            }
        }
        self.duties.iter().try_for_each(|(what, object)| writeln!(f, "  {what} {}", object.common_name()))?;
        self.not_counted.iter().try_for_each(|(domain, why)| writeln!(f, "  users of {domain} were not counted: {why}"))
    }
}
