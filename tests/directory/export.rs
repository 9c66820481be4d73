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

/// Writes an object.
fn object(text: &mut String, dn: &str, classes: &[&str], values: &[(&str, &str)]) {
    writeln!(text, "dn: {dn}").unwrap();
    classes.iter().for_each(|class| writeln!(text, "objectClass: {class}").unwrap());
    values.iter().for_each(|(name, value)| writeln!(text, "{name}: {value}").unwrap());
    text.push('\n');
}

/// The forest's list of its domains, which is in the configuration: `fa.test` and `sub.fa.test`.
pub(crate) fn partitions() -> String {
    let mut text = String::new();
    let mut add = |dn: &str, classes: &[&str], values: &[(&str, &str)]| object(&mut text, dn, classes, values);
    add("CN=Partitions,CN=Configuration,DC=fa,DC=test", &["crossRefContainer"], &[]);
    let domains = [("FA", "DC=fa,DC=test", "fa.test", "3"), ("SUB", "DC=sub,DC=fa,DC=test", "sub.fa.test", "3")];
    // A zone of the name service is no domain.
    for (netbios, context, dns, flags) in domains.into_iter().chain([("ZONES", "DC=DomainDnsZones,DC=fa,DC=test", "x", "5")]) {
        let values = [("nCName", context), ("dnsRoot", dns), ("nETBIOSName", netbios), ("systemFlags", flags)];
        add(&format!("CN={netbios},CN=Partitions,CN=Configuration,DC=fa,DC=test"), &["crossRef"], &values);
    }
    text
}

/// The domain `sub.fa.test` beneath the forest's root, with so many mailboxes in each store of this server, and a group that it expands.
pub(crate) fn export_of_child(name: &str, groups: Layout<'_>, mailboxes: usize) -> String {
    let mut text = String::new();
    let mut add = |dn: &str, classes: &[&str], values: &[(&str, &str)]| object(&mut text, dn, classes, values);
    let root = "DC=sub,DC=fa,DC=test";
    add(root, &["domainDNS"], &[]);
    add(&format!("OU=EX1,{root}"), &["organizationalUnit"], &[]);
    let (this, legacy) = (server(name), format!("{LEGACY}/cn={name}"));
    let mta = format!("CN=Microsoft MTA,{this}");
    let stores = groups.iter().flat_map(|(group, stores)| stores.iter().map(|(of_store, _)| store(name, group, of_store)));
    for (number, home) in stores.flat_map(|home| vec![home; mailboxes]).enumerate() {
        let upn = format!("child{number}@sub.fa.test");
        let values =
            [("userPrincipalName", upn.as_str()), ("homeMDB", &home), ("homeMTA", &mta), ("msExchHomeServerName", &legacy)];
        add(&format!("CN=Child {number},OU=EX1,{root}"), &["user"], &values);
    }
    add(&format!("CN=All,OU=EX1,{root}"), &["group"], &[("msExchExpansionServerName", &legacy)]);
    text
}

/// The forest's frame and these servers, with two mailboxes in each store of the first one.
pub(crate) fn export(servers: &[(&str, Layout<'_>)]) -> String {
    let mut text = String::new();
    let mut add = |dn: &str, classes: &[&str], values: &[(&str, &str)]| object(&mut text, dn, classes, values);
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
