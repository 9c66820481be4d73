//! Two nodes that get to know each other.

use std::process::Stdio;

use crate::support::{Done, Node, PATIENCE, pair, wait_until};

fn peers(node: &Node) -> Vec<String> {
    let list = node.json(&["pair", "--list"]);
    list.as_array().unwrap().iter().map(|peer| peer["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn two_nodes_get_to_know_each_other_and_forget() {
    let base = tempfile::tempdir().unwrap();
    let (alpha, beta) = (Node::init(base.path(), "alpha"), Node::init(base.path(), "beta"));
    pair(&alpha, &beta);
    for (here, there) in [(&alpha, &beta), (&beta, &alpha)] {
        let list = here.run(&["pair", "--list"]).expect(0);
        assert!(list.stdout.contains(&there.name) && list.stdout.contains(&there.fingerprint()), "{list:#?}");
    }
    assert_eq!(alpha.json(&["pair", "--remove", "beta"])["removed"], true);
    assert_eq!(alpha.json(&["pair", "--remove", "beta"])["removed"], false);
    assert_eq!((peers(&alpha), peers(&beta)), (vec![], vec!["alpha".to_owned()]));
}

/// Dials until the other side listens; how both ended.
fn try_pairing(alpha: &Node, alpha_expects: &str, beta: &Node, beta_expects: &str) -> (Done, Done) {
    let mut accept = beta.command(&["--json", "pair", "--accept", "--fingerprint", beta_expects, "--timeout", "60"]);
    accept.stdout(Stdio::piped()).stderr(Stdio::piped());
    let accept = std::thread::spawn(move || Done::of(accept));
    let mut dialled = None;
    wait_until("the other node is reached", PATIENCE, || {
        let done = alpha.run(&["--json", "pair", &beta.listen.to_string(), "--fingerprint", alpha_expects]);
        assert!(done.code != Some(4) || !accept.is_finished(), "{done:#?}");
        dialled = Some(done).filter(|done| done.code != Some(4));
        dialled.is_some()
    });
    (dialled.unwrap(), accept.join().unwrap())
}

#[test]
fn a_wrong_fingerprint_on_either_side_is_refused_and_nothing_is_stored() {
    let base = tempfile::tempdir().unwrap();
    let (alpha, beta) = (Node::init(base.path(), "alpha"), Node::init(base.path(), "beta"));
    let (wrong, of_alpha, of_beta) = ("ab".repeat(32), alpha.fingerprint(), beta.fingerprint());
    for (alpha_expects, beta_expects) in [(&wrong, &of_alpha), (&of_beta, &wrong)] {
        let (dialled, accepted) = try_pairing(&alpha, alpha_expects, &beta, beta_expects);
        for done in [dialled.expect(3), accepted.expect(3)] {
            assert!(done.stderr.contains("nothing is stored"), "{done:#?}");
        }
        assert!(peers(&alpha).is_empty() && peers(&beta).is_empty());
    }
    let (dialled, accepted) = try_pairing(&alpha, &of_beta, &beta, &of_alpha);
    assert_eq!(dialled.expect(0).json()["node"], "beta");
    assert_eq!(accepted.expect(0).json()["fingerprint"], of_alpha.as_str());
    // The name is taken by another key.
    let gamma = Node::init(&base.path().join("other"), "alpha");
    let (dialled, accepted) = try_pairing(&gamma, &of_beta, &beta, &gamma.fingerprint());
    dialled.expect(3);
    assert!(accepted.expect(3).stderr.contains("already paired"));
}

#[test]
fn pairing_without_terminal_or_fingerprint_is_refused_and_waiting_ends() {
    let base = tempfile::tempdir().unwrap();
    let node = Node::init(base.path(), "alpha");
    for arguments in [["pair", "127.0.0.1:9"].as_slice(), &["pair", "--accept"]] {
        let done = node.run(arguments).expect(2);
        assert!(done.stderr.contains("--fingerprint"), "{done:#?}");
    }
    let done = node.run(&["pair", "--accept", "--fingerprint", &"ab".repeat(32), "--timeout", "0"]).expect(4);
    assert!(done.stderr.contains("no node came"), "{done:#?}");
    let settings = std::fs::read_to_string(node.config()).unwrap();
    std::fs::write(node.config(), settings.replace(&format!("[\"{}\"]", node.listen), "[]")).unwrap();
    let done = node.run(&["pair", "--accept", "--fingerprint", &"ab".repeat(32)]).expect(2);
    assert!(done.stderr.contains("names no address"), "{done:#?}");
}

#[test]
fn a_daemon_that_runs_accepts_pairing() {
    let base = tempfile::tempdir().unwrap();
    let (alpha, mut beta) = (Node::init(base.path(), "alpha"), Node::init(base.path(), "beta"));
    beta.start();
    let (wrong, of_alpha, of_beta) = ("ab".repeat(32), alpha.fingerprint(), beta.fingerprint());
    let (dialled, accepted) = try_pairing(&alpha, &of_beta, &beta, &wrong);
    dialled.expect(3);
    accepted.expect(3);
    assert!(peers(&alpha).is_empty() && peers(&beta).is_empty());
    let (dialled, accepted) = try_pairing(&alpha, &of_beta, &beta, &of_alpha);
    dialled.expect(0);
    assert_eq!(accepted.expect(0).json()["node"], "alpha");
    assert_eq!((peers(&alpha), peers(&beta)), (vec!["beta".to_owned()], vec!["alpha".to_owned()]));
}
