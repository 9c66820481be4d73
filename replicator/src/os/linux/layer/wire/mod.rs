//! The FUSE protocol, as `linux/fuse.h` (version 7.40) has it: requests read from bytes, answers put into bytes. No I/O.
//!
//! Why not a crate: `fuser` 0.18 knows neither `O_TMPFILE` nor the flags by which the kernel leaves the clearing of set-id bits to us
//! (without which it asks for an attribute before every write), and starts a thread for each reader for good, so that as many
//! fsyncs can wait as there are threads.

mod bytes;
pub(super) mod flags;
mod init;
mod reply;
mod request;
#[cfg(test)]
mod tests;

pub(super) use init::init_reply;
pub(super) use reply::{Attributes, BackingId, Entries, Entry, Opened, Reply, Statistics, answer, head, refusal};
pub(super) use request::{Header, OpenFlags, Request, SetAttributes, SetTime, parse};

/// The node that is the root.
pub(super) const ROOT: u64 = 1;
/// Bytes of `struct fuse_in_header`.
pub(super) const HEADER_LEN: usize = 40;
/// The largest piece of a file in one request, in bytes. The kernel's own bound is `fs.fuse.max_pages_limit`, 256 pages.
pub(super) const MAX_WRITE: usize = 1024 * 1024;
/// Room for a request: the largest data, and header and arguments before it.
pub(super) const BUFFER_LEN: usize = MAX_WRITE + 4096;
