//! How the same group differs between two files of settings, and what of it may change while it runs.

use super::{
    Alert, AlertMail, Check, DirectoryMove, DirectoryWitness, Dns, DnsAuthority, EtcdWitness, Group, Interfaces, Kind,
    MovingAddress, Probe, ProbeKind, Resource, Script, Service, ServiceControl, Share, Volume, Witness,
};
use crate::difference::Difference;
use crate::units::print_span;

/// Shown where one side has nothing.
const ABSENT: &str = "(none)";

impl Group {
    /// What differs between this group here and the `other` node's idea of it; empty if nothing does. Keys are beneath the group, such
    /// as `resources[0].needs`.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let (here, there) = (rows(self), rows(other));
        let value = |rows: &[(String, String)], key: &str| {
            rows.iter().find(|(known, _)| known == key).map_or(ABSENT.to_owned(), |(_, value)| value.clone())
        };
        let more = there.iter().filter(|(key, _)| here.iter().all(|(known, _)| known != key));
        let keys = here.iter().chain(more).map(|(key, _)| key);
        let difference = |key: &String| Difference { key: key.clone(), here: value(&here, key), there: value(&there, key) };
        keys.map(difference).filter(|difference| difference.here != difference.there).collect()
    }

    /// Whether the difference in that key beneath a group is taken over by a running daemon. What is where, who decides and when, and what
    /// has to be stopped as it was started, waits for the next start.
    pub(crate) fn is_live(key: &str) -> bool {
        let first = key.split(['.', '[']).next().unwrap_or_default();
        matches!(first, "at_shutdown" | "beside_others" | "drill")
    }

    /// This group with what may change while it runs taken from `written`.
    pub(crate) fn with_live_of(&self, written: &Self) -> Self {
        let written = written.clone();
        // Field by field, so that a new one cannot be forgotten here; `is_live` has the same.
        Self {
            name: self.name.clone(),
            nodes: self.nodes.clone(),
            failover: self.failover,
            heartbeat_ms: self.heartbeat_ms,
            misses: self.misses,
            accept_loss_ms: self.accept_loss_ms,
            at_shutdown: written.at_shutdown,
            beside_others: written.beside_others,
            witness: self.witness.clone(),
            alert: self.alert.clone(),
            fence: self.fence.clone(),
            drill: written.drill,
            resources: self.resources.clone(),
        }
    }
}

/// Keys and values, as they would be written.
#[derive(Default)]
struct Rows(Vec<(String, String)>);

impl Rows {
    fn put(&mut self, key: impl Into<String>, value: impl ToString) {
        self.0.push((key.into(), value.to_string()));
    }

    fn maybe(&mut self, key: impl Into<String>, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    fn span(&mut self, key: impl Into<String>, ms: u64) {
        self.put(key, print_span(ms));
    }

    /// What is not written where there is none.
    fn list<T: ToString>(&mut self, key: impl Into<String>, values: &[T]) {
        let quoted: Vec<_> = values.iter().map(|value| format!("{:?}", value.to_string())).collect();
        self.maybe(key, (!quoted.is_empty()).then(|| format!("[{}]", quoted.join(", "))));
    }

    fn named<V: ToString>(&mut self, key: &str, values: impl IntoIterator<Item = (impl ToString, V)>) {
        values.into_iter().for_each(|(name, value)| self.put(format!("{key}.{}", name.to_string()), value));
    }
}

/// The group as keys and values. Taken apart, as all that is in it, so that a new field cannot be forgotten here.
fn rows(group: &Group) -> Vec<(String, String)> {
    let Group {
        name,
        nodes,
        failover,
        heartbeat_ms,
        misses,
        accept_loss_ms,
        at_shutdown,
        beside_others,
        witness,
        alert: Alert { command, mail },
        fence,
        drill,
        resources,
    } = group;
    let mut rows = Rows::default();
    rows.put("name", name);
    rows.named("nodes", nodes);
    rows.put("failover", failover);
    rows.span("heartbeat", *heartbeat_ms);
    rows.put("misses", misses);
    rows.maybe("accept_loss", accept_loss_ms.map(print_span));
    rows.put("at_shutdown", at_shutdown);
    rows.put("beside_others", beside_others);
    rows.list("fence", fence.as_deref().unwrap_or_default());
    rows.list("drill", drill.as_deref().unwrap_or_default());
    witness.iter().for_each(|witness| of_witness(&mut rows, witness));
    rows.list("alert.command", command.as_deref().unwrap_or_default());
    if let Some(AlertMail { server, from, to }) = mail {
        rows.put("alert.mail_server", server);
        rows.put("alert.mail_from", from);
        rows.list("alert.mail_to", to);
    }
    resources.iter().enumerate().for_each(|(index, resource)| of_resource(&mut rows, &format!("resources[{index}]"), resource));
    rows.0
}

fn of_witness(rows: &mut Rows, witness: &Witness) {
    match witness {
        Witness::Directory(DirectoryWitness { controller, beneath }) => {
            rows.put("witness.kind", "directory");
            rows.put("witness.controller", controller);
            rows.put("witness.beneath", beneath);
        }
        Witness::Etcd(EtcdWitness { endpoints, prefix, lease_ms, ca, certificate, key, user, password_file }) => {
            rows.put("witness.kind", "etcd");
            rows.list("witness.endpoints", endpoints);
            rows.put("witness.prefix", prefix);
            rows.span("witness.lease", *lease_ms);
            for (name, file) in [("ca", ca), ("certificate", certificate), ("key", key), ("password_file", password_file)] {
                rows.maybe(format!("witness.{name}"), file.as_ref().map(|file| file.display()));
            }
            rows.maybe("witness.user", user.as_ref());
        }
    }
}

fn of_resource(rows: &mut Rows, at: &str, resource: &Resource) {
    let Resource { name, needs, start_timeout_ms, stop_timeout_ms, restarts, restart_window_ms, optional, kind } = resource;
    rows.put(format!("{at}.name"), name);
    rows.put(format!("{at}.kind"), kind.as_str());
    rows.list(format!("{at}.needs"), needs);
    rows.span(format!("{at}.start_timeout"), *start_timeout_ms);
    rows.span(format!("{at}.stop_timeout"), *stop_timeout_ms);
    rows.put(format!("{at}.restarts"), restarts);
    rows.span(format!("{at}.restart_window"), *restart_window_ms);
    rows.put(format!("{at}.optional"), optional);
    let key = |name: &str| format!("{at}.{name}");
    match kind {
        Kind::Volume(Volume { set }) => rows.put(key("set"), set),
        Kind::Address(MovingAddress { address, prefix, interface }) => {
            rows.put(key("address"), format!("{address}/{prefix}"));
            match interface {
                Interfaces::Everywhere(name) => rows.put(key("interface"), name),
                Interfaces::PerNode(names) => rows.named(&key("interface"), names),
            }
        }
        Kind::Dns(dns) => of_dns(rows, at, dns),
        Kind::Service(Service { control: ServiceControl::System { services, optional, start_up } }) => {
            rows.list(key("services"), services);
            rows.list(key("optional_services"), optional);
            rows.put(key("start_up"), start_up);
        }
        Kind::Service(Service { control: ServiceControl::Commands { start, stop, state } }) => {
            let commands = [("start", start), ("stop", stop), ("state", state)];
            commands.into_iter().for_each(|(name, command)| rows.list(key(name), command));
        }
        Kind::Share(Share { shares, add, remove, state }) => {
            let lists = [("shares", shares), ("add", add), ("remove", remove), ("state", state)];
            lists.into_iter().for_each(|(name, list)| rows.list(key(name), list));
        }
        Kind::Directory(DirectoryMove { servers, phase, rules, recipient_update, service_names }) => {
            rows.named(&key("servers"), servers);
            rows.put(key("phase"), phase);
            rows.list(key("rules"), rules);
            rows.put(key("recipient_update"), recipient_update);
            rows.put(key("service_names"), service_names);
        }
        Kind::Script(Script { start, stop }) => {
            for (name, command) in [("start", start), ("stop", stop)] {
                rows.list(key(name), command.as_deref().unwrap_or_default());
            }
        }
        Kind::Check(check) => of_check(rows, at, check),
    }
}

fn of_dns(rows: &mut Rows, at: &str, dns: &Dns) {
    let Dns { names, zone, addresses, ttl_s, reverse_zones, authority } = dns;
    rows.list(format!("{at}.names"), names);
    rows.put(format!("{at}.zone"), zone);
    for (node, addresses) in addresses {
        rows.list(format!("{at}.addresses.{node}"), addresses);
    }
    rows.span(format!("{at}.ttl"), u64::from(*ttl_s) * 1000);
    rows.list(format!("{at}.reverse_zones"), reverse_zones);
    match authority {
        DnsAuthority::Directory => rows.put(format!("{at}.directory"), true),
        DnsAuthority::Server { server, key_file, key, algorithm } => {
            rows.put(format!("{at}.server"), server);
            rows.put(format!("{at}.key_file"), key_file.display());
            rows.maybe(format!("{at}.key"), key.as_ref());
            rows.maybe(format!("{at}.algorithm"), algorithm.as_ref());
        }
    }
}

fn of_check(rows: &mut Rows, at: &str, check: &Check) {
    let Check { probe, interval_ms, timeout_ms, misses, then } = check;
    let (kind, target) = match probe {
        Probe::Tcp(target) => (ProbeKind::Tcp, target),
        Probe::Smtp(target) => (ProbeKind::Smtp, target),
        Probe::Imap(target) => (ProbeKind::Imap, target),
        Probe::Http(target) => (ProbeKind::Http, target),
        Probe::Ldap(target) => (ProbeKind::Ldap, target),
        Probe::Command(command) => {
            rows.list(format!("{at}.command"), command);
            (ProbeKind::Command, &String::new())
        }
    };
    rows.put(format!("{at}.probe"), kind);
    rows.maybe(format!("{at}.target"), (kind != ProbeKind::Command).then_some(target));
    rows.span(format!("{at}.interval"), *interval_ms);
    rows.span(format!("{at}.timeout"), *timeout_ms);
    rows.put(format!("{at}.misses"), misses);
    rows.put(format!("{at}.then"), then);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    /// The group of the sample with some of everything, with changes.
    fn group(changes: &[(&str, &str)]) -> Group {
        let text = changes.iter().fold(include_str!("../../samples/group-mail.toml").to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        Settings::parse(&text, "group-mail.toml").unwrap().groups.into_values().next().unwrap()
    }

    #[test]
    fn settings_are_told_by_their_own_names() {
        let group = group(&[]);
        for (key, _) in rows(&group) {
            let last = key.rsplit('.').next().unwrap();
            let is_node = group.nodes.keys().any(|node| node.as_str() == last);
            let is_written = || crate::raw::shapes().any(|shape| shape.keys.iter().any(|(known, _)| *known == last));
            assert!(is_node || is_written(), "{key} is written nowhere");
        }
    }

    #[test]
    fn what_changed_is_told_as_it_is_written() {
        let changed = group(&[
            ("accept_loss = \"30 s\"", "accept_loss = \"1 min\""),
            ("fence = [\"/usr/local/sbin/power-off\", \"peer\"]", ""),
            ("lease = \"10 s\"", "lease = \"12 s\""),
            ("mail_server = \"relay.example.net\"", "mail_server = \"mx.example.net\""),
            ("mx2 = \"ens3\"", "mx2 = \"ens4\""),
            ("postfix.service\", \"opendkim", "exim.service\", \"opendkim"),
            ("ttl = \"60 s\"", "ttl = \"2 min\""),
            ("/etc/standin/dns.key", "/etc/standin/other.key"),
            ("target = \"10.0.0.50:25\"", "target = \"10.0.0.50:587\""),
        ]);
        let told: Vec<_> =
            group(&[]).differences(&changed).into_iter().map(|d| format!("{}: {} | {}", d.key, d.here, d.there)).collect();
        assert_eq!(
            told,
            [
                "accept_loss: 30 s | 1 min",
                "fence: [\"/usr/local/sbin/power-off\", \"peer\"] | (none)",
                "witness.lease: 10 s | 12 s",
                "alert.mail_server: relay.example.net:25 | mx.example.net:25",
                "resources[1].interface.mx2: ens3 | ens4",
                "resources[2].services: [\"dovecot.service\", \"postfix.service\", \"opendkim.service\"] | \
                 [\"dovecot.service\", \"exim.service\", \"opendkim.service\"]",
                "resources[3].ttl: 1 min | 2 min",
                "resources[3].key_file: /etc/standin/dns.key | /etc/standin/other.key",
                "resources[6].target: 10.0.0.50:25 | 10.0.0.50:587",
            ]
        );
    }
}
