//! Without a directory: exports, plans, change files, every documented command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::export::{Layout, export};
use crate::support::{Done, PROGRAM};

const INDY_AND_BOSTON: Layout<'_> = &[("Indy", &[("Sales", "Sales.edb")]), ("Boston", &[("Sales", "Sales.edb")])];
const BACKUPS: Layout<'_> = &[("Indy_Bkup", &[("Sales", "Sales.edb")]), ("Boston_Bkup", &[("Sales", "Sales.edb")])];
const PLAIN: Layout<'_> = &[("First Storage Group", &[("Mailbox Store", "priv1.edb"), ("Sales", "sales.edb")])];

/// A directory with an export, and the program under its old name.
struct Office {
    dir: tempfile::TempDir,
}

impl Office {
    fn new(servers: &[(&str, Layout<'_>)]) -> Self {
        let office = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(office.file("export.ldf"), export(servers)).unwrap();
        fs::write(office.file("standin.toml"), "[node]\nname = \"here\"\nstate_dir = \"/nowhere/state\"\n").unwrap();
        std::os::unix::fs::symlink(PROGRAM, office.file("exchfailover")).unwrap();
        office
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("STANDIN_CONFIG", self.file("standin.toml")).env_remove("STANDIN_DIRECTORY_PASSWORD");
        command.current_dir(self.dir.path());
        command
    }

    /// The words as a shell gives them, with the export in the directory's place.
    fn old(&self, words: &str) -> Done {
        let mut command = self.command(&self.file("exchfailover"));
        command.args(words.split_whitespace()).args(["-l", "run.log", "--ldif", "export.ldf", "--changes", "changes.ldf"]);
        Done::of(command)
    }

    fn bare(&self, words: &[&str]) -> Done {
        let mut command = self.command(&self.file("exchfailover"));
        command.args(words);
        Done::of(command)
    }

    fn directory(&self, words: &[&str]) -> Done {
        let mut command = self.command(Path::new(PROGRAM));
        command.arg("directory").args(words);
        Done::of(command)
    }
}

#[test]
fn syntax_and_wrong_options_are_said() {
    let office = Office::new(&[("EX1", PLAIN), ("EX2", PLAIN)]);
    let syntax = office.bare(&["-?"]).expect(0);
    assert!(syntax.stdout.starts_with("exchfailover -failover | -failback") && !syntax.stdout.contains("Exit codes"));
    let all = office.bare(&["/??"]).expect(0);
    assert!(all.stdout.contains("-norus") && all.stdout.contains("Exit codes:"));
    let direct = Done::of({
        let mut command = office.command(Path::new(PROGRAM));
        command.args(["exchfailover", "-?"]);
        command
    });
    assert_eq!(direct.expect(0).stdout, syntax.stdout);
    for (words, said) in [
        (&["-failover", "-s", "EX1"][..], "name the target with -t"),
        (&["-s", "EX1", "-t", "EX2"], "say -failover or -failback"),
        (&["-failover", "-failback", "-s", "A", "-t", "B"], "can not be meant together"),
        (&["-failover", "-s", "A", "-t", "a"], "the same server"),
        (&["-sideways"], "\"-sideways\" is no option"),
        (&["-failover", "-s", "A", "-t", "B", "-o", "gone.txt"], "gone.txt"),
        (&[], "say -failover or -failback"),
        (&["-failover", "-s", "A", "-t", "B", "-l", "/nowhere/x.log"], "/nowhere/x.log"),
        (&["-failover", "-s", "A", "-t", "B", "-l", "x.log"], "--server"),
        (&["-failover", "-s", "A", "-t", "B", "-l", "x.log", "--server", "ldap://dc1"], "in the clear"),
        (&["-failover", "-s", "A", "-t", "B", "-l", "x.log", "--server", "dc1", "-u", "me@x"], "no password for me@x"),
    ] {
        let done = office.bare(words).expect(2);
        assert!(done.stderr.contains(said) && done.stdout.is_empty(), "{done:#?}");
    }
    let json = office.bare(&["-failover", "-s", "A", "-t", "B", "-l", "x.log", "--json"]).expect(2);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json.stderr).unwrap()["code"], 2);
}

/// Exit code and pairs of each documented command line.
#[test]
fn every_documented_command_line_pairs_as_it_is_documented() {
    let same = Office::new(&[("ExchSrvr", INDY_AND_BOSTON), ("ExchSrvr_Bkup", INDY_AND_BOSTON)]);
    let refused = same.old("-failover -s ExchSrvr -t ExchSrvr_Bkup").expect(3);
    assert!(refused.stderr.contains("-r") && refused.stderr.to_lowercase().contains("sales.edb"), "{}", refused.stderr);
    assert!(!same.file("changes.ldf").exists(), "nothing is written");
    let one_to_one = same.old("-failover -s ExchSrvr -t ExchSrvr_Bkup -r").expect(0);
    assert!(one_to_one.stdout.contains("\"Indy, Sales\" -> \"Indy, Sales\"  Sales.edb  2 mailboxes"), "{}", one_to_one.stdout);

    let backups = Office::new(&[("ExchSrvr", INDY_AND_BOSTON), ("ExchSrvr_Bkup", BACKUPS)]);
    fs::write(
        backups.file("options_file.txt"),
        "# the pairs of the night shift\n-failover -s ExchSrvr\n-t ExchSrvr_Bkup -r \"Indy:Indy_Bkup\" -r Boston:Boston_Bkup\n",
    )
    .unwrap();
    for line in [
        "-failover -s ExchSrvr -t ExchSrvr_Bkup -r Indy:Indy_Bkup -r Boston:Boston_Bkup",
        "-failover -s ExchSrvr -t ExchSrvr_Bkup -r Indy, Sales:Indy_Bkup, Sales -r Boston, Sales:Boston_Bkup, Sales",
        "-o options_file.txt",
        "/FAILOVER /S exchsrvr /T EXCHSRVR_BKUP /R indy:indy_bkup /R boston:boston_bkup",
    ] {
        let done = backups.old(line).expect(0);
        for pair in ["\"Indy, Sales\" -> \"Indy_Bkup, Sales\"", "\"Boston, Sales\" -> \"Boston_Bkup, Sales\""] {
            assert!(done.stdout.contains(pair), "{line}: {}", done.stdout);
        }
    }
    let half = backups.old("-failover -s ExchSrvr -t ExchSrvr_Bkup -r Indy:Indy_Bkup").expect(3);
    assert!(half.stderr.contains("--leave-unpaired"), "{}", half.stderr);
    backups.old("-failover -s ExchSrvr -t ExchSrvr_Bkup -r Indy:Indy_Bkup --leave-unpaired").expect(0);

    const SALES: Layout<'_> = &[("Sales", &[("Inside", "inside.edb"), ("Outside", "outside.edb")])];
    const INDY_SALES: Layout<'_> = &[("Indy_Sales", &[("Inside", "inside.edb"), ("Outside", "outside.edb")])];
    let sales = Office::new(&[("Indy", SALES), ("Indy_Bkup", INDY_SALES)]);
    for line in [
        "-failover -s Indy -t Indy_Bkup -r Sales, Inside:Indy_Sales, Inside -r Sales, Outside:Indy_Sales, Outside",
        "-failover -s Indy -t Indy_Bkup -r Sales:Indy_Sales -norus -u administrator:password",
        "-failover -s Indy -t Indy_Bkup",
    ] {
        let done = sales.old(line).expect(0);
        for pair in ["\"Sales, Inside\" -> \"Indy_Sales, Inside\"", "\"Sales, Outside\" -> \"Indy_Sales, Outside\""] {
            assert!(done.stdout.contains(pair), "{line}: {}", done.stdout);
        }
    }
    let log = sales.read("run.log");
    assert_eq!(log.matches("ended with exit code 0").count(), 3, "every run appends");
    assert!(log.contains("-u administrator -l") && !log.contains("password"), "{log}");
}

#[test]
fn an_export_goes_in_and_its_changes_come_out() {
    let office = Office::new(&[("EX1", PLAIN), ("EX2", PLAIN), ("EX10", PLAIN)]);
    office.old("-setup -failover -s EX1 -t EX2").expect(0);
    assert!(office.read("changes.ldf").contains("msExchPatchMDB: TRUE") && !office.read("changes.ldf").contains("homeMDB"));
    let test = office.old("-test -failover -s EX1 -t EX2").expect(0);
    assert!(test.stdout.contains("homeMDB +") && test.stdout.contains("nothing was changed"), "{}", test.stdout);
    office.old("-failover -s EX1 -t EX2 --plan plan.json").expect(0);
    let changes = office.read("changes.ldf");
    assert_eq!(changes.matches("delete: homeMDB").count(), 4);
    assert!(!changes.contains("EX10"), "nothing of a server that has no part in it");
    assert_eq!(changes, {
        office
            .directory(&["plan", "EX1", "EX2", "--ldif", "export.ldf", "--changes", "same.ldf", "--undo-changes", "undo.ldf"])
            .expect(0);
        office.read("same.ldf")
    });
    assert!(office.read("undo.ldf").contains("CN=InformationStore,CN=EX1,"));
    let plan: serde_json::Value = serde_json::from_str(&office.read("plan.json")).unwrap();
    assert_eq!(plan["pairs"].as_array().unwrap().len(), 2);
    let report = office.directory(&["plan", "EX1", "EX2", "--ldif", "export.ldf", "--json"]).expect(0).json();
    assert_eq!(report["changes"], plan["changes"].as_array().unwrap().len());
    // Nothing to write to, no such server, no export.
    let apply = office.directory(&["apply", "plan.json", "--ldif", "export.ldf"]).expect(2);
    assert!(apply.stderr.contains("--changes"), "{}", apply.stderr);
    let unknown = office.directory(&["plan", "EX1", "EX9", "--ldif", "export.ldf"]).expect(2);
    assert!(unknown.stderr.contains("no Exchange server EX9; there are EX1, EX10, EX2"), "{}", unknown.stderr);
    let gone = office.directory(&["show", "EX1", "--ldif", "gone.ldf", "--json"]).expect(4);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&gone.stderr).unwrap()["code"], 4);
    office.directory(&["apply", "export.ldf", "--ldif", "export.ldf"]).expect(2);
}

#[test]
fn servers_are_shown_compared_and_checked() {
    const RENAMED: Layout<'_> = &[("First Storage Group", &[("Mailboxes", "priv1.edb"), ("Sales", "sales.edb")])];
    let office = Office::new(&[("EX1", PLAIN), ("EX2", RENAMED), ("EX3", PLAIN)]);
    let with = |words: &[&str]| office.directory(&[words, &["--ldif", "export.ldf"]].concat());
    let shown = with(&["show", "ex1"]).expect(0).stdout;
    assert!(shown.contains("Mailbox Store") && shown.contains("priv1.edb  2 users"), "{shown}");
    assert_eq!(with(&["show", "EX1", "--json"]).expect(0).json()["name"], "EX1");
    let same = with(&["compare", "EX1", "EX3"]).expect(0);
    assert_eq!(same.stdout, "EX3 is laid out like EX1\n");
    let other = with(&["compare", "EX1", "EX2"]).expect(1);
    assert!(other.stdout.contains("store \"Mailbox Store\" has the name \"Mailboxes\" on the target"), "{}", other.stdout);
    with(&["compare", "EX1", "EX2", "--rename"]).expect(2);
    with(&["compare", "EX1", "EX2", "--rename", "--changes", "renames.ldf"]).expect(0);
    assert!(office.read("renames.ldf").contains("newrdn: CN=Mailbox Store"));
    let checked = with(&["preflight", "EX1", "EX2", "--json"]);
    let findings = checked.json();
    assert!(findings["findings"].as_array().unwrap().len() > 5, "{findings:#}");
    assert_eq!(checked.code == Some(0), findings["ready"] == true, "{findings:#}");
    let text = with(&["preflight", "EX1", "EX2"]).stdout;
    assert!(text.lines().all(|line| ["ok ", "warn ", "FAIL "].iter().any(|grade| line.starts_with(grade))), "{text}");
}

#[test]
fn a_password_does_not_stay_on_the_command_line() {
    let office = Office::new(&[("EX1", PLAIN), ("EX2", PLAIN)]);
    // A log that nobody reads holds the program where it can be looked at.
    let fifo = office.file("fifo.ldf");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut command = office.command(&office.file("exchfailover"));
    command.args([
        "-failover",
        "-s",
        "EX1",
        "-t",
        "EX2",
        "-l",
        "run.log",
        "-u",
        "administrator:Pa:ss",
        "--ldif",
        "fifo.ldf",
        "-test",
    ]);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let line = format!("/proc/{}/cmdline", child.id());
    let shown = crate::support::wait_for("the program has started itself without the password", crate::support::PATIENCE, || {
        fs::read_to_string(&line).ok().filter(|line| line.contains("\0administrator\0"))
    });
    assert!(shown.starts_with("exchfailover\0-failover\0") && !shown.contains("Pa:ss"), "{shown:?}");
    fs::write(&fifo, office.read("export.ldf")).unwrap();
    assert!(child.wait().unwrap().success());
}
