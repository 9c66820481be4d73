//! What would go wrong is found before anything is stopped.

use std::net::SocketAddr;

use crate::Scene;
use crate::support::group::Group;
use crate::support::machines::{FLOATING, Machines};
use crate::support::{Done, Node, PATIENCE, can_run, free_udp_port, wait_until};

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
fn an_address_that_a_node_has_by_itself_is_found_before_anything_moves() {
    if !can_run(&["ip", "nsenter"]) {
        return;
    }
    let (dir, machines) = (tempfile::tempdir().unwrap(), Machines::new());
    let listen = SocketAddr::new(machines.address("alpha").parse().unwrap(), free_udp_port());
    let prefix = machines.prefix("alpha");
    let alpha = Node::init_at(dir.path(), "alpha", listen, &prefix.iter().map(String::as_str).collect::<Vec<_>>());
    alpha.add_settings(&format!("[peers.beta]\naddresses = [\"{}:{}\"]", machines.address("beta"), listen.port()));
    alpha.add_settings(&Group::new("").address().text());
    alpha.run(&["check"]).expect(0);
    let ip = |words: &[&str]| drop(Done::of(machines.command("alpha", &[&["ip"], words].concat())).expect(0));
    let address = |prefix: u8| format!("{FLOATING}/{prefix}");
    ip(&["addr", "add", &address(24), "dev", "eth0"]);
    let said = alpha.run(&["check"]).expect(2).stdout;
    let line =
        std::fs::read_to_string(alpha.config()).unwrap().lines().position(|line| line.starts_with("interface =")).unwrap() + 1;
    let place = format!("{}:{line}: groups.mail.resources[0].interface: ", alpha.config().display());
    assert_eq!(
        said.trim_end(),
        format!(
            "{place}this machine has {FLOATING} by itself, although the group is not online here; write an address that no node has by itself, or take it \
             out of this machine's network settings"
        )
    );
    ip(&["addr", "del", &address(24), "dev", "eth0"]);
    ip(&["addr", "add", &address(32), "dev", "lo"]);
    let said = alpha.run(&["check"]).expect(2).stdout;
    assert_eq!(
        said.trim_end(),
        format!(
            "{place}address {FLOATING}/24 on eth0: it is on this node already, on interface 1 with /32; take it away there: only the group may set it"
        )
    );
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
