//! The comparable part with keepalived: VRRP for the address, a script that starts the same services on whoever gets it, and the data as the last
//! rsync left it.

use std::path::Path;
use std::process::{Child, Command};

use crate::clients;
use crate::seen::{Outside, Seen};
use crate::servers;
use crate::support::machines::{FLOATING, Machines, OWN, VOLUME};
use crate::support::{Done, PATIENCE, wait_until};

/// As usual: an advertisement each second, and lost after three that did not come.
fn conf(dir: &Path, node: &str) -> String {
    let priority = if node == "alpha" { 100 } else { 90 };
    format!(
        "global_defs {{\n script_user root\n}}\nvrrp_instance mail {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n \
         priority {priority}\n advert_int 1\n virtual_ipaddress {{\n {FLOATING}/24 dev eth0\n }}\n \
         notify_master \"{}/start\"\n}}\n",
        dir.display()
    )
}

/// keepalived's own mask would close what is made here to all but root.
const START: &str = "#!/bin/sh
umask 022
mkdir -p OWN/postfix && touch OWN/postfix.log && chown postfix OWN/postfix OWN/postfix.log
dovecot -c VOLUME/dovecot/dovecot.conf
exec postfix -c VOLUME/postfix start
";

struct Ended(Vec<Child>);

impl Drop for Ended {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A failover.
pub(crate) fn failover() -> Seen {
    let dir = tempfile::tempdir().unwrap();
    let machines = Machines::with_volumes(dir.path());
    servers::fill(&dir.path().join("alpha/volume"));
    let mut running = Ended(Vec::new());
    for node in ["alpha", "beta"] {
        let own = dir.path().join(node);
        std::fs::write(own.join("keepalived.conf"), conf(&own, node)).unwrap();
        std::fs::write(own.join("start"), START.replace("OWN", OWN).replace("VOLUME", VOLUME)).unwrap();
        Done::of(machines.command(node, &["chmod", "700", &own.join("start").display().to_string()])).expect(0);
        let file = |name: &str| own.join(name).display().to_string();
        let line =
            ["keepalived", "-n", "-l", "-f", &file("keepalived.conf"), "-p", &file("pid"), "-r", &file("vrrp"), "-c", &file("c")];
        running.0.push(machines.start(node, &line.map(str::to_owned)));
        if node == "alpha" {
            wait_until("alpha has the address", PATIENCE, || machines.has_floating("alpha"));
        }
    }
    let record = dir.path().join("record");
    for number in 0..3 {
        running.0.push(machines.start("client", &clients::task(&format!("deliver-{number}"), &record)));
    }
    running.0.push(machines.start("client", &clients::task("read-", &record)));
    let accepted = || std::fs::read_to_string(&record).unwrap_or_default().matches("accepted").count();
    wait_until("messages are accepted", PATIENCE, || accepted() > 30);
    let mut rsync = Command::new("rsync");
    let volume = |node: &str| format!("{}/", dir.path().join(node).join("volume").display());
    rsync.args(["-aHAX", "--delete", "--exclude=/spool/pid", "--exclude=/spool/private", "--exclude=/spool/public"]);
    // Files that went meanwhile are 24; nothing is wrong with that.
    Done::of({
        rsync.args([volume("alpha"), volume("beta")]);
        rsync
    });
    let outside = Outside::begin(&machines, &record);
    machines.power_off("alpha");
    outside.end()
}
