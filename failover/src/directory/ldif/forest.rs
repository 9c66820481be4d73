//! The naming contexts of an export: from its crossRef objects, else from the names of its objects.

use std::collections::BTreeMap;

use super::super::{DirectoryError, Dn, Domain, Filter, NamingContexts, Rdn};
use super::objects::Objects;

/// Finds the contexts of the objects that were read.
///
/// # Errors
/// [`DirectoryError::Protocol`] where there is no object with a domain in its name.
pub(super) fn contexts(objects: &Objects) -> Result<NamingContexts, DirectoryError> {
    let mut configuration = None;
    let mut suffixes: BTreeMap<Dn, usize> = BTreeMap::new();
    for at in 0..objects.len() {
        let dn = objects.dn(at);
        let domain_parts = domain_parts(dn);
        let Some(domain) = dn.ancestor(dn.depth() - domain_parts).filter(|domain| domain.depth() > 0) else { continue };
        if domain.key().starts_with("dc=domaindnszones,") || domain.key().starts_with("dc=forestdnszones,") {
            continue;
        }
        if configuration.is_none() && dn.depth() > domain_parts {
            configuration = dn.ancestor(dn.depth() - domain_parts - 1).filter(|top| top.key().starts_with("cn=configuration,"));
        }
        *suffixes.entry(domain).or_default() += 1;
    }
    let nothing =
        || DirectoryError::Protocol { server: "export".into(), why: "no object of it lies in a domain; is it an export?".into() };
    let root = configuration.as_ref().and_then(Dn::parent);
    let default = root.or_else(|| suffixes.keys().min_by_key(|dn| dn.depth()).cloned()).ok_or_else(nothing)?;
    let configuration = configuration.unwrap_or_else(|| default.child(&Rdn::cn("Configuration")));
    let schema = configuration.child(&Rdn::cn("Schema"));
    let mut domains = cross_references(objects, &configuration);
    if domains.is_empty() {
        domains = suffixes.into_keys().filter(|suffix| is_domain(suffix, &default, objects)).map(domain).collect();
    }
    domains.sort_by_key(|domain| (domain.context.depth(), domain.context.clone()));
    Ok(NamingContexts { default, configuration, schema, domains })
}

/// How many `DC` parts the name ends in.
pub(super) fn domain_parts(dn: &Dn) -> usize {
    dn.key().split(',').rev().take_while(|part| part.starts_with("dc=")).count()
}

/// A name of `DC` parts that is not a zone of the name service within another domain.
fn is_domain(suffix: &Dn, default: &Dn, objects: &Objects) -> bool {
    let is_root = |at: usize| {
        Filter::class("domain").matches(&objects.object(at)) || Filter::class("domainDNS").matches(&objects.object(at))
    };
    suffix == default || objects.find(suffix).is_none_or(is_root)
}

fn domain(context: Dn) -> Domain {
    let parts: Vec<String> = context.components().map(|part| part.value().to_owned()).collect();
    Domain { context, dns_name: parts.join("."), netbios_name: None, controller: None }
}

/// The domains that the forest's own list names (`CN=Partitions`; systemFlags: bit 1 in this forest, bit 2 a domain).
fn cross_references(objects: &Objects, configuration: &Dn) -> Vec<Domain> {
    let partitions = configuration.child_cn("Partitions");
    let within = (0..objects.len()).filter(|at| objects.dn(*at).is_beneath(&partitions));
    within
        .filter_map(|at| {
            let entry = objects.entry(at, &[]);
            let flags: i64 = entry.text("systemFlags")?.parse().ok()?;
            let context = entry.dn_of("nCName").filter(|_| flags & 3 == 3)?;
            let mut domain = domain(context);
            if let Some(dns_name) = entry.text("dnsRoot") {
                domain.dns_name = dns_name.to_owned();
            }
            domain.netbios_name = entry.text("nETBIOSName").map(str::to_owned);
            Some(domain)
        })
        .collect()
}
