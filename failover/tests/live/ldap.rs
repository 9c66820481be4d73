//! The LDAP backend against Samba.

use std::ops::ControlFlow;
use std::process::Command;

use standin_failover::directory::ldap::{ConnectError, Endpoint, LdapDirectory, LdapSettings, Limits, Servers, Trust};
use standin_failover::directory::{
    self, Change, Directory, DirectoryError, Dn, Entry, Filter, Modify, Rdn, Rename, Scope, Search, Value,
};

use crate::forest::{self, ADMINISTRATOR, DOMAIN, DOMAIN_DN, Forest, HELPDESK, Organization, PASSWORD, finish};
use crate::support::{SMALL, connect, connect_with, credentials, forest as start, settings};

fn dn(text: &str) -> Dn {
    text.parse().unwrap()
}

fn mailboxes(base: &str) -> Search {
    let filter = Filter::And(vec![Filter::class("user"), Filter::equal("msExchHomeServerName", forest::server_legacy_dn("EX1"))]);
    Search { base: dn(base), scope: Scope::Subtree, filter, attributes: vec!["homeMDB".into(), "userPrincipalName".into()] }
}

/// A move of a mailbox's store and server from EX1 to EX2.
fn moved(number: usize) -> Modify {
    let change = |attribute: &str, old: &str, new: &str| Change {
        attribute: attribute.into(),
        delete: vec![old.into()],
        add: vec![new.into()],
    };
    let (from, to) = (forest::store_of("EX1", number).dn, forest::store_of("EX2", number).dn);
    let changes = vec![
        change("homeMDB", &from, &to),
        change("homeMTA", &forest::mta_dn("EX1"), &forest::mta_dn("EX2")),
        change("msExchHomeServerName", &forest::server_legacy_dn("EX1"), &forest::server_legacy_dn("EX2")),
    ];
    Modify { dn: dn(&forest::mailbox_dn(number)), changes }
}

fn text_of(directory: &LdapDirectory, number: usize, attribute: &str) -> String {
    let object = dn(&forest::mailbox_dn(number));
    let entry = directory::read(directory, &object, &[attribute.into()]).unwrap().expect("the mailbox is there");
    entry.text(attribute).unwrap().to_owned()
}

#[test]
fn the_forest_is_learned_and_every_mailbox_is_found_whatever_its_name() {
    let Some(forest) = start(&SMALL) else { return };
    let directory =
        connect_with(LdapSettings { limits: Limits { page: 7, ..settings(&forest).limits }, ..settings(&forest) }).unwrap();
    let contexts = directory.contexts().unwrap();
    assert_eq!(contexts.default, dn(DOMAIN_DN));
    assert_eq!(contexts.configuration, dn(&format!("CN=Configuration,{DOMAIN_DN}")));
    let domains: Vec<_> =
        contexts.domains.iter().map(|domain| (domain.dns_name.as_str(), domain.controller.as_deref())).collect();
    assert_eq!(domains, [(DOMAIN, Some("dc1.fb.test"))]);
    // 24 mailboxes and 11 system mailboxes, in pages of 7.
    let found = directory::find_all(&directory, &mailboxes(DOMAIN_DN)).unwrap();
    assert_eq!(found.len(), SMALL.mailboxes + 11);
    for number in 0..SMALL.mailboxes {
        let object = dn(&forest::mailbox_dn(number));
        let entry = found.iter().find(|entry| entry.dn == object).unwrap_or_else(|| panic!("{object} was not found"));
        assert_eq!(entry.dn_of("homeMDB").unwrap(), dn(&forest::store_of("EX1", number).dn));
        let read = directory::read(&directory, &object, &["userPrincipalName".into()]).unwrap().unwrap();
        assert_eq!(read.text("userPrincipalName"), Some(forest::mailbox_upn(number).as_str()));
    }
    // The global catalog finds the same, without knowing where.
    let everywhere = Search { base: Dn::root(), ..mailboxes(DOMAIN_DN) };
    assert_eq!(directory::find_all(&directory, &everywhere).unwrap().len(), found.len());
    let mut some = 0;
    let stop_at_three = &mut |_| {
        some += 1;
        if some == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    directory.search(&mailboxes(DOMAIN_DN), stop_at_three).unwrap();
    assert_eq!(some, 3);
}

#[test]
fn a_write_happens_whole_or_not_at_all() {
    let Some(forest) = start(&SMALL) else { return };
    let directory = connect(&forest);
    for number in 0..12 {
        directory.modify(&moved(number)).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(text_of(&directory, number, "msExchHomeServerName"), forest::server_legacy_dn("EX2"));
    }
    let again = directory.modify(&moved(3)).unwrap_err();
    assert!(matches!(again, DirectoryError::Changed { .. }), "{again}");
    // Only the last of three values is not what it was: nothing is written.
    let mut stale = moved(13);
    stale.changes[2].delete = vec!["/o=EX1 Works/ou=EX1/cn=Configuration/cn=Servers/cn=EX3".into()];
    let error = directory.modify(&stale).unwrap_err();
    assert!(matches!(error, DirectoryError::Changed { .. }), "{error}");
    assert_eq!(text_of(&directory, 13, "homeMTA"), forest::mta_dn("EX1"));
    // A reference to nothing, an object that is none.
    let mut dangling = moved(14);
    dangling.changes[0].add = vec![Value::from("CN=nowhere,DC=fb,DC=test")];
    assert!(matches!(
        directory.modify(&dangling).unwrap_err(),
        DirectoryError::Refused { .. } | DirectoryError::NoSuchObject { .. }
    ));
    let gone = Modify { dn: dn("CN=gone,OU=Staff,DC=fb,DC=test"), ..moved(14) };
    assert!(matches!(directory.modify(&gone).unwrap_err(), DirectoryError::NoSuchObject { .. }));
    assert_eq!(directory.modify(&moved(3).inverse()), Ok(()));
    assert_eq!(text_of(&directory, 3, "msExchHomeServerName"), forest::server_legacy_dn("EX1"));
    let rename = Rename { dn: dn(&forest::stores("EX2")[2].dn), name: Rdn::cn("Sales, \"West\"") };
    directory.rename(&rename).unwrap();
    assert!(directory::read(&directory, &rename.renamed(), &["cn".into()]).unwrap().is_some());
    directory.rename(&rename.inverse()).unwrap();
}

#[test]
fn attributes_of_many_values_are_complete() {
    let many = Organization { mailboxes: 5000, strangers: 50 };
    let Some(forest) = start(&many) else { return };
    let directory = connect(&forest);
    let store = forest::store_of("EX1", 0);
    let entry = directory::read(&directory, &dn(&store.dn), &["homeMDBBL".into(), "cn".into()]).unwrap().unwrap();
    // The eleven private stores share 5000; the system mailbox and what else names the first one come on top.
    assert!(entry.values("homeMDBBL").len() > 450, "{}", entry.values("homeMDBBL").len());
    let ranged: Search = Search {
        base: dn(&store.dn),
        scope: Scope::Base,
        filter: Filter::Present("cn".into()),
        attributes: vec!["homeMDBBL;range=0-99".into()],
    };
    let part = directory::find_all(&directory, &ranged).unwrap();
    assert_eq!(part[0].values("homeMDBBL").len(), entry.values("homeMDBBL").len(), "begun with 100, all came");
}

/// How the administrator fares with these servers and this trust.
fn attempt(forest: &Forest, server: &str, trust: Trust) -> Result<(), String> {
    let servers = Servers::List(vec![server.parse().unwrap()]);
    let done = connect_with(LdapSettings { servers, trust, ..settings(forest) });
    done.map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn what_cannot_be_trusted_gets_no_password_and_what_is_refused_says_why() {
    let Some(mut forest) = start(&SMALL) else { return };
    let file = forest.certificates.file.clone();
    let authorities = || Trust::Authorities(file.clone());
    assert_eq!(attempt(&forest, "ldaps://dc1.fb.test", authorities()), Ok(()));
    assert_eq!(attempt(&forest, "starttls://dc1.fb.test", authorities()), Ok(()));
    assert_eq!(attempt(&forest, "ldaps://127.0.0.11", authorities()), Ok(()));
    let text = finish(
        Command::new("openssl")
            .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
            .arg(forest.controllers[0].dir.join("private/tls/cert.pem")),
    );
    let fingerprint = text.trim().split_once('=').unwrap().1.to_owned();
    assert_eq!(attempt(&forest, "ldaps://dc1.fb.test", Trust::Pinned(fingerprint.parse().unwrap())), Ok(()));
    let other = fingerprint.replacen(|digit: char| digit != '0', "0", 1);
    let wrong_pin = attempt(&forest, "starttls://dc1.fb.test", Trust::Pinned(other.parse().unwrap())).unwrap_err();
    assert!(wrong_pin.contains("not trusted") && wrong_pin.contains(&fingerprint), "{wrong_pin}");
    let unknown = attempt(&forest, "ldaps://dc1.fb.test", Trust::System).unwrap_err();
    assert!(unknown.contains("not signed by an authority") || unknown.contains("no certificate authorities"), "{unknown}");
    let nowhere = attempt(&forest, "ldaps://dc9.fb.test", authorities()).unwrap_err();
    assert!(nowhere.contains("dc9.fb.test") && nowhere.contains("not known"), "{nowhere}");
    let closed = attempt(&forest, "ldaps://dc1.fb.test:6360", authorities()).unwrap_err();
    assert!(closed.contains("refused"), "{closed}");
    let plain = "ldap://dc1.fb.test".parse::<Endpoint>().unwrap_err().to_string();
    assert!(plain.contains("in the clear"), "{plain}");

    let present = |forest: &mut Forest, host: &str, until_year: i32| {
        forest.controllers[0].stop(&forest.room);
        forest.certificates.issue(&forest.controllers[0].dir, host, "127.0.0.17", until_year);
        forest.controllers[0].start(&forest.room);
    };
    present(&mut forest, "dc1.fb.test", 2020);
    let expired = attempt(&forest, "ldaps://dc1.fb.test", authorities()).unwrap_err();
    assert!(expired.contains("expired"), "{expired}");
    present(&mut forest, "dc7.fb.test", 2099);
    let misnamed = attempt(&forest, "ldaps://dc1.fb.test", authorities()).unwrap_err();
    assert!(misnamed.contains("another name"), "{misnamed}");
}

#[test]
fn credentials_that_are_refused_say_why_and_are_tried_once() {
    let Some(forest) = start(&SMALL) else { return };
    let attempt = |user: &str, password: &str| match LdapDirectory::connect(settings(&forest), credentials(user, password)) {
        Ok(directory) => Ok(directory),
        Err(ConnectError::Directory(error @ DirectoryError::Credentials { .. })) => Err(error.to_string()),
        Err(error) => panic!("{user}: {error}"),
    };
    let wrong = attempt(ADMINISTRATOR, "Wrong:Pa55").map(|_| ()).unwrap_err();
    assert!(wrong.contains("dc1.fb.test:636") && wrong.contains("password is wrong") && !wrong.contains("Wrong:Pa55"), "{wrong}");
    let nobody = attempt("nobody@fb.test", PASSWORD).map(|_| ()).unwrap_err();
    assert!(nobody.contains("wrong") || nobody.contains("no such user"), "{nobody}");
    let kerberos = LdapDirectory::connect(settings(&forest), standin_failover::credentials::Credentials::Kerberos).map(|_| ());
    assert!(kerberos.unwrap_err().to_string().contains("Kerberos"));
    let reader = attempt(HELPDESK, PASSWORD).unwrap();
    assert_eq!(text_of(&reader, 0, "homeMTA"), forest::mta_dn("EX1"));
    let refused = reader.modify(&moved(0)).unwrap_err();
    assert!(matches!(refused, DirectoryError::Rights { .. }), "{refused}");
}

#[test]
fn another_controller_answers_and_none_but_the_writer_is_written_to() {
    let Some(mut forest) = start(&SMALL) else { return };
    forest.join();
    let by_dns = LdapSettings { servers: Servers::Domain(DOMAIN.to_owned()), ..settings(&forest) };
    let directory = connect_with(by_dns).unwrap();
    let context = dn(DOMAIN_DN);
    assert_eq!(directory.holders(&context), ["dc1.fb.test", "dc2.fb.test"]);
    assert_eq!(directory.writer(&context).unwrap(), "dc1.fb.test");
    directory.modify(&moved(1)).unwrap();
    assert_eq!(at(&directory, "dc2.fb.test", 1), forest::mta_dn("EX1"), "nothing was replicated yet");
    forest.replicate(0, 1);
    assert_eq!(at(&directory, "dc2.fb.test", 1), forest::mta_dn("EX2"));
    stop(&mut forest, 0);
    assert_eq!(text_of(&directory, 1, "homeMTA"), forest::mta_dn("EX2"), "read from the other one");
    let lost = directory.modify(&moved(2)).unwrap_err();
    assert!(matches!(&lost, DirectoryError::Unreachable { server, .. } if server.contains("dc1")), "{lost}");
    directory.use_writer(&context, "dc2.fb.test").unwrap();
    directory.modify(&moved(2)).unwrap();
    assert!(directory.use_writer(&context, "dc1.fb.test").is_err());
    assert_eq!(directory.writer(&context).unwrap(), "dc2.fb.test");
    forest.controllers[0].start(&forest.room);
    directory.use_writer(&context, "dc1.fb.test").unwrap();
}

/// The `homeMTA` of a mailbox at one controller.
fn at(directory: &LdapDirectory, controller: &str, number: usize) -> String {
    let base = dn(&forest::mailbox_dn(number));
    let one = Search { base, scope: Scope::Base, filter: Filter::Present("cn".into()), attributes: vec!["homeMTA".into()] };
    let mut found = String::new();
    let mut keep = |entry: Entry| {
        found = entry.text("homeMTA").unwrap().to_owned();
        ControlFlow::Continue(())
    };
    directory.search_at(controller, &one, &mut keep).unwrap();
    found
}

fn stop(forest: &mut Forest, number: usize) {
    forest.controllers[number].stop(&forest.room);
}
