//! What the settings of a group have to say alike on all its nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Group, Kind, Resource, Witness};

impl Group {
    /// What has to be the same on all nodes, by what it is about. Programs, files, interfaces, time limits and whoever is told may differ.
    pub fn shared(&self) -> BTreeMap<String, String> {
        let nodes = self.by_priority().into_iter().map(|node| format!("{node} = {}", self.nodes.get(node).copied().unwrap_or(0)));
        let mut shared = BTreeMap::from([
            ("nodes".to_owned(), nodes.collect::<Vec<_>>().join(", ")),
            ("failover".to_owned(), self.failover.as_str().to_owned()),
            ("heartbeat".to_owned(), format!("{} ms", self.heartbeat_ms)),
            ("misses".to_owned(), self.misses.to_string()),
        ]);
        match &self.witness {
            Some(Witness::Etcd(etcd)) => {
                shared.insert("witness".to_owned(), format!("etcd, prefix {}", etcd.prefix));
                shared.insert("lease".to_owned(), format!("{} ms", etcd.lease_ms));
            }
            Some(Witness::Directory(directory)) => {
                shared.insert(
                    "witness".to_owned(),
                    format!("directory, beneath {} at {}", directory.beneath, directory.controller),
                );
            }
            None => {}
        }
        shared.extend(self.resources.iter().map(|resource| (format!("resource {}", resource.name), resource.shared())));
        shared
    }

    /// Where other settings say something else, in words for people: what it is, what is said here, and there.
    pub fn unlike(&self, there: &BTreeMap<String, String>) -> Vec<String> {
        let here = self.shared();
        let about: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let said = |shared: &BTreeMap<String, String>, key: &String| shared.get(key).map_or("none".to_owned(), String::clone);
        let line = |key: &String| {
            let (here, there) = (said(&here, key), said(there, key));
            (here != there).then(|| format!("{key}: {here} here, {there} there"))
        };
        about.into_iter().filter_map(line).collect()
    }
}

impl Resource {
    fn shared(&self) -> String {
        let what = match &self.kind {
            Kind::Volume(volume) => format!(" of set {}", volume.set),
            Kind::Address(address) => format!(" {}/{}", address.address, address.prefix),
            Kind::Dns(dns) => format!(" {} in {}", dns.names.join(", "), dns.zone),
            _ => String::new(),
        };
        let needs: BTreeSet<_> = self.needs.iter().map(ToString::to_string).collect();
        let needs = needs.into_iter().collect::<Vec<_>>().join(", ");
        let needs = if needs.is_empty() { needs } else { format!(" that needs {needs}") };
        let optional = if self.optional { ", optional" } else { "" };
        format!("{}{what}{needs}{optional}", self.kind.as_str())
    }
}

#[cfg(test)]
mod tests {
    use crate::Settings;

    use super::*;

    fn group(edit: &dyn Fn(String) -> String) -> Group {
        let written = r#"
[node]
name = "alpha"
state_dir = "/s"
[peers.beta]
addresses = ["10.0.0.2"]
[groups.mail]
nodes = { alpha = 1, beta = 10 }
[groups.mail.witness]
kind = "etcd"
endpoints = ["http://10.0.0.3:2379"]
lease = "3 s"
[[groups.mail.resources]]
name = "address"
kind = "address"
address = "10.0.0.50/24"
interface = "eth0"
[[groups.mail.resources]]
name = "server"
kind = "service"
needs = "address"
start = ["/bin/true"]
stop = ["/bin/true"]
state = ["/bin/true"]
"#;
        let settings = Settings::parse(&edit(written.to_owned()), "standin.toml").unwrap();
        settings.groups.into_values().next().unwrap()
    }

    #[test]
    fn what_may_differ_does_and_what_may_not_is_told() {
        let here = group(&|written| written);
        let differs = |from: &'static str, to: &'static str| {
            let there = group(&move |written| {
                assert!(written.contains(from));
                written.replace(from, to)
            });
            here.unlike(&there.shared())
        };
        assert_eq!(differs("eth0", "eth7"), Vec::<String>::new());
        assert_eq!(differs("start = [\"/bin/true\"]", "start = [\"/bin/false\"]"), Vec::<String>::new());
        assert_eq!(differs("lease = \"3 s\"", "lease = \"30 s\""), ["lease: 3000 ms here, 30000 ms there"]);
        assert_eq!(differs("beta = 10", "beta = 20"), ["nodes: alpha = 1, beta = 10 here, alpha = 1, beta = 20 there"]);
        assert_eq!(differs("needs = \"address\"\n", ""), ["resource server: service that needs address here, service there"]);
        let other = differs("name = \"server\"", "name = \"imap\"");
        assert_eq!(
            other,
            [
                "resource imap: none here, service that needs address there",
                "resource server: service that needs address here, none there"
            ]
        );
    }
}
