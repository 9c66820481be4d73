//! The record survives whatever cuts it off, and nobody is told that a place is in it that is not.

use std::collections::BTreeSet;
use std::fs;
use std::thread;

use super::*;

fn active(path: &str, reach: Reach) -> Active {
    Active { root: RootIndex(0), path: RelPath::new(path).unwrap(), reach }
}

fn object(path: &str) -> Active {
    active(path, Reach::Object)
}

#[test]
fn what_was_noted_is_read_again_wherever_the_file_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let (record, before) = Activity::open(directory.path()).unwrap();
    assert_eq!(before, Some(vec![]));
    let mut lens = Vec::new();
    for n in 0..20 {
        record.note(&[object(&format!("d/{n:02}"))]).unwrap();
        lens.push(record.contents().1);
    }
    let bytes = fs::read(directory.path().join(FILE)).unwrap();
    for cut in MAGIC.len()..=bytes.len() {
        let complete = lens.iter().filter(|len| **len <= cut as u64).count();
        let found = read(&bytes[..cut]).unwrap();
        assert_eq!(found, (0..complete).map(|n| object(&format!("d/{n:02}"))).collect::<Vec<_>>(), "cut at {cut}");
    }
    assert_eq!(read(b"something else entirely"), None);
    drop(record);
    let (_, again) = Activity::open(directory.path()).unwrap();
    assert_eq!(again.unwrap().len(), 20);
}

#[test]
fn a_place_is_written_once_and_not_beneath_a_subtree() {
    let directory = tempfile::tempdir().unwrap();
    let (record, _) = Activity::open(directory.path()).unwrap();
    record.note(&[active("d", Reach::Subtree)]).unwrap();
    let len = record.contents().1;
    record.note(&[object("d/x/y"), active("d", Reach::Subtree), active("d/x", Reach::Names)]).unwrap();
    assert_eq!(record.contents(), (vec![active("d", Reach::Subtree)], len));
}

#[test]
fn many_threads_are_each_told_the_truth() {
    let directory = tempfile::tempdir().unwrap();
    let (record, _) = Activity::open(directory.path()).unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let (record, path) = (&record, directory.path().join(FILE));
            scope.spawn(move || {
                for n in 0..50 {
                    let place = object(&format!("{thread}/{}", n / 2));
                    record.note(std::slice::from_ref(&place)).unwrap();
                    assert!(read(&fs::read(&path).unwrap()).unwrap().contains(&place));
                }
            });
        }
    });
    assert_eq!(record.contents().0.len(), 8 * 25);
}

#[test]
fn only_what_rests_is_taken_out() {
    let directory = tempfile::tempdir().unwrap();
    let (record, _) = Activity::open(directory.path()).unwrap();
    record.note(&[object("old"), object("busy")]).unwrap();
    let since = record.begin_turn();
    let turn = record.turn();
    record.note(&[object("busy"), object("new")]).unwrap();
    assert_eq!(record.rest(since).unwrap(), 1);
    assert_ne!(record.turn(), turn, "whoever holds on to it asks again");
    let left: BTreeSet<_> = record.contents().0.into_iter().collect();
    assert_eq!(left, BTreeSet::from([object("busy"), object("new")]));
    record.note(&[object("after")]).unwrap();
    drop(record);
    assert_eq!(Activity::open(directory.path()).unwrap().1.unwrap().len(), 3);
}

#[test]
fn what_cannot_be_written_is_refused_and_asked_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let (record, _) = Activity::open(directory.path()).unwrap();
    record.note(&[object("before")]).unwrap();
    let good = std::mem::replace(&mut record.lock().file, File::open("/dev/null").unwrap());
    assert!(record.note(&[object("refused")]).is_err());
    record.lock().file = good;
    assert_eq!(record.contents().0, [object("before")]);
    record.note(&[object("refused")]).unwrap();
    drop(record);
    assert_eq!(Activity::open(directory.path()).unwrap().1.unwrap(), [object("before"), object("refused")]);
}
