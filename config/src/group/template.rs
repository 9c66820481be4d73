//! Groups to begin with: `standin group template KIND`.

use standin_common::id::NodeName;

use crate::model::words;

words! {
    /// What a template is for.
    Template {
        /// Microsoft Exchange Server 2003.
        Exchange2003 = "exchange-2003",
        /// Microsoft Exchange Server 2007.
        Exchange2007 = "exchange-2007",
        /// Postfix and Dovecot on Linux.
        PostfixDovecot = "postfix-dovecot",
    }
}

/// Sets and a group for these two nodes, with what has to be adapted said beside it. It is added to a file that has `[node]`, `[peers]` and,
/// for Exchange, `[directory]`, and loads there as it is.
pub fn template(kind: Template, home: &NodeName, standby: &NodeName) -> String {
    let text = match kind {
        Template::Exchange2003 => include_str!("template/exchange-2003.toml"),
        Template::Exchange2007 => include_str!("template/exchange-2007.toml"),
        Template::PostfixDovecot => include_str!("template/postfix-dovecot.toml"),
    };
    // Names of nodes may have dots, which TOML would take for tables.
    text.replace("\"@HOME@\"", &format!("{:?}", home.as_str())).replace("\"@STANDBY@\"", &format!("{:?}", standby.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::{Kind, ServiceControl};
    use crate::model::Settings;

    const BASE: &str = "[node]\nname = \"mx.1\"\nstate_dir = \"/var/lib/standin\"\n[peers.mx2]\naddresses = [\"10.0.0.2\"]\n\
        [directory]\ncontrollers = [\"dc1.corp.example\"]\n";

    #[test]
    fn every_template_loads_and_starts_its_services_after_its_files() {
        let (home, standby): (NodeName, NodeName) = ("mx.1".parse().unwrap(), "mx2".parse().unwrap());
        for word in Template::WORDS {
            let text = template(word.parse().unwrap(), &home, &standby);
            assert!(!text.contains('@') || text.contains("@example"), "{word}");
            let settings = Settings::parse(&format!("{BASE}\n{text}"), word)
                .unwrap_or_else(|problems| panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")));
            assert_eq!(settings.notes(), Vec::<String>::new());
            let group = settings.groups.values().next().unwrap();
            assert_eq!((group.home(), group.nodes.len()), (Some(&home), 2));
            let services = group.resources.iter().find(|resource| matches!(resource.kind, Kind::Service(_))).unwrap();
            let reaches = |name: &str| {
                let mut open: Vec<_> = services.needs.clone();
                while let Some(next) = open.pop() {
                    let next = group.resource(&next).unwrap();
                    if next.kind.as_str() == name {
                        return true;
                    }
                    open.extend(next.needs.iter().cloned());
                }
                false
            };
            assert!(reaches("volume"), "{word}");
        }
    }

    #[test]
    fn exchange_has_the_services_of_the_documented_scripts_in_their_order() {
        let (home, standby): (NodeName, NodeName) = ("mx.1".parse().unwrap(), "mx2".parse().unwrap());
        let services = |kind| {
            let settings = Settings::parse(&format!("{BASE}\n{}", template(kind, &home, &standby)), "t").unwrap();
            let group = settings.groups.into_values().next().unwrap();
            group.resources.into_iter().find_map(|resource| match resource.kind {
                Kind::Service(service) => match service.control {
                    ServiceControl::System { services, .. } => Some(services),
                    ServiceControl::Commands { .. } => None,
                },
                _ => None,
            })
        };
        let of_2003 = services(Template::Exchange2003).unwrap();
        assert_eq!(of_2003, ["MSExchangeSA", "MSExchangeMGMT", "MSExchangeIS", "RESvc", "MSExchangeMTA", "SMTPSVC", "POP3SVC"]);
        let of_2007 = services(Template::Exchange2007).unwrap();
        assert_eq!(
            (of_2007.len(), &of_2007[..3]),
            (15, ["MSExchangeSA", "MSExchangeIS", "msftesql-Exchange"].map(str::to_owned).as_slice())
        );
    }
}
