//! The first request: what both sides can do.

use super::bytes::Bytes;
use super::flags::can;
use super::reply::{Reply, answer};

/// The protocol that is spoken here. The kernel speaks that of the older side.
const MAJOR: u32 = 7;
const MINOR: u32 = 40;
/// The oldest that has all that is needed here: Linux 5.11, with the clearing of set-id bits.
const OLDEST_MINOR: u32 = 33;
/// Requests without anybody waiting (read-ahead, writing back of mappings) that the kernel has under way at once, and from when it
/// thinks that we are busy.
const BACKGROUND: u16 = 64;
const CONGESTED: u16 = 48;

/// What cannot be done without.
const NEEDED: u64 = can::BIG_WRITES | can::DONT_MASK | can::POSIX_ACL | can::HANDLE_KILLPRIV_V2 | can::MAX_PAGES;
/// What is taken where it is there.
const WANTED: u64 = NEEDED
    | can::ASYNC_READ
    | can::DO_READDIRPLUS
    | can::READDIRPLUS_AUTO
    | can::ASYNC_DIO
    | can::PARALLEL_DIROPS
    | can::CACHE_SYMLINKS
    | can::EXPLICIT_INVAL_DATA
    | can::SETXATTR_EXT
    | can::INIT_EXT;
/// File systems that may lie on each other beneath the layer, itself included, for the kernel to read a file there by itself.
const MOST_STACKED: u32 = 1;

/// `struct fuse_init_in`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InitIn {
    major: u32,
    minor: u32,
    read_ahead: u32,
    can: u64,
}

/// What was agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    read_ahead: u32,
    can: u64,
}

impl InitIn {
    pub(super) fn read(mut from: Bytes<'_>) -> Option<Self> {
        let (major, minor, read_ahead, low) = (from.u32()?, from.u32()?, from.u32()?, from.u32()?);
        let high = if u64::from(low) & can::INIT_EXT != 0 { from.u32()? } else { 0 };
        Some(Self { major, minor, read_ahead, can: u64::from(low) | u64::from(high) << 32 })
    }

    /// What both can do, of reading past us only if that is asked for; `Err` says in words what the kernel lacks.
    pub(crate) fn agree(self, passthrough: bool) -> Result<Agreed, String> {
        let Self { major, minor, read_ahead, can } = self;
        if major != MAJOR || minor < OLDEST_MINOR || can & NEEDED != NEEDED {
            let spoken = format!("it speaks FUSE {major}.{minor} with {can:#x}");
            return Err(format!("the kernel is too old for the layer: {spoken}; Linux 5.11 or newer is needed"));
        }
        let wanted = if passthrough { WANTED | can::PASSTHROUGH } else { WANTED };
        Ok(Agreed { read_ahead, can: can & wanted })
    }
}

impl Agreed {
    /// Whether files can be read past us.
    pub(crate) fn has_passthrough(self) -> bool {
        self.can & can::PASSTHROUGH != 0
    }
}

/// The answer to the first request (`struct fuse_init_out`).
pub(crate) fn init_reply(unique: u64, agreed: Agreed) -> Reply {
    answer(unique, |reply| {
        reply.u32(MAJOR).u32(MINOR).u32(agreed.read_ahead).u32(agreed.can as u32);
        reply.u16(BACKGROUND).u16(CONGESTED).u32(super::MAX_WRITE as u32);
        // Times to the nanosecond.
        reply.u32(1);
        reply.u16((super::MAX_WRITE / 4096) as u16).u16(0).u32((agreed.can >> 32) as u32);
        reply.u32(if agreed.has_passthrough() { MOST_STACKED } else { 0 });
        for _ in 0..6 {
            reply.u32(0);
        }
    })
}
