//! Recipient Update Services, address books, folder servers, public stores.

use super::{Draft, PlanError, replaced, set};
use crate::directory::{Dn, Entry, Value};
use crate::exchange::StoreKind;
use crate::plan::Kind;

impl Draft<'_> {
    /// Every Recipient Update Service of the one server becomes the other's.
    pub(super) fn update_services(&mut self) {
        for entry in self.snapshot.of_class("msExchAddressListService") {
            let edit = replaced(entry, "msExchAddressListServiceLink", &self.from.dn, &self.to.dn);
            self.change(entry, Kind::UpdateService, [edit], format!("{} ran it", self.from.name));
        }
    }

    /// Every offline address book that the one server makes, and the public store with its folder.
    pub(super) fn address_books(&mut self) {
        for entry in self.snapshot.of_class("msExchOAB") {
            let server = replaced(entry, "offLineABServer", &self.from.dn, &self.to.dn);
            let folder = self.public_store().and_then(|(from, to)| replaced(entry, "siteFolderServer", &from, &to));
            self.change(entry, Kind::AddressBook, [server, folder], format!("{} made it", self.from.name));
        }
    }

    /// Administrative groups whose free/busy and address book folders are in the one server's public store.
    pub(super) fn site_folders(&mut self) {
        let Some((from, to)) = self.public_store() else { return };
        for entry in self.snapshot.of_class("msExchAdminGroup") {
            let edit = replaced(entry, "siteFolderServer", &from, &to);
            self.change(entry, Kind::SiteFolders, [edit], format!("its folders were in the public store of {}", self.from.name));
        }
    }

    /// Private stores whose public store was the one server's; but its own stay, as nobody uses them until it takes back.
    pub(super) fn public_stores(&mut self) {
        let Some((from, to)) = self.public_store() else { return };
        for entry in self.snapshot.of_class("msExchPrivateMDB").filter(|entry| !entry.dn.is_beneath(&self.from.dn)) {
            let edit = replaced(entry, "msExchHomePublicMDB", &from, &to);
            self.change(entry, Kind::PublicStore, [edit], format!("its public store was that of {}", self.from.name));
        }
    }

    /// The public store that takes over shows the same folder tree.
    pub(super) fn folder_tree(&mut self) {
        for (from, to) in self.pairs.clone() {
            let Some(tree) = from.folder_tree.as_ref().filter(|_| from.kind == StoreKind::Public) else { continue };
            if let Some(entry) = self.snapshot.get(&to.dn) {
                let edit = set(entry, "msExchOwningPFTree", &Value::from(tree));
                self.change(entry, Kind::FolderTree, [edit], format!("{} has this tree", from.dn));
            }
        }
    }

    /// The one server's public store and what takes its place: the store paired with it, else the default one that was asked for.
    pub(super) fn public_store(&self) -> Option<(Dn, Dn)> {
        if let Some((from, to)) = self.pairs.iter().find(|(from, _)| from.kind == StoreKind::Public) {
            return Some((from.dn.clone(), to.dn.clone()));
        }
        let from = self.from.public_store()?.dn.clone();
        let chosen = self.chosen_public_stores().into_iter().next()?;
        Some((from, chosen.clone()))
    }

    /// Refuses a default public store that is none, or could be several.
    pub(super) fn default_public_store(&self) -> Result<(), PlanError> {
        let Some(asked) = self.options.default_public_store.as_deref() else { return Ok(()) };
        let names = |stores: &[&Dn]| stores.iter().map(|dn| dn.to_string()).collect::<Vec<_>>().join(" and ");
        match self.chosen_public_stores().as_slice() {
            [_] => Ok(()),
            [] => Err(PlanError::Refused(format!(
                "--default-public-store: no other server than {} has a public store \"{asked}\"",
                self.from.name
            ))),
            several => Err(PlanError::Refused(format!(
                "--default-public-store: \"{asked}\" can be {}; give the distinguished name",
                names(several)
            ))),
        }
    }

    fn chosen_public_stores(&self) -> Vec<&Dn> {
        let Some(asked) = self.options.default_public_store.as_deref() else { return Vec::new() };
        let stores = self.snapshot.of_class("msExchPublicMDB").filter(|entry| !entry.dn.is_beneath(&self.from.dn));
        stores.filter(|entry| is_named(entry, asked)).map(|entry| &entry.dn).collect()
    }
}

/// `SERVER`, `STORE`, or the store's distinguished name.
fn is_named(entry: &Entry, asked: &str) -> bool {
    let asked_folded = asked.to_lowercase();
    let is_part = |dn: Option<Dn>| dn.is_some_and(|dn| dn.common_name().to_lowercase() == asked_folded);
    let server = entry.dn.ancestor(3);
    is_part(Some(entry.dn.clone())) || is_part(server) || asked.parse::<Dn>().is_ok_and(|dn| dn == entry.dn)
}
