//! The scrub finds what a disk lost, and nothing else, whatever goes on meanwhile.

use standin_common::message::Position;
use standin_replicator::standby::scrub::{self, Checked, Finding, Pace};

use super::*;

/// Does something after so many pieces, and never waits.
struct After<'a>(u32, &'a mut dyn FnMut() -> bool);

impl Pace for After<'_> {
    fn went(&mut self, _bytes: u64) -> bool {
        self.0 = self.0.wrapping_sub(1);
        self.0 != 0 || (self.1)()
    }

    fn wait(&mut self) -> bool {
        true
    }
}

/// Scrubs a replica, with something that happens after so many pieces.
fn scrub_with(replica: &SimReplica, after: u32, meanwhile: &mut dyn FnMut() -> bool) -> Vec<Checked> {
    let pace = &mut After(after, meanwhile);
    scrub::files(replica).unwrap().iter().map(|listed| scrub::check(replica, listed, pace)).collect()
}

fn scrub(replica: &SimReplica) -> Vec<Checked> {
    scrub_with(replica, 0, &mut || true)
}

fn large() -> Position {
    Position { root: RootIndex(0), path: path("large") }
}

/// With a file of three pieces and a bit.
fn long(seed: u64) -> (World, SimReplica) {
    let mut world = World::new(seed);
    world.write("large", 0, &Random::new(seed).bytes(50 * GROUP_LEN + 17));
    let replica = world.open().unwrap();
    world.mirror(&replica, Comparison::Difference).unwrap();
    (world, replica)
}

#[test]
fn what_a_disk_lost_is_found_and_where() {
    let (mut world, replica) = long(1);
    assert_eq!(scrub(&replica), [Checked::Right]);
    for group in [3, 20, 50] {
        world.volume.damage(&path("large"), group * GROUP_LEN + 9);
    }
    let first_byte = 3 * GROUP;
    let found = Finding { at: large(), size: 50 * GROUP + 17, first_byte, groups: 3, unreadable: None };
    assert_eq!(scrub(&replica), [Checked::Wrong(found)]);
    assert_eq!(scrub(&replica), [], "its values are gone");
    assert!(!scrub::is_mended(&replica, &large(), 50 * GROUP + 17).unwrap());
    // A change of something else in the file brings all of it.
    world.write("large", 40 * GROUP, b"changed");
    assert!(world.mirror(&replica, Comparison::Difference).unwrap() > 50 * GROUP);
    world.assert_same("mended by the way");
    assert!(scrub::is_mended(&replica, &large(), 50 * GROUP + 17).unwrap());
    assert_eq!(scrub(&replica), [Checked::Right]);
}

#[test]
fn it_is_mended_when_all_of_it_was_compared_and_not_before() {
    let (mut world, replica) = long(2);
    world.volume.damage(&path("large"), 5);
    assert!(matches!(scrub(&replica)[..], [Checked::Wrong(_)]));
    // Another stamp alone says nothing.
    let attrs = world.source.contents()[1].2.clone();
    world.volume.set_attrs(&Place::Tree(&path("large")), &attrs).unwrap();
    world.mirror(&replica, Comparison::Difference).unwrap();
    assert!(!scrub::is_mended(&replica, &large(), 50 * GROUP + 17).unwrap());
    assert_eq!(world.verify(&replica), BTreeSet::from(["large".to_owned()]));
    world.mirror(&replica, Comparison::Checksum).unwrap();
    assert!(scrub::is_mended(&replica, &large(), 50 * GROUP + 17).unwrap());
    assert_eq!(scrub(&replica), [Checked::Right]);
}

#[test]
fn what_was_written_to_is_left_to_whoever_wrote() {
    let (mut world, replica) = long(3);
    let stranger = world.volume.open(&Place::Tree(&path("large")), true).unwrap();
    stranger.write_at(b"not the source's", 3 * GROUP).unwrap();
    assert_eq!(scrub(&replica), [Checked::Changed]);
    assert_eq!(world.lists().len(), 1, "a comparison sees to it");
    // And in the middle of a scrub, before and behind what was read.
    for at in [0, 49 * GROUP] {
        world.mirror(&replica, Comparison::Checksum).unwrap();
        let ended = scrub_with(&replica, 2, &mut || stranger.write_at(b"again", at).is_ok());
        assert_eq!(ended, [Checked::Changed], "at {at}");
    }
}

#[test]
fn rounds_go_on_meanwhile() {
    let (mut world, replica) = long(4);
    world.write("other", 0, &Random::new(5).bytes(3 * GROUP_LEN));
    world.mirror(&replica, Comparison::Difference).unwrap();
    world.volume.damage(&path("large"), 45 * GROUP_LEN);
    let files = scrub::files(&replica).unwrap();
    let listed = files.iter().find(|listed| listed.at == large()).unwrap();
    // A point of which the file is no part, while it is read: what is kept of it holds all the same.
    let mut meanwhile = || {
        world.write("other", 7, b"changed");
        world.mirror(&replica, Comparison::Difference).is_ok()
    };
    let Checked::Wrong(found) = scrub::check(&replica, listed, &mut After(2, &mut meanwhile)) else { panic!("not found") };
    assert_eq!((found.first_byte, found.groups), (45 * GROUP, 1));
    // And one that writes to the file: nothing is said of it.
    let (mut world, replica) = long(6);
    let listed = scrub::files(&replica).unwrap().pop().unwrap();
    let mut meanwhile = || {
        world.write("large", 45 * GROUP, b"changed");
        world.mirror(&replica, Comparison::Difference).is_ok()
    };
    assert_eq!(scrub::check(&replica, &listed, &mut After(2, &mut meanwhile)), Checked::Changed);
    world.assert_same("round");
    assert_eq!(scrub(&replica), [Checked::Right]);
}

#[test]
fn a_comparison_under_way_does_not_believe_what_the_scrub_refuted() {
    let (mut world, replica) = long(7);
    world.volume.damage(&path("large"), 30 * GROUP_LEN);
    world.write("large", 0, b"changed");
    world.mirror += 1;
    let reception = Reception::begin(&replica, opening(MirrorId(2), Comparison::Difference, None), u64::MAX).unwrap();
    let mut join = Join::new(&reception, How { comparison: Comparison::Difference, owners: true }, &world.rules);
    let entries = Entries::new(&world.source, None, &world.rules[0], now);
    let entries = entries.filter_map(|met| if let Met::Entry(entry) = met { Some(entry) } else { None }).collect();
    let mut wants = Vec::new();
    take(join.entries(RootIndex(0), entries).unwrap(), &mut wants);
    take(join.end().unwrap(), &mut wants);
    let sources = [world.source.clone()];
    let (mut from, mut to) = (Lane::new(&sources, Packing { level: None }), standby::Lane::new(&reception));
    let mut again = 0;
    drive(&mut from, wants, |message, payload| {
        // All groups were compared, with what is kept, when the scrub comes to them.
        if matches!(message, LaneDown::End { .. }) && again == 0 {
            assert!(matches!(scrub(&replica)[..], [Checked::Wrong(_)]));
        }
        let answer = to.take(message, payload)?;
        again += usize::from(matches!(answer, Some(LaneUp::Again { .. })));
        Ok(answer)
    })
    .unwrap();
    assert_eq!(again, 1);
    reception.commit(Time::default(), true, 0, 0, Reason::Mirror).unwrap();
    replica.settle().unwrap();
    world.assert_same("the damage is mended, too");
    assert_eq!(scrub(&replica), [Checked::Right]);
}

#[test]
fn a_damaged_list_is_no_finding() {
    let (world, replica) = long(8);
    replica.rest();
    drop(replica);
    world.change_lists(|bytes| bytes[5 * 32] ^= 1);
    let replica = world.open().unwrap();
    assert_eq!(scrub(&replica), [Checked::Changed]);
    assert_eq!(world.lists().len(), 0);
}

#[test]
fn the_seal_stays_unless_something_is_found() {
    let (world, replica) = long(9);
    let sealed = || world.store.shelf("values").is_sealed().unwrap();
    replica.rest();
    drop(replica);
    let replica = world.open().unwrap();
    assert_eq!(scrub(&replica), [Checked::Right]);
    assert!(sealed());
    world.volume.damage(&path("large"), 0);
    assert!(matches!(scrub(&replica)[..], [Checked::Wrong(_)]));
    assert!(!sealed());
}

#[test]
fn after_an_end_that_was_not_orderly_nothing_is_judged() {
    let (mut world, replica) = long(10);
    drop(replica);
    world.crash();
    world.volume.damage(&path("large"), 0);
    assert_eq!(scrub(&world.open().unwrap()), []);
}

#[test]
fn what_cannot_be_read_is_found() {
    for operation in 0.. {
        let (world, replica) = long(11);
        let files = scrub::files(&replica).unwrap();
        world.disk.plan(Some((operation, Fault::Crash)));
        let checked = scrub::check(&replica, &files[0], &mut After(0, &mut || true));
        let failed = world.disk.failed();
        world.disk.plan(None);
        match checked {
            Checked::Wrong(found) => assert!(failed && found.unreadable.is_some() && found.groups == 0, "{operation}: {found:?}"),
            // The shelf is no part of the replica.
            checked => assert!(checked == Checked::Changed || !failed && checked == Checked::Right, "{operation}: {checked:?}"),
        }
        if !failed {
            return assert!(operation > 50, "all of it was read");
        }
    }
}

#[test]
fn what_is_read_at_the_second_try_is_right() {
    let (world, replica) = long(13);
    let listed = scrub::files(&replica).unwrap().pop().unwrap();
    for operation in 10..50 {
        world.disk.plan(Some((operation, Fault::Error)));
        let checked = scrub::check(&replica, &listed, &mut After(0, &mut || true));
        // If the list cannot be read, there is nothing to compare with.
        assert!(matches!(checked, Checked::Right | Checked::Changed), "{operation}: {checked:?}");
        assert!(world.disk.failed());
    }
    world.disk.plan(None);
}

#[test]
fn a_promoted_replica_is_not_scrubbed() {
    let (world, replica) = long(12);
    let listed = scrub::files(&replica).unwrap().pop().unwrap();
    world.volume.damage(&path("large"), 45 * GROUP_LEN);
    let ended = scrub::check(&replica, &listed, &mut After(1, &mut || replica.promote(None).is_ok()));
    assert_eq!(ended, Checked::Ended);
    assert_eq!(scrub(&replica), []);
}
