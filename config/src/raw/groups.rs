//! `[groups.NAME]` as written.

use toml::de::DeTable;

use super::resources::{RawResource, read_resource};
use crate::problem::Problems;
use crate::read::{Placed, Reader, Shape};

/// A list of texts.
pub(crate) type Texts = Placed<Vec<Placed<String>>>;

/// A table whose keys the user chooses.
pub(crate) type Named<T> = Placed<Vec<(Placed<String>, T)>>;

/// `[groups.NAME]`.
pub(crate) struct RawGroup {
    pub(crate) name: Placed<String>,
    pub(crate) nodes: Option<Named<i64>>,
    pub(crate) failover: Option<Placed<String>>,
    pub(crate) heartbeat: Option<Placed<String>>,
    pub(crate) misses: Option<Placed<i64>>,
    pub(crate) accept_loss: Option<Placed<String>>,
    pub(crate) at_shutdown: Option<Placed<String>>,
    pub(crate) beside_others: bool,
    pub(crate) addresses: Option<Placed<i64>>,
    pub(crate) fence: Option<Texts>,
    pub(crate) drill: Option<Texts>,
    pub(crate) witness: Option<RawWitness>,
    pub(crate) alert: Option<RawAlert>,
    pub(crate) resources: Option<Placed<Vec<RawResource>>>,
}

/// `[groups.NAME.witness]`.
pub(crate) struct RawWitness {
    /// Where it stands.
    pub(crate) place: Placed<()>,
    pub(crate) kind: Option<Placed<String>>,
    pub(crate) controller: Option<Placed<String>>,
    pub(crate) beneath: Option<Placed<String>>,
    pub(crate) endpoints: Option<Texts>,
    pub(crate) prefix: Option<Placed<String>>,
    pub(crate) lease: Option<Placed<String>>,
    pub(crate) ca: Option<Placed<String>>,
    pub(crate) certificate: Option<Placed<String>>,
    pub(crate) key: Option<Placed<String>>,
    pub(crate) user: Option<Placed<String>>,
    pub(crate) password_file: Option<Placed<String>>,
}

/// `[groups.NAME.alert]`.
pub(crate) struct RawAlert {
    /// Where it stands.
    pub(crate) place: Placed<()>,
    pub(crate) command: Option<Texts>,
    pub(crate) mail_server: Option<Placed<String>>,
    pub(crate) mail_from: Option<Placed<String>>,
    pub(crate) mail_to: Option<Texts>,
}

/// Keys and examples of a group.
pub(crate) static GROUP: Shape = Shape {
    header: "[groups.NAME]",
    keys: &[
        ("nodes", "nodes = { alpha = 1, beta = 10 }"),
        ("failover", "failover = \"manual\""),
        ("heartbeat", "heartbeat = \"1 s\""),
        ("misses", "misses = 10"),
        ("accept_loss", "accept_loss = \"30 s\""),
        ("at_shutdown", "at_shutdown = \"stay\""),
        ("beside_others", "beside_others = true"),
        ("addresses", "addresses = 1, the number of resources of kind address"),
        ("fence", "fence = [\"/usr/local/sbin/power-off\", \"alpha\"]"),
        ("drill", "drill = [\"/usr/local/sbin/look-at-the-mail\"]"),
        ("witness", "a table [groups.NAME.witness] with kind"),
        ("alert", "a table [groups.NAME.alert] with command or mail_to"),
        ("resources", "a table [[groups.NAME.resources]] with name and kind"),
    ],
};

const WITNESS_HEADER: &str = "[groups.NAME.witness]";

/// Keys of a witness of whatever kind.
pub(crate) static WITNESS: Shape = Shape {
    header: WITNESS_HEADER,
    keys: &[
        ("kind", "kind = \"directory\" or kind = \"etcd\""),
        ("controller", "controller = \"dc1.corp.example\", the one that is asked"),
        ("beneath", "beneath = \"CN=MAIL1,CN=Computers,DC=corp,DC=example\""),
        ("endpoints", "endpoints = [\"https://etcd1.example.org:2379\"]"),
        ("prefix", "prefix = \"/standin\""),
        ("lease", "lease = \"10 s\""),
        ("ca", "ca = \"/etc/standin/etcd-authority.pem\""),
        ("certificate", "certificate = \"/etc/standin/etcd.pem\""),
        ("key", "key = \"/etc/standin/etcd.key\""),
        ("user", "user = \"standin\""),
        ("password_file", "password_file = \"/etc/standin/etcd.password\""),
    ],
};

static ALERT: Shape = Shape {
    header: "[groups.NAME.alert]",
    keys: &[
        ("command", "command = [\"/usr/local/sbin/page-me\"]"),
        ("mail_server", "mail_server = \"relay.example.org:25\""),
        ("mail_from", "mail_from = \"standin@example.org\""),
        ("mail_to", "mail_to = [\"operators@example.org\"]"),
    ],
};

/// The tables of a group without its resources, to tell where a misplaced key belongs.
pub(super) static SHAPES: [&Shape; 3] = [&GROUP, &WITNESS, &ALERT];

pub(super) fn read_group(problems: &Problems<'_>, name: Placed<String>, table: Placed<&DeTable<'_>>) -> RawGroup {
    let mut reader = Reader::new(problems, &GROUP, table);
    reader.require("nodes");
    reader.require("resources");
    let resources = reader.tables("resources").map(|list| {
        let resources = list.value.iter().map(|table| read_resource(problems, table.clone())).collect();
        list.with(resources)
    });
    let witness = reader.table("witness").map(|table| read_witness(problems, table));
    let alert = reader.table("alert").map(|table| read_alert(problems, table));
    let group = RawGroup {
        name,
        nodes: reader.named_numbers("nodes"),
        failover: reader.text("failover"),
        heartbeat: reader.text("heartbeat"),
        misses: reader.number("misses"),
        accept_loss: reader.text("accept_loss"),
        at_shutdown: reader.text("at_shutdown"),
        beside_others: reader.boolean("beside_others").is_some_and(|beside| beside.value),
        addresses: reader.number("addresses"),
        fence: reader.texts("fence"),
        drill: reader.texts("drill"),
        witness,
        alert,
        resources,
    };
    reader.finish();
    group
}

fn read_witness(problems: &Problems<'_>, table: Placed<&DeTable<'_>>) -> RawWitness {
    let place = table.with(());
    let mut reader = Reader::new(problems, &WITNESS, table);
    reader.require("kind");
    let witness = RawWitness {
        place,
        kind: reader.text("kind"),
        controller: reader.text("controller"),
        beneath: reader.text("beneath"),
        endpoints: reader.texts("endpoints"),
        prefix: reader.text("prefix"),
        lease: reader.text("lease"),
        ca: reader.text("ca"),
        certificate: reader.text("certificate"),
        key: reader.text("key"),
        user: reader.text("user"),
        password_file: reader.text("password_file"),
    };
    reader.finish();
    witness
}

fn read_alert(problems: &Problems<'_>, table: Placed<&DeTable<'_>>) -> RawAlert {
    let place = table.with(());
    let reader = Reader::new(problems, &ALERT, table);
    let alert = RawAlert {
        place,
        command: reader.texts("command"),
        mail_server: reader.text("mail_server"),
        mail_from: reader.text("mail_from"),
        mail_to: reader.text_or_texts("mail_to"),
    };
    reader.finish();
    alert
}
