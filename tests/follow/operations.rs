//! A source that changes by operations of which each is one system call, so that every state that it ever had can be made again.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::material::Random;

/// Slots of eight bytes in the file `ledger`, written in place.
const SLOTS: u64 = 200_000;
const FILES: u64 = 60;

/// What operation `n` does.
enum Operation {
    /// A slot of the ledger gets the number of the operation.
    Note(u64),
    /// A file is replaced by one that is told by the operation's number.
    Replace(String),
    /// A file is removed, if it is there.
    Remove(String),
}

fn random(seed: u64, n: u64) -> Random {
    Random::new(seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn operation(seed: u64, n: u64) -> Operation {
    let mut random = random(seed, n);
    let name = |random: &mut Random| format!("{}/{}", random.below(6), random.below(FILES));
    match random.below(8) {
        0..4 => Operation::Note(random.below(SLOTS)),
        4..7 => Operation::Replace(name(&mut random)),
        _ => Operation::Remove(name(&mut random)),
    }
}

/// What operation `n` puts into a file: its number, and more that only it has.
fn contents(seed: u64, n: u64) -> Vec<u8> {
    let mut random = random(seed, !n);
    let words = 1 + random.between_by_magnitude(1, 8192);
    [n].into_iter().chain((0..words).map(|_| random.next())).flat_map(u64::to_le_bytes).collect()
}

/// The source as it is after so many operations.
pub(crate) struct State {
    seed: u64,
    pub(crate) done: u64,
    ledger: BTreeMap<u64, u64>,
    files: BTreeMap<String, u64>,
}

impl State {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, done: 0, ledger: BTreeMap::new(), files: BTreeMap::new() }
    }

    /// Makes the directories and the empty ledger.
    pub(crate) fn prepare(source: &Path) {
        (0..6).for_each(|directory| fs::create_dir_all(source.join(directory.to_string())).unwrap());
        fs::File::create(source.join("ledger")).unwrap().set_len(SLOTS * 8).unwrap();
    }

    /// Notes the next operation, and does it where there is something to do it to; `aside` is on the same file system.
    pub(crate) fn next(&mut self, at: Option<(&Path, &Path)>) {
        self.done += 1;
        let n = self.done;
        match operation(self.seed, n) {
            Operation::Note(slot) => {
                self.ledger.insert(slot, n);
                if let Some((source, _)) = at {
                    let ledger = OpenOptions::new().write(true).open(source.join("ledger")).unwrap();
                    ledger.write_all_at(&n.to_le_bytes(), slot * 8).unwrap();
                }
            }
            Operation::Replace(name) => {
                if let Some((source, aside)) = at {
                    let new = aside.join("new");
                    fs::write(&new, contents(self.seed, n)).unwrap();
                    fs::rename(new, source.join(&name)).unwrap();
                }
                self.files.insert(name, n);
            }
            Operation::Remove(name) => {
                if let Some((source, _)) = at.filter(|_| self.files.contains_key(&name)) {
                    fs::remove_file(source.join(&name)).unwrap();
                }
                self.files.remove(&name);
            }
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.get(..8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
}

/// What is found in a replica: the operation that each slot and file is of.
struct Found {
    ledger: BTreeMap<u64, u64>,
    files: BTreeMap<String, u64>,
}

impl Found {
    fn of(replica: &Path) -> Self {
        let ledger = fs::read(replica.join("ledger")).unwrap();
        let slots = ledger.chunks(8).enumerate().map(|(slot, bytes)| (slot as u64, number(bytes)));
        let ledger = slots.filter(|(_, n)| *n > 0).collect();
        let mut files = BTreeMap::new();
        for directory in 0..6 {
            for file in fs::read_dir(replica.join(directory.to_string())).unwrap() {
                let name = format!("{directory}/{}", file.unwrap().file_name().to_str().unwrap());
                let bytes = fs::read(replica.join(&name)).unwrap();
                files.insert(name, number(&bytes));
            }
        }
        Self { ledger, files }
    }
}

/// Panics unless every file of the replica is one that the source had, and, if it is said to be `consistent`, all of them at one moment.
/// Returns the last operation in it.
pub(crate) fn check(seed: u64, replica: &Path, consistent: bool) -> u64 {
    let found = Found::of(replica);
    for (name, n) in &found.files {
        let made = matches!(operation(seed, *n), Operation::Replace(of) if of == *name);
        assert!(
            made && fs::read(replica.join(name)).unwrap() == contents(seed, *n),
            "STANDIN_SEED={seed}: {name} is not of operation {n}"
        );
    }
    for (slot, n) in &found.ledger {
        assert!(
            matches!(operation(seed, *n), Operation::Note(of) if of == *slot),
            "STANDIN_SEED={seed}: slot {slot} is not of {n}"
        );
    }
    let last = found.ledger.values().chain(found.files.values()).copied().max().unwrap_or(0);
    if consistent {
        let mut state = State::new(seed);
        while state.done < last {
            state.next(None);
        }
        // What comes after the last that left something may have removed a file.
        let same = |state: &State| state.ledger == found.ledger && state.files == found.files;
        let mut removals = 0;
        while !same(&state) && matches!(operation(seed, state.done + 1), Operation::Remove(_)) && removals < 64 {
            state.next(None);
            removals += 1;
        }
        assert!(same(&state), "STANDIN_SEED={seed}: a consistent point is no state of the source, up to operation {last}");
    }
    last
}

/// A directory beside the source.
pub(crate) fn aside(source: &Path) -> PathBuf {
    let aside = source.with_file_name("aside");
    fs::create_dir_all(&aside).unwrap();
    aside
}
