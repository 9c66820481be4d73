//! Random programs: many threads in one small tree, so that they meet.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid, XattrFlags, chmod,
    chownat, copy_file_range, fallocate, fdatasync, fsync, ftruncate, linkat, lremovexattr, lsetxattr, mkdirat, mknodat, open,
    openat, renameat_with, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use standin_replicator::sim::Random;

/// What may well go wrong among programs that do not know of each other.
fn expected(errno: Errno) -> bool {
    const MAY: &[Errno] = &[
        Errno::NOENT,
        Errno::EXIST,
        Errno::NOTEMPTY,
        Errno::NOTDIR,
        Errno::ISDIR,
        Errno::INVAL,
        Errno::NXIO,
        Errno::LOOP,
        Errno::NODATA,
        Errno::PERM,
        Errno::OPNOTSUPP,
        Errno::NOSPC,
        Errno::FBIG,
        Errno::MLINK,
        Errno::BUSY,
        Errno::ACCESS,
        Errno::SPIPE,
    ];
    MAY.contains(&errno)
}

/// One program; it keeps a few files open from step to step.
pub(crate) struct Program {
    root: PathBuf,
    random: Random,
    open: Vec<File>,
}

impl Program {
    pub(crate) fn new(root: &Path, seed: u64) -> Self {
        Self { root: root.to_owned(), random: Random::new(seed), open: Vec::new() }
    }

    /// Does so many things.
    pub(crate) fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            let done = match self.random.below(10) {
                0..4 => self.data(),
                4..8 => self.names(),
                _ => self.attributes(),
            };
            if let Err(errno) = done {
                assert!(expected(errno), "a program was told {errno}");
            }
        }
    }

    /// A name of a small tree: up to three directories deep.
    fn path(&mut self) -> PathBuf {
        let mut path = self.root.clone();
        for _ in 0..self.random.below(3) {
            path.push(format!("d{}", self.random.below(3)));
        }
        path.push(format!("{}{}", if self.random.below(4) == 0 { "d" } else { "f" }, self.random.below(6)));
        path
    }

    fn file(&mut self) -> Result<File, Errno> {
        if !self.open.is_empty() && self.random.below(2) == 0 {
            let at = self.random.below(self.open.len() as u64) as usize;
            return Ok(self.open.swap_remove(at));
        }
        let access = if self.random.one_in(3) { OFlags::WRONLY } else { OFlags::RDWR };
        let mut flags = access | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        match self.random.below(12) {
            0 => flags |= OFlags::TRUNC,
            1 => flags |= OFlags::APPEND,
            2 => flags |= OFlags::DIRECT,
            3 => flags |= OFlags::DSYNC,
            _ => {}
        }
        let mode = Mode::from_raw_mode(0o600 | self.random.below(0o10000) as u32);
        Ok(open(self.path(), flags, mode)?.into())
    }

    fn data(&mut self) -> Result<(), Errno> {
        let file = self.file()?;
        let done = self.change_data(&file);
        if self.open.len() < 6 {
            self.open.push(file);
        }
        done
    }

    fn change_data(&mut self, file: &File) -> Result<(), Errno> {
        let offset = self.random.below(300_000);
        let longest = if self.random.one_in(8) { 200_000 } else { 5000 };
        let len = 1 + self.random.below(longest);
        // A file opened around the cache takes whole blocks only.
        let (block, blocks) = (offset / 4096 * 4096, len.next_multiple_of(4096));
        let data = vec![self.random.below(256) as u8; blocks as usize];
        match self.random.below(14) {
            0..7 => {
                let direct = rustix::fs::fcntl_getfl(file)?.contains(OFlags::DIRECT);
                let (at, data) = if direct { (block, &data[..]) } else { (offset, &data[..len as usize]) };
                file.write_all_at(data, at).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            }
            7 => ftruncate(file, offset),
            8 => fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len),
            9 => fallocate(file, FallocateFlags::ZERO_RANGE, offset, len),
            10 => fallocate(file, FallocateFlags::KEEP_SIZE, offset, len),
            11 => fallocate(file, FallocateFlags::empty(), offset, len),
            12 => {
                let other = open(self.path(), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
                if rustix::fs::fcntl_getfl(file)?.contains(OFlags::APPEND) {
                    return Ok(());
                }
                copy_file_range(&other, Some(&mut self.random.below(1000)), file, Some(&mut offset.clone()), len as usize)
                    .map(drop)
            }
            _ if offset & 1 == 0 => fsync(file),
            _ => fdatasync(file),
        }
    }

    fn names(&mut self) -> Result<(), Errno> {
        let (one, two) = (self.path(), self.path());
        let mode = Mode::from_raw_mode(self.random.below(0o10000) as u32);
        match self.random.below(15) {
            0..3 => mkdirat(CWD, &one, mode),
            3 => unlinkat(CWD, &one, AtFlags::REMOVEDIR),
            4..7 => unlinkat(CWD, &one, AtFlags::empty()),
            7..10 => renameat_with(CWD, &one, CWD, &two, RenameFlags::empty()),
            10 => renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE),
            11 => renameat_with(CWD, &one, CWD, &two, RenameFlags::NOREPLACE),
            12 => linkat(CWD, &one, CWD, &two, AtFlags::empty()),
            13 if mode.bits() & 1 == 0 => symlinkat("f0", CWD, &one),
            13 => mknodat(CWD, &one, [FileType::Fifo, FileType::Socket][mode.bits() as usize / 2 % 2], mode, 0),
            _ => {
                let directory = one.parent().unwrap_or(&self.root);
                let file = openat(CWD, directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode)?;
                rustix::io::write(&file, b"without a name")?;
                linkat(&file, c"", CWD, &two, AtFlags::EMPTY_PATH)
            }
        }
    }

    fn attributes(&mut self) -> Result<(), Errno> {
        let path = self.path();
        let number = self.random.below(4) as u32;
        let mode = self.random.below(0o10000) as u32;
        match self.random.below(6) {
            0 => chmod(&path, Mode::from_raw_mode(mode)),
            1 => {
                let owner = (Some(Uid::from_raw(1000 + number)), Some(Gid::from_raw(2000 + number)));
                chownat(CWD, &path, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
            }
            2 => {
                let time = |secs: u64| Timespec { tv_sec: secs as i64, tv_nsec: i64::from(mode) * 1000 + 7 };
                let times =
                    Timestamps { last_access: time(1_000_000), last_modification: time(1_700_000_000 + u64::from(number)) };
                utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)
            }
            3 => lsetxattr(&path, format!("user.x{number}"), &vec![mode as u8; mode as usize % 300], XattrFlags::empty()),
            4 => lremovexattr(&path, format!("user.x{number}")),
            _ => {
                let name = if mode & 1 == 0 { "system.posix_acl_default" } else { "system.posix_acl_access" };
                lsetxattr(&path, name, &acl(1000 + number), XattrFlags::empty())
            }
        }
    }
}

/// An ACL as Linux keeps it: version 2, then tag, permissions and id of each entry.
fn acl(uid: u32) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [(1u16, 7u16, u32::MAX), (2, 5, uid), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 4, u32::MAX)] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}
