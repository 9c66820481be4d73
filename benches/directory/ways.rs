//! The ways to move all mailboxes.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use standin_failover::credentials::{Credentials, Secret};
use standin_failover::directory::ldap::{Endpoint, LdapDirectory, LdapSettings, Limits, Servers, Trust};
use standin_failover::directory::{Change, Directory, Modify};

use crate::forest::{ADMINISTRATOR, Forest, PASSWORD, finish, host_name, mailbox_dn, mta_dn, server_legacy_dn, store_of};

/// Writes in flight, as many as Standin has.
const AT_ONCE: usize = 16;

/// A way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// One process, one connection, three modifies for each user, one after the other, as exch.vbs does it. Without finding the users.
    Script,
    /// Only the writes that Standin does for mailboxes, with nothing around them: what the server takes.
    Bare,
    /// `exchfailover`: finding, planning, checking, journal, everything that moves, not only mailboxes.
    Ours,
    /// The same with reading back.
    Verified,
}

impl Way {
    /// In the order of the table.
    pub(crate) const ALL: [Self; 4] = [Self::Script, Self::Bare, Self::Ours, Self::Verified];

    /// For the table.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Script => "script: three modifies a user, one after the other",
            Self::Bare => "the server alone: one modify a user, 16 in flight",
            Self::Ours => "`exchfailover -failover --no-verify`",
            Self::Verified => "`exchfailover -failover`, read back",
        }
    }

    /// Goes it once.
    pub(crate) fn go(self, forest: &Forest, mailboxes: usize) -> Duration {
        let begun = Instant::now();
        match self {
            Self::Script => forest.room.within(|| script(&connect(forest, 1), mailboxes)),
            Self::Bare => forest.room.within(|| bare(&connect(forest, 4), mailboxes)),
            Self::Ours => exchfailover(forest, &["--no-verify"]),
            Self::Verified => exchfailover(forest, &[]),
        }
        begun.elapsed()
    }
}

fn connect(forest: &Forest, connections: usize) -> LdapDirectory {
    let settings = LdapSettings {
        servers: Servers::List(vec![Endpoint::ldaps(&host_name(1))]),
        trust: Trust::Authorities(forest.certificates.file.clone()),
        name_servers: vec![forest.controllers[0].address.into()],
        limits: Limits { connections, ..Limits::default() },
    };
    let password = Secret::new(PASSWORD.to_owned());
    LdapDirectory::connect(settings, Credentials::Password { user: ADMINISTRATOR.to_owned(), password }).unwrap()
}

/// What changes of a mailbox, an attribute each.
fn changes(number: usize) -> [Change; 3] {
    let change = |attribute: &str, old: String, new: String| Change {
        attribute: attribute.into(),
        delete: vec![old.as_str().into()],
        add: vec![new.as_str().into()],
    };
    [
        change("homeMDB", store_of("EX1", number).dn, store_of("EX2", number).dn),
        change("homeMTA", mta_dn("EX1"), mta_dn("EX2")),
        change("msExchHomeServerName", server_legacy_dn("EX1"), server_legacy_dn("EX2")),
    ]
}

fn script(directory: &LdapDirectory, mailboxes: usize) {
    for number in 0..mailboxes {
        let dn = mailbox_dn(number).parse().unwrap();
        for change in changes(number) {
            directory.modify(&Modify { dn: Clone::clone(&dn), changes: vec![change] }).unwrap();
        }
    }
}

fn bare(directory: &LdapDirectory, mailboxes: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= mailboxes {
                        break;
                    }
                    let dn = mailbox_dn(number).parse().unwrap();
                    directory.modify(&Modify { dn, changes: changes(number).to_vec() }).unwrap();
                }
            });
        }
    });
}

fn exchfailover(forest: &Forest, more: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let mut command: Command = forest.room.command(env!("CARGO_BIN_EXE_standin"));
    command.env("STANDIN_DIRECTORY_PASSWORD", PASSWORD).env_remove("STANDIN_CONFIG");
    command.args(["exchfailover", "-failover", "-s", "EX1", "-t", "EX2", "-u", ADMINISTRATOR, "--server", &host_name(1), "--ca"]);
    command.arg(&forest.certificates.file).arg("-l").arg(dir.path().join("log")).arg("--state-dir").arg(dir.path().join("state"));
    finish(command.args(more));
}
