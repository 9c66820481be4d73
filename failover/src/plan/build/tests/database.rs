//! Databases of 2010 and 2013.

use super::*;
use crate::exchange::Snapshot;
use crate::plan::check::check;
use crate::tests::{CONFIGURATION, server};

const LEGACY_2010: &str = "/o=First EX1/ou=EX1 Group/cn=Configuration/cn=Servers";

fn database(name: &str) -> String {
    format!("CN={name},CN=Databases,{ADMIN_GROUP}")
}

fn organization(version: &str, master: &str, copies: &[&str]) -> LdifDirectory {
    let text = Organization::new(1).text().replace("Version 6.5 (Build 7638.2: Service Pack 2)", version);
    let mut organization = Organization::from_text(text);
    for (name, owner) in [("Db EX1", "EX1"), ("Other", "EX3")] {
        let (owner_dn, legacy) = (server(owner), format!("{LEGACY_2010}/cn={owner}/cn=Microsoft Private MDB"));
        let master = if owner == "EX1" && !master.is_empty() { master.to_owned() } else { owner_dn.clone() };
        let values = [
            ("msExchOwningServer", owner_dn.as_str()),
            ("msExchMasterServerOrAvailabilityGroup", &master),
            ("legacyExchangeDN", &legacy),
            ("msExchEDBFile", "E:\\db\\one.edb"),
        ];
        organization.add(&database(name), &["msExchMDB", "msExchPrivateMDB"], &values);
        for copy in if owner == "EX1" { copies } else { &["EX3"] } {
            let name = format!("CN={copy},{}", database(name));
            organization.add(&name, &["msExchMDBCopy"], &[("msExchHostServerLink", &server(copy)), ("cn", copy)]);
        }
    }
    organization.directory()
}

#[test]
fn a_database_gets_another_owner_and_its_users_stay() {
    for version in ["Version 14.3 (Build 30123.4)", "Version 15.0 (Build 31497.2)"] {
        let directory = organization(version, "", &["EX1"]);
        let before = dump(&directory);
        let plan = build(&directory, &PlanOptions { leave_connectors: true, ..options() }, None).unwrap();
        assert_eq!(check(&plan, &Snapshot::read(&directory).unwrap()), []);
        let kinds = counts(&plan);
        assert_eq!((kinds[&Kind::Overwrite], kinds[&Kind::Database], kinds[&Kind::DatabaseCopy]), (1, 1, 1));
        assert!(!kinds.contains_key(&Kind::Mailbox));
        assert_eq!(plan.renames.len(), 1);
        apply(&directory, plan.writes());
        let moved = object(&directory, &database("Db EX1"));
        assert_eq!(moved.dn_of("msExchOwningServer"), Some(dn(&server("EX10"))));
        assert_eq!(moved.dn_of("msExchMasterServerOrAvailabilityGroup"), Some(dn(&server("EX10"))));
        assert_eq!(moved.text("legacyExchangeDN"), Some(format!("{LEGACY_2010}/cn=EX10/cn=Microsoft Private MDB").as_str()));
        assert!(moved.is_true("msExchPatchMDB") && moved.is_true("msExchDatabaseBeingRestored"));
        let copy = object(&directory, &format!("CN=EX10,{}", database("Db EX1")));
        assert_eq!(copy.dn_of("msExchHostServerLink"), Some(dn(&server("EX10"))));
        let back = build(&directory, &PlanOptions { failback: true, leave_connectors: true, ..options() }, Some(&plan)).unwrap();
        assert_eq!(check(&back, &Snapshot::read(&directory).unwrap()), []);
        apply(&directory, plan.undoing());
        assert_eq!(sorted(&dump(&directory)), sorted(&before));
    }
}

#[test]
fn what_belongs_to_several_is_refused() {
    let group = format!("CN=Dag,{CONFIGURATION}");
    let error = |directory: LdifDirectory| build(&directory, &options(), None).unwrap_err().to_string();
    assert!(error(organization("Version 14.3 (Build 1)", &group, &["EX1"])).contains("availability group"));
    assert!(error(organization("Version 14.3 (Build 1)", "", &["EX1", "EX3"])).contains("several copies"));
    assert!(error(organization("Version 15.1 (Build 1)", "", &["EX1"])).contains("2000 to 2013"));
}

#[test]
fn a_server_without_databases_has_nothing_to_move() {
    let directory = organization("Version 14.3 (Build 1)", "", &["EX1"]);
    let plan =
        build(&directory, &PlanOptions { source: "EX10".into(), target: "EX3".into(), setup_only: true, ..options() }, None)
            .unwrap();
    assert!(plan.is_empty() && plan.warnings[0].contains("owns no database"), "{:?}", plan.warnings);
}
