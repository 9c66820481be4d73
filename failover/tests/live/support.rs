//! What the tests of this binary share.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use standin_failover::credentials::{Credentials, Secret};
use standin_failover::directory::ldap::{ConnectError, Endpoint, LdapDirectory, LdapSettings, Limits, Servers, Trust};

use crate::forest::{ADMINISTRATOR, Forest, Organization, PASSWORD, address, host_name};

pub(crate) use crate::forest::SMALL;

/// Whether these tests can run; where they must, a panic instead of `false`.
pub(crate) fn possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    let missing = ["samba", "samba-tool", "ldbadd", "unshare", "nsenter"].into_iter().find(|program| {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(program).exists());
        !found
    });
    let possible = root && missing.is_none();
    assert!(possible || std::env::var("CI").as_deref() != Ok("true"), "root: {root}, missing: {missing:?}");
    if !possible {
        println!("not run: root: {root}, missing: {missing:?}");
    }
    possible
}

/// A running forest of one controller, with the calling thread in its network; `None` where that is not possible.
pub(crate) fn forest(organization: &Organization) -> Option<Forest> {
    possible().then(|| {
        let forest = Forest::start(Path::new(env!("CARGO_TARGET_TMPDIR")), organization);
        forest.enter();
        forest
    })
}

/// How the forest is reached with nothing unusual.
pub(crate) fn settings(forest: &Forest) -> LdapSettings {
    usual(&forest.certificates.file)
}

/// The same, from the authorities' file: all that another process of this test needs to know.
pub(crate) fn usual(authorities: &Path) -> LdapSettings {
    LdapSettings {
        servers: Servers::List(vec![Endpoint::ldaps(&host_name(1))]),
        trust: Trust::Authorities(authorities.to_owned()),
        name_servers: vec![IpAddr::V4(address(1))],
        limits: Limits { connect: Duration::from_secs(20), answer: Duration::from_secs(30), ..Limits::default() },
    }
}

/// A user's credentials.
pub(crate) fn credentials(user: &str, password: &str) -> Credentials {
    Credentials::Password { user: user.to_owned(), password: Secret::new(password.to_owned()) }
}

/// The forest's directory, logged on as its administrator.
pub(crate) fn connect(forest: &Forest) -> LdapDirectory {
    connect_with(settings(forest)).unwrap()
}

/// The same with other settings.
pub(crate) fn connect_with(settings: LdapSettings) -> Result<LdapDirectory, ConnectError> {
    LdapDirectory::connect(settings, credentials(ADMINISTRATOR, PASSWORD))
}

/// What another process of this test needs to know of a forest in whose network it is: the authorities' file.
pub(crate) fn connect_as_child(authorities: &Path) -> LdapDirectory {
    connect_with(usual(authorities)).unwrap()
}
