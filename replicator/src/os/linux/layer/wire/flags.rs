//! Flags of the protocol (`linux/fuse.h`).

/// What both sides can do (`FUSE_INIT`). Bits from 32 on travel in a second word.
pub(crate) mod can {
    pub(crate) const ASYNC_READ: u64 = 1;
    pub(crate) const BIG_WRITES: u64 = 1 << 5;
    /// The umask comes with what is made: a default ACL decides whether it counts.
    pub(crate) const DONT_MASK: u64 = 1 << 6;
    pub(crate) const DO_READDIRPLUS: u64 = 1 << 13;
    pub(crate) const READDIRPLUS_AUTO: u64 = 1 << 14;
    pub(crate) const ASYNC_DIO: u64 = 1 << 15;
    pub(crate) const PARALLEL_DIROPS: u64 = 1 << 18;
    pub(crate) const POSIX_ACL: u64 = 1 << 20;
    pub(crate) const MAX_PAGES: u64 = 1 << 22;
    pub(crate) const CACHE_SYMLINKS: u64 = 1 << 23;
    /// Cached data is only dropped when we say so: nobody else changes it.
    pub(crate) const EXPLICIT_INVAL_DATA: u64 = 1 << 25;
    /// We clear set-id bits and capabilities; without it the kernel asks for an attribute before each write.
    pub(crate) const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
    pub(crate) const SETXATTR_EXT: u64 = 1 << 29;
    pub(crate) const INIT_EXT: u64 = 1 << 30;
    /// The kernel can read a file beneath by itself.
    pub(crate) const PASSTHROUGH: u64 = 1 << 37;
}

/// Which fields of `struct fuse_setattr_in` count.
pub(super) mod setattr {
    pub(crate) const MODE: u32 = 1;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
    pub(crate) const ATIME: u32 = 1 << 4;
    pub(crate) const MTIME: u32 = 1 << 5;
    pub(crate) const FH: u32 = 1 << 6;
    pub(crate) const ATIME_NOW: u32 = 1 << 7;
    pub(crate) const MTIME_NOW: u32 = 1 << 8;
    pub(crate) const KILL_SUIDGID: u32 = 1 << 11;
}

/// How an opened file or directory is treated (`FOPEN_…`).
pub(crate) mod opened {
    /// What is read and written goes past the kernel's cache.
    pub(crate) const DIRECT_IO: u32 = 1;
    /// What is cached of it still holds.
    pub(crate) const KEEP_CACHE: u32 = 1 << 1;
    /// The list of a directory may be kept.
    pub(crate) const CACHE_DIR: u32 = 1 << 3;
    /// Closing need not be told.
    pub(crate) const NOFLUSH: u32 = 1 << 5;
    /// The kernel reads the file beneath by itself.
    pub(crate) const PASSTHROUGH: u32 = 1 << 7;
}

/// `FUSE_GETATTR_FH`: the file handle counts.
pub(super) const GETATTR_FH: u32 = 1;
/// `FUSE_WRITE_KILL_SUIDGID`: whoever writes may not keep set-id bits.
pub(super) const WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// `FUSE_OPEN_KILL_SUIDGID`: whoever truncates may not keep set-id bits.
pub(super) const OPEN_KILL_SUIDGID: u32 = 1;
/// `FUSE_FSYNC_FDATASYNC`.
pub(super) const FSYNC_DATA: u32 = 1;
/// `FUSE_SETXATTR_ACL_KILL_SGID`: whoever sets the ACL may not keep the set-gid bit.
pub(super) const SETXATTR_KILL_SGID: u32 = 1;
