//! An organization for tests, as an export: names that text replacement would get wrong, an uninvolved third server, two domains.

use std::fmt::Write as _;

use crate::directory::ldif::LdifDirectory;
use crate::directory::{Dn, Entry, read};

pub(crate) const CONFIGURATION: &str = "CN=Configuration,DC=fa,DC=test";
pub(crate) const ORGANIZATION: &str = "CN=First EX1,CN=Microsoft Exchange,CN=Services,CN=Configuration,DC=fa,DC=test";
pub(crate) const ADMIN_GROUP: &str =
    "CN=EX1 Group,CN=Administrative Groups,CN=First EX1,CN=Microsoft Exchange,CN=Services,CN=Configuration,DC=fa,DC=test";
pub(crate) const LEGACY: &str = "/o=First EX1/ou=EX1 Group/cn=Configuration/cn=Servers";

pub(crate) fn dn(text: &str) -> Dn {
    text.parse().unwrap()
}

pub(crate) fn server(name: &str) -> String {
    format!("CN={name},CN=Servers,{ADMIN_GROUP}")
}

/// `GROUP/STORE` of a server.
pub(crate) fn store(server_name: &str, path: &str) -> String {
    let (group, store) = path.split_once('/').unwrap();
    format!("CN={store},CN={group},CN=InformationStore,{}", server(server_name))
}

pub(crate) fn object(directory: &LdifDirectory, name: &str) -> Entry {
    read(directory, &dn(name), &[]).unwrap().unwrap_or_else(|| panic!("{name} is not there"))
}

/// The storage groups and stores of each server; the last one is public.
pub(crate) const STORES: [&str; 5] =
    ["EX1/EX1", "EX1/Sales\\, Inside", "Second Group/Mail", "Second Group/Ex1 Mail", "Second Group/Public"];

pub(crate) struct Organization {
    text: String,
}

impl Organization {
    pub(crate) fn directory(&self) -> LdifDirectory {
        LdifDirectory::from_text(&self.text).unwrap()
    }

    pub(crate) fn from_text(text: String) -> Self {
        Self { text: format!("{}\n\n", text.trim_end()) }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// EX1 and EX10 are a pair, EX3 has nothing to do with it. `mailboxes` for each store of EX1, spread over two domains.
    pub(crate) fn new(mailboxes: usize) -> Self {
        let mut it = Self { text: String::new() };
        it.frame();
        for name in ["EX1", "EX10", "EX3"] {
            it.server(name);
        }
        it.around();
        for (at, path) in STORES.iter().enumerate().take(4) {
            for number in 0..mailboxes {
                it.mailbox("EX1", path, &format!("user{at}x{number}"), number % 2 == 1);
            }
        }
        it.mailbox("EX3", STORES[0], "stranger", false);
        it.others();
        it
    }

    pub(crate) fn add(&mut self, name: &str, classes: &[&str], values: &[(&str, &str)]) {
        writeln!(self.text, "dn: {name}").unwrap();
        for class in classes {
            writeln!(self.text, "objectClass: {class}").unwrap();
        }
        for (attribute, value) in values {
            writeln!(self.text, "{attribute}: {value}").unwrap();
        }
        self.text.push('\n');
    }

    fn frame(&mut self) {
        for domain in ["DC=fa,DC=test", "DC=sub,DC=fa,DC=test"] {
            self.add(domain, &["domainDNS"], &[]);
            self.add(&format!("OU=EX1,{domain}"), &["organizationalUnit"], &[]);
            self.add(&format!("OU=Sales\\, CN\\=EX1,OU=EX1,{domain}"), &["organizationalUnit"], &[]);
        }
        self.add(CONFIGURATION, &["configuration"], &[]);
        self.add(
            ORGANIZATION,
            &["msExchOrganizationContainer"],
            &[("legacyExchangeDN", "/o=First EX1"), ("msExchMixedMode", "FALSE")],
        );
        let public = store("EX1", STORES[4]);
        self.add(
            ADMIN_GROUP,
            &["msExchAdminGroup"],
            &[("legacyExchangeDN", "/o=First EX1/ou=EX1 Group"), ("siteFolderServer", &public)],
        );
        self.add(&format!("CN=Tree,{ADMIN_GROUP}"), &["msExchPFTree"], &[("msExchOwningPFTreeBL", &public)]);
        for (group, master) in [("EX1", "EX1"), ("Far", "EX10")] {
            self.add(&routing_group(group), &["msExchRoutingGroup"], &[("msExchRoutingMasterDN", &server(master))]);
        }
    }

    fn server(&mut self, name: &str) {
        let this = server(name);
        let group = routing_group(if name == "EX10" { "Far" } else { "EX1" });
        let legacy = format!("{LEGACY}/cn={name}");
        let host = format!("ncacn_ip_tcp:{}.fa.test", name.to_lowercase());
        let values = [
            ("legacyExchangeDN", legacy.as_str()),
            ("serialNumber", "Version 6.5 (Build 7638.2: Service Pack 2)"),
            ("networkAddress", "netbios:x"),
            ("networkAddress", &host),
            ("msExchHomeRoutingGroup", &group),
        ];
        self.add(&this, &["server", "msExchExchangeServer"], &values);
        self.add(&format!("CN=Microsoft MTA,{this}"), &["mTA"], &[("legacyExchangeDN", &format!("{legacy}/cn=Microsoft MTA"))]);
        let attendant = [("homeMDB", store(name, STORES[0])), ("homeMTA", format!("CN=Microsoft MTA,{this}"))];
        let attendant: Vec<(&str, &str)> = attendant.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.add(&format!("CN=Microsoft System Attendant,{this}"), &["exchangeAdminService"], &attendant);
        self.add(&format!("CN=1,CN=SMTP,CN=Protocols,{this}"), &["protocolCfgSMTPServer"], &[]);
        for group in ["EX1", "Second Group"] {
            let prefix = if group == "EX1" { "E00" } else { "E01" };
            let values = [
                ("msExchESEParamBaseName", prefix),
                ("msExchESEParamLogFilePath", "L:\\logs"),
                ("msExchESEParamSystemPath", "L:\\system"),
            ];
            self.add(&format!("CN={group},CN=InformationStore,{this}"), &["msExchStorageGroup"], &values);
        }
        for (at, path) in STORES.iter().enumerate() {
            let file = format!("E:\\mdb\\{at}.edb");
            let public = store(name, STORES[4]);
            let tree = format!("CN=Tree,{ADMIN_GROUP}");
            let mut values = vec![("msExchEDBFile", file.as_str()), ("msExchPatchMDB", "FALSE")];
            let class = if at == 4 { "msExchPublicMDB" } else { "msExchPrivateMDB" };
            match (at, name) {
                (4, "EX10") => {}
                (4, _) => values.push(("msExchOwningPFTree", &tree)),
                _ => values.push(("msExchHomePublicMDB", &public)),
            }
            self.add(&store(name, path), &["msExchMDB", class], &values);
        }
    }

    /// What refers to servers, elsewhere in the configuration.
    fn around(&mut self) {
        let (ex1, ex3) = (server("EX1"), server("EX3"));
        let smtp = |server: &str| format!("CN=1,CN=SMTP,CN=Protocols,{server}");
        let mta = format!("CN=Microsoft MTA,{ex1}");
        for (name, owner) in [("EX1 (Enterprise)", &ex1), ("FA", &ex1), ("SUB", &ex3)] {
            self.add(
                &format!("CN={name},CN=Recipient Update Services,{ORGANIZATION}"),
                &["msExchAddressListService"],
                &[("msExchAddressListServiceLink", owner)],
            );
        }
        for (name, owner) in [("Default", "EX1"), ("Other", "EX3")] {
            let values = [("offLineABServer", server(owner)), ("siteFolderServer", store(owner, STORES[4]))];
            let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
            self.add(&format!("CN={name},CN=Offline Address Lists,{ORGANIZATION}"), &["msExchOAB"], &values);
        }
        let connections = format!("CN=Connections,{}", routing_group("EX1"));
        self.add(
            &format!("CN=EX1,{connections}"),
            &["msExchConnector", "msExchRoutingGroupConnector"],
            &[
                ("msExchSourceBridgeheadServersDN", &mta),
                ("msExchTargetBridgeheadServersDN", &format!("CN=Microsoft MTA,{}", server("EX10"))),
                ("homeMTA", &mta),
            ],
        );
        self.add(
            &format!("CN=Internet,{connections}"),
            &["mailGateway", "msExchRoutingSMTPConnector"],
            &[
                ("msExchSourceBridgeheadServersDN", &smtp(&ex1)),
                ("msExchSourceBridgeheadServersDN", &smtp(&ex3)),
                ("homeMTA", &mta),
                ("routingList", "smtp:*;1"),
                ("msExchSmtpSmartHost", "ex1.fa.test"),
            ],
        );
        self.add(
            &format!("CN=SMTP (EX1-{{6F2B}}),CN=Connections,{ORGANIZATION}"),
            &["mailGateway"],
            &[("homeMDB", &store("EX1", STORES[0])), ("homeMTA", &mta)],
        );
        let third = format!("CN=More,CN=EX1,CN=InformationStore,{ex3}");
        self.add(
            &third,
            &["msExchMDB", "msExchPrivateMDB"],
            &[("msExchHomePublicMDB", &store("EX1", STORES[4])), ("msExchEDBFile", "E:\\x\\more.edb")],
        );
    }

    pub(crate) fn mailbox(&mut self, server_name: &str, path: &str, name: &str, in_child: bool) {
        let domain = if in_child { "DC=sub,DC=fa,DC=test" } else { "DC=fa,DC=test" };
        let place = format!("CN={name}\\, EX1,OU=Sales\\, CN\\=EX1,OU=EX1,{domain}");
        let this = server(server_name);
        let values = [
            ("cn", format!("{name}, EX1")),
            ("mailNickname", name.to_owned()),
            ("legacyExchangeDN", format!("/o=First EX1/ou=EX1 Group/cn=Recipients/cn={name}")),
            ("homeMDB", store(server_name, path)),
            ("homeMTA", format!("CN=Microsoft MTA,{this}")),
            ("msExchHomeServerName", format!("{LEGACY}/cn={server_name}")),
        ];
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.add(&place, &["top", "person", "organizationalPerson", "user"], &values);
    }

    fn others(&mut self) {
        for name in ["EX1", "EX10", "EX3"] {
            let host = format!("{}.fa.test", name.to_lowercase());
            let names = ["HOST", "exchangeMDB", "exchangeRFR", "SMTPSVC", "SMTP", "exchangeAB"];
            let names: Vec<String> =
                names.iter().flat_map(|service| [format!("{service}/{name}"), format!("{service}/{host}")]).collect();
            let mut values: Vec<(&str, &str)> = names.iter().map(|name| ("servicePrincipalName", name.as_str())).collect();
            let account = format!("{name}$");
            values.extend([("sAMAccountName", account.as_str()), ("dNSHostName", &host)]);
            self.add(&format!("CN={name},OU=EX1,DC=fa,DC=test"), &["top", "user", "computer"], &values);
        }
        let legacy = |name: &str| format!("{LEGACY}/cn={name}");
        for (name, home) in [("Staff", "EX1"), ("Other staff", "EX10"), ("Third", "EX3")] {
            self.add(
                &format!("CN={name},OU=EX1,DC=sub,DC=fa,DC=test"),
                &["group"],
                &[("msExchExpansionServerName", &legacy(home))],
            );
        }
        let system = [("homeMDB", store("EX1", STORES[0])), ("msExchHomeServerName", legacy("EX1"))];
        let system: Vec<(&str, &str)> = system.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.add("CN=SystemMailbox{0A},OU=EX1,DC=fa,DC=test", &["user"], &system);
        self.add(
            "CN=No store,OU=EX1,DC=fa,DC=test",
            &["user"],
            &[("msExchHomeServerName", &legacy("EX1")), ("mailNickname", "nostore")],
        );
        self.add(
            "CN=Half,OU=EX1,DC=fa,DC=test",
            &["user"],
            &[("homeMDB", &store("EX10", STORES[2])), ("msExchHomeServerName", &legacy("EX1"))],
        );
        self.add("CN=Bare,OU=EX1,DC=sub,DC=fa,DC=test", &["user"], &[("homeMDB", &store("EX1", STORES[2]))]);
    }
}

pub(crate) fn routing_group(name: &str) -> String {
    format!("CN={name},CN=Routing Groups,{ADMIN_GROUP}")
}
