//! Postfix and Dovecot with settings, queue and mail on the replicated volume, the group that has them, and BIND beside.

use std::fs;
use std::path::Path;
use std::process::Child;

use crate::support::group::{Group, runs};
use crate::support::machines::{FLOATING, Machines, NAMES, OWN, VOLUME};
use crate::support::{Done, PATIENCE, wait_until};

/// While this is on a node, Postfix does not start there.
pub(crate) const BROKEN: &str = "/mnt/own/broken";

/// While this is on a node, Dovecot cannot be stopped there; while something is in it, that is not said yet.
pub(crate) const STUCK: &str = "/mnt/own/stuck";

/// Who owns the mail; nobody has to know the number.
const OWNER: u32 = 5000;

/// Writes what is on the volume before the first mirror. `volume` is as this test sees it.
pub(crate) fn fill(volume: &Path) {
    for directory in ["postfix", "dovecot", "spool", "mail/user"] {
        fs::create_dir_all(volume.join(directory)).unwrap();
    }
    std::os::unix::fs::chown(volume.join("mail"), Some(OWNER), Some(OWNER)).unwrap();
    std::os::unix::fs::chown(volume.join("mail/user"), Some(OWNER), Some(OWNER)).unwrap();
    fs::write(volume.join("postfix/main.cf"), main_cf()).unwrap();
    fs::write(volume.join("postfix/master.cf"), MASTER_CF).unwrap();
    fs::write(volume.join("dovecot/dovecot.conf"), dovecot_conf()).unwrap();
}

fn main_cf() -> String {
    format!(
        "compatibility_level = 3.6
myhostname = mail.example.org
mydestination =
mynetworks = 10.77.0.0/24
inet_protocols = ipv4
queue_directory = {VOLUME}/spool
enable_long_queue_ids = yes
data_directory = {OWN}/postfix
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
alias_maps =
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
virtual_mailbox_domains = example.org
virtual_mailbox_base = {VOLUME}/mail
virtual_mailbox_maps = static:user/
virtual_minimum_uid = {OWNER}
virtual_uid_maps = static:{OWNER}
virtual_gid_maps = static:{OWNER}
virtual_mailbox_limit = 0
maillog_file = {OWN}/postfix.log
maillog_file_prefixes = /mnt
"
    )
}

const MASTER_CF: &str = "smtp inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";

fn dovecot_conf() -> String {
    format!(
        "protocols = imap
base_dir = {OWN}/dovecot
log_path = {OWN}/dovecot.log
ssl = no
disable_plaintext_auth = no
listen = *
first_valid_uid = {OWNER}
# As for every file system that another machine may take over.
mmap_disable = yes
mail_fsync = optimized
mail_max_userip_connections = 1000
mail_location = maildir:{VOLUME}/mail/user
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={OWNER} gid={OWNER} home={VOLUME}/mail/user
}}
"
    )
}

/// Ends Postfix so that nothing is delivered twice. `postfix stop` kills whoever delivers, also between the mailbox and the mark in the queue
/// that it is there. Without their master, whom `postfix drain` kills, they end what they are at and go, and the others can be killed: some
/// would wait for services that are gone. Neither command is used, as both ask a lock whether Postfix runs, and on a layer that died with
/// its daemon there is none any more.
fn drain(pid_file: &str) -> String {
    format!(
        "master=$(tr -d ' ' <{pid_file}) && kill -9 $master; tries=0; \
         while test $tries -lt 100 && pgrep -g $master -r D,R,S '^virtual$' >/dev/null; do tries=$((tries + 1)); sleep 0.05; done; \
         kill -9 -$master 2>/dev/null; true"
    )
}

/// The group, the same on both nodes. `keys` is for further keys of it.
pub(crate) fn group(key_file: &Path, keys: &str) -> Group {
    let postfix = format!("postfix -c {VOLUME}/postfix");
    // A queue that came from elsewhere is put in order first (`postsuper`, for names with inode numbers), which already writes to the log.
    let own = format!("mkdir -p {OWN}/postfix && touch {OWN}/postfix.log && chown postfix {OWN}/postfix {OWN}/postfix.log");
    let pid = format!("{VOLUME}/spool/pid/master.pid");
    let of_postfix =
        [format!("test ! -e {BROKEN} && {own} && exec {postfix} start"), drain(&pid), format!("{} || exit 3", runs(&pid))];
    let pid = format!("{OWN}/dovecot/master.pid");
    let of_dovecot = [
        // What died with a lock on a mailbox left it there, and for two minutes Dovecot takes it for another machine's.
        format!("find {VOLUME}/mail -name 'dovecot*.lock' -delete; exec dovecot -c {VOLUME}/dovecot/dovecot.conf"),
        // `doveadm stop` waits three seconds for a process that nobody asks for its end.
        format!("while test -s {STUCK}; do sleep 0.1; done; test ! -e {STUCK} && kill $(cat {pid})"),
        format!("{} || exit 3", runs(&pid)),
    ];
    let limits = "start_timeout = \"1 min\"\nstop_timeout = \"1 min\"";
    let name = format!(
        "names = [\"mail.example.org\"]\nzone = \"example.org\"\naddresses = {{ alpha = \"10.77.0.1\", beta = \"10.77.0.2\" }}\n\
         ttl = \"5 s\"\nserver = \"{NAMES}\"\nkey_file = {key_file:?}"
    );
    let check = |probe: &str, port: u16| {
        format!(
            "probe = \"{probe}\"\ntarget = \"{FLOATING}:{port}\"\ninterval = \"1 s\"\ntimeout = \"5 s\"\nmisses = 3\nthen = \"restart\"\n\
             start_timeout = \"1 min\""
        )
    };
    Group::new(keys)
        .store()
        .address()
        .service("dovecot", &["store", "address"], &of_dovecot, limits)
        .service("postfix", &["store", "address"], &of_postfix, limits)
        .resource("name", "dns", &["dovecot", "postfix"], &name)
        .resource("greets", "check", &["postfix"], &check("smtp", 25))
        .resource("reads", "check", &["dovecot"], &check("imap", 143))
}

/// The name server; ended with its machine.
pub(crate) struct Names {
    _named: Child,
}

impl Names {
    /// With a zone example.org in `dir`, and the key that may change it in `dir/key`.
    pub(crate) fn new(machines: &Machines, dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let key = Done::of(machines.command("names", &["tsig-keygen", "-a", "hmac-sha256", "standin"])).expect(0).stdout;
        fs::write(dir.join("key"), key).unwrap();
        let zone = "$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 10.77.0.53\nmail A 10.77.0.1\n";
        fs::write(dir.join("example.org"), zone).unwrap();
        let at = dir.display();
        let conf = format!(
            "options {{ directory \"{at}\"; listen-on {{ {NAMES}; }}; listen-on-v6 {{ none; }}; recursion no; pid-file none; \
             session-keyfile none; }};\ncontrols {{}};\ninclude \"{at}/key\";\n\
             zone \"example.org\" {{ type primary; file \"example.org\"; update-policy {{ grant standin zonesub ANY; }}; }};\n"
        );
        fs::write(dir.join("named.conf"), conf).unwrap();
        let words = ["named", "-g", "-n", "1", "-c", &format!("{at}/named.conf")].map(str::to_owned);
        let named = Self { _named: machines.start("names", &words) };
        wait_until("the name server answers", PATIENCE, || resolved(machines) == "10.77.0.1");
        named
    }
}

/// The address of the mail server, as the name server tells it.
pub(crate) fn resolved(machines: &Machines) -> String {
    let question = ["dig", "+short", "+tries=1", "+time=1", &format!("@{NAMES}"), "mail.example.org", "A"];
    Done::of(machines.command("client", &question)).stdout.trim().to_owned()
}
