//! What else in the configuration names the server: left on purpose, with the reason, or unknown.

use std::collections::HashMap;

use super::Draft;
use super::routing::is_own_smtp_connector;
use crate::directory::{AttributeName, Dn, Entry, Value};
use crate::exchange::{LegacyDn, Server};
use crate::plan::{Decision, Edit, Reference};

/// Text attributes that may hold a host's name among other things.
const HOST_TEXTS: &[&str] =
    &["msExchSmtpSmartHost", "routingList", "msExchServer1NetworkAddress", "msExchSmtpExternalDNSServers"];

impl Draft<'_> {
    /// Lists every value outside the server's own objects that names it and that no change takes away.
    pub(super) fn references(&mut self) {
        let mut handled: HashMap<Dn, Vec<Edit>> = HashMap::new();
        for change in self.plan.changes.iter().filter(|change| change.context == self.snapshot.contexts.configuration) {
            handled.entry(change.object.clone()).or_default().extend(change.edits.iter().cloned());
        }
        let mut found = Vec::new();
        for entry in self.snapshot.entries().iter().filter(|entry| !entry.dn.is_within(&self.from.dn)) {
            let edits = handled.get(&entry.dn).map_or(&[][..], Vec::as_slice);
            for (attribute, values) in entry.attributes.iter().filter(|(attribute, _)| !is_reflection(attribute)) {
                for value in values.iter().filter(|value| names(self.from, attribute, value)) {
                    let is_handled = edits.iter().any(|edit| edit.attribute == *attribute && edit.old.contains(value));
                    if !is_handled {
                        let decision = self.decide(entry, attribute);
                        found.push(Reference {
                            object: entry.dn.clone(),
                            attribute: attribute.clone(),
                            value: value.clone(),
                            decision,
                        });
                    }
                }
            }
        }
        self.plan.references.extend(found);
    }

    fn decide(&self, entry: &Entry, attribute: &AttributeName) -> Decision {
        let is = |name: &str| *attribute == *name;
        let left = |why: &str| Decision::Left(why.into());
        match () {
            () if is_own_smtp_connector(entry) => left("the connector that the server makes for itself"),
            () if is("msExchAddressListServiceLink") && self.options.leave_update_service => left("as asked with -norus"),
            () if is("msExchHomeServerName") || is("legacyExchangeDN") => Decision::Unknown,
            () if self.is_connector(entry) && self.options.leave_connectors => left("as asked with --no-connectors"),
            () if self.options.failback => left("it was the stand-in's own before the failover, as far as is known"),
            () => Decision::Unknown,
        }
    }

    fn is_connector(&self, entry: &Entry) -> bool {
        entry.is_of_class("msExchConnector") || entry.is_of_class("mailGateway")
    }
}

/// Attributes that the directory makes from others, and those that do not refer to anything.
fn is_reflection(attribute: &AttributeName) -> bool {
    let name = attribute.as_str();
    let ends = name.len() > 2 && name.as_bytes()[name.len() - 2..].eq_ignore_ascii_case(b"BL");
    ends || ["distinguishedName", "objectClass", "objectCategory", "cn", "name", "msExchExchangeServerLink", "showInAddressBook"]
        .iter()
        .any(|other| *attribute == **other)
}

fn names(server: &Server, attribute: &AttributeName, value: &Value) -> bool {
    let Some(text) = value.as_text() else { return false };
    if text.starts_with('/') {
        return LegacyDn::parse(text).is_some_and(|name| name.is_within(&server.legacy));
    }
    if HOST_TEXTS.iter().any(|name| *attribute == **name) {
        let is_host = |word: &str| {
            word.eq_ignore_ascii_case(&server.name)
                || server.host_name.as_ref().is_some_and(|host| host.eq_ignore_ascii_case(word))
        };
        return text.split(|char: char| char.is_whitespace() || "[],;:".contains(char)).any(is_host);
    }
    text.contains('=') && text.parse::<Dn>().is_ok_and(|dn| dn.is_within(&server.dn))
}
