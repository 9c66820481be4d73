//! What a walk finds: one entry an object, with everything of it but a file's data.

use serde::{Deserialize, Serialize};

use crate::path::RelPath;

/// A point in time as file systems keep it: seconds since 1970 (negative before) and nanoseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time {
    /// Whole seconds.
    pub secs: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

/// An extended attribute: full name (`user.x`, `system.posix_acl_access`, …) and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// Everything of an object but its kind and data. ACLs are extended attributes (`system.posix_acl_*`).
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attrs {
    /// Permission bits with set-id and sticky bits, 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of the contents.
    pub mtime: Time,
    /// Extended attributes, by name.
    pub xattrs: Vec<Xattr>,
}

/// What an object is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file, image file or block device, with its size in bytes.
    File {
        /// Size in bytes.
        size: u64,
    },
    /// A symbolic link with its target, which is kept and never followed.
    Symlink {
        /// What the link says.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// One more name for the object at `to`, which comes earlier in the walk of the same root.
    Hardlink {
        /// The first name.
        to: RelPath,
    },
}

/// One object of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where, beneath the root.
    pub path: RelPath,
    /// What.
    pub kind: Kind,
    /// With which attributes.
    pub attrs: Attrs,
    /// Whether the object has more than one name.
    pub linked: bool,
}
