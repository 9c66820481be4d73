//! The built program from outside: what is printed, which exit code, and what is left on disk.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn standin(config: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_standin")).arg("--config").arg(config).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn node(directory: &Path) -> std::path::PathBuf {
    let config = directory.join("etc/standin.toml");
    let state = directory.join("state");
    let made = standin(&config, &["init", "--name", "alpha", "--state-dir", state.to_str().unwrap()]);
    assert!(made.status.success(), "{}", text(&made));
    config
}

#[test]
fn init_makes_a_node_once() {
    let directory = tempfile::tempdir().unwrap();
    let config = node(directory.path());
    let state = directory.path().join("state");
    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(state.join("identity.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let before = (std::fs::read(&config).unwrap(), std::fs::read(state.join("identity.key")).unwrap());
    let again = standin(&config, &["init", "--name", "other"]);
    assert!(again.status.success(), "{}", text(&again));
    assert!(text(&again).contains("there already, not changed"));
    assert_eq!(before, (std::fs::read(&config).unwrap(), std::fs::read(state.join("identity.key")).unwrap()));
}

#[test]
fn check_says_everything_that_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let config = node(directory.path());
    let fine = standin(&config, &["check"]);
    assert_eq!(fine.status.code(), Some(0), "{}", text(&fine));
    let mut settings = std::fs::read_to_string(&config).unwrap();
    settings.push_str("\n[peers.beta]\naddresses = [\"127.0.0.1:7420\"]\n[sets.mail]\nsource = \"alpha\"\nstandby = \"beta\"\n");
    settings.push_str("[[sets.mail.roots]]\npath = \"/nowhere/mail\"\ntarget = \"/srv/mail\"\n");
    std::fs::write(&config, &settings).unwrap();
    let missing = standin(&config, &["check"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing).contains("/nowhere/mail cannot be read"), "{}", text(&missing));
    std::fs::write(&config, settings.replace("source = \"alpha\"", "source = \"alpha\"\norphans = \"delete\"\nlanse = 3"))
        .unwrap();
    let wrong = standin(&config, &["check"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong).contains("orphans") && text(&wrong).contains("lanes"), "{}", text(&wrong));
}

#[test]
fn a_missing_settings_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let output = standin(&directory.path().join("none.toml"), &["check"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("none.toml"), "{}", text(&output));
}
