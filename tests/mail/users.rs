//! The users of the mail server in a real Active Directory: Samba with Exchange's schema, on a machine of the scene's network.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::forest::{ADMINISTRATOR, DOMAIN, Forest, PASSWORD, SMALL, mailbox_dn};
use crate::support::Done;
use crate::support::machines::{DIRECTORY, Machines};

/// The forest, and where the nodes have its password from.
pub(crate) struct Users {
    forest: Forest,
    password_file: PathBuf,
}

impl Users {
    /// What it needs beside the rest.
    pub(crate) const TOOLS: [&str; 4] = ["samba", "samba-tool", "ldbadd", "ldapsearch"];

    /// Starts it, with what belongs to it in `base`, where the machines' files are.
    pub(crate) fn start(machines: &Machines, base: &Path) -> Self {
        let join = |room| machines.join("directory", room, DIRECTORY);
        let forest = Forest::start_on(Path::new(env!("CARGO_TARGET_TMPDIR")), &SMALL, join);
        let (hosts, password_file) = (base.join("hosts"), base.join("directory.password"));
        fs::write(&hosts, format!("127.0.0.1 localhost\n{DIRECTORY} dc1.{DOMAIN}\n")).unwrap();
        fs::write(&password_file, format!("{PASSWORD}\n")).unwrap();
        fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).unwrap();
        Self { forest, password_file }
    }

    /// The settings of a node that names it.
    pub(crate) fn settings(&self) -> String {
        let (ca, password) = (&self.forest.certificates.file, &self.password_file);
        format!(
            "[directory]\ncontrollers = [\"dc1.{DOMAIN}\"]\nca = {ca:?}\naccount = \"{ADMINISTRATOR}\"\npassword_file = {password:?}\n"
        )
    }

    /// The server at which a client finds each of some mailboxes.
    pub(crate) fn servers(&self, machines: &Machines) -> Vec<String> {
        let of = |mailbox: usize| {
            let (url, base) = (format!("ldaps://{DIRECTORY}"), mailbox_dn(mailbox));
            let question =
                ["-x", "-LLL", "-o", "ldif-wrap=no", "-D", ADMINISTRATOR, "-w", PASSWORD, "-H", &url, "-s", "base", "-b", &base];
            let mut command = machines.command("client", &["ldapsearch"]);
            // The certificate is for the controller's name, which this machine does not know.
            command.args(question).arg("msExchHomeServerName").env("LDAPTLS_REQCERT", "never");
            let told = Done::of(command).expect(0).stdout;
            told.lines()
                .find_map(|line| Some(line.strip_prefix("msExchHomeServerName: ")?.rsplit_once("/cn=")?.1.to_owned()))
                .unwrap()
        };
        [0, 5, 17].map(of).to_vec()
    }
}
