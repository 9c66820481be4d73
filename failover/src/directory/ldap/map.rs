//! Who holds what: which controllers a search or a write of an object goes to. Without connections, so it is the same each time.

use super::super::{Dn, NamingContexts};
use super::forest::Known;
use super::settings::Endpoint;

/// A forest with its controllers, seen from the first one that answered.
pub(super) struct Map {
    /// How the first controller was reached; others are reached the same way.
    pub(super) first: Endpoint,
    /// Those that were named to begin with, the first one before all.
    pub(super) preferred: Vec<Endpoint>,
    /// What each domain is called and where it begins.
    pub(super) contexts: NamingContexts,
    /// All controllers.
    pub(super) known: Vec<Known>,
}

impl Map {
    /// The first controller stays what it was reached as, whatever it calls itself: its certificate may have only that name, and DNS
    /// here may not know the other.
    pub(super) fn learn_own_name(&mut self, own: &str) {
        for known in self.known.iter_mut().filter(|known| known.host.eq_ignore_ascii_case(own)) {
            known.host.clone_from(&self.first.host);
        }
    }

    /// How a controller is reached: as it was named, or like the first.
    pub(super) fn endpoint(&self, host: &str) -> Endpoint {
        let named = self.preferred.iter().find(|endpoint| endpoint.host.eq_ignore_ascii_case(host));
        named.cloned().unwrap_or_else(|| self.first.of_host(host))
    }

    /// All controllers that hold a context and may change it, best first.
    pub(super) fn holders(&self, context: &Dn) -> Vec<String> {
        let holds = |known: &&Known| known.contexts.contains(context);
        self.best_first(self.known.iter().filter(holds).map(|known| known.host.clone()).collect())
    }

    /// The global catalogs, which know a part of every domain, best first.
    pub(super) fn catalogs(&self) -> Vec<Endpoint> {
        let catalogs = self.known.iter().filter(|known| known.catalog).map(|known| known.host.clone());
        self.best_first(catalogs.collect()).iter().map(|host| self.endpoint(host).catalog()).collect()
    }

    /// Those that were named first, in their order.
    fn best_first(&self, mut hosts: Vec<String>) -> Vec<String> {
        let rank = |host: &String| self.preferred.iter().position(|named| named.host.eq_ignore_ascii_case(host));
        hosts.sort_by_key(|host| rank(host).unwrap_or(usize::MAX));
        hosts
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Domain;
    use super::*;

    fn dn(text: &str) -> Dn {
        text.parse().unwrap()
    }

    /// `dc1` and `dc2` of the root, `dc3` of the child; all hold the configuration, and `dc2` and `dc3` are catalogs.
    fn map(named: &[&str]) -> Map {
        let preferred: Vec<Endpoint> = named.iter().map(|text| text.parse().unwrap()).collect();
        let domain = |context: &str, dns_name: &str| Domain {
            context: dn(context),
            dns_name: dns_name.into(),
            netbios_name: None,
            controller: None,
        };
        let (configuration, schema) = (dn("CN=Configuration,DC=a"), dn("CN=Schema,CN=Configuration,DC=a"));
        let known = |host: &str, own: &str, catalog| Known {
            host: host.into(),
            contexts: vec![dn(own), configuration.clone(), schema.clone()],
            catalog,
        };
        Map {
            first: preferred[0].clone(),
            preferred,
            known: vec![known("dc1.a", "DC=a", false), known("dc2.a", "DC=a", true), known("dc3.b.a", "DC=b,DC=a", true)],
            contexts: NamingContexts {
                default: dn("DC=a"),
                configuration: configuration.clone(),
                schema: schema.clone(),
                domains: vec![domain("DC=a", "a"), domain("DC=b,DC=a", "b.a")],
            },
        }
    }

    #[test]
    fn each_domain_is_written_at_its_own_controllers_and_found_at_the_catalogs() {
        let map = map(&["starttls://dc1.a"]);
        let holders = |object: &str| map.holders(map.contexts.of(&dn(object)).unwrap());
        assert_eq!(holders("CN=User,OU=EX1,DC=b,DC=a"), ["dc3.b.a"]);
        assert_eq!(holders("CN=User,OU=b,DC=a"), ["dc1.a", "dc2.a"]);
        assert_eq!(holders("CN=Store,CN=Configuration,DC=a"), ["dc1.a", "dc2.a", "dc3.b.a"]);
        assert!(map.contexts.of(&dn("CN=User,DC=elsewhere")).is_none());
        // The port of catalogs, and TLS as for the first.
        let catalogs: Vec<String> = map.catalogs().iter().map(ToString::to_string).collect();
        assert_eq!(catalogs, ["dc2.a:3268", "dc3.b.a:3268"]);
    }

    #[test]
    fn who_was_named_comes_first_and_as_it_was_named() {
        let mut map = map(&["ldaps://127.0.0.9", "ldaps://dc3.b.a:10636"]);
        assert_eq!(map.holders(&dn("CN=Configuration,DC=a"))[0], "dc3.b.a");
        assert_eq!(map.endpoint("DC3.b.a").to_string(), "dc3.b.a:10636");
        assert_eq!(map.endpoint("dc2.a").host, "dc2.a");
        // The first one calls itself otherwise than it was reached.
        map.learn_own_name("DC1.a");
        assert_eq!(map.holders(&dn("DC=a")), ["127.0.0.9", "dc2.a"]);
    }
}
