//! The block tree of a file: BLAKE3's own tree, cut at leaves of 4 KiB and groups of 64 KiB, so that its root is the file's plain
//! BLAKE3 hash (BLAKE3 specification, section 2.1; `blake3::hazmat`), the one `b3sum` prints.
//!
//! A file is hashed by groups, which is twice as fast as by leaves; leaves are computed only where groups differ.

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of a leaf, the unit that is sent.
pub const LEAF_LEN: usize = 4 * 1024;
/// Bytes of a group, the unit that is compared.
pub const GROUP_LEN: usize = 64 * 1024;
/// Leaves of a full group.
pub const LEAVES_PER_GROUP: usize = GROUP_LEN / LEAF_LEN;

/// The chaining value of a leaf or group.
pub type Value = [u8; 32];

/// The first half of a [`Value`], which is what is compared over the link: equality found by it is proven by the root afterwards.
pub type ShortValue = [u8; 16];

/// The root of a file's tree: its plain BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Root(pub [u8; 32]);

impl Root {
    /// The root of data that is all there: `b3sum` of it.
    pub fn of(data: &[u8]) -> Self {
        Self(*blake3::hash(data).as_bytes())
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        blake3::Hash::from_bytes(self.0).to_hex().fmt(f)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The first half of a value.
pub fn short(value: &Value) -> ShortValue {
    let mut half = [0; 16];
    half.copy_from_slice(&value[..16]);
    half
}

/// Groups of a file of `size` bytes.
pub fn group_count(size: u64) -> u64 {
    size.div_ceil(GROUP_LEN as u64)
}

/// Bytes of group `index` of a file of `size` bytes; 0 beyond its end.
pub fn group_len(size: u64, index: u64) -> usize {
    size.saturating_sub(index.saturating_mul(GROUP_LEN as u64)).min(GROUP_LEN as u64) as usize
}

fn subtree(offset: u64, data: &[u8]) -> Value {
    blake3::Hasher::new().set_input_offset(offset).update(data).finalize_non_root()
}

/// The value of group `index` of a file of `size` bytes, `data` being that group's 1 to [`GROUP_LEN`] bytes.
///
/// A file of one group has no other root than the group's own, so its value is the root.
pub fn group_value(size: u64, index: u64, data: &[u8]) -> Value {
    debug_assert!(!data.is_empty() && data.len() <= GROUP_LEN);
    if size <= GROUP_LEN as u64 { Root::of(data).0 } else { subtree(index * GROUP_LEN as u64, data) }
}

/// The value of leaf `leaf` of group `index`.
pub fn leaf_value(index: u64, leaf: usize, data: &[u8]) -> Value {
    subtree(index * GROUP_LEN as u64 + (leaf * LEAF_LEN) as u64, data)
}

/// The values of the leaves of group `index`.
pub fn leaf_values(index: u64, data: &[u8]) -> Vec<Value> {
    data.chunks(LEAF_LEN).enumerate().map(|(leaf, data)| leaf_value(index, leaf, data)).collect()
}

/// Joins the values of neighbouring subtrees, in order, into the root of the whole or the value of a group.
///
/// Memory is one value for each level of the tree, whatever the size of the file.
#[derive(Debug, Clone, Default)]
pub struct Fold {
    stack: Vec<Value>,
    count: u64,
}

impl Fold {
    /// Nothing joined yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many values were pushed.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes the next subtree's value. All but the last must be of full, equal size, a power of two.
    pub fn push(&mut self, value: Value) {
        // Merging lags one value behind, since the last merge of all must be the root's.
        while self.stack.len() as u32 > self.count.count_ones() {
            self.merge_last_two();
        }
        self.stack.push(value);
        self.count += 1;
    }

    fn merge_last_two(&mut self) {
        if let (Some(right), Some(left)) = (self.stack.pop(), self.stack.pop()) {
            self.stack.push(merge_subtrees_non_root(&left, &right, Mode::Hash));
        }
    }

    /// The value of all that was pushed as a part of a larger whole; `None` if nothing was.
    pub fn into_value(mut self) -> Option<Value> {
        while self.stack.len() > 1 {
            self.merge_last_two();
        }
        self.stack.pop()
    }

    /// The root of all that was pushed; `None` for fewer than two subtrees, whose root depends on the data itself.
    pub fn into_root(mut self) -> Option<Root> {
        while self.stack.len() > 2 {
            self.merge_last_two();
        }
        match self.stack[..] {
            [left, right] => Some(Root(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())),
            _ => None,
        }
    }
}

impl FromIterator<Value> for Fold {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        let mut fold = Self::new();
        values.into_iter().for_each(|value| fold.push(value));
        fold
    }
}

/// Joins the values of a file's groups, as [`group_value`] gives them, into the file's root.
#[derive(Debug, Clone)]
pub struct GroupFold {
    fold: Fold,
    size: u64,
    only: Option<Value>,
}

impl GroupFold {
    /// For a file of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self { fold: Fold::new(), size, only: None }
    }

    /// The index of the group that is expected next.
    pub fn next(&self) -> u64 {
        self.fold.count()
    }

    /// Takes the value of the next group.
    pub fn push(&mut self, value: Value) {
        self.only = Some(value);
        self.fold.push(value);
    }

    /// The file's root; `None` while groups are missing.
    pub fn finish(self) -> Option<Root> {
        match group_count(self.size) {
            count if count != self.fold.count() => None,
            0 => Some(Root::of(&[])),
            1 => self.only.map(Root),
            _ => self.fold.into_root(),
        }
    }
}

/// Hashes a file that comes in pieces of any length, by groups: its root and, as they are complete, the values of its groups.
#[derive(Debug, Clone, Default)]
pub struct GroupStream {
    fold: Fold,
    /// Of a group that came in part.
    part: Option<Box<blake3::Hasher>>,
    /// Of the first group as a whole file, which it is if no other follows.
    only: Option<Box<blake3::Hasher>>,
    at: u64,
}

impl GroupStream {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self { only: Some(Box::default()), ..Self::default() }
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.at
    }

    /// Whether nothing has come.
    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// Takes the next piece; `each` is told the value of every group that is full.
    pub fn update(&mut self, mut data: &[u8], mut each: impl FnMut(Value)) {
        while !data.is_empty() {
            let within = (self.at % GROUP_LEN as u64) as usize;
            let start = self.at - within as u64;
            let (piece, rest) = data.split_at(data.len().min(GROUP_LEN - within));
            data = rest;
            self.at += piece.len() as u64;
            match &mut self.only {
                Some(only) if start == 0 => {
                    only.update(piece);
                }
                _ => self.only = None,
            }
            if piece.len() == GROUP_LEN {
                self.complete(subtree(start, piece), &mut each);
                continue;
            }
            let part = self.part.get_or_insert_with(|| {
                let mut begun = Box::new(blake3::Hasher::new());
                begun.set_input_offset(start);
                begun
            });
            part.update(piece);
            if within + piece.len() == GROUP_LEN {
                self.complete_part(&mut each);
            }
        }
    }

    fn complete(&mut self, value: Value, each: &mut impl FnMut(Value)) {
        self.fold.push(value);
        each(value);
    }

    fn complete_part(&mut self, each: &mut impl FnMut(Value)) {
        if let Some(part) = self.part.take() {
            self.complete(part.finalize_non_root(), each);
        }
    }

    /// The file ends here: its root. `each` is told the value of the last group if that is not full. Values are those of a file of more
    /// than one group: the root of one of a single group is another.
    pub fn finish(mut self, mut each: impl FnMut(Value)) -> Root {
        self.complete_part(&mut each);
        match self.only.take() {
            Some(only) => Root(*only.finalize().as_bytes()),
            None => self.fold.into_root().unwrap_or_else(|| Root::of(&[])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(len: usize, seed: u64) -> Vec<u8> {
        let mut data = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut data);
        data
    }

    fn root_by_groups(data: &[u8]) -> Option<Root> {
        let size = data.len() as u64;
        let mut fold = GroupFold::new(size);
        for (index, group) in data.chunks(GROUP_LEN).enumerate() {
            fold.push(group_value(size, index as u64, group));
        }
        fold.finish()
    }

    #[test]
    fn the_root_is_the_plain_hash_at_every_edge() {
        for groups in [0, 1, 2, 3, 4, 5, 7, 8, 9] {
            for extra in [0, 1, 1024, 1025, LEAF_LEN - 1, LEAF_LEN, LEAF_LEN + 1, GROUP_LEN - 1] {
                let data = bytes(groups * GROUP_LEN + extra, 7);
                assert_eq!(root_by_groups(&data), Some(Root::of(&data)), "{groups} groups and {extra} bytes");
            }
        }
    }

    #[test]
    fn a_groups_value_follows_from_its_leaves() {
        for len in [1, 4096, 4097, 8192, 8193, 40_000, 61_440, 65_535, 65_536] {
            let data = bytes(len, 3);
            let fold: Fold = leaf_values(5, &data).into_iter().collect();
            assert_eq!(fold.into_value(), Some(group_value(1 << 30, 5, &data)), "{len}");
        }
    }

    #[test]
    fn a_small_files_root_follows_from_its_leaves() {
        for len in [4097, 8192, 40_000, 65_536] {
            let data = bytes(len, 4);
            let fold: Fold = leaf_values(0, &data).into_iter().collect();
            assert_eq!(fold.into_root(), Some(Root::of(&data)), "{len}");
        }
    }

    #[test]
    fn an_unfinished_file_has_no_root() {
        let mut fold = GroupFold::new(200_000);
        fold.push(group_value(200_000, 0, &bytes(GROUP_LEN, 1)));
        assert_eq!(fold.finish(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn any_length(len in 0usize..1_500_000, seed: u64) {
            let data = bytes(len, seed);
            prop_assert_eq!(root_by_groups(&data), Some(Root::of(&data)));
        }

        #[test]
        fn a_stream_of_any_pieces(len in 0usize..700_000, seed: u64, longest in 1usize..300_000) {
            let data = bytes(len, seed);
            let (mut stream, mut values) = (GroupStream::new(), Vec::new());
            let (mut rest, mut next) = (&data[..], seed);
            while !rest.is_empty() {
                next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (piece, after) = rest.split_at(rest.len().min((next >> 33) as usize % longest + 1));
                stream.update(piece, |value| values.push(value));
                rest = after;
            }
            prop_assert_eq!(stream.len(), len as u64);
            prop_assert_eq!(stream.finish(|value| values.push(value)), Root::of(&data));
            if len > GROUP_LEN {
                let groups = data.chunks(GROUP_LEN).enumerate();
                let expected: Vec<_> = groups.map(|(index, group)| group_value(len as u64, index as u64, group)).collect();
                prop_assert_eq!(values, expected);
            }
        }
    }
}
