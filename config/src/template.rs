//! The settings file that `standin init` writes.

use standin_common::id::NodeName;

use crate::address::Address;

/// A commented settings file for a new node, which loads as it is. `state_dir` is an absolute path on this machine.
pub fn template(name: &NodeName, listen: &[Address], state_dir: &str) -> String {
    let listen: Vec<_> = listen.iter().map(|address| quoted(&address.to_string())).collect();
    HEAD.replace("@NAME@", &quoted(name.as_str()))
        .replace("@LISTEN@", &listen.join(", "))
        .replace("@STATE_DIR@", &quoted(state_dir))
}

/// `text` as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

const HEAD: &str = r##"# Settings of this node. Check them with 'standin check' after every change.
# A line that starts with # is a comment; take the # away to use what stands there.

[node]
# The name by which peers and sets know this machine.
name = @NAME@
# Addresses and UDP ports to listen on for peers; [] to only dial them.
listen = [@LISTEN@]
# Where the identity, the journals and the states of the sets are kept. Keep it out of every root.
state_dir = @STATE_DIR@

# The other machines: where they are. Who they are is settled by 'standin pair', which asks for their fingerprint once.
#
# [peers.beta]
# addresses = ["10.0.0.2:7420", "192.168.7.2:7420"]      # several paths to it, tried in this order

# What is replicated. Both nodes have the same lines; 'standin set check NAME' compares them.
#
# [sets.mail]
# source = "alpha"            # the node with the files
# standby = "beta"            # the node that gets them
# capture = "watch"           # changes are replicated as they come; ordered: by a layer over the roots, which makes each point
#                             # a moment that was; scan (the usual): only when a mirror is ordered
# acknowledge = "local"       # what whoever waits for the standby waits for: local (nothing), received or durable there
# on_disconnect = "continue"  # while the standby is away they go on and are told so; or block: they wait
# reconnect = "automatic"     # or manual: after a loss of the link a person says 'standin mirror resume'
# rescan = "6 h"              # how often everything is compared although nothing was noticed, or off
# scrub = "7 d"               # how often the standby reads its large files again, to find what its disk lost, or off
# queue_limit = "256 MiB"     # memory for the places of changes not yet at the standby; then directories. With ordered: 1 GiB on disk
# orphans = "remove"          # what only the standby has: remove, report or keep
# max_orphans = "25%"         # if more than this share (or number) would go, all of them stay, and the mirror says so
# history_points = 3          # recovery points kept beside the newest
# journal_limit = "16 GiB"    # room for journal and history on the standby
# limit = "50 MB/s"           # or "400 Mbit/s"; leave it out for as fast as it goes
# compression = "auto"        # auto, off or always
# lanes = 4                   # files sent at the same time, 1 to 16
# passes = 3                  # how often to try for a moment in which nothing changed, 1 to 10
# passthrough = []            # with ordered: files that are only read once they are written, such as ["**/cur/*"] for the mails of
#                             # Maildirs: as fast to read as without the layer, but while somebody reads one, nobody can write to it
#
# [sets.mail.points]          # recovery points made by themselves, where changes are watched
# interval = "15 min"         # at most so long after the one before, or off
# quiet = "5 s"               # after so long without a change, or off
#
# [[sets.mail.limits]]        # another limit at certain times; the last that holds counts
# days = "mon-fri"            # or ["sat", "sun"]; leave it out for every day
# from = "08:00"              # local time of the source
# to = "18:00"                # an earlier time than from is that of the next day
# rate = "2 MB/s"             # or unlimited, or pause: nothing is sent
#
# [[sets.mail.roots]]
# path = "/srv/mail"               # on the source: a directory, a block device or an image file
# target = "/srv/standby/mail"     # on the standby; the same path as on the source is fine, too
# rules = [
#     { exclude = "*.tmp" },                       # * stops at a slash, ** does not
#     { include = "keep/*.tmp" },
#     { exclude = "cache", recurse = true },       # with all that is beneath it
# ]

# Groups of services, addresses and names that go to another node together with their sets: 'standin group template KIND' prints some to begin
# with. The README tells of them, of witnesses and of the directory.
"##;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Settings;

    #[test]
    fn the_template_loads_and_means_what_was_asked() {
        let name: NodeName = "alpha".parse().unwrap();
        let listen = ["0.0.0.0:7420".parse().unwrap(), "[::1]:0".parse().unwrap()];
        for state_dir in ["/var/lib/standin", r"C:\ProgramData\Standin", "/a \"b\" 'c'"] {
            let settings = Settings::parse(&template(&name, &listen, state_dir), "standin.toml").unwrap();
            assert_eq!((&settings.node.name, settings.node.listen.as_slice()), (&name, listen.as_slice()));
            assert_eq!(settings.node.state_dir.to_str(), Some(state_dir));
            assert!(settings.peers.is_empty() && settings.sets.is_empty());
        }
    }

    #[test]
    fn the_commented_part_loads_too_once_uncommented() {
        let text = template(&"alpha".parse().unwrap(), &[], "/var/lib/standin");
        let uncommented: Vec<_> = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(code) if code.starts_with(['[', ']', ' ']) || code.contains(" = ") => code,
                _ => line,
            })
            .collect();
        let settings = Settings::parse(&uncommented.join("\n"), "standin.toml").unwrap();
        assert_eq!((settings.peers.len(), settings.sets.len()), (1, 1));
        let set = settings.sets.values().next().unwrap();
        assert_eq!((set.roots[0].rules.len(), set.limits.len(), set.points.interval_ms), (3, 1, Some(900_000)));
        assert_eq!(settings.notes(), Vec::<String>::new());
    }
}
