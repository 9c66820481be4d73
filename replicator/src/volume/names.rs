//! The names of one directory, in one block of memory: a directory of a million mails costs its names and six bytes each.

use std::fmt;
use std::ops::Range;

/// Bytes before each name that say its length.
const LEN: usize = size_of::<u16>();

/// A directory's names could not be held: one is over 64 KiB, or all together are over 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a directory has more names than fit into 4 GiB, or one over 64 KiB")]
pub struct TooManyNames;

/// The names of one directory, sorted by their bytes.
///
/// Collect into it, or fill it by [`Names::push`] and end with [`Names::sort`]; then read by index.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Every name after its length (little-endian `u16`), in the order of pushing.
    arena: Vec<u8>,
    /// Where each name starts in `arena`, in the order of the names.
    starts: Vec<u32>,
}

impl Names {
    /// No names yet.
    pub const fn new() -> Self {
        Self { arena: Vec::new(), starts: Vec::new() }
    }

    /// Adds a name at the end, sorted or not.
    pub fn push(&mut self, name: &[u8]) -> Result<(), TooManyNames> {
        let len = u16::try_from(name.len()).map_err(|_| TooManyNames)?;
        let start = u32::try_from(self.arena.len()).map_err(|_| TooManyNames)?;
        self.arena.extend_from_slice(&len.to_le_bytes());
        self.arena.extend_from_slice(name);
        self.starts.push(start);
        Ok(())
    }

    /// Puts the names in the order of their bytes.
    pub fn sort(&mut self) {
        let arena = &self.arena;
        self.starts.sort_unstable_by(|a, b| name_at(arena, *a).cmp(name_at(arena, *b)));
        debug_assert!(self.starts.is_sorted_by(|a, b| name_at(arena, *a) < name_at(arena, *b)), "a directory has a name once");
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The name at an index, `None` beyond the last.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.starts.get(index).map(|start| name_at(&self.arena, *start))
    }

    /// All names, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + DoubleEndedIterator {
        self.starts.iter().map(|start| name_at(&self.arena, *start))
    }

    /// Where `name` is, or the index that it would have.
    pub fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.starts.binary_search_by(|start| name_at(&self.arena, *start).cmp(name))
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.arena.capacity() + self.starts.capacity() * size_of::<u32>()
    }
}

fn name_at(arena: &[u8], start: u32) -> &[u8] {
    let name = name_range(arena, start as usize);
    &arena[name]
}

fn name_range(arena: &[u8], start: usize) -> Range<usize> {
    let len = u16::from_le_bytes([arena[start], arena[start + 1]]);
    start + LEN..start + LEN + usize::from(len)
}

impl<N: AsRef<[u8]>> FromIterator<N> for Names {
    /// Sorted. Meant for tests and small directories: names beyond what fits are a panic, see [`TooManyNames`].
    fn from_iter<I: IntoIterator<Item = N>>(names: I) -> Self {
        let mut all = Self::new();
        for name in names {
            assert_eq!(all.push(name.as_ref()), Ok(()));
        }
        all.sort();
        all
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|name| name.escape_ascii().to_string())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_over_64_kib_is_refused() {
        assert_eq!(Names::new().push(&vec![b'x'; 65_536]), Err(TooManyNames));
        assert_eq!(Names::new().push(&vec![b'x'; 65_535]), Ok(()));
    }

    #[test]
    fn a_million_names_take_little_memory() {
        let names: Names = (0..1_000_000u32).map(|n| format!("{n:016}.mail")).collect();
        assert_eq!(names.len(), 1_000_000);
        assert!(names.memory() < 60 << 20, "{} bytes", names.memory());
        assert_eq!(names.get(999_999), Some(b"0000000000999999.mail".as_slice()));
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_sorted(set in proptest::collection::btree_set(proptest::collection::vec(any::<u8>(), 0..12), 0..60)) {
            let mut shuffled: Vec<_> = set.iter().cloned().collect();
            shuffled.sort_by_key(|name| blake3::hash(name).as_bytes().to_vec());
            let names: Names = shuffled.into_iter().collect();
            let sorted: Vec<_> = set.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(names.iter().collect::<Vec<_>>(), sorted.clone());
            prop_assert_eq!(names.get(names.len()), None);
            for (index, name) in sorted.iter().enumerate() {
                prop_assert_eq!(names.search(name), Ok(index));
            }
            let absent = [b"zzzzzzzzzzzzzzzz".as_slice(), b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"];
            for name in absent {
                prop_assert_eq!(names.search(name), sorted.binary_search(&name));
            }
        }
    }
}
