//! A standby that becomes the source: what is left of its time as standby goes, past the layer that is over its root by then.

use crate::roots::Roots;
use crate::support::{PATIENCE, shell, wait_until};

/// So much that clearing it away takes a while.
const PARKED: usize = 20_000;

#[test]
fn what_is_left_of_the_replica_is_cleared_away_past_the_layer_also_by_a_daemon_that_is_killed_meanwhile() {
    let mut ground = Roots::new(1, "");
    shell(&ground.source(0), "echo 1 > a");
    ground.mirror();
    let side = ground.beta.state_dir().join("sets/mail/side/0");
    shell(&side, &format!("seq -f 1-%.0f 1000001 {} | xargs touch", 1_000_000 + PARKED));
    let parked = || std::fs::read_dir(&side).map_or(0, Iterator::count);
    ground.alpha.run(&["set", "turn", "mail", "--to", "beta", "--timeout", "60s"]).expect(0);
    // A daemon that waits for its own layer could not be killed.
    ground.beta.kill();
    println!("{} of {PARKED} were left", parked());
    ground.beta.start();
    wait_until("nothing of the replica's history is left", PATIENCE, || parked() == 0);
    shell(&ground.target(0), "echo 2 > a");
    wait_until("beta has a point", PATIENCE, || ground.beta.run(&["point", "mail", "--wait"]).code == Some(0));
    ground.assert_equal();
    assert!(!ground.target(0).join(".standin").exists());
}
