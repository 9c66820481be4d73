//! The forest as its directory describes it: naming contexts, and which controllers hold them.

use super::super::{AttributeName, DirectoryError, Dn, Domain, Entry, Filter, NamingContexts, Scope, Search};

/// A controller as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its DNS name.
    pub(super) host: String,
    /// The naming contexts that it holds and may change; none of a read-only controller.
    pub(super) contexts: Vec<Dn>,
    /// Whether it holds a part of every domain.
    pub(super) catalog: bool,
}

/// What a server says of itself.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// `dnsHostName`.
    pub(super) host: Option<String>,
    default: Dn,
    configuration: Dn,
    schema: Dn,
}

/// Asks the server for itself.
pub(super) fn root_dse() -> Search {
    let names = ["defaultNamingContext", "configurationNamingContext", "schemaNamingContext", "dnsHostName"];
    Search {
        base: Dn::root(),
        scope: Scope::Base,
        filter: Filter::Present("objectClass".into()),
        attributes: names.map(AttributeName::from).to_vec(),
    }
}

impl Server {
    /// Reads the answer to [`root_dse`].
    pub(super) fn of(entry: &Entry, server: &str) -> Result<Self, DirectoryError> {
        let context = |name: &str| {
            let why = || format!("it does not tell its {name}: it is no controller of Active Directory");
            entry.dn_of(name).ok_or_else(|| DirectoryError::Protocol { server: server.to_owned(), why: why() })
        };
        Ok(Self {
            host: entry.text("dnsHostName").map(str::to_owned),
            default: context("defaultNamingContext")?,
            configuration: context("configurationNamingContext")?,
            schema: context("schemaNamingContext")?,
        })
    }

    /// Asks for the domains of the forest: crossRef objects (MS-ADTS 6.1.1.2.1.1).
    pub(super) fn cross_references(&self) -> Search {
        let names = ["nCName", "dnsRoot", "nETBIOSName", "systemFlags"];
        let base = self.configuration.child_cn("Partitions");
        Search {
            base,
            scope: Scope::Children,
            filter: Filter::class("crossRef"),
            attributes: names.map(AttributeName::from).to_vec(),
        }
    }

    /// Asks for the controllers and where they are: nTDSDSA objects and the servers that they lie in (MS-ADTS 6.1.1.2.2.1.2).
    pub(super) fn controllers(&self) -> Search {
        let names = ["objectClass", "dNSHostName", "msDS-hasMasterNCs", "hasMasterNCs", "options"];
        let filter = Filter::Or(vec![Filter::class("nTDSDSA"), Filter::class("server")]);
        let base = self.configuration.child_cn("Sites");
        Search { base, scope: Scope::Subtree, filter, attributes: names.map(AttributeName::from).to_vec() }
    }

    /// The naming contexts, without the domains' controllers.
    pub(super) fn contexts(&self, cross_references: &[Entry]) -> NamingContexts {
        // FLAG_CR_NTDS_NC and FLAG_CR_NTDS_DOMAIN: a naming context of this forest, and a domain.
        let is_domain = |entry: &&Entry| {
            entry.text("systemFlags").and_then(|flags| flags.parse::<i64>().ok()).is_some_and(|flags| flags & 3 == 3)
        };
        let domain = |entry: &Entry| {
            Some(Domain {
                context: entry.dn_of("nCName")?,
                dns_name: entry.text("dnsRoot")?.to_owned(),
                netbios_name: entry.text("nETBIOSName").map(str::to_owned),
                controller: None,
            })
        };
        NamingContexts {
            default: self.default.clone(),
            configuration: self.configuration.clone(),
            schema: self.schema.clone(),
            domains: cross_references.iter().filter(is_domain).filter_map(domain).collect(),
        }
    }
}

/// Reads the answer to [`Server::controllers`].
pub(super) fn known(entries: &[Entry]) -> Vec<Known> {
    const IS_CATALOG: i64 = 1;
    let settings = entries.iter().filter(|entry| entry.is_of_class("nTDSDSA"));
    let controller = |settings: &Entry| {
        let parent = settings.dn.parent()?;
        let server = entries.iter().find(|entry| entry.dn == parent)?;
        // The newer attribute has the contexts of applications, too; the older one is all that Windows 2000 has.
        let newer = settings.values("msDS-hasMasterNCs");
        let contexts = if newer.is_empty() { settings.values("hasMasterNCs") } else { newer };
        let options = settings.text("options").and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        Some(Known {
            host: server.text("dNSHostName")?.to_owned(),
            contexts: contexts.iter().filter_map(|value| value.as_dn()).collect(),
            catalog: options & IS_CATALOG != 0,
        })
    };
    settings.filter_map(controller).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(dn: &str, attributes: &[(&str, &str)]) -> Entry {
        let mut entry = Entry::new(dn.parse().unwrap());
        for (name, value) in attributes {
            entry.attributes.entry((*name).into()).or_default().push((*value).into());
        }
        entry
    }

    #[test]
    fn domains_and_controllers_are_read() {
        let dse = [
            ("defaultNamingContext", "DC=a"),
            ("configurationNamingContext", "CN=Configuration,DC=a"),
            ("schemaNamingContext", "CN=Schema,CN=Configuration,DC=a"),
        ];
        let server = Server::of(&entry("", &dse), "dc1").unwrap();
        let references = [
            entry("CN=1", &[("nCName", "DC=a"), ("dnsRoot", "a"), ("nETBIOSName", "A"), ("systemFlags", "3")]),
            entry("CN=2", &[("nCName", "DC=b,DC=a"), ("dnsRoot", "b.a"), ("systemFlags", "3")]),
            entry("CN=3", &[("nCName", "DC=DomainDnsZones,DC=a"), ("dnsRoot", "x"), ("systemFlags", "5")]),
        ];
        let contexts = server.contexts(&references);
        let names: Vec<&str> = contexts.domains.iter().map(|domain| domain.dns_name.as_str()).collect();
        assert_eq!(names, ["a", "b.a"]);
        let found = known(&[
            entry("CN=DC1,CN=Sites", &[("objectClass", "server"), ("dNSHostName", "dc1.a")]),
            entry("CN=NTDS Settings,CN=DC1,CN=Sites", &[("objectClass", "nTDSDSA"), ("hasMasterNCs", "DC=a"), ("options", "1")]),
            entry("CN=RODC,CN=Sites", &[("objectClass", "server"), ("dNSHostName", "rodc.a")]),
            entry("CN=NTDS Settings,CN=RODC,CN=Sites", &[("objectClass", "nTDSDSA")]),
            entry("CN=Gone,CN=Sites", &[("objectClass", "server")]),
        ]);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].host.as_str(), found[0].contexts.len(), found[0].catalog), ("dc1.a", 1, true));
        assert!(found[1].contexts.is_empty());
        assert!(Server::of(&entry("", &[]), "dc1").is_err());
    }
}
