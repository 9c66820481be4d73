//! Random programs through the layer, from several threads.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ground::Ground;
use crate::program::Program;

const THREADS: u64 = 4;
const ROUNDS: u64 = 50;
const STEPS: u64 = 120;

pub(crate) fn seed() -> u64 {
    let given = std::env::var("STANDIN_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
    println!("STANDIN_SEED={seed}");
    seed
}

#[test]
fn the_copy_is_the_source_at_every_mark() {
    let seed = seed();
    // Some of it is there before the history begins.
    let mut ground = Ground::new(|source| Program::new(source, seed).run(300));
    let mut programs: Vec<_> = (0..THREADS).map(|number| Program::new(&ground.source(), seed + 1 + number)).collect();
    for round in 0..ROUNDS {
        std::thread::scope(|scope| {
            for program in &mut programs {
                scope.spawn(|| program.run(STEPS));
            }
        });
        println!("round {round}");
        ground.assert_same();
    }
    drop(programs);
    let operations = ground.follow();
    println!("{operations} operations");
    assert!(operations > THREADS * ROUNDS * STEPS / 10, "only {operations}: the programs do nothing");
    ground.unmount();
    assert!(fs::read_dir(ground.source()).unwrap().count() > 0);
    ground.assert_same();
}
