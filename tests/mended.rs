//! What an administrator does to settings, state and file systems between two mirrors: nothing wrong comes of it, and there is a way back.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use serde_json::json;

mod support;

use support::{Mount, Node, PATIENCE, Pair, assert_same, copy_tree, is_root, shell, wait_until};

/// Replaces text in the settings of a node that does not run.
fn edit(node: &Node, from: &Path, to: &Path) {
    let settings = fs::read_to_string(node.config()).unwrap();
    fs::write(node.config(), settings.replace(&format!("{from:?}"), &format!("{to:?}"))).unwrap();
}

#[test]
fn a_replica_is_not_looked_for_elsewhere() {
    let mut pair = Pair::new("");
    shell(&pair.source, "echo 1 > a");
    pair.mirror(&[]);
    shell(&pair.source, "echo 2 > b");
    pair.mirror(&[]);
    let elsewhere = pair.dir.path().join("elsewhere");
    for node in [&mut pair.alpha, &mut pair.beta] {
        node.stop();
        edit(node, &pair.target, &elsewhere);
        node.start();
    }
    let refused = pair.beta.run(&["promote", "mail"]).expect(3);
    assert!(refused.stderr.contains("was received into") && refused.stderr.contains("targets.json"), "{refused:?}");
    pair.try_mirror(&[]).expect(3);
    assert!(!elsewhere.exists());
    // Moved there, as the message says.
    pair.beta.stop();
    fs::rename(&pair.target, &elsewhere).unwrap();
    edit_targets(&pair, &elsewhere);
    pair.beta.start();
    pair.beta.json(&["promote", "mail", "--point", "1"]);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
}

fn edit_targets(pair: &Pair, to: &Path) {
    let file = pair.beta.state_dir().join("sets/mail/targets.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(pair.target.to_str().unwrap(), to.to_str().unwrap())).unwrap();
}

#[test]
fn a_lost_file_of_the_state_is_noticed() {
    let mut pair = Pair::new("");
    for name in ["a", "b", "c"] {
        shell(&pair.source, &format!("echo {name} > {name}"));
        pair.mirror(&[]);
    }
    let set = pair.beta.state_dir().join("sets/mail");
    for name in ["replica/state", "targets.json"] {
        pair.beta.stop();
        let (file, aside) = (set.join(name), set.join("aside"));
        fs::rename(&file, &aside).unwrap();
        pair.beta.start();
        let refused = pair.beta.run(&["promote", "mail"]).expect(3);
        assert!(refused.stderr.contains(name.trim_start_matches("replica/")) && refused.stderr.contains("gone"), "{refused:?}");
        pair.try_mirror(&[]).expect(3);
        pair.alpha.run(&["mirror", "stop", "mail"]).expect(0);
        pair.beta.stop();
        fs::rename(&aside, &file).unwrap();
        pair.beta.start();
    }
    // A journal that the way back leads over.
    let journal = set.join("replica/2.back");
    fs::rename(&journal, set.join("aside")).unwrap();
    let refused = pair.beta.run(&["promote", "mail", "--point", "1"]).expect(3);
    assert!(refused.stderr.contains("2.back"), "{refused:?}");
    pair.assert_equal();
    let bytes = fs::read(set.join("aside")).unwrap();
    fs::write(&journal, &bytes[..bytes.len() - 3]).unwrap();
    let refused = pair.beta.run(&["promote", "mail", "--point", "1"]).expect(1);
    assert!(refused.stderr.contains("damaged"), "{refused:?}");
    pair.assert_equal();
    assert_eq!(pair.promote()["point"]["number"], json!(3));
}

#[test]
fn a_verification_ordered_while_a_mirror_is_being_paused_is_done() {
    let pair = Pair::new("");
    shell(&pair.source, "for i in {1..40}; do head -c 1000000 /dev/urandom > $i; done");
    pair.mirror(&[]);
    for _ in 0..10 {
        shell(&pair.source, "touch *");
        pair.alpha.run(&["mirror", "start", "mail"]).expect(0);
        pair.alpha.run(&["mirror", "pause", "mail"]);
        let verified = pair.alpha.run(&["verify", "mail"]);
        assert!([Some(0), Some(5)].contains(&verified.code), "{verified:?}");
        pair.alpha.run(&["mirror", "stop", "mail"]).expect(0);
    }
}

/// More extended attributes than an ext4 holds.
const TOO_MUCH: &str = r"value=$(head -c 3000 /dev/zero | tr '\0' v); for i in 1 2; do setfattr -n user.$i -v $value d; done";

#[test]
fn a_point_that_cannot_be_gone_to_is_told_and_left() {
    if !is_root("a point that cannot be gone to") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (source, small) = (dir.path().join("large"), dir.path().join("small"));
    let _large = Mount::tmpfs(&source, "32m");
    let Some(_small) = Mount::ext4(&small, &dir.path().join("image"), 32 << 20) else {
        return println!("no loop devices: not run");
    };
    let pair = Pair::at(dir, source, small.join("replica"), "");
    shell(&pair.source, "mkdir d; echo 1 > d/file; echo 1 > changed");
    pair.mirror(&[]);
    shell(&pair.source, &format!("{TOO_MUCH}; echo 22 > changed"));
    let failed = pair.try_mirror(&[]).expect(3);
    assert!(failed.stderr.contains("extended attribute"), "{failed:?}");
    let refused = pair.beta.run(&["promote", "mail"]).expect(1);
    assert!(refused.stderr.contains("--point 1"), "{refused:?}");
    // Mended at the source, it goes on.
    shell(&pair.source, "setfattr -x user.1 d; setfattr -x user.2 d");
    pair.alpha.run(&["mirror", "stop", "mail"]).expect(0);
    pair.mirror(&[]);
    let second = pair.dir.path().join("second");
    copy_tree(&pair.source, &second);
    assert_same(&second.join("d"), &pair.target.join("d"));
    shell(&pair.source, &format!("{TOO_MUCH}; echo 333 > changed"));
    pair.try_mirror(&[]).expect(3);
    wait_until("it stands still", PATIENCE, || Pair::status_of(&pair.beta)["state"] == "applying");
    // Or the standby takes over, at the point before.
    let points = pair.beta.json(&["points", "mail"]);
    let before = points["points"].as_array().unwrap().iter().rev().nth(1).unwrap()["number"].to_string();
    pair.beta.json(&["promote", "mail", "--point", &before]);
    assert_same(&second.join("d"), &pair.target.join("d"));
    assert_eq!(fs::read(pair.target.join("changed")).unwrap(), b"22\n");
}
