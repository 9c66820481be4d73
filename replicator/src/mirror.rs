//! What a mirror does with an object: the comparison of both sides, without effects.

use standin_common::entry::{Attrs, Entry, Kind};
use standin_common::message::Comparison;

use crate::volume::{Object, ObjectKind};

/// The most files asked for that have not come, which bounds memory on both sides.
pub(crate) const MOST_WANTED: usize = 4096;
/// Files up to this size are sent whole when they are to be sent at all, and replace the old one.
pub const SMALL_LEN: u64 = 64 * 1024;

/// How the standby compares in this pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct How {
    /// As asked for.
    pub comparison: Comparison,
    /// Whether owners can be set here; otherwise they are not compared.
    pub owners: bool,
}

/// What is to be done with an object of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Same,
    /// The object gets the source's attributes.
    Attributes,
    /// The object is made, in the place of the one that is there, if any.
    Make,
    /// The file's data is compared, in the file that is there.
    Compare,
    /// The file's data is sent whole, to a new file.
    Send,
}

/// Decides about `entry`, `here` being the object of that path on the standby. Hard links and what must not be written in place
/// because it has other names are the caller's.
pub fn decide(entry: &Entry, here: Option<&Object>, how: How) -> Action {
    let same_attributes = here.is_some_and(|here| same_attributes(&entry.attrs, &here.attrs, how.owners));
    let unless_same = |action| if same_attributes { Action::Same } else { action };
    match (&entry.kind, here.map(|here| (&here.kind, here.size))) {
        (Kind::File { .. }, None) => Action::Send,
        (Kind::File { size }, Some((ObjectKind::File, size_here))) => {
            decide_file(*size, size_here, same_attributes && !entry.doubted, how.comparison)
        }
        (Kind::File { .. }, Some(_)) => Action::Send,
        (Kind::Directory, Some((ObjectKind::Directory, _))) => unless_same(Action::Attributes),
        (Kind::Symlink { target }, Some((ObjectKind::Symlink(target_here), _))) if target == target_here => {
            unless_same(Action::Attributes)
        }
        (Kind::Fifo, Some((ObjectKind::Fifo, _))) => unless_same(Action::Attributes),
        _ => Action::Make,
    }
}

fn decide_file(size: u64, size_here: u64, is_trusted: bool, comparison: Comparison) -> Action {
    match comparison {
        Comparison::Full => Action::Send,
        Comparison::Difference if is_trusted && size == size_here => Action::Same,
        // A checksum pass compares small files too, as most of them are equal; a difference pass knows that they are not.
        Comparison::Checksum if size == size_here => Action::Compare,
        _ if size <= SMALL_LEN || size_here == 0 => Action::Send,
        _ => Action::Compare,
    }
}

/// Whether both have the same attributes, as far as they can be the same here.
pub fn same_attributes(there: &Attrs, here: &Attrs, owners: bool) -> bool {
    there.mode == here.mode
        && there.mtime == here.mtime
        && (!owners || (there.uid == here.uid && there.gid == here.gid))
        && if owners { there.xattrs == here.xattrs } else { user_xattrs(there).eq(user_xattrs(here)) }
}

/// The extended attributes that need no privilege.
fn user_xattrs(attrs: &Attrs) -> impl Iterator<Item = &(Vec<u8>, Vec<u8>)> {
    attrs.xattrs.iter().filter(|(name, _)| name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::Stamp;
    use standin_common::path::RelPath;

    fn entry(kind: Kind) -> Entry {
        Entry { path: RelPath::new("a").unwrap(), kind, attrs: Attrs::default(), linked: false, doubted: false }
    }

    fn here(kind: ObjectKind, size: u64) -> Object {
        Object { kind, size, attrs: Attrs::default(), names: 1, stamp: Stamp::default() }
    }

    fn action(kind: Kind, object: Option<Object>, comparison: Comparison) -> Action {
        decide(&entry(kind), object.as_ref(), How { comparison, owners: true })
    }

    #[test]
    fn files() {
        use Comparison::*;
        let file = |size| Kind::File { size };
        let cases = [
            (10, None, Difference, Action::Send),
            (10, Some(10), Difference, Action::Same),
            (10, Some(11), Difference, Action::Send),
            (100_000, Some(90_000), Difference, Action::Compare),
            (100_000, Some(0), Difference, Action::Send),
            (10, Some(10), Checksum, Action::Compare),
            (10, Some(11), Checksum, Action::Send),
            (100_000, Some(100_000), Full, Action::Send),
        ];
        for (size, size_here, comparison, expected) in cases {
            let object = size_here.map(|size| here(ObjectKind::File, size));
            assert_eq!(action(file(size), object, comparison), expected, "{size} {size_here:?} {comparison:?}");
        }
    }

    #[test]
    fn another_kind_is_replaced() {
        assert_eq!(action(Kind::Directory, Some(here(ObjectKind::File, 1)), Comparison::Difference), Action::Make);
        assert_eq!(action(Kind::File { size: 1 }, Some(here(ObjectKind::Directory, 1)), Comparison::Difference), Action::Send);
        let link = Kind::Symlink { target: b"x".to_vec() };
        assert_eq!(action(link.clone(), Some(here(ObjectKind::Symlink(b"y".to_vec()), 1)), Comparison::Difference), Action::Make);
        assert_eq!(action(link, Some(here(ObjectKind::Symlink(b"x".to_vec()), 1)), Comparison::Difference), Action::Same);
    }

    #[test]
    fn owners_count_only_where_they_can_be_set() {
        let (mine, theirs) = (Attrs::default(), Attrs { uid: 5, ..Attrs::default() });
        assert!(same_attributes(&theirs, &mine, false));
        assert!(!same_attributes(&theirs, &mine, true));
    }
}
