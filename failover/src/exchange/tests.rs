use super::*;
use crate::directory::ldif::LdifDirectory;
use crate::tests::{Organization, dn, routing_group, server};

#[test]
fn legacy_names_by_whole_components() {
    let name = |text: &str| LegacyDn::parse(text).unwrap();
    let (ex1, ex2) = (name("/o=EX1/ou=EX1/cn=EX1"), name("/o=EX1/ou=EX1/cn=EX2"));
    assert_eq!(
        name("/O=ex1/OU=EX1/cn=ex1/cn=Microsoft EX1").moved(&ex1, &ex2).unwrap().as_str(),
        "/o=EX1/ou=EX1/cn=EX2/cn=Microsoft EX1"
    );
    assert_eq!(name("/o=EX1/ou=EX1/cn=EX10").moved(&ex1, &ex2), None);
    assert_eq!(name("/o=EX1/ou=EX1").moved(&ex1, &ex2), None);
    assert!(!name("/o=EX1/ou=EX1/cn=EX10").is_within(&ex1) && ex1.is_within(&ex1));
    for text in ["", "o=x", "/x", "/=x", "/o=x//cn=y", "CN=x"] {
        assert!(LegacyDn::parse(text).is_none(), "{text}");
    }
}

#[test]
fn versions() {
    let generation = |text: &str| Version::parse(text).and_then(|version| version.generation());
    assert_eq!(generation("Version 6.0 (Build 6249.4: Service Pack 3)"), Some(Generation::Ex2003));
    assert_eq!(generation("Version 6.5 (Build 7638.2: Service Pack 2)"), Some(Generation::Ex2003));
    assert_eq!(generation("Version 8.3 (Build 30083.6)"), Some(Generation::Ex2007));
    assert_eq!(generation("Version 14.3 (Build 30123.4)"), Some(Generation::Ex2010));
    assert_eq!(generation("Version 15.0 (Build 31497.2)"), Some(Generation::Ex2010));
    assert_eq!(generation("Version 15.1 (Build 1)"), None);
    assert_eq!(Version::parse("6.5"), None);
}

#[test]
fn a_server_is_read() {
    let directory = Organization::new(0).directory();
    let snapshot = Snapshot::read(&directory).unwrap();
    let server_read = snapshot.server("ex10").unwrap();
    assert_eq!((server_read.name.as_str(), server_read.host_name.as_deref()), ("EX10", Some("ex10.fa.test")));
    assert_eq!(server_read.mta, Some(dn(&format!("CN=Microsoft MTA,{}", server("EX10")))));
    assert_eq!(server_read.routing_group, Some(dn(&routing_group("Far"))));
    assert_eq!((server_read.groups.len(), server_read.stores().count(), server_read.smtp.len()), (2, 5, 1));
    assert_eq!(server_read.public_store().unwrap().name, "Public");
    assert_eq!(server_read.groups[0].log_prefix.as_deref(), Some("E00"));
    let computer = find_computer(&directory, &snapshot.contexts.domains, &server_read).unwrap().unwrap();
    assert_eq!((computer.dn, computer.service_names.len()), (dn("CN=EX10,OU=EX1,DC=fa,DC=test"), 12));
}

#[test]
fn recovery_stores_take_no_part() {
    let mut organization = Organization::new(0);
    let group = format!("CN=Recovery,CN=InformationStore,{}", server("EX1"));
    organization.add(&group, &["msExchStorageGroup"], &[("msExchRestore", "TRUE")]);
    organization.add(
        &format!("CN=Mail,{group}"),
        &["msExchMDB", "msExchPrivateMDB"],
        &[("msExchOrigMDB", "CN=x"), ("msExchEDBFile", "2.edb")],
    );
    let server = Snapshot::read(&organization.directory()).unwrap().server("EX1").unwrap();
    assert_eq!((server.groups.len(), server.stores().count()), (3, 5));
}

#[test]
fn what_is_missing_is_told() {
    let empty = LdifDirectory::from_text("dn: CN=Configuration,DC=x\nobjectClass: configuration\n").unwrap();
    assert!(matches!(Snapshot::read(&empty), Err(ExchangeError::NoOrganization(_))));
    let text = Organization::new(0)
        .text()
        .replace("/cn=Configuration/cn=Servers/cn=EX1\n", "x\n")
        .replace("legacyExchangeDN: /o=First EX1/ou=EX1 Groupx", "x: y");
    let snapshot = Snapshot::read(&LdifDirectory::from_text(&text).unwrap()).unwrap();
    assert!(snapshot.server("EX1").unwrap_err().to_string().contains("no legacyExchangeDN"));
}

#[test]
fn a_tree_shows_stores_users_and_duties() {
    let directory = Organization::new(2).directory();
    let text = tree(&directory, &Snapshot::read(&directory).unwrap(), "EX1").unwrap().to_string();
    for part in [
        "EX1  ex1.fa.test  Version 6.5",
        "  in routing group EX1\n",
        "  Second Group  E01  L:\\logs\n    Ex1 Mail  E:\\mdb\\3.edb  2 users\n",
        "    Public  E:\\mdb\\4.edb  public folders\n",
        "  routing master of EX1\n",
        "  Recipient Update Service FA\n",
        "  makes address book Default\n",
        "  folders of EX1 Group\n",
        "  bridgehead of Internet\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("SUB") && !text.contains("Other"), "{text}");
}
