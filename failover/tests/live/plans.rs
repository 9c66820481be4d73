//! A plan for the forest's organization, made by hand: what a failover of EX1 to EX2 changes, with the values that are there.

use std::collections::BTreeMap;

use standin_failover::directory::{self, Directory, Dn, Filter, Scope, Search, Value};
use standin_failover::plan::{Action, Asked, Edit, Kind, PLAN_SCHEMA, Plan, PlannedChange, StorePair};

use crate::forest::{self, DOMAIN_DN};

/// Names as text.
pub(crate) fn dn(text: &str) -> Dn {
    text.parse().unwrap()
}

struct Maker<'a> {
    directory: &'a dyn Directory,
    changes: Vec<PlannedChange>,
}

impl Maker<'_> {
    fn add(&mut self, object: Dn, guid: Option<Value>, context: &str, kind: Kind, edits: Vec<(&str, Vec<Value>, Vec<Value>)>) {
        let edits = edits.into_iter().map(|(name, old, new)| Edit { attribute: name.into(), old, new }).collect();
        self.changes.push(PlannedChange { object, guid, context: dn(context), kind, edits, reason: "by hand".into() });
    }

    /// A reference from EX1 to EX2 in whatever objects of the configuration are of this class.
    fn reference(&mut self, class: &str, kind: Kind, attribute: &str, from: &str, to: &str) {
        let configuration = format!("CN=Configuration,{DOMAIN_DN}");
        let filter = Filter::And(vec![Filter::class(class), Filter::equal(attribute, from)]);
        let search = Search { base: dn(&configuration), scope: Scope::Subtree, filter, attributes: vec!["objectGUID".into()] };
        let found = directory::find_all(self.directory, &search).unwrap();
        assert!(!found.is_empty(), "{class} with {attribute}={from}");
        for entry in found {
            let guid = entry.value("objectGUID").cloned();
            self.add(entry.dn, guid, &configuration, kind, vec![(attribute, vec![from.into()], vec![to.into()])]);
        }
    }

    fn mailboxes(&mut self) {
        let (from, to) = (forest::server_legacy_dn("EX1"), forest::server_legacy_dn("EX2"));
        let pairs = forest::stores("EX1").into_iter().zip(forest::stores("EX2"));
        let stores: BTreeMap<String, String> = pairs.map(|(from, to)| (dn(&from.dn).key().to_owned(), to.dn)).collect();
        let person = Filter::Present("userPrincipalName".into());
        let filter = Filter::And(vec![Filter::class("user"), person, Filter::equal("msExchHomeServerName", from.as_str())]);
        let attributes = ["objectGUID", "homeMDB", "homeMTA"].map(Into::into).to_vec();
        let search = Search { base: dn(DOMAIN_DN), scope: Scope::Subtree, filter, attributes };
        for entry in directory::find_all(self.directory, &search).unwrap() {
            let home = entry.value("homeMDB").unwrap().clone();
            let edits = vec![
                ("homeMDB", vec![home.clone()], vec![stores[home.as_dn().unwrap().key()].as_str().into()]),
                ("homeMTA", vec![entry.value("homeMTA").unwrap().clone()], vec![forest::mta_dn("EX2").into()]),
                ("msExchHomeServerName", vec![from.as_str().into()], vec![to.as_str().into()]),
            ];
            let guid = entry.value("objectGUID").cloned();
            self.add(entry.dn, guid, DOMAIN_DN, Kind::Mailbox, edits);
        }
    }

    fn service_names(&mut self) {
        let names: Vec<Value> = ["exchangeMDB", "exchangeRFR", "SMTPSVC"]
            .iter()
            .flat_map(|service| [format!("{service}/EX1"), format!("{service}/ex1.{}", forest::DOMAIN)])
            .map(Value::from)
            .collect();
        let name = "servicePrincipalName";
        let computer = |server: &str| dn(&format!("CN={server},CN=Computers,{DOMAIN_DN}"));
        self.add(computer("EX1"), None, DOMAIN_DN, Kind::ServiceNamesOff, vec![(name, names.clone(), vec![])]);
        self.add(computer("EX2"), None, DOMAIN_DN, Kind::ServiceNamesOn, vec![(name, vec![], names)]);
    }
}

/// A failover of everything from EX1 to EX2.
pub(crate) fn failover(directory: &dyn Directory) -> Plan {
    let mut maker = Maker { directory, changes: Vec::new() };
    let stores: Vec<_> = forest::stores("EX1").into_iter().zip(forest::stores("EX2")).collect();
    let configuration = format!("CN=Configuration,{DOMAIN_DN}");
    for (_, to) in &stores {
        let edits = vec![("msExchPatchMDB", vec![], vec!["TRUE".into()])];
        maker.add(dn(&to.dn), None, &configuration, Kind::Overwrite, edits);
    }
    maker.mailboxes();
    maker.service_names();
    let (from, to) = (forest::server_dn("EX1"), forest::server_dn("EX2"));
    maker.reference("msExchRoutingGroup", Kind::RoutingMaster, "msExchRoutingMasterDN", &from, &to);
    maker.reference("msExchAddressListService", Kind::UpdateService, "msExchAddressListServiceLink", &from, &to);
    maker.reference("msExchOAB", Kind::AddressBook, "offLineABServer", &from, &to);
    let mta = (forest::mta_dn("EX1"), forest::mta_dn("EX2"));
    maker.reference("msExchRoutingSMTPConnector", Kind::Connector, "homeMTA", &mta.0, &mta.1);
    let changes = maker.changes;
    let pair = |(from, to): (forest::Store, forest::Store)| StorePair {
        from: dn(&from.dn),
        to: dn(&to.dn),
        file: from.file,
        mailboxes: 0,
    };
    Plan {
        schema: PLAN_SCHEMA,
        asked: Asked { action: Action::Failover, from: "EX1".into(), to: "EX2".into(), rules: vec![], options: vec![] },
        contexts: directory.contexts().unwrap(),
        pairs: stores.into_iter().map(pair).collect(),
        unpaired: vec![],
        changes,
        renames: vec![],
        references: vec![],
        warnings: vec![],
    }
}
