//! Against Samba. Needs root, and what `tests/run` lists.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use standin_failover::directory::ldif::{Reader, Write, write_changes};
use standin_failover::directory::{Change, Dn, Modify};

use crate::forest::{self, ADMINISTRATOR, FLEETING, Forest, Organization, PASSWORD, SMALL, assert_same_dump, dump, of_the_third};
use crate::support::{Done, PROGRAM, can_run};

/// A forest, and somebody who works on it with the built program.
pub(crate) struct Desk {
    pub(crate) forest: Forest,
    dir: tempfile::TempDir,
}

impl Desk {
    /// `None` where that is not possible; where it must be, a panic.
    fn new(organization: &Organization) -> Option<Self> {
        if !can_run(&["samba", "samba-tool", "ldbadd", "ldapmodify", "unshare", "nsenter"]) {
            return None;
        }
        let forest = Forest::start(Path::new(env!("CARGO_TARGET_TMPDIR")), organization);
        Some(Self { forest, dir: tempfile::tempdir().unwrap() })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program in the forest's network, as a process that the test may stop and kill.
    pub(crate) fn bare_program(&self) -> Command {
        let prefix = self.forest.room.prefix();
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).arg(PROGRAM);
        self.with_settings(command)
    }

    /// The program in the forest's network.
    pub(crate) fn program(&self) -> Command {
        self.with_settings(self.forest.room.command(PROGRAM))
    }

    fn with_settings(&self, mut command: Command) -> Command {
        command.env("STANDIN_CONFIG", self.file("standin.toml"));
        command.env_remove("STANDIN_DIRECTORY_PASSWORD");
        command
    }

    /// Settings that name the controllers and the authority, and no account.
    pub(crate) fn write_settings(&self) {
        let (ca, state) = (self.forest.certificates.file.display(), self.dir.path().display());
        let hosts: Vec<&str> = self.forest.controllers.iter().map(|controller| controller.host.as_str()).collect();
        let text = format!(
            "[node]\nname = \"here\"\nlisten = []\nstate_dir = \"{state}/state\"\n\
             [directory]\ncontrollers = {hosts:?}\nca = \"{ca}\"\n"
        );
        fs::write(self.file("standin.toml"), text).unwrap();
    }

    /// `exchfailover` with these words and the administrator, whose password is on the command line, as the old scripts have it.
    pub(crate) fn old(&self, words: &str) -> Done {
        self.old_as(words, &format!("administrator:{PASSWORD}"))
    }

    pub(crate) fn old_as(&self, words: &str, account: &str) -> Done {
        let mut command = self.program();
        command.arg("exchfailover").args(words.split_whitespace()).args(["-l"]).arg(self.file("run.log"));
        command.args(["-u", account]);
        Done::of(command)
    }

    /// A change file, imported by somebody else's tool.
    #[track_caller]
    pub(crate) fn ldapmodify(&self, file: &Path) {
        let mut command = self.forest.room.command("ldapmodify");
        command.env("LDAPTLS_CACERT", &self.forest.certificates.file);
        command.args(["-x", "-D", ADMINISTRATOR, "-w", PASSWORD, "-H", &self.forest.controllers[0].url(), "-f"]).arg(file);
        Done::of(command).expect(0);
    }

    /// An administrator who works meanwhile puts a mailbox into another store.
    pub(crate) fn rehome(&self, mailbox: &str, store: &str) {
        let (dn, old) = (mailbox.parse().unwrap(), self.home_of(mailbox));
        let new: Dn = store.parse().unwrap();
        let change = Change { attribute: "homeMDB".into(), delete: vec![(&old).into()], add: vec![(&new).into()] };
        let mut text = Vec::new();
        write_changes(&mut text, [Write::Modify(Modify { dn, changes: vec![change] })]).unwrap();
        let file = self.file("hand.ldf");
        fs::write(&file, text).unwrap();
        self.ldapmodify(&file);
    }

    /// The store that a mailbox is in.
    pub(crate) fn home_of(&self, mailbox: &str) -> Dn {
        let found = self.forest.controllers[0].dump(mailbox, "(objectClass=user)", &["homeMDB"]);
        let record = Reader::new("dump", found.as_bytes()).unwrap().next_record().unwrap().unwrap();
        let (_, value) = record.values.iter().find(|(name, _)| name == "homeMDB").expect("it is a mailbox");
        std::str::from_utf8(value).unwrap().parse().unwrap()
    }

    /// `standin directory` with these words, as the administrator.
    pub(crate) fn directory(&self, words: &[&str]) -> Done {
        let mut command = self.program();
        command.env("STANDIN_DIRECTORY_PASSWORD", PASSWORD).arg("directory").args(words).args(["--user", ADMINISTRATOR]);
        Done::of(command)
    }
}

/// A desk with a small organization.
pub(crate) fn desk() -> Option<Desk> {
    desk_of(&SMALL)
}

/// A desk with an organization of this size.
pub(crate) fn desk_of(organization: &Organization) -> Option<Desk> {
    let desk = Desk::new(organization)?;
    desk.write_settings();
    Some(desk)
}

/// What a failover there and back leaves: the stores of both servers may be overwritten by what was replicated.
pub(crate) fn without_flags() -> Vec<&'static str> {
    FLEETING.iter().copied().chain(["msExchPatchMDB"]).collect()
}

#[test]
fn the_old_commands_take_the_users_there_and_back() {
    let Some(desk) = desk() else { return };
    let without = without_flags();
    let (before, third) = (dump(&desk.forest, &without), of_the_third(&desk.forest));
    let tested = desk.old("-test -failover -s EX1 -t EX2").expect(0);
    assert!(tested.stdout.contains("nothing was changed") && tested.stdout.contains("24  mailboxes"), "{}", tested.stdout);
    desk.old("-setup -failover -s EX1 -t EX2").expect(0);
    let flags = dump(&desk.forest, &FLEETING);
    assert_same_dump(&before, &dump(&desk.forest, &without));
    assert!(flags.iter().any(|object| object.contains("CN=EX2,") && object.contains("msExchPatchMDB: TRUE")));
    let there = desk.old("-FAILOVER /s ex1 /t ex2").expect(0);
    assert!(there.stdout.contains("dc1.fb.test (written there) shows"), "{}", there.stdout);
    let moved = dump(&desk.forest, &without);
    let names = format!("dn: {}\n", forest::mailbox_dn(0));
    let of = |objects: &[String], server| {
        let mailbox = objects.iter().find(|object| format!("{object}\n").starts_with(&names)).unwrap();
        mailbox.contains(&format!("homeMDB: {}", forest::store_of(server, 0).dn))
    };
    assert!(of(&before, "EX1") && of(&moved, "EX2"));
    assert!(fs::read_to_string(desk.file("spn.ldf")).unwrap().contains("delete: servicePrincipalName"));
    assert!(!desk.file("FailedExUsers.log").exists());
    let again = desk.old("-failover -s EX1 -t EX2").expect(0);
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
    desk.old("-failback -s EX1 -t EX2").expect(0);
    assert_same_dump(&before, &dump(&desk.forest, &without));
    assert_same_dump(&third, &of_the_third(&desk.forest));
    let log = fs::read_to_string(desk.file("run.log")).unwrap();
    println!("{log}");
    for words in [&["show", "EX1"][..], &["preflight", "EX1", "EX2"], &["compare", "EX1", "EX2"], &["verify"]] {
        println!("{}", desk.directory(words).stdout);
    }
    assert_eq!(log.matches("ended with exit code 0").count(), 5);
    assert!(!log.contains("Pa55") && log.contains("-u administrator"), "{log}");
    let kept = fs::read_dir(desk.file("state/directory")).unwrap().map(|entry| entry.unwrap());
    // All but the lock, which is empty.
    for journal in kept.filter(|entry| entry.file_name() != "lock") {
        assert_eq!(journal.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(journal.path()).unwrap().contains("Pa55"));
    }
}
