//! A real Active Directory for tests: Samba as domain controllers with Exchange's schema and an organization, in a room of its own.
//!
//! Provisioned once, kept as a pristine copy beneath the target directory, and copied for each [`Forest`]. Needs root and the packages
//! that `tests/run` lists. Included by path, so every user has parts that it does not need.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

mod controller;
mod dump;
mod namespace;
mod organization;
mod pristine;

use std::path::Path;
use std::time::{Duration, Instant};

#[allow(unused_imports)]
pub(crate) use controller::{Certificates, Controller, address, host_name};
#[allow(unused_imports)]
pub(crate) use dump::{FLEETING, assert_same_dump, dump, of_the_third};
pub(crate) use namespace::{Namespace, finish};
#[allow(unused_imports)]
pub(crate) use organization::{
    Organization, SMALL, Store, group_dn, mailbox_dn, mailbox_upn, mta_dn, organization_dn, server_dn, server_legacy_dn,
    store_of, stores,
};

/// The domain's DNS name, and its root.
pub(crate) const DOMAIN: &str = "fb.test";
/// The domain's naming context.
pub(crate) const DOMAIN_DN: &str = "DC=fb,DC=test";
/// Password of [`ADMINISTRATOR`] and of [`HELPDESK`].
pub(crate) const PASSWORD: &str = "Forest:Pa55 w0rd";
/// May do everything.
pub(crate) const ADMINISTRATOR: &str = "Administrator@fb.test";
/// May log on and read.
pub(crate) const HELPDESK: &str = "helpdesk@fb.test";

/// How long anything may take that should take seconds, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// A forest of one domain, with one or two controllers that replicate.
pub(crate) struct Forest {
    /// `dc1`, and `dc2` where there is one.
    pub(crate) controllers: Vec<Controller>,
    /// The authority that signed the controllers' certificates, and others for tests.
    pub(crate) certificates: Certificates,
    /// Where they run.
    pub(crate) room: Namespace,
}

impl Forest {
    /// Starts one controller with this organization; `cache` is a directory that outlives tests.
    pub(crate) fn start(cache: &Path, organization: &Organization) -> Self {
        Self::start_in(cache, organization, None::<fn(u32)>)
    }

    /// The same on a network: `join` is told a process of the room, and gives that an interface `eth0`.
    pub(crate) fn start_on(cache: &Path, organization: &Organization, join: impl FnOnce(u32)) -> Self {
        Self::start_in(cache, organization, Some(join))
    }

    fn start_in(cache: &Path, organization: &Organization, join: Option<impl FnOnce(u32)>) -> Self {
        let pristine = pristine::of(cache, organization);
        let hosts = (1..=2).map(|number| format!("{} {}\n", controller::address(number), controller::host_name(number)));
        let room = Namespace::new(&cache.join("rooms"), &hosts.collect::<String>(), &controller::address(1).to_string());
        let has_eth0 = join.map(|join| join(room.first)).is_some();
        let certificates = Certificates::new(&room.dir.join("tls"));
        let first = Controller::copy_of(&pristine, &room, &certificates, has_eth0);
        let mut forest = Self { controllers: vec![first], certificates, room };
        forest.controllers[0].start(&forest.room);
        forest
    }

    /// Adds a second controller of the same domain.
    pub(crate) fn join(&mut self) {
        let mut second = Controller::joined(&self.room, &self.certificates, 2);
        second.start(&self.room);
        let address = second.address.to_string();
        self.name_host("dc2", &address);
        self.controllers.push(second);
        self.replicate(0, 1);
    }

    /// Gives a host of the domain an address in DNS.
    pub(crate) fn name_host(&self, name: &str, address: &str) {
        self.tool(&["dns", "add", &self.controllers[0].host, DOMAIN, name, "A", address]);
    }

    /// Brings what one controller has to another now: the domain, the configuration, DNS. Nothing is replicated by itself here.
    pub(crate) fn replicate(&self, from: usize, to: usize) {
        let (from, to) = (&self.controllers[from].host, &self.controllers[to]);
        let settings = format!("--configfile={}", to.settings().display());
        for above in ["", "CN=Configuration,", "DC=DomainDnsZones,"] {
            self.tool(&["drs", "replicate", &to.host, from, &format!("{above}{DOMAIN_DN}"), "--local", "--full-sync", &settings]);
        }
    }

    /// Samba's tool of many things, as the administrator.
    fn tool(&self, arguments: &[&str]) {
        let (user, password) = (format!("--username={ADMINISTRATOR}"), format!("--password={PASSWORD}"));
        self.room.run("samba-tool", &[arguments, &[&user, &password]].concat());
    }

    /// Gives an account a service principal name.
    pub(crate) fn name_service(&self, name: &str, account: &str) {
        let url = format!("--URL=ldap://{}", self.controllers[0].host);
        self.tool(&["spn", "add", name, account, &url]);
    }

    /// Takes from everybody the right to change this object's values.
    pub(crate) fn forbid_writing(&self, object: &str) {
        let url = format!("--URL=ldap://{}", self.controllers[0].host);
        self.tool(&["dsacl", "set", &url, &format!("--objectdn={object}"), "--sddl=(D;;WP;;;WD)"]);
    }

    /// The calling thread, and what it starts, is in the forest's network from now on.
    pub(crate) fn enter(&self) {
        self.room.enter();
    }
}

/// Polls until `condition` gives something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20)); // poll
    }
}
