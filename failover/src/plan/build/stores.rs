//! Pairs of stores, and what lets a store be overwritten by a restore.

use super::{Draft, PlanError, set};
use crate::directory::Value;
use crate::exchange::{MailStore, Server};
use crate::pairing;
use crate::plan::{Kind, StorePair, Unpaired};

impl Draft<'_> {
    /// Pairs the stores, by the rules as they are written, from source to target in both directions.
    pub(super) fn pair(&mut self, source: &Server, target: &Server) -> Result<(), PlanError> {
        let pairing = pairing::pair(&source.pairing_stores()?, &target.pairing_stores()?, &self.options.rules)?;
        let failback = self.options.failback;
        // The same two servers again, but those that live as long as the draft.
        let (from, to) = (self.from, self.to);
        let ours: Vec<&MailStore> = if failback { stores(to) } else { stores(from) };
        let theirs: Vec<&MailStore> = if failback { stores(from) } else { stores(to) };
        for (one, other) in &pairing.pairs {
            let (source, target) = (ours[*one], theirs[*other]);
            self.pairs.push(if failback { (target, source) } else { (source, target) });
        }
        let mut left = Vec::new();
        for (at, why) in pairing.unpaired {
            let store = ours[at];
            self.plan.unpaired.push(Unpaired { store: store.dn.clone(), why: why.clone(), mailboxes: 0 });
            let has_default = store.kind == crate::exchange::StoreKind::Public && self.options.default_public_store.is_some();
            if !has_default {
                left.push(format!("{}, {why}", store.dn));
            }
        }
        if !left.is_empty() && !self.options.leave_unpaired {
            return Err(PlanError::Unpaired(left));
        }
        for (from, to) in &self.pairs {
            let file = pairing::base_name(to.file.as_deref().unwrap_or_default()).to_owned();
            self.plan.pairs.push(StorePair { from: from.dn.clone(), to: to.dn.clone(), file, mailboxes: 0 });
        }
        Ok(())
    }

    /// "This database can be overwritten by a restore" on every store that takes over, so that it is mounted although its file is another's.
    pub(super) fn overwrite_flags(&mut self) {
        for (from, to) in self.pairs.clone() {
            if let Some(entry) = self.snapshot.get(&to.dn) {
                let reason = format!("{} opens the database of {} with it", self.to.name, from.dn);
                self.change(entry, Kind::Overwrite, [set(entry, "msExchPatchMDB", &Value::from("TRUE"))], reason);
            }
        }
    }
}

fn stores(server: &Server) -> Vec<&MailStore> {
    server.stores().map(|(_, store)| store).collect()
}
