//! Settings as written: types and key names are checked here, meaning is not.

pub(crate) mod groups;
pub(crate) mod resources;

use toml::de::DeTable;

use self::groups::{RawGroup, read_group};
use crate::problem::Problems;
use crate::read::{Placed, Reader, Scalar, Shape};

/// The whole file.
pub(crate) struct RawSettings {
    pub(crate) node: RawNode,
    /// `None` if there is something else under that key.
    pub(crate) peers: Option<Vec<RawPeer>>,
    pub(crate) sets: Vec<RawSet>,
    pub(crate) directory: Option<RawDirectory>,
    pub(crate) groups: Vec<RawGroup>,
}

/// `[directory]`.
pub(crate) struct RawDirectory {
    pub(crate) controllers: Option<Placed<Vec<Placed<String>>>>,
    pub(crate) domain: Option<Placed<String>>,
    pub(crate) account: Option<Placed<String>>,
    pub(crate) password_file: Option<Placed<String>>,
    pub(crate) ca: Option<Placed<String>>,
    pub(crate) pin: Option<Placed<String>>,
    pub(crate) state_dir: Option<Placed<String>>,
}

/// `[node]`.
#[derive(Default)]
pub(crate) struct RawNode {
    pub(crate) name: Option<Placed<String>>,
    pub(crate) listen: Option<Placed<Vec<Placed<String>>>>,
    pub(crate) state_dir: Option<Placed<String>>,
}

/// `[peers.NAME]`.
pub(crate) struct RawPeer {
    pub(crate) name: Placed<String>,
    pub(crate) addresses: Option<Placed<Vec<Placed<String>>>>,
}

/// `[sets.NAME]`.
pub(crate) struct RawSet {
    pub(crate) name: Placed<String>,
    pub(crate) source: Option<Placed<String>>,
    pub(crate) standby: Option<Placed<String>>,
    pub(crate) capture: Option<Placed<String>>,
    pub(crate) acknowledge: Option<Placed<String>>,
    pub(crate) on_disconnect: Option<Placed<String>>,
    pub(crate) reconnect: Option<Placed<String>>,
    pub(crate) points: RawPoints,
    pub(crate) rescan: Option<Placed<String>>,
    pub(crate) scrub: Option<Placed<String>>,
    pub(crate) queue_limit: Option<Placed<String>>,
    pub(crate) orphans: Option<Placed<String>>,
    pub(crate) max_orphans: Option<Placed<Scalar>>,
    pub(crate) history_points: Option<Placed<i64>>,
    pub(crate) journal_limit: Option<Placed<String>>,
    pub(crate) limit: Option<Placed<String>>,
    pub(crate) limits: Vec<RawLimit>,
    pub(crate) compression: Option<Placed<String>>,
    pub(crate) lanes: Option<Placed<i64>>,
    pub(crate) passes: Option<Placed<i64>>,
    pub(crate) passthrough: Option<Placed<Vec<Placed<String>>>>,
    pub(crate) roots: Option<Placed<Vec<RawRoot>>>,
}

/// `[sets.NAME.points]`.
#[derive(Default)]
pub(crate) struct RawPoints {
    pub(crate) interval: Option<Placed<String>>,
    pub(crate) quiet: Option<Placed<String>>,
}

/// `[[sets.NAME.limits]]`.
pub(crate) struct RawLimit {
    /// Where it stands.
    pub(crate) place: Placed<()>,
    pub(crate) days: Option<Placed<Vec<Placed<String>>>>,
    pub(crate) from: Option<Placed<String>>,
    pub(crate) to: Option<Placed<String>>,
    pub(crate) rate: Option<Placed<String>>,
}

/// `[[sets.NAME.roots]]`.
pub(crate) struct RawRoot {
    pub(crate) path: Option<Placed<String>>,
    pub(crate) target: Option<Placed<String>>,
    pub(crate) rules: Vec<RawRule>,
}

/// One of `rules`.
pub(crate) struct RawRule {
    /// Where the rule stands.
    pub(crate) place: Placed<()>,
    pub(crate) include: Option<Placed<String>>,
    pub(crate) exclude: Option<Placed<String>>,
    pub(crate) recurse: bool,
    /// Whether it has a key `include` or `exclude`, or one that may be meant for it and is a problem already.
    pub(crate) has_pattern: bool,
}

static TOP: Shape = Shape {
    header: "",
    keys: &[
        ("node", "a table [node]"),
        ("peers", "a table for each peer, such as [peers.beta]"),
        ("sets", "a table for each set, such as [sets.mail]"),
        ("directory", "a table [directory]"),
        ("groups", "a table for each group, such as [groups.mail]"),
    ],
};

/// Keys and examples of the directory's table.
pub(crate) static DIRECTORY: Shape = Shape {
    header: "[directory]",
    keys: &[
        ("controllers", "controllers = [\"dc1.example.com\"]"),
        ("domain", "domain = \"example.com\""),
        ("account", "account = \"standin@example.com\""),
        ("password_file", "password_file = \"/etc/standin/directory.password\""),
        ("ca", "ca = \"/etc/standin/authorities.pem\""),
        ("pin", "pin = \"AB:CD:…\", the SHA-256 fingerprint of the controller's certificate"),
        ("state_dir", "state_dir = \"/var/lib/standin/directory\""),
    ],
};

static NODE: Shape = Shape {
    header: "[node]",
    keys: &[
        ("name", "name = \"alpha\""),
        ("listen", "listen = [\"0.0.0.0:7420\"]"),
        ("state_dir", "state_dir = \"/var/lib/standin\""),
    ],
};

static PEER: Shape = Shape { header: "[peers.NAME]", keys: &[("addresses", "addresses = [\"10.0.0.2:7420\"]")] };

/// Keys and examples of a set; its messages show them.
pub(crate) static SET: Shape = Shape {
    header: "[sets.NAME]",
    keys: &[
        ("source", "source = \"alpha\""),
        ("standby", "standby = \"beta\""),
        ("capture", "capture = \"watch\""),
        ("acknowledge", "acknowledge = \"durable\""),
        ("on_disconnect", "on_disconnect = \"continue\""),
        ("reconnect", "reconnect = \"automatic\""),
        ("points", "a table [sets.NAME.points] with interval and quiet"),
        ("rescan", "rescan = \"6 h\" or rescan = \"off\""),
        ("scrub", "scrub = \"7 d\" or scrub = \"off\""),
        ("queue_limit", "queue_limit = \"256 MiB\""),
        ("orphans", "orphans = \"remove\""),
        ("max_orphans", "max_orphans = \"25%\" or max_orphans = 1000"),
        ("history_points", "history_points = 3"),
        ("journal_limit", "journal_limit = \"16 GiB\""),
        ("limit", "limit = \"50 MB/s\""),
        ("limits", "a table [[sets.NAME.limits]] with days, from, to and rate"),
        ("compression", "compression = \"auto\""),
        ("lanes", "lanes = 4"),
        ("passes", "passes = 3"),
        ("passthrough", "passthrough = [\"**/cur/*\"]"),
        ("roots", "a table [[sets.NAME.roots]] with path and target"),
    ],
};

/// Keys and examples of its recovery points.
pub(crate) static POINTS: Shape = Shape {
    header: "[sets.NAME.points]",
    keys: &[("interval", "interval = \"15 min\" or interval = \"off\""), ("quiet", "quiet = \"5 s\" or quiet = \"off\"")],
};

/// Keys and examples of its timetable.
pub(crate) static LIMIT: Shape = Shape {
    header: "[[sets.NAME.limits]]",
    keys: &[
        ("days", "days = \"mon-fri\" or days = [\"sat\", \"sun\"]"),
        ("from", "from = \"08:00\""),
        ("to", "to = \"18:00\""),
        ("rate", "rate = \"2 MB/s\", rate = \"unlimited\" or rate = \"pause\""),
    ],
};

static ROOT: Shape = Shape {
    header: "[[sets.NAME.roots]]",
    keys: &[
        ("path", "path = \"/srv/mail\", where it is on the source"),
        ("target", "target = \"/srv/standby/mail\", where it goes on the standby"),
        ("rules", "rules = [ { exclude = \"*.tmp\" } ]"),
    ],
};

static RULE: Shape = Shape {
    header: "a rule",
    keys: &[("include", "include = \"*.eml\""), ("exclude", "exclude = \"*.tmp\""), ("recurse", "recurse = true")],
};

/// Every kind of table, to tell where a misplaced key belongs.
pub(crate) fn shapes() -> impl Iterator<Item = &'static Shape> {
    let own = [&TOP, &DIRECTORY, &NODE, &PEER, &SET, &POINTS, &LIMIT, &ROOT, &RULE];
    own.into_iter().chain(groups::SHAPES).chain(resources::SHAPES)
}

/// Reads the whole file.
pub(crate) fn read(problems: &Problems<'_>, document: &DeTable<'_>) -> RawSettings {
    let mut top = Reader::new(problems, &TOP, Placed { value: document, key: String::new(), at: 0 });
    top.require("node");
    let node = top.table("node").map(|table| read_node(problems, table)).unwrap_or_default();
    let peers = top.named_tables("peers");
    let peers = peers.map(|tables| tables.into_iter().map(|(name, table)| read_peer(problems, name, table)).collect());
    let sets = top.named_tables("sets").unwrap_or_default();
    let sets = sets.into_iter().map(|(name, table)| read_set(problems, name, table)).collect();
    let directory = top.table("directory").map(|table| read_directory(problems, table));
    let groups = top.named_tables("groups").unwrap_or_default();
    let groups = groups.into_iter().map(|(name, table)| read_group(problems, name, table)).collect();
    top.finish();
    RawSettings { node, peers, sets, directory, groups }
}

fn read_directory(problems: &Problems<'_>, table: Placed<&DeTable<'_>>) -> RawDirectory {
    let reader = Reader::new(problems, &DIRECTORY, table);
    let directory = RawDirectory {
        controllers: reader.texts("controllers"),
        domain: reader.text("domain"),
        account: reader.text("account"),
        password_file: reader.text("password_file"),
        ca: reader.text("ca"),
        pin: reader.text("pin"),
        state_dir: reader.text("state_dir"),
    };
    reader.finish();
    directory
}

fn read_node(problems: &Problems<'_>, table: Placed<&DeTable<'_>>) -> RawNode {
    let mut reader = Reader::new(problems, &NODE, table);
    reader.require("name");
    reader.require("state_dir");
    let node = RawNode { name: reader.text("name"), listen: reader.texts("listen"), state_dir: reader.text("state_dir") };
    reader.finish();
    node
}

fn read_peer(problems: &Problems<'_>, name: Placed<String>, table: Placed<&DeTable<'_>>) -> RawPeer {
    let mut reader = Reader::new(problems, &PEER, table);
    reader.require("addresses");
    let peer = RawPeer { name, addresses: reader.texts("addresses") };
    reader.finish();
    peer
}

fn read_set(problems: &Problems<'_>, name: Placed<String>, table: Placed<&DeTable<'_>>) -> RawSet {
    let mut reader = Reader::new(problems, &SET, table);
    reader.require("source");
    reader.require("standby");
    reader.require("roots");
    let roots = reader.tables("roots").map(|list| {
        let roots = list.value.iter().map(|table| read_root(problems, table.clone())).collect();
        list.with(roots)
    });
    let limits = reader.tables("limits").map(|list| list.value).unwrap_or_default();
    let points = reader.table("points").map(|table| read_points(problems, table));
    let set = RawSet {
        name,
        source: reader.text("source"),
        standby: reader.text("standby"),
        capture: reader.text("capture"),
        acknowledge: reader.text("acknowledge"),
        on_disconnect: reader.text("on_disconnect"),
        reconnect: reader.text("reconnect"),
        points: points.unwrap_or_default(),
        rescan: reader.text("rescan"),
        scrub: reader.text("scrub"),
        queue_limit: reader.text("queue_limit"),
        orphans: reader.text("orphans"),
        max_orphans: reader.scalar("max_orphans"),
        history_points: reader.number("history_points"),
        journal_limit: reader.text("journal_limit"),
        limit: reader.text("limit"),
        limits: limits.into_iter().map(|table| read_limit(problems, table)).collect(),
        compression: reader.text("compression"),
        lanes: reader.number("lanes"),
        passes: reader.number("passes"),
        passthrough: reader.texts("passthrough"),
        roots,
    };
    reader.finish();
    set
}

fn read_points(problems: &Problems<'_>, table: Placed<&DeTable<'_>>) -> RawPoints {
    let reader = Reader::new(problems, &POINTS, table);
    let points = RawPoints { interval: reader.text("interval"), quiet: reader.text("quiet") };
    reader.finish();
    points
}

fn read_limit(problems: &Problems<'_>, table: Placed<&DeTable<'_>>) -> RawLimit {
    let place = table.with(());
    let mut reader = Reader::new(problems, &LIMIT, table);
    reader.require("rate");
    let (days, from, to) = (reader.text_or_texts("days"), reader.text("from"), reader.text("to"));
    let limit = RawLimit { place, days, from, to, rate: reader.text("rate") };
    reader.finish();
    limit
}

fn read_root(problems: &Problems<'_>, table: Placed<&DeTable<'_>>) -> RawRoot {
    let mut reader = Reader::new(problems, &ROOT, table);
    reader.require("path");
    reader.require("target");
    let rules = reader.tables("rules").map(|list| list.value).unwrap_or_default();
    let rules = rules.into_iter().map(|table| read_rule(problems, table)).collect();
    let root = RawRoot { path: reader.text("path"), target: reader.text("target"), rules };
    reader.finish();
    root
}

fn read_rule(problems: &Problems<'_>, table: Placed<&DeTable<'_>>) -> RawRule {
    let place = table.with(());
    let has_pattern = table.value.keys().any(|key| key.get_ref() != "recurse");
    let reader = Reader::new(problems, &RULE, table);
    let recurse = reader.boolean("recurse").is_some_and(|recurse| recurse.value);
    let rule = RawRule { place, include: reader.text("include"), exclude: reader.text("exclude"), recurse, has_pattern };
    reader.finish();
    rule
}
