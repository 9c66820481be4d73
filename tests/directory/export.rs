//! An export of a small forest, for commands that need no directory.

use std::fmt::Write as _;

const GROUP: &str = "CN=Works,CN=Administrative Groups,CN=Mail,CN=Microsoft Exchange,CN=Services,CN=Configuration,DC=fa,DC=test";
const LEGACY: &str = "/o=Mail/ou=Works/cn=Configuration/cn=Servers";

/// A server's storage groups, each with its stores and their files.
pub(crate) type Layout<'a> = &'a [(&'a str, &'a [(&'a str, &'a str)])];

fn server(name: &str) -> String {
    format!("CN={name},CN=Servers,{GROUP}")
}

fn store(server_name: &str, group: &str, name: &str) -> String {
    format!("CN={name},CN={group},CN=InformationStore,{}", server(server_name))
}

/// The forest's frame and these servers, with two mailboxes in each store of the first one.
pub(crate) fn export(servers: &[(&str, Layout<'_>)]) -> String {
    let mut text = String::new();
    let mut add = |dn: &str, classes: &[&str], values: &[(&str, &str)]| {
        writeln!(text, "dn: {dn}").unwrap();
        classes.iter().for_each(|class| writeln!(text, "objectClass: {class}").unwrap());
        values.iter().for_each(|(name, value)| writeln!(text, "{name}: {value}").unwrap());
        text.push('\n');
    };
    add("DC=fa,DC=test", &["domainDNS"], &[]);
    add("CN=Configuration,DC=fa,DC=test", &["configuration"], &[]);
    let organization = GROUP.split_once("CN=Mail,").map(|(_, above)| format!("CN=Mail,{above}")).unwrap();
    add(&organization, &["msExchOrganizationContainer"], &[("legacyExchangeDN", "/o=Mail"), ("msExchMixedMode", "FALSE")]);
    add(GROUP, &["msExchAdminGroup"], &[("legacyExchangeDN", "/o=Mail/ou=Works")]);
    let mut mailboxes = 0;
    for (at, (name, groups)) in servers.iter().enumerate() {
        let (this, legacy) = (server(name), format!("{LEGACY}/cn={name}"));
        let address = format!("ncacn_ip_tcp:{}.fa.test", name.to_lowercase());
        let values =
            [("legacyExchangeDN", legacy.as_str()), ("serialNumber", "Version 6.5 (Build 7638.2)"), ("networkAddress", &address)];
        add(&this, &["msExchExchangeServer"], &values);
        add(&format!("CN=Microsoft MTA,{this}"), &["mTA"], &[("legacyExchangeDN", &format!("{legacy}/cn=Microsoft MTA"))]);
        let (account, host) = (format!("{name}$"), format!("{}.fa.test", name.to_lowercase()));
        let names = [format!("exchangeMDB/{name}"), format!("exchangeMDB/{host}"), format!("HOST/{name}")];
        let mut values = vec![("sAMAccountName", account.as_str()), ("dNSHostName", &host)];
        values.extend(names.iter().map(|name| ("servicePrincipalName", name.as_str())));
        add(&format!("CN={name},CN=Computers,DC=fa,DC=test"), &["computer"], &values);
        for (group, stores) in *groups {
            let values = [("msExchESEParamBaseName", "E00"), ("msExchESEParamLogFilePath", "L:\\logs")];
            add(&format!("CN={group},CN=InformationStore,{this}"), &["msExchStorageGroup"], &values);
            for (name_of_store, file) in *stores {
                let dn = store(name, group, name_of_store);
                add(&dn, &["msExchMDB", "msExchPrivateMDB"], &[("msExchEDBFile", &format!("E:\\mdb\\{group}\\{file}"))]);
                for _ in 0..if at == 0 { 2 } else { 0 } {
                    mailboxes += 1;
                    let mta = format!("CN=Microsoft MTA,{this}");
                    let values = [("homeMDB", dn.as_str()), ("homeMTA", &mta), ("msExchHomeServerName", &legacy)];
                    add(&format!("CN=user{mailboxes},CN=Users,DC=fa,DC=test"), &["user"], &values);
                }
            }
        }
    }
    text
}
