//! The built program from outside: what is printed, which exit code, and what is left on disk.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod pairing;
#[path = "../support/mod.rs"]
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use support::{Done, Node, PROGRAM};

/// The program with a settings file of its own.
fn standin(config: &Path, arguments: &[&str]) -> Done {
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(config).args(arguments);
    Done::of(command)
}

/// Without any node.
fn bare(arguments: &[&str]) -> Done {
    standin(Path::new("/nonexistent/standin.toml"), arguments)
}

/// What it said on both ways.
fn said(done: &Done) -> String {
    format!("{}{}", done.stdout, done.stderr)
}

/// The one JSON value on standard error.
fn error(done: &Done) -> serde_json::Value {
    serde_json::from_str(&done.stderr).unwrap_or_else(|error| panic!("no JSON: {error}: {done:#?}"))
}

#[test]
fn init_makes_a_node_once() {
    let base = tempfile::tempdir().unwrap();
    let node = Node::init(base.path(), "alpha");
    let (config, state) = (node.config(), node.state_dir());
    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(state.join("identity.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let before = (std::fs::read(&config).unwrap(), std::fs::read(state.join("identity.key")).unwrap());
    let again = node.run(&["init", "--name", "other"]).expect(0);
    assert!(said(&again).contains("there already, not changed"));
    assert_eq!(before, (std::fs::read(&config).unwrap(), std::fs::read(state.join("identity.key")).unwrap()));
}

#[test]
fn check_says_everything_that_is_wrong() {
    let base = tempfile::tempdir().unwrap();
    let node = Node::init(base.path(), "alpha");
    node.run(&["check"]).expect(0);
    node.add_settings("[peers.beta]\naddresses = [\"127.0.0.1:7420\"]\n[sets.mail]\nsource = \"alpha\"\nstandby = \"beta\"");
    node.add_settings("[[sets.mail.roots]]\npath = \"/nowhere/mail\"\ntarget = \"/srv/mail\"");
    let missing = node.run(&["check"]).expect(2);
    assert!(said(&missing).contains("/nowhere/mail cannot be read"), "{missing:#?}");
    let settings = std::fs::read_to_string(node.config()).unwrap();
    let settings = settings.replace("\nsource = \"alpha\"", "\nsource = \"alpha\"\norphans = \"delete\"\nlanse = 3");
    std::fs::write(node.config(), settings).unwrap();
    let wrong = node.run(&["check"]).expect(2);
    assert!(said(&wrong).contains("orphans") && said(&wrong).contains("lanes"), "{wrong:#?}");
    assert_eq!(error(&node.run(&["--json", "set", "list"]).expect(2))["code"], 2);
}

#[test]
fn a_missing_settings_file_is_named() {
    for arguments in [["check"].as_slice(), &["status"], &["run"], &["pair", "--list"]] {
        let done = bare(arguments).expect(2);
        assert!(said(&done).contains("/nonexistent/standin.toml"), "{done:#?}");
    }
}

#[test]
fn help_lists_the_exit_codes_and_every_command() {
    let help = bare(&["--help"]).expect(0);
    for part in ["Exit codes", "5  verify found differences", "mirror", "promote", "--json"] {
        assert!(help.stdout.contains(part), "{part}: {help:#?}");
    }
    let nothing = bare(&[]).expect(2);
    assert!(nothing.stderr.contains("Usage: standin"), "{nothing:#?}");
}

#[test]
fn errors_are_json_if_asked_for() {
    let done = bare(&["--json", "status"]).expect(2);
    assert_eq!(error(&done)["code"], 2);
    assert!(done.stdout.is_empty() && error(&done)["error"].as_str().unwrap().contains("standin init"));
    let mistyped = bare(&["status", "--json", "--no-such"]).expect(2);
    assert!(error(&mistyped)["error"].as_str().unwrap().contains("--no-such"), "{mistyped:#?}");
    let plain = bare(&["status", "--no-such"]).expect(2);
    assert!(plain.stderr.starts_with("error:"), "{plain:#?}");
}

#[test]
fn without_a_daemon_commands_say_how_to_start_it() {
    let base = tempfile::tempdir().unwrap();
    let node = Node::init(base.path(), "alpha");
    for arguments in [
        ["status"].as_slice(),
        &["points", "mail"],
        &["promote", "mail"],
        &["verify", "mail"],
        &["mirror", "start", "mail", "--wait"],
        &["mirror", "pause", "mail"],
    ] {
        let done = node.run(arguments).expect(4);
        assert!(done.stderr.contains("standin run") && done.stdout.is_empty(), "{done:#?}");
    }
    assert_eq!(error(&node.run(&["--json", "status"]).expect(4))["code"], 4);
}

#[test]
fn what_is_typed_is_checked() {
    let base = tempfile::tempdir().unwrap();
    let node = Node::init(base.path(), "alpha");
    for (arguments, hint) in [
        (["mirror", "start", "mail", "--full", "--checksum"].as_slice(), "--checksum"),
        (&["mirror", "start", "mail", "--orphans", "delete"], "remove, report, keep"),
        (&["mirror", "start", "mail", "--max-orphans", "101%"], "101%"),
        (&["mirror", "start", "mail", "--limit", "50"], "MB/s"),
        (&["mirror", "start", "../mail"], "is not allowed"),
        (&["pair"], "--accept"),
        (&["pair", "--accept", "--list"], "cannot be used with"),
        (&["pair", "--accept", "--fingerprint", "abc"], "64 hex digits"),
        (&["set", "show", "mail"], "there is no set mail"),
    ] {
        let done = node.run(arguments).expect(2);
        assert!(done.stderr.contains(hint), "{hint}: {done:#?}");
    }
}

#[test]
fn sets_are_listed_and_shown_with_every_default() {
    let base = tempfile::tempdir().unwrap();
    let node = Node::init(base.path(), "alpha");
    node.add_settings("[peers.beta]\naddresses = [\"127.0.0.1:7420\"]\n[sets.mail]\nsource = \"alpha\"\nstandby = \"beta\"");
    node.add_settings("[[sets.mail.roots]]\npath = \"/srv/mail\"\ntarget = \"/srv/replica\"\nrules = [{ exclude = \"*.tmp\" }]");
    let list = node.run(&["set", "list"]).expect(0);
    assert!(list.stdout.contains("mail") && list.stdout.contains("source"), "{list:#?}");
    let show = node.run(&["set", "show", "mail"]).expect(0);
    for part in ["25%", "16 GiB", "/srv/mail to /srv/replica", "exclude \"*.tmp\""] {
        assert!(show.stdout.contains(part), "{part}: {show:#?}");
    }
    assert_eq!(node.json(&["set", "show", "mail"])["standby"], "beta");
    assert_eq!(node.json(&["set", "list"])[0]["set"], "mail");
}

#[test]
fn every_command_has_a_man_page() {
    let base = tempfile::tempdir().unwrap();
    let directory = base.path().join("man1");
    bare(&["man", directory.to_str().unwrap()]).expect(0);
    for page in ["standin", "standin-mirror", "standin-mirror-start", "standin-pair", "standin-set-check", "standin-verify"] {
        let text = std::fs::read_to_string(directory.join(format!("{page}.1"))).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".TH") && text.contains("found differences"), "{page}: {text}");
    }
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let done = bare(&["completions", shell]).expect(0);
        assert!(done.stdout.contains("promote") && done.stdout.contains("max-orphans"), "{shell}");
    }
}

#[test]
fn the_daemon_runs_once_answers_and_ends_cleanly() {
    let base = tempfile::tempdir().unwrap();
    let mut node = Node::init(base.path(), "alpha");
    node.start();
    assert_eq!(node.json(&["status"]), serde_json::json!({ "node": "alpha", "sets": [] }));
    let second = node.run(&["run"]).expect(1);
    assert!(second.stderr.contains("is running already"), "{second:#?}");
    node.stop();
    node.run(&["status"]).expect(4);
    assert!(!node.state_dir().join("control.sock").exists());
    // What a crash leaves is no hindrance.
    node.start();
    node.kill();
    node.start();
}
