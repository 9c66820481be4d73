//! What scripts wait for, what states mean, and settings that change while the daemons run.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::error;
use crate::support::{Done, Node, PATIENCE, Pair, wait_until};

/// Writes other settings in the place of some; what is replaced must be there.
fn rewrite(node: &Node, from: &str, to: &str) {
    let settings = std::fs::read_to_string(node.config()).unwrap();
    assert!(settings.contains(from), "{from}: {settings}");
    std::fs::write(node.config(), settings.replace(from, to)).unwrap();
}

fn keys(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|difference| difference["key"].as_str().unwrap()).collect()
}

/// Runs a command, presses Ctrl-C once it says that it waits for something, and returns what it said.
fn interrupted(node: &Node, line: &[&str], waits: &str) -> String {
    let mut child = node.command(line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    assert!(first.contains(waits), "{first}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let rest: Vec<_> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    rest.join("\n")
}

#[test]
fn whoever_stops_waiting_is_told_what_becomes_of_it() {
    let mut pair = Pair::new("capture = \"watch\"");
    std::fs::write(pair.source.join("a"), "mail").unwrap();
    pair.mirror(&[]);
    let said = interrupted(&pair.alpha, &["wait", "mail", "--point", "99"], "waiting for recovery point 99 of mail");
    assert!(said.contains("it is not waited for any more"), "{said}");
    pair.beta.stop();
    wait_until("alpha knows", PATIENCE, || pair.alpha.json(&["status"])["sets"][0]["state"] == "disconnected");
    let said = interrupted(&pair.alpha, &["set", "turn", "mail", "--to", "beta"], "waiting for beta");
    assert!(said.contains("`standin set release mail` takes it back"), "{said}");
    let said = interrupted(&pair.alpha, &["mirror", "start", "mail", "--wait"], "waiting for beta");
    assert!(said.contains("the mirror goes on") && said.contains("`standin mirror stop mail` ends it"), "{said}");
    pair.beta.start();
    // The mirror does; what nobody waits for any more is not turned.
    pair.alpha.run(&["wait", "mail", "--synced", "--timeout", "60s"]).expect(0);
    let set = pair.alpha.json(&["status"])["sets"][0].clone();
    assert_eq!((&set["role"], &set["generation"]), (&json!("source"), &json!(1)), "{set:#}");
}

#[test]
fn waiting_ends_when_it_is_so_far_or_the_time_is_over() {
    let pair = Pair::new("");
    std::fs::write(pair.source.join("a"), "mail").unwrap();
    let began = Instant::now();
    let late = pair.alpha.run(&["--json", "wait", "mail", "--point", "1", "--timeout", "300ms"]).expect(6);
    assert!(began.elapsed() >= Duration::from_millis(300), "{late:#?}");
    assert!(
        error(&late)["code"] == 6 && error(&late)["error"].as_str().unwrap().starts_with("mail is not so far yet"),
        "{late:#?}"
    );
    pair.beta.run(&["wait", "mail", "--synced", "--timeout", "0 s"]).expect(6);
    // Somebody waits on each side before there is anything to wait for.
    let waiting =
        |node: &Node| node.command(&["wait", "mail", "--point", "1"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let both = [waiting(&pair.alpha).unwrap(), waiting(&pair.beta).unwrap()];
    pair.mirror(&[]);
    for child in both {
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success() && said.starts_with("mail is so far; the newest recovery point is "), "{done:?}");
    }
    for node in [&pair.alpha, &pair.beta] {
        assert_eq!(node.json(&["wait", "mail", "--synced", "--timeout", "10s"])["set"], "mail");
    }
    pair.beta.run(&["wait", "mail", "--queue-empty", "--timeout", "10s"]).expect(0);
    let senseless = pair.alpha.run(&["wait", "mail", "--queue-empty"]).expect(2);
    assert!(senseless.stderr.contains("--synced"), "{senseless:#?}");
    for wrong in [
        &["wait", "mail"][..],
        &["wait", "mail", "--synced", "--queue-empty"],
        &["wait", "mail", "--synced", "--timeout", "5 mins"],
    ] {
        pair.alpha.run(wrong).expect(2);
    }
    pair.promote();
    let promoted = pair.beta.run(&["wait", "mail", "--synced"]).expect(3);
    assert!(promoted.stderr.contains("was promoted"), "{promoted:#?}");
    pair.beta.run(&["wait", "mail", "--point", "1"]).expect(0);
}

#[test]
fn a_mirror_that_is_paused_is_not_waited_for_in_vain() {
    // Slow enough that it cannot end before it is paused.
    let pair = Pair::new("limit = \"1 kB/s\"\ncompression = \"off\"");
    std::fs::write(pair.source.join("a"), vec![b'x'; 2_000_000]).unwrap();
    pair.alpha.run(&["mirror", "start", "mail"]).expect(0);
    wait_until("the mirror runs", PATIENCE, || Pair::status_of(&pair.alpha)["state"] == "mirroring");
    pair.alpha.run(&["wait", "mail", "--synced", "--timeout", "0 s"]).expect(6);
    pair.alpha.run(&["mirror", "pause", "mail"]).expect(0);
    wait_until("it is paused", PATIENCE, || Pair::status_of(&pair.alpha)["state"] == "paused");
    let stuck = pair.alpha.run(&["wait", "mail", "--synced"]).expect(3);
    assert!(stuck.stderr.contains("standin mirror resume mail"), "{stuck:#?}");
    let explained = pair.alpha.run(&["status", "mail", "--explain"]).expect(0).stdout;
    assert!(explained.contains("A person paused it.") && explained.contains("limit       1 kB/s"), "{explained}");
    // The limit of a mirror that goes on is changed while it runs, by the settings.
    pair.alpha.run(&["mirror", "resume", "mail"]).expect(0);
    wait_until("the mirror runs", PATIENCE, || Pair::status_of(&pair.alpha)["state"] == "mirroring");
    rewrite(&pair.alpha, "\nlimit = \"1 kB/s\"", "\nlimit = \"1 GB/s\"");
    assert_eq!(keys(&pair.alpha.json(&["reload"])["applied"]), ["sets.mail.limit"]);
    pair.alpha.run(&["wait", "mail", "--synced", "--timeout", "60s"]).expect(0);
    pair.assert_equal();
}

#[test]
fn a_timetable_lets_nothing_be_sent_until_it_is_changed() {
    let pair = Pair::new("limits = [ { rate = \"pause\" } ]");
    std::fs::write(pair.source.join("a"), vec![b'x'; 100_000]).unwrap();
    pair.alpha.run(&["mirror", "start", "mail"]).expect(0);
    wait_until("the file is wanted", PATIENCE, || Pair::status_of(&pair.alpha)["mirror"]["wanted_bytes"] == 100_000);
    let status = Pair::status_of(&pair.alpha);
    assert_eq!((&status["limit"], &status["mirror"]["data_bytes"]), (&json!({ "rate": "pause", "next": null }), &json!(0)));
    rewrite(&pair.alpha, "limits = [ { rate = \"pause\" } ]", "limits = [ { rate = \"unlimited\" } ]");
    pair.alpha.run(&["reload"]).expect(0);
    pair.alpha.run(&["wait", "mail", "--synced", "--timeout", "60s"]).expect(0);
    pair.assert_equal();
}

#[test]
fn settings_are_read_again_and_wrong_ones_change_nothing() {
    let pair = Pair::new("history_points = 3");
    assert_eq!(pair.alpha.run(&["reload"]).expect(0).stdout, "nothing has changed\n");
    rewrite(&pair.alpha, "\nhistory_points = 3", "\nhistory_points = 0\nlanse = 3");
    let wrong = pair.alpha.run(&["reload"]).expect(2);
    assert!(wrong.stderr.contains("nothing was changed") && wrong.stderr.contains("lanse"), "{wrong:#?}");
    rewrite(&pair.alpha, "lanse = 3", "lanes = 3\ncapture = \"watch\"\nacknowledge = \"durable\"");
    let table = pair.alpha.run(&["reload"]).expect(0).stdout;
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect()).collect();
    assert_eq!(
        rows,
        [
            vec!["SETTING", "HOLDS", "WAS", "IS"],
            vec!["sets.mail.acknowledge", "now", "local", "durable"],
            vec!["sets.mail.history_points", "now", "3", "0"],
            vec!["sets.mail.lanes", "now", "4", "3"],
            vec!["sets.mail.capture", "after a restart of the daemon", "scan", "watch"],
        ]
    );
    let status = pair.alpha.run(&["status", "mail"]).expect(0).stdout;
    assert!(status.contains("acknowledge durable, NOT MET: ") && status.contains("nothing watches the roots"), "{status}");
    // The standby is told by a signal, and keeps fewer points from the next one on.
    for content in ["1", "22"] {
        std::fs::write(pair.source.join("a"), content).unwrap();
        pair.mirror(&[]);
    }
    let points = || pair.beta.json(&["points", "mail"])["points"].as_array().unwrap().len();
    assert!(points() > 1);
    rewrite(&pair.beta, "\nhistory_points = 3", "\nhistory_points = none");
    hang_up(&pair.beta);
    wait_until("wrong settings are refused", PATIENCE, || pair.beta.log().contains("the settings stay as they were"));
    rewrite(&pair.beta, "\nhistory_points = none", "\nhistory_points = 0");
    hang_up(&pair.beta);
    wait_until("the standby has read its settings", PATIENCE, || pair.beta.log().contains("sets.mail.history_points is 0 now"));
    std::fs::write(pair.source.join("a"), "333").unwrap();
    pair.mirror(&[]);
    assert_eq!(points(), 1);
}

fn hang_up(node: &Node) {
    let mut command = Command::new("kill");
    command.args(["-HUP", &node.pid().to_string()]);
    Done::of(command).expect(0);
}

#[test]
fn every_node_says_what_its_state_means_and_a_point_needs_a_watch() {
    let mut pair = Pair::new("acknowledge = \"durable\"");
    let refused = pair.alpha.run(&["point", "mail", "--wait"]).expect(3);
    assert!(refused.stderr.contains("does not watch its roots; `standin mirror start mail` makes a point"), "{refused:#?}");
    let elsewhere = pair.beta.run(&["point", "mail"]).expect(2);
    assert!(elsewhere.stderr.contains("ask for it on alpha"), "{elsewhere:#?}");
    for (node, cause) in [(&pair.alpha, "nothing watches the roots"), (&pair.beta, "Nothing of the set was received yet.")] {
        let told = node.json(&["status", "--explain"])["sets"][0]["explained"].clone();
        assert!(told["cause"].as_str().unwrap().contains(cause), "{told}");
        let lines = node.run(&["status", "--explain"]).expect(0).stdout;
        assert!(["cause  ", "consequence ", "next  "].iter().all(|word| lines.contains(&format!("\n{word}"))), "{lines}");
        assert_eq!(Pair::status_of(node)["explained"], json!(null));
    }
    pair.mirror(&[]);
    let explained = pair.beta.run(&["status", "--explain"]).expect(0).stdout;
    assert!(explained.contains("`standin promote mail` takes over"), "{explained}");
    pair.beta.stop();
    // Nothing needs the standby now, so it is only said since when it is away.
    wait_until("it is noticed", PATIENCE, || {
        Pair::status_of(&pair.alpha)["away_seconds"].as_f64().is_some_and(|away| away > 0.0)
    });
    pair.beta.start();
    wait_until("it is back", PATIENCE, || Pair::status_of(&pair.alpha)["away_seconds"] == json!(null));
}
