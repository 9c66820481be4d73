//! Open directories and files.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{
    Advice, AtFlags, Dir, FallocateFlags, FileType, SeekFrom, Stat, fadvise, fallocate, fstat, ioctl_ficlone, readlinkat, seek,
    statat,
};
use rustix::io::Errno;

use super::object;
use super::positioned::read_full_at;
use super::resolve::RESERVED;
use super::xattr::{self, Reach};
use crate::volume::{Directory, Names, Object, ObjectKind, Stretch, VolumeFile};
use standin_common::entry::{Attrs, Time};

/// An open directory.
#[derive(Debug)]
pub struct OsDirectory {
    pub(super) fd: OwnedFd,
    pub(super) top: bool,
    pub(super) privileged: bool,
}

impl Directory for OsDirectory {
    fn names(&self) -> io::Result<Names> {
        let mut names = Names::new();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !(name == b"." || name == b".." || self.top && name == RESERVED) {
                names.push(name).map_err(io::Error::other)?;
            }
        }
        names.sort();
        Ok(names)
    }

    fn glance(&self, name: &[u8]) -> io::Result<Option<Object>> {
        let stat = self.stat(name)?;
        stat.map(|stat| object::assemble(&stat, || Ok(Vec::new()), || Ok(Vec::new()))).transpose()
    }

    fn object(&self, name: &[u8]) -> io::Result<Option<Object>> {
        let Some(stat) = self.stat(name)? else { return Ok(None) };
        let target = || Ok(readlinkat(&self.fd, name, Vec::new())?.into_bytes());
        let xattrs = || xattr::read(Reach::Beneath(self.fd.as_fd(), &CString::new(name)?), self.privileged);
        match object::assemble(&stat, target, xattrs) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            assembled => assembled.map(Some),
        }
    }
}

impl OsDirectory {
    fn stat(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            stat => Ok(Some(stat?)),
        }
    }
}

/// An open file.
#[derive(Debug)]
pub struct OsFile {
    pub(super) file: File,
    /// The capacity, if this is a block device.
    pub(super) device_len: Option<u64>,
    pub(super) privileged: bool,
}

impl OsFile {
    pub(super) fn new(file: File, privileged: bool) -> io::Result<Self> {
        let device = FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::BlockDevice;
        let device_len = if device { Some(seek(&file, SeekFrom::End(0))?) } else { None };
        Ok(Self { file, device_len, privileged })
    }
}

impl VolumeFile for OsFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        read_full_at(&self.file, buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.device_len {
            None => self.file.set_len(len),
            Some(device_len) if len <= device_len => Ok(()),
            Some(device_len) => {
                let text = format!("the device has {device_len} bytes, fewer than the {len} of the source");
                Err(io::Error::new(io::ErrorKind::StorageFull, text))
            }
        }
    }

    fn punch(&self, start: u64, end: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.file, flags, start, end - start) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NODEV) => {
                let zeros = [0; 64 * 1024];
                let mut at = start;
                while at < end {
                    let piece = (end - at).min(zeros.len() as u64) as usize;
                    self.write_at(&zeros[..piece], at)?;
                    at += piece as u64;
                }
                Ok(())
            }
            punched => Ok(punched?),
        }
    }

    fn stretch(&self, offset: u64) -> io::Result<Stretch> {
        let size = self.object_size()?.max(offset + 1);
        let data = Stretch { start: offset, end: size, hole: false };
        if self.device_len.is_some() {
            return Ok(data);
        }
        match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(at) if at == offset => {
                let end = seek(&self.file, SeekFrom::Hole(offset)).unwrap_or(size);
                Ok(Stretch { end: end.clamp(offset + 1, size), ..data })
            }
            Ok(at) => Ok(Stretch { end: at.min(size), hole: true, ..data }),
            // No data from here to the end.
            Err(Errno::NXIO) => Ok(Stretch { hole: true, ..data }),
            Err(Errno::INVAL) => Ok(data),
            Err(errno) => Err(errno.into()),
        }
    }

    fn is_hole(&self, start: u64, end: u64) -> io::Result<bool> {
        if self.device_len.is_some() {
            return Ok(false);
        }
        match seek(&self.file, SeekFrom::Data(start)) {
            Ok(at) => Ok(at >= end),
            Err(Errno::NXIO) => Ok(true),
            Err(Errno::INVAL) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn share(&self, from: &Self) -> io::Result<()> {
        match ioctl_ficlone(&self.file, &from.file) {
            // Not here, not between these, or not of such files.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::PERM | Errno::ACCESS) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            shared => Ok(shared?),
        }
    }

    fn size(&self) -> io::Result<u64> {
        self.object_size()
    }

    fn object(&self) -> io::Result<Object> {
        let fd = self.file.as_fd();
        let mut object = object::of_handle(fd, Reach::Open(fd), self.privileged)?;
        if let Some(len) = self.device_len {
            (object.kind, object.size, object.stamp.size) = (ObjectKind::File, len, len);
            // Nothing tells when its data changed last, so that might be now; mode and owner are those of a file in its place.
            object.stamp.changed = now();
            object.attrs = Attrs { mode: 0o600, mtime: now(), ..Attrs::default() };
        }
        Ok(object)
    }

    fn set_attrs(&self, attrs: &Attrs) -> io::Result<()> {
        // A device node is its machine's own.
        if self.device_len.is_some() {
            return Ok(());
        }
        let fd = self.file.as_fd();
        object::set(fd, Reach::Open(fd), attrs, self.privileged)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn forget_cached(&self, start: u64, end: u64) -> io::Result<()> {
        // No length would mean: to the end of the file.
        match NonZeroU64::new(end.saturating_sub(start)) {
            Some(len) => Ok(fadvise(&self.file, start, Some(len), Advice::DontNeed)?),
            None => Ok(()),
        }
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { secs: since.as_secs() as i64, nanos: since.subsec_nanos() }
}

impl OsFile {
    fn object_size(&self) -> io::Result<u64> {
        match self.device_len {
            Some(len) => Ok(len),
            None => Ok(fstat(&self.file)?.st_size as u64),
        }
    }
}
