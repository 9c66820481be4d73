//! A forest of two domains, as two exports: Samba serves no child domain.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::export::{Layout, export, export_of_child, partitions};
use crate::support::{Done, PROGRAM};

const PLAIN: Layout<'_> = &[("First Storage Group", &[("Mailbox Store", "priv1.edb"), ("Sales", "sales.edb")])];

fn directory(dir: &Path, words: &[&str]) -> Done {
    run(dir, &[&["directory"], words].concat())
}

fn run(dir: &Path, words: &[&str]) -> Done {
    let mut command = Command::new(PROGRAM);
    command.current_dir(dir).env_remove("STANDIN_DIRECTORY_PASSWORD").args(words);
    command.env("STANDIN_CONFIG", dir.join("standin.toml"));
    Done::of(command)
}

/// `root.ldf` and `child.ldf`, as each domain's controllers export them, and `forest.ldf` with both.
fn exported() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = export(&[("EX1", PLAIN), ("EX2", PLAIN)]) + &partitions();
    let child = export_of_child("EX1", PLAIN, 3);
    fs::write(dir.path().join("root.ldf"), &root).unwrap();
    fs::write(dir.path().join("child.ldf"), &child).unwrap();
    fs::write(dir.path().join("forest.ldf"), root + &child).unwrap();
    fs::write(dir.path().join("standin.toml"), "[node]\nname = \"here\"\nstate_dir = \"/nowhere/state\"\n").unwrap();
    dir
}

fn objects(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("dn: ")).collect()
}

#[test]
fn users_of_every_domain_move_and_each_domain_has_its_change_file() {
    let dir = exported();
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let words =
        ["plan", "EX1", "EX2", "--ldif", "forest.ldf", "--out", "plan.json", "--changes", "c.ldf", "--undo-changes", "u.ldf"];
    let planned = directory(dir.path(), &words).expect(0).stdout;
    for part in ["\"First Storage Group, Mailbox Store\"  priv1.edb  5 mailboxes", "10  mailboxes", "7  in DC=sub,DC=fa,DC=test"]
    {
        assert!(planned.contains(part), "{part}: {planned}");
    }
    // The servers' accounts are in the root, whose names go off one before they come to the other.
    let (first, second) = (planned.find("c.fa.test.ldf  at a controller of fa.test"), planned.find("c.sub.fa.test.ldf"));
    assert!(first.is_some() && first < second, "{planned}");
    assert!(!dir.path().join("c.ldf").exists() && !dir.path().join("u.ldf").exists());
    let (root, child) = (read("c.fa.test.ldf"), read("c.sub.fa.test.ldf"));
    assert!(objects(&child).len() == 7 && objects(&child).iter().all(|dn| dn.ends_with(",DC=sub,DC=fa,DC=test")), "{child}");
    assert!(objects(&root).iter().all(|dn| !dn.contains("DC=sub,")), "{root}");
    assert_eq!(root.matches("delete: homeMDB").count() + child.matches("delete: homeMDB").count(), 10);
    assert!(child.contains("msExchExpansionServerName") && root.contains("msExchPatchMDB"));
    assert_eq!(objects(&read("u.sub.fa.test.ldf")).len(), 7);
    // One export for each domain is as good as one with both; and the plan is the same at once again.
    let both = ["plan", "EX1", "EX2", "--ldif", "root.ldf", "--ldif", "child.ldf", "--changes", "d.ldf"];
    directory(dir.path(), &both).expect(0);
    assert_eq!((read("d.fa.test.ldf"), read("d.sub.fa.test.ldf")), (root.clone(), child.clone()));
    // Without the child's export nobody knows of its users, and that is said.
    let half = directory(dir.path(), &["plan", "EX1", "EX2", "--ldif", "root.ldf"]).expect(0).stdout;
    assert!(half.contains("  not read: DC=sub,DC=fa,DC=test: "), "{half}");
}

#[test]
fn one_domain_alone_can_be_taken() {
    let dir = exported();
    let old = |more: &[&str]| {
        let line = [
            "exchfailover",
            "-failover",
            "-s",
            "EX1",
            "-t",
            "EX2",
            "-l",
            "run.log",
            "--ldif",
            "forest.ldf",
            "--changes",
            "c.ldf",
        ];
        run(dir.path(), &[&line[..], more].concat())
    };
    for name in ["sub.fa.test", "SUB"] {
        let done = old(&["--only-domain", name]).expect(0);
        assert!(done.stdout.contains("import them with ldifde -i -f c.ldf"), "{}", done.stdout);
        let changes = fs::read_to_string(dir.path().join("c.ldf")).unwrap();
        assert!(objects(&changes).len() == 7 && objects(&changes).iter().all(|dn| dn.contains("DC=sub,")), "{changes}");
        fs::remove_file(dir.path().join("c.ldf")).unwrap();
    }
    old(&["--only-user", "child2@sub.fa.test"]).expect(0);
    assert_eq!(objects(&fs::read_to_string(dir.path().join("c.ldf")).unwrap()), ["CN=Child 2,OU=EX1,DC=sub,DC=fa,DC=test"]);
    let nowhere = old(&["--only-domain", "nowhere.test"]).expect(2);
    assert!(nowhere.stderr.contains("fa.test, sub.fa.test"), "{}", nowhere.stderr);
}
