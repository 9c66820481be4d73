//! A witness in the directory: racing, rights, a controller that is paused, stopped, or not the named one.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use standin_config::group::{DirectoryWitness as Settings, Witness as WitnessSettings};
use standin_failover::directory::ldap::{Endpoint, LdapSettings, Servers};
use standin_failover::directory::{self, Change, Directory, Modify};
use standin_failover::witness::{Witness, WitnessError, build};

use crate::forest::{ADMINISTRATOR, DOMAIN_DN, Forest, HELPDESK, PASSWORD};
use crate::race::{heard, race, word};
use crate::support::{SMALL, connect, credentials, forest, usual};

/// What the account's file has now, and how often it was asked for.
#[derive(Default)]
struct Account {
    now: Mutex<(String, String)>,
    asked: AtomicU32,
}

fn account(user: &str, password: &str) -> Arc<Account> {
    Arc::new(Account { now: Mutex::new((user.to_owned(), password.to_owned())), asked: AtomicU32::new(0) })
}

fn beneath() -> String {
    format!("CN=Computers,{DOMAIN_DN}")
}

fn of_group(group: &str, beneath: &str, authorities: &Path, account: &Arc<Account>) -> Box<dyn Witness> {
    let settings = Settings { controller: "dc1.fb.test".to_owned(), beneath: beneath.to_owned() };
    let (authorities, account) = (authorities.to_owned(), account.clone());
    let door = move |controller: &str| {
        account.asked.fetch_add(1, Ordering::SeqCst);
        let (user, password) = account.now.lock().unwrap().clone();
        let servers = Servers::List(vec![Endpoint::ldaps(controller)]);
        Ok((LdapSettings { servers, ..usual(&authorities) }, credentials(&user, &password)))
    };
    build(&WitnessSettings::Directory(settings), &group.parse().unwrap(), Box::new(door)).unwrap()
}

fn of(forest: &Forest, group: &str) -> Box<dyn Witness> {
    of_group(group, &beneath(), &forest.certificates.file, &account(ADMINISTRATOR, PASSWORD))
}

#[test]
fn of_two_that_race_at_a_controller_exactly_one_wins_each_round() {
    let Some(forest) = forest(&SMALL) else { return };
    race(30, || {
        forest.enter();
        of(&forest, "mail")
    });
}

#[test]
fn a_controller_that_is_silent_or_gone_is_told_and_nobody_else_is_asked() {
    let Some(mut forest) = forest(&SMALL) else { return };
    forest.join();
    let witness = of(&forest, "mail");
    assert_eq!(heard(|| witness.read()), Ok(None));
    let (first, second) = (word(1, "alpha", 0), word(2, "beta", 0));
    assert_eq!(heard(|| witness.swap(Some(&first), &second)), Err(WitnessError::Changed(None)));
    heard(|| match witness.swap(None, &first) {
        Err(WitnessError::Changed(Some(now))) if now == first => Ok(()),
        other => other,
    })
    .unwrap();
    heard(|| witness.swap(Some(&first), &first)).unwrap();
    let text = forest.controllers[0].dump(&format!("CN=standin-mail,{}", beneath()), "(cn=*)", &["serviceBindingInformation"]);
    // LDIF folds long lines.
    assert!(text.replace("\n ", "").contains(&first.text()), "{text}");
    // The other controller has it, too, and is not asked.
    forest.replicate(0, 1);
    forest.controllers[0].stop(&forest.room);
    let begun = Instant::now();
    let gone = witness.read().unwrap_err();
    assert!(matches!(&gone, WitnessError::Unreachable(why) if why.contains("dc1.fb.test")), "{gone}");
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    assert!(matches!(witness.swap(Some(&first), &second), Err(WitnessError::Unreachable(_))));
    forest.controllers[0].start(&forest.room);
    assert_eq!(heard(|| witness.read()), Ok(Some(first.clone())));
    heard(|| match witness.swap(Some(&first), &second) {
        Err(WitnessError::Changed(Some(now))) if now == second => Ok(()),
        other => other,
    })
    .unwrap();
}

#[test]
fn rights_passwords_places_and_foreign_values_are_said() {
    let Some(forest) = forest(&SMALL) else { return };
    let authorities = forest.certificates.file.clone();
    let refused = |done: Result<(), WitnessError>| match done {
        Err(WitnessError::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    // An account without rights reads, and writes neither the first word nor the next.
    let reader = of_group("mail", &beneath(), &authorities, &account(HELPDESK, PASSWORD));
    assert_eq!(heard(|| reader.read()), Ok(None));
    let why = refused(heard(|| reader.swap(None, &word(1, "alpha", 0))));
    assert!(why.contains("no right"), "{why}");
    let witness = of(&forest, "mail");
    heard(|| match witness.swap(None, &word(1, "alpha", 0)) {
        Err(WitnessError::Changed(Some(_))) => Ok(()),
        other => other,
    })
    .unwrap();
    assert_eq!(heard(|| reader.read()), Ok(Some(word(1, "alpha", 0))));
    let why = refused(heard(|| reader.swap(Some(&word(1, "alpha", 0)), &word(1, "alpha", 0))));
    assert!(why.contains("no right"), "{why}");
    // A wrong password is shown once, and again only when it is another one.
    let wrong = account(ADMINISTRATOR, "Wrong:Pa55");
    let locked_out = of_group("mail", &beneath(), &authorities, &wrong);
    for _ in 0..3 {
        let why = refused(heard(|| locked_out.read()).map(drop));
        assert!(why.contains("password is wrong") && !why.contains("Pa55"), "{why}");
    }
    *wrong.now.lock().unwrap() = (ADMINISTRATOR.to_owned(), PASSWORD.to_owned());
    assert_eq!(heard(|| locked_out.read()), Ok(Some(word(1, "alpha", 0))), "a new password holds at once");
    let asked = wrong.asked.load(Ordering::SeqCst);
    heard(|| locked_out.read()).unwrap();
    assert_eq!(wrong.asked.load(Ordering::SeqCst), asked, "nothing is read again while it holds");
    // A place that is not there.
    let nowhere = of_group("mail", &format!("CN=Nowhere,{DOMAIN_DN}"), &authorities, &account(ADMINISTRATOR, PASSWORD));
    let why = refused(heard(|| nowhere.swap(None, &word(1, "alpha", 0))));
    assert!(why.contains("CN=Nowhere") && why.contains("make it"), "{why}");
    // What somebody wrote there by hand.
    let writer = connect(&forest);
    let object: directory::Dn = format!("CN=standin-mail,{}", beneath()).parse().unwrap();
    let change = |delete: Vec<String>, add: Vec<String>| {
        let values = |texts: Vec<String>| texts.into_iter().map(directory::Value::from).collect();
        let change = Change { attribute: "serviceBindingInformation".into(), delete: values(delete), add: values(add) };
        writer.modify(&Modify { dn: object.clone(), changes: vec![change] }).unwrap();
    };
    let own = word(1, "alpha", 0).text();
    change(Vec::new(), vec![word(9, "gamma", 0).text()]);
    let why = refused(heard(|| witness.read()).map(drop));
    assert!(why.contains("2 values"), "{why}");
    change(vec![own.clone(), word(9, "gamma", 0).text()], vec!["beta".to_owned()]);
    assert!(refused(heard(|| witness.read()).map(drop)).contains("no word of this program"));
    change(vec!["beta".to_owned()], Vec::new());
    let why = refused(heard(|| witness.swap(None, &word(2, "beta", 0))));
    assert!(why.contains("took the word away"), "{why}");
    // Made by hand and empty, for an account that may change it and make nothing.
    let class = Change { attribute: "serviceClassName".into(), delete: vec!["Standin-Witness".into()], add: Vec::new() };
    writer.modify(&Modify { dn: object.clone(), changes: vec![class] }).unwrap();
    heard(|| match witness.swap(None, &word(2, "beta", 0)) {
        Err(WitnessError::Changed(Some(_))) => Ok(()),
        other => other,
    })
    .unwrap();
    assert_eq!(heard(|| witness.read()), Ok(Some(word(2, "beta", 0))));
}
