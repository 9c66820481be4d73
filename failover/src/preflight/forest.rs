//! Domains, schema, rights, routing, and references to what is gone.

use super::{Facts, Finding};
use crate::directory::{AttributeName, Filter, Scope, Search, Value, find_all, read};
use crate::exchange::Generation;

/// Attributes that plans write, of all generations with storage groups.
const WRITTEN: &[&str] =
    &["homeMDB", "homeMTA", "msExchHomeServerName", "msExchPatchMDB", "msExchHomePublicMDB", "msExchOwningPFTree"];

impl Facts<'_> {
    pub(super) fn forest(&self) -> Vec<Finding> {
        vec![self.domains(), self.schema(), self.rights(), self.mode(), self.routing(), self.dangling()]
    }

    fn domains(&self) -> Finding {
        let check = "domains";
        let mut failed = Vec::new();
        for domain in &self.snapshot.contexts.domains {
            match read(self.directory, &domain.context, &[AttributeName::new("objectClass")]) {
                Ok(Some(_)) => {}
                Ok(None) => failed.push(format!("{} is not there", domain.dns_name)),
                Err(error) => failed.push(format!("{}: {error}", domain.dns_name)),
            }
        }
        match failed.is_empty() {
            true => Finding::ok(check, format!("all {} can be read", self.snapshot.contexts.domains.len())),
            false => {
                Finding::fail(check, failed.join("; "), "users of such a domain are not moved until a controller of it answers")
            }
        }
    }

    fn schema(&self) -> Finding {
        let check = "schema";
        let any = WRITTEN.iter().map(|name| Filter::equal("lDAPDisplayName", *name)).collect();
        let search = Search {
            base: self.snapshot.contexts.schema.clone(),
            scope: Scope::Subtree,
            filter: Filter::And(vec![Filter::class("attributeSchema"), Filter::Or(any)]),
            attributes: vec![AttributeName::new("lDAPDisplayName")],
        };
        let found = match find_all(self.directory, &search) {
            Ok(found) => found,
            Err(error) => {
                return Finding::warn(check, format!("it could not be read: {error}"), "export it, too, or ask a controller");
            }
        };
        let has = |name: &&&str| {
            found.iter().any(|entry| entry.text("lDAPDisplayName").is_some_and(|text| text.eq_ignore_ascii_case(name)))
        };
        let missing: Vec<&str> = WRITTEN.iter().filter(|name| !has(name)).copied().collect();
        match missing.as_slice() {
            [] => Finding::ok(check, "it has the attributes that are written"),
            _ if missing.len() == WRITTEN.len() => {
                Finding::warn(check, "it is not in what could be read", "export it, too, or ask a controller")
            }
            _ => Finding::fail(check, format!("it lacks {}", missing.join(", ")), "prepare the forest for Exchange (forestprep)"),
        }
    }

    /// What this account may write, by the directory's own word (allowedAttributesEffective).
    fn rights(&self) -> Finding {
        let check = "rights";
        let Some((_, store)) = self.target.stores().next() else {
            return Finding::warn(check, format!("{} has no store to try them on", self.target.name), "create its stores");
        };
        let attribute = "allowedAttributesEffective";
        let entry = match read(self.directory, &store.dn, &[AttributeName::new(attribute)]) {
            Ok(entry) => entry,
            Err(error) => return Finding::fail(check, error.to_string(), "use an account that may administer Exchange"),
        };
        let allowed = entry.map(|entry| entry.values(attribute).to_vec()).unwrap_or_default();
        let has = |name: &str| allowed.iter().any(|value| value.as_text().is_some_and(|text| text.eq_ignore_ascii_case(name)));
        match (allowed.is_empty(), has("msExchPatchMDB")) {
            (true, _) => {
                Finding::warn(check, "the directory does not tell what this account may write", "try with -test and -setup")
            }
            (false, true) => Finding::ok(check, format!("this account may write {}", store.dn)),
            (false, false) => {
                Finding::fail(check, format!("this account may not write {}", store.dn), "make it an Exchange administrator")
            }
        }
    }

    fn mode(&self) -> Finding {
        let mixed = self.snapshot.get(&self.snapshot.organization).is_some_and(|entry| entry.is_true("msExchMixedMode"));
        match mixed && self.source.generation == Generation::Ex2003 {
            true => Finding::warn(
                "mode",
                "the organization is in mixed mode",
                "servers can not change routing groups across administrative groups",
            ),
            false => Finding::ok("mode", "the organization is in native mode"),
        }
    }

    fn routing(&self) -> Finding {
        let check = "routing groups";
        match (&self.source.routing_group, &self.target.routing_group) {
            (Some(ours), Some(theirs)) if ours == theirs => Finding::ok(check, format!("both are in {}", ours.common_name())),
            (Some(ours), Some(theirs)) => Finding::warn(
                check,
                format!("{} is in {}, {} in {}", self.source.name, ours.common_name(), self.target.name, theirs.common_name()),
                "--swap-routing-groups makes the target a member of the source's",
            ),
            _ => Finding::warn(check, "one of the servers is in none", "set msExchHomeRoutingGroup"),
        }
    }

    /// Values that lead to nothing, where a failover looks for the source.
    fn dangling(&self) -> Finding {
        let attributes = [
            "msExchRoutingMasterDN",
            "siteFolderServer",
            "offLineABServer",
            "msExchAddressListServiceLink",
            "msExchHomePublicMDB",
        ];
        let mut found = Vec::new();
        for entry in self.snapshot.entries() {
            for attribute in attributes {
                let values = entry.values(attribute).iter().filter_map(Value::as_dn);
                let gone =
                    values.filter(|dn| dn.is_within(&self.snapshot.contexts.configuration) && self.snapshot.get(dn).is_none());
                found.extend(gone.map(|dn| format!("{attribute} of {} leads to {dn}", entry.dn)));
            }
        }
        match found.is_empty() {
            true => Finding::ok("references", "none leads to something that is gone"),
            false => Finding::warn("references", found.join("; "), "set them to a server that exists"),
        }
    }
}
