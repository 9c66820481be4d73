//! What is folded is what the same operations come to one by one.

use std::collections::BTreeMap;

use standin_common::scope::Reason;
use standin_replicator::rules::Rules;
use standin_replicator::sim::Random;

use crate::for_seeds;
use crate::ground::{Ground, Sending, assert_same, check_history, contents, promote_newest, told};

/// Sends a program in pieces, folds now and then, and looks at the replica and its history each time.
fn run(seed: u64) {
    let mut random = Random::new(seed ^ 0xf01d);
    let (before, steps) = (random.below(40), 1 + random.below(150));
    let (model, told) = told(seed, before, steps);
    let ground = Ground::of(&model, seed);
    let rules = [Rules::everything()];
    let mut positions = BTreeMap::new();
    let replica = ground.open();
    let mut sending = Sending::open(&replica, &rules, &told).unwrap();
    while sending.at < told.operations.len() as u64 {
        let most = if random.one_in(3) { 60 } else { 6 };
        let count = 1 + random.below(most);
        sending.send(&told, count).unwrap();
        if random.one_in(4) {
            println!("folded");
            let folded = sending.session.fold(Reason::Interval).unwrap();
            assert_eq!((folded.position, &folded.over), (sending.at, &None));
            assert_same(&format!("operation {}", sending.at), &contents(&ground.volume), &told.states[sending.at as usize]);
            let newest = replica.state().newest().unwrap();
            positions.insert(newest, sending.at);
        }
        if random.one_in(8) {
            sending.sync().unwrap();
            let at = sending.at;
            let clone = ground.copy(seed);
            promote_newest(&clone, &rules);
            assert_same(&format!("promoted at operation {at}"), &contents(&clone.volume), &told.states[at as usize]);
            check_history(&ground, &positions, &told, &mut random);
        }
    }
}

#[test]
fn a_fold_is_all_its_operations_one_by_one() {
    for_seeds(300, run);
}
