//! A group with a witness: etcd, paused and back.

use super::Scene;
use super::support::etcd::Etcd;
use super::support::{PATIENCE, wait_until};

#[test]
fn the_witness_names_who_has_the_group_and_a_failover_needs_it() {
    let mut started = None;
    let mut scene = Scene::with(|machines, dir| started.insert(Etcd::start(machines, dir)).settings(""));
    let etcd = started.unwrap();
    let (first, generation) = etcd.names();
    assert_eq!(first, "alpha", "`online` wrote it");
    for node in [&scene.alpha, &scene.beta] {
        let checked = node.run(&["group", "check", "mail"]);
        assert!(
            checked.stdout.contains("it names alpha since generation") && checked.stdout.contains("may write"),
            "{checked:?}"
        );
    }
    scene.cut_over("alpha", &["handoff", "mail", "--to", "beta"]);
    let (holder, handed) = etcd.names();
    assert!(holder == "beta" && handed > generation, "{holder} at {handed} after {generation}");
    // All nodes take part: it goes on without the witness, and says so.
    etcd.signal("-STOP");
    let report = scene.cut_over("alpha", &["handoff", "mail", "--to", "alpha"]);
    assert!(report["by_hand"].to_string().contains("went on without it"), "{report:#}");
    let checked = scene.alpha.run(&["group", "check", "mail"]);
    assert!(checked.code != Some(0) && checked.stdout.contains("no answer within"), "{checked:?}");
    etcd.signal("-CONT");
    scene.cut_over("alpha", &["online", "mail"]);
    let (holder, again) = etcd.names();
    assert!(holder == "alpha" && again > handed, "{holder} at {again} after {handed}");
    scene.wait_for_mail();
    // One does not answer: only the witness knows.
    scene.machines.power_off("alpha");
    scene.alpha.kill();
    etcd.signal("-STOP");
    let refused = scene.beta.run(&["failover", "mail", "--accept-loss", "any"]).expect(3);
    assert!(refused.stderr.contains("--without-witness") && !scene.machines.has_floating("beta"), "{refused:?}");
    etcd.signal("-CONT");
    scene.cut_over("beta", &["failover", "mail", "--accept-loss", "any"]);
    let (holder, taken) = etcd.names();
    assert!(holder == "beta" && taken > again, "{holder} at {taken} after {again}");
    scene.wait_for_mail();
    // And a person may say so without it.
    scene.machines.plug("alpha", true);
    scene.alpha.start();
    wait_until("alpha knows that beta has the group", PATIENCE, || scene.online(&scene.alpha) == "beta");
    scene.beta.run(&["wait", "mail", "--synced", "--timeout", "60"]).expect(0);
    scene.machines.power_off("beta");
    scene.beta.kill();
    etcd.signal("-STOP");
    let report = scene.cut_over("alpha", &["failover", "mail", "--accept-loss", "any", "--without-witness"]);
    assert!(report["by_hand"].to_string().contains("went on without it"), "{report:#}");
    etcd.signal("-CONT");
    scene.wait_for_mail();
    scene.assert_one("alpha", "beta");
}
