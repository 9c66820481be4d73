//! `[[groups.NAME.resources]]` as written: keys that every resource has, and those of its kind.

use toml::de::DeTable;

use super::groups::{Named, Texts};
use crate::group::Kind;
use crate::problem::{Problems, nearest, quote};
use crate::read::{Placed, Reader, Shape};

/// A resource.
pub(crate) struct RawResource {
    /// Where it stands.
    pub(crate) place: Placed<()>,
    pub(crate) name: Option<Placed<String>>,
    pub(crate) needs: Option<Texts>,
    pub(crate) before: Option<Texts>,
    pub(crate) start_timeout: Option<Placed<String>>,
    pub(crate) stop_timeout: Option<Placed<String>>,
    pub(crate) restarts: Option<Placed<i64>>,
    pub(crate) restart_window: Option<Placed<String>>,
    pub(crate) optional: bool,
    /// `None` where there is no such kind, which is a problem already.
    pub(crate) kind: Option<RawKind>,
}

/// The keys of its own that a kind has. What is missing and has no default is a problem already.
pub(crate) enum RawKind {
    Volume { set: Option<Placed<String>> },
    Address { address: Option<Placed<String>>, interface: Option<Placed<PerNode<String>>> },
    Dns(Box<RawDns>),
    Service(Box<RawService>),
    Share { shares: Option<Texts>, add: Option<Texts>, remove: Option<Texts>, state: Option<Texts> },
    Directory(Box<RawDirectoryMove>),
    Script { start: Option<Texts>, stop: Option<Texts> },
    Check(Box<RawCheck>),
}

/// A value for all nodes, or one for each.
pub(crate) enum PerNode<T> {
    All(T),
    Each(Vec<(Placed<String>, T)>),
}

/// `kind = "dns"`.
pub(crate) struct RawDns {
    pub(crate) names: Option<Texts>,
    pub(crate) zone: Option<Placed<String>>,
    pub(crate) addresses: Option<Named<Texts>>,
    pub(crate) ttl: Option<Placed<String>>,
    pub(crate) reverse_zones: Option<Texts>,
    pub(crate) server: Option<Placed<String>>,
    pub(crate) key: Option<Placed<String>>,
    pub(crate) algorithm: Option<Placed<String>>,
    pub(crate) key_file: Option<Placed<String>>,
    pub(crate) directory: Option<Placed<bool>>,
}

/// `kind = "service"`.
pub(crate) struct RawService {
    pub(crate) services: Option<Texts>,
    pub(crate) optional_services: Option<Texts>,
    pub(crate) start_up: Option<Placed<String>>,
    pub(crate) start: Option<Texts>,
    pub(crate) stop: Option<Texts>,
    pub(crate) state: Option<Texts>,
}

/// `kind = "directory"`.
pub(crate) struct RawDirectoryMove {
    pub(crate) servers: Option<Placed<PerNode<String>>>,
    pub(crate) phase: Option<Placed<String>>,
    pub(crate) rules: Option<Texts>,
    pub(crate) recipient_update: bool,
    pub(crate) service_names: bool,
}

/// `kind = "check"`.
pub(crate) struct RawCheck {
    pub(crate) probe: Option<Placed<String>>,
    pub(crate) target: Option<Placed<String>>,
    pub(crate) command: Option<Texts>,
    pub(crate) interval: Option<Placed<String>>,
    pub(crate) timeout: Option<Placed<String>>,
    pub(crate) misses: Option<Placed<i64>>,
    pub(crate) then: Option<Placed<String>>,
}

/// A kind's shape: what every resource has, then what the kind has.
macro_rules! shape {
    ($name:ident, $kind:literal, $(($key:literal, $example:literal),)*) => {
        pub(crate) static $name: Shape = Shape {
            header: concat!("[[groups.NAME.resources]] of kind ", $kind),
            keys: &[
                ("name", "name = \"mail\""),
                ("kind", concat!("kind = \"", $kind, "\"")),
                ("needs", "needs = [\"store\"], the resources that must be online first"),
                ("before", "before = [\"services\"], the resources that need this one"),
                ("start_timeout", "start_timeout = \"15 min\""),
                ("stop_timeout", "stop_timeout = \"15 min\""),
                ("restarts", "restarts = 1"),
                ("restart_window", "restart_window = \"15 min\""),
                ("optional", "optional = true"),
                $(($key, $example),)*
            ],
        };
    };
}

shape!(VOLUME, "volume", ("set", "set = \"mail\""),);
shape!(
    ADDRESS,
    "address",
    ("address", "address = \"10.0.0.50/24\""),
    ("interface", "interface = \"eth0\" or interface = { alpha = \"eth0\", beta = \"ens3\" }"),
);
shape!(
    DNS,
    "dns",
    ("names", "names = [\"mail.example.org\"]"),
    ("zone", "zone = \"example.org\""),
    ("addresses", "addresses = { alpha = \"10.0.0.1\", beta = \"192.168.7.2\" }"),
    ("ttl", "ttl = \"60 s\""),
    ("reverse_zones", "reverse_zones = [\"0.0.10.in-addr.arpa\"]"),
    ("server", "server = \"ns1.example.org\""),
    ("key", "key = \"standin.example.org\""),
    ("algorithm", "algorithm = \"hmac-sha256\""),
    ("key_file", "key_file = \"/etc/standin/dns.key\""),
    ("directory", "directory = true"),
);
shape!(
    SERVICE,
    "service",
    ("services", "services = [\"postfix.service\", \"dovecot.service\"]"),
    ("optional_services", "optional_services = [\"dovecot.service\"]"),
    ("start_up", "start_up = \"group\" or start_up = \"leave\""),
    ("start", "start = [\"/usr/sbin/mailer\", \"start\"]"),
    ("stop", "stop = [\"/usr/sbin/mailer\", \"stop\"]"),
    ("state", "state = [\"/usr/sbin/mailer\", \"status\"]"),
);
shape!(
    SHARE,
    "share",
    ("shares", "shares = [\"Address\", \"Resources$\"]"),
    ("add", "add = [\"/usr/local/sbin/share\", \"add\"], with the share's name in STANDIN_SHARE"),
    ("remove", "remove = [\"/usr/local/sbin/share\", \"remove\"], with the share's name in STANDIN_SHARE"),
    ("state", "state = [\"/usr/local/sbin/share\", \"state\"], with the share's name in STANDIN_SHARE"),
);
shape!(
    DIRECTORY,
    "directory",
    ("servers", "servers = { alpha = \"EXCH1\", beta = \"EXCH2\" }"),
    ("phase", "phase = \"setup\" or phase = \"all\""),
    ("rules", "rules = [\"Sales:Sales_Backup\"]"),
    ("recipient_update", "recipient_update = false"),
    ("service_names", "service_names = false"),
);
shape!(SCRIPT, "script", ("start", "start = [\"/etc/standin/start.sh\"]"), ("stop", "stop = [\"/etc/standin/stop.sh\"]"),);
shape!(
    CHECK,
    "check",
    ("probe", "probe = \"smtp\""),
    ("target", "target = \"10.0.0.50:25\""),
    ("command", "command = [\"/usr/local/sbin/look\"]"),
    ("interval", "interval = \"10 s\""),
    ("timeout", "timeout = \"5 s\""),
    ("misses", "misses = 3"),
    ("then", "then = \"restart\""),
);

/// The tables of all kinds.
pub(super) static SHAPES: [&Shape; 8] = [&VOLUME, &ADDRESS, &DNS, &SERVICE, &SHARE, &DIRECTORY, &SCRIPT, &CHECK];

/// The shape of a kind that is one of [`Kind::WORDS`].
fn shape_of(kind: &str) -> Option<&'static Shape> {
    Kind::WORDS.iter().position(|word| *word == kind).and_then(|index| SHAPES.get(index).copied())
}

pub(super) fn read_resource(problems: &Problems<'_>, table: Placed<&DeTable<'_>>) -> RawResource {
    let place = table.with(());
    let kind = Reader::new(problems, &SCRIPT, table.clone()).text("kind");
    let shape = kind.as_ref().and_then(|kind| shape_of(&kind.value));
    let mut reader = Reader::new(problems, shape.unwrap_or(&SCRIPT), table.clone());
    match (&kind, shape) {
        (Some(written), None) => {
            let wrong = format!("{} is not one of {}", quote(&written.value), Kind::WORDS.join(", "));
            let meant = nearest(&written.value, Kind::WORDS.iter().copied()).unwrap_or("service");
            problems.add(written.at, &written.key, wrong, format!("write kind = {meant:?}"));
        }
        (None, _) if !table.value.contains_key("kind") => {
            let words = format!("add kind, which is one of {}", Kind::WORDS.join(", "));
            problems.add(place.at, &format!("{}.kind", place.key), "it is missing", words);
        }
        _ => {}
    }
    reader.require("name");
    let resource = RawResource {
        name: reader.text("name"),
        needs: reader.text_or_texts("needs"),
        before: reader.text_or_texts("before"),
        start_timeout: reader.text("start_timeout"),
        stop_timeout: reader.text("stop_timeout"),
        restarts: reader.number("restarts"),
        restart_window: reader.text("restart_window"),
        optional: reader.boolean("optional").is_some_and(|optional| optional.value),
        kind: shape.and(kind).and_then(|kind| read_kind(&mut reader, &kind.value)),
        place,
    };
    // Of a resource whose kind nobody knows, no key can be called unknown.
    if shape.is_some() {
        reader.finish();
    }
    resource
}

fn read_kind(reader: &mut Reader<'_, '_>, kind: &str) -> Option<RawKind> {
    let required: &[&'static str] = match kind {
        "volume" => &["set"],
        "address" => &["address", "interface"],
        "dns" => &["names", "zone", "addresses"],
        "share" => &["shares", "add", "remove", "state"],
        "directory" => &["servers"],
        "check" => &["probe"],
        _ => &[],
    };
    required.iter().for_each(|key| reader.require(key));
    Some(match kind {
        "volume" => RawKind::Volume { set: reader.text("set") },
        "address" => RawKind::Address { address: reader.text("address"), interface: reader.text_or_named("interface") },
        "dns" => RawKind::Dns(Box::new(read_dns(reader))),
        "service" => RawKind::Service(Box::new(RawService {
            services: reader.text_or_texts("services"),
            optional_services: reader.text_or_texts("optional_services"),
            start_up: reader.text("start_up"),
            start: reader.texts("start"),
            stop: reader.texts("stop"),
            state: reader.texts("state"),
        })),
        "share" => RawKind::Share {
            shares: reader.text_or_texts("shares"),
            add: reader.texts("add"),
            remove: reader.texts("remove"),
            state: reader.texts("state"),
        },
        "directory" => RawKind::Directory(Box::new(RawDirectoryMove {
            servers: reader.text_or_named("servers"),
            phase: reader.text("phase"),
            rules: reader.text_or_texts("rules"),
            recipient_update: reader.boolean("recipient_update").is_none_or(|update| update.value),
            service_names: reader.boolean("service_names").is_none_or(|names| names.value),
        })),
        "script" => RawKind::Script { start: reader.texts("start"), stop: reader.texts("stop") },
        "check" => RawKind::Check(Box::new(RawCheck {
            probe: reader.text("probe"),
            target: reader.text("target"),
            command: reader.texts("command"),
            interval: reader.text("interval"),
            timeout: reader.text("timeout"),
            misses: reader.number("misses"),
            then: reader.text("then"),
        })),
        _ => return None,
    })
}

fn read_dns(reader: &Reader<'_, '_>) -> RawDns {
    RawDns {
        names: reader.text_or_texts("names"),
        zone: reader.text("zone"),
        addresses: reader.named_texts("addresses"),
        ttl: reader.text("ttl"),
        reverse_zones: reader.text_or_texts("reverse_zones"),
        server: reader.text("server"),
        key: reader.text("key"),
        algorithm: reader.text("algorithm"),
        key_file: reader.text("key_file"),
        directory: reader.boolean("directory"),
    }
}
