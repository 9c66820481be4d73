//! fanotify(7), which rustix does not have yet.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{AtFlags, CWD};

use crate::os::linux::by_handle::{self, HANDLE_HEAD};
use crate::os::linux::resolve::NAME_ONLY;

/// What is told of: every change of data, attributes or names, of directories too; never a read.
const WANTED: u64 = CONTENT | NAMES | libc::FAN_ONDIR;
/// Something of the object itself changed.
pub(super) const CONTENT: u64 = libc::FAN_MODIFY | libc::FAN_ATTRIB | libc::FAN_CLOSE_WRITE;
/// A name came or went.
pub(super) const NAMES: u64 = libc::FAN_CREATE | libc::FAN_DELETE | MOVED;
/// An object was moved from a name, or to it.
pub(super) const MOVED: u64 = libc::FAN_MOVED_FROM | libc::FAN_MOVED_TO;
/// A name came.
pub(super) const CAME: u64 = libc::FAN_CREATE | libc::FAN_MOVED_TO;

/// Bytes of `struct fanotify_event_metadata`.
const METADATA: usize = 24;
/// Bytes of `struct fanotify_event_info_header`.
const INFO_HEAD: usize = 4;
/// Bytes of a file system's number before its handle.
const FSID: usize = 8;

/// An object's handle, after the number of its file system: as it stands in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Handle<'a>(&'a [u8]);

impl<'a> Handle<'a> {
    /// From what [`Handle::as_bytes`] gave.
    pub(super) fn again(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// All of it, as a key.
    pub(super) fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The number of the file system, as statvfs(3) gives it.
    pub(super) fn file_system(self) -> u64 {
        u64::from(word(self.0, 0)) | u64::from(word(self.0, 4)) << 32
    }

    /// What [`name_to_handle`] gives for the same object.
    pub(super) fn file_handle(self) -> &'a [u8] {
        &self.0[FSID..]
    }
}

/// Something that happened, as the kernel tells it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// `FAN_…` bits.
    pub(super) mask: u64,
    /// The directory, and the name in it, `.` for itself.
    pub(super) named: Option<(Handle<'a>, &'a [u8])>,
    /// The object.
    pub(super) object: Option<Handle<'a>>,
}

impl Event<'_> {
    /// Whether the kernel threw events away.
    pub(super) fn is_overflow(&self) -> bool {
        self.mask & libc::FAN_Q_OVERFLOW != 0
    }

    /// Whether the object is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.mask & libc::FAN_ONDIR != 0
    }
}

/// The events in what [`Group::read`] put into a buffer. `None` stands for bytes that make no sense, and ends it.
pub(super) fn events(buffer: &[u8]) -> impl Iterator<Item = Option<Event<'_>>> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let len = rest.get(..4).map_or(0, |bytes| word(bytes, 0) as usize);
        let Some((event, after)) = rest.split_at_checked(len).filter(|_| len >= METADATA) else {
            rest = &[];
            return Some(None);
        };
        rest = after;
        Some(parse(event))
    })
}

fn parse(event: &[u8]) -> Option<Event<'_>> {
    let head = usize::from(u16::from_ne_bytes([event[6], event[7]]));
    let mask = u64::from_ne_bytes(event.get(8..16)?.try_into().ok()?);
    if event[4] != libc::FANOTIFY_METADATA_VERSION {
        return None;
    }
    let mut parsed = Event { mask, named: None, object: None };
    let mut rest = event.get(head..)?;
    while let Some(info) = rest.get(..INFO_HEAD) {
        let len = usize::from(u16::from_ne_bytes([info[2], info[3]]));
        let (record, after) = rest.split_at_checked(len).filter(|_| len >= INFO_HEAD)?;
        rest = after;
        let body = &record[INFO_HEAD..];
        let handle_len = body.get(FSID..FSID + 4).map(|bytes| word(bytes, 0) as usize);
        let Some((handle, name)) = handle_len.and_then(|len| body.split_at_checked(FSID + HANDLE_HEAD + len)) else { continue };
        match info[0] {
            libc::FAN_EVENT_INFO_TYPE_FID => parsed.object = Some(Handle(handle)),
            libc::FAN_EVENT_INFO_TYPE_DFID_NAME => {
                let name = CStr::from_bytes_until_nul(name).ok()?.to_bytes();
                parsed.named = Some((Handle(handle), name));
            }
            libc::FAN_EVENT_INFO_TYPE_DFID => parsed.named = Some((Handle(handle), b".")),
            _ => {}
        }
    }
    Some(parsed)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A queue of events for the file systems that are marked.
#[derive(Debug)]
pub(super) struct Group(OwnedFd);

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Group {
    /// A queue without marks; `bounded` to the length that the system has set, or not.
    pub(super) fn new(bounded: bool) -> io::Result<Self> {
        let reported = libc::FAN_REPORT_DFID_NAME_TARGET;
        let queue = if bounded { 0 } else { libc::FAN_UNLIMITED_QUEUE };
        let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK | queue | reported;
        // SAFETY: no memory is passed.
        let fd = check(unsafe { libc::fanotify_init(flags, libc::O_RDONLY as u32) })?;
        // SAFETY: the kernel has just opened it for us, and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Lets the whole file system that `path` lies in tell its changes. Again for the same one changes nothing.
    pub(super) fn mark(&self, path: &CStr) -> io::Result<()> {
        // SAFETY: the path ends with a NUL and lives longer than the call.
        let result = unsafe {
            let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
            libc::fanotify_mark(self.0.as_raw_fd(), flags, WANTED, libc::AT_FDCWD, path.as_ptr())
        };
        check(result).map(drop)
    }

    /// Takes all marks away.
    pub(super) fn unmark(&self) -> io::Result<()> {
        let flags = libc::FAN_MARK_FLUSH | libc::FAN_MARK_FILESYSTEM;
        // SAFETY: no memory is passed: without a path, the call is for what the directory handle names, which is ignored here.
        check(unsafe { libc::fanotify_mark(self.0.as_raw_fd(), flags, 0, libc::AT_FDCWD, std::ptr::null()) }).map(drop)
    }

    /// How many file systems are marked. The kernel takes a mark away when it unmounts one, without a word.
    pub(super) fn marks(&self) -> io::Result<usize> {
        let lines = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.0.as_raw_fd()))?;
        Ok(lines.lines().filter(|line| line.starts_with("fanotify sdev:")).count())
    }

    /// At most how many events wait to be read.
    pub(super) fn waiting(&self) -> io::Result<u64> {
        // The kernel gives at least the bytes of each event's metadata.
        Ok(rustix::io::ioctl_fionread(&self.0)?.div_ceil(METADATA as u64))
    }

    /// Fills the buffer with whole events; 0 if there is none.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.0, &mut *buffer) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(0),
                read => return Ok(read?),
            }
        }
    }
}

/// Opens the object of a handle, to name it only. `mount` is any object of the mount through which it is to be seen, opened for reading.
pub(super) fn open_handle(mount: BorrowedFd<'_>, handle: &[u8]) -> io::Result<OwnedFd> {
    by_handle::open(mount, handle, NAME_ONLY)
}

/// The handle of the object at an absolute path, not following a link at its end.
pub(super) fn name_to_handle(path: &CStr) -> io::Result<Box<[u8]>> {
    by_handle::of(CWD, path, AtFlags::empty())
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
