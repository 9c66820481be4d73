//! A root and its side area as a [`Volume`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, fstat, fsync, futimens, ioctl_ficlone,
    linkat, mkdirat, mknodat, open, openat, renameat, symlinkat, syncfs, unlinkat,
};
use rustix::io::Errno;
use standin_common::entry::Attrs;
use standin_common::message::RootKind;
use standin_common::path::RelPath;

use super::handle::{OsDirectory, OsFile};
use super::object;
use super::resolve::{self, Handle, NAME_ONLY, RESERVED};
use super::xattr::Reach;
use crate::volume::{Abilities, Object, ObjectKind, Place, SideId, Touched, Volume, VolumeFile};

const PRIVATE: Mode = Mode::RWXU;
const FILE: Mode = Mode::RUSR.union(Mode::WUSR);
const PROBE: &[u8] = b".probe";
const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const WRITE: OFlags = OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const CREATE: OFlags = WRITE.union(OFlags::CREATE).union(OFlags::EXCL);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[derive(Debug)]
enum Root {
    Directory(OwnedFd),
    /// A file or block device; the path is the administrator's and may lead over links.
    Single {
        path: PathBuf,
        kind: RootKind,
    },
}

#[derive(Debug)]
struct Side {
    fd: OwnedFd,
    /// Whether it lies in the root, under the reserved name.
    inside: bool,
}

/// A root of the real file system.
#[derive(Debug)]
pub struct OsVolume {
    root: Root,
    side: Option<Side>,
    abilities: Abilities,
}

fn unsupported(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, text)
}

impl OsVolume {
    /// Opens a root that is read. It must exist.
    pub fn open_source(root: &Path) -> io::Result<Self> {
        use std::os::unix::fs::FileTypeExt;
        let found = std::fs::metadata(root)?.file_type();
        let single = |kind| Root::Single { path: root.to_owned(), kind };
        let root = match found {
            found if found.is_dir() => Root::Directory(open(root, DIRECTORY, Mode::empty())?),
            found if found.is_block_device() => single(RootKind::Device),
            _ => single(RootKind::File),
        };
        Ok(Self { root, side: None, abilities: Abilities { owners: privileged(), clones: false } })
    }

    /// Opens a root that is written. If it does not exist it is made, in a directory that must exist. The side area is `side`, unless
    /// nothing can be moved from there into the root: then it is a directory of a reserved name in the root.
    pub fn open_target(root: &Path, side: &Path, kind: RootKind) -> io::Result<Self> {
        if !root.try_exists()? {
            match kind {
                RootKind::Directory => mkdirat(CWD, root, PRIVATE)?,
                RootKind::File | RootKind::Device => drop(File::create_new(root)?),
            }
        }
        standin_common::disk::create_private_dir(side).map_err(io::Error::from)?;
        let mut volume = Self::open_source(root)?;
        let outside = Side { fd: open(side, DIRECTORY, Mode::empty())?, inside: false };
        let side = match &volume.root {
            Root::Single { .. } => outside,
            Root::Directory(fd) if movable(outside.fd.as_fd(), fd.as_fd())? => outside,
            Root::Directory(fd) => Side { fd: inside(fd.as_fd())?, inside: true },
        };
        volume.abilities.clones = matches!(volume.root, Root::Directory(_)) && clones(side.fd.as_fd())?;
        volume.side = Some(side);
        Ok(volume)
    }

    /// Whether the side area lies in the root, since nothing can be moved from elsewhere into it.
    pub fn has_side_inside(&self) -> bool {
        self.side.as_ref().is_some_and(|side| side.inside)
    }

    /// Whether a new file in `directory` could share the data of this root, which is one file: tried with the file itself, since that depends
    /// on it, too. Nothing of the try is left, or ever has a name.
    pub fn shares_into(&self, directory: &Path) -> bool {
        let Root::Single { path, kind: RootKind::File } = &self.root else { return false };
        let probe = open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, FILE);
        probe.is_ok_and(|probe| File::open(path).is_ok_and(|file| ioctl_ficlone(&probe, &file).is_ok()))
    }

    fn directory(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.root {
            Root::Directory(fd) => Ok(fd.as_fd()),
            Root::Single { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn side(&self) -> io::Result<BorrowedFd<'_>> {
        self.side.as_ref().map(|side| side.fd.as_fd()).ok_or_else(|| unsupported("a root that is only read has no side area"))
    }

    /// The directory that holds a place, and its name there.
    fn locate<'a>(&'a self, place: &Place<'_>) -> io::Result<(Handle<'a>, Vec<u8>)> {
        match place {
            Place::Tree(path) => resolve::parent(self.directory()?, path).map(|(handle, name)| (handle, name.to_vec())),
            Place::Side(side) => Ok((Handle::Borrowed(self.side()?), side.to_string().into_bytes())),
        }
    }

    fn single(&self, place: &Place<'_>) -> Option<&Path> {
        match (&self.root, place) {
            (Root::Single { path, .. }, Place::Tree(tree)) if tree.is_root() => Some(path),
            _ => None,
        }
    }

    /// A handle that only names the object of a place.
    fn name(&self, place: &Place<'_>) -> io::Result<OwnedFd> {
        if let Some(path) = self.single(place) {
            return Ok(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?);
        }
        match place {
            Place::Tree(path) => resolve::open(self.directory()?, path, NAME_ONLY, Mode::empty()),
            Place::Side(side) => Ok(openat(self.side()?, side.to_string(), NAME_ONLY, Mode::empty())?),
        }
    }

    fn open_with(&self, place: &Place<'_>, flags: OFlags) -> io::Result<OsFile> {
        let flags = flags | OFlags::CLOEXEC;
        let fd = match place {
            _ if self.single(place).is_some() => {
                let path = self.single(place).unwrap_or(Path::new(""));
                open(path, flags.difference(OFlags::NOFOLLOW), FILE)?
            }
            Place::Tree(path) => resolve::open(self.directory()?, path, flags, FILE)?,
            Place::Side(side) => openat(self.side()?, side.to_string(), flags, FILE)?,
        };
        let file = OsFile::new(File::from(fd), self.abilities.owners)?;
        let regular = file.object()?.kind == ObjectKind::File;
        if !regular || (file.device_len.is_some() && self.single(place).is_none()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Ok(file)
    }
}

impl OsVolume {
    /// A handle of a directory or regular file with which it can be made durable.
    fn durable_handle(&self, place: &Place<'_>) -> io::Result<OwnedFd> {
        let flags = READ | OFlags::CLOEXEC;
        if let Some(path) = self.single(place) {
            return Ok(open(path, flags.difference(OFlags::NOFOLLOW), Mode::empty())?);
        }
        match place {
            Place::Tree(path) => resolve::open(self.directory()?, path, flags, Mode::empty()),
            Place::Side(side) => Ok(openat(self.side()?, side.to_string(), flags, Mode::empty())?),
        }
    }
}

fn privileged() -> bool {
    rustix::process::geteuid().is_root()
}

fn gone_is_fine(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

/// Whether an object can be moved from the side area into the root: tried, since bind mounts and subvolumes cannot be told by number.
fn movable(side: BorrowedFd<'_>, root: BorrowedFd<'_>) -> io::Result<bool> {
    gone_is_fine(unlinkat(side, PROBE, AtFlags::empty()))?;
    drop(openat(side, PROBE, CREATE | OFlags::CLOEXEC, FILE)?);
    let before = fstat(root)?;
    let moved = renameat(side, PROBE, root, RESERVED);
    let back = if moved.is_ok() { renameat(root, RESERVED, side, PROBE) } else { Ok(()) };
    if moved.is_ok() {
        set_back_time(root, &before)?;
    }
    unlinkat(side, PROBE, AtFlags::empty())?;
    back?;
    match moved {
        Ok(()) => Ok(true),
        // There is a side area in the root, from before the state directory was moved.
        Err(Errno::XDEV | Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// The root is part of the replica, its time included.
fn set_back_time(root: BorrowedFd<'_>, before: &Stat) -> rustix::io::Result<()> {
    let modified = Timespec { tv_sec: before.st_mtime, tv_nsec: before.st_mtime_nsec as _ };
    let untouched = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    futimens(root, &Timestamps { last_access: untouched, last_modification: modified })
}

fn inside(root: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let before = fstat(root)?;
    match mkdirat(root, RESERVED, PRIVATE) {
        Err(Errno::EXIST) => {}
        made => made.and_then(|()| set_back_time(root, &before))?,
    }
    Ok(openat(root, RESERVED, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?)
}

/// Whether files can be cloned here: tried.
fn clones(side: BorrowedFd<'_>) -> io::Result<bool> {
    const CLONE: &[u8] = b".probe-clone";
    for name in [PROBE, CLONE] {
        gone_is_fine(unlinkat(side, name, AtFlags::empty()))?;
    }
    let from = openat(side, PROBE, CREATE | OFlags::CLOEXEC, FILE)?;
    let to = openat(side, CLONE, CREATE | OFlags::CLOEXEC, FILE)?;
    let cloned = ioctl_ficlone(&to, &from).is_ok();
    for name in [PROBE, CLONE] {
        unlinkat(side, name, AtFlags::empty())?;
    }
    Ok(cloned)
}

impl Volume for OsVolume {
    type File = OsFile;
    type Directory = OsDirectory;

    fn kind(&self) -> RootKind {
        match &self.root {
            Root::Directory(_) => RootKind::Directory,
            Root::Single { kind, .. } => *kind,
        }
    }

    fn abilities(&self) -> Abilities {
        self.abilities
    }

    fn open_directory(&self, path: &RelPath) -> io::Result<OsDirectory> {
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        let fd = resolve::open(self.directory()?, path, flags, Mode::empty())?;
        Ok(OsDirectory { fd, top: path.is_root(), privileged: self.abilities.owners })
    }

    fn object(&self, place: &Place<'_>) -> io::Result<Option<Object>> {
        if self.single(place).is_some() {
            return self.open_with(place, READ)?.object().map(Some);
        }
        let handle = match self.name(place) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
            handle => handle?,
        };
        let path = object::named(handle.as_fd())?;
        object::of_handle(handle.as_fd(), Reach::Named(&path), self.abilities.owners).map(Some)
    }

    fn open(&self, place: &Place<'_>, write: bool) -> io::Result<OsFile> {
        self.open_with(place, if write { WRITE } else { READ })
    }

    fn create(&self, place: &Place<'_>) -> io::Result<OsFile> {
        self.open_with(place, CREATE)
    }

    fn make_directory(&self, path: &RelPath) -> io::Result<()> {
        let (parent, name) = self.locate(&Place::Tree(path))?;
        Ok(mkdirat(parent.as_fd(), name, PRIVATE)?)
    }

    fn make_symlink(&self, place: &Place<'_>, target: &[u8]) -> io::Result<()> {
        let (parent, name) = self.locate(place)?;
        Ok(symlinkat(target, parent.as_fd(), name)?)
    }

    fn make_fifo(&self, place: &Place<'_>) -> io::Result<()> {
        let (parent, name) = self.locate(place)?;
        Ok(mknodat(parent.as_fd(), name, FileType::Fifo, FILE, 0)?)
    }

    fn link(&self, from: &Place<'_>, to: &Place<'_>) -> io::Result<()> {
        let ((from, from_name), (to, to_name)) = (self.locate(from)?, self.locate(to)?);
        Ok(linkat(from.as_fd(), from_name, to.as_fd(), to_name, AtFlags::empty())?)
    }

    fn rename(&self, from: &Place<'_>, to: &Place<'_>) -> io::Result<()> {
        let ((from, from_name), (to, to_name)) = (self.locate(from)?, self.locate(to)?);
        Ok(renameat(from.as_fd(), from_name, to.as_fd(), to_name)?)
    }

    fn remove(&self, place: &Place<'_>) -> io::Result<()> {
        let (parent, name) = self.locate(place)?;
        Ok(unlinkat(parent.as_fd(), name, AtFlags::empty())?)
    }

    fn remove_directory(&self, path: &RelPath) -> io::Result<()> {
        let (parent, name) = self.locate(&Place::Tree(path))?;
        Ok(unlinkat(parent.as_fd(), name, AtFlags::REMOVEDIR)?)
    }

    fn set_attrs(&self, place: &Place<'_>, attrs: &Attrs) -> io::Result<()> {
        if self.single(place).is_some() {
            return self.open_with(place, READ)?.set_attrs(attrs);
        }
        let handle = self.name(place)?;
        let path = object::named(handle.as_fd())?;
        object::set(handle.as_fd(), Reach::Named(&path), attrs, self.abilities.owners)
    }

    fn clone_file(&self, from: &Place<'_>, to: &Place<'_>) -> io::Result<()> {
        if !self.abilities.clones {
            return Err(unsupported("this file system cannot clone files"));
        }
        let (from, to) = (self.open(from, false)?, self.create(to)?);
        Ok(ioctl_ficlone(&to.file, &from.file)?)
    }

    fn side_objects(&self) -> io::Result<Vec<SideId>> {
        let mut sides = Vec::new();
        for entry in Dir::read_from(self.side()?)? {
            let entry = entry?;
            sides.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<SideId>().ok()));
        }
        Ok(sides)
    }

    fn close_side(&self) -> io::Result<()> {
        let (Root::Directory(root), Some(Side { inside: true, .. })) = (&self.root, &self.side) else { return Ok(()) };
        let before = fstat(root)?;
        match unlinkat(root, RESERVED, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(()),
            gone => Ok(gone.and_then(|()| set_back_time(root.as_fd(), &before))?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        match &self.root {
            Root::Directory(fd) => syncfs(fd)?,
            Root::Single { path, .. } => File::open(path)?.sync_all()?,
        }
        if let Some(side) = &self.side {
            syncfs(&side.fd)?;
        }
        Ok(())
    }

    fn sync_touched(&self, touched: &Touched) -> io::Result<()> {
        let Some((paths, sides, side_names)) = touched.objects() else { return self.sync() };
        let places = paths.iter().map(Place::Tree).chain(sides.iter().copied().map(Place::Side));
        for place in places {
            // Links, pipes, and what is not there any more cannot be made durable by themselves.
            let Ok(handle) = self.durable_handle(&place) else { return self.sync() };
            match fsync(&handle) {
                Err(Errno::INVAL | Errno::ROFS | Errno::OPNOTSUPP) => return self.sync(),
                synced => synced?,
            }
        }
        if side_names { Ok(fsync(self.side()?)?) } else { Ok(()) }
    }
}

impl Drop for OsVolume {
    fn drop(&mut self) {
        // Left behind, it is used again by the next one.
        let _ = self.close_side();
    }
}
