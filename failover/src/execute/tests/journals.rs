//! Journals that are torn, damaged, open to others, in use, or cannot be written.

use std::fs;

use standin_common::disk;

use super::*;
use crate::execute::JournalError;

#[test]
fn a_journal_is_its_owners_alone_and_for_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs/1/journal");
    let journal = Journal::create(&path, plan(), vec![], 7).unwrap();
    assert_eq!(disk::open_to_others(&path).unwrap(), None);
    assert_eq!(disk::open_to_others(path.parent().unwrap()).unwrap(), None);
    assert!(matches!(Journal::open(&path), Err(JournalError::InUse(_))));
    assert!(matches!(Journal::create(&path, plan(), vec![], 7), Err(JournalError::Exists(_))));
    drop(journal);
    let journal = Journal::open(&path).unwrap();
    assert_eq!((journal.plan(), journal.begun_unix_ms()), (&plan(), 7));
}

#[test]
fn what_a_crash_tore_is_cut_off_wherever() {
    let [_, after] = ends();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let sim = tree();
    go(run, &sim, &path, &manner(1)).unwrap();
    let whole = fs::read(&path).unwrap();
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for len in (header..whole.len()).step_by(7) {
        let path = dir.path().join(format!("cut-{len}"));
        fs::write(&path, &whole[..len]).unwrap();
        let report = go(run, &sim, &path, &manner(2)).unwrap();
        assert!(report.is_complete() && report.done_before + report.written + report.already == STEPS, "{len}: {report:?}");
        assert_eq!(sorted(sim.dump(0)), sorted(after.clone()), "{len}");
    }
}

#[test]
fn damage_is_told_with_its_line_and_nothing_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let sim = tree();
    go(run, &sim, &path, &manner(1)).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    for (number, expected) in [(0, "line 1"), (1, "line 2"), (4, "line 5")] {
        let mut damaged = lines.clone();
        let flipped = damaged[number].replacen('e', "f", 1);
        damaged[number] = &flipped;
        fs::write(&path, damaged.join("\n") + "\n").unwrap();
        let error = Journal::open(&path).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }) && error.to_string().contains(expected), "{error}");
    }
    let doubled = [&lines[..], &lines[1..3]].concat();
    fs::write(&path, doubled.join("\n") + "\n").unwrap();
    assert!(Journal::open(&path).unwrap_err().to_string().contains("may not follow"));
    fs::write(&path, "").unwrap();
    assert!(Journal::open(&path).is_err());
}

#[test]
fn without_a_place_for_the_journal_nothing_begins() {
    let dir = tempfile::tempdir().unwrap();
    let occupied = dir.path().join("file");
    fs::write(&occupied, b"").unwrap();
    let error = Journal::create(&occupied.join("journal"), plan(), vec![], 7).unwrap_err();
    assert!(matches!(error, JournalError::Disk(_)), "{error}");
}

#[test]
fn a_plan_is_for_its_own_forest() {
    let dir = tempfile::tempdir().unwrap();
    let sim = SimDirectory::new("DC=other".parse().unwrap(), vec![], &[]);
    let manner = manner(1);
    let interrupt = AtomicBool::new(false);
    let tools = Tools { directory: &sim, clock: &sim, manner: &manner, interrupt: &interrupt, progress: &|_, _| {} };
    let mut journal = Journal::create(&dir.path().join("journal"), plan(), vec![], 7).unwrap();
    let error = run(&mut journal, &tools, &Only::Everything).unwrap_err();
    assert!(matches!(error, ExecuteError::OtherForest { .. }), "{error}");
    assert_eq!(sim.writes(), 0);
}
