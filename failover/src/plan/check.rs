//! A second look at a plan before it is executed, which shares nothing with how it was made.
//!
//! It knows what a right change looks like, by kind: which attributes, what the old and the new values may name. Whatever is
//! not known to be right is a fault, and a plan with a fault is not executed.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use super::{Action, Edit, Kind, PLAN_SCHEMA, Plan, PlannedChange};
use crate::directory::{AttributeName, Dn, Entry, Value};
use crate::exchange::{LegacyDn, Snapshot};
use crate::pairing::base_name;

/// Something in a plan that is not known to be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {what}")]
pub struct Fault {
    /// The object that it is about.
    pub object: Dn,
    /// What is wrong.
    pub what: String,
}

/// What is wrong with a plan for the directory whose configuration was read into `snapshot`; empty if it may be executed.
///
/// Old values of the configuration are compared with the snapshot; those of mailboxes when they are written.
pub fn check(plan: &Plan, snapshot: &Snapshot) -> Vec<Fault> {
    let servers = snapshot.of_class("msExchExchangeServer").map(|server| server.dn.clone()).collect();
    let mut checker = Checker { plan, snapshot, servers, judged: HashMap::new(), faults: Vec::new() };
    if plan.schema != PLAN_SCHEMA {
        checker.fault(
            &snapshot.organization,
            format!("the plan has form {}, this program executes form {PLAN_SCHEMA} only", plan.schema),
        );
        return checker.faults;
    }
    if plan.contexts.configuration != snapshot.contexts.configuration {
        checker.fault(&plan.contexts.configuration, "the plan was made for another forest");
        return checker.faults;
    }
    let servers = (find_server(snapshot, &plan.asked.from), find_server(snapshot, &plan.asked.to));
    let (Some(from), Some(to)) = servers else {
        checker.fault(&snapshot.organization, format!("{} or {} is no Exchange server any more", plan.asked.from, plan.asked.to));
        return checker.faults;
    };
    if plan.asked.action == Action::Rename {
        checker.renames_only(to);
    } else {
        checker.pairs(from, to);
        checker.changes(from, to);
        checker.service_names();
    }
    checker.faults
}

fn find_server<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a Entry> {
    snapshot.entries().iter().find(|entry| entry.is_of_class("msExchExchangeServer") && same_name(&entry.dn.common_name(), name))
}

fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

struct Checker<'a> {
    plan: &'a Plan,
    snapshot: &'a Snapshot,
    /// All servers of the organization.
    servers: Vec<Dn>,
    /// What was found of a value before: thousands of mailboxes have the same.
    judged: HashMap<(Kind, AttributeName, Value, bool), Option<String>>,
    faults: Vec<Fault>,
}

/// Attributes that a change of a kind may have.
fn allowed(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Overwrite => &["msExchPatchMDB", "msExchDatabaseBeingRestored"],
        Kind::Mailbox => &["homeMDB", "homeMTA", "msExchHomeServerName"],
        Kind::Database => &["msExchOwningServer", "msExchMasterServerOrAvailabilityGroup", "legacyExchangeDN"],
        Kind::DatabaseCopy => &["msExchHostServerLink"],
        Kind::RoutingMaster => &["msExchRoutingMasterDN"],
        Kind::RoutingGroup => &["msExchHomeRoutingGroup"],
        Kind::Connector => &["msExchSourceBridgeheadServersDN", "msExchTargetBridgeheadServersDN", "homeMTA"],
        Kind::UpdateService => &["msExchAddressListServiceLink"],
        Kind::AddressBook => &["offLineABServer", "siteFolderServer"],
        Kind::SiteFolders => &["siteFolderServer"],
        Kind::PublicStore => &["msExchHomePublicMDB"],
        Kind::FolderTree => &["msExchOwningPFTree"],
        Kind::ExpansionServer => &["msExchExpansionServerName"],
        Kind::ServiceNamesOff | Kind::ServiceNamesOn => &["servicePrincipalName"],
        Kind::Name => &[],
    }
}

/// What a value of an attribute must name.
enum Meaning {
    /// An object of one of the two servers, of this class.
    Of(&'static str),
    /// An object of this class, wherever.
    Any(&'static str),
    /// One of the two servers.
    Server,
    /// The legacyExchangeDN of one of the two servers.
    Legacy,
    /// A legacyExchangeDN beneath that of one of the two servers.
    BeneathLegacy,
    /// `TRUE` when it comes.
    Flag,
    /// A service principal name.
    ServiceName,
}

fn meaning(kind: Kind, attribute: &str) -> Meaning {
    match attribute.to_ascii_lowercase().as_str() {
        "homemdb" => Meaning::Of("msExchPrivateMDB"),
        "sitefolderserver" => Meaning::Any("msExchPublicMDB"),
        "msexchhomepublicmdb" => Meaning::Any("msExchPublicMDB"),
        "homemta" if kind == Kind::Mailbox => Meaning::Any("mTA"),
        "homemta" => Meaning::Of("mTA"),
        "msexchsourcebridgeheadserversdn" | "msexchtargetbridgeheadserversdn" => Meaning::Of(""),
        "msexchhomeroutinggroup" => Meaning::Any("msExchRoutingGroup"),
        "msexchowningpftree" => Meaning::Any("msExchPFTree"),
        "msexchhomeservername" | "msexchexpansionservername" => Meaning::Legacy,
        "legacyexchangedn" => Meaning::BeneathLegacy,
        "msexchpatchmdb" | "msexchdatabasebeingrestored" => Meaning::Flag,
        "serviceprincipalname" => Meaning::ServiceName,
        _ => Meaning::Server,
    }
}

impl Checker<'_> {
    fn fault(&mut self, object: &Dn, what: impl Into<String>) {
        self.faults.push(Fault { object: object.clone(), what: what.into() });
    }

    /// Stores of the one server with stores of the other, each once, of equal kind and file.
    fn pairs(&mut self, from: &Entry, to: &Entry) {
        let mut seen: HashSet<&Dn> = HashSet::new();
        for pair in &self.plan.pairs {
            let (Some(old), Some(new)) = (self.snapshot.get(&pair.from), self.snapshot.get(&pair.to)) else {
                self.fault(&pair.from, format!("the pair with {} has a store that does not exist", pair.to));
                continue;
            };
            if pair.from == pair.to {
                // A database of 2010 or later keeps its name and gets another owner.
                if old.dn_of("msExchOwningServer").as_ref() != Some(&from.dn) {
                    self.fault(&pair.from, format!("it is not {}'s", self.plan.asked.from));
                }
                continue;
            }
            if !pair.from.is_beneath(&from.dn) || !pair.to.is_beneath(&to.dn) {
                self.fault(
                    &pair.from,
                    format!("the pair with {} does not lead from {} to {}", pair.to, self.plan.asked.from, self.plan.asked.to),
                );
            }
            if !seen.insert(&pair.from) || !seen.insert(&pair.to) {
                self.fault(&pair.from, format!("it or {} is in two pairs", pair.to));
            }
            if old.is_of_class("msExchPublicMDB") != new.is_of_class("msExchPublicMDB") {
                self.fault(&pair.from, format!("{} is of another kind", pair.to));
            }
            let file = |entry: &Entry| base_name(entry.text("msExchEDBFile").unwrap_or_default()).to_lowercase();
            if file(old).is_empty() || file(old) != file(new) {
                self.fault(&pair.from, format!("{} has another database file, {} and not {}", pair.to, file(new), file(old)));
            }
        }
    }

    fn changes(&mut self, from: &Entry, to: &Entry) {
        let plan = self.plan;
        let pairs: HashMap<&Dn, &Dn> = plan.pairs.iter().map(|pair| (&pair.from, &pair.to)).collect();
        let mut seen = HashSet::new();
        for change in &plan.changes {
            if !seen.insert((&change.object, change.kind)) {
                self.fault(&change.object, "it has two changes of one kind");
            }
            if self.snapshot.contexts.of(&change.object) != Some(&change.context) {
                self.fault(&change.object, format!("it does not lie in {}", change.context));
            }
            self.place(change, from);
            if change.edits.is_empty() {
                self.fault(&change.object, "a change changes nothing");
            }
            for (at, edit) in change.edits.iter().enumerate() {
                if change.edits[..at].iter().any(|other| other.attribute == edit.attribute) {
                    self.fault(&change.object, format!("{} is there twice", edit.attribute));
                }
                self.edit(change, edit, [from, to]);
            }
            if change.kind == Kind::Mailbox {
                self.mailbox(change, &pairs, to);
            }
        }
        for rename in &plan.renames {
            if rename.kind != Kind::DatabaseCopy || rename.name.value().to_lowercase() != to.dn.common_name().to_lowercase() {
                self.fault(&rename.object, format!("it is renamed to {}", rename.name));
            }
        }
    }

    /// Objects of uninvolved servers are not touched, but for the public store that their stores use.
    fn place(&mut self, change: &PlannedChange, from: &Entry) {
        let Some(holder) = self.servers.iter().find(|server| change.object.is_within(server)).cloned() else { return };
        let is_involved = [&self.plan.asked.from, &self.plan.asked.to].iter().any(|name| same_name(name, &holder.common_name()));
        let may = match change.kind {
            Kind::PublicStore => true,
            Kind::RoutingGroup => is_involved && change.object == holder,
            Kind::Overwrite => is_involved && holder != from.dn,
            Kind::FolderTree => is_involved,
            _ => false,
        };
        if !may {
            self.fault(&change.object, format!("an object of server {} would be changed", holder.common_name()));
        }
    }

    fn edit(&mut self, change: &PlannedChange, edit: &Edit, servers: [&Entry; 2]) {
        let object = &change.object;
        if !allowed(change.kind).iter().any(|name| edit.attribute == **name) {
            self.fault(object, format!("{} has nothing to do with such a change", edit.attribute));
            return;
        }
        if edit.old.is_empty() && edit.new.is_empty() {
            self.fault(object, format!("nothing of {} changes", edit.attribute));
        }
        if edit.old.iter().any(|old| edit.new.contains(old)) {
            self.fault(object, format!("a value of {} goes and comes", edit.attribute));
        }
        let Some(entry) = self.snapshot.get(object) else {
            if change.context == self.snapshot.contexts.configuration {
                self.fault(object, "it does not exist any more");
            }
            self.values(change, edit, servers);
            return;
        };
        let found = entry.values(edit.attribute.as_str());
        if let Some(gone) = edit.old.iter().find(|old| !found.contains(old)) {
            self.fault(object, format!("{} is not {} any more", edit.attribute, short(gone)));
        }
        let is_single = !matches!(change.kind, Kind::Connector);
        if is_single && edit.old.len() != found.len() {
            self.fault(object, format!("{} had {} values and has {}", edit.attribute, edit.old.len(), found.len()));
        }
        self.values(change, edit, servers);
    }

    fn values(&mut self, change: &PlannedChange, edit: &Edit, servers: [&Entry; 2]) {
        let meaning = meaning(change.kind, edit.attribute.as_str());
        let new = edit.new.iter().map(|value| (value, true));
        let all = edit.old.iter().map(|value| (value, false)).chain(new);
        for (value, is_new) in all {
            // What a mailbox named before may be anything: it is replaced as it is.
            let is_free = !is_new && change.kind == Kind::Mailbox && edit.attribute != *"homeMDB";
            if is_free {
                continue;
            }
            let key = (change.kind, edit.attribute.clone(), value.clone(), is_new);
            let known = self.judged.get(&key).cloned();
            let why = known.unwrap_or_else(|| self.objection(&meaning, value, is_new, servers));
            self.judged.entry(key).or_insert_with(|| why.clone());
            if let Some(why) = why {
                self.fault(
                    &change.object,
                    format!("{} {} {}, which {why}", edit.attribute, if is_new { "would be" } else { "was" }, short(value)),
                );
            }
        }
    }

    fn objection(&self, meaning: &Meaning, value: &Value, is_new: bool, servers: [&Entry; 2]) -> Option<String> {
        let dn = value.as_dn();
        let exists = |dn: &Dn| self.snapshot.get(dn);
        let beneath = |dn: &Dn| servers.iter().any(|server| dn.is_beneath(&server.dn));
        let legacy = |server: &Entry| server.text("legacyExchangeDN").and_then(LegacyDn::parse);
        let text = value.as_text().unwrap_or_default();
        match meaning {
            Meaning::Of(_) | Meaning::Any(_) | Meaning::Server => {
                let Some(dn) = dn else { return Some("is no distinguished name".to_owned()) };
                let Some(entry) = exists(&dn) else { return is_new.then(|| "does not exist".to_owned()) };
                match meaning {
                    Meaning::Of(class) if !class.is_empty() && !entry.is_of_class(class) => Some(format!("is no {class}")),
                    Meaning::Of(_) if !beneath(&dn) => Some("is neither server's".to_owned()),
                    Meaning::Any(class) if !entry.is_of_class(class) => Some(format!("is no {class}")),
                    Meaning::Server if servers.iter().all(|server| server.dn != dn) => {
                        Some("is neither of the two servers".to_owned())
                    }
                    _ => None,
                }
            }
            Meaning::Legacy => {
                let name = LegacyDn::parse(text);
                (name.is_none() || servers.iter().all(|server| legacy(server) != name)).then(|| "names neither server".to_owned())
            }
            Meaning::BeneathLegacy => {
                let is_within =
                    |name: &LegacyDn| servers.iter().any(|server| legacy(server).is_some_and(|server| name.is_within(&server)));
                (!LegacyDn::parse(text).is_some_and(|name| is_within(&name))).then(|| "names neither server".to_owned())
            }
            Meaning::Flag => (is_new && text != "TRUE").then(|| "is not TRUE".to_owned()),
            Meaning::ServiceName => (!is_service_name(text, servers)).then(|| "is no service of the two servers".to_owned()),
        }
    }

    /// All three attributes end at the server that takes over, and the store is the one that pairs.
    fn mailbox(&mut self, change: &PlannedChange, pairs: &HashMap<&Dn, &Dn>, to: &Entry) {
        let edit = |name: &str| change.edits.iter().find(|edit| edit.attribute == *name);
        if let Some(home) = edit("homeMDB") {
            let old = home.old.first().and_then(Value::as_dn);
            let new = home.new.first().and_then(Value::as_dn);
            let meant = old.as_ref().and_then(|old| pairs.get(old).copied());
            if home.old.len() != 1 || home.new.len() != 1 || meant.is_none() || meant != new.as_ref() {
                self.fault(&change.object, "its new store is not the one that pairs with its old one");
            }
        }
        if let Some(name) = edit("msExchHomeServerName") {
            let legacy = to.text("legacyExchangeDN").unwrap_or_default();
            if name.new.len() != 1 || !name.new[0].as_text().is_some_and(|text| text.eq_ignore_ascii_case(legacy)) {
                self.fault(&change.object, format!("its home server would not be {}", self.plan.asked.to));
            }
        }
        if let Some(mta) = edit("homeMTA") {
            let responsible = to.dn_of("msExchResponsibleMTAServer");
            let new = mta.new.first().and_then(Value::as_dn);
            let is_right =
                new.is_some_and(|new| Some(&new) == responsible.as_ref() || (responsible.is_none() && new.is_beneath(&to.dn)));
            if mta.new.len() != 1 || !is_right {
                self.fault(&change.object, format!("its transfer agent would not be that of {}", self.plan.asked.to));
            }
        }
    }

    /// What one account gets, another one gave.
    fn service_names(&mut self) {
        let of = |kind: Kind| self.plan.changes.iter().filter(move |change| change.kind == kind);
        let fold = |value: &Value| value.to_string().to_lowercase();
        let off: HashSet<String> =
            of(Kind::ServiceNamesOff).flat_map(|change| change.edits.iter().flat_map(|edit| edit.old.iter().map(fold))).collect();
        let mut faults = Vec::new();
        for change in of(Kind::ServiceNamesOff).filter(|change| change.edits.iter().any(|edit| !edit.new.is_empty())) {
            faults.push((change.object.clone(), "names come where they only go".to_owned()));
        }
        for change in of(Kind::ServiceNamesOn) {
            if change.edits.iter().any(|edit| !edit.old.is_empty()) {
                faults.push((change.object.clone(), "names go where they only come".to_owned()));
            }
            for name in change.edits.iter().flat_map(|edit| &edit.new).filter(|name| !off.contains(&fold(name))) {
                faults.push((change.object.clone(), format!("it gets {name}, which nobody gives")));
            }
        }
        faults.into_iter().for_each(|(object, what)| self.fault(&object, what));
    }

    /// A plan that makes names equal changes names and files' places of the target alone.
    fn renames_only(&mut self, to: &Entry) {
        let plan = self.plan;
        for change in &plan.changes {
            self.fault(&change.object, "a plan of renames changes a value");
        }
        let beneath = self.snapshot.entries().iter().map(|entry| &entry.dn).filter(|dn| dn.is_beneath(&to.dn));
        let mut names: HashSet<Dn> = beneath.cloned().collect();
        for rename in &plan.renames {
            let is_of_store = |entry: &Entry| entry.is_of_class("msExchStorageGroup") || entry.is_of_class("msExchMDB");
            let is_right = rename.kind == Kind::Name && self.snapshot.get(&rename.object).is_some_and(is_of_store);
            // What was renamed before its turn has another name then.
            if !names.remove(&rename.object) || !is_right {
                self.fault(&rename.object, format!("it is no storage group or store of {}", plan.asked.to));
            }
            let new = rename.object.with_name(&rename.name);
            if !names.insert(new.clone()) {
                self.fault(&rename.object, format!("{new} exists already"));
            }
        }
    }
}

/// A value as far as somebody reads it: a plan that was edited may have anything in it.
fn short(value: &Value) -> String {
    const SHOWN_CHARACTERS: usize = 300;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], value.as_bytes().len()),
        None => text,
    }
}

/// `service/host` with a service that moves and one of the servers' names.
fn is_service_name(text: &str, servers: [&Entry; 2]) -> bool {
    let Some((service, host)) = text.split_once('/') else { return false };
    let is_known =
        ["exchangeMDB", "exchangeRFR", "SMTPSVC", "SMTP", "HOST"].iter().any(|known| known.eq_ignore_ascii_case(service));
    let label = host.split(['.', ':']).next().unwrap_or_default();
    let is_own = |server: &Entry| {
        let mut addresses = server.values("networkAddress").iter().filter_map(Value::as_text);
        let is_address = |address: &str| address.split_once(':').is_some_and(|(_, name)| name.trim().eq_ignore_ascii_case(host));
        server.dn.common_name().eq_ignore_ascii_case(label) || addresses.any(is_address)
    };
    is_known && servers.into_iter().any(is_own)
}
