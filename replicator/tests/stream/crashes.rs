//! Whatever the machine does and whenever: what was acknowledged as durable is in what is promoted, which is a state that the source had.

use std::collections::BTreeMap;

use standin_common::scope::Reason;
use standin_replicator::rules::Rules;
use standin_replicator::sim::{Fault, Lie, Random};
use standin_replicator::standby::replica::Replica;
use standin_replicator::standby::stream::{StreamError, recover};

use crate::for_seeds;
use crate::ground::{Ground, Sending, Told, assert_same, check_history, contents, promote_newest, told};

type Positions = BTreeMap<standin_common::id::PointNumber, u64>;

/// Goes on with the stream until something fails or all is sent; `acknowledged` is raised by what is.
fn go_on(
    ground: &Ground,
    told: &Told,
    random: &mut Random,
    acknowledged: &mut u64,
    positions: &mut Positions,
) -> Result<(), StreamError> {
    let rules = [Rules::everything()];
    let replica = Replica::open(vec![ground.volume.clone()], ground.store.clone(), 3)?;
    let mut sending = Sending::open(&replica, &rules, told)?;
    assert!(sending.at >= *acknowledged, "it goes on after {}, and {acknowledged} was acknowledged", sending.at);
    while sending.at < told.operations.len() as u64 {
        let count = 1 + random.below(12);
        sending.send(told, count)?;
        if random.one_in(3) {
            *acknowledged = sending.sync()?;
        }
        if random.one_in(4) {
            // If it is committed and fails after that, it counts all the same.
            positions.insert(replica.state().next_point(), sending.at);
            let folded = sending.session.fold(Reason::Interval)?;
            *acknowledged = folded.position;
            let what = format!("folded up to {}", folded.position);
            assert_same(&what, &contents(&ground.volume), &told.states[folded.position as usize]);
        }
    }
    sending.session.end();
    *acknowledged = sending.session.fold(Reason::Quiet)?.position;
    Ok(())
}

/// What a promotion would be now: all that was acknowledged, and nothing half.
fn check(ground: &Ground, told: &Told, random: &mut Random, acknowledged: u64) {
    let mut clone = ground.copy(random.number());
    let rules = [Rules::everything()];
    // The machine crashes while that is done, too.
    for _ in 0..random.below(3) {
        clone.disk.plan(Some((1 + random.below(120), Fault::Crash)));
        let opened = Replica::open(vec![clone.volume.clone()], clone.store.clone(), 3);
        let done = opened.map_err(StreamError::from).and_then(|replica| recover(&replica, &rules));
        assert!(done.is_ok() || clone.disk.crashed(), "{done:?}");
        clone.crash();
    }
    let folded = promote_newest(&clone, &rules);
    let position = folded.as_ref().map_or(0, |folded| folded.position);
    assert!(position >= acknowledged, "{acknowledged} was acknowledged, {position} is there");
    assert_same(&format!("promoted at {position}"), &contents(&clone.volume), &told.states[position as usize]);
}

fn run(seed: u64, lie: Option<Lie>) {
    let mut random = Random::new(seed ^ 0xc4a5);
    let (before, steps) = (random.below(30), 20 + random.below(100));
    let (model, told) = told(seed, before, steps);
    let mut ground = Ground::of(&model, seed);
    ground.disk.tell(lie);
    let (mut acknowledged, mut positions) = (0, BTreeMap::new());
    for attempt in 0.. {
        let fault = [Fault::Crash, Fault::Crash, Fault::Error, Fault::Full][random.below(4) as usize];
        let at = 1 + random.below(250);
        ground.disk.plan((attempt < 6).then_some((at, fault)));
        let result = go_on(&ground, &told, &mut random, &mut acknowledged, &mut positions);
        let (failed, crashed) = (ground.disk.failed(), ground.disk.crashed());
        ground.disk.plan(None);
        if crashed {
            ground.crash();
        }
        check(&ground, &told, &mut random, acknowledged);
        check_points(&ground, &told, &mut random, &mut positions);
        match result {
            Ok(()) => break,
            Err(error) => assert!(failed, "{error}"),
        }
    }
    assert_eq!(acknowledged, told.operations.len() as u64);
}

/// Points that were never made count for nothing.
fn check_points(ground: &Ground, told: &Told, random: &mut Random, positions: &mut Positions) {
    let newest = ground.open().state().newest();
    positions.retain(|point, _| Some(*point) <= newest);
    // What a fold after a crash made has another position than the one that the crash cut off.
    if let Some(newest) = newest {
        positions.remove(&newest);
    }
    check_history(ground, positions, told, random);
}

#[test]
fn acknowledged_is_kept_and_nothing_is_half() {
    for_seeds(150, |seed| run(seed, None));
}

/// On a disk that says that it synced the log, and did not, something must go wrong, or nothing here could.
#[test]
fn a_disk_that_lies_is_found_out() {
    let found = |seed| std::panic::catch_unwind(|| run(seed, Some(Lie::LogSync))).is_err();
    assert!((0..50).any(found));
}

/// One fold, with the machine crashing one operation later each time.
fn crash_everywhere(seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let (model, told) = told(seed, 40, 60);
    let ground = Ground::of(&model, seed);
    let rules = [Rules::everything()];
    for operation in 1.. {
        let mut copy = ground.copy(seed ^ operation);
        let replica = copy.open();
        let mut sending = Sending::open(&replica, &rules, &told).unwrap();
        sending.send(&told, u64::MAX / 2).unwrap();
        let all = sending.sync().unwrap();
        copy.disk.plan(Some((operation, Fault::Crash)));
        let folded = sending.session.fold(Reason::Interval);
        if !copy.disk.crashed() {
            copy.disk.plan(None);
            assert_eq!(folded.unwrap().position, all);
            assert_same("at the end", &contents(&copy.volume), &told.states[all as usize]);
            return operation;
        }
        drop(sending);
        drop(replica);
        copy.crash();
        check(&copy, &told, &mut random, all);
    }
    0
}

#[test]
fn a_fold_may_end_anywhere() {
    let operations: u64 = (0..6).map(crash_everywhere).sum();
    assert!(operations > 600, "only {operations}");
}
