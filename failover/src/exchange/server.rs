//! A server with its storage groups and stores.

use super::{ExchangeError, Generation, LegacyDn, Snapshot, Version};
use crate::directory::{Dn, Entry, Value};
use crate::pairing;

/// An Exchange server, or a virtual one of a cluster.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its object.
    pub dn: Dn,
    /// Its name, the NetBIOS one.
    pub name: String,
    /// Its legacyExchangeDN, which mailboxes name as their home server.
    pub legacy: LegacyDn,
    /// What it runs.
    pub version: Version,
    /// What that means for the directory.
    pub generation: Generation,
    /// `msExchCurrentServerRoles` (2007 and later): 2 mailbox, 4 client access, 16 unified messaging, 32 hub, 64 edge.
    pub roles: Option<u32>,
    /// Its full host name, from networkAddress (`ncacn_ip_tcp:`).
    pub host_name: Option<String>,
    /// The computer account that it names itself (`msExchComputerLink`), where it does.
    pub computer_link: Option<Dn>,
    /// Its administrative group.
    pub admin_group: Option<Dn>,
    /// Its routing group (`msExchHomeRoutingGroup`).
    pub routing_group: Option<Dn>,
    /// The message transfer agent for its mailboxes: the one responsible, as servers of a cluster share one, else its own.
    pub mta: Option<Dn>,
    /// Its SMTP virtual servers.
    pub smtp: Vec<Dn>,
    /// Its storage groups; for 2010 and later one without a name, which holds the databases that it owns.
    pub groups: Vec<StorageGroup>,
}

/// A storage group.
#[derive(Clone, Debug)]
pub struct StorageGroup {
    /// Its object; the server's own for databases of 2010 and later.
    pub dn: Dn,
    /// Its name; empty for 2010 and later.
    pub name: String,
    /// Where its logs are (`msExchESEParamLogFilePath`).
    pub log_path: Option<String>,
    /// Where its checkpoint is (`msExchESEParamSystemPath`).
    pub system_path: Option<String>,
    /// The prefix of its logs, `E00` (`msExchESEParamBaseName`).
    pub log_prefix: Option<String>,
    /// Whether it is for recovery (`msExchRestore`), so that its stores stand for others.
    pub is_recovery: bool,
    /// Its stores.
    pub stores: Vec<MailStore>,
}

/// Whether a store holds mailboxes or public folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Mailboxes.
    Private,
    /// Public folders.
    Public,
}

/// A store.
#[derive(Clone, Debug)]
pub struct MailStore {
    /// Its object.
    pub dn: Dn,
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: StoreKind,
    /// Whether it stands for another one during a recovery (`msExchOrigMDB`, `msExchRecovery`): it takes no part in anything.
    pub is_recovery: bool,
    /// Its database file (`msExchEDBFile`).
    pub file: Option<String>,
    /// Its streaming file (`msExchSLVFile`).
    pub stream_file: Option<String>,
    /// The value of `msExchPatchMDB`, as it is written.
    pub overwrite: Option<Value>,
    /// Its default public store.
    pub public_store: Option<Dn>,
    /// A public store's folder tree.
    pub folder_tree: Option<Dn>,
}

impl Server {
    /// All stores that take part, recovery ones left out, with their groups.
    pub fn stores(&self) -> impl Iterator<Item = (&StorageGroup, &MailStore)> {
        let groups = self.groups.iter().filter(|group| !group.is_recovery);
        groups.flat_map(|group| group.stores.iter().filter(|store| !store.is_recovery).map(move |store| (group, store)))
    }

    /// The stores as pairing wants them, in the order of [`Server::stores`].
    ///
    /// # Errors
    /// [`ExchangeError::Server`] for a store without a database file.
    pub fn pairing_stores(&self) -> Result<Vec<pairing::Store>, ExchangeError> {
        let stores = self.stores().map(|(group, store)| {
            let file = store
                .file
                .clone()
                .ok_or_else(|| self.lacks(format!("store {} has no database file (msExchEDBFile)", store.dn)))?;
            let is_public = store.kind == StoreKind::Public;
            Ok(pairing::Store { group: group.name.clone(), name: store.name.clone(), file, is_public })
        });
        stores.collect()
    }

    /// Its first public store.
    pub fn public_store(&self) -> Option<&MailStore> {
        self.stores().map(|(_, store)| store).find(|store| store.kind == StoreKind::Public)
    }

    /// An error about it.
    pub(crate) fn lacks(&self, why: impl Into<String>) -> ExchangeError {
        ExchangeError::Server { server: self.name.clone(), why: why.into() }
    }
}

/// Reads a server from its object and what is beneath it.
pub(super) fn read(snapshot: &Snapshot, entry: &Entry) -> Result<Server, ExchangeError> {
    let name = entry.dn.common_name();
    let wrong = |why: String| ExchangeError::Server { server: name.clone(), why };
    let legacy = entry.text("legacyExchangeDN").and_then(LegacyDn::parse);
    let legacy = legacy.ok_or_else(|| wrong("its object has no legacyExchangeDN that could be read".to_owned()))?;
    let text = entry.text("serialNumber").unwrap_or_default();
    let version = Version::parse(text).ok_or_else(|| wrong(format!("its version \"{text}\" (serialNumber) can not be read")))?;
    let generation = version.generation().ok_or_else(|| {
        wrong(format!(
            "its version, {version}, is not one whose directory objects are known here: 2000 to 2013 are (6.x, 8.x, 14.x, 15.0)"
        ))
    })?;
    let own_mta = || snapshot.beneath(&entry.dn, "mTA").next().map(|mta| mta.dn.clone());
    let mut groups: Vec<StorageGroup> =
        snapshot.beneath(&entry.dn, "msExchStorageGroup").map(|group| storage_group(snapshot, group)).collect();
    if generation == Generation::Ex2010 {
        groups = vec![owned_databases(snapshot, entry)];
    }
    Ok(Server {
        roles: entry.text("msExchCurrentServerRoles").and_then(|roles| roles.parse().ok()),
        host_name: host_name(entry),
        computer_link: entry.dn_of("msExchComputerLink"),
        admin_group: snapshot.above(&entry.dn, "msExchAdminGroup").map(|group| group.dn.clone()),
        routing_group: entry.dn_of("msExchHomeRoutingGroup"),
        mta: entry.dn_of("msExchResponsibleMTAServer").or_else(own_mta),
        smtp: snapshot.beneath(&entry.dn, "protocolCfgSMTPServer").map(|smtp| smtp.dn.clone()).collect(),
        dn: entry.dn.clone(),
        name,
        legacy,
        version,
        generation,
        groups,
    })
}

fn host_name(entry: &Entry) -> Option<String> {
    let addresses = entry.values("networkAddress").iter().filter_map(Value::as_text);
    let mut names =
        addresses.filter_map(|address| address.split_once(':').filter(|(kind, _)| kind.eq_ignore_ascii_case("ncacn_ip_tcp")));
    names.next().map(|(_, name)| name.trim().to_owned())
}

fn storage_group(snapshot: &Snapshot, entry: &Entry) -> StorageGroup {
    let text = |attribute: &str| entry.text(attribute).map(str::to_owned);
    StorageGroup {
        dn: entry.dn.clone(),
        name: entry.dn.common_name(),
        log_path: text("msExchESEParamLogFilePath"),
        system_path: text("msExchESEParamSystemPath"),
        log_prefix: text("msExchESEParamBaseName"),
        is_recovery: entry.is_true("msExchRestore") || entry.is_true("msExchRecovery"),
        stores: snapshot.beneath(&entry.dn, "msExchMDB").map(store).collect(),
    }
}

/// Databases of 2010 and later are the organization's; their owner is an attribute.
fn owned_databases(snapshot: &Snapshot, server: &Entry) -> StorageGroup {
    let is_owned = |entry: &&Entry| entry.dn_of("msExchOwningServer").as_ref() == Some(&server.dn);
    StorageGroup {
        dn: server.dn.clone(),
        name: String::new(),
        log_path: None,
        system_path: None,
        log_prefix: None,
        is_recovery: false,
        stores: snapshot.of_class("msExchMDB").filter(is_owned).map(store).collect(),
    }
}

fn store(entry: &Entry) -> MailStore {
    let text = |attribute: &str| entry.text(attribute).map(str::to_owned);
    let is_recovery =
        ["msExchRestore", "msExchRecovery"].iter().any(|flag| entry.is_true(flag)) || entry.value("msExchOrigMDB").is_some();
    MailStore {
        dn: entry.dn.clone(),
        name: entry.dn.common_name(),
        kind: if entry.is_of_class("msExchPublicMDB") { StoreKind::Public } else { StoreKind::Private },
        is_recovery,
        file: text("msExchEDBFile"),
        stream_file: text("msExchSLVFile"),
        overwrite: entry.value("msExchPatchMDB").cloned(),
        public_store: entry.dn_of("msExchHomePublicMDB"),
        folder_tree: entry.dn_of("msExchOwningPFTree"),
    }
}
