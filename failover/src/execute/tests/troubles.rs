//! Busy servers, lost ones, administrators, missing rights: what is reported, and that nothing is overwritten.

use std::time::Duration;

use super::*;
use crate::directory::{Change, Modify, Rename};
use crate::execute::journal::Trouble;
use crate::execute::sim::Fault;
use crate::execute::{Clock, Controllers, compare, failed, residents, verify};

/// Somebody gives a user another store.
fn administrator(user: usize, attribute: &str, old: &str, new: &str) -> Modify {
    let change = Change { attribute: attribute.into(), delete: vec![old.into()], add: vec![new.into()] };
    Modify { dn: dn(USERS[user]), changes: vec![change] }
}

#[test]
fn an_administrators_change_is_reported_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let sim = tree();
    // While the first user is written, the third one's MTA is changed; and after the run the fourth one's store.
    sim.plan_faults([(1, Fault::Meanwhile(administrator(2, "homeMTA", "CN=MTA S", "CN=MTA X")))]);
    let report = go(run, &sim, &path, &manner(1)).unwrap();
    assert_eq!(report.written, STEPS - 1);
    assert_eq!(
        report.failed.iter().map(|failure| (failure.step, failure.trouble)).collect::<Vec<_>>(),
        [(mailbox(2), Trouble::Changed)]
    );
    assert!(report.failed[0].why.contains("CN=MTA X"), "{}", report.failed[0].why);
    assert_eq!(sim.dump(0)[dn(USERS[2]).key()].text("homeMTA"), Some("CN=MTA X"));
    let text = failed::text(&plan(), &report);
    let line = text.lines().find(|line| !line.starts_with('#')).unwrap();
    assert!(line.starts_with(&format!("failed\tsim.test\t{}\t", dn(USERS[2]))), "{text}");

    let new_home = dn("CN=Z");
    sim.modify(&administrator(3, "homeMDB", dn("CN=T").as_str(), new_home.as_str())).unwrap();
    let journal = Journal::open(&path).unwrap();
    let shown = compare(&journal, &sim).unwrap();
    let of = |user: usize| shown.differing.iter().filter(|one| one.object == dn(USERS[user])).count();
    assert_eq!((of(2), of(3), shown.as_written, shown.differing.len()), (3, 3, STEPS - 2 - 2, 6));
    let fourth = shown.differing.iter().find(|one| one.object == dn(USERS[3]) && one.attribute == *"homeMDB").unwrap();
    assert_eq!((fourth.before[0].as_text(), fourth.now[0].as_text()), (Some(dn("CN=S").as_str()), Some(new_home.as_str())));
    assert_eq!(fourth.written.as_ref().unwrap()[0].as_text(), Some(dn("CN=T").as_str()));
    drop(journal);

    let back = go(undo, &sim, &path, &manner(1)).unwrap();
    assert_eq!(back.failed.iter().map(|failure| failure.step).collect::<Vec<_>>(), [mailbox(3)]);
    assert_eq!(back.written, STEPS - 2);
    assert_eq!(sim.dump(0)[dn(USERS[3]).key()].text("homeMDB"), Some(new_home.as_str()));
    assert_eq!(sim.dump(0)[dn(USERS[2]).key()].text("homeMTA"), Some("CN=MTA X"));
    // When the administrator has put it right, the undo is finished.
    sim.modify(&administrator(3, "homeMDB", new_home.as_str(), dn("CN=T").as_str())).unwrap();
    let back = go(undo, &sim, &path, &manner(1)).unwrap();
    assert!(back.is_complete() && back.written == 1, "{back:?}");
}

#[test]
fn a_busy_server_is_waited_for_and_missing_rights_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let sim = tree();
    sim.plan_faults([(0, Fault::Busy), (1, Fault::Busy), (2, Fault::Busy), (6, Fault::Rights)]);
    let report = go(run, &sim, &dir.path().join("journal"), &manner(1)).unwrap();
    assert_eq!((report.written, report.failed.len()), (STEPS - 1, 1));
    assert_eq!(report.failed[0].trouble, Trouble::Rights);
    assert!(sim.now() >= Duration::from_millis(350), "{:?}", sim.now());
    let resumed = go(run, &sim, &dir.path().join("journal"), &manner(1)).unwrap();
    assert!(resumed.is_complete() && resumed.written == 1);
    // Never again: given up after the time for it.
    let sim = tree();
    sim.plan_faults((0..1000).map(|number| (number, Fault::Busy)));
    let given_up = go(run, &sim, &dir.path().join("other"), &Manner { busy: Duration::from_secs(2), ..manner(4) }).unwrap();
    assert!(given_up.failed.iter().filter(|failure| failure.trouble == Trouble::Busy).count() == STEPS - 1, "{given_up:?}");
    // Names that were not taken off one account are not given to another.
    let blocked = given_up.failed.iter().find(|failure| failure.trouble == Trouble::Blocked).unwrap();
    assert!(blocked.step == StepId::Change(2) && blocked.why.contains("CN=EX1,CN=Computers"), "{blocked:?}");
}

#[test]
fn a_writer_that_dies_is_replaced_or_leaves_a_remainder() {
    let [_, after] = ends();
    for number in 0..STEPS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let sim = tree();
        sim.plan_faults([(number, Fault::WriterDies)]);
        let stubborn = Manner { other_writer: false, ..manner(1) };
        let report = go(run, &sim, &path, &stubborn).unwrap();
        assert_eq!((report.written, report.in_doubt.len(), report.not_tried.len()), (number, 1, STEPS - number - 1));
        assert!(report.away[0].1.contains("sim1") && !failed::text(&plan(), &report).is_empty());
        sim.revive();
        assert!(go(run, &sim, &path, &stubborn).unwrap().is_complete());
        assert_eq!(sorted(sim.dump(0)), sorted(after.clone()));

        let path = dir.path().join("other");
        let sim = tree();
        sim.plan_faults([(number, Fault::WriterDies)]);
        let report = go(run, &sim, &path, &manner(3)).unwrap();
        assert!(report.is_complete(), "{number}: {report:?}");
        assert_eq!(sim.writer(&dn("")).unwrap(), "sim2");
        // What sim1 did not pass on is not there; an undo does not take sim2's word for it.
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.steps().writer(&dn("")), Some("sim2"));
        drop(journal);
        let back = go(undo, &sim, &path, &manner(1)).unwrap();
        assert!(
            back.failed.iter().all(|failure| matches!(failure.trouble, Trouble::Elsewhere | Trouble::Blocked | Trouble::Changed)),
            "{back:?}"
        );
        assert_eq!(back.is_complete(), number == 0, "{number}: {back:?}");
    }
}

#[test]
fn controllers_are_asked_until_they_agree() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let sim = tree();
    go(run, &sim, &path, &manner(1)).unwrap();
    let journal = Journal::open(&path).unwrap();
    let (interrupt, manner) = (AtomicBool::new(false), manner(1));
    let tools = Tools { directory: &sim, clock: &sim, manner: &manner, interrupt: &interrupt, progress: &|_, _| {} };
    let begun = sim.now();
    let shown = verify(&journal, &tools, Duration::from_secs(20)).unwrap();
    assert!(sim.now() - begun >= Duration::from_secs(20));
    let told: Vec<_> = shown.iter().map(|one| (one.controller.as_str(), one.is_writer, one.agrees, one.behind.len())).collect();
    assert_eq!(told, [("sim1", true, STEPS - 2, 0), ("sim2", false, 0, STEPS - 2)]);
    sim.replicate();
    sim.set_down(0, true);
    let shown = verify(&journal, &tools, Duration::ZERO).unwrap();
    assert!(shown[0].away.is_some() && !shown[0].is_complete() && shown[1].is_complete(), "{shown:?}");
}

#[test]
fn an_object_that_was_moved_is_found_by_its_identity() {
    let dir = tempfile::tempdir().unwrap();
    let sim = tree();
    let rename = Rename { dn: dn(USERS[0]), name: Rdn::cn("Dobbs, James") };
    sim.rename(&rename).unwrap();
    let report = go(run, &sim, &dir.path().join("journal"), &manner(1)).unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(sim.dump(0)[rename.renamed().key()].text("homeMTA"), Some("CN=MTA T"));
    assert!(go(undo, &sim, &dir.path().join("journal"), &manner(1)).unwrap().is_complete());
}

#[test]
fn a_part_is_run_alone_and_the_rest_later() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let sim = tree();
    let (interrupt, manner) = (AtomicBool::new(false), manner(1));
    let tools = Tools { directory: &sim, clock: &sim, manner: &manner, interrupt: &interrupt, progress: &|_, _| {} };
    let mut journal = Journal::create(&path, plan(), residents(&sim, &plan()).unwrap(), 7).unwrap();
    let one = run(&mut journal, &tools, &Only::Objects(vec![dn(USERS[4])])).unwrap();
    assert_eq!((one.written, one.left_out), (1, STEPS - 1));
    let none = run(&mut journal, &tools, &Only::Context("DC=elsewhere".parse().unwrap())).unwrap();
    assert_eq!((none.written, none.left_out), (0, STEPS - 1));
    assert!(Only::domain(&plan().contexts, "SIM.test").is_ok());
    assert!(Only::domain(&plan().contexts, "other").unwrap_err().to_string().contains("sim.test"));
    assert!(Only::user(&sim, "nobody@sim.test").is_err());
    let rest = run(&mut journal, &tools, &Only::Everything).unwrap();
    assert_eq!((rest.written, rest.done_before), (STEPS - 1, 1));
    // Who is in the target's store and was not moved there has come meanwhile.
    let comparison = compare(&journal, &sim).unwrap();
    assert!(comparison.appeared.is_empty() && comparison.differing.is_empty(), "{comparison:?}");
}

#[test]
fn told_to_end_a_run_ends_and_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let sim = tree();
    let (interrupt, manner) = (AtomicBool::new(true), manner(2));
    let tools = Tools { directory: &sim, clock: &sim, manner: &manner, interrupt: &interrupt, progress: &|_, _| {} };
    let mut journal = Journal::create(&path, plan(), vec![], 7).unwrap();
    let report = run(&mut journal, &tools, &Only::Everything).unwrap();
    assert_eq!((report.written, report.not_tried.len()), (0, STEPS), "{report:?}");
    assert!(report.stopped.is_some());
    drop(journal);
    assert!(go(run, &sim, &path, &manner).unwrap().is_complete());
}
