//! Public stores of a standby for several sources, and domains that do not answer.

use super::*;
use crate::exchange::Snapshot;
use crate::plan::check::check;

/// EX10 without its public store.
fn without_public() -> LdifDirectory {
    let text = Organization::new(1).text().to_owned();
    let gone = store("EX10", STORES[4]);
    let kept: Vec<&str> = text.split("\n\n").filter(|object| !object.starts_with(&format!("dn: {gone}\n"))).collect();
    let text = kept
        .join("\n\n")
        .replace(&format!("msExchHomePublicMDB: {gone}"), &format!("msExchHomePublicMDB: {}", store("EX1", STORES[4])));
    LdifDirectory::from_text(&text).unwrap()
}

#[test]
fn another_servers_public_store_by_name() {
    let directory = without_public();
    assert!(matches!(build(&directory, &options(), None), Err(PlanError::Unpaired(_))));
    let left = build(&directory, &PlanOptions { leave_unpaired: true, ..options() }, None).unwrap();
    assert!(!counts(&left).contains_key(&Kind::PublicStore));
    for chosen in ["EX3", &store("EX3", STORES[4])] {
        let plan = build(&directory, &PlanOptions { default_public_store: Some(chosen.into()), ..options() }, None).unwrap();
        assert_eq!(check(&plan, &Snapshot::read(&directory).unwrap()), []);
        // Four stores of EX10 and one of EX3.
        assert_eq!(counts(&plan)[&Kind::PublicStore], 5);
        let public = plan.changes.iter().filter(|change| matches!(change.kind, Kind::PublicStore | Kind::SiteFolders));
        assert!(public.flat_map(|change| &change.edits).all(|edit| edit.new[0].as_dn() == Some(dn(&store("EX3", STORES[4])))));
    }
    let none = build(&directory, &PlanOptions { default_public_store: Some("nobody".into()), ..options() }, None).unwrap_err();
    assert!(none.to_string().contains("nobody"), "{none}");
}

#[test]
fn a_domain_that_is_not_there_is_recorded() {
    let organization = Organization::new(2);
    let kept: Vec<&str> = organization.text().split("\n\n").filter(|object| !object.contains("DC=sub,DC=fa,DC=test\n")).collect();
    let partitions = "CN=Partitions,CN=Configuration,DC=fa,DC=test";
    let mut organization = Organization::from_text(kept.join("\n\n"));
    for (name, context) in [("FA", "DC=fa,DC=test"), ("SUB", "DC=sub,DC=fa,DC=test")] {
        let values = [("nCName", context), ("systemFlags", "3"), ("dnsRoot", "x.test"), ("nETBIOSName", name)];
        organization.add(&format!("CN={name},{partitions}"), &["crossRef"], &values);
    }
    let plan = build(&organization.directory(), &options(), None).unwrap();
    assert_eq!(plan.missing.iter().map(|missing| &missing.context).collect::<Vec<_>>(), [&dn("DC=sub,DC=fa,DC=test")]);
    assert!(plan.changes.iter().any(|change| change.kind == Kind::Mailbox));
}
