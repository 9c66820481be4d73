//! What can happen beneath a root.

use serde::{Deserialize, Serialize, Serializer};
use standin_common::entry::Time;

/// What names an object for as long as it exists, whatever becomes of its names, also when the layer was taken away and put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// The object's inode number, as stat(2) gives it.
    pub inode: u64,
    /// Tells objects apart that had the same inode number one after the other: 8 bytes of the BLAKE3 hash of the object's file handle.
    pub handle: u64,
}

/// A name: where an object is, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place<'a> {
    /// The directory.
    pub parent: ObjectId,
    /// The name in it, 1 to 255 bytes without `/`, need not be UTF-8.
    #[serde(borrow)]
    pub name: &'a [u8],
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind<'a> {
    /// An empty file.
    File,
    /// An empty directory.
    Directory,
    /// A symbolic link, with what it says.
    Symlink(#[serde(borrow)] &'a [u8]),
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character device, with its number as `st_rdev` has it.
    CharacterDevice(u64),
    /// A block device, with its number as `st_rdev` has it.
    BlockDevice(u64),
}

/// The attributes of a new object, as they came out of umask, default ACL and set-gid directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Permission bits with set-id and sticky bits, 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of its contents.
    pub modified: Time,
}

/// What fallocate(2) does with a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Allocation {
    /// Room is reserved; data stays, and the file grows to the end of the range.
    Grow,
    /// Room is reserved; data and size stay.
    Reserve,
    /// The range becomes a hole; the size stays.
    Punch,
    /// The range reads as zeros; the file grows to its end.
    Zero,
    /// The range reads as zeros; the size stays.
    ZeroWithin,
}

/// In one piece, which is the same in `postcard` as byte for byte.
fn as_bytes<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// One thing that happened. Times are those that the object, or a directory in which a name came or went, has afterwards.
///
/// Every object but the root is told before it is first named as an `object` or `parent`: by [`Operation::Known`] or by its making.
/// The root itself is told by [`Operation::Root`], first of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation<'a> {
    /// The layer began here; a history starts. Nothing changes.
    Root {
        /// The root directory.
        object: ObjectId,
    },
    /// An object that was there before is at this place now, and will be spoken of. Nothing changes.
    Known {
        /// What.
        object: ObjectId,
        /// Where.
        #[serde(borrow)]
        at: Place<'a>,
    },
    /// The object will not be spoken of by this id, unless it is told again. Nothing changes; it may well exist.
    Forgotten {
        /// What.
        object: ObjectId,
    },
    /// An object was made.
    Make {
        /// What.
        object: ObjectId,
        /// Where; `None` for a file without a name (`O_TMPFILE`), which a [`Operation::Link`] may give one.
        at: Option<Place<'a>>,
        /// Of which kind.
        kind: Kind<'a>,
        /// With which attributes. An inherited ACL follows as [`Operation::SetXattr`].
        made: Made,
        /// The directory's new time.
        directory: Time,
    },
    /// An object that is no directory got one more name.
    Link {
        /// What.
        object: ObjectId,
        /// The new name.
        at: Place<'a>,
        /// The directory's new time.
        directory: Time,
    },
    /// A name was taken away, and with its last name (and nobody having it open) the object.
    Remove {
        /// What.
        object: ObjectId,
        /// The name.
        at: Place<'a>,
        /// The directory's new time.
        directory: Time,
    },
    /// An object was given another name in place of one that it had.
    Rename {
        /// What.
        object: ObjectId,
        /// The old name.
        from: Place<'a>,
        /// The new name.
        to: Place<'a>,
        /// What had the new name, and lost it.
        replaced: Option<ObjectId>,
        /// The new time of the directory of the old name.
        left: Time,
        /// The new time of the directory of the new name.
        entered: Time,
    },
    /// Two objects changed places.
    Exchange {
        /// One, which was at `from`.
        object: ObjectId,
        /// The other, which was at `to`.
        other: ObjectId,
        /// The place of the one before, of the other afterwards.
        from: Place<'a>,
        /// The place of the other before, of the one afterwards.
        to: Place<'a>,
        /// The new time of the directory of `from`.
        left: Time,
        /// The new time of the directory of `to`.
        entered: Time,
    },
    /// Data was written, which makes the file longer if it goes beyond its end. As anywhere on Linux, a write takes
    /// `security.capability` from the file.
    Write {
        /// The file.
        object: ObjectId,
        /// Where it starts, in bytes.
        offset: u64,
        /// What was written.
        #[serde(serialize_with = "as_bytes")]
        data: &'a [u8],
        /// The file's new time.
        modified: Time,
    },
    /// The file was given this size: cut, or made longer with a hole. Takes `security.capability` from the file, too.
    Truncate {
        /// The file.
        object: ObjectId,
        /// Its new size, in bytes.
        len: u64,
        /// The file's new time.
        modified: Time,
    },
    /// Room was reserved, or a range was made zeros.
    Allocate {
        /// The file.
        object: ObjectId,
        /// What.
        what: Allocation,
        /// Where it starts, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        len: u64,
        /// The file's new time.
        modified: Time,
    },
    /// Permission bits with set-id and sticky bits, 12 bits, are these now.
    SetMode {
        /// What.
        object: ObjectId,
        /// The bits.
        mode: u32,
    },
    /// Owner and group are these now. The mode that comes of it follows as [`Operation::SetMode`] where it is another.
    SetOwner {
        /// What.
        object: ObjectId,
        /// The owner.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// Times were set.
    SetTimes {
        /// What.
        object: ObjectId,
        /// Of the last access, if it was set.
        accessed: Option<Time>,
        /// Of the last change of the contents, if it was set.
        modified: Option<Time>,
    },
    /// An extended attribute, or ACL, has this value now. The mode that comes of an ACL follows as [`Operation::SetMode`].
    SetXattr {
        /// What.
        object: ObjectId,
        /// Its full name: `user.x`, `system.posix_acl_access`, ….
        name: &'a [u8],
        /// Its value.
        #[serde(serialize_with = "as_bytes")]
        value: &'a [u8],
    },
    /// An extended attribute, or ACL, is there no longer.
    RemoveXattr {
        /// What.
        object: ObjectId,
        /// Its full name.
        name: &'a [u8],
    },
    /// A mark: somebody asked that what was done to the object so far is durable, and waits for it. Nothing changes.
    Sync {
        /// What.
        object: ObjectId,
        /// Whether only for its data and what is needed to read it (`fdatasync`).
        data_only: bool,
    },
}
