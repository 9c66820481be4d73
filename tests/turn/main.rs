//! A set is turned: handed over and back, and taken over. Whatever dies meanwhile, there is one source, and nothing is lost in silence.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

mod kills;
#[path = "../../src/demo/material/mod.rs"]
mod material;
mod restored;
#[path = "../support/mod.rs"]
mod support;

use support::{Node, PATIENCE, Pair, assert_same, rsync_todo, shell, wait_for, wait_until};

const WATCH: &str = "capture = \"watch\"";
const SOME: &str = "mkdir -p d/e; for i in {1..40}; do head -c 20000 /dev/urandom > d/$i; done; head -c 3000000 /dev/urandom > large; ln large d/linked";

fn followed(more: &str) -> Pair {
    let pair = Pair::new(&format!("{WATCH}\n{more}"));
    shell(&pair.source, SOME);
    pair.mirror(&[]);
    pair
}

/// Asks the source for a point of what is there now, and waits for it.
#[track_caller]
fn point(source: &Node) -> Value {
    let made = wait_for("the standby is there", PATIENCE, || {
        let done = source.run(&["--json", "point", "mail", "--wait"]);
        (done.code == Some(0)).then_some(done)
    });
    made.json()["point"].clone()
}

fn status(node: &Node) -> Value {
    Pair::status_of(node)
}

#[track_caller]
fn assert_role(node: &Node, role: &str, generation: u64) {
    let status = status(node);
    assert_eq!((&status["role"], &status["generation"]), (&json!(role), &json!(generation)), "{}: {status}", node.name);
}

/// The lines of the list of what a node kept aside as the source of a generation, without those that explain it.
fn kept(node: &Node, generation: u64) -> Vec<String> {
    let list = node.state_dir().join(format!("sets/mail/kept/generation-{generation}.txt"));
    let text = std::fs::read_to_string(list).unwrap_or_default();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn folder(node: &Node, generation: u64) -> PathBuf {
    node.state_dir().join(format!("sets/mail/kept/generation-{generation}/root-0"))
}

fn read(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn it_is_handed_over_and_back_and_loses_nothing() {
    let pair = followed("");
    let turn = |from: &Node, to: &Node| from.json(&["set", "turn", "mail", "--to", &to.name]);
    for round in 0..3 {
        let generation = 2 + 2 * round;
        shell(
            &pair.source,
            &format!(
                "for i in {{1..30}}; do echo {round} >> d/$i; echo $i > new-{round}-$i; done; rm -f new-{round}-3 d/e/x; mv d/{} d/e/x",
                round + 31
            ),
        );
        let turned = turn(&pair.alpha, &pair.beta);
        assert_eq!(turned["generation"], json!(generation));
        // Nothing was lost, and nothing has to be sent back.
        assert_same(&pair.source, &pair.target);
        assert_role(&pair.alpha, "standby", generation);
        assert_role(&pair.beta, "source", generation);
        // Said again, it does nothing.
        assert_eq!(turn(&pair.alpha, &pair.beta)["generation"], json!(generation));
        shell(&pair.target, &format!("echo beta {round} >> d/1; echo {round} > of-beta-{round}; rm d/{}", round + 10));
        point(&pair.beta);
        assert_same(&pair.target, &pair.source);
        assert!(!pair.target.join(".standin").exists());
        shell(&pair.target, "head -c 100000 /dev/urandom > last; echo more >> large");
        assert_eq!(turn(&pair.beta, &pair.alpha)["generation"], json!(generation + 1));
        assert_same(&pair.target, &pair.source);
        assert_role(&pair.alpha, "source", generation + 1);
        shell(&pair.source, "echo alpha again >> d/2");
        point(&pair.alpha);
        assert_same(&pair.source, &pair.target);
    }
    for node in [&pair.alpha, &pair.beta] {
        assert!(!node.state_dir().join("sets/mail/kept").exists(), "a handover leaves nothing to keep aside");
    }
    let points = pair.alpha.json(&["points", "mail"]);
    assert!(points["points"].as_array().unwrap().len() > 1, "{points}");
    let listed = pair.beta.run(&["set", "list"]).expect(0).stdout;
    assert!(listed.lines().any(|line| line.starts_with("mail") && line.contains("standby")), "{listed}");
}

#[test]
fn roles_outlive_a_restart_and_the_settings_are_not_asked() {
    let mut pair = followed("");
    pair.alpha.json(&["set", "turn", "mail", "--to", "beta"]);
    for node in [&mut pair.alpha, &mut pair.beta] {
        node.stop();
        node.start();
    }
    assert_role(&pair.alpha, "standby", 2);
    assert_role(&pair.beta, "source", 2);
    assert!(pair.alpha.run(&["mirror", "start", "mail"]).expect(2).stderr.contains("ask for it on beta"));
    pair.alpha.run(&["set", "turn", "mail", "--to", "alpha"]).expect(2);
    shell(&pair.target, "echo after >> d/1; rm d/2");
    point(&pair.beta);
    assert_same(&pair.target, &pair.source);
    pair.beta.run(&["check"]).expect(0);
    pair.alpha.run(&["set", "check", "mail"]).expect(0);
}

#[test]
fn a_standby_that_is_started_again_keeps_its_points() {
    let mut pair = followed("history_points = 9");
    pair.alpha.json(&["set", "turn", "mail", "--to", "beta"]);
    for round in 0..3 {
        shell(&pair.target, &format!("echo {round} > after"));
        point(&pair.beta);
    }
    let points = |node: &Node| node.json(&["points", "mail"])["points"].clone();
    let before = points(&pair.alpha);
    assert!(before.as_array().unwrap().len() > 2, "{before}");
    pair.beta.stop();
    pair.alpha.stop();
    // As a daemon left it that heard of the turn twice at once: nothing said any more that the tree was made a replica.
    let file = pair.alpha.state_dir().join("sets/mail/roles.json");
    let roles = read(&file);
    fs::write(&file, roles.replace("\"founded\": true", "\"founded\": false")).unwrap();
    assert_ne!(read(&file), roles);
    pair.alpha.start();
    assert_eq!(points(&pair.alpha), before);
    assert_eq!(read(&file), roles);
    pair.beta.start();
    shell(&pair.target, "echo more > after");
    point(&pair.beta);
    assert_same(&pair.target, &pair.source);
    assert!(!pair.alpha.state_dir().join("sets/mail/kept").exists(), "nothing was its own");
}

#[test]
fn what_only_the_old_source_has_is_kept_aside_and_listed() {
    let mut pair = followed("");
    shell(
        &pair.source,
        "mkdir still; for i in 3 4 5; do echo $i > still/$i; done; mkdir ../elsewhere; echo old > ../elsewhere/old; touch -d 2001-01-01 ../elsewhere/old",
    );
    // What changed in the clock tick of the last point would be kept, too, as nobody could tell whose it is.
    let changed = fs::metadata(pair.source.join("still")).unwrap().modified().unwrap();
    wait_until("the clock has gone on", PATIENCE, || changed.elapsed().is_ok_and(|since| since > Duration::from_millis(100)));
    fs::write(pair.source.join("tick"), "").unwrap();
    point(&pair.alpha);
    pair.alpha.kill();
    // The old source goes on alone for a while: what it does now, the standby never gets.
    shell(
        &pair.source,
        "echo own > own; echo more >> d/1; rm d/2; mv ../elsewhere here; printf X | dd of=large bs=1 seek=5 conv=notrunc status=none; ln -s x link; touch -d 2001-01-01 own",
    );
    let promoted = pair.beta.json(&["promote", "mail", "--as-source"]);
    assert_eq!(promoted["generation"], json!(2));
    shell(&pair.target, "echo of beta > new; echo beta >> still/3; rm still/4 still/5; echo other >> large");
    let was = shell(&pair.source, "sha256sum d/linked d/1 | cut -d' ' -f1");
    pair.alpha.start();
    wait_until("alpha is the standby", PATIENCE, || status(&pair.alpha)["role"] == json!("standby"));
    point(&pair.beta);
    assert_same(&pair.target, &pair.source);
    let (lines, folder) = (kept(&pair.alpha, 1), folder(&pair.alpha, 1));
    println!("{}", lines.join("\n"));
    let of = |path: &str| lines.iter().find(|line| line.split('\t').nth(2) == Some(path)).cloned();
    for (path, what) in [
        ("own", "only here"),
        ("d/1", "other contents"),
        ("d/linked", "other contents"),
        ("here/old", "only here"),
        ("link", "only here"),
    ] {
        let line = of(path).unwrap_or_else(|| panic!("{path} is not listed: {lines:#?}"));
        assert!(line.starts_with(what) && line.ends_with("\tcopied"), "{line}");
    }
    // What the new source had, and removed or changed itself, is nobody's loss.
    for path in ["still/3", "still/4", "still/5"] {
        assert_eq!(of(path), None, "{lines:#?}");
    }
    assert_eq!((read(&folder.join("own")), read(&folder.join("here/old"))), ("own\n".to_owned(), "old\n".to_owned()));
    assert_eq!(shell(&folder, "sha256sum d/linked d/1 | cut -d' ' -f1"), was);
    assert_eq!(shell(&folder, "stat -c %Y own").trim(), shell(&folder, "date -d 2001-01-01 +%s").trim());
    let told = status(&pair.alpha)["kept_aside"][0].as_str().unwrap_or_default().to_owned();
    assert!(told.ends_with("kept/generation-1.txt"), "{told}");
    // And it goes home.
    pair.beta.json(&["set", "turn", "mail", "--to", "alpha"]);
    assert_same(&pair.target, &pair.source);
    assert!(!pair.source.join(".standin").exists());
}

#[test]
fn until_the_first_point_of_the_new_source_the_old_tree_can_still_be_gone_to() {
    let mut pair = followed("");
    pair.alpha.kill();
    shell(&pair.source, "echo own > own");
    pair.beta.json(&["promote", "mail", "--as-source"]);
    pair.beta.kill();
    shell(&pair.target, "echo of beta > new");
    // Alpha hears of it from beta, which dies before it has sent anything.
    pair.alpha.start();
    pair.beta.start();
    wait_until("alpha is the standby", PATIENCE, || status(&pair.alpha)["role"] == json!("standby"));
    wait_until("the difference is there", PATIENCE, || rsync_todo(&pair.target, &pair.source).is_empty());
    pair.beta.kill();
    // The tree as it was is a point as any other.
    let points = pair.alpha.json(&["points", "mail"])["points"].clone();
    let own = points.as_array().unwrap().iter().find(|point| point["generation"] == json!(1)).expect("it is a point").clone();
    let number = own["number"].to_string();
    let taken = pair.alpha.json(&["promote", "mail", "--as-source", "--point", &number]);
    assert_eq!((&taken["point"]["number"], &taken["generation"]), (&own["number"], &json!(3)));
    assert_eq!(read(&pair.source.join("own")), "own\n");
    assert!(!pair.source.join("new").exists());
    // Now it is beta's turn to keep what only it has.
    pair.beta.start();
    wait_until("beta is the standby", PATIENCE, || status(&pair.beta)["generation"] == json!(3));
    point(&pair.alpha);
    assert_same(&pair.source, &pair.target);
    assert_eq!(read(&folder(&pair.beta, 2).join("new")), "of beta\n");
}

#[test]
fn a_live_source_that_is_taken_over_sends_nothing_more_and_loses_nothing() {
    let pair = followed("");
    shell(&pair.source, "echo before > before");
    point(&pair.alpha);
    pair.beta.json(&["promote", "mail", "--as-source"]);
    wait_until("alpha is the standby", PATIENCE, || status(&pair.alpha)["role"] == json!("standby"));
    point(&pair.beta);
    assert_same(&pair.target, &pair.source);
    assert_role(&pair.alpha, "standby", 2);
}

#[test]
fn a_turn_that_cannot_lose_nothing_is_not_made() {
    let mut pair = followed("");
    // Nobody is there to take over.
    pair.beta.kill();
    shell(&pair.source, "echo not there yet > d/1");
    let done = pair.alpha.run(&["set", "turn", "mail", "--to", "beta", "--timeout", "2s"]);
    assert!(matches!(done.code, Some(4 | 6)), "{done:#?}");
    assert_role(&pair.alpha, "source", 1);
    pair.beta.start();
    point(&pair.alpha);
    pair.assert_equal();
    // Something writes all the time.
    let writer =
        std::process::Command::new("bash").args(["-c", "while true; do echo x >> d/3; done"]).current_dir(&pair.source).spawn();
    let mut writer = writer.unwrap();
    let done = pair.alpha.run(&["set", "turn", "mail", "--to", "beta", "--timeout", "4s"]);
    writer.kill().unwrap();
    writer.wait().unwrap();
    done.expect(6);
    assert_role(&pair.alpha, "source", 1);
    pair.alpha.json(&["set", "turn", "mail", "--to", "beta"]);
    pair.assert_equal();
}

#[test]
fn a_set_that_is_only_mirrored_is_turned_too() {
    let pair = Pair::new("");
    shell(&pair.source, SOME);
    pair.mirror(&[]);
    shell(&pair.source, "echo more >> d/1; rm d/2");
    pair.alpha.json(&["set", "turn", "mail", "--to", "beta"]);
    pair.assert_equal();
    // The new source has begun one by itself, which may have read the file by now.
    shell(&pair.target, "echo beta >> d/3");
    pair.beta.run(&["--json", "mirror", "start", "mail", "--wait"]).expect(0);
    assert_same(&pair.target, &pair.source);
}
