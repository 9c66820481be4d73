use super::*;
use crate::store::{DirectoryStore, Store};
use proptest::prelude::*;

fn journal() -> (tempfile::TempDir, Journal<impl LogFile>) {
    let directory = tempfile::tempdir().unwrap();
    let log = DirectoryStore::open(directory.path()).unwrap().open_log("journal").unwrap();
    (directory, Journal::new(log))
}

fn write(offset: u64) -> Record {
    let op = Op::Write { offset, len: 3, encoding: Encoding::Plain };
    Record::Op { file: Some(1), root: RootIndex(0), path: RelPath::new("a/b").unwrap(), op }
}

#[test]
fn records_are_read_both_ways() {
    let (_directory, mut journal) = journal();
    for (offset, data) in [(0, &b"one"[..]), (1, b""), (2, b"three")] {
        journal.append(&write(offset), data).unwrap();
    }
    let forward: Vec<_> = journal.forward().map(Result::unwrap).collect();
    let mut backward: Vec<_> = journal.backward().map(Result::unwrap).collect();
    backward.reverse();
    assert_eq!(forward, backward);
    assert_eq!(forward.len(), 3);
    assert_eq!(forward[2].payload, b"three");
    assert_eq!(forward[2].record, write(2));
}

#[test]
fn a_torn_tail_is_cut_wherever_it_tears() {
    let (_directory, mut journal) = journal();
    journal.append(&write(0), b"one").unwrap();
    let whole = journal.len();
    journal.append(&write(1), b"two").unwrap();
    let end = journal.len();
    for len in (whole + 1..end).rev() {
        journal.truncate(len).unwrap();
        assert_eq!(journal.cut_torn_tail().unwrap(), len - whole);
        assert_eq!(journal.forward().count(), 1);
        journal.append(&write(1), b"two").unwrap();
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }
}
