//! What would go wrong is found before anything is stopped.

use crate::Scene;
use crate::support::{PATIENCE, wait_until};

/// Writes other settings for a node, and starts it anew, until the set is in order again.
fn rewrite(scene: &mut Scene, node: &str, from: &str, to: &str) {
    let node = scene.node(node);
    node.stop();
    let text = std::fs::read_to_string(node.config()).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(node.config(), text.replace(from, to)).unwrap();
    node.start();
    wait_until("the set is in order", PATIENCE, || {
        let shown = scene.alpha.json(&["group", "show", "mail"]);
        shown[0]["facts"]["nodes"]["alpha"]["there"]["sets"]["mail"]["known"]["trouble"] == ""
    });
}

#[test]
fn what_would_fail_is_said_and_nothing_is_stopped() {
    let mut scene = Scene::new();
    let refused = scene.beta.run(&["promote", "mail"]).expect(3);
    assert!(refused.stderr.contains("standin failover mail"), "{refused:?}");
    for (from, to, why, checked) in [
        ("\"eth0\"", "\"eth7\"", "the start of address on beta would fail", "no such interface"),
        (
            "name = \"script\"",
            "name = \"other\"",
            "resource script: none here, script that needs server there",
            "FAIL  beta settings: they differ",
        ),
    ] {
        rewrite(&mut scene, "beta", from, to);
        let check = scene.alpha.run(&["group", "check", "mail"]).expect(1);
        assert!(check.stdout.contains(checked), "{check:?}");
        for more in [&["--dry-run"][..], &[]] {
            let refused = scene.alpha.run(&[&["handoff", "mail", "--to", "beta"], more].concat()).expect(3);
            assert!(refused.stderr.contains(why) && refused.stderr.contains("Nothing was stopped"), "{refused:?}");
        }
        scene.wait_for_mail();
        scene.assert_one("alpha", "beta");
        rewrite(&mut scene, "beta", to, from);
    }
    scene.alpha.run(&["group", "check", "mail"]).expect(0);
    // A pause that ended does not outlive a restart.
    scene.alpha.run(&["group", "pause", "mail"]).expect(0);
    scene.alpha.run(&["group", "resume", "mail"]).expect(0);
    rewrite(&mut scene, "beta", "\"eth0\"", "\"eth0\"");
    scene.cut_over("alpha", &["handoff", "mail", "--to", "beta"]);
    scene.assert_one("beta", "alpha");
}
