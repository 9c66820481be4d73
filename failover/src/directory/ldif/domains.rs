//! Changes of a forest of several domains: a controller takes those of its own domain and of the configuration, and no others.

use super::super::{Domain, NamingContexts};
use super::Write;

/// Divides writes by the domain whose controllers take them, each part in the order given. The configuration goes with the forest's root
/// domain. A part with service principal names comes before those that have some later, as a name must be off one account before
/// another gets it. `None` is a domain that the forest does not list.
pub fn by_domain(contexts: &NamingContexts, writes: impl IntoIterator<Item = Write>) -> Vec<(Option<&Domain>, Vec<Write>)> {
    let mut parts: Vec<(Option<&Domain>, Vec<Write>)> = Vec::new();
    let mut with_names: Vec<Option<&Domain>> = Vec::new();
    for write in writes {
        let domain = domain_of(contexts, &write);
        if is_of_service_names(&write) && !with_names.contains(&domain) {
            with_names.push(domain);
        }
        match parts.iter_mut().find(|(known, _)| *known == domain) {
            Some((_, part)) => part.push(write),
            None => parts.push((domain, vec![write])),
        }
    }
    parts.sort_by_key(|(domain, _)| with_names.iter().position(|known| known == domain).unwrap_or(usize::MAX));
    parts
}

fn domain_of<'a>(contexts: &'a NamingContexts, write: &Write) -> Option<&'a Domain> {
    let dn = match write {
        Write::Modify(modify) => &modify.dn,
        Write::Rename(rename) => &rename.dn,
    };
    let context = contexts.of(dn)?;
    let is_of_forest = *context == contexts.configuration || *context == contexts.schema;
    let root = if is_of_forest { contexts.configuration.parent() } else { None };
    let wanted = root.as_ref().unwrap_or(context);
    contexts.domains.iter().find(|domain| domain.context == *wanted)
}

fn is_of_service_names(write: &Write) -> bool {
    match write {
        Write::Modify(modify) => modify.changes.iter().any(|change| change.attribute == *"servicePrincipalName"),
        Write::Rename(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Change, Dn, Modify};
    use super::*;

    fn write(dn: &str, attribute: &str) -> Write {
        let change = Change { attribute: attribute.into(), delete: vec!["a".into()], add: vec!["b".into()] };
        Write::Modify(Modify { dn: dn.parse().unwrap(), changes: vec![change] })
    }

    #[test]
    fn each_domain_gets_its_own_and_names_go_off_first() {
        let dn = |text: &str| text.parse::<Dn>().unwrap();
        let domain = |context: &str, name: &str| Domain {
            context: dn(context),
            dns_name: name.into(),
            netbios_name: None,
            controller: None,
        };
        let contexts = NamingContexts {
            default: dn("DC=a"),
            configuration: dn("CN=Configuration,DC=a"),
            schema: dn("CN=Schema,CN=Configuration,DC=a"),
            domains: vec![domain("DC=a", "a"), domain("DC=b,DC=a", "b.a")],
        };
        let writes = [
            write("CN=Store,CN=Configuration,DC=a", "msExchPatchMDB"),
            write("CN=User,DC=a", "homeMDB"),
            write("CN=User,DC=b,DC=a", "homeMDB"),
            write("CN=EX1,DC=b,DC=a", "servicePrincipalName"),
            write("CN=EX2,DC=a", "servicePrincipalName"),
        ];
        let shown = |writes: &[Write]| {
            let parts = by_domain(&contexts, writes.to_vec());
            parts.iter().map(|(domain, part)| (domain.unwrap().dns_name.clone(), part.len())).collect::<Vec<_>>()
        };
        assert_eq!(shown(&writes), [("b.a".to_owned(), 2), ("a".to_owned(), 3)]);
        assert_eq!(shown(&writes[..3]), [("a".to_owned(), 2), ("b.a".to_owned(), 1)]);
        assert_eq!(shown(&writes[..1]), [("a".to_owned(), 1)]);
        assert_eq!(
            by_domain(&contexts, [write("CN=X,DC=elsewhere", "cn")]).first().map(|(domain, _)| domain.is_none()),
            Some(true)
        );
    }
}
