//! The state directory of a node is put back from an older copy, and its data is not: a system disk that was restored. The tree tells.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::support::{Node, PATIENCE, Pair, assert_same, shell, wait_for, wait_until};
use super::{assert_role, folder, followed, kept, point, read, status};

/// Beta with the state directory of the time when it was the standby, and the tree that it has been the source with since.
fn restored() -> Pair {
    let mut pair = followed("");
    shell(&pair.source, "echo of alpha >> d/1");
    point(&pair.alpha);
    pair.beta.stop();
    let (state, copy) = (pair.beta.state_dir(), pair.dir.path().join("copy"));
    shell(pair.dir.path(), &format!("cp -a {} {}", state.display(), copy.display()));
    pair.beta.start();
    wait_for("it is turned", PATIENCE, || {
        (pair.alpha.run(&["--json", "set", "turn", "mail", "--to", "beta"]).code == Some(0)).then_some(())
    });
    shell(&pair.target, "echo of beta > d/1; rm d/2; echo of beta > new");
    point(&pair.beta);
    shell(&pair.target, "echo nobody else has it > last");
    pair.beta.stop();
    fs::remove_dir_all(&state).unwrap();
    shell(pair.dir.path(), &format!("cp -a {} {}", copy.display(), state.display()));
    pair
}

fn tree(root: &Path) -> String {
    shell(root, "find . -printf '%P %i %s %C@ %m %u\\n' | sort; find . -type f -exec sha256sum {} + | sort")
}

fn is_refused(node: &Node) -> bool {
    let status = status(node);
    let why = status["trouble"].to_string();
    status["state"] == json!("bad") && why.contains("newer than what this node remembers") && why.contains("--as-source")
}

#[test]
fn a_tree_that_is_newer_than_the_state_directory_is_left_alone_and_goes_on() {
    let mut pair = restored();
    let before = tree(&pair.target);
    pair.beta.start();
    wait_until("it is said", PATIENCE, || is_refused(&pair.beta));
    // Not without a word of whose tree is right, and again not after another start.
    pair.beta.run(&["promote", "mail"]).expect(3);
    pair.beta.stop();
    pair.beta.start();
    wait_until("it is said again", PATIENCE, || is_refused(&pair.beta));
    assert_eq!(tree(&pair.target), before);
    let promoted = pair.beta.json(&["promote", "mail", "--as-source"]);
    assert_eq!(promoted["generation"], json!(3));
    wait_until("alpha goes by it", PATIENCE, || status(&pair.alpha)["generation"] == json!(3));
    point(&pair.beta);
    assert_eq!(read(&pair.source.join("last")), "nobody else has it\n");
    assert_eq!(read(&pair.source.join("d/1")), "of beta\n");
    assert_same(&pair.target, &pair.source);
    pair.beta.json(&["set", "turn", "mail", "--to", "alpha"]);
    assert_role(&pair.beta, "standby", 4);
    shell(&pair.source, "echo again > d/1");
    point(&pair.alpha);
    assert_same(&pair.source, &pair.target);
}

#[test]
fn what_such_a_tree_has_is_kept_aside_if_the_other_node_took_over() {
    let mut pair = restored();
    pair.alpha.json(&["promote", "mail", "--as-source"]);
    pair.beta.start();
    wait_until("beta goes by it", PATIENCE, || status(&pair.beta)["generation"] == json!(3));
    point(&pair.alpha);
    assert_same(&pair.source, &pair.target);
    let lines = kept(&pair.beta, 2);
    assert!(lines.iter().any(|line| line.contains("last")), "{lines:#?}");
    assert_eq!(read(&folder(&pair.beta, 2).join("last")), "nobody else has it\n");
    // A verification knows nothing of the mark.
    pair.alpha.run(&["verify", "mail"]).expect(0);
}
