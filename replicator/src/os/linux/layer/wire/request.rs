//! What the kernel asks.

use std::ffi::CStr;

use super::HEADER_LEN;
use super::bytes::Bytes;
use super::flags::{FSYNC_DATA, GETATTR_FH, OPEN_KILL_SUIDGID, SETXATTR_KILL_SGID, WRITE_KILL_SUIDGID, setattr};
use super::init::InitIn;
use standin_common::entry::Time;

/// What stands before every request (`struct fuse_in_header`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    opcode: u32,
    /// Names the request in its answer.
    pub(crate) unique: u64,
    /// What the request is about.
    pub(crate) node: u64,
    /// Who asks.
    pub(crate) uid: u32,
    /// Who asks.
    pub(crate) gid: u32,
    /// The thread that asks; 0 if it is in a namespace that the layer does not see.
    pub(crate) thread: u32,
    extensions_len: usize,
}

#[cfg(test)]
impl Header {
    /// Of a request of root.
    pub(crate) fn about(node: u64) -> Self {
        Self { opcode: 0, unique: 1, node, uid: 0, gid: 0, thread: 0, extensions_len: 0 }
    }
}

/// A time that is to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetTime {
    Now,
    To(Time),
}

/// `struct fuse_setattr_in`: what is to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SetAttributes {
    pub(crate) handle: Option<u64>,
    pub(crate) len: Option<u64>,
    pub(crate) accessed: Option<SetTime>,
    pub(crate) modified: Option<SetTime>,
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    /// Whether whoever truncates may not keep set-id bits.
    pub(crate) kill: bool,
}

/// open(2)'s flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenFlags {
    pub(crate) bits: u32,
    /// Whether whoever truncates may not keep set-id bits.
    pub(crate) kill: bool,
}

/// The nodes of a `FUSE_BATCH_FORGET`, with how often each was looked up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a>(Bytes<'a>);

impl Iterator for Names<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        Some((self.0.u64()?, self.0.u64()?))
    }
}

/// A request. The node of the header is the object, or the directory of the names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request<'a> {
    Init(InitIn),
    Destroy,
    Lookup {
        name: &'a CStr,
    },
    Forget {
        lookups: u64,
    },
    BatchForget(Names<'a>),
    GetAttributes {
        handle: Option<u64>,
    },
    SetAttributes(SetAttributes),
    ReadLink,
    Symlink {
        name: &'a CStr,
        target: &'a CStr,
    },
    MakeNode {
        name: &'a CStr,
        mode: u32,
        device: u32,
        umask: u32,
    },
    MakeDirectory {
        name: &'a CStr,
        mode: u32,
        umask: u32,
    },
    Unlink {
        name: &'a CStr,
    },
    RemoveDirectory {
        name: &'a CStr,
    },
    Rename {
        name: &'a CStr,
        to_directory: u64,
        to_name: &'a CStr,
        flags: u32,
    },
    Link {
        object: u64,
        name: &'a CStr,
    },
    Open(OpenFlags),
    Create {
        name: &'a CStr,
        flags: OpenFlags,
        mode: u32,
        umask: u32,
    },
    /// `name` means nothing; the file has none.
    Unnamed {
        flags: OpenFlags,
        mode: u32,
        umask: u32,
    },
    Read {
        handle: u64,
        offset: u64,
        len: u32,
    },
    Write {
        handle: u64,
        offset: u64,
        data: &'a [u8],
        kill: bool,
    },
    Release {
        handle: u64,
    },
    Sync {
        handle: u64,
        data_only: bool,
    },
    OpenDirectory,
    ReadDirectory {
        handle: u64,
        offset: u64,
        len: u32,
        plus: bool,
    },
    ReleaseDirectory {
        handle: u64,
    },
    SyncDirectory {
        handle: u64,
        data_only: bool,
    },
    Statistics,
    SetXattr {
        name: &'a CStr,
        value: &'a [u8],
        flags: u32,
        kill: bool,
    },
    GetXattr {
        name: &'a CStr,
        len: u32,
    },
    ListXattr {
        len: u32,
    },
    RemoveXattr {
        name: &'a CStr,
    },
    Allocate {
        handle: u64,
        offset: u64,
        len: u64,
        mode: u32,
    },
    Seek {
        handle: u64,
        offset: u64,
        whence: u32,
    },
    Copy {
        handle: u64,
        offset: u64,
        to_handle: u64,
        to_offset: u64,
        len: u64,
    },
    /// Whoever waits for this request got a signal.
    Interrupt {
        unique: u64,
    },
    /// Not for us: the kernel does without, or says that it is not supported.
    Unknown,
}

/// Reads a request. `Err` with the header where the arguments make no sense; `None` where there is not even a header.
pub(crate) fn parse(request: &[u8]) -> Option<Result<(Header, Request<'_>), Header>> {
    let mut head = Bytes(request.get(..HEADER_LEN)?);
    let len = head.u32()? as usize;
    let opcode = head.u32()?;
    let (unique, node, uid, gid) = (head.u64()?, head.u64()?, head.u32()?, head.u32()?);
    let thread = head.u32()?;
    let extensions_len = usize::from(head.u16()?) * 8;
    let header = Header { opcode, unique, node, uid, gid, thread, extensions_len };
    let arguments = request.get(HEADER_LEN..len)?;
    let Some(arguments) = arguments.len().checked_sub(header.extensions_len).map(|len| Bytes(&arguments[..len])) else {
        return Some(Err(header));
    };
    let parsed = match opcode {
        1 | 3..=13 | 35 | 45 | 51 => names(opcode, arguments),
        14 | 15 | 16 | 18 | 20 | 43 | 46 | 47 => file(opcode, arguments),
        _ => other(opcode, arguments),
    };
    Some(parsed.map(|request| (header, request)).ok_or(header))
}

/// About names, and attributes.
fn names(opcode: u32, mut from: Bytes<'_>) -> Option<Request<'_>> {
    Some(match opcode {
        1 => Request::Lookup { name: from.name()? },
        3 => {
            let flags = from.u32()?;
            from.skip(4)?;
            let handle = from.u64()?;
            Request::GetAttributes { handle: (flags & GETATTR_FH != 0).then_some(handle) }
        }
        4 => Request::SetAttributes(set_attributes(from)?),
        5 => Request::ReadLink,
        6 => Request::Symlink { name: from.name()?, target: from.string()? },
        8 => {
            let (mode, device, umask) = (from.u32()?, from.u32()?, from.u32()?);
            from.skip(4)?;
            Request::MakeNode { name: from.name()?, mode, device, umask }
        }
        9 => {
            let (mode, umask) = (from.u32()?, from.u32()?);
            Request::MakeDirectory { name: from.name()?, mode, umask }
        }
        10 => Request::Unlink { name: from.name()? },
        11 => Request::RemoveDirectory { name: from.name()? },
        12 => Request::Rename { to_directory: from.u64()?, name: from.name()?, to_name: from.name()?, flags: 0 },
        45 => {
            let (to_directory, flags) = (from.u64()?, from.u32()?);
            from.skip(4)?;
            Request::Rename { name: from.name()?, to_directory, to_name: from.name()?, flags }
        }
        13 => Request::Link { object: from.u64()?, name: from.name()? },
        _ => {
            let (bits, mode, umask, open) = (from.u32()?, from.u32()?, from.u32()?, from.u32()?);
            let flags = OpenFlags { bits, kill: open & OPEN_KILL_SUIDGID != 0 };
            match opcode {
                35 => Request::Create { name: from.name()?, flags, mode, umask },
                _ => Request::Unnamed { flags, mode, umask },
            }
        }
    })
}

fn set_attributes(mut from: Bytes<'_>) -> Option<SetAttributes> {
    let valid = from.u32()?;
    let given = |flag: u32| valid & flag != 0;
    from.skip(4)?;
    let (handle, len) = (from.u64()?, from.u64()?);
    from.skip(8)?;
    let secs = (from.u64()? as i64, from.u64()? as i64);
    from.skip(8)?;
    let nanos = (from.u32()?, from.u32()?);
    from.skip(4)?;
    let mode = from.u32()?;
    from.skip(4)?;
    let (uid, gid) = (from.u32()?, from.u32()?);
    let time = |flag, now, secs, nanos| match (given(flag), given(now)) {
        (false, _) => None,
        (true, true) => Some(SetTime::Now),
        (true, false) => Some(SetTime::To(Time { secs, nanos })),
    };
    Some(SetAttributes {
        handle: given(setattr::FH).then_some(handle),
        len: given(setattr::SIZE).then_some(len),
        accessed: time(setattr::ATIME, setattr::ATIME_NOW, secs.0, nanos.0),
        modified: time(setattr::MTIME, setattr::MTIME_NOW, secs.1, nanos.1),
        mode: given(setattr::MODE).then_some(mode),
        uid: given(setattr::UID).then_some(uid),
        gid: given(setattr::GID).then_some(gid),
        kill: given(setattr::KILL_SUIDGID),
    })
}

/// About an open file.
fn file(opcode: u32, mut from: Bytes<'_>) -> Option<Request<'_>> {
    if opcode == 14 {
        let (bits, open) = (from.u32()?, from.u32()?);
        return Some(Request::Open(OpenFlags { bits, kill: open & OPEN_KILL_SUIDGID != 0 }));
    }
    let handle = from.u64()?;
    Some(match opcode {
        15 => Request::Read { handle, offset: from.u64()?, len: from.u32()? },
        16 => {
            let (offset, len, flags) = (from.u64()?, from.u32()?, from.u32()?);
            from.skip(16)?;
            let data = from.take(len as usize)?;
            Request::Write { handle, offset, data, kill: flags & WRITE_KILL_SUIDGID != 0 }
        }
        18 => Request::Release { handle },
        20 => Request::Sync { handle, data_only: from.u32()? & FSYNC_DATA != 0 },
        43 => Request::Allocate { handle, offset: from.u64()?, len: from.u64()?, mode: from.u32()? },
        46 => Request::Seek { handle, offset: from.u64()?, whence: from.u32()? },
        _ => {
            let offset = from.u64()?;
            // The node it goes to, which the handle tells as well.
            from.skip(8)?;
            let (to_handle, to_offset) = (from.u64()?, from.u64()?);
            Request::Copy { handle, offset, to_handle, to_offset, len: from.u64()? }
        }
    })
}

/// Directories, extended attributes, and the rest.
fn other(opcode: u32, mut from: Bytes<'_>) -> Option<Request<'_>> {
    Some(match opcode {
        2 => Request::Forget { lookups: from.u64()? },
        42 => {
            from.skip(8)?;
            Request::BatchForget(Names(from))
        }
        17 => Request::Statistics,
        21 => {
            let (len, flags, more) = (from.u32()?, from.u32()?, from.u32()?);
            from.skip(4)?;
            let name = from.string()?;
            let value = from.take(len as usize)?;
            Request::SetXattr { name, value, flags, kill: more & SETXATTR_KILL_SGID != 0 }
        }
        22 => {
            let len = from.u32()?;
            from.skip(4)?;
            Request::GetXattr { name: from.string()?, len }
        }
        23 => Request::ListXattr { len: from.u32()? },
        24 => Request::RemoveXattr { name: from.string()? },
        26 => Request::Init(InitIn::read(from)?),
        27 => Request::OpenDirectory,
        28 | 44 => Request::ReadDirectory { handle: from.u64()?, offset: from.u64()?, len: from.u32()?, plus: opcode == 44 },
        29 => Request::ReleaseDirectory { handle: from.u64()? },
        30 => Request::SyncDirectory { handle: from.u64()?, data_only: from.u32()? & FSYNC_DATA != 0 },
        36 => Request::Interrupt { unique: from.u64()? },
        38 => Request::Destroy,
        _ => Request::Unknown,
    })
}
