//! Exchange 2010 and 2013: a database gets another owner; its users find it by itself and stay as they are.

use super::{Draft, PlanError, replaced, set};
use crate::directory::{Entry, Rdn, Value};
use crate::exchange::LegacyDn;
use crate::pairing::base_name;
use crate::plan::{Edit, Kind, PlannedRename, StorePair};

impl Draft<'_> {
    /// Every database that the one server owns becomes the other's.
    pub(super) fn databases(&mut self) -> Result<(), PlanError> {
        let from = self.from;
        for (_, store) in from.stores() {
            let Some(entry) = self.snapshot.get(&store.dn) else { continue };
            self.check_alone(entry)?;
            let file = base_name(store.file.as_deref().unwrap_or_default()).to_owned();
            self.plan.pairs.push(StorePair { from: store.dn.clone(), to: store.dn.clone(), file, mailboxes: 0 });
            let flags = ["msExchPatchMDB", "msExchDatabaseBeingRestored"].map(|flag| set(entry, flag, &Value::from("TRUE")));
            self.change(entry, Kind::Overwrite, flags, format!("{} opens its database", self.to.name));
            if self.options.setup_only {
                continue;
            }
            let (old, new) = (&self.from.dn, &self.to.dn);
            let owner =
                ["msExchOwningServer", "msExchMasterServerOrAvailabilityGroup"].map(|name| replaced(entry, name, old, new));
            let edits = owner.into_iter().chain([self.legacy_name(entry)]);
            self.change(entry, Kind::Database, edits, format!("{} becomes its server", self.to.name));
            self.copy_of(entry)?;
        }
        if self.plan.pairs.is_empty() {
            let name = self.from.name.clone();
            self.warn(format!("{name} owns no database: nothing moves"));
        }
        Ok(())
    }

    /// Whether nobody else has a say about it.
    fn check_alone(&self, entry: &Entry) -> Result<(), PlanError> {
        let master = entry.dn_of("msExchMasterServerOrAvailabilityGroup");
        if master.is_some_and(|master| master != self.from.dn) {
            return Err(PlanError::Refused(format!(
                "database {} belongs to an availability group, which moves it itself; take it out of the group first, or use Exchange's own switchover",
                entry.dn
            )));
        }
        Ok(())
    }

    fn legacy_name(&self, entry: &Entry) -> Option<Edit> {
        let name = LegacyDn::parse(entry.text("legacyExchangeDN")?)?.moved(&self.from.legacy, &self.to.legacy)?;
        set(entry, "legacyExchangeDN", &name.as_str().into())
    }

    /// The database's copy is named after its server.
    fn copy_of(&mut self, database: &Entry) -> Result<(), PlanError> {
        let copies: Vec<&Entry> = self.snapshot.beneath(&database.dn, "msExchMDBCopy").collect();
        let copy = match copies.as_slice() {
            [] => return Ok(()),
            [copy] => *copy,
            _ => {
                return Err(PlanError::Refused(format!(
                    "database {} has several copies; only one without others can be moved",
                    database.dn
                )));
            }
        };
        let edit = replaced(copy, "msExchHostServerLink", &self.from.dn, &self.to.dn);
        let reason = format!("{} becomes the server of its database", self.to.name);
        self.change(copy, Kind::DatabaseCopy, [edit], reason.clone());
        let name = Rdn::cn(&self.to.name);
        if copy.dn.name().as_ref() != Some(&name) {
            self.plan.renames.push(PlannedRename {
                object: copy.dn.clone(),
                guid: copy.value("objectGUID").cloned(),
                context: self.snapshot.contexts.configuration.clone(),
                name,
                kind: Kind::DatabaseCopy,
                reason: reason.into(),
            });
        }
        Ok(())
    }
}
