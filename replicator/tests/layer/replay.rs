//! Performs operations on another directory, strictly: whatever does not fit is an error.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
    chmod, chownat, fallocate, linkat, mkdirat, mknodat, open, openat, removexattr, renameat_with, setxattr, statat, symlinkat,
    unlinkat, utimensat,
};
use standin_common::entry::Time;
use standin_replicator::capture::ordered::{Allocation, Kind, Made, ObjectId, Operation, Place};

const NAME_ONLY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directory, and the objects that were told.
pub(crate) struct Replay {
    root: OwnedFd,
    objects: HashMap<ObjectId, OwnedFd>,
    writing: Option<(ObjectId, File)>,
}

impl Replay {
    /// On a directory that is as the other was when the history began.
    pub(crate) fn onto(directory: &Path) -> io::Result<Self> {
        let root = open(directory, NAME_ONLY | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Self { root, objects: HashMap::new(), writing: None })
    }

    /// Does one operation.
    pub(crate) fn perform(&mut self, operation: &Operation<'_>) -> io::Result<()> {
        match *operation {
            Operation::Root { object } => {
                let root = self.root.try_clone()?;
                self.objects.insert(object, root);
                Ok(())
            }
            Operation::Known { object, at } => {
                let fd = self.at(at)?;
                self.objects.insert(object, fd);
                Ok(())
            }
            Operation::Forgotten { object } => {
                self.writing.take_if(|writing| writing.0 == object);
                self.objects.remove(&object).map(drop).ok_or_else(|| io::Error::other("forgotten, and never told"))
            }
            Operation::Write { .. } | Operation::Truncate { .. } | Operation::Allocate { .. } => self.data(operation),
            Operation::SetMode { .. }
            | Operation::SetOwner { .. }
            | Operation::SetTimes { .. }
            | Operation::SetXattr { .. }
            | Operation::RemoveXattr { .. } => self.attributes(operation),
            Operation::Sync { object, .. } => self.object(object).map(drop),
            _ => self.names(operation),
        }
    }

    fn object(&self, id: ObjectId) -> io::Result<BorrowedFd<'_>> {
        self.objects.get(&id).map(AsFd::as_fd).ok_or_else(|| io::Error::other(format!("{id:?} was never told")))
    }

    fn at(&self, at: Place<'_>) -> io::Result<OwnedFd> {
        Ok(openat(self.object(at.parent)?, at.name, NAME_ONLY, Mode::empty())?)
    }

    /// What has a name must be what the history says.
    fn expect(&self, object: ObjectId, at: Place<'_>) -> io::Result<()> {
        let there = statat(self.object(at.parent)?, at.name, AtFlags::SYMLINK_NOFOLLOW)?.st_ino;
        let meant = statat(self.object(object)?, c"", AtFlags::EMPTY_PATH)?.st_ino;
        if there == meant { Ok(()) } else { Err(io::Error::other("another object has that name")) }
    }

    fn names(&mut self, operation: &Operation<'_>) -> io::Result<()> {
        match *operation {
            Operation::Make { object, at, kind, made, directory } => {
                let fd = self.make(at, kind, made)?;
                self.objects.insert(object, fd);
                at.map_or(Ok(()), |at| touch(self.object(at.parent)?, directory))
            }
            Operation::Link { object, at, directory } => {
                linkat(self.object(object)?, c"", self.object(at.parent)?, at.name, AtFlags::EMPTY_PATH)?;
                touch(self.object(at.parent)?, directory)
            }
            Operation::Remove { object, at, directory } => {
                self.expect(object, at)?;
                let stat = statat(self.object(object)?, c"", AtFlags::EMPTY_PATH)?;
                let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                let how = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                unlinkat(self.object(at.parent)?, at.name, how)?;
                touch(self.object(at.parent)?, directory)
            }
            Operation::Rename { object, from, to, replaced, left, entered } => {
                self.expect(object, from)?;
                let flags = if replaced.is_some() { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
                replaced.map_or(Ok(()), |replaced| self.expect(replaced, to))?;
                renameat_with(self.object(from.parent)?, from.name, self.object(to.parent)?, to.name, flags)?;
                touch(self.object(from.parent)?, left)?;
                touch(self.object(to.parent)?, entered)
            }
            Operation::Exchange { object, other, from, to, left, entered } => {
                self.expect(object, from)?;
                self.expect(other, to)?;
                renameat_with(self.object(from.parent)?, from.name, self.object(to.parent)?, to.name, RenameFlags::EXCHANGE)?;
                touch(self.object(from.parent)?, left)?;
                touch(self.object(to.parent)?, entered)
            }
            _ => Err(io::Error::other("not about names")),
        }
    }

    fn make(&self, at: Option<Place<'_>>, kind: Kind<'_>, made: Made) -> io::Result<OwnedFd> {
        let mode = Mode::from_raw_mode(made.mode);
        let Some(at) = at else {
            let file = openat(&self.root, c".", OFlags::TMPFILE | OFlags::RDWR, mode)?;
            set(file.as_fd(), made, false)?;
            return Ok(file);
        };
        let parent = self.object(at.parent)?;
        let node = |kind, device| mknodat(parent, at.name, kind, mode, device);
        match kind {
            Kind::File => node(FileType::RegularFile, 0)?,
            Kind::Directory => mkdirat(parent, at.name, mode)?,
            Kind::Symlink(target) => symlinkat(target, parent, at.name)?,
            Kind::Fifo => node(FileType::Fifo, 0)?,
            Kind::Socket => node(FileType::Socket, 0)?,
            Kind::CharacterDevice(device) => node(FileType::CharacterDevice, device)?,
            Kind::BlockDevice(device) => node(FileType::BlockDevice, device)?,
        }
        let fd = self.at(at)?;
        set(fd.as_fd(), made, matches!(kind, Kind::Symlink(_)))?;
        Ok(fd)
    }

    fn data(&mut self, operation: &Operation<'_>) -> io::Result<()> {
        let (Operation::Write { object, modified, .. }
        | Operation::Truncate { object, modified, .. }
        | Operation::Allocate { object, modified, .. }) = *operation
        else {
            return Err(io::Error::other("not about data"));
        };
        if self.writing.as_ref().is_none_or(|writing| writing.0 != object) {
            let file = openat(CWD, path(self.object(object)?), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            self.writing = Some((object, file.into()));
        }
        let Some((_, file)) = &self.writing else { return Err(io::Error::other("not open")) };
        match *operation {
            Operation::Write { offset, data, .. } => file.write_all_at(data, offset)?,
            Operation::Truncate { len, .. } => file.set_len(len)?,
            Operation::Allocate { what, offset, len, .. } => {
                let flags = match what {
                    Allocation::Grow => FallocateFlags::empty(),
                    Allocation::Reserve => FallocateFlags::KEEP_SIZE,
                    Allocation::Punch => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                    Allocation::Zero => FallocateFlags::ZERO_RANGE,
                    Allocation::ZeroWithin => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
                };
                fallocate(file, flags, offset, len)?;
            }
            _ => {}
        }
        touch(file.as_fd(), modified)
    }

    fn attributes(&self, operation: &Operation<'_>) -> io::Result<()> {
        match *operation {
            Operation::SetMode { object, mode } => Ok(chmod(path(self.object(object)?), Mode::from_raw_mode(mode))?),
            Operation::SetOwner { object, uid, gid } => own(self.object(object)?, uid, gid),
            Operation::SetTimes { object, accessed, modified } => {
                let times = Timestamps { last_access: spec(accessed), last_modification: spec(modified) };
                Ok(utimensat(self.object(object)?, c"", &times, AtFlags::EMPTY_PATH)?)
            }
            Operation::SetXattr { object, name, value } => {
                Ok(setxattr(path(self.object(object)?), name, value, XattrFlags::empty())?)
            }
            Operation::RemoveXattr { object, name } => Ok(removexattr(path(self.object(object)?), name)?),
            _ => Err(io::Error::other("not about attributes")),
        }
    }
}

fn path(object: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", object.as_raw_fd())
}

fn own(object: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    Ok(chownat(object, c"", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?)
}

fn set(object: BorrowedFd<'_>, made: Made, link: bool) -> io::Result<()> {
    own(object, made.uid, made.gid)?;
    if !link {
        chmod(path(object), Mode::from_raw_mode(made.mode))?;
    }
    touch(object, made.modified)
}

fn spec(time: Option<Time>) -> Timespec {
    time.map_or(Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, |time| Timespec { tv_sec: time.secs, tv_nsec: time.nanos.into() })
}

fn touch(object: BorrowedFd<'_>, modified: Time) -> io::Result<()> {
    let times = Timestamps { last_access: spec(None), last_modification: spec(Some(modified)) };
    Ok(utimensat(object, c"", &times, AtFlags::EMPTY_PATH)?)
}
