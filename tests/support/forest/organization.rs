//! An Exchange 2003 organization as LDIF for a forest, of any size, made to mislead whoever replaces text instead of names.
//!
//! `EX1` is to fail over to `EX2`; `EX10` has no part in it, nor have the organization and the administrative group that are named like
//! servers. Stores of `EX1` and `EX2` have equal groups, names and file names.

use std::fmt::Write;

use super::{DOMAIN, DOMAIN_DN};

/// An organization's size.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Organization {
    /// Mailboxes on `EX1`, dealt in turn to its private stores.
    pub(crate) mailboxes: usize,
    /// Mailboxes on `EX10`.
    pub(crate) strangers: usize,
}

/// Every difficult name twice, every store at least once.
pub(crate) const SMALL: Organization = Organization { mailboxes: 24, strangers: 3 };

/// The organization's container in the configuration partition.
pub(crate) fn organization_dn() -> String {
    format!("CN=EX1 Works,CN=Microsoft Exchange,CN=Services,CN=Configuration,{DOMAIN_DN}")
}

/// The only administrative group.
pub(crate) fn group_dn() -> String {
    format!("CN=EX1,CN=Administrative Groups,{}", organization_dn())
}

/// A server's object.
pub(crate) fn server_dn(server: &str) -> String {
    format!("CN={server},CN=Servers,{}", group_dn())
}

/// A server's `legacyExchangeDN`, what mailboxes name in `msExchHomeServerName`.
pub(crate) fn server_legacy_dn(server: &str) -> String {
    format!("/o=EX1 Works/ou=EX1/cn=Configuration/cn=Servers/cn={server}")
}

/// The message transfer agent of a server, what mailboxes name in `homeMTA`.
pub(crate) fn mta_dn(server: &str) -> String {
    format!("CN=Microsoft MTA,{}", server_dn(server))
}

/// Groups and stores of `EX1` and of `EX2`: group as in a DN, stores as in a DN, the last store of all is the public one.
const GROUPS: [(&str, [&str; 4]); 3] = [
    ("First Storage Group", ["Mailbox Store", "EX1", "Sales\\, North", "Sales\\, South"]),
    ("Indy\\, East", ["Mailbox Store 2", "EX10", "A\\+B", "CN\\=EX1"]),
    ("EX1", ["Mailbox Store 3", "Börse", "EX1 Archive", "Public Store"]),
];

/// A store by its place in [`stores`].
#[derive(Clone, Debug)]
pub(crate) struct Store {
    /// Its distinguished name.
    pub(crate) dn: String,
    /// Name of its database file.
    pub(crate) file: String,
    /// Whether it is a public store.
    pub(crate) public: bool,
}

/// The stores of a server, in the order of [`GROUPS`]; `EX10` has one group with a private and a public store.
pub(crate) fn stores(server: &str) -> Vec<Store> {
    let information_store = format!("CN=InformationStore,{}", server_dn(server));
    let groups: &[(&str, &[&str])] = match server {
        "EX10" => &[("First Storage Group", &["Mailbox Store", "Public Store"])],
        _ => &[(GROUPS[0].0, &GROUPS[0].1), (GROUPS[1].0, &GROUPS[1].1), (GROUPS[2].0, &GROUPS[2].1)],
    };
    let in_group = |number: usize, (group, names): &(&str, &[&str])| {
        let dn_of = |name: &str| format!("CN={name},CN={group},{information_store}");
        let store = |(place, name): (usize, &&str)| Store {
            dn: dn_of(name),
            file: format!("E:\\exchsrvr\\mdbdata\\{}-{place}.edb", ["first", "indy", "third"][number]),
            public: *name == "Public Store",
        };
        names.iter().enumerate().map(store).collect::<Vec<_>>()
    };
    groups.iter().enumerate().flat_map(|(number, group)| in_group(number, group)).collect()
}

/// What is written into a name to make it hard to take for anything but a name. `{}` is the mailbox's number.
const NAMES: [&str; 12] = [
    "User {}",
    "Dobbs\\, Jim {}",
    "The \\\"Boss\\\" {}",
    "Sales\\+Marketing {}",
    "Jörg Müßig-Ærø {}",
    "\\20blank before {}",
    "blank behind {}\\20",
    "EX1 {}",
    "\\#hash {}",
    "back\\\\slash {}",
    "\\<angle\\>\\; {}",
    "CN\\=EX1 {} 日本",
];

/// Organizational units, nested, from the top.
const UNITS: [&str; 6] = [
    "OU=EX1",
    "OU=Staff",
    "OU=Sales\\, North,OU=Staff",
    "OU=EX1,OU=Staff",
    "OU=Zürich \\+ Genève,OU=Sales\\, North,OU=Staff",
    "OU=\\#1 \\\"Team\\\",OU=Zürich \\+ Genève,OU=Sales\\, North,OU=Staff",
];

impl Organization {
    /// Change records for a forest with Exchange's schema, each after what it refers to.
    pub(crate) fn ldif(&self) -> String {
        let mut ldif = Ldif::default();
        containers(&mut ldif);
        for server in ["EX1", "EX2", "EX10"] {
            server_objects(&mut ldif, server);
        }
        routing(&mut ldif);
        address_lists(&mut ldif);
        system_objects(&mut ldif);
        for unit in UNITS {
            ldif.add(&format!("{unit},{DOMAIN_DN}"), "organizationalUnit", &[]);
        }
        for number in 0..self.mailboxes {
            mailbox(&mut ldif, "EX1", number, &mailbox_dn(number));
        }
        for number in 0..self.strangers {
            let dn = format!("CN=Stranger EX1 {number},OU=Staff,{DOMAIN_DN}");
            mailbox(&mut ldif, "EX10", self.mailboxes + number, &dn);
        }
        recipients_without_mailbox(&mut ldif);
        ldif.0
    }
}

/// The object of a mailbox of `EX1`.
pub(crate) fn mailbox_dn(number: usize) -> String {
    let name = NAMES[number % NAMES.len()].replace("{}", &format!("{number:05}"));
    // Names and units go round in steps that have no common divisor with their counts, so that every pair comes.
    let unit = UNITS[number / NAMES.len() % UNITS.len()];
    format!("CN={name},{unit},{DOMAIN_DN}")
}

/// The user principal name of a mailbox.
pub(crate) fn mailbox_upn(number: usize) -> String {
    format!("u{number:05}@{DOMAIN}")
}

/// The store of `server` that holds the mailbox of this number.
pub(crate) fn store_of(server: &str, number: usize) -> Store {
    let private: Vec<Store> = stores(server).into_iter().filter(|store| !store.public).collect();
    private[number % private.len()].clone()
}

#[derive(Default)]
struct Ldif(String);

impl Ldif {
    fn add(&mut self, dn: &str, class: &str, attributes: &[(&str, &str)]) {
        let _ = write!(self.0, "dn: {dn}\nchangetype: add\nobjectClass: {class}\n");
        for (name, value) in attributes {
            let _ = writeln!(self.0, "{name}: {value}");
        }
        self.0.push('\n');
    }

    fn set(&mut self, dn: &str, name: &str, value: &str) {
        let _ = write!(self.0, "dn: {dn}\nchangetype: modify\nadd: {name}\n{name}: {value}\n\n");
    }
}

fn containers(ldif: &mut Ldif) {
    let (organization, group) = (organization_dn(), group_dn());
    let exchange = organization.split_once(',').unwrap().1;
    ldif.add(exchange, "msExchConfigurationContainer", &[]);
    ldif.add(&organization, "msExchOrganizationContainer", &[("legacyExchangeDN", "/o=EX1 Works"), ("msExchMixedMode", "FALSE")]);
    ldif.add(&format!("CN=Administrative Groups,{organization}"), "msExchAdminGroupContainer", &[]);
    ldif.add(&group, "msExchAdminGroup", &[("legacyExchangeDN", "/o=EX1 Works/ou=EX1"), ("msExchDefaultAdminGroup", "TRUE")]);
    ldif.add(&format!("CN=Servers,{group}"), "msExchServersContainer", &[]);
    ldif.add(&format!("CN=Routing Groups,{group}"), "msExchRoutingGroupContainer", &[]);
    for name in ["EX1 Routing", "Second Routing"] {
        ldif.add(&routing_group(name), "msExchRoutingGroup", &[]);
        ldif.add(&format!("CN=Connections,{}", routing_group(name)), "msExchConnectors", &[]);
    }
    ldif.add(&format!("CN=Folder Hierarchies,{group}"), "msExchPublicFolderTreeContainer", &[]);
    ldif.add(&tree(), "msExchPFTree", &[("msExchPFTreeType", "1")]);
    ldif.add(&format!("CN=Connections,{organization}"), "container", &[]);
    ldif.add(&format!("CN=Recipient Policies,{organization}"), "msExchRecipientPolicyContainer", &[]);
    let policy = format!("CN=Default Policy,CN=Recipient Policies,{organization}");
    ldif.add(&policy, "msExchRecipientPolicy", &[("gatewayProxy", "SMTP:@fb.example"), ("msExchPolicyOrder", "2147483647")]);
    ldif.add(&format!("CN=Address Lists Container,{organization}"), "msExchContainer", &[]);
}

fn routing_group(name: &str) -> String {
    format!("CN={name},CN=Routing Groups,{}", group_dn())
}

fn tree() -> String {
    format!("CN=Public Folders,CN=Folder Hierarchies,{}", group_dn())
}

fn public_store(server: &str) -> Store {
    stores(server).into_iter().find(|store| store.public).unwrap()
}

fn smtp_server(server: &str) -> String {
    format!("CN=1,CN=SMTP,CN=Protocols,{}", server_dn(server))
}

fn server_objects(ldif: &mut Ldif, server: &str) {
    let (dn, legacy, lower) = (server_dn(server), server_legacy_dn(server), server.to_lowercase());
    let routing = routing_group(if server == "EX10" { "Second Routing" } else { "EX1 Routing" });
    let attributes = [
        ("legacyExchangeDN", legacy.as_str()),
        ("serialNumber", "Version 6.5 (Build 7638.2: Service Pack 2)"),
        ("versionNumber", "7638"),
        ("networkAddress", &format!("ncacn_ip_tcp:{lower}.{DOMAIN}")),
        ("networkAddress", &format!("netbios:{server}")),
        ("msExchHomeRoutingGroup", &routing),
    ];
    ldif.add(&dn, "msExchExchangeServer", &attributes);
    let mta_times = [("mTALocalDesig", server), ("transRetryMins", "5"), ("transTimeoutMins", "20")];
    let mta_name = format!("{legacy}/cn=Microsoft MTA");
    ldif.add(&mta_dn(server), "mTA", &[mta_times[0], mta_times[1], mta_times[2], ("legacyExchangeDN", &mta_name)]);
    ldif.set(&dn, "msExchResponsibleMTAServer", &mta_dn(server));
    ldif.add(&format!("CN=Protocols,{dn}"), "msExchProtocolCfgSharedContainer", &[]);
    ldif.add(&format!("CN=SMTP,CN=Protocols,{dn}"), "msExchProtocolCfgSMTPContainer", &[]);
    let host = format!("{lower}.{DOMAIN}");
    ldif.add(&smtp_server(server), "protocolCfgSMTPServer", &[("msExchSmtpFullyQualifiedDomainName", &host)]);
    ldif.add(&format!("CN=InformationStore,{dn}"), "msExchInformationStore", &[]);
    store_objects(ldif, server);
    let attendant = [
        ("deliveryMechanism", "0"),
        ("homeMDB", &store_of(server, 0).dn),
        ("homeMTA", &mta_dn(server)),
        ("legacyExchangeDN", &format!("{legacy}/cn=Microsoft System Attendant")),
    ];
    ldif.add(&format!("CN=Microsoft System Attendant,{dn}"), "exchangeAdminService", &attendant);
    computer(ldif, server);
}

fn computer(ldif: &mut Ldif, server: &str) {
    let host = format!("{}.{DOMAIN}", server.to_lowercase());
    let account = format!("{server}$");
    let mut attributes = vec![("sAMAccountName", account.as_str()), ("dNSHostName", &host), ("userAccountControl", "4096")];
    let services = ["exchangeMDB", "exchangeRFR", "SMTPSVC", "HOST"]
        .map(|service| [format!("{service}/{host}"), format!("{service}/{server}")]);
    attributes.extend(services.iter().flatten().map(|name| ("servicePrincipalName", name.as_str())));
    ldif.add(&format!("CN={server},CN=Computers,{DOMAIN_DN}"), "computer", &attributes);
}

/// Public stores come first, as private ones refer to them.
fn store_objects(ldif: &mut Ldif, server: &str) {
    let mut stores = stores(server);
    let mut groups: Vec<&str> = stores.iter().map(|store| parent(&store.dn)).collect();
    groups.dedup();
    for (number, group) in groups.iter().enumerate() {
        let (prefix, path) = (format!("E0{number}"), format!("D:\\logs\\{number}"));
        let attributes = [
            ("msExchESEParamBaseName", prefix.as_str()),
            ("msExchESEParamLogFilePath", &path),
            ("msExchESEParamSystemPath", &path),
            ("systemFlags", "1610612736"),
        ];
        ldif.add(group, "msExchStorageGroup", &attributes);
    }
    stores.sort_by_key(|store| !store.public);
    let (owner, public, tree) = (server_dn(server), public_store(server), tree());
    for store in &stores {
        let mut attributes = vec![
            ("deliveryMechanism", "0"),
            ("systemFlags", "1610612736"),
            ("msExchEDBFile", store.file.as_str()),
            ("msExchOwningServer", &owner),
        ];
        // The source's public store owns the tree; the standby's has none yet.
        match store.public {
            true if server == "EX2" => {}
            true => attributes.push(("msExchOwningPFTree", &tree)),
            false => attributes.push(("msExchHomePublicMDB", &public.dn)),
        }
        let class = if store.public { "msExchPublicMDB" } else { "msExchPrivateMDB" };
        ldif.add(&store.dn, class, &attributes);
    }
}

/// What a name lies in: all after the first comma that is not escaped.
fn parent(dn: &str) -> &str {
    let bytes = dn.as_bytes();
    let at = (1..bytes.len()).find(|at| bytes[*at] == b',' && bytes[at - 1] != b'\\').unwrap();
    &dn[at + 1..]
}

fn routing(ldif: &mut Ldif) {
    ldif.set(&routing_group("EX1 Routing"), "msExchRoutingMasterDN", &server_dn("EX1"));
    ldif.set(&routing_group("Second Routing"), "msExchRoutingMasterDN", &server_dn("EX10"));
    let connections = |group: &str| format!("CN=Connections,{}", routing_group(group));
    for (name, group, from, to) in [("To Second", "EX1 Routing", "EX1", "EX10"), ("To EX1", "Second Routing", "EX10", "EX1")] {
        let attributes = [
            ("homeMTA", mta_dn(from)),
            ("msExchSourceBridgeheadServersDN", smtp_server(from)),
            ("msExchTargetBridgeheadServersDN", smtp_server(to)),
        ];
        let attributes: Vec<_> = attributes.iter().map(|(name, value)| (*name, value.as_str())).collect();
        ldif.add(&format!("CN={name},{}", connections(group)), "msExchRoutingGroupConnector", &attributes);
    }
    let (mta, bridgehead) = (mta_dn("EX1"), smtp_server("EX1"));
    let attributes = [
        ("homeMTA", mta.as_str()),
        ("deliveryMechanism", "2"),
        ("msExchSourceBridgeheadServersDN", &bridgehead),
        ("routingList", "SMTP:*;1"),
        ("msExchSmtpSmartHost", "ex1.example.net"),
    ];
    ldif.add(&format!("CN=Internet via EX1,{}", connections("EX1 Routing")), "msExchRoutingSMTPConnector", &attributes);
    for server in ["EX1", "EX2", "EX10"] {
        // Holds homeMDB and is no mailbox.
        let dn = format!("CN=SMTP ({server}-{{0A0B0C0D-0000-4000-8000-000000000001}}),CN=Connections,{}", organization_dn());
        let (mta, store) = (mta_dn(server), store_of(server, 0).dn);
        ldif.add(&dn, "mailGateway", &[("deliveryMechanism", "0"), ("homeMTA", &mta), ("homeMDB", &store)]);
    }
}

fn address_lists(ldif: &mut Ldif) {
    let lists = format!("CN=Address Lists Container,{}", organization_dn());
    let (server, public) = (server_dn("EX1"), public_store("EX1").dn);
    let services = format!("CN=Recipient Update Services,{lists}");
    ldif.add(&services, "msExchAddressListServiceContainer", &[]);
    for (name, domain) in [("Enterprise Configuration", format!("CN=Configuration,{DOMAIN_DN}")), ("FB", DOMAIN_DN.to_owned())] {
        let attributes = [("msExchAddressListServiceLink", server.as_str()), ("msExchDomainLink", &domain)];
        ldif.add(&format!("CN=Recipient Update Service ({name}),{services}"), "msExchAddressListService", &attributes);
    }
    let offline = format!("CN=Offline Address Lists,{lists}");
    ldif.add(&offline, "container", &[]);
    for name in ["Default Offline Address List", "EX1 Offline\\, Sales"] {
        let attributes = [
            ("offLineABServer", server.as_str()),
            ("siteFolderServer", &public),
            ("offLineABContainers", &lists),
            ("offLineABSchedule", "none"),
            ("offLineABStyle", "1"),
            ("doOABVersion", "0"),
            ("msExchOABFolder", "folder"),
        ];
        ldif.add(&format!("CN={name},{offline}"), "msExchOAB", &attributes);
    }
    ldif.set(&group_dn(), "siteFolderServer", &public);
}

fn system_objects(ldif: &mut Ldif) {
    let container = format!("CN=Microsoft Exchange System Objects,{DOMAIN_DN}");
    ldif.add(&container, "msExchSystemObjectsContainer", &[]);
    let mut number = 0;
    for server in ["EX1", "EX2", "EX10"] {
        let (mta, legacy) = (mta_dn(server), server_legacy_dn(server));
        for store in stores(server).into_iter().filter(|store| !store.public) {
            number += 1;
            let name = format!("SystemMailbox{{{number:08X}-0000-4000-8000-000000000000}}");
            let account = format!("SM{number:08X}");
            let attributes = [
                ("sAMAccountName", account.as_str()),
                ("homeMDB", &store.dn),
                ("homeMTA", &mta),
                ("msExchHomeServerName", &legacy),
            ];
            ldif.add(&format!("CN={name},{container}"), "user", &attributes);
        }
    }
    // Its homeMDB is a tree, not a store.
    ldif.add(&format!("CN=Press EX1,{container}"), "publicFolder", &[("homeMDB", &tree()), ("mailNickname", "press")]);
}

fn mailbox(ldif: &mut Ldif, server: &str, number: usize, dn: &str) {
    let account = format!("u{number:05}");
    let attributes = [
        ("sAMAccountName", account.as_str()),
        ("userPrincipalName", &mailbox_upn(number)),
        ("mailNickname", &account),
        ("mail", &format!("{account}@fb.example")),
        ("proxyAddresses", &format!("SMTP:{account}@fb.example")),
        ("legacyExchangeDN", &format!("/o=EX1 Works/ou=EX1/cn=Recipients/cn={account}")),
        ("msExchMailboxGuid", &format!("{number:016}")),
        ("homeMDB", &store_of(server, number).dn),
        ("homeMTA", &mta_dn(server)),
        ("msExchHomeServerName", &server_legacy_dn(server)),
    ];
    ldif.add(dn, "user", &attributes);
}

/// A user who only forwards, a contact, and a group that `EX1` expands.
fn recipients_without_mailbox(ldif: &mut Ldif) {
    let forward = [("sAMAccountName", "forward"), ("mailNickname", "forward"), ("targetAddress", "SMTP:ex1@example.net")];
    ldif.add(&format!("CN=Forward EX1,OU=Staff,{DOMAIN_DN}"), "user", &forward);
    ldif.add(&format!("CN=Contact EX1,OU=Staff,{DOMAIN_DN}"), "contact", &[("mailNickname", "contact")]);
    let server = server_legacy_dn("EX1");
    let group = [("sAMAccountName", "everyone-at-ex1"), ("mailNickname", "everyone"), ("msExchExpansionServerName", &server)];
    ldif.add(&format!("CN=Everyone\\, EX1,OU=Staff,{DOMAIN_DN}"), "group", &group);
}
