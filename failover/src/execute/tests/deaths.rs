//! The process dies, or an answer is lost, at every write: resuming comes to the same end, undoing to the same beginning.

use super::*;
use crate::execute::sim::Fault;

const LOSSES: [Fault; 4] = [Fault::KillBefore, Fault::KillAfter, Fault::LostBefore, Fault::LostAfter];

#[test]
fn after_a_death_at_any_write_a_run_is_resumed_or_undone() {
    let [before, after] = ends();
    for at_once in [1, 4] {
        for (number, fault) in (0..STEPS).flat_map(|number| LOSSES.map(|fault| (number, fault))) {
            for (work, end) in [(run as Work, &after), (undo as Work, &before)] {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("journal");
                let sim = tree();
                sim.plan_faults([(number, fault.clone())]);
                let first = go(run, &sim, &path, &manner(at_once));
                let dies = matches!(fault, Fault::KillBefore | Fault::KillAfter);
                assert_eq!(first.is_none(), dies, "{number} {fault:?}");
                sim.revive();
                let then = go(work, &sim, &path, &manner(at_once)).unwrap();
                assert!(then.is_complete(), "{number} {fault:?}: {then:?}");
                assert_eq!(sorted(sim.dump(0)), sorted(end.clone()), "{number} {fault:?}, {at_once} at once");
            }
        }
    }
}

#[test]
fn after_a_death_at_any_write_of_an_undo_it_is_gone_on_with() {
    let [before, _] = ends();
    for (number, fault) in (0..STEPS).flat_map(|number| LOSSES.map(|fault| (number, fault))) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let sim = tree();
        go(run, &sim, &path, &manner(1)).unwrap();
        sim.plan_faults([(number, fault.clone())]);
        go(undo, &sim, &path, &manner(2));
        sim.revive();
        let then = go(undo, &sim, &path, &manner(2)).unwrap();
        assert!(then.is_complete(), "{number} {fault:?}: {then:?}");
        assert_eq!(sorted(sim.dump(0)), sorted(before.clone()), "{number} {fault:?}");
    }
}

#[test]
fn what_was_so_before_the_run_stays_so_after_its_undo() {
    // One user was moved by somebody else between plan and run; then the run dies right there.
    for fault in [None, Some(Fault::KillBefore), Some(Fault::LostBefore)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let sim = tree();
        sim.modify(&plan().changes[5].modify()).unwrap();
        let begun = sim.dump(0);
        sim.plan_faults(fault.clone().map(|fault| (4, fault)));
        go(run, &sim, &path, &manner(1));
        sim.revive();
        let report = go(run, &sim, &path, &manner(1)).unwrap();
        assert!(report.is_complete(), "{report:?}");
        let back = go(undo, &sim, &path, &manner(1)).unwrap();
        assert!(back.is_complete(), "{back:?}");
        if fault.is_none() {
            assert_eq!(sorted(sim.dump(0)), sorted(begun));
        }
    }
}
