//! Whether a compared file is another one, rather than the old one with changes. Then it is sent whole, and the standby puts it in the
//! place of the old one: its data is written once, instead of into the journal, into the file, and the old data into the inverse.

use standin_common::message::Differing;
use standin_common::tree::{GROUP_LEN, LEAF_LEN, group_count, group_len, leaf_values, short};

use super::lane::GROUPS_AT_ONCE;
use crate::mirror::SMALL_LEN;

/// The first answer decides, so it has to tell of one part in so many of the file.
const SEEN_SHARE: u64 = 8;
/// And of so many groups, if the file has them.
const LEAST_SEEN: u64 = 4;
/// So many in so many have to differ, groups and leaves: the rest is sent in vain.
const DIFFERING: (usize, usize) = (15, 16);
/// The leaves of so many differing groups are looked at.
const LOOKED_AT: usize = 8;

/// How many groups of a file of this size are announced first, whose answer decides; nothing more is until it has come. `None` if nothing
/// is decided about such a file.
pub(super) fn trial(size: u64) -> Option<u64> {
    let groups = group_count(size);
    let part = groups.div_ceil(SEEN_SHARE);
    (size > SMALL_LEN && part <= GROUPS_AT_ONCE).then_some(part.max(LEAST_SEEN).min(groups))
}

/// Whether a file of this size is another one by an answer that tells of `seen` groups. `read` fills the buffer with a group of the file.
pub(super) fn is<E>(
    size: u64,
    seen: usize,
    differing: &[Differing],
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<bool, E> {
    let enough = |differing: usize, of: usize| differing * DIFFERING.1 >= of * DIFFERING.0;
    if !enough(differing.len(), seen) {
        return Ok(false);
    }
    let mut group = vec![0; GROUP_LEN];
    let (mut leaves, mut other) = (0, 0);
    for differs in differing.iter().take(LOOKED_AT) {
        let data = &mut group[..group_len(size, differs.group)];
        if data.is_empty() {
            // No group of the file: an error, which is found where the answer is taken.
            return Ok(false);
        }
        read(differs.group, data)?;
        leaves += data.len().div_ceil(LEAF_LEN);
        let ours = leaf_values(differs.group, data);
        other += ours.iter().enumerate().filter(|(leaf, value)| differs.leaves.get(*leaf) != Some(&short(value))).count();
    }
    Ok(enough(other, leaves))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// An answer about a file of ones by a standby that has so many of each group's leaves, after those that do not differ.
    fn judged(groups: u64, equal_groups: u64, equal_leaves: usize) -> bool {
        let ones = vec![1; GROUP_LEN];
        let differing = (equal_groups..groups).map(|group| {
            let leaf = |(index, value)| if index < equal_leaves { short(value) } else { Default::default() };
            Differing { group, leaves: leaf_values(group, &ones).iter().enumerate().map(leaf).collect() }
        });
        let read = |_, data: &mut [u8]| {
            data.fill(1);
            Ok::<_, Infallible>(())
        };
        is(groups * GROUP_LEN as u64, groups as usize, &differing.collect::<Vec<_>>(), read).unwrap()
    }

    #[test]
    fn only_what_differs_nearly_everywhere_is_another_file() {
        assert!(judged(16, 0, 0));
        assert!(judged(16, 1, 1));
        assert!(!judged(16, 2, 0));
        // As a database whose pages change.
        assert!(!judged(16, 0, 12));
        assert!(!judged(16, 16, 0));
    }

    #[test]
    fn a_fair_part_of_the_file_decides() {
        assert_eq!(trial(SMALL_LEN), None);
        assert_eq!(trial(SMALL_LEN + 1), Some(2));
        assert_eq!(trial(MIB), Some(4));
        assert_eq!(trial(32 * MIB), Some(64));
        assert_eq!(trial(32 * MIB + 1), None);
    }
}
