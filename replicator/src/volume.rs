//! The edge to a file system: everything Standin does beneath one root, and nothing that could reach outside it.
//!
//! Two implementations: the real one of the platform, and the simulated one ([`crate::sim`]), which forgets
//! what was not synced when it crashes.

mod names;
mod touched;

use std::fmt;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standin_common::entry::{Attrs, Time};
use standin_common::message::RootKind;
use standin_common::path::RelPath;

pub use names::{Names, TooManyNames};
pub use touched::Touched;

/// The name at the top of a root that is never part of the tree: it may hold the side area.
pub const RESERVED: &[u8] = b".standin";

/// Whether a path is [`RESERVED`], or beneath it.
pub fn is_reserved(path: &RelPath) -> bool {
    path.components().next() == Some(RESERVED)
}

/// An object outside the tree but on the same file system: staged to be put in, or parked when taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SideId {
    /// The recovery point that the object was staged for, or parked by.
    pub point: u64,
    /// Number within that point.
    pub number: u64,
}

impl fmt::Display for SideId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.point, self.number)
    }
}

impl std::str::FromStr for SideId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (point, number) = text.split_once('-').unwrap_or((text, ""));
        Ok(Self { point: point.parse()?, number: number.parse()? })
    }
}

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place<'a> {
    /// In the tree, beneath the root.
    Tree(&'a RelPath),
    /// In the side area of the same file system.
    Side(SideId),
}

/// What an object is, as the file system says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectKind {
    /// A directory.
    Directory,
    /// A regular file, or the device or image that a root is.
    File,
    /// A symbolic link, with its target.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket or device node: reported, never copied. The text names which.
    Special(&'static str),
}

/// An object with all its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// Size in bytes (files), of a block device its capacity.
    pub size: u64,
    /// Mode, owner, modification time, extended attributes.
    pub attrs: Attrs,
    /// Number of names.
    pub names: u64,
    /// What tells this object from all others and notices every change of it.
    pub stamp: Stamp,
}

/// Identity and change counter of an object on its own machine; never compared across machines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// The file system's number.
    pub device: u64,
    /// The object's number in it.
    pub inode: u64,
    /// Time of the last change of data or attributes; it cannot be set.
    pub changed: Time,
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Time,
}

/// The coarsest clock tick of a file system's change times.
const TICK: Duration = Duration::from_millis(20);

impl Stamp {
    /// From when on, since 1970, a look at it proves something: a change in the same clock tick as the last one does not show.
    pub fn proves_from(&self) -> Duration {
        since_1970(self.changed) + TICK
    }

    /// Whether the last change may have been at this time or later, by the clock that the file system has, too.
    pub fn may_be_of(&self, time: Time) -> bool {
        self.proves_from() >= since_1970(time)
    }
}

fn since_1970(time: Time) -> Duration {
    Duration::new(u64::try_from(time.secs).unwrap_or(0), time.nanos)
}

/// A stretch of a file that holds data, or one that is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// First byte.
    pub start: u64,
    /// First byte after it.
    pub end: u64,
    /// Whether it is a hole, which reads as zeros and takes no room.
    pub hole: bool,
}

/// One directory, held open while it is walked.
pub trait Directory {
    /// Its names, in the order of their bytes, without `.` and `..` and without the side area.
    fn names(&self) -> io::Result<Names>;
    /// The object of a name, not following links; `None` when it is gone.
    fn object(&self, name: &[u8]) -> io::Result<Option<Object>>;
    /// The same, but the target of a link and extended attributes may be missing: its kind and stamp are what counts.
    fn glance(&self, name: &[u8]) -> io::Result<Option<Object>> {
        self.object(name)
    }
}

/// One open file.
pub trait VolumeFile: Send + Sync + 'static {
    /// Reads at `offset` until `buffer` is full or the file ends; returns the bytes read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `data` at `offset`.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts or extends the file. On a block device: checks that the size fits.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes `start..end` read as zeros, without room where the file system can.
    fn punch(&self, start: u64, end: u64) -> io::Result<()>;
    /// The stretch that `offset` (below the file's size) lies in, to its end; at least one byte long.
    fn stretch(&self, offset: u64) -> io::Result<Stretch>;
    /// Whether all of `start..end` (not empty, below the file's size) lies in a hole. Cheaper than a stretch where holes are hard to find.
    fn is_hole(&self, start: u64, end: u64) -> io::Result<bool> {
        self.stretch(start).map(|stretch| stretch.hole && stretch.end >= end)
    }
    /// Makes the file hold what another does, sharing its data; `Unsupported` where the file system cannot. Nothing is changed then.
    fn share(&self, _from: &Self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Its size in bytes, as [`VolumeFile::object`] tells it.
    fn size(&self) -> io::Result<u64> {
        self.object().map(|object| object.size)
    }
    /// The object behind the open file.
    fn object(&self) -> io::Result<Object>;
    /// Sets owner, extended attributes (removing others), mode and time, in an order in which none undoes another.
    fn set_attrs(&self, attrs: &Attrs) -> io::Result<()>;
    /// Makes the file's data and attributes durable.
    fn sync(&self) -> io::Result<()>;
    /// Lets the system forget what of `start..end` it holds in memory, so that the next reading is from the disk. What is not on the
    /// disk yet stays, and all of it where the system cannot.
    fn forget_cached(&self, _start: u64, _end: u64) -> io::Result<()> {
        Ok(())
    }
}

/// What is set of an object's owner, which an unprivileged process cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Owners and privileged extended attributes can be set.
    pub owners: bool,
    /// Files can be cloned without copying their data.
    pub clones: bool,
}

/// Everything beneath one root.
///
/// Every operation stays beneath the root, whatever symbolic links or races there are: an intermediate component that is a link is an error.
/// Errors are `io::Error`s; the caller adds which path and what it means.
pub trait Volume: Send + Sync {
    /// An open file of this volume.
    type File: VolumeFile;
    /// An open directory of this volume.
    type Directory: Directory;

    /// What the root is.
    fn kind(&self) -> RootKind;
    /// What can be done here.
    fn abilities(&self) -> Abilities;
    /// Opens a directory for walking.
    fn open_directory(&self, path: &RelPath) -> io::Result<Self::Directory>;
    /// The object at a place, not following links; `None` when there is none.
    fn object(&self, place: &Place<'_>) -> io::Result<Option<Object>>;
    /// Opens an existing regular file (never a link, pipe or device below the root) for reading, and for writing if asked.
    fn open(&self, place: &Place<'_>, write: bool) -> io::Result<Self::File>;
    /// Creates a new file; an error if the place is taken.
    fn create(&self, place: &Place<'_>) -> io::Result<Self::File>;
    /// Creates a directory; an error if the place is taken.
    fn make_directory(&self, path: &RelPath) -> io::Result<()>;
    /// Creates a symbolic link; an error if the place is taken.
    fn make_symlink(&self, place: &Place<'_>, target: &[u8]) -> io::Result<()>;
    /// Creates a named pipe; an error if the place is taken.
    fn make_fifo(&self, place: &Place<'_>) -> io::Result<()>;
    /// Gives the object at `from` one more name.
    fn link(&self, from: &Place<'_>, to: &Place<'_>) -> io::Result<()>;
    /// Moves an object, replacing what is at `to` unless that is a directory.
    fn rename(&self, from: &Place<'_>, to: &Place<'_>) -> io::Result<()>;
    /// Removes a name of anything but a directory.
    fn remove(&self, place: &Place<'_>) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_directory(&self, path: &RelPath) -> io::Result<()>;
    /// Sets all attributes of a directory, link, pipe or file, not following links.
    fn set_attrs(&self, place: &Place<'_>, attrs: &Attrs) -> io::Result<()>;
    /// A new file at `to` that shares the data of the file at `from`; `Unsupported` where the file system cannot.
    fn clone_file(&self, from: &Place<'_>, to: &Place<'_>) -> io::Result<()>;
    /// All objects of the side area.
    fn side_objects(&self) -> io::Result<Vec<SideId>>;
    /// Takes the side area out of the root, if it lies there and is empty. Nothing may be put there any more.
    fn close_side(&self) -> io::Result<()> {
        Ok(())
    }
    /// Makes everything done so far durable: data, names and attributes.
    fn sync(&self) -> io::Result<()>;
    /// Makes durable what was touched; all of it before a failure may or may not be.
    fn sync_touched(&self, touched: &Touched) -> io::Result<()> {
        if touched.is_nothing() { Ok(()) } else { self.sync() }
    }
}
