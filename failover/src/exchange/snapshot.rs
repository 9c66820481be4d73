//! The configuration of the forest, read at once. Everything about servers is decided from it.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::{ExchangeError, Server, server};
use crate::directory::{AttributeName, Directory, DirectoryError, Dn, Entry, Filter, NamingContexts, Scope, Search};

/// What is read of a store. Not all of it: its back link `homeMDBBL` names every mailbox.
const STORE_ATTRIBUTES: &[&str] = &[
    "objectClass",
    "objectGUID",
    "cn",
    "legacyExchangeDN",
    "msExchEDBFile",
    "msExchSLVFile",
    "msExchPatchMDB",
    "msExchDatabaseBeingRestored",
    "msExchEDBOffline",
    "msExchOwningServer",
    "msExchMasterServerOrAvailabilityGroup",
    "msExchHomePublicMDB",
    "msExchOwningPFTree",
    "msExchUseOAB",
    "msExchOrigMDB",
    "msExchRestore",
    "msExchRecovery",
    "homeMDB",
    "homeMTA",
];

/// All objects of the configuration with their attributes, as they were at one moment.
pub struct Snapshot {
    /// The forest's naming contexts.
    pub contexts: NamingContexts,
    /// The Exchange organization's object.
    pub organization: Dn,
    entries: Vec<Entry>,
    places: HashMap<Dn, usize>,
}

impl Snapshot {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Those of the directory, and [`ExchangeError::NoOrganization`].
    pub fn read(directory: &dyn Directory) -> Result<Self, ExchangeError> {
        let contexts = directory.contexts()?;
        let mut entries = Vec::new();
        let store = Filter::class("msExchMDB");
        let others = Filter::Not(Box::new(store.clone()));
        for (filter, attributes) in [(others, &[][..]), (store, STORE_ATTRIBUTES)] {
            let search = Search {
                base: contexts.configuration.clone(),
                scope: Scope::Subtree,
                filter,
                attributes: attributes.iter().map(|name| AttributeName::new(name)).collect(),
            };
            let mut keep = |entry| {
                entries.push(entry);
                ControlFlow::Continue(())
            };
            directory.search(&search, &mut keep).map_err(|error| match error {
                DirectoryError::NoSuchObject { object } if object == contexts.configuration => {
                    ExchangeError::NoOrganization(object)
                }
                error => error.into(),
            })?;
        }
        entries.sort_by(|a: &Entry, b| a.dn.cmp(&b.dn));
        let organization = entries.iter().find(|entry| entry.is_of_class("msExchOrganizationContainer"));
        let organization = organization.map(|entry| entry.dn.clone());
        let organization = organization.ok_or_else(|| ExchangeError::NoOrganization(contexts.configuration.clone()))?;
        let places = entries.iter().enumerate().map(|(at, entry)| (entry.dn.clone(), at)).collect();
        Ok(Self { contexts, organization, entries, places })
    }

    /// All objects, in the order of their names.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The object of this name.
    pub fn get(&self, dn: &Dn) -> Option<&Entry> {
        self.places.get(dn).map(|at| &self.entries[*at])
    }

    /// All objects of a class.
    pub fn of_class<'a>(&'a self, class: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.is_of_class(class))
    }

    /// The objects beneath `dn` that are of a class.
    pub fn beneath<'a>(&'a self, dn: &'a Dn, class: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.of_class(class).filter(move |entry| entry.dn.is_beneath(dn))
    }

    /// The Exchange server of this name, in any case.
    ///
    /// # Errors
    /// [`ExchangeError::NoServer`] with the names that there are; [`ExchangeError::Server`] for one that can not be understood.
    pub fn server(&self, name: &str) -> Result<Server, ExchangeError> {
        let is_meant = |entry: &&Entry| entry.dn.common_name().to_lowercase() == name.to_lowercase();
        match self.of_class("msExchExchangeServer").find(is_meant) {
            Some(entry) => server::read(self, entry),
            None => Err(ExchangeError::NoServer { name: name.to_owned(), there_are: self.server_names() }),
        }
    }

    /// The names of all Exchange servers.
    pub fn server_names(&self) -> Vec<String> {
        self.of_class("msExchExchangeServer").map(|entry| entry.dn.common_name()).collect()
    }

    /// The object of the class above `dn` that is nearest.
    pub fn above(&self, dn: &Dn, class: &str) -> Option<&Entry> {
        (1..dn.depth())
            .filter_map(|levels| dn.ancestor(levels))
            .find_map(|dn| self.get(&dn).filter(|entry| entry.is_of_class(class)))
    }
}
