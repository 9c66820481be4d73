//! Kerberos, in a build that has it: the tickets of whoever runs the program, and nothing else.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use standin_failover::credentials::Credentials;
use standin_failover::directory::ldap::LdapDirectory;
use standin_failover::directory::{self};

use crate::forest::{self, Forest, PASSWORD, address, finish};
use crate::plans::dn;
use crate::support::{SMALL, forest as start, usual};

const CHILD: &str = "LIVE_KERBEROS";

/// Logs on as another process, whose environment names the tickets.
#[test]
fn child() {
    let Ok(authorities) = std::env::var(CHILD) else { return };
    match LdapDirectory::connect(usual(Path::new(&authorities)), Credentials::Kerberos) {
        Ok(directory) => {
            let found = directory::read(&directory, &dn(&forest::mailbox_dn(1)), &["homeMTA".into()]).unwrap().unwrap();
            println!("logged on, read {}", found.text("homeMTA").unwrap());
        }
        Err(error) => println!("refused: {error}"),
    }
}

fn said_by_child(forest: &Forest, dir: &Path) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kerberos::child", "--nocapture"]).env(CHILD, &forest.certificates.file);
    finish(environment(&mut command, dir))
}

fn environment<'a>(command: &'a mut Command, dir: &Path) -> &'a mut Command {
    command.env("KRB5_CONFIG", dir.join("krb5.conf")).env("KRB5CCNAME", format!("FILE:{}", dir.join("tickets").display()))
}

#[test]
fn tickets_log_on_and_their_lack_is_told() {
    let Some(forest) = start(&SMALL) else { return };
    let dir = tempfile::tempdir().unwrap();
    let settings = format!(
        "[libdefaults]\ndefault_realm = FB.TEST\ndns_lookup_kdc = false\ndns_canonicalize_hostname = false\nrdns = false\n\
         [realms]\nFB.TEST = {{\n kdc = {}\n}}\n",
        address(1)
    );
    fs::write(dir.path().join("krb5.conf"), settings).unwrap();
    forest.name_service("ldap/dc1.fb.test", "DC1$");
    let without = said_by_child(&forest, dir.path());
    assert!(without.contains("refused: ") && without.contains("kinit"), "{without}");
    let mut kinit = Command::new("kinit");
    let mut kinit = environment(&mut kinit, dir.path())
        .arg("Administrator@FB.TEST")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(kinit.stdin.take().unwrap(), "{PASSWORD}").unwrap();
    assert!(kinit.wait().unwrap().success());
    let with = said_by_child(&forest, dir.path());
    assert!(with.contains(&format!("logged on, read {}", forest::mta_dn("EX1"))), "{with}");
}
