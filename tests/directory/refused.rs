//! What is refused without a directory: message, exit code, and nothing written.

use std::fs;
use std::process::Command;

use crate::export::{Layout, export};
use crate::support::{Done, PROGRAM};

const PLAIN: Layout<'_> = &[("First Storage Group", &[("Mailbox Store", "priv1.edb"), ("Sales", "sales.edb")])];
const OTHER_FILES: Layout<'_> = &[("First Storage Group", &[("Mailbox Store", "other.edb"), ("Sales", "sales.edb")])];
const TWICE: Layout<'_> = &[("Indy", &[("Sales", "Sales.edb")]), ("Boston", &[("Sales", "sales.EDB")])];

/// Both command lines on an export, which must refuse it with this code, in these words, and write nothing.
#[track_caller]
fn refused(text: &str, more: &[&str], code: i32, said: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("export.ldf"), text).unwrap();
    fs::write(dir.path().join("standin.toml"), format!("[node]\nname = \"a\"\nstate_dir = \"{}/state\"\n", dir.path().display()))
        .unwrap();
    let old = ["exchfailover", "-failover", "-s", "EX1", "-t", "EX2", "-l", "run.log", "--plan", "plan.json"];
    let new = ["directory", "plan", "EX1", "EX2", "--out", "plan.json", "--undo-changes", "undo.ldf"];
    for words in [&old[..], &new] {
        let mut command = Command::new(PROGRAM);
        command.current_dir(dir.path()).env("STANDIN_CONFIG", dir.path().join("standin.toml"));
        command.args(words).args(["--ldif", "export.ldf", "--changes", "changes.ldf"]).args(more);
        let done = Done::of(command).expect(code);
        for part in said {
            assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
        }
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.retain(|name| name != "run.log");
        left.sort();
        assert_eq!(left, ["export.ldf", "standin.toml"]);
    }
}

#[test]
fn versions_that_are_not_known_are_refused_with_the_version_named() {
    let good = export(&[("EX1", PLAIN), ("EX2", PLAIN)]);
    let of = |version: &str| good.replace("serialNumber: Version 6.5 (Build 7638.2)", &format!("serialNumber: {version}"));
    refused(&of("Version 15.2 (Build 1118.7)"), &[], 3, &["server EX", "Version 15.2", "2000 to 2013"]);
    refused(&of("Version 5.5 (Build 2653.23)"), &[], 3, &["Version 5.5"]);
    refused(&of("later"), &[], 3, &["server EX", "\"later\"", "serialNumber"]);
    // One of each.
    let other = good.replacen("Version 6.5 (Build 7638.2)", "Version 8.3 (Build 6.83)", 1);
    refused(&other, &[], 3, &["EX1", "EX2", "8.3", "6.5"]);
}

#[test]
fn stores_and_servers_that_do_not_fit_are_refused() {
    refused(&export(&[("EX1", TWICE), ("EX2", TWICE)]), &[], 3, &["-r", "ales.edb", "Indy", "Boston"]);
    refused(&export(&[("EX1", PLAIN), ("EX2", OTHER_FILES)]), &[], 3, &["priv1.edb", "no store of the target"]);
    refused(&export(&[("EX1", PLAIN), ("EX2", OTHER_FILES)]), &["-r", "First Storage Group"], 3, &["priv1.edb", "other.edb"]);
    refused(&export(&[("EX1", PLAIN), ("EX3", PLAIN)]), &[], 2, &["no Exchange server EX2", "EX1, EX3"]);
    refused("", &[], 4, &["export"]);
    refused("dn: CN=a,DC=fa,DC=test\nobjectClass: user\n\n", &[], 4, &["no Exchange organization"]);
    refused("this is no export\n", &[], 4, &["export.ldf"]);
}

/// A plan of an export, edited by hand and carried out on the same export: what comes of it before anything could be written.
#[track_caller]
fn edited(edit: impl Fn(&mut serde_json::Value), code: i32, said: &str) {
    let dir = tempfile::tempdir().unwrap();
    let program = |words: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.current_dir(dir.path()).env("STANDIN_CONFIG", dir.path().join("standin.toml"));
        Done::of({
            command.arg("directory").args(words).args(["--ldif", "export.ldf"]);
            command
        })
    };
    fs::write(dir.path().join("export.ldf"), export(&[("EX1", PLAIN), ("EX2", PLAIN)])).unwrap();
    let settings = format!("[node]\nname = \"a\"\nstate_dir = \"{}/state\"\n", dir.path().display());
    fs::write(dir.path().join("standin.toml"), settings).unwrap();
    program(&["plan", "EX1", "EX2", "--out", "plan.json"]).expect(0);
    let mut plan = serde_json::from_str(&fs::read_to_string(dir.path().join("plan.json")).unwrap()).unwrap();
    edit(&mut plan);
    fs::write(dir.path().join("plan.json"), plan.to_string()).unwrap();
    let done = program(&["apply", "plan.json"]).expect(code);
    assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
    assert!(!dir.path().join("state").exists());
}

fn mailbox(plan: &mut serde_json::Value) -> &mut serde_json::Value {
    plan["changes"].as_array_mut().unwrap().iter_mut().find(|change| change["kind"] == "mailbox").unwrap()
}

#[test]
fn a_plan_that_was_edited_by_hand_does_what_is_right_or_nothing() {
    // As it was, it is right; an export is the wrong place to write to.
    edited(|_| {}, 2, "--changes");
    edited(|plan| mailbox(plan)["reason"] = "because".into(), 2, "--changes");
    edited(|plan| mailbox(plan)["edits"][0]["new"][0] = "CN=Nobody,DC=fa,DC=test".into(), 3, "CN=user1");
    edited(|plan| mailbox(plan)["edits"][0]["attribute"] = "userAccountControl".into(), 3, "userAccountControl");
    edited(|plan| mailbox(plan)["edits"][0]["old"][0] = "CN=Nobody,DC=fa,DC=test".into(), 3, "CN=user1");
    edited(|plan| mailbox(plan)["object"] = "CN=Administrator,DC=elsewhere".into(), 3, "DC=elsewhere");
    edited(|plan| mailbox(plan)["kind"] = "overwrite".into(), 3, "CN=user1");
    edited(|plan| mailbox(plan)["edits"][0]["new"][0] = "x".repeat(10 << 20).into(), 3, "(10485760 bytes)");
    edited(
        |plan| {
            let again = mailbox(plan).clone();
            plan["changes"].as_array_mut().unwrap().push(again);
        },
        3,
        "CN=user1",
    );
    edited(|plan| plan["schema"] = 7.into(), 2, "form 7");
    edited(|plan| plan["changes"] = "all".into(), 2, "plan.json");
}
