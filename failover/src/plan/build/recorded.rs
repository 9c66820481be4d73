//! Failback with the record of the failover: what it wrote in the configuration is taken back, and only that.

use super::{Draft, PlanError};
use crate::directory::{Directory, Entry, Value, filter::same_value, read};
use crate::plan::{Edit, Kind, Plan, PlannedChange};

impl Draft<'_> {
    /// The inverse of each recorded change whose object still is as it was written; one that was changed since stays and is told.
    pub(super) fn take_back(&mut self, directory: &dyn Directory, recorded: &Plan) -> Result<(), PlanError> {
        for change in recorded.changes.iter().filter(|change| is_taken_back(change.kind)) {
            if self.is_left(change.kind) {
                continue;
            }
            let attributes: Vec<_> = change.edits.iter().map(|edit| edit.attribute.clone()).collect();
            let entry = match self.snapshot.get(&change.object) {
                Some(entry) => Some(entry.clone()),
                None => read(directory, &change.object, &attributes)?,
            };
            let Some(entry) = entry else {
                self.warn(format!("{} is gone since the failover changed it", change.object));
                continue;
            };
            self.take_back_one(&entry, change);
        }
        Ok(())
    }

    fn take_back_one(&mut self, entry: &Entry, change: &PlannedChange) {
        let mut edits = Vec::new();
        for edit in &change.edits {
            let has = |value: &Value| {
                entry
                    .values(edit.attribute.as_str())
                    .iter()
                    .any(|found| same_value(&edit.attribute, found.as_bytes(), value.as_bytes()))
            };
            if edit.new.iter().all(has) && !edit.old.iter().any(has) {
                edits.push(Edit { attribute: edit.attribute.clone(), old: edit.new.clone(), new: edit.old.clone() });
            } else if !edit.old.iter().all(has) {
                self.warn(format!("{} of {} was changed since the failover: it stays as it is", edit.attribute, change.object));
            }
        }
        if edits.is_empty() {
            return;
        }
        let reason = format!("as before the failover ({})", change.reason).into();
        self.plan.changes.push(PlannedChange { edits, reason, ..change.clone() });
    }

    fn is_left(&self, kind: Kind) -> bool {
        (kind == Kind::UpdateService && self.options.leave_update_service)
            || (kind == Kind::Connector && self.options.leave_connectors)
    }
}

/// Mailboxes, databases, flags and service principal names are planned anew: more of them may have come meanwhile.
fn is_taken_back(kind: Kind) -> bool {
    match kind {
        Kind::RoutingMaster
        | Kind::RoutingGroup
        | Kind::Connector
        | Kind::UpdateService
        | Kind::AddressBook
        | Kind::SiteFolders
        | Kind::PublicStore
        | Kind::FolderTree
        | Kind::ExpansionServer => true,
        Kind::Overwrite
        | Kind::Mailbox
        | Kind::Database
        | Kind::DatabaseCopy
        | Kind::ServiceNamesOff
        | Kind::ServiceNamesOn
        | Kind::Name => false,
    }
}
