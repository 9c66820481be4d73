//! Kerberos through the program, in a build that has it: the tickets of whoever runs it, and no password anywhere.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::forest::{FLEETING, PASSWORD, address, assert_same_dump, dump};
use crate::live::desk;
use crate::support::Done;

fn with_tickets<'a>(command: &'a mut Command, dir: &Path) -> &'a mut Command {
    command.env("KRB5_CONFIG", dir.join("krb5.conf")).env("KRB5CCNAME", format!("FILE:{}", dir.join("tickets").display()))
}

#[test]
fn tickets_take_the_place_of_account_and_password() {
    let Some(desk) = desk() else { return };
    let dir = tempfile::tempdir().unwrap();
    let settings = format!(
        "[libdefaults]\ndefault_realm = FB.TEST\ndns_lookup_kdc = false\ndns_canonicalize_hostname = false\nrdns = false\n\
         [realms]\nFB.TEST = {{\n kdc = {}\n}}\n",
        address(1)
    );
    fs::write(dir.path().join("krb5.conf"), settings).unwrap();
    desk.forest.name_service("ldap/dc1.fb.test", "DC1$");
    let before = dump(&desk.forest, &FLEETING);
    let program = |words: &[&str]| {
        let mut command = desk.bare_program();
        with_tickets(command.args(words), dir.path());
        Done::of(command)
    };
    let without = program(&["directory", "show", "EX1"]).expect(4);
    assert!(without.stderr.contains("kinit"), "{}", without.stderr);
    let prefix = desk.forest.room.prefix();
    let mut kinit = Command::new(&prefix[0]);
    kinit.args(&prefix[1..]).args(["kinit", "Administrator@FB.TEST"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut kinit = with_tickets(&mut kinit, dir.path()).spawn().unwrap();
    writeln!(kinit.stdin.take().unwrap(), "{PASSWORD}").unwrap();
    assert!(kinit.wait().unwrap().success());
    assert!(program(&["directory", "show", "EX1"]).expect(0).stdout.contains("First Storage Group"));
    let log = desk.file("run.log");
    let line = |more: &[&str]| program(&[&["exchfailover", "-l", log.to_str().unwrap()], more].concat());
    line(&["-failover", "-s", "EX1", "-t", "EX2"]).expect(0);
    assert_ne!(before, dump(&desk.forest, &FLEETING));
    line(&["--undo"]).expect(0);
    assert_same_dump(&before, &dump(&desk.forest, &FLEETING));
}
