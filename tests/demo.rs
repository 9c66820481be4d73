//! `standin demo`, as a newcomer runs it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

mod support;

use support::{PATIENCE, terminate, wait_for};

fn demo(temporary: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standin"));
    command.env("TMPDIR", temporary.path()).args(arguments).args(["demo", "--size", "64 MiB"]);
    command
}

fn left(temporary: &tempfile::TempDir) -> usize {
    fs::read_dir(temporary.path()).unwrap().count()
}

#[test]
fn every_check_holds_and_nothing_is_left() {
    let temporary = tempfile::tempdir().unwrap();
    let output = demo(&temporary, &["--json"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = outcome["checks"].as_array().unwrap();
    assert!(checks.len() >= 15 && checks.iter().all(|check| check["held"] == true), "{outcome:#}");
    assert_eq!(left(&temporary), 0);
}

#[test]
fn nothing_is_left_if_it_is_ended_in_the_middle() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = demo(&temporary, &[]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    // Everything is there and running by then.
    let third = lines.map_while(Result::ok).find(|line| line.trim_start().starts_with("3 "));
    assert!(third.is_some(), "the demo ended early");
    terminate(demo.id());
    let status = wait_for("the demo ends", PATIENCE, || demo.try_wait().unwrap());
    assert!(!status.success());
    assert_eq!(left(&temporary), 0);
}
