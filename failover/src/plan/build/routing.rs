//! Routing groups and connectors.

use super::{Draft, replaced};
use crate::directory::{Dn, Entry};
use crate::plan::{Edit, Kind};

/// Values that name an object which was deleted have this in their name.
const DELETED: &str = "\nDEL:";

impl Draft<'_> {
    /// Routing groups whose master is the one server get the other.
    pub(super) fn routing_masters(&mut self) {
        let groups: Vec<&Entry> = self.snapshot.of_class("msExchRoutingGroup").collect();
        for group in groups {
            let Some(master) = group.dn_of("msExchRoutingMasterDN") else { continue };
            if master.components().any(|name| name.value().contains(DELETED)) {
                self.warn(format!("routing group {} has a master that was deleted, {master}: name another one", group.dn));
                continue;
            }
            let edit = replaced(group, "msExchRoutingMasterDN", &self.from.dn, &self.to.dn);
            let is_member = self.to.routing_group.as_ref() == Some(&group.dn);
            if edit.is_some() && !is_member && !self.options.swap_routing_groups {
                let name = self.to.name.clone();
                self.warn(format!(
                    "{name} becomes master of routing group {}, of which it is no member; --swap-routing-groups makes it one",
                    group.dn
                ));
            }
            self.change(group, Kind::RoutingMaster, [edit], format!("{} was its master", self.from.name));
        }
    }

    /// Each of the two gets into the other's routing group; a group that the other one was master of gets the newcomer.
    pub(super) fn swap_routing_groups(&mut self) {
        let (ours, theirs) = (self.from.routing_group.clone(), self.to.routing_group.clone());
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            self.warn("one of the servers is in no routing group: they are not swapped".to_owned());
            return;
        };
        if ours == theirs {
            return;
        }
        for (server, old, new) in [(&self.from.dn, &ours, &theirs), (&self.to.dn, &theirs, &ours)] {
            if let Some(entry) = self.snapshot.get(server) {
                let edit = replaced(entry, "msExchHomeRoutingGroup", old, new);
                self.change(entry, Kind::RoutingGroup, [edit], "the two servers change routing groups, as asked");
            }
        }
        if let Some(group) = self.snapshot.get(&theirs) {
            let edit = replaced(group, "msExchRoutingMasterDN", &self.to.dn, &self.from.dn);
            self.change(group, Kind::RoutingMaster, [edit], format!("{} was its master and leaves it", self.to.name));
        }
    }

    /// Connectors that lead from or to one of the server's transfer agents or SMTP virtual servers.
    pub(super) fn connectors(&mut self) {
        let counterparts = self.counterparts();
        let snapshot = self.snapshot;
        for entry in snapshot.entries() {
            if entry.dn.is_within(&self.from.dn) || entry.dn.is_within(&self.to.dn) || is_own_smtp_connector(entry) {
                continue;
            }
            let mut edits: Vec<Option<Edit>> = Vec::new();
            for attribute in ["msExchSourceBridgeheadServersDN", "msExchTargetBridgeheadServersDN"] {
                edits.push(all_replaced(entry, attribute, &counterparts));
            }
            if entry.is_of_class("msExchConnector") || entry.is_of_class("mailGateway") {
                edits.push(all_replaced(entry, "homeMTA", &counterparts));
            }
            self.change(entry, Kind::Connector, edits, format!("{} was its bridgehead", self.from.name));
        }
    }

    /// The transfer agent and the SMTP virtual servers, with what takes their place.
    fn counterparts(&mut self) -> Vec<(Dn, Dn)> {
        let mut counterparts = Vec::new();
        if let (Some(from), Some(to)) = (&self.from.mta, &self.to.mta)
            && from != to
        {
            counterparts.push((from.clone(), to.clone()));
        }
        let mut without = Vec::new();
        for smtp in &self.from.smtp {
            let same_name = self.to.smtp.iter().find(|other| other.name() == smtp.name());
            let only = (self.to.smtp.len() == 1).then(|| &self.to.smtp[0]);
            match same_name.or(only) {
                Some(other) => counterparts.push((smtp.clone(), other.clone())),
                None => without.push(smtp.clone()),
            }
        }
        for smtp in without {
            let name = self.to.name.clone();
            self.warn(format!(
                "{name} has no SMTP virtual server that could take the place of {smtp}: connectors that use it stay"
            ));
        }
        counterparts
    }
}

/// All values of an attribute that have a counterpart, in one edit.
fn all_replaced(entry: &Entry, attribute: &str, counterparts: &[(Dn, Dn)]) -> Option<Edit> {
    let mut all = Edit { attribute: attribute.into(), old: Vec::new(), new: Vec::new() };
    for (from, to) in counterparts {
        if let Some(edit) = replaced(entry, attribute, from, to) {
            all.old.extend(edit.old);
            all.new.extend(edit.new.into_iter().filter(|new| !all.new.contains(new)).collect::<Vec<_>>());
        }
    }
    (!all.old.is_empty()).then_some(all)
}

/// `SMTP (SERVER-{GUID})`: the connector that a server makes for itself; it holds the server's own store and transfer agent.
pub(super) fn is_own_smtp_connector(entry: &Entry) -> bool {
    let name = entry.dn.common_name();
    name.starts_with("SMTP (") && name.ends_with("})")
}
