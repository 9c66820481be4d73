use std::collections::BTreeMap;

mod database;
mod public;
mod random;

use super::*;
use crate::directory::ldif::{LdifDirectory, Write};
use crate::plan::{Decision, Stage};
use crate::tests::{ADMIN_GROUP, LEGACY, ORGANIZATION, Organization, STORES, dn, object, routing_group, server, store};

pub(super) fn options() -> PlanOptions {
    PlanOptions { source: "ex1".into(), target: "EX10".into(), ..PlanOptions::default() }
}

fn failback() -> PlanOptions {
    PlanOptions { failback: true, ..options() }
}

pub(super) fn apply(directory: &LdifDirectory, writes: impl IntoIterator<Item = Write>) {
    for write in writes {
        match &write {
            Write::Modify(modify) => directory.modify(modify),
            Write::Rename(rename) => directory.rename(rename),
        }
        .unwrap_or_else(|error| panic!("{write:?}: {error}"));
    }
}

pub(super) fn dump(directory: &LdifDirectory) -> String {
    let mut out = Vec::new();
    directory.export(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Objects with their lines, in an order that does not depend on the one of values.
fn sorted(text: &str) -> Vec<String> {
    let lines = |object: &str| {
        let mut lines: Vec<&str> = object.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    let mut objects: Vec<String> = text.replace("\n ", "").split("\n\n").map(lines).collect();
    objects.sort();
    objects
}

fn counts(plan: &Plan) -> BTreeMap<Kind, usize> {
    let mut counts = BTreeMap::new();
    plan.changes.iter().for_each(|change| *counts.entry(change.kind).or_default() += 1);
    counts
}

#[test]
fn every_row_of_the_table() {
    let directory = Organization::new(3).directory();
    let plan = build(&directory, &options(), None).unwrap();
    let expected = [
        (Kind::Overwrite, 5),
        (Kind::Mailbox, 14),
        (Kind::RoutingMaster, 1),
        (Kind::Connector, 2),
        (Kind::UpdateService, 2),
        (Kind::AddressBook, 1),
        (Kind::SiteFolders, 1),
        (Kind::PublicStore, 1),
        (Kind::FolderTree, 1),
        (Kind::ExpansionServer, 1),
        (Kind::ServiceNamesOff, 1),
        (Kind::ServiceNamesOn, 1),
    ];
    assert_eq!(counts(&plan), expected.into_iter().collect());
    assert_eq!(plan.pairs.iter().map(|pair| pair.mailboxes).collect::<Vec<_>>(), [3, 3, 3, 4, 0]);
    assert!(plan.missing.is_empty());
    apply(&directory, plan.writes());

    let user = object(&directory, "CN=user1x1\\, EX1,OU=Sales\\, CN\\=EX1,OU=EX1,DC=sub,DC=fa,DC=test");
    assert_eq!(user.dn_of("homeMDB"), Some(dn(&store("EX10", STORES[1]))));
    assert_eq!(user.dn_of("homeMTA"), Some(dn(&format!("CN=Microsoft MTA,{}", server("EX10")))));
    assert_eq!(user.text("msExchHomeServerName"), Some(format!("{LEGACY}/cn=EX10").as_str()));
    for half in ["CN=Half,OU=EX1,DC=fa,DC=test", "CN=Bare,OU=EX1,DC=sub,DC=fa,DC=test"] {
        let user = object(&directory, half);
        assert_eq!(user.dn_of("homeMDB"), Some(dn(&store("EX10", STORES[2]))));
        assert_eq!(user.text("msExchHomeServerName"), Some(format!("{LEGACY}/cn=EX10").as_str()));
    }
    let connector = object(&directory, &format!("CN=Internet,CN=Connections,{}", routing_group("EX1")));
    let bridgeheads: Vec<Dn> = connector.values("msExchSourceBridgeheadServersDN").iter().filter_map(Value::as_dn).collect();
    let smtp = |name: &str| dn(&format!("CN=1,CN=SMTP,CN=Protocols,{}", server(name)));
    assert_eq!(bridgeheads, [smtp("EX3"), smtp("EX10")]);
    assert_eq!(object(&directory, ADMIN_GROUP).dn_of("siteFolderServer"), Some(dn(&store("EX10", STORES[4]))));
    assert_eq!(
        object(&directory, &store("EX10", STORES[4])).dn_of("msExchOwningPFTree"),
        Some(dn(&format!("CN=Tree,{ADMIN_GROUP}")))
    );
    assert!(object(&directory, &store("EX10", STORES[0])).is_true("msExchPatchMDB"));
    let names = |name: &str| -> Vec<String> {
        let computer = object(&directory, &format!("CN={name},OU=EX1,DC=fa,DC=test"));
        computer.values("servicePrincipalName").iter().map(ToString::to_string).collect()
    };
    assert_eq!(names("EX1"), ["HOST/EX1", "HOST/ex1.fa.test", "exchangeAB/EX1", "exchangeAB/ex1.fa.test"]);
    assert_eq!(names("EX10").len(), 12 + 8);
    // A second run finds nothing to do.
    let again = build(&directory, &options(), None).unwrap();
    assert_eq!(again.changes, []);
}

#[test]
fn nothing_of_the_third_server_changes() {
    let directory = Organization::new(2).directory();
    let before = dump(&directory);
    apply(
        &directory,
        build(&directory, &PlanOptions { swap_routing_groups: true, move_host_names: true, ..options() }, None).unwrap().writes(),
    );
    let third = |text: &str| -> Vec<String> {
        let own = [
            server("EX3"),
            "CN=stranger\\, EX1".to_owned(),
            "CN=EX3,OU=EX1".to_owned(),
            "CN=SUB,CN=Rec".to_owned(),
            "CN=Other,CN=Off".to_owned(),
            "CN=Third,".to_owned(),
        ];
        let unfolded = text.replace("\n ", "");
        unfolded
            .split("\n\n")
            .filter(|object| own.iter().any(|own| object.lines().next().unwrap_or_default().contains(own.as_str())))
            .map(str::to_owned)
            .collect()
    };
    let (before, after) = (third(&before), third(&dump(&directory)));
    assert!(before.len() >= 15, "{}", before.len());
    let differing: Vec<_> =
        before.iter().zip(&after).filter(|(a, b)| a != b).map(|(a, _)| a.lines().next().unwrap_or_default()).collect();
    // Its store "More" used EX1's public store.
    assert_eq!(differing.len(), 1, "{differing:?}");
    assert!(differing[0].starts_with("dn: CN=More,"));
}

#[test]
fn references_are_listed_with_what_was_decided() {
    let directory = Organization::new(1).directory();
    let plan = build(&directory, &PlanOptions { leave_update_service: true, ..options() }, None).unwrap();
    let found: Vec<(String, String, bool)> = plan
        .references
        .iter()
        .map(|reference| {
            (reference.object.common_name(), reference.attribute.to_string(), reference.decision == Decision::Unknown)
        })
        .collect();
    let has = |name: &str, attribute: &str, unknown: bool| {
        assert!(found.contains(&(name.into(), attribute.into(), unknown)), "{name} {attribute}: {found:#?}");
    };
    has("SystemMailbox{0A}", "homeMDB", false);
    has("No store", "msExchHomeServerName", true);
    has("SMTP (EX1-{6F2B})", "homeMDB", false);
    has("SMTP (EX1-{6F2B})", "homeMTA", false);
    has("FA", "msExchAddressListServiceLink", false);
    has("Internet", "msExchSmtpSmartHost", true);
    assert_eq!(found.len(), 7, "{found:#?}");
}

#[test]
fn setup_alone_sets_flags_alone() {
    let directory = Organization::new(1).directory();
    let plan = build(&directory, &PlanOptions { setup_only: true, ..options() }, None).unwrap();
    assert_eq!(counts(&plan), [(Kind::Overwrite, 5)].into_iter().collect());
    let whole = build(&directory, &options(), None).unwrap();
    assert_eq!(whole.changes_of(Stage::Setup).cloned().collect::<Vec<_>>(), plan.changes);
}

#[test]
fn undo_is_the_beginning() {
    for options in
        [options(), PlanOptions { swap_routing_groups: true, move_host_names: true, leave_connectors: true, ..options() }]
    {
        let directory = Organization::new(2).directory();
        let before = dump(&directory);
        let plan = build(&directory, &options, None).unwrap();
        let read: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        assert_eq!(read, plan);
        apply(&directory, read.writes());
        assert_ne!(dump(&directory), before);
        apply(&directory, read.undoing());
        assert_eq!(sorted(&dump(&directory)), sorted(&before));
    }
}

#[test]
fn failback_takes_home_what_the_failover_took() {
    for recorded in [true, false] {
        let mut organization = Organization::new(2);
        organization.mailbox("EX10", STORES[0], "already there", false);
        let directory = organization.directory();
        let plan = build(&directory, &options(), None).unwrap();
        apply(&directory, plan.writes());
        // Somebody came while the stand-in stood in.
        let back = build(&directory, &failback(), recorded.then_some(&plan)).unwrap();
        apply(&directory, back.writes());
        let user = object(&directory, "CN=user0x0\\, EX1,OU=Sales\\, CN\\=EX1,OU=EX1,DC=fa,DC=test");
        assert_eq!(user.dn_of("homeMDB"), Some(dn(&store("EX1", STORES[0]))));
        assert_eq!(user.text("msExchHomeServerName"), Some(format!("{LEGACY}/cn=EX1").as_str()));
        let group = object(&directory, &routing_group("EX1"));
        assert_eq!(group.dn_of("msExchRoutingMasterDN"), Some(dn(&server("EX1"))));
        let far = object(&directory, &routing_group("Far")).dn_of("msExchRoutingMasterDN");
        let staff = object(&directory, "CN=Other staff,OU=EX1,DC=sub,DC=fa,DC=test");
        let home = staff.text("msExchExpansionServerName").unwrap().rsplit('=').next().unwrap();
        // What the stand-in had for itself before stays with it, if that is known.
        assert_eq!((far, home), if recorded { (Some(dn(&server("EX10"))), "EX10") } else { (Some(dn(&server("EX1"))), "EX1") });
        let service = object(&directory, &format!("CN=FA,CN=Recipient Update Services,{ORGANIZATION}"));
        assert_eq!(service.dn_of("msExchAddressListServiceLink"), Some(dn(&server("EX1"))));
        let computer = object(&directory, "CN=EX1,OU=EX1,DC=fa,DC=test");
        assert_eq!(computer.values("servicePrincipalName").len(), 12);
        assert_eq!(back.warnings.iter().any(|warning| warning.contains("no record")), !recorded);
    }
}

#[test]
fn a_name_that_a_third_account_holds_is_not_given() {
    let mut organization = Organization::new(1);
    organization.add("CN=thief,OU=EX1,DC=sub,DC=fa,DC=test", &["user"], &[("servicePrincipalName", "smtp/ex1")]);
    let directory = organization.directory();
    let plan = build(&directory, &options(), None).unwrap();
    let on = plan.changes_of(Stage::ServiceNamesOn).next().unwrap();
    assert_eq!(on.edits[0].new.len(), 7);
    assert!(plan.warnings.iter().any(|warning| warning.contains("CN=thief")), "{:?}", plan.warnings);
    apply(&directory, plan.writes());
}

#[test]
fn what_is_refused() {
    let directory = Organization::new(1).directory();
    let error = |options: PlanOptions| build(&directory, &options, None).unwrap_err().to_string();
    assert!(error(PlanOptions { target: "EX11".into(), ..options() }).contains("there are EX1, EX10, EX3"));
    assert!(error(PlanOptions { target: "EX1".into(), ..options() }).contains("the same server"));
    let rules = vec!["EX1:EX1".parse().unwrap()];
    let unpaired = error(PlanOptions { rules: rules.clone(), ..options() });
    assert!(unpaired.contains("CN=Mail,") && unpaired.contains("--leave-unpaired"), "{unpaired}");
    let plan = build(&directory, &PlanOptions { rules, leave_unpaired: true, ..options() }, None).unwrap();
    assert_eq!((plan.pairs.len(), plan.unpaired.len()), (2, 3));
    assert_eq!(plan.unpaired.iter().map(|left| left.mailboxes).collect::<Vec<_>>(), [1, 2, 0]);

    let with = |from: &str, to: &str| LdifDirectory::from_text(&Organization::new(0).text().replace(from, to)).unwrap();
    let unknown = build(&with("Version 6.5", "Version 5.5"), &options(), None).unwrap_err().to_string();
    assert!(unknown.contains("is not one whose directory objects are known"), "{unknown}");
    let text = Organization::new(0).text().replacen("Version 6.5", "Version 8.1", 1);
    let mixed = build(&LdifDirectory::from_text(&text).unwrap(), &options(), None).unwrap_err().to_string();
    assert!(mixed.contains("can not be opened by each other"), "{mixed}");
    let clash = build(&with("E:\\mdb\\1.edb", "F:\\0.EDB"), &options(), None).unwrap_err();
    assert!(matches!(clash, PlanError::Pairing(ref refused) if refused.settle == [Rule::default()]), "{clash}");
}

#[test]
fn a_virtual_servers_node_keeps_its_own_names() {
    let text = Organization::new(0).text().replace("ncacn_ip_tcp:ex1.fa.test", "ncacn_ip_tcp:a-very-long-mail-server.fa.test");
    let text = text.replace("sAMAccountName: EX1$\ndNSHostName: ex1.fa.test", "sAMAccountName: EX1$\ndNSHostName: node7.fa.test\nservicePrincipalName: SMTP/node7.fa.test\nservicePrincipalName: SMTP/A-very-long-mail-server.fa.test");
    let directory = LdifDirectory::from_text(&text).unwrap();
    let plan = build(&directory, &options(), None).unwrap();
    let off: Vec<String> =
        plan.changes_of(Stage::ServiceNamesOff).flat_map(|change| &change.edits[0].old).map(ToString::to_string).collect();
    assert_eq!(off, ["exchangeMDB/EX1", "exchangeRFR/EX1", "SMTPSVC/EX1", "SMTP/EX1", "SMTP/A-very-long-mail-server.fa.test"]);
    assert_eq!(crate::plan::check::check(&plan, &Snapshot::read(&directory).unwrap()), []);
}

#[test]
fn exchange_2007() {
    let text = Organization::new(2).text().replace("Version 6.5 (Build 7638.2: Service Pack 2)", "Version 8.3 (Build 30083.6)");
    let directory = LdifDirectory::from_text(&text).unwrap();
    let plan = build(&directory, &options(), None).unwrap();
    assert_eq!(counts(&plan)[&Kind::Mailbox], 10);
    assert_eq!(crate::plan::check::check(&plan, &Snapshot::read(&directory).unwrap()), []);
}
