//! What the kernel is answered.

use standin_common::entry::Time;

/// How long the kernel may believe what it was told, in seconds: until it hears otherwise, since nobody else changes anything.
pub(crate) const FOREVER_SECS: u64 = 1 << 30;
/// Bytes of `struct fuse_out_header`.
const HEAD: usize = 16;
/// Bytes of `struct fuse_dirent` before the name.
const DIRENT: usize = 24;
/// Bytes of `struct fuse_entry_out`.
const ENTRY: usize = 128;

/// An answer, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    bytes: Vec<u8>,
}

/// `struct fuse_attr`, from stat(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Attributes {
    pub(crate) inode: u64,
    pub(crate) len: u64,
    pub(crate) blocks: u64,
    pub(crate) accessed: Time,
    pub(crate) modified: Time,
    pub(crate) changed: Time,
    pub(crate) mode: u32,
    pub(crate) links: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) device: u64,
    pub(crate) block_len: u32,
}

/// `struct fuse_entry_out`: an object that was found. Node 0 says that there is none, for as long as nobody makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    pub(crate) node: u64,
    pub(crate) attributes: Attributes,
}

/// `struct fuse_open_out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) handle: u64,
    /// `FOPEN_…`.
    pub(crate) flags: u32,
    /// The file beneath, as the kernel calls it, if it is to read that by itself.
    pub(crate) backing: Option<BackingId>,
}

/// The kernel's number of a file beneath.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackingId(pub(crate) u32);

/// `struct fuse_kstatfs`, from statvfs(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statistics {
    pub(crate) blocks: u64,
    pub(crate) free: u64,
    pub(crate) available: u64,
    pub(crate) files: u64,
    pub(crate) files_free: u64,
    pub(crate) block_len: u32,
    pub(crate) name_len: u32,
    pub(crate) fragment_len: u32,
}

/// An answer to the request of that number, filled by `fill`.
pub(crate) fn answer(unique: u64, fill: impl FnOnce(&mut Reply)) -> Reply {
    let mut reply = Reply { bytes: Vec::with_capacity(HEAD + ENTRY + 16) };
    reply.u32(0).u32(0).u64(unique);
    fill(&mut reply);
    reply.finish()
}

/// An error as the answer; `errno` is a positive number of errno(3).
pub(crate) fn refusal(unique: u64, errno: i32) -> Reply {
    let mut reply = Reply { bytes: Vec::with_capacity(HEAD) };
    reply.u32(0).u32(errno.wrapping_neg() as u32).u64(unique);
    reply.finish()
}

/// What stands before data that is not copied once more (`struct fuse_out_header`).
pub(crate) fn head(unique: u64, data_len: usize) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&((HEAD + data_len) as u32).to_ne_bytes());
    head[8..].copy_from_slice(&unique.to_ne_bytes());
    head
}

impl Reply {
    fn finish(mut self) -> Self {
        let len = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self
    }

    /// All of it.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn u16(&mut self, number: u16) -> &mut Self {
        self.bytes(&number.to_ne_bytes())
    }

    pub(crate) fn u32(&mut self, number: u32) -> &mut Self {
        self.bytes(&number.to_ne_bytes())
    }

    pub(crate) fn u64(&mut self, number: u64) -> &mut Self {
        self.bytes(&number.to_ne_bytes())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn attributes(&mut self, of: &Attributes) -> &mut Self {
        self.u64(of.inode).u64(of.len).u64(of.blocks);
        self.u64(of.accessed.secs as u64).u64(of.modified.secs as u64).u64(of.changed.secs as u64);
        self.u32(of.accessed.nanos).u32(of.modified.nanos).u32(of.changed.nanos);
        self.u32(of.mode).u32(of.links).u32(of.uid).u32(of.gid).u32(kernel_device(of.device)).u32(of.block_len).u32(0)
    }

    pub(crate) fn entry(&mut self, entry: &Entry) -> &mut Self {
        self.u64(entry.node).u64(0).u64(FOREVER_SECS).u64(FOREVER_SECS).u32(0).u32(0).attributes(&entry.attributes)
    }

    pub(crate) fn attributes_out(&mut self, of: &Attributes) -> &mut Self {
        self.u64(FOREVER_SECS).u32(0).u32(0).attributes(of)
    }

    pub(crate) fn opened(&mut self, opened: Opened) -> &mut Self {
        self.u64(opened.handle).u32(opened.flags).u32(opened.backing.map_or(0, |backing| backing.0))
    }

    pub(crate) fn statistics(&mut self, of: &Statistics) -> &mut Self {
        self.u64(of.blocks).u64(of.free).u64(of.available).u64(of.files).u64(of.files_free);
        self.u32(of.block_len).u32(of.name_len).u32(of.fragment_len);
        for _ in 0..7 {
            self.u32(0);
        }
        self
    }
}

/// A device's number as the kernel packs it in 32 bits (`new_encode_dev`); that of stat(2) has the same low bits.
fn kernel_device(device: u64) -> u32 {
    device as u32
}

/// The entries of a directory, as many as the kernel has room for.
#[derive(Debug)]
pub(crate) struct Entries {
    bytes: Vec<u8>,
    room: usize,
}

impl Entries {
    pub(crate) fn new(room: usize) -> Self {
        Self { bytes: Vec::with_capacity(room), room }
    }

    /// Whether a name of that length still fits.
    pub(crate) fn fits(&self, name: &[u8], plus: bool) -> bool {
        let head = if plus { ENTRY + DIRENT } else { DIRENT };
        self.bytes.len() + (head + name.len()).next_multiple_of(8) <= self.room
    }

    /// Puts a name in; `next` is where the directory goes on behind it, `kind` is a `DT_…`. With `entry`, it is looked up, too.
    pub(crate) fn push(&mut self, name: &[u8], inode: u64, next: u64, kind: u32, entry: Option<&Entry>) {
        let mut reply = Reply { bytes: std::mem::take(&mut self.bytes) };
        if let Some(entry) = entry {
            reply.entry(entry);
        }
        reply.u64(inode).u64(next).u32(name.len() as u32).u32(kind).bytes(name);
        reply.bytes.resize(reply.bytes.len().next_multiple_of(8), 0);
        self.bytes = reply.bytes;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}
